"""A folder that can only be read here while others write it, as containers mount them: no stale value is served."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.errors import CacheError, StoreError
from awaitly_nb.result import Ok
from awaitly_nb.stores.disk import DiskStore, database

WRITER = """
import sys
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok
cache = caches.create_disk_cache(sys.argv[1])
for line in sys.stdin:
    key, value = line.split()
    cache.set(key, Ok(value))
    print(line, end="", flush=True)
"""


class Writer:
    """Another container, which may write."""

    def __init__(self, folder):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = subprocess.Popen([sys.executable, "-c", WRITER, folder], **pipes)

    def set(self, key, value):
        self.process.stdin.write(f"{key} {value}\n")
        assert self.process.stdout.readline() == f"{key} {value}\n"

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def folders(tmp_path):
    """One folder twice: as it can be written, and mounted to be read; with it what mounts the second anew."""

    def mount(*arguments):
        return subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)

    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    for name in ("all", "read"):
        (tmp_path / name).mkdir()
    done = mount("--bind", tmp_path / "all", tmp_path / "read")
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here ({done.stderr.strip()})")

    def remount(how):
        done = mount("-o", f"remount,bind,{how}", tmp_path / "read")
        if done.returncode != 0:
            pytest.skip(f"mounting to be read is not permitted here ({done.stderr.strip()})")

    try:
        remount("ro")
        yield tmp_path / "all" / "cache", tmp_path / "read" / "cache", remount
    finally:
        forget_folders()
        subprocess.run(["umount", tmp_path / "read"], check=True)


def test_what_another_writes_is_seen_whether_it_lives_or_not(folders):
    place, view, _ = folders
    writer = Writer(place)
    writer.set("k", "one")
    writer.set("j", "one")
    writer.end()
    cache = caches.create_disk_cache(view)
    assert [cache.get("k"), cache.get("k"), cache.keys()] == [Ok("one"), Ok("one"), ["k", "j"]]
    assert "immutable" in cache.store.store.store.database._how
    for value in ("two", "three"):
        writer = Writer(place)
        writer.set("k", value)
        writer.set(value, value)
        assert [cache.get("k"), cache.get(value), cache.get("j")] == [Ok(value), Ok(value), Ok("one")]
        writer.set("k", f"{value}-again")
        assert cache.get("k") == Ok(f"{value}-again")
        writer.set("k", value)
        writer.end()
        assert [cache.get("k"), cache.get(value)] == [Ok(value), Ok(value)]
        cache.store.store.close()  # so that the writer's log is tidied up, and the file is immutable again
        tidy = Writer(place)
        tidy.set("tidy", value)
        tidy.end()
        assert cache.get("k") == Ok(value)
    assert cache.keys() == ["k", "j", "two", "tidy", "three"]


@pytest.mark.parametrize("writer_lives", [False, True])
def test_a_folder_that_becomes_writable_is_written(folders, writer_lives):
    place, view, remount = folders
    writer = Writer(place)
    writer.set("k", "one")
    if not writer_lives:
        writer.end()
    cache = caches.create_disk_cache(view)
    assert cache.get("k") == Ok("one")
    for _ in range(2):
        with pytest.raises(CacheError, match="readonly database"):
            cache.set("z", Ok(1))
    assert cache.get("k") == Ok("one")
    remount("rw")
    cache.set("z", Ok(1))
    assert [cache.get("z"), cache.get("k"), cache.keys()] == [Ok(1), Ok("one"), ["k", "z"]]
    if writer_lives:
        writer.end()


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    """A store in this process that reads as on a medium that cannot be written, and one that writes."""
    place, view = DiskStore(tmp_path), DiskStore(tmp_path)
    place.swap("k", "{}", [b"one"])
    place.close()
    view.database._connect_as = lambda how: _refuse(how) or type(view.database)._connect_as(view.database, how)
    real = database.os.access
    monkeypatch.setattr(database.os, "access", lambda path, mode: mode != database.os.W_OK and real(path, mode))
    yield place, view
    place.close()
    view.close()


def _refuse(how):
    if "immutable" not in how:
        exc = database.sqlite3.OperationalError("unable to open database file")
        exc.sqlite_errorcode = database.sqlite3.SQLITE_CANTOPEN
        raise exc


def test_a_connection_that_never_looks_is_opened_anew_when_the_file_changed(frozen):
    place, view = frozen
    assert view.read("k").body == b"one"
    before, known = view.database.version(), view.database.connection()
    assert view.database.version() == before
    assert view.database.fresh() is known
    place.swap("k", "{}", [b"two"])  # into the log, which such a connection does not read
    assert view.database.fresh() is not known
    assert view.database.version() != before
    assert view.database.fresh() is view.database.connection()
    place.close()  # so into the database
    view.database.fresh()
    assert view.read("k").body == b"two"
    with pytest.raises(StoreError, match="readonly"):
        view.swap("k", "{}", [b"three"])
