"""Twenty-four kinds of damage to a cache folder: what is served is right, the rest is computed again, and told.

`test_damage` and `test_repair` look closely at single ones; here all go through the same questions.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import warnings

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from tests.faults.invariants import assert_sound

BIG = "x" * 100_000
VALUES = {f"small {i}": {"n": i, "pad": "y" * 2000} for i in range(20)} | {f"big {i}": (i, BIG) for i in range(4)}


@pytest.fixture
def folder(tmp_path):
    """A folder with twenty small and four large entries, closed."""
    cache = caches.create_disk_cache(tmp_path / "cache")
    for key, value in VALUES.items():
        cache.set(key, aw.Ok(value))
    forget_folders()
    yield tmp_path / "cache"
    forget_folders()


def bytes_at(start, size, data):
    """Return what overwrites a part of the database."""

    def harm(folder):
        with (folder / "cache.db").open("r+b") as file:
            file.seek(start)
            file.write(data(size))

    return harm


def database(change):
    """Return what changes the whole file of the database."""

    def harm(folder):
        path = folder / "cache.db"
        path.write_bytes(change(path.read_bytes()))

    return harm


def beside(suffix, data):
    """Return what writes a file beside the database."""

    def harm(folder):
        (folder / f"cache.db{suffix}").write_bytes(data)

    return harm


def rows(*statements):
    """Return what changes rows behind our back."""

    def harm(folder):
        with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return harm


def files(change):
    """Return what changes each value file; None removes it."""

    def harm(folder):
        for path in folder.glob("??/*.val"):
            data = change(path.read_bytes())
            path.unlink()
            if data is not None:
                path.write_bytes(data)

    return harm


def swapped_files(folder):
    one, other, *_ = sorted(folder.glob("??/*.val"))
    data = one.read_bytes()
    other.rename(one)
    other.write_bytes(data)


def removed(folder):
    for path in folder.glob("cache.db*"):
        path.unlink()


def another_database(folder):
    (folder / "cache.db").unlink()
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute("CREATE TABLE mine (x)")


def folders_of_values_removed(folder):
    for path in folder.glob("??"):
        shutil.rmtree(path)


ALL, FILES, SOME = len(VALUES), 4, 0
DAMAGE = {  # and how many entries are served all the same
    "database: zeros": (database(lambda data: bytes(len(data))), FILES),
    "database: cut in half": (database(lambda data: data[: len(data) // 2]), FILES),
    "database: empty": (database(lambda _: b""), FILES),
    "database: random bytes": (database(lambda data: os.urandom(len(data))), FILES),
    "database: its first letters": (bytes_at(0, 16, os.urandom), FILES),
    "database: its page size": (bytes_at(16, 2, lambda _: b"\x00\x03"), FILES),
    "database: its schema": (bytes_at(100, 3996, os.urandom), FILES),
    "database: one page": (bytes_at(4096 * 7, 4096, os.urandom), FILES),
    "database: removed": (removed, FILES),
    "database: another one": (another_database, FILES),
    "database: a page twice": (database(lambda data: data[:20_480] + data[8_192:12_288] + data[24_576:]), FILES),
    "log: random bytes": (beside("-wal", os.urandom(40_000)), ALL),
    "shared memory: random bytes": (beside("-shm", os.urandom(32_768)), ALL),
    "locks: random bytes": (beside("-locks", os.urandom(5_000)), ALL),
    "rows: values of zeros": (rows("UPDATE Cache SET value = zeroblob(length(value)) WHERE value NOTNULL"), FILES),
    "rows: heads cut short": (rows("UPDATE Cache SET tag = substr(tag, 1, length(tag) / 2)"), SOME),
    "rows: one under another's key": (rows("UPDATE Cache SET tag = (SELECT tag FROM Cache WHERE rowid = 1)"), SOME),
    "rows: expired long ago": (rows("UPDATE Cache SET expire_time = 1.0"), ALL),
    "rows: marked as pickles": (rows("UPDATE Cache SET mode = 4"), SOME),
    "files: empty": (files(lambda _: b""), ALL - FILES),
    "files: one byte less": (files(lambda data: data[:-1]), ALL - FILES),
    "files: one byte more": (files(lambda data: data + b"\0"), ALL - FILES),
    "files: swapped": (swapped_files, ALL - FILES),
    "files: removed with their folders": (folders_of_values_removed, ALL - FILES),
}


def test_there_are_24_kinds():
    assert len(DAMAGE) == 24


@pytest.mark.parametrize(("harm", "served"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_served_is_right_and_the_rest_is_computed_again(folder, harm, served):
    harm(folder)
    cache = caches.create_disk_cache(folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = {key: cache.get(key) for key in VALUES}
        there = {key: result for key, result in found.items() if result is not None}
        assert there == {key: aw.Ok(VALUES[key]) for key in there}
        assert len(there) >= served
        cache.keys(), cache.entries(), cache.has("big 1")
        for key in VALUES.keys() - there.keys():
            cache.set(key, aw.Ok(VALUES[key]))
    assert all(issubclass(one.category, aw.AwaitlyWarning) for one in told)
    assert bool(told) or len(there) == len(VALUES), "what is lost is told"
    forget_folders()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = caches.create_disk_cache(folder)
        assert {key: cache.get(key) for key in VALUES} == {key: aw.Ok(value) for key, value in VALUES.items()}
        assert sorted(cache.keys()) == sorted(VALUES)
    assert_sound(folder)
