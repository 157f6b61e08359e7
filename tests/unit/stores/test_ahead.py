"""Rows that came along are served while nobody has written, and only where rows are asked for in their order."""

import contextlib
import random
import sqlite3
import subprocess
import sys

import pytest

from awaitly_nb.stores.disk import DiskStore

COUNT = 300


@pytest.fixture
def store(tmp_path):
    filling = DiskStore(tmp_path)
    with contextlib.closing(filling):
        for number in range(COUNT):
            filling.swap(f"k{number}", "{}", [b"%d" % number])
    store = DiskStore(tmp_path)
    yield store
    store.close()


def selects(store):
    """Return the list in which every statement that reads rows is written down from now on."""
    asked = []
    store.database.connection().set_trace_callback(lambda sql: asked.append(sql) if "FROM Cache" in sql else None)
    return asked


def body(store, number):
    return store.read(f"k{number}").body


def test_what_is_asked_for_in_its_order_comes_along(store):
    asked = selects(store)
    assert [body(store, number) for number in range(COUNT)] == [b"%d" % number for number in range(COUNT)]
    assert len(asked) < COUNT / 10


def test_what_is_asked_for_in_any_order_is_asked_for_alone(store):
    asked = selects(store)
    numbers = random.Random(1).sample(range(COUNT), 100)
    assert [body(store, number) for number in numbers] == [b"%d" % number for number in numbers]
    assert len(asked) == 100


def test_one_row_after_the_other_again_and_again(store):
    for _ in range(3):
        assert [body(store, number) for number in range(COUNT)] == [b"%d" % number for number in range(COUNT)]


def read_some(store):
    """Ask for rows in their order until later ones have come along."""
    asked = selects(store)
    for number in range(20):
        body(store, number)
    assert len(asked) < 20


def test_our_own_writing_and_deleting_is_seen_at_once(store):
    read_some(store)
    store.swap("k21", "{}", [b"new"])
    assert body(store, 21) == b"new"
    read_some(store)
    store.delete(["k22"])
    assert store.read("k22") is None
    assert body(store, 23) == b"23"


@pytest.mark.parametrize("process", [False, True])
def test_the_writing_of_others_is_seen_at_once(store, process):
    read_some(store)
    if process:
        write = (
            "import sys; from awaitly_nb.stores.disk import DiskStore\n"
            "s = DiskStore(sys.argv[1]); s.swap('k21', '{}', [b'new']); s.delete(['k22']); s.close()"
        )
        subprocess.run([sys.executable, "-c", write, store.directory], check=True)
    else:
        with contextlib.closing(DiskStore(store.directory)) as other:
            other.swap("k21", "{}", [b"new"])
            other.delete(["k22"])
    assert body(store, 21) == b"new"
    assert store.read("k22") is None


def test_a_database_in_the_place_of_the_old_one_is_asked(store):
    read_some(store)
    for path in store.directory.glob("cache.db*"):
        path.unlink()
    store.database.fresh()
    assert store.read("k21") is None


def test_large_values_come_from_their_files(tmp_path):
    with contextlib.closing(DiskStore(tmp_path)) as filling:
        for number in range(30):
            filling.swap(f"k{number}", "{}", [b"%d" % number * 40_000])
    with contextlib.closing(DiskStore(tmp_path)) as store:
        assert [bytes(body(store, number)) for number in range(30)] == [b"%d" % number * 40_000 for number in range(30)]


def test_a_row_at_fault_harms_no_other(store):
    with contextlib.closing(sqlite3.connect(store.database.path)) as connection, connection:
        connection.execute("UPDATE Cache SET tag = CAST(x'ff' AS TEXT) WHERE key = 'k40'")
    assert [body(store, number) for number in range(40)] == [b"%d" % number for number in range(40)]
    assert [body(store, number) for number in range(41, COUNT)] == [b"%d" % number for number in range(41, COUNT)]


def test_a_row_of_before_is_not_taken_for_one_that_another_thread_has_just_read(store, monkeypatch):
    read_some(store)
    with contextlib.closing(DiskStore(store.directory)) as other:
        other.swap("k21", "{}", [b"new"])
    version, rowid = store.database.version, store.database.row("SELECT rowid FROM Cache WHERE key = 'k18'", ())[0]

    def after_another_thread_has_read_on():
        monkeypatch.undo()
        store._ahead._last, store._ahead._in_order = rowid - 1, 10
        store._ahead.asked(rowid)
        return version()

    monkeypatch.setattr(store.database, "version", after_another_thread_has_read_on)
    assert body(store, 21) == b"new"
