"""SIGKILL at random moments, forks and threads: finished steps are there and equal, nothing is torn, no lock stays."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import Ok
from tests.faults.invariants import assert_sound

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

WRITER = textwrap.dedent(
    """
    import sys
    import numpy as np
    from awaitly_nb import cache as caches
    from awaitly_nb.result import Ok
    folder, first, low, high = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    cache = caches.create_disk_cache(folder, namespace=sys.argv[5])
    random = np.random.default_rng(first)
    number = first
    while True:
        # One key for ever replaced, one that is new: both kinds of write are interrupted.
        value = np.full(int(random.integers(low, high)), number)
        with cache.single_flight("replaced"):
            cache.set("replaced", Ok(value))
        with cache.single_flight(f"step {number}"):
            cache.set(f"step {number}", Ok(value))
        # A large one that becomes a small one, and one that goes: their old files are removed after the commit.
        with cache.single_flight("changing"):
            cache.set("changing", Ok(value[:8000]))
            cache.set("changing", Ok(number))
            cache.set("going", Ok(value[:8000]))
            cache.delete("going")
        print(number, flush=True)
        number += 1
    """
)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


def start(script, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options
    )


def kill_at_random(folder, kills, *, low, high):
    """Kill writers of two namespaces again and again; return the last finished step of each."""
    choice = random.Random(7)
    finished = {"a": [], "b": []}
    writers = {}
    for _ in range(kills):
        for name, done in finished.items():
            if name not in writers:
                # A tenth of a million numbers apart: what a killed writer had begun is not what its follower writes.
                first = (done[-1] + 1000) if done else 0
                writers[name] = start(WRITER, folder, first, low, high, name)
        for name, writer in writers.items():
            finished[name].append(int(writer.stdout.readline()))
        victim = choice.choice(list(writers))
        # Any moment within about one write.
        select.select([], [], [], choice.random() * 0.02)
        writer = writers.pop(victim)
        writer.kill()
        finished[victim] += [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
    for name, writer in writers.items():
        writer.kill()
        finished[name] += [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
    return finished


def assert_all_there(folder, finished):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, numbers in finished.items():
            cache = caches.create_disk_cache(folder, namespace=name)
            for number in numbers:
                value = cache.get(f"step {number}").value
                assert (value == number).all()
            last = cache.get("replaced").value
            assert (last == last[0]).all()
            assert last[0] >= numbers[-1]
            for key in ["replaced", "changing", *(f"step {number}" for number in range(numbers[-1] + 2))]:
                flight = cache.single_flight(key)
                assert flight.try_acquire(), f"{key} is still taken by {flight.holder()}"
                flight.release()
    assert_sound(folder)


def test_killed_writers_lose_nothing_that_was_finished(folder):
    finished = kill_at_random(folder, 6, low=20_000, high=100_000)
    assert_all_there(folder, finished)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_kills_during_large_writes(folder):
    finished = kill_at_random(folder, 200, low=375_000, high=3_750_000)
    assert_all_there(folder, finished)


HOLDER = textwrap.dedent(
    """
    import os, sys, time
    from awaitly_nb import cache as caches
    flight = caches.create_disk_cache(sys.argv[1]).single_flight("key")
    acquired = flight.try_acquire()
    if sys.argv[2] == "fork" and os.fork() == 0:
        os.close(1)
        time.sleep(60)  # the child that lives on when its parent is killed
        os._exit(0)
    print(acquired, os.getpid(), flush=True)
    sys.stdin.readline()
    """
)


@pytest.mark.parametrize("kind", ["alone", "fork"])
def test_a_killed_holder_is_taken_over_at_once(folder, kind):
    flight = caches.create_disk_cache(folder).single_flight("key")
    holder = start(HOLDER, folder, kind, stdin=subprocess.PIPE, process_group=0)
    acquired, pid = holder.stdout.readline().split()
    assert acquired == "True"
    try:
        assert flight.try_acquire() is False
        assert flight.holder().startswith(f"kernel {pid} on ")
        os.kill(int(pid), 9)
        holder.wait()
        assert flight.try_acquire() is True
        flight.release()
    finally:
        if kind == "fork":
            os.killpg(holder.pid, 9)
        holder.stdin.close()
        holder.stdout.close()


COMPUTER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from awaitly_nb import cache as caches
    from awaitly_nb.result import Ok
    cache = caches.create_disk_cache(sys.argv[1])
    with cache.single_flight("key"):
        found = cache.get("key")
        if found is None:
            with open(sys.argv[1] + ".computed", "a") as log:
                log.write("x")
            time.sleep(0.3)  # the slow step
            cache.set("key", Ok(42))
            found = cache.get("key")
    print(found.value)
    """
)


def test_eight_processes_compute_one_missing_key_once(folder):
    caches.create_disk_cache(folder).set("other", Ok(1))
    processes = [start(COMPUTER, folder) for _ in range(8)]
    assert [process.communicate()[0] for process in processes] == ["42\n"] * 8
    assert (folder.parent / "cache.computed").read_text() == "x"


def test_a_fork_after_open_leaves_both_sides_working(folder):
    cache = caches.create_disk_cache(folder)
    cache.set("before", Ok([1]))
    assert cache.get("before").value == [1]
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads of the test runner
        child = os.fork()
    if child == 0:
        try:
            ok = cache.get("before").value == [1]
            cache.set("from the child", Ok([2]))
            cache.set("large, from the child", Ok("x" * 100_000))
            ok = ok and cache.get("from the child").value == [2]
            os.write(writing, b"ok" if ok else b"no")
        finally:
            os._exit(0)
    os.close(writing)
    cache.set("from the parent", Ok([3]))
    assert os.read(reading, 2) == b"ok"
    os.close(reading)
    os.waitpid(child, 0)
    assert cache.get("from the child").value == [2]
    assert cache.get("from the parent").value == [3]
    assert cache.get("large, from the child").value == "x" * 100_000
    assert_sound(folder)


def test_a_flight_of_the_parent_is_not_the_childs(folder):
    flight = caches.create_disk_cache(folder).single_flight("key")
    assert flight.try_acquire()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"y" if caches.create_disk_cache(folder).single_flight("key").try_acquire() else b"n")
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"n"
    os.close(reading)
    os.waitpid(child, 0)
    # The child's end has not let go of the parent's lock either.
    script = (
        "import sys; from awaitly_nb import cache as caches; "
        "print(caches.create_disk_cache(sys.argv[1]).single_flight('key').try_acquire())"
    )
    assert start(script, folder).communicate()[0] == "False\n"
    flight.release()
    assert start(script, folder).communicate()[0] == "True\n"


def test_threads_that_write_read_and_delete_at_once(folder):
    cache = caches.create_disk_cache(folder)
    wrong = []
    ready = threading.Barrier(6)

    def work(number):
        choice = random.Random(number)
        ready.wait()
        for i in range(60):
            key = f"key {choice.randrange(8)}"
            match choice.randrange(4):
                case 0:
                    cache.set(key, Ok((key, np.full(choice.choice([3, 9000]), i))))
                case 1:
                    cache.delete(key)
                case _:
                    found = cache.get(key)
                    if found is not None and (found.value[0] != key or len(set(found.value[1].tolist())) != 1):
                        wrong.append(found)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert_sound(folder)


def test_what_one_thread_wrote_the_next_reads(folder):
    """The tier never serves what this process itself has replaced: last write wins in memory as on disk."""
    cache = caches.create_disk_cache(folder)
    until = time.monotonic() + 1
    stale = []

    def read():
        while time.monotonic() < until:
            before = counter[0]
            found = cache.get("key").value
            if found < before:
                stale.append((found, before))

    counter = [0]
    cache.set("key", Ok(0))
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 400):
        cache.set("key", Ok(number))
        counter[0] = number
    until = 0
    for reader in readers:
        reader.join()
    assert stale == []
    assert cache.get("key").value == 399


def test_an_interrupt_during_a_store_waits_for_the_commit(folder):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from awaitly_nb import cache as caches
        from awaitly_nb.result import Ok
        from awaitly_nb.stores.disk import DiskStore
        cache = caches.create_disk_cache(sys.argv[1])
        cache.set("warm", Ok(0))
        whole = DiskStore.swap
        def swap(self, *args, **kwargs):
            os.kill(os.getpid(), signal.SIGINT)
            return whole(self, *args, **kwargs)
        DiskStore.swap = swap
        try:
            cache.set("key", Ok("kept"))
        except KeyboardInterrupt:
            print("interrupted", cache.get("key"))
        """
    )
    assert start(script, folder).communicate()[0] == "interrupted Ok(value='kept')\n"
