"""Record locks: one holder for each name, across processes and within one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from awaitly_nb.locks import records
from awaitly_nb.locks.records import RecordLocks
from awaitly_nb.testing import FakeClock


@pytest.fixture
def locks(tmp_path):
    return RecordLocks(tmp_path / "folder" / "locks", clock=FakeClock(at=1_700_000_000))


def elsewhere(locks, name):
    """Tell whether another process could take `name`."""
    script = (
        "import sys; from awaitly_nb.locks.records import RecordLocks; "
        "print(RecordLocks(sys.argv[1]).flight(sys.argv[2]).try_acquire())"
    )
    done = subprocess.run([sys.executable, "-c", script, locks.path, name], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_one_holder_in_a_process_and_across_processes(locks):
    first, second = locks.flight("a"), locks.flight("a")
    assert first.try_acquire() is True
    assert first.try_acquire() is True  # its own already
    assert second.try_acquire() is False
    assert elsewhere(locks, "a") is False
    assert elsewhere(locks, "b") is True
    second.release()  # not held: harmless
    assert elsewhere(locks, "a") is False
    first.release()
    first.release()
    assert elsewhere(locks, "a") is True
    assert second.try_acquire() is True
    second.release()


def test_other_names_are_free(locks):
    flights = [locks.flight(f"name {i}") for i in range(200)]
    assert all(flight.try_acquire() for flight in flights)
    for flight in flights:
        flight.release()


def test_the_holder_is_named_with_its_time(locks):
    flight = locks.flight("a")
    assert flight.holder() is None
    flight.try_acquire()
    assert f"kernel {os.getpid()} on " in locks.flight("a").holder()
    assert ", since " in locks.flight("a").holder()
    assert locks.flight("b").holder() is None
    flight.release()


@pytest.mark.parametrize(
    ("name", "told"), [("late flights.ipynb", "late flights.ipynb"), ("é" * 300 + ".ipynb", "?" * 57 + "...")]
)
def test_the_holder_is_named_with_its_notebook(locks, monkeypatch, name, told):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setenv("JPY_SESSION_NAME", f"/home/ada/{name}")
    flight = locks.flight("a")
    flight.try_acquire()
    assert flight.holder().startswith(f"{told} in kernel {os.getpid()} on ")
    flight.release()


def test_a_deleted_lock_file_frees_nothing_that_is_held_and_new_ones_work(locks):
    flight = locks.flight("a")
    assert flight.try_acquire()
    locks.path.unlink()
    again = locks.flight("b")
    assert again.try_acquire()
    again.release()
    flight.release()
    assert elsewhere(locks, "a") is True


def test_as_a_context(locks):
    with locks.flight("a"):
        assert elsewhere(locks, "a") is False
    assert elsewhere(locks, "a") is True


def test_a_place_that_cannot_be_locked_counts_as_free(tmp_path):
    (tmp_path / "file").write_text("")
    flight = RecordLocks(tmp_path / "file" / "locks").flight("a")
    assert flight.try_acquire() is True
    assert flight.holder() is None
    flight.release()


def test_a_full_disk_takes_the_note_and_not_the_lock(locks, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records, "_write_at", full)
    first, second = locks.flight("a"), locks.flight("a")
    assert first.try_acquire() is True
    assert second.try_acquire() is False
    assert elsewhere(locks, "a") is False
    first.release()
    assert elsewhere(locks, "a") is True
    assert second.try_acquire() is True
    second.release()
