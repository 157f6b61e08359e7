"""What somebody who can write to the folder puts there: it neither runs, nor holds anybody up, nor is served."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.errors import CacheUnusableWarning, DamagedEntryWarning, UnverifiedEntryError
from awaitly_nb.locks import records
from awaitly_nb.stores.disk import database, files
from tests.faults.invariants import assert_sound

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX files and modes")

LARGE = np.arange(1_200_000.0)  # read through a map
MIDDLE = np.arange(300_000.0)  # authenticated by MACs, read into memory

LOOK = textwrap.dedent(
    """
    import sys, warnings
    warnings.simplefilter("ignore")
    import awaitly_nb as aw
    cache = aw.create_disk_cache(sys.argv[1])
    print(cache.get("small"), cache.get("text") is not None, cache.keys())
    try:
        cache.set("after", aw.Ok(1))
    except aw.AwaitlyError as exc:
        print(exc)
    else:
        print(cache.get("after"))
    """
)

ENDLESS = (
    "CREATE VIEW Cache AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS rowid, 'k' AS"
    " key, 1 AS raw, 1.0 AS store_time, NULL AS expire_time, 1.0 AS access_time, 0 AS access_count, '{}' AS tag, 0 AS"
    " size, 1 AS mode, NULL AS filename, x'00' AS value FROM n"
)
PLANTED = {
    "a view without an end": ["DROP TABLE Cache", ENDLESS],
    "a view of the settings": ["DROP TABLE Settings", "CREATE VIEW Settings AS SELECT 'count' AS key, 0 AS value"],
    "a trigger that deletes": [
        "CREATE TRIGGER evil AFTER INSERT ON Cache BEGIN DELETE FROM Cache WHERE key NOT LIKE '%after'; END"
    ],
    "a trigger with one of our names": [
        "DROP TRIGGER Settings_count_insert",
        "CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END",
    ],
    "an index on a condition": ["CREATE INDEX evil ON Cache (key) WHERE raw > 0"],
    "another table": ["CREATE TABLE mine (x)"],
}


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


@pytest.fixture
def cache(folder):
    cache = caches.create_disk_cache(folder)
    cache.set("small", aw.Ok(1))
    cache.set("text", aw.Ok("x" * 100_000))
    return cache


def reopened(folder):
    forget_folders()
    return caches.create_disk_cache(folder)


def file_of(folder, key):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection:
        ((name,),) = connection.execute("SELECT filename FROM Cache WHERE key = ?", (f"\x1f{key}",))
    return folder / name


def look(folder):
    """Use the folder in another process, which is ended if it hangs."""
    forget_folders()
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("statements", PLANTED.values(), ids=PLANTED)
def test_a_database_with_what_we_do_not_make_is_set_aside(folder, cache, statements):
    forget_folders()
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    found, after = look(folder)
    assert after == "Ok(value=1)"
    assert "True" in found  # found again in its file
    assert len(list(folder.glob("cache.db.damaged-*[0-9]"))) == 1
    if "DROP TABLE Cache" not in statements:
        assert found.startswith("Ok(value=1)")  # rescued from its row
    assert_sound(folder)


def test_it_is_told(folder, cache):
    forget_folders()
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute("CREATE VIEW odd AS SELECT 1")
    assert "damaged" in str(caches.doctor(folder))
    with pytest.warns(CacheUnusableWarning, match="a view 'odd'"):
        assert reopened(folder).get("small") == aw.Ok(1)


def test_what_another_version_of_diskcache_makes_is_no_offence(folder, cache, monkeypatch):
    monkeypatch.setattr(database, "_SCHEMA", frozenset())
    assert reopened(folder).get("small") == aw.Ok(1)


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device"])
def test_what_is_no_file_in_the_place_of_a_value_file_is_a_miss(folder, cache, kind, monkeypatch):
    path = file_of(folder, "text")
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # zeros without an end
        except PermissionError:
            path.symlink_to("/dev/zero")
    else:
        import socket

        monkeypatch.chdir(path.parent)  # such a path is short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    assert look(folder)[0].startswith("Ok(value=1) False")
    with pytest.warns(DamagedEntryWarning):
        assert reopened(folder).get("text") is None
    with pytest.raises(UnverifiedEntryError):
        caches.create_disk_cache(folder, verify="strict").get("text")


@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal", "cache.db-locks", "cache.db-queue"])
def test_a_pipe_in_the_place_of_another_file_holds_nobody_up(folder, cache, name):
    forget_folders()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    found = look(folder)
    if name in ("cache.db-locks", "cache.db-queue"):
        assert found == ["Ok(value=1) True ['small', 'text']", "Ok(value=1)"]
    else:
        assert found[0] == "None False []"
        assert "no regular file" in found[1]


def overwritten(path):
    """Other bytes of the same number, with the times as they were."""
    info = path.stat()
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[-8:] = bytes(8)
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def cut_short(path):
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size - 4096)


def replaced(path):
    data = bytearray(path.read_bytes())
    data[-8:] = bytes(8)
    path.with_name("new").write_bytes(data)
    path.with_name("new").replace(path)


@pytest.mark.parametrize("harm", [overwritten, cut_short, replaced], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("value", [LARGE, MIDDLE], ids=["mapped", "read"])
def test_a_value_file_that_is_changed_after_a_hit_is_not_served(folder, cache, harm, value):
    cache.set("array", aw.Ok(value))
    for _ in range(2):
        np.testing.assert_array_equal(reopened(folder).get("array").value, value)
    again = caches.create_disk_cache(folder)
    again.get("array")
    harm(file_of(folder, "array"))
    with pytest.warns(DamagedEntryWarning):
        assert again.get("array") is None
    with pytest.raises(UnverifiedEntryError):
        caches.create_disk_cache(folder, verify="strict").get("array")


def test_a_file_that_was_only_touched_is_authenticated_anew_and_served(folder, cache):
    cache.set("array", aw.Ok(LARGE))
    cache.get("array")
    os.utime(file_of(folder, "array"))
    np.testing.assert_array_equal(cache.get("array").value, LARGE)


def test_value_files_can_be_written_by_nobody(folder, cache):
    assert stat.S_IMODE(file_of(folder, "text").stat().st_mode) == 0o400


@pytest.mark.parametrize("spoil", [lambda path: path.chmod(0o600), lambda path: os.chown(path, 4711, 4711)])
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_somebody_may_write_to_is_read_and_not_mapped(folder, cache, spoil):
    cache.set("array", aw.Ok(LARGE))
    before = len(files._maps)
    mapped = reopened(folder).get("array").value
    assert len(files._maps) == before + 1
    spoil(file_of(folder, "array"))
    value = reopened(folder).get("array").value
    assert len(files._maps) == before + 1
    overwritten(file_of(folder, "array"))
    np.testing.assert_array_equal(value, LARGE)
    del mapped


def descriptors():
    return list(Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells what a process has open")
def test_hundreds_of_folders_hold_few_descriptors(tmp_path):
    before = len(descriptors())
    caches.create_disk_cache(tmp_path / "0").set("k", aw.Ok(1))
    forget_folders()
    for number in range(1, 300):
        shutil.copytree(tmp_path / "0", tmp_path / str(number))
    every = [caches.create_disk_cache(tmp_path / str(number)) for number in range(300)]
    for cache in every:
        assert cache.get("k") == aw.Ok(1)
        with cache.single_flight("k"):
            pass
    most = 6 * database._MOST_OPEN + 2 * records._MOST_OPEN
    assert len(descriptors()) - before <= most < 300
    assert [cache.get("k") for cache in every] == [aw.Ok(1)] * 300
    assert len(descriptors()) - before <= most
    forget_folders()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells what a process has open")
def test_an_idle_folder_is_closed_when_another_is_opened_and_one_in_use_is_not(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(database, "_monotonic", lambda: now[0])
    idle, busy, third = (caches.create_disk_cache(tmp_path / name) for name in ("idle", "busy", "third"))
    for cache in (idle, busy):
        cache.set("k", aw.Ok(1))
    now[0] += 60
    busy.get("k")
    third.set("k", aw.Ok(1))

    def is_open(name):
        held = []
        for descriptor in descriptors():
            with contextlib.suppress(OSError):  # the one that listed them
                held.append(descriptor.readlink())
        return tmp_path / name / "cache.db" in held

    assert [is_open(name) for name in ("idle", "busy", "third")] == [False, True, True]
    assert idle.get("k") == aw.Ok(1)
    forget_folders()


def test_a_lock_that_is_held_survives_the_closing_of_idle_files(tmp_path):
    held = records.RecordLocks(tmp_path / "held").flight("k")
    assert held.try_acquire()
    for number in range(3 * records._MOST_OPEN):
        flight = records.RecordLocks(tmp_path / str(number)).flight("k")
        assert flight.try_acquire()
        flight.release()
    ask = (
        "import sys; from awaitly_nb.locks import RecordLocks; "
        "print(RecordLocks(sys.argv[1]).flight('k').try_acquire())"
    )
    done = subprocess.run([sys.executable, "-c", ask, tmp_path / "held"], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    held.release()
