"""The disk store: an ordinary diskcache folder, whose database is watched, and files that are read without copies."""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3

import diskcache
import pytest

from awaitly_nb.stores.disk import DiskStore
from awaitly_nb.stores.disk.database import is_network
from awaitly_nb.stores.disk.files import MAP_FROM, MAX_MAPS


@pytest.fixture
def store(tmp_path):
    store = DiskStore(tmp_path / "folder")
    yield store
    store.close()


def test_diskcache_reads_and_counts_what_is_kept(store):
    store.swap("small", '{"n": 1}', [b"abc"])
    store.swap("large", '{"n": 2}', [b"x" * 50_000])
    with diskcache.Cache(os.fspath(store.directory)) as peer:
        assert len(peer) == 2
        assert peer.get("small", tag=True) == (b"abc", '{"n": 1}')
        assert peer.get("large").endswith(b"x" * 50_000)
        assert list(peer) == ["small", "large"]
        assert peer.delete("small")
    assert store.read("small") is None


def test_a_handle_touches_nothing_until_it_is_used(tmp_path):
    DiskStore(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_the_version_changes_only_when_somebody_else_writes(store):
    store.swap("a", "{}", [b"1"])
    before = store.database.version()
    store.swap("a", "{}", [b"2"])
    assert store.database.version() == before
    other = DiskStore(store.directory)
    other.swap("a", "{}", [b"3"])
    assert store.database.version() != before
    other.close()


def test_a_new_connection_never_returns_an_old_version(store):
    seen = set()
    for _ in range(3):
        version = store.database.version()
        assert version not in seen
        seen.add(version)
        store.close()


def test_a_mapped_body_is_writable_and_private(store):
    store.swap("k", "{}", [bytes(MAP_FROM)])
    one, other = store.read("k").body, store.read("k").body
    one[0] = 7
    assert other[0] == 0
    assert store.read("k").body[0] == 0
    assert not one.readonly


def test_beyond_the_number_of_maps_files_are_read(store):
    store.swap("k", "{}", [bytes(MAP_FROM)])
    bodies = [store.read("k").body for _ in range(MAX_MAPS + 3)]
    assert {type(body.obj).__name__ for body in bodies} == {"mmap", "bytearray"}
    assert all(bytes(body[:2]) == b"\0\0" for body in bodies)


def test_a_file_outlives_its_record_for_those_who_have_it_open(store):
    store.swap("k", "{}", [b"\1" * MAP_FROM])
    body = store.read("k").body
    store.delete(["k"])
    assert body[-1] == 1
    assert not list(store.directory.glob("??"))


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("/dev/vda / ext4 rw 0 0\n", False),
        ("/dev/vda / ext4 rw 0 0\nserver:/home /home/me nfs4 rw 0 0\n", True),
        ("server:/ / nfs rw 0 0\n/dev/sda /home ext4 rw 0 0\n", False),
        ("x / ext4 rw 0 0\nhost:/x /home/me/data\\040set fuse.sshfs rw 0 0\n", False),
    ],
)
def test_network_file_systems_are_told_by_the_nearest_mount(tmp_path, mounts, expected, monkeypatch):
    file = tmp_path / "mounts"
    file.write_text(mounts)
    monkeypatch.setattr(os.path, "realpath", os.fspath)
    from pathlib import Path

    assert is_network(Path("/home/me/project/.awaitly"), str(file)) is expected
    if "data\\040set" in mounts:
        assert is_network(Path("/home/me/data set/.awaitly"), str(file)) is True


def test_on_a_network_file_system_there_is_no_write_ahead_log_and_no_map(store, monkeypatch):
    monkeypatch.setattr("awaitly_nb.stores.disk.database.is_network", lambda directory: True)
    store.swap("k", "{}", [bytes(MAP_FROM)])
    assert store.database.row("PRAGMA journal_mode", ()) == ("delete",)
    assert type(store.read("k").body.obj) is bytearray


def test_a_folder_whose_tables_another_process_is_still_making_can_be_used(tmp_path):
    DiskStore(tmp_path).names()
    # Settings are made first, with their rows, and only then the table of entries, its indexes and triggers.
    with contextlib.closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("DROP TABLE Cache")
    store = DiskStore(tmp_path)
    assert store.read("k") is None
    store.swap("k", "{}", [b"new"])
    assert store.names() == ["k"]
    with contextlib.closing(diskcache.Cache(tmp_path)) as peer:
        assert peer.check() == []


def test_a_store_that_nobody_refers_to_closes_its_connection(tmp_path):
    store = DiskStore(tmp_path)
    connection = store.database.connection()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    del store
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
