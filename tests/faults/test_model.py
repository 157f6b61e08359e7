"""The disk cache against a dict, by a machine that reopens, kills, damages and turns the clock among its moves."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import Err, Ok
from awaitly_nb.stores.disk import database
from awaitly_nb.testing import FakeClock
from tests.faults.invariants import assert_sound

KEYS = st.sampled_from(["a", "b", "c", "key with 'quotes'"])
VALUES = st.one_of(
    st.integers(),
    st.text(max_size=20),
    st.sampled_from([1_000, 40_000, 200_000]).map(lambda size: bytes(range(256)) * (size // 256)),
)

KILLED_WRITER = textwrap.dedent(
    """
    import os, sys
    from awaitly_nb import cache as caches
    from awaitly_nb.result import Ok
    from awaitly_nb.stores.disk.database import Database
    cache = caches.create_disk_cache(sys.argv[1])
    cache.set("finished", Ok(b"f" * 50_000))
    # Killed between the file and its row: the worst moment there is.
    Database.insert = Database.transaction = lambda *_: os.kill(os.getpid(), 9)
    cache.set("a", Ok(b"never" * 20_000))
    """
)
WRITER = textwrap.dedent(
    """
    import sys
    from awaitly_nb import cache as caches
    from awaitly_nb.result import Ok
    caches.create_disk_cache(sys.argv[1]).set(sys.argv[2], Ok(["from another process", int(sys.argv[3])]))
    """
)


class DiskCacheMachine(RuleBasedStateMachine):
    """Keeps what a dict keeps, as long as nobody touches its bytes; a touched entry is absent, never wrong."""

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp(prefix="awaitly-model-")) / "cache"
        self.clock = FakeClock(at=1_700_000_000)
        self.model = {}
        self.processes = 0
        self.open()

    def open(self):
        self.cache = caches.create_disk_cache(self.folder, clock=self.clock)

    def alive(self):
        return {key: result for key, (result, until) in self.model.items() if until is None or self.clock() <= until}

    @rule(key=KEYS, value=VALUES, failed=st.booleans(), ttl=st.sampled_from([None, None, 5, 50]))
    def set(self, key, value, failed, ttl):
        result = Err(value) if failed else Ok(value)
        self.cache.set(key, result, ttl=ttl)
        self.model[key] = (result, None if ttl is None else self.clock() + ttl)

    @rule(key=KEYS)
    def get(self, key):
        assert self.cache.get(key) == self.alive().get(key)
        assert self.cache.has(key) == (key in self.alive())

    @rule(key=KEYS)
    def delete(self, key):
        assert self.cache.delete(key) == (key in self.model)
        self.model.pop(key, None)

    @rule()
    def clear(self):
        self.cache.clear()
        self.model.clear()

    @rule(seconds=st.sampled_from([1, 5, 30]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def reopen(self):
        forget_folders()
        self.open()

    @rule(key=KEYS, value=VALUES)
    def write_through_a_second_handle(self, key, value):
        with caches.folder._folders_lock:
            kept = dict(caches.folder._folders)
            caches.folder._folders.clear()
        other = caches.create_disk_cache(self.folder, clock=self.clock)
        other.set(key, Ok(value))
        other.store.store.close()
        with caches.folder._folders_lock:
            caches.folder._folders.clear()
            caches.folder._folders.update(kept)
        self.model[key] = (Ok(value), None)

    @precondition(lambda self: self.processes < 2)
    @rule(key=KEYS, number=st.integers(0, 99))
    def write_in_another_process(self, key, number):
        self.processes += 1
        subprocess.run([sys.executable, "-c", WRITER, self.folder, key, str(number)], check=True)
        self.model[key] = (Ok(["from another process", number]), None)

    @precondition(lambda self: self.processes < 2)
    @rule()
    def kill_a_writer(self):
        self.processes += 1
        done = subprocess.run([sys.executable, "-c", KILLED_WRITER, self.folder])
        assert done.returncode == -9
        self.model["finished"] = (Ok(b"f" * 50_000), None)

    @rule(key=KEYS)
    def flip_a_byte(self, key):
        # What a rule may do hangs on the model alone: names of files are random, and hypothesis repeats itself.
        if key not in self.model or (name := self.rows()[key]) is None:
            return
        path = self.folder / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        forget_folders()  # what is in memory is right, and may be served
        self.open()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert self.cache.get(key) is None
            assert self.cache.delete(key) is True
        self.model.pop(key)

    @rule()
    def delete_the_folder(self):
        shutil.rmtree(self.folder)
        self.model.clear()
        assert self.cache.keys() == []

    @precondition(lambda self: self.model)
    @rule()
    def lose_the_database(self):
        self.reopen()
        self.cache.keys()  # what a killed writer left is removed; else its file, which verifies, would be found again
        large = {key for key, row in self.rows().items() if row is not None}
        forget_folders()
        for path in self.folder.glob("cache.db*"):
            path.unlink()
        self.open()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.cache.keys()
        self.model = {key: kept for key, kept in self.model.items() if key in large}

    def rows(self):
        with contextlib.closing(sqlite3.connect(self.folder / "cache.db")) as connection, connection:
            found = connection.execute("SELECT key, filename FROM Cache").fetchall()
        connection.close()
        return {key.removeprefix("\x1f"): filename for key, filename in found}

    @invariant()
    def keys_are_the_models(self):
        if hasattr(self, "cache"):
            assert sorted(self.cache.keys()) == sorted(self.alive())

    def teardown(self):
        if hasattr(self, "cache"):
            forget_folders()
            caches.create_disk_cache(self.folder).get("x")
            assert_sound(self.folder)
            shutil.rmtree(self.folder.parent)


@pytest.fixture(autouse=True)
def watched_from_the_start(monkeypatch):
    """Few of the machine's connections live for as many look-ups as it takes to have the shared memory watched."""
    monkeypatch.setattr(database, "_WATCHED_FROM", 1)


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


def test_the_disk_cache_behaves_like_a_dict():
    run_state_machine_as_test(
        DiskCacheMachine,
        settings=settings(max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=CHECKS),
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_disk_cache_behaves_like_a_dict_for_two_thousand_steps():
    run_state_machine_as_test(
        DiskCacheMachine,
        settings=settings(max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=CHECKS),
    )
