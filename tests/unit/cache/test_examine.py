"""The doctor: a look changes nothing, fixing removes what can never be served and nothing else."""

from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import subprocess
import sys
import warnings

import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import Ok
from awaitly_nb.stores.disk.salvage import sound
from tests.faults.invariants import assert_sound


@pytest.fixture
def folder(tmp_path):
    cache = caches.create_disk_cache(tmp_path / "cache")
    cache.set("small", Ok(1))
    cache.set("large", Ok("x" * 100_000))
    forget_folders()
    yield tmp_path / "cache"
    forget_folders()


def test_a_sound_folder(folder):
    report = caches.doctor(folder)
    assert report.problems == ()
    assert report.healthy
    assert report.entries == 2
    assert report.size_bytes > 100_000
    assert "nothing is wrong" in str(report)


def test_a_folder_that_is_not_there(tmp_path):
    report = caches.doctor(tmp_path / "none")
    assert report.healthy
    assert not (tmp_path / "none").exists()


def orphan(folder):
    (folder / "ab").mkdir(exist_ok=True)
    (folder / "ab" / f"{'0' * 16}-{'1' * 16}.val").write_bytes(b"left behind")
    return "1 files belong to no entry"


def lost_file(folder):
    next(folder.glob("??/*.val")).unlink()
    return "'large' cannot be served"


def altered_row(folder):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute("UPDATE Cache SET value = x'00' WHERE value NOT NULL")
    connection.close()
    return "'small' cannot be served"


def flipped_byte(folder):
    path = next(folder.glob("??/*.val"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return "'large' cannot be served"


def change_small(folder, change, *values):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute(f"UPDATE Cache SET {change} WHERE value NOT NULL", values)


def head_of_bytes(folder):
    change_small(folder, "tag = CAST(tag AS BLOB)")
    return "'small' cannot be served: its head is no text"


def no_head(folder):
    change_small(folder, "tag = NULL")
    return "'small' cannot be served: its head is no text"


def pickled_name(folder):
    change_small(folder, "key = ?, raw = 0", pickle.dumps(Bomb()))
    return "cannot be served: its name is no plain text"


def name_that_is_no_text(folder):
    change_small(folder, "key = CAST(key AS BLOB)")
    return "'small' cannot be served: its name is no plain text"


def name_that_is_no_utf_8(folder):
    change_small(folder, "key = CAST(x'1f736d61ff' AS TEXT)")
    return "'sma\ufffd' cannot be served: its name or head is no UTF-8"


def head_that_is_no_utf_8(folder):
    change_small(folder, "tag = CAST(x'7bff' AS TEXT)")
    return "'small' cannot be served"


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def row_that_names_a_file_of_another(folder):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute(
            "INSERT INTO Cache (key, raw, tag, size, mode, filename)"
            " SELECT 'planted', 1, x'00', size, mode, filename FROM Cache WHERE filename NOT NULL"
        )
    return "'planted' cannot be served"


def open_to_all(folder):
    folder.chmod(0o777)
    return "others can write"


def garbage(folder):
    (folder / "cache.db").write_bytes(os.urandom(20_000))
    for suffix in ("-wal", "-shm"):
        (folder / f"cache.db{suffix}").unlink(missing_ok=True)
    return "the database is damaged"


@pytest.mark.parametrize(
    "harm",
    [
        orphan,
        lost_file,
        altered_row,
        flipped_byte,
        head_of_bytes,
        no_head,
        pickled_name,
        name_that_is_no_text,
        name_that_is_no_utf_8,
        head_that_is_no_utf_8,
        row_that_names_a_file_of_another,
        open_to_all,
        garbage,
    ],
    ids=lambda f: f.__name__,
)
def test_it_is_told_and_then_fixed(folder, harm):
    if harm is open_to_all and sys.platform == "win32":
        pytest.skip("POSIX modes")
    told = harm(folder)
    before = sorted(path.name for path in folder.rglob("*.val"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = caches.doctor(folder)
        assert any(told in problem for problem in report.problems)
        assert not report.healthy
        assert sorted(path.name for path in folder.rglob("*.val")) == before
        report = caches.doctor(folder, fix=True)
    assert report.fixed
    assert caches.doctor(folder).problems == ()
    if harm not in (lost_file, flipped_byte):
        assert caches.create_disk_cache(folder).get("large").value == "x" * 100_000
    assert_sound(folder)


def test_entries_of_a_foreign_secret_stay(folder, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", "somebody else")
    report = caches.doctor(folder, fix=True)
    assert report.problems == ()
    assert any("awaitly-nb trust" in note for note in report.notes)
    monkeypatch.delenv("AWAITLY_NB_SECRET")
    assert caches.create_disk_cache(folder).get("large").value == "x" * 100_000


WRITER = """
import sys
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok

cache = caches.create_disk_cache(sys.argv[1])
print("begun", flush=True)
while True:
    for size in (10, 40_000, 1_000, 100_000):
        for number in range(20):
            cache.set(f"key {number}", Ok("x" * (size + number)))
"""


@pytest.mark.slow
def test_mending_a_folder_that_another_kernel_is_making_and_writing_finds_no_fault(tmp_path):
    folder = tmp_path / "new"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        writer.stdout.readline()
        looks, entries = 0, 0
        # Until all keys are there: before the writer has made the folder, a look is over in no time.
        while looks < 200 or entries < 20:
            report = caches.doctor(folder, fix=True)
            assert report.problems == ()
            assert writer.poll() is None, writer.stderr.read().decode()
            looks, entries = looks + 1, report.entries
    finally:
        writer.kill()
        writer.communicate()
        forget_folders()


def test_a_database_that_somebody_has_locked_is_not_damaged(folder):
    with contextlib.closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        assert sound(folder / "cache.db", wait_s=0.1)
        connection.execute("ROLLBACK")
    assert not list(folder.glob("*damaged*"))
