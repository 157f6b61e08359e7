"""A kernel killed in the middle of a fan-out over a real cluster: the next one computes what was not finished."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

import awaitly_nb as aw
from tests.e2e.kernels import SLOW_S, kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ITEMS = 200
CONCURRENCY = 8
WORKERS = 2

# In a process of its own, which outlives the kernel, as a cluster does.
CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""
FAN_OUT = """
import awaitly_nb as aw
from distributed import Client

client = Client({address!r})
workflow = aw.create_workflow("fan_out", executor=client)

def square(n, calls):
    import time
    with open(calls, "a") as file:
        file.write(str(n) + "\\n")
    time.sleep(0.05)
    return n * n
"""
RUN = {
    "plain": """
result = workflow.run_sync(lambda ctx: ctx.map(
    "square", square, range({items}), {calls!r}, key="square:{{item}}", concurrency={concurrency}))
""",
    "async": """
async def body(ctx):
    return await ctx.map(
        "square", square, range({items}), {calls!r}, key="square:{{item}}", concurrency={concurrency})

result = await workflow.run(body)
""",
}
TOLD = """
states = [step.state for step in workflow.last_run.steps]
print(result.unwrap() == [n * n for n in range({items})], states.count("hit"), states.count("computed"))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster of two worker processes."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "cluster.py").write_text(CLUSTER)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, folder / "cluster.py", str(WORKERS)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "log").read_text()
        yield address
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=SLOW_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        process.stdout.close()


def numbers(path):
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def wait_until(true):
    deadline = time.monotonic() + SLOW_S
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_the_next_kernel_computes_only_what_was_not_finished(cluster, tmp_path, kind):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"

    def run_with(calls):
        return RUN[kind].format(items=ITEMS, calls=str(calls), concurrency=CONCURRENCY)

    with kernel(tmp_path) as begun:
        begun.run(FAN_OUT.format(address=cluster))
        begun.start(run_with(first))
        wait_until(lambda: len(numbers(first)) >= ITEMS // 3)
        begun.kill()
    cache = aw.create_disk_cache(tmp_path / ".awaitly", namespace="fan_out")
    finished = {int(entry.key.removeprefix("square:")) for entry in cache.entries()}
    assert 0 < len(finished) < ITEMS - CONCURRENCY

    with kernel(tmp_path) as other:
        other.run(FAN_OUT.format(address=cluster))
        other.run(run_with(second))
        told = other.run(TOLD.format(items=ITEMS)).text
    assert told == f"True {len(finished)} {ITEMS - len(finished)}\n"
    assert sorted(numbers(second)) == sorted(set(range(ITEMS)) - finished)

    # At least once: what was under way at the kill ran, and its answer found nobody. No more than were under way.
    again = set(numbers(first)) - finished
    assert len(again) <= CONCURRENCY
    assert len(numbers(first)) == len(set(numbers(first)))
