"""What a step costs around its storage, as ratios against diskcache's bare look-ups measured beside it.

`run()` gives the rows, `python -m tests.benchmarks.bench_runtime` prints them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import diskcache

import awaitly_nb as aw
from tests.benchmarks.measure import SMALL, Row, compare, in_process, line_of, ratio_of, row, run_parts, show, together

STEPS = 200


def repeated_steps(folder: Path) -> list[Row]:
    """Steps of a plain body that hit again and again in one kernel, with a listener."""
    seen: list[object] = []
    workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(folder / "ours"), on_event=seen.append)
    peer = diskcache.Cache(os.fspath(folder / "peer"))
    for number in range(STEPS):
        peer.set(f"k{number}", SMALL)

    def body(ctx: aw.Context) -> None:
        for number in range(STEPS):
            ctx.step("load", lambda: SMALL, key=f"k{number}")

    def ours() -> None:
        seen.clear()
        workflow.run_sync(body).unwrap()

    def theirs() -> None:
        for number in range(STEPS):
            peer.get(f"k{number}")

    ours()
    return [row("small value, repeated hit as ctx.step, one listener", 2.0, compare(ours, theirs, rounds=51))]


_STEPS = """
import sys, time
folder, kind, count = sys.argv[1], sys.argv[2], 10_000
if kind == "ours":
    import awaitly_nb as aw
    def load():
        return {"n": 1, "text": "x" * 100}
    def body(ctx):
        for number in range(count):
            ctx.step("load", load, key=f"k{number}")
    workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(folder + "/ours"))
    start = time.perf_counter()
    workflow.run_sync(body).unwrap()
else:
    import diskcache
    start = time.perf_counter()
    cache = diskcache.Cache(folder + "/peer")
    for number in range(count):
        cache.get(f"k{number}")
print(time.perf_counter() - start)
"""


def ten_thousand_steps(folder: Path) -> list[Row]:
    """Ten thousand cached steps of a plain body, run again in a fresh process."""
    with diskcache.Cache(os.fspath(folder / "peer")) as peer, peer.transact():
        for number in range(10_000):
            peer.set(f"k{number}", {"n": 1, "text": "x" * 100})
    in_process(_STEPS, folder, "ours")  # computes and keeps them
    pairs = [(in_process(_STEPS, folder, "ours")[0], in_process(_STEPS, folder, "theirs")[0]) for _ in range(7)]
    return [row("10,000 cached steps of a plain body, fresh process", 4.0, ratio_of(pairs))]


_MISSING = """
import sys, time
import awaitly_nb as aw
folder, key, number = sys.argv[1:]
def slow():
    with open(folder + "/computed-" + key, "a") as file:
        file.write("x")
    time.sleep(1)
    return 41
workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(folder + "/ours"))
print("ready", flush=True)
sys.stdin.readline()
assert workflow.run_sync(lambda ctx: ctx.step("slow", slow, key=key)) == aw.Ok(41)
"""


def one_missing_key(folder: Path) -> list[Row]:
    """Eight processes that ask for one key that takes a second to compute; the ratio is to that second."""
    aw.create_disk_cache(folder / "ours").set("warm", aw.Ok(1))
    pairs = [(together([_MISSING] * 8, folder, key), 1.0) for key in "abc"]
    computed = [len((folder / f"computed-{key}").read_text()) for key in "abc"]
    ratio, detail = ratio_of(pairs)
    times = "once" if computed == [1, 1, 1] else f"{computed} times"
    return [
        row("8 processes, one missing 1 s key", 1.5 if times == "once" else 0, (ratio, f"{detail}, computed {times}"))
    ]


def to_frame(folder: Path) -> list[Row]:
    """A pandas frame of what is known of ten thousand entries, against the list of them."""
    cache = aw.create_disk_cache(folder / "ours")
    for number in range(10_000):
        cache.set(f"k{number}", aw.Ok(number))
    start = time.perf_counter()
    cache.to_frame()  # imports pandas
    detail = f"the first, with pandas: {show(time.perf_counter() - start)}"
    ratio, times = compare(cache.to_frame, cache.entries, rounds=5)
    return [row("10,000 keys: to_frame() against entries()", 3.0, (ratio, f"{times}; {detail}"))]


PARTS = (repeated_steps, ten_thousand_steps, one_missing_key, to_frame)


def run(*wanted: str) -> Iterator[Row]:
    """Measure everything, or the parts that are named."""
    return run_parts(PARTS, wanted)


if __name__ == "__main__":
    for found in run(*sys.argv[1:]):
        print(line_of(found), flush=True)
