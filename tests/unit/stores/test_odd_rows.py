"""Rows that nobody here has written: each is passed over or counts as damaged, and hides no other."""

import contextlib
import sqlite3
import sys

import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.errors import DamagedEntryWarning, StoreError
from awaitly_nb.result import Mark, Ok, with_mark
from awaitly_nb.stores.disk import DiskStore

LAST = chr(sys.maxunicode)
BAD_TAG = "UPDATE Cache SET tag = CAST(x'7b22ff' AS TEXT) WHERE key LIKE '%bad'"
BAD_NAME = "UPDATE Cache SET key = CAST(x'1fff41' AS TEXT) WHERE key LIKE '%bad'"
BAD_FILE = "UPDATE Cache SET filename = CAST(x'61622fff' AS TEXT), value = NULL WHERE key LIKE '%bad'"


def damage(folder, sql):
    forget_folders()
    with contextlib.closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as connection:
        assert connection.execute(sql).rowcount == 1


@pytest.fixture
def store(tmp_path):
    store = DiskStore(tmp_path)
    for name in ("first", "bad", "last"):
        store.swap(name, f'"{name}"', [name.encode()])
    yield store
    store.close()


@pytest.mark.parametrize("sql", [BAD_TAG, BAD_NAME, BAD_FILE], ids=["tag", "name", "file"])
def test_bytes_that_are_no_utf8_hide_no_other_row(store, sql):
    damage(store.directory, sql)
    names = ["first", "last"] if sql is BAD_NAME else ["first", "bad", "last"]
    heads = ["" if sql is BAD_TAG and name == "bad" else f'"{name}"' for name in names]
    assert store.names() == names
    assert [(name, head) for name, head, _ in store.heads()] == list(zip(names, heads, strict=True))
    assert [(name, head) for name, head, _ in store.sizes()] == list(zip(names, heads, strict=True))
    assert [(record.name, record.head) for record in store.scan()] == list(zip(names, heads, strict=True))
    assert store.filenames() == set()
    assert store.read("first").body == b"first"
    if sql is BAD_TAG:
        assert store.read("bad").head == ""
        assert [record.body for record in store.scan(bodies=True)] == [b"first", b"bad", b"last"]
    if sql is not BAD_NAME:
        assert store.swap("bad", '"new"', [b"new"]) is not None
        assert store.read("bad").body == b"new"
        assert store.delete(["first", "bad"]) == 2
    assert store.database.connection().text_factory is str


def test_a_folder_with_one_such_row_serves_the_others_and_takes_new_ones(tmp_path):
    cache = caches.create_disk_cache(tmp_path, size_limit=10_000_000)
    for key in ("first", "bad", "last"):
        cache.set(key, with_mark(Ok([key]), Mark(step_id="load")))
    damage(tmp_path, BAD_TAG)
    assert cache.get("last") == Ok(["last"])
    assert [entry.key for entry in cache.entries()] == ["first", "last"]
    with pytest.warns(DamagedEntryWarning, match="'bad' counts as absent"):
        assert cache.get("bad") is None
    cache.set("new", Ok(1))
    cache.set("bad", Ok(2))
    assert {entry.key for entry in cache.entries()} == {"first", "last", "new", "bad"}
    forget_folders()


def test_what_sqlite_refuses_for_another_reason_is_not_asked_twice(store):
    statements = []
    store.database.connection().set_trace_callback(statements.append)
    with pytest.raises(StoreError, match="malformed"):
        store.database.row("SELECT json_extract('{', '$')", ())
    assert len(statements) == 1


@pytest.mark.parametrize("prefix", ["", "a", "\x1f", "a" + LAST, LAST, "\ud7ff", "\ud7ff" + LAST * 2, "ä\0"])
def test_every_name_that_begins_with_a_text_is_listed_and_no_other(tmp_path, prefix):
    store = DiskStore(tmp_path)
    ends = ["", "\0", "z", LAST, LAST * 2, LAST * 3, LAST * 5 + "z", "\ue000"]
    names = [prefix + end for end in ends if prefix + end]
    others = ["`", "b", "\x1e", "\x20", "\ue000b", "å", "\U0010fffe", "\ud7fe" + LAST * 3]
    written = [*names, *(name for name in others if not name.startswith(prefix))]
    for name in dict.fromkeys(written):
        store.swap(name, "{}", [])
    wanted = [name for name in dict.fromkeys(written) if name.startswith(prefix)]
    assert store.names(prefix) == wanted
    assert [name for name, _, _ in store.heads(prefix)] == wanted
    assert [record.name for record in store.scan(prefix)] == wanted
    assert all(name in store.names(name) for name in written)
    store.close()
