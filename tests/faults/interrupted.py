"""Runs that are interrupted, as a program: `python interrupted.py FOLDER WAY`.

For each number that is read from its input it begins a run of twelve steps, prints `begun`, and at the end one line of
JSON: how it ended, which steps came back to the body, and how often each function has been called.
"""

import asyncio
import json
import signal
import sys
import warnings
from collections import Counter

import numpy as np

import awaitly_nb as aw

folder, way = sys.argv[1:3]
STEPS = 12
warnings.simplefilter("error")
cache = aw.create_disk_cache(f"{folder}/cache", namespace="runs")
workflow = aw.create_workflow("runs", cache=None if way == "store" else cache)
store = aw.sqlite(f"{folder}/runs.db") if way == "store" else None
calls = Counter()


def value_of(number, step):
    # In the row, and in a file of its own.
    return np.full((10, 20_000)[step % 2], float(number * STEPS + step))


def compute(number, step):
    calls[step] += 1
    return value_of(number, step)


def begin(number, came_back):
    """Run all steps in the way that was asked for."""

    def note(step, value):
        assert (value == value_of(number, step)).all()
        came_back.append(step)

    def plain(ctx):
        for step in range(STEPS):
            note(step, ctx.step("compute", compute, number, step, key=f"{number}:{step}"))

    async def awaiting(ctx):
        for step in range(STEPS):
            note(step, await ctx.step("compute", compute, number, step, key=f"{number}:{step}"))

    options = {} if store is None else {"store": store, "id": f"run-{number}"}
    if way == "decorated":
        function = aw.step(compute, key="{number}:{step}", cache=cache)
        for step in range(STEPS):
            note(step, function(number, step))
    elif way == "run":
        asyncio.run(workflow.run(awaiting, **options)).unwrap()
    else:
        workflow.run_sync(plain, **options).unwrap()


def attempt(number):
    """Return how a run ended, and the steps that came back."""
    came_back = []
    try:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print("begun", flush=True)
            begin(number, came_back)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return "interrupted", came_back
    return "done", came_back


signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    calls.clear()
    ended, came_back = attempt(int(line))
    print(json.dumps([ended, came_back, dict(calls)]), flush=True)
