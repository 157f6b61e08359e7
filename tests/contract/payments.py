"""Runs of payments that are stopped, killed and misled by the clock: `python payments.py FOLDER RUNS SEED`.

Each run is a process of its own on one SQLite file. At a random point of it (in the body, in the payment, before or
after the record of a step is written) it stops itself, kills itself, or lets the clock jump; while it is stopped,
another run of the same order begins. Time passes when this program says so. Every call of a payment, and every return
of its step, is a line of the ledger; the last line printed is JSON with what happened.
"""

import json
import mmap
import os
import random
import signal
import struct
import sys
from collections import Counter
from pathlib import Path

import awaitly_nb as aw
from awaitly_nb.states import session
from awaitly_nb.stores import sqlite_store

TTL_S = 30.0
START = 1_700_000_000.0

folder, runs, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
shared = mmap.mmap(-1, 16)  # seconds that passed, and seconds by which the wall clock is off: one for all processes
counts = Counter()

POINTS = ["fetch", "before", "entered", "paid", "writing", "written", "returned"]
HARMS = ["stop", "kill", "jump", "jump back", None]


def note(*parts):
    os.write(ledger, f"{' '.join(parts)}\n".encode())


def clocks():
    passed_s, off_s = struct.unpack("dd", shared[:16])
    return passed_s, START + passed_s + off_s


def turn(passed_s=0.0, off_s=0.0):
    passed, off = struct.unpack("dd", shared[:16])
    shared[:16] = struct.pack("dd", passed + passed_s, off + off_s)


class Records:
    """The records of the store, with a point before and after each segment that is written."""

    def __init__(self, at):
        self._records = sqlite_store(folder / "runs.db", clock=lambda: clocks()[1])
        self._at = at

    def __getattr__(self, name):
        return getattr(self._records, name)

    def swap(self, name, *args, **kwargs):
        is_segment = name.startswith("\x1estate")
        if is_segment:
            self._at("writing")
        version = self._records.swap(name, *args, **kwargs)
        if is_segment:
            self._at("written")
        return version


def run(order, point, skip, harm, jump_s):
    """Run the order in this process, and do the harm when the point is passed for the time after `skip` others."""
    left = [skip]

    def at(where):
        if where != point or harm is None:
            return
        left[0] -= 1
        if left[0] == -1:
            if harm == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if harm == "jump":
                turn(off_s=jump_s)
            if harm == "jump back":
                turn(off_s=-jump_s)
            os.kill(os.getpid(), signal.SIGSTOP)

    def pay(number):
        note(order, "called", str(number))
        at("entered")
        at("paid")
        return f"receipt {number}"

    def body(ctx):
        ctx.step("fetch", at, "fetch", key="fetch")
        receipts = []
        for number in range(3):
            at("before")
            receipts.append(ctx.step("pay", pay, number, key=f"payment:{number}"))
            note(order, "returned", str(number))
            at("returned")
        return receipts

    session.clocks = clocks
    store = aw.StateStore(Records(at), lease_ttl=TTL_S)
    result = aw.create_workflow("orders", cache=None).run_sync(body, store=store, id=order)
    store.blocking.close()
    if result.ok:
        assert result.value == [f"receipt {number}" for number in range(3)], result
        return 10
    assert isinstance(result.error, aw.LeaseHeldError), result
    return 11


def begin(order, harm):
    counts["runs"] += 1
    # No two jumps are alike: two that cancel out would make it look as if no time had passed at all.
    point, skip, jump_s = chance.choice(POINTS), chance.randrange(3), chance.uniform(600.0, 3600.0)
    pid = os.fork()
    if pid == 0:
        code = 12
        try:
            code = run(order, point, skip, harm, jump_s)
        finally:
            os._exit(code)
    return pid


def live(order, *, depth=0):
    """Begin a run of the order and see it to its end; tell whether it was done."""
    harm = chance.choice(HARMS)
    pid = begin(order, harm)
    _, status = os.waitpid(pid, os.WUNTRACED)
    done = False
    if os.WIFSTOPPED(status):
        counts[harm] += 1
        if harm == "stop":
            turn(passed_s=TTL_S + 1)
        done = depth < 2 and live(order, depth=depth + 1)  # noqa: PLR2004 - so many at once
        os.kill(pid, signal.SIGCONT)
        _, status = os.waitpid(pid, 0)
        if done and os.WIFEXITED(status):
            # Whoever took over did all of it: the one that woke must see that, wherever it was stopped.
            counts["lost"] += os.WEXITSTATUS(status) == 11  # noqa: PLR2004 - see `run`
    if os.WIFSIGNALED(status):
        counts["kill"] += 1
        return done
    assert os.WEXITSTATUS(status) in (10, 11), status
    return done or os.WEXITSTATUS(status) == 10  # noqa: PLR2004 - see `run`


# What a run imports is imported once, before the forks.
aw.create_workflow("orders", cache=None).run_sync(lambda ctx: ctx.step("fetch", int, key="fetch"))
aw.ResumeState({"fetch": aw.StepEntry(aw.Ok({"fetch"}))}).to_json()
import sqlite3  # noqa: E402, F401 - as above

orders = 0
while counts["runs"] < runs:
    order = f"order-{orders}"
    orders += 1
    while not live(order):
        pass
counts["orders"] = orders
print(json.dumps(counts))
