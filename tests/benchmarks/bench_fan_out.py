"""What `ctx.map` costs on a cluster, as ratios against the cluster's own `client.map` on the same items beside it.

`run()` gives the rows, `python -m tests.benchmarks.bench_fan_out` prints them.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import awaitly_nb as aw
from tests.benchmarks.measure import Row, line_of

ITEMS = 10_000
ROUNDS = 3


def nap(n: int) -> int:
    """Take a millisecond."""
    time.sleep(0.001)
    return n + 1


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fan_out(client: Any, kind: str, items: int) -> tuple[float, float, float]:
    """Return the seconds of `client.map` and `gather`, of a first run, and of a second one that is all hits."""
    theirs = seconds(lambda: client.gather(client.map(nap, range(items), pure=False)))
    with tempfile.TemporaryDirectory(prefix="awaitly-bench-", ignore_cleanup_errors=True) as folder:
        workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(folder), executor=client)

        async def body(ctx: Any) -> list[int]:
            values: list[int] = await ctx.map("nap", nap, range(items))
            return values

        def once() -> None:
            if kind == "async":
                result = asyncio.run(workflow.run(body))
            else:
                result = workflow.run_sync(lambda ctx: ctx.map("nap", nap, range(items)))
            assert result.unwrap() == list(range(1, items + 1))

        return theirs, seconds(once), min(seconds(once) for _ in range(3))


def run(items: int = ITEMS) -> list[Row]:
    """Measure a plain and an awaiting body, and return the rows."""
    import distributed

    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tornado and dask, on the way up
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        client.gather(client.map(nap, range(200), pure=False))
        for kind in ("plain", "async"):
            rounds = [fan_out(client, kind, items) for _ in range(ROUNDS)]
            theirs, first, hits = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratio = statistics.median(first / theirs for theirs, first, _ in rounds)
            again = statistics.median(hits / first for _, first, hits in rounds)
            name = f"{items:,} items of 1 ms on dask, {kind} body"
            detail = f"{first:.1f} s against {theirs:.1f} s of client.map"
            rows.append({"name": name, "ratio": ratio, "at_most": 1.5, "detail": detail})
            detail = f"{hits:.2f} s against {first:.1f} s"
            rows.append({"name": f"{name}, again, all hits", "ratio": again, "at_most": 0.05, "detail": detail})
    return rows


if __name__ == "__main__":
    for found in run(*map(int, sys.argv[1:])):
        print(line_of(found), flush=True)
