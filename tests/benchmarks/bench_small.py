"""What a small step costs: hits and misses of keys that are met once, in random order, as a notebook meets them.

Every side is measured in one process, in turns of a few keys each, and five such processes give the median. `run()`
gives the rows, `python -m tests.benchmarks.bench_small [part ...]` prints them. On a busy machine set
`AWAITLY_NB_BENCH_CLOCK=process_time`, which does not count the time of others.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Row, in_process, line_of, ratio_of, row, run_parts, together

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
    random.Random(f"{kind} {first}").shuffle(numbers)  # hits in another order than they were stored in
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


_SETUP = """
import os, sys, time
clock = getattr(time, os.environ.get("AWAITLY_NB_BENCH_CLOCK", "perf_counter"))
folder, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.path.insert(0, folder)
os.chdir(folder)  # where no project has settings
begun = clock()
if kind == "diskcache":
    import diskcache
    cache = diskcache.Cache(folder + "/peer")
    load = lambda number: {"id": number, "name": "x" * 100, "scores": [1.0, 2.5, 3.25], "tags": ["a", "b"]}
    def get(number):
        if (found := cache.get(f"k{number}")) is None:
            cache.set(f"k{number}", found := load(number))
        return found
    def run(numbers):
        for number in numbers:
            get(number)
elif kind == "cache":
    import awaitly_nb as aw
    cache = aw.create_disk_cache(folder + "/cache")
    from face import load
    def get(number):
        if (found := cache.get(f"k{number}")) is None:
            cache.set(f"k{number}", found := aw.Ok(load(number)))
        return found.value
    def run(numbers):
        for number in numbers:
            get(number)
elif kind == "keyed":
    import awaitly_nb as aw
    workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(folder + "/keyed"))
    from face import load
    def body(ctx):
        for number in numbers:
            ctx.step("load", load, number, key=f"k{number}")
    def run(wanted):
        global numbers
        numbers = wanted
        workflow.run_sync(body).unwrap()
else:
    import awaitly_nb as aw
    aw.configure(cache_dir=folder + "/decorated")
    from face import load
    load = aw.step(load)
    def run(numbers):
        for number in numbers:
            load(number)
"""
_RUN = """
if count > 1:
    begun = clock()
run(range(count))
print(clock() - begun)
print(len(sys.modules))
"""
_FACE = """
def load(number):
    return {"id": number, "name": "x" * 100, "scores": [1.0, 2.5, 3.25], "tags": ["a", "b"]}
"""


def _seconds(folder: Path, kind: str, count: int) -> float:
    return in_process(_SETUP + _RUN, folder, kind, count)[0]


def _ready(folder: Path) -> None:
    (folder / "face.py").write_text(_FACE)


def resumed(folder: Path, count: int = 10_000) -> Iterator[Row]:
    """Ten thousand steps again in a fresh process, after the start."""
    _ready(folder)
    kinds = ("diskcache", "keyed", "decorated")
    for kind in kinds:
        in_process(_SETUP + _RUN, folder, kind, count)
    rounds = [{kind: _seconds(folder, kind, count) for kind in kinds} for _ in range(ROUNDS)]
    for kind, at_most in (("keyed", 2.5), ("decorated", 4.0)):
        yield row(f"{count:,} steps resumed, {kind}, to diskcache", at_most, _ratio(rounds, kind, "diskcache"))


def first_hit_of_a_process(folder: Path) -> Iterator[Row]:
    """From import to first hit, in a fresh process; and how many modules that loads."""
    _ready(folder)
    kinds = ("diskcache", "cache", "keyed", "decorated")
    for kind in (*kinds, *kinds):  # so that there is a hit, and what is imported is compiled
        in_process(_SETUP + _RUN, folder, kind, 1)
    rounds = [{kind: _seconds(folder, kind, 1) for kind in kinds} for _ in range(11)]
    for kind, at_most in (("cache", 3.0), ("keyed", 4.5), ("decorated", 4.5)):
        yield row(
            f"import to first hit, fresh process, {kind}, to diskcache", at_most, _ratio(rounds, kind, "diskcache")
        )
    modules = in_process(_SETUP + _RUN, folder, "decorated", 1)[1]
    yield row("modules after a decorated first hit", 165, (modules, "names in sys.modules"))


_MIXED = (
    _SETUP
    + """
import random
choice = random.Random(int(sys.argv[4]))
seed = int(sys.argv[4])
run(range(200))
print("ready", flush=True)
sys.stdin.readline()
# Four of five are there already, the fifth is a key of this process alone.
run([choice.randrange(200) if choice.random() < 0.8 else 1000 * (seed + 1) + n for n in range(1000)])
"""
)


def eight_processes(folder: Path) -> Iterator[Row]:
    """Eight processes, 80 % hits: operations a second, to diskcache's."""
    _ready(folder)
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS):
        place = folder / str(number)
        place.mkdir()
        _ready(place)
        rounds.append(
            {kind: together([_MIXED] * 8, place, kind, 0) for kind in ("diskcache", "cache", "keyed", "decorated")}
        )
    for kind, at_least in (("cache", 0.6), ("keyed", 0.35), ("decorated", 0.3)):
        ratio, detail = _ratio(rounds, kind, "diskcache")
        yield row(f"8 processes, 80 % hits, {kind}: seconds, to diskcache", 1 / at_least, (ratio, detail))


def on_disk(folder: Path, count: int = 20_000) -> Iterator[Row]:
    """Bytes on disk of many small results."""
    _ready(folder)
    sizes = {}
    for kind in ("diskcache", "keyed", "decorated"):
        in_process(_SETUP + _RUN, folder, kind, count)
        place = folder / {"diskcache": "peer"}.get(kind, kind)
        sizes[kind] = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    for kind, at_most in (("keyed", 1.6), ("decorated", 2.0)):
        detail = f"{sizes[kind] / count:.0f} bytes against {sizes['diskcache'] / count:.0f} each"
        yield row(
            f"{count:,} small results on disk, {kind}, to diskcache",
            at_most,
            (sizes[kind] / sizes["diskcache"], detail),
        )


_CELL = """
import os, statistics, sys, time, warnings
warnings.simplefilter("ignore")
clock = getattr(time, os.environ.get("AWAITLY_NB_BENCH_CLOCK", "perf_counter"))
os.environ["AWAITLY_NB_CACHE_DIR"] = sys.argv[1]
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "awaitly_nb")
plain, ours = [], []
shell.run_cell("x = 3")
shell.run_cell("%%awaitly one\\ny = x + 1")
for _ in range(101):
    begun = clock()
    shell.run_cell("y = x + 1")
    middle = clock()
    shell.run_cell("%%awaitly one\\ny = x + 1")
    plain.append(middle - begun), ours.append(clock() - middle)
print("\\n", 1e3 * (statistics.median(ours[5:]) - statistics.median(plain[5:])))
"""


def one_line_cell(folder: Path) -> Iterator[Row]:
    """What a hit of a one-line cell takes beside the plain cell, in milliseconds."""
    command = [sys.executable, "-W", "ignore", "-c", _CELL, os.fspath(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    yield row("%%awaitly hit of a one-line cell, ms more than plain", 4.0, (float(done.stdout.split()[-1]), "ms"))


PARTS = (first_hits_and_misses, resumed, first_hit_of_a_process, eight_processes, on_disk, one_line_cell)


def run(*wanted: str) -> Iterator[Row]:
    """Measure everything, or the parts that are named."""
    return run_parts(PARTS, wanted)


if __name__ == "__main__":
    for found in run(*sys.argv[1:]):
        print(line_of(found), flush=True)
