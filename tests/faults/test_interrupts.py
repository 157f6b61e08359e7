"""Ctrl-C at random moments of runs, in four ways: the interrupt leaves the run, and each finished step is stored."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.cache.folder import forget_folders
from tests.faults.counts import count
from tests.faults.invariants import assert_sound

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT"), pytest.mark.slow]

PROGRAM = Path(__file__).with_name("interrupted.py")
WAYS = ("run_sync", "run", "store", "decorated")
INTERRUPTS = count(sample=3, whole=28)  # of each way: 111 and one more
STEPS = 12


class Kernel:
    """The program, in a process of its own."""

    def __init__(self, folder, way):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, folder, way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout.readline() == "ready\n"

    def run(self, number, interrupt_after_s=None):
        """Return how the run ended, which steps came back, how often each was called, and how long it took."""
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "begun\n"
        began = time.perf_counter()
        if interrupt_after_s is not None:
            select.select([], [], [], interrupt_after_s)
            self.process.send_signal(signal.SIGINT)
        ended, came_back, calls = json.loads(self.process.stdout.readline())
        return ended, came_back, {int(step): times for step, times in calls.items()}, time.perf_counter() - began


@contextlib.contextmanager
def kernel(folder, way):
    kernel = Kernel(folder, way)
    try:
        yield kernel
    finally:
        kernel.process.kill()
        kernel.process.communicate()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_leaves_the_run_and_loses_no_finished_step(tmp_path, way):
    moments, interrupted, number = random.Random(11), 0, 0
    with kernel(tmp_path, way) as first:
        first.run(number)  # whatever is imported once
        _, _, _, whole_s = first.run(number := number + 1)
        while interrupted < INTERRUPTS:
            number += 1
            ended, came_back, calls, _ = first.run(number, moments.uniform(0, whole_s))
            interrupted += ended == "interrupted"
            assert ended == "interrupted" or len(came_back) == STEPS
            assert came_back == list(range(len(came_back)))
            assert all(calls[step] == 1 for step in came_back)
            # What came back is stored, and at most one step was under way.
            ended, again, calls, _ = first.run(number)
            assert (ended, again) == ("done", list(range(STEPS)))
            assert set(calls) <= set(range(len(came_back), STEPS))
        with kernel(tmp_path, way) as second:  # no lock, no lease and nothing half-written is left
            for done in range(number + 1):
                assert second.run(done)[:3] == ("done", list(range(STEPS)), {})
    if way != "store":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cache = aw.create_disk_cache(tmp_path / "cache", namespace="runs")
            assert len(cache.keys()) == STEPS * (number + 1)
            assert (cache.get(f"{number}:1").value == np.full(20_000, number * STEPS + 1.0)).all()
        forget_folders()
        assert_sound(tmp_path / "cache")
