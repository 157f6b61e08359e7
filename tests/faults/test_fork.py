"""Kernels that fork, at any moment: nothing that either side stores is lost, and neither waits for what nobody has."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import secrets
from awaitly_nb.result import Ok
from awaitly_nb.stores.disk import DiskStore, forks
from tests.faults.invariants import assert_sound

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

BEGIN = """
import os, signal, sys, threading
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok
cache = caches.create_disk_cache(sys.argv[1])
"""

# Speaks to the test through the pipes that it shares with its child.
FORKING = BEGIN + textwrap.dedent(
    """
    cache.set("k", Ok("parent"))
    if os.fork() == 0:
        cache.set("child before", Ok(1))
        print("forked", flush=True)
        sys.stdin.readline()
        cache.set("child after", Ok(2))
        cache.set("child large", Ok("x" * 100_000))
        print(sorted(cache.keys()), flush=True)
        os._exit(0)
    signal.pause()
    """
)

# Two threads write and read without a pause while a third forks; a child that hangs is ended by its alarm.
BUSY = BEGIN + textwrap.dedent(
    """
    import awaitly_nb as aw
    if sys.argv[2] == "memory":
        cache = aw.create_memory_cache()
    # Python itself hangs in a child whose parent was importing a module that the child imports too.
    cache.set("first", Ok("x" * 40_000))
    assert cache.get("first").ok and cache.keys()
    stopped, written = threading.Event(), []

    def work(who):
        number = 0
        while not stopped.is_set():
            number += 1
            key = f"parent {who} {number}"
            cache.set(key, Ok("x" * (40_000 if number % 10 == 0 else 10)))
            assert cache.get(key) is not None
            len(cache.keys())
            written.append(key)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    ends = []
    for number in range(50):
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            code = 1
            try:
                cache.set(f"child {number}", Ok("x" * 40_000 if number % 5 == 0 else number))
                code = 0 if cache.get(f"child {number}").ok and len(cache.keys()) > 0 else 2
            finally:
                os._exit(code)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stopped.set()
    for thread in threads:
        thread.join()
    assert ends == [0] * 50, ends
    kept = set(cache.keys())
    assert kept.issuperset([*written, "first"]), "the parent lost something"
    if sys.argv[2] == "disk":
        assert kept.issuperset(f"child {number}" for number in range(50)), "a child lost something"
        assert all(cache.get(key).ok for key in kept)
    print("all kept")
    """
)

LEAVE_THE_LOG = (
    "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode = delete').fetchone())"
)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


@pytest.fixture
def store(tmp_path):
    store = DiskStore(tmp_path)
    store.swap("k", "{}", [b"0"])
    yield store
    store.close()


def run(script, *arguments):
    """Run a script in a new process, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_child(do):
    """Fork, run `do` in the child, and return what it returned; an alarm ends a child that hangs."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)
        try:
            said = repr(do())
        except BaseException as exc:
            said = f"{type(exc).__name__}: {exc}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read().decode()
    assert os.waitpid(child, 0)[1] == 0, "the child hung"
    return said


def write(store, name="child"):
    return store.swap(name, "{}", [b"1"]) is not None


def test_a_child_outlives_its_parent_beside_a_kernel_that_comes_and_goes(folder):
    script = [sys.executable, "-c", FORKING, folder]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "forked\n"
        parent.kill()
        parent.wait()
        another = BEGIN + "print(sorted(cache.keys())); cache.set('k', Ok('new'))"
        assert run(another, folder) == "['child before', 'k']\n"
        parent.stdin.write("go on\n")
        parent.stdin.flush()
        everything = "['child after', 'child before', 'child large', 'k']\n"
        assert parent.stdout.readline() == everything
    assert run(BEGIN + "print(sorted(cache.keys())); assert cache.get('k').value == 'new'", folder) == everything
    assert_sound(folder)


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_forks_beside_threads_that_never_rest(folder, kind):
    assert run(BUSY, folder, kind) == "all kept\n"
    if kind == "disk":
        assert_sound(folder)


def test_the_parent_keeps_its_locks(store):
    assert in_child(lambda: write(store)) == "True"
    # Leaving the write-ahead log needs that nobody else is there; SQLite knows that by its locks.
    done = subprocess.run([sys.executable, "-c", LEAVE_THE_LOG, store.database.path], capture_output=True, text=True)
    assert "database is locked" in done.stderr
    write(store, "parent")
    assert store.names() == ["k", "child", "parent"]
    assert store.database.row("PRAGMA integrity_check", ()) == ("ok",)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells what a process has open")
def test_a_child_holds_nothing_of_what_it_inherited(store):
    def opened():
        return sorted({Path(found).name for found in open_files() if found.startswith(store.database.path)})

    def open_files():
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(descriptor.readlink())

    for number in range(2000):
        store.database.queue.close()
        write(store, f"n{number}")
    listing = store.scan()
    next(listing)
    for _ in range(20):
        store.database.version()  # until the page of shared memory is mapped
    store.database.queue.close()
    assert opened() == ["cache.db", "cache.db-shm", "cache.db-wal"]
    assert in_child(opened) == "[]"
    assert "begun in another process" in in_child(lambda: list(listing))
    assert len(list(listing)) == 2000  # the parent's goes on


def test_a_fork_in_a_thread_that_has_the_lock(store):
    with store.database.lock:
        assert in_child(lambda: write(store)) == "True"
        write(store, "parent")
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(write(store, "thread")))
    thread.start()
    thread.join()
    assert elsewhere == [True]
    assert store.names() == ["k", "child", "parent", "thread"]


def test_a_fork_waits_for_a_write_and_not_for_one_that_does_not_end(store, monkeypatch):
    monkeypatch.setattr(forks, "_PATIENCE_S", 0.05)
    inside, go_on = threading.Event(), threading.Event()

    def slowly():
        with store.database.transaction() as connection:
            connection.execute("UPDATE Cache SET tag = tag")
            inside.set()
            go_on.wait()

    writer = threading.Thread(target=slowly)
    writer.start()
    inside.wait()
    try:
        # What the child wrote could be lost, so it is told at once; what it may not close it leaves alone.
        assert "forked while another thread" in in_child(lambda: write(store))
        assert "forked while another thread" in in_child(lambda: write(DiskStore(store.directory)))
    finally:
        go_on.set()
        writer.join()
    assert write(store, "parent")
    assert in_child(lambda: write(store)) == "True"
    assert store.names() == ["k", "parent", "child"]


def test_two_threads_that_fork_at_once(store, tmp_path):
    others = [DiskStore(tmp_path / str(number)) for number in range(20)]
    for other in others:
        write(other)
    ready, said = threading.Barrier(2), []

    def fork(who):
        ready.wait()
        for number in range(10):
            said.append(in_child(lambda name=f"{who} {number}": write(store, name)))

    threads = [threading.Thread(target=fork, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["True"] * 20
    assert len(store.names()) == 21
    for other in others:
        other.close()


@pytest.mark.parametrize("lock", ["memory", "secret"])
def test_a_lock_that_another_thread_has_at_the_fork_is_free_in_the_child(lock, monkeypatch):
    cache = aw.create_memory_cache()
    cache.set("k", Ok(1))
    monkeypatch.setattr(secrets, "_keyrings", {})
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with cache.store._lock if lock == "memory" else secrets._lock:
            held.set()
            go_on.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        assert in_child(lambda: (cache.get("k").value, bool(secrets.default_keyring()))) == "(1, True)"
    finally:
        go_on.set()
        holder.join()


def test_a_database_that_is_forgotten_is_forgotten_for_forks_too(tmp_path):
    before = len(forks._live)
    for number in range(5):
        store = DiskStore(tmp_path / str(number))
        write(store)
        store.heads()
        store.close()
        del store
    assert len(forks._live) == before


def test_the_database_is_sound_after_many_generations(folder):
    script = BEGIN + textwrap.dedent(
        """
        for generation in range(5):
            cache.set(f"generation {generation}", Ok(generation))
            if child := os.fork():
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    run(script, folder)
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(caches.create_disk_cache(folder).keys()) == 5
    assert_sound(folder)


IMPORTING = textwrap.dedent(
    """
    import importlib.abc, os, signal, sys, threading, time
    from awaitly_nb import cache as caches
    from awaitly_nb.result import Ok
    name, folder = sys.argv[1:]

    class Slowly(importlib.abc.MetaPathFinder):
        def find_spec(self, wanted, path, target=None):
            if wanted == name and threading.current_thread() is not threading.main_thread():
                importing.set()
                time.sleep(0.5)  # the other thread forks meanwhile

    importing = threading.Event()
    sys.meta_path.insert(0, Slowly())
    cache = caches.create_disk_cache(folder)
    assert cache.get("k") == Ok(1)
    assert name not in sys.modules
    thread = threading.Thread(target=__import__, args=(name,))
    thread.start()
    assert importing.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        __import__(name)
        os._exit(0 if cache.get("k") == Ok(1) else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0, "the child hung"
    print("both went on")
    """
)


@pytest.mark.parametrize(
    "module",
    ["awaitly_nb.cache.repair", "awaitly_nb.codec.failures", "awaitly_nb.stores.disk.salvage", "diskcache.fanout"],
)
def test_a_fork_while_another_thread_imports_what_the_child_needs(folder, module):
    caches.create_disk_cache(folder).set("k", Ok(1))  # so that the other process need not make the tables
    forget_folders()
    assert run(IMPORTING, module, folder) == "both went on\n"
