"""Parts of keys that repeat, as the source of a function does in each of its entries, are stored once for a folder."""

from __future__ import annotations

import contextlib
import pickle
import sqlite3
import warnings
from datetime import UTC, datetime

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.errors import InvalidOptionError
from awaitly_nb.frozen import replace
from awaitly_nb.result import Mark, Ok, mark_of, with_mark

SOURCE = {"kind": "code", "name": "f", "digest": "c0de", "shown": "def f(x): ...\n" * 100}


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


def parts_of(number):
    return {"name": "f", "parts": [SOURCE, {"kind": "argument", "name": "x", "digest": str(number), "shown": number}]}


def filled(folder, count=50):
    cache = caches.create_disk_cache(folder)
    for number in range(count):
        cache.set(f"k{number}", with_mark(Ok(number), Mark(step_id="f", parts=parts_of(number))))
    forget_folders()
    return caches.create_disk_cache(folder)


def rows(folder, sql, *values):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        return connection.execute(sql, values).fetchall()


def test_what_repeats_is_stored_twice_at_most_and_comes_back_whole(folder):
    cache = filled(folder)
    (holding,) = rows(folder, "SELECT count(*) FROM Cache WHERE instr(value, 'def f(x)')")[0]
    assert holding == 2  # inside the first entry, when nobody knew that it repeats; and by itself
    for number in range(50):
        assert dict(mark_of(cache.get(f"k{number}")).parts) == parts_of(number)
    assert [dict(mark.parts) for mark in cache.marks("f", limit=50)] == [parts_of(n) for n in reversed(range(50))]


def test_it_is_no_entry(folder):
    cache = filled(folder)
    assert cache.keys() == [f"k{number}" for number in range(50)]
    assert len(cache.entries()) == 50
    aw.configure(cache_dir=folder)
    assert len(caches.folder_entries()) == len(caches.folder_listing()) == 50
    report = caches.doctor(folder)
    assert (report.entries, report.problems) == (50, ())
    cache.clear()
    assert caches.folder_entries() == []


def test_one_that_is_gone_or_altered_leaves_the_others(folder):
    filled(folder)
    sql = "UPDATE Cache SET value = ? WHERE key >= char(30) AND key < char(31) AND raw = 1"
    rows(folder, sql, b'{"kind":"code","name":"evil","digest":"0","shown":""}')
    cache = caches.create_disk_cache(folder)
    assert cache.get("k7") == Ok(7)
    assert dict(mark_of(cache.get("k7")).parts)["parts"] == parts_of(7)["parts"][1:]
    forget_folders()
    rows(folder, "DELETE FROM Cache WHERE key >= char(30) AND key < char(31)")
    cache = caches.create_disk_cache(folder)
    assert dict(mark_of(cache.get("k7")).parts)["parts"] == parts_of(7)["parts"][1:]


def test_it_is_rescued_from_a_damaged_database(folder):
    filled(folder)
    rows(folder, "CREATE VIEW odd AS SELECT 1")  # not ours, so the database is set aside
    cache = caches.create_disk_cache(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aw.errors.CacheUnusableWarning)
        assert dict(mark_of(cache.get("k7")).parts) == parts_of(7)


def test_no_namespace_is_one_of_such_records(folder):
    with pytest.raises(InvalidOptionError, match="separator"):
        caches.create_disk_cache(folder, namespace="\x1epart")


@pytest.mark.parametrize("use", [repr, hash, pickle.dumps, lambda mark: mark == Mark(), lambda mark: mark.at])
def test_a_mark_that_was_read_is_whole_for_whoever_asks(tmp_path, use):
    at = datetime(2024, 5, 1, tzinfo=UTC)
    mark = Mark(step_id="f", workflow="w", at=at, duration_s=1.5, code="c0de", call="f(1)")
    aw.create_disk_cache(tmp_path).set("k", with_mark(Ok(3), mark))
    forget_folders()
    read = mark_of(aw.create_disk_cache(tmp_path).get("k"))
    use(read)
    assert read == replace(mark, size_bytes=read.size_bytes)
    assert pickle.loads(pickle.dumps(read)) == read
    with pytest.raises(AttributeError, match="has no 'colour'"):
        read.colour  # noqa: B018
