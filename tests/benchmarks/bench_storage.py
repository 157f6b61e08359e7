"""What storage costs, as ratios against diskcache, NumPy and pickle measured beside it in the same run.

`run()` gives the rows, `python -m tests.benchmarks.bench_storage` prints them. Each comparison alternates between the
two sides in short rounds and takes the median ratio, so that what else the machine does hits both.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import diskcache
import numpy as np
import pandas as pd

import awaitly_nb as aw
import awaitly_nb.cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import Mark, Ok, with_mark
from tests.benchmarks.measure import SMALL, Row, compare, in_process, line_of, ratio_of, row, run_parts, show, together


def small_values(folder: Path) -> list[Row]:
    """Repeated hit, first hit and store of a small value."""
    cache = caches.create_disk_cache(folder / "ours")
    peer = diskcache.Cache(os.fspath(folder / "peer"))
    result = with_mark(Ok(SMALL), Mark(step_id="s", workflow="w", duration_s=1.0))
    cache.set("k", result)
    peer.set("k", SMALL)
    rows = [
        row(
            "small value, repeated hit",
            0.65,
            compare(partial(cache.get, "k"), partial(peer.get, "k"), rounds=151, loops=200),
        )
    ]
    names = [f"key{i}" for i in range(3000)]
    ours, theirs = iter(names), iter(names)
    rows.append(
        row(
            "small value, store",
            1.5,
            compare(lambda: cache.set(next(ours), result), lambda: peer.set(next(theirs), SMALL), rounds=150, loops=20),
        )
    )
    forget_folders()
    cold = caches.create_disk_cache(folder / "ours")
    cold.get("k")
    ours, theirs = iter(names), iter(names)
    rows.append(
        row(
            "small value, first hit in a process, verified",
            2.5,
            compare(lambda: cold.get(next(ours)), lambda: peer.get(next(theirs)), rounds=150, loops=20),
        )
    )
    return rows


_FRESH = """
import time
start = time.perf_counter()
{body}
print(time.perf_counter() - start)
"""


def fresh_process(folder: Path) -> list[Row]:
    """Import, open and first hit, each in a new process."""
    caches.create_disk_cache(folder / "ours").set("k", Ok(SMALL))
    diskcache.Cache(os.fspath(folder / "peer")).set("k", SMALL)
    ours = _FRESH.format(
        body=f"import awaitly_nb.cache as c; assert c.create_disk_cache({os.fspath(folder / 'ours')!r}).get('k').ok"
    )
    theirs = _FRESH.format(body=f"import diskcache; assert diskcache.Cache({os.fspath(folder / 'peer')!r}).get('k')")

    in_process(ours), in_process(theirs)  # so that what is imported is compiled
    pairs = [(in_process(ours)[0], in_process(theirs)[0]) for _ in range(11)]
    return [row("fresh process: import, open, first hit", 3.0, ratio_of(pairs))]


def large_array(folder: Path, megabytes: int = 256) -> list[Row]:
    """An array of doubles: store it, load it and sum it."""
    array = np.random.default_rng(1).random(megabytes * 131072)
    cache = caches.create_disk_cache(folder / "ours")
    file = folder / "array.npy"

    def store() -> None:
        cache.set("array", Ok(array))

    def save() -> None:
        file.unlink(missing_ok=True)
        np.save(file, array)

    store(), save()
    rows = [row(f"{megabytes} MB array, store", 1.3, compare(store, save, rounds=7))]

    def load() -> None:
        cache.store.store.checked.clear()  # a fresh process has checked no buffer yet
        cache.get("array").unwrap().sum()

    measured = compare(load, lambda: np.load(file, mmap_mode="c").sum(), rounds=9)
    rows.append(row(f"{megabytes} MB array, fresh load and sum, verified", 1.8, measured))
    return rows


def frame(*, arrow: bool, length: int = 1_000_000) -> pd.DataFrame:
    """A DataFrame of mixed columns."""
    random = np.random.default_rng(2)
    words = np.array([f"word {i}" for i in range(1000)])
    text = pd.Series(random.choice(words, length), dtype="str" if arrow else object)
    return pd.DataFrame(
        {
            "n": random.integers(0, 1000, length),
            "x": random.random(length),
            "at": pd.date_range("2020-01-01", periods=length, freq="s"),
            "kind": pd.Categorical(random.choice(["a", "b", "c"], length)),
            "text": text,
        }
    )


_LOAD = """
import pickle, sys, time
import pandas, pyarrow
from awaitly_nb import cache as caches
folder, number = sys.argv[1], int(sys.argv[2])
cache = caches.create_disk_cache(folder + "/ours")
def use(frame):
    frame["x"].sum()
    frame["text"].iloc[-1]
def ours(name):
    use(cache.get(name).unwrap())
def theirs(name):
    with open(f"{folder}/{name}.pickle", "rb") as file:
        use(pickle.load(file))
ours("small"), theirs("small")
seconds = {}
for side in (ours, theirs) if number % 2 else (theirs, ours):
    start = time.perf_counter()
    side("large")
    seconds[side] = time.perf_counter() - start
print(seconds[ours], seconds[theirs])
"""


def frames(folder: Path) -> Iterator[Row]:
    """A DataFrame of a million mixed rows. Loads are in a new process each: memory that is warm would favour pickle."""
    cache = caches.create_disk_cache(folder / "ours")
    for arrow, at_most in ((True, 0.6), (False, 1.0)):
        kind = "Arrow strings" if arrow else "object strings"
        sizes = {"small": frame(arrow=arrow, length=100), "large": frame(arrow=arrow)}

        def store(name: str, sizes: dict[str, pd.DataFrame] = sizes) -> None:
            cache.set(name, Ok(sizes[name]))

        def dump(name: str, sizes: dict[str, pd.DataFrame] = sizes) -> None:
            file = folder / f"{name}.pickle"
            file.unlink(missing_ok=True)
            with file.open("wb") as out:
                pickle.dump(sizes[name], out, protocol=5)

        for name in sizes:
            store(name), dump(name)
        if arrow:
            measured = compare(partial(store, "large"), partial(dump, "large"), rounds=7)
            yield row(f"DataFrame, {kind}, store", 1.3, measured)
        loads = [in_process(_LOAD, folder, number) for number in range(12)]
        measured = ratio_of([(load[0], load[1]) for load in loads])
        yield row(f"DataFrame, {kind}, fresh load and use, verified", at_most, measured)


_PEAK = """
import resource, sys
import numpy as np
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok
cache = caches.create_disk_cache(sys.argv[1])
cache.set("warm", Ok(np.zeros(1_000_000)))
cache.get("warm")
def anonymous():
    # What this process alone has in memory: pages of a mapped file are the system's, and go when it needs them.
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Anonymous:")) * 1024
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if sys.argv[2] == "store":
    array = np.random.default_rng(1).random(33_554_432)
    before = peak()
    cache.set("array", Ok(array))
    print(peak() - before)
else:
    before = anonymous()
    array = cache.get("array").unwrap()
    array.sum()
    print(anonymous() - before)
"""


def peak_memory(folder: Path) -> list[Row]:
    """Memory above the value itself, for 256 MB; the ratio is to 1 MB, so that it reads as megabytes."""
    rows = []
    for verb in ("store", "load"):
        megabytes = in_process(_PEAK, folder / "peak", verb)[0] / 2**20
        rows.append(row(f"256 MB array, memory above the value, {verb}", 32, (megabytes, "in MB")))
    return rows


def many_keys(folder: Path, count: int = 100_000) -> list[Row]:
    """Listing and deleting among a hundred thousand keys."""
    cache = caches.create_disk_cache(folder / "list")
    cache.set("kept 0", with_mark(Ok(SMALL), Mark(step_id="s", workflow="w", duration_s=1.0)))
    database = folder / "list" / "cache.db"
    forget_folders()
    peer = diskcache.Cache(os.fspath(folder / "list-peer"))
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        columns = "raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename, value"
        for start, word in ((1, "kept"), (count - 10_000, "gone")):
            connection.execute(
                f"WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i < "
                f"{count - 10_001 if word == 'kept' else count - 1}) INSERT INTO Cache (key, {columns}) "
                f"SELECT char(31) || '{word} ' || i, {columns} FROM n, Cache WHERE Cache.rowid = 1"
            )
    connection.close()
    with peer.transact():
        for i in range(10_000):
            peer.set(f"gone {i}", SMALL)
    cache = caches.create_disk_cache(folder / "list")
    plain = sqlite3.connect(database)
    assert len(cache.keys()) == count
    sql = "SELECT {} FROM Cache WHERE key >= ? AND key < ? ORDER BY rowid"
    select = partial(plain.execute, sql.format("key"), ("\x1f", "\x20"))
    select_heads = partial(plain.execute, sql.format("key, tag"), ("\x1f", "\x20"))
    rows = [
        row("100,000 keys: keys()", 1.5, compare(cache.keys, lambda: select().fetchall(), rounds=5)),
        row(
            "100,000 keys: entries()",
            10.0,
            compare(cache.entries, lambda: select_heads().fetchall(), rounds=5),
        ),
    ]
    plain.close()
    aw.configure(cache_dir=folder / "list")
    start = time.perf_counter()
    for i in range(10_000):
        peer.delete(f"gone {i}")
    middle = time.perf_counter()
    removed = caches.folder_delete("gone 9????")
    end = time.perf_counter()
    aw.configure(cache_dir=None)
    assert removed == 10_000
    detail = f"{show(end - middle)} against {show(middle - start)}"
    rows.append(row("100,000 keys: 10,000 deleted by a glob", 0.2, ((end - middle) / (middle - start), detail)))
    return rows


_MIXED = """
import random, sys, time
folder, kind, seed = sys.argv[1:]
value = {"n": 1, "text": "x" * 100}
if kind == "ours":
    from awaitly_nb import cache as caches
    from awaitly_nb.result import Ok
    cache, value = caches.create_disk_cache(folder), Ok(value)
else:
    import diskcache
    cache = diskcache.Cache(folder)
choice = random.Random(int(seed))
cache.get("x")
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
for _ in range(1000):
    key = f"k{choice.randrange(200)}"
    if choice.random() < 0.8:
        cache.get(key)
    else:
        cache.set(key, value)
print(time.perf_counter() - start)
"""


def eight_processes(folder: Path) -> list[Row]:
    """Eight processes that read and write the same two hundred keys."""

    def seconds(kind: str) -> float:
        return together([_MIXED] * 8, folder / f"mixed-{kind}", kind)

    return [
        row("8 processes, 80 % get, 20 % set", 1.6, ratio_of([(seconds("ours"), seconds("theirs")) for _ in range(7)]))
    ]


PARTS = (
    small_values,
    fresh_process,
    large_array,
    peak_memory,
    frames,
    many_keys,
    eight_processes,
)


def run(*wanted: str) -> Iterator[Row]:
    """Measure everything, or the parts that are named."""
    return run_parts(PARTS, wanted)


if __name__ == "__main__":
    for found in run(*sys.argv[1:]):
        print(line_of(found), flush=True)
