"""A row is read as it is at that moment, in whatever order rows are asked for, and one at fault harms no other."""

import contextlib
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


def body(store, number):
    return store.read(f"k{number}").body


def test_one_row_after_the_other_again_and_again(store):
    for _ in range(3):
        assert [body(store, number) for number in range(COUNT)] == [b"%d" % number for number in range(COUNT)]


def read_some(store):
    """Ask for some rows in their order."""
    for number in range(20):
        body(store, number)


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
