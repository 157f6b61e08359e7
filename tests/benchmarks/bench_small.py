"""What a small step costs: hits and misses of keys that are met once, in random order, as a notebook meets them.

Every side is measured in one process, in turns of a few keys each, and five such processes give the median. `run()`
gives the rows, `python -m tests.benchmarks.bench_small [part ...]` prints them. On a busy machine set
`AWAITLY_NB_BENCH_CLOCK=process_time`, which does not count the time of others.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import SMALL, Row, in_process, line_of, ratio_of, row, run_parts, show, together

KEYS, ROUNDS = 1000, 5
AT_MOST = {
    "hit": {"cache": 1.8, "ctx.step": 2.5, "@aw.step": 4.0},
    "miss": {"cache": 1.3, "ctx.step": 2.2, "@aw.step": 4.0},
}
_PEERS = {"joblib": "hit, and miss", "marimo": "hit, and miss", "cachier": "hit, and miss"}

_TURNS = """
import json, os, random, statistics, sys, time
folder, kind, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
clock = getattr(time, os.environ.get("AWAITLY_NB_BENCH_CLOCK", "perf_counter"))
import diskcache
import awaitly_nb as aw

def load(number):
    return {"id": number, "name": "x" * 100, "scores": [1.0, 2.5, 3.25], "tags": ["a", "b"], "none": None}

aw.configure(cache_dir=folder + "/decorated")
peer = diskcache.Cache(folder + "/peer")
cache = aw.create_disk_cache(folder + "/cache")
workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(folder + "/keyed"))
decorated = aw.step(load)
peers = {}
for name in sys.argv[5:]:
    from tests.benchmarks import bench_peers
    peers[name] = bench_peers.PEERS[name](bench_peers.Path(folder) / name)[0]

def body(ctx):
    if kind == "hit":
        sides = {"diskcache": lambda n: peer.get(f"k{n}"), "cache": lambda n: cache.get(f"k{n}")}
    else:
        sides = {
            "diskcache": lambda n: peer.set(f"k{n}", load(n)),
            "cache": lambda n: cache.set(f"k{n}", aw.Ok(load(n))),
        }
    sides |= {"ctx.step": lambda n: ctx.step("load", load, n, key=f"k{n}"), "@aw.step": decorated, **peers}
    numbers = list(range(first, first + count))
    random.Random(first).shuffle(numbers)
    taken = {name: [] for name in sides}
    for start in range(0, count, 10):
        for name, side in sides.items():
            begun = clock()
            for number in numbers[start : start + 10]:
                side(number)
            taken[name].append((clock() - begun) / 10)
    # The first turns open the databases and compile what is used.
    print(json.dumps({name: statistics.median(seconds[5:]) for name, seconds in taken.items()}))

workflow.run_sync(body).unwrap()
"""


def _turns(folder: Path, kind: str, first: int) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    peers = [name for name in _PEERS if importlib.util.find_spec(name) is not None]
    command = [sys.executable, "-W", "ignore", "-c", _TURNS, os.fspath(folder), kind, str(first), str(KEYS), *peers]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def first_hits_and_misses(folder: Path) -> Iterator[Row]:
    """Each key once in a process, beside diskcache and the caches of notebooks."""
    _turns(folder, "miss", 0)
    for kind, verb in (("miss", "miss and store"), ("hit", "first hit, random order")):
        rounds = [_turns(folder, kind, number * KEYS) for number in range(1, ROUNDS + 1)]
        for side, at_most in AT_MOST[kind].items():
            yield row(f"{verb}: {side}, to diskcache", at_most, _ratio(rounds, side, "diskcache"))
        for peer in _PEERS:
            if peer in rounds[0]:
                yield row(f"{verb}: @aw.step, to {peer}", 1.0, _ratio(rounds, "@aw.step", peer))


def _ratio(rounds: list[dict[str, float]], ours: str, theirs: str) -> tuple[float, str]:
    return ratio_of([(seconds[ours], seconds[theirs]) for seconds in rounds])


_PROGRAM = """
import os, sys, time
clock = getattr(time, os.environ.get("AWAITLY_NB_BENCH_CLOCK", "perf_counter"))
folder, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
begun = clock()
if kind == "diskcache":
    import diskcache
    get = diskcache.Cache(folder + "/peer").get
    def run():
        for number in range(count):
            get(f"k{number}")
elif kind == "cache":
    from awaitly_nb import create_disk_cache
    get = create_disk_cache(folder + "/cache").get
    def run():
        for number in range(count):
            get(f"k{number}").value
elif kind == "keyed":
    import awaitly_nb as aw
    workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(folder + "/keyed"))
    from face import load
    def body(ctx):
        for number in range(count):
            ctx.step("load", load, number, key=f"k{number}")
    def run():
        workflow.run_sync(body).unwrap()
else:
    import awaitly_nb as aw
    aw.configure(cache_dir=folder + "/decorated")
    from face import load
    load = aw.step(load)
    def run():
        for number in range(count):
            load(number)
if count > 1:
    begun = clock()
run()
print(clock() - begun)
print(len(sys.modules))
"""
