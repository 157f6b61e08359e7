"""Eight processes begin one run at the same moment, 1,920 runs in all: each step is computed once, and nobody fails.

In a cache folder and in a shared cache everybody gets each result. Of a stored state one has the lease and pays; the
others are told who it is, or find all steps finished.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb.cache.folder import forget_folders
from tests.faults.counts import count
from tests.faults.invariants import assert_sound

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PROGRAM = Path(__file__).with_name("racer.py")
PROCESSES, STEPS = 8, 4
ROUNDS = count(sample=3, whole=80)


KINDS = ("folder", "shared", "state")


def test_each_step_is_computed_once_and_nobody_fails(tmp_path):
    racers = [Racer(tmp_path) for _ in range(PROCESSES)]
    ended = {kind: Counter() for kind in KINDS}
    try:
        for number in range(ROUNDS):
            for kind in KINDS:
                assert race(racers, f"{kind} {number}", ended[kind])["ok"]
    finally:
        for racer in racers:
            racer.process.kill()
            racer.process.communicate()
    everybody = {"ok": ROUNDS * PROCESSES}
    assert (ended["folder"], ended["shared"]) == (everybody, everybody)
    assert set(ended["state"]) <= {"ok", "held"}
    assert sum(map(Counter.total, ended.values())) == len(KINDS) * ROUNDS * PROCESSES
    computed = Counter((tmp_path / "ledger").read_text().splitlines())
    assert computed == {f"{kind} {run} {step}": 1 for kind in KINDS for run in range(ROUNDS) for step in range(STEPS)}
    assert len(aw.create_disk_cache(tmp_path / "cache", namespace="races").keys()) == ROUNDS * STEPS
    forget_folders()
    assert_sound(tmp_path / "cache")


def race(racers, line, ended):
    """Let all make one run at once; return how it ended for them."""
    for racer in racers:
        racer.ask(line)
    assert [racer.answer() for racer in racers] == ["ready"] * PROCESSES
    for racer in racers:
        racer.ask("go")
    told = Counter(json.loads(racer.answer()) for racer in racers)
    ended.update(told)
    return told


class Racer:
    """One process."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self):
        return self.process.stdout.readline().strip()
