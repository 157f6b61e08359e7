"""Equal bytes in SQLite's shared memory spare the question whether somebody has committed, and nothing else changes."""

import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import Ok
from awaitly_nb.stores.disk import DiskStore
from awaitly_nb.stores.disk.database import NOTHING, map_header

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has mapped"
)

ANOTHER = """
import sys
from awaitly_nb import Ok, cache as caches
cache = caches.create_disk_cache(sys.argv[1])
for line in sys.stdin:
    cache.set("k", Ok(int(line)))
    print(line, end="", flush=True)
"""


@contextlib.contextmanager
def another_kernel(folder):
    """Yield a function that has another process store a number and returns once that is committed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen([sys.executable, "-c", ANOTHER, folder], **pipes) as process:

        def store(number):
            process.stdin.write(f"{number}\n")
            assert int(process.stdout.readline()) == number

        yield store
        process.stdin.close()


def asked(database):
    """Return the list in which every statement that SQLite is given is written down from now on."""
    statements = []
    database.connection().set_trace_callback(statements.append)
    return statements


def watched(store):
    """Return the store's database, asked until it has the header mapped."""
    for _ in range(20):
        store.database.version()
    assert store.database._header is not NOTHING
    return store.database


def mapped(path):
    """Return how often this process has the shared memory of the database at `path` mapped."""
    return Path("/proc/self/maps").read_text().count(f"{path}-shm")


@pytest.fixture
def store(tmp_path):
    store = DiskStore(tmp_path)
    store.swap("k", "{}", [b"0"])
    yield store
    store.close()


def test_nothing_is_asked_while_nobody_commits(store):
    database = watched(store)
    before, statements = database.version(), asked(database)
    assert {database.version() for _ in range(1000)} == {before}
    assert statements == []


def test_our_own_commit_is_asked_about_once_and_is_not_taken_for_a_stranger(store):
    database = watched(store)
    before = database.version()
    store.swap("k", "{}", [b"1"])
    statements = asked(database)
    assert {database.version() for _ in range(100)} == {before}
    assert statements == ["PRAGMA data_version"]


def test_every_commit_of_another_process_is_seen_by_the_next_look_up(tmp_path):
    cache = caches.create_disk_cache(tmp_path)
    with another_kernel(tmp_path) as store:
        for number in range(1000):
            store(number)
            assert cache.get("k") == Ok(number)
            assert cache.get("k") == Ok(number)
        assert cache.store.store.store.database._header is not NOTHING
    forget_folders()


def test_commits_during_the_look_up_are_not_lost(store):
    # A writer that never rests: whatever moment a version is read at, once it has stopped the value is the last one.
    database, path = watched(store), store.database.path
    write = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n"
        "for i in range(1, 2001): c.execute(\"UPDATE Cache SET tag = ? WHERE key = 'k'\", (str(i),))"
    )
    with subprocess.Popen([sys.executable, "-c", write, path]) as writer:
        looks = []
        while writer.poll() is None:
            looks.append((database.version(), store.read("k").head))
        database.version()
        assert store.read("k").head == "2000"
    current = {}
    for (version, tag), (later, _) in itertools.pairwise(looks):
        if later == version:  # so nobody committed between the two, and the row that was read is that version's
            assert current.setdefault(version, tag) == tag
    assert len(dict(looks)) > 10
    assert len(current) < len(looks)


def test_a_commit_right_after_sqlite_has_answered_is_seen_next_time(store):
    database = watched(store)
    other = sqlite3.connect(database.path, isolation_level=None)
    ask = database._ask

    def answered_too_soon(sql):
        found = ask(sql).fetchone()
        other.execute("UPDATE Cache SET tag = 'later'")
        return SimpleNamespace(fetchone=lambda: found)

    store.swap("k", "{}", [b"1"])  # so that the bytes are others, and SQLite is asked
    database._ask = answered_too_soon
    version = database.version()
    database._ask = ask
    assert database.version() != version
    other.close()


def test_it_sees_a_checkpoint_and_a_new_log(store):
    database = watched(store)
    other = sqlite3.connect(database.path, isolation_level=None)
    for number in range(20):
        before = database.version()
        other.execute("UPDATE Cache SET tag = ?", (str(number),))
        assert database.version() != before
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert store.read("k").head == str(number)
    other.close()


@pytest.mark.parametrize("again", [False, True])
def test_the_locks_of_sqlite_stay(store, again):
    database = watched(store)
    if again:  # the page is let go while the connection stays, which must not cost it its locks
        database._header = NOTHING
        assert mapped(database.path) == 1
    # Leaving the write-ahead log needs that nobody else is there; SQLite knows that by its locks.
    leave = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode = delete').fetchone())"
    )
    done = subprocess.run([sys.executable, "-c", leave, database.path], capture_output=True, text=True)
    assert "database is locked" in done.stderr
    store.close()
    done = subprocess.run([sys.executable, "-c", leave, database.path], capture_output=True, text=True)
    assert done.stdout == "('delete',)\n"


def test_it_opens_no_descriptor_and_leaves_no_page_mapped(store):
    database = watched(store)
    database.close()
    database.connection()
    database.version()
    before = len(list(Path("/proc/self/fd").iterdir()))
    watched(store)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert mapped(database.path) == 2
    for _ in range(20):
        database.close()
        assert mapped(database.path) == 0
        watched(store)


def test_a_replaced_database_is_another_one(store):
    database = watched(store)
    before = database.version()
    for path in store.directory.glob("cache.db*"):
        path.unlink()
    store.swap("k", "{}", [b"1"])
    assert database.version() not in (before, 0)
    assert watched(store).version() != before


def test_a_child_opens_its_own(store):
    database = watched(store)
    before = database.version()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        try:
            store.swap("k", "{}", [b"child"])
            watched(store)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert database.version() != before
    assert store.read("k").body == b"child"


def test_without_a_write_ahead_log_sqlite_is_asked_each_time(tmp_path):
    path = tmp_path / "plain.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    assert map_header(str(path)) is NOTHING
    path.with_name("plain.db-shm").write_bytes(bytes(96))
    assert map_header(str(path)) is NOTHING  # a file of that name, and not one that SQLite has open
    with path.with_name("plain.db-shm").open("rb"):
        assert map_header(str(path)) is NOTHING  # open, and not what SQLite would have written
    connection.close()


def test_without_ctypes_sqlite_is_asked_each_time(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctypes", None)
    statements = asked(store.database)
    first = [store.database.version() for _ in range(40)]
    assert len(set(first)) == 1
    assert statements == ["PRAGMA data_version"] * 40
