"""Results where the work was done: a worker keeps its own, and the notebook gets a handle."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import distributed
import pytest

import awaitly_nb as aw

pytestmark = pytest.mark.slow


def open_cluster(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tornado and dask, on the way up
        return distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, **options)


@pytest.fixture(scope="module")
def cluster():
    made = open_cluster()
    yield made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.close()


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as made:
        yield made


@pytest.fixture
def cache(tmp_path):
    return aw.create_shared_cache(aw.sqlite(tmp_path / "shared.db"), namespace="w")


def within(seconds, true):
    """Tell whether something comes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.05)
    return True


def in_a_cell(source, name):
    """Define a function as a cell does: in `__main__`, where no worker can import it."""
    namespace = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace[name]


class Watched:
    """The notebook's side of a cache, which notes what passes through it."""

    def __init__(self, cache, monkeypatch):
        self.sets, self.gets = [], []
        for verb, notes in (("set", self.sets), ("lookup", self.gets)):
            monkeypatch.setattr(cache, verb, self._noting(getattr(cache, verb), notes))

    @staticmethod
    def _noting(verb, notes):
        def noting(key, *args, **kwargs):
            found = verb(key, *args, **kwargs)
            if isinstance(found, aw.Ok) or found is None:
                notes.append(key)
            return found

        return noting


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_the_worker_keeps_its_result_and_loads_its_arguments(client, cache, kind, monkeypatch):
    watched = Watched(cache, monkeypatch)
    workflow = aw.create_workflow("w", cache=cache, executor=client)
    make = in_a_cell("import os\nasync def make(n):\n    return [os.getpid()] * n", "make")
    where = in_a_cell("import os\ndef where(big, more):\n    return len(big), len(more[0]), os.getpid()", "where")

    async def body(ctx):
        handle = await ctx.step("make", make, 1000, key="big", lazy=True)
        return handle, await ctx.step("where", where, handle, [handle])

    def plain(ctx):
        handle = ctx.step("make", make, 1000, key="big", lazy=True)
        return handle, ctx.step("where", where, handle, [handle])

    for state in ("computed", "hit"):
        result = asyncio.run(workflow.run(body)) if kind == "async" else workflow.run_sync(plain)
        handle, (length, more, pid) = result.unwrap()
        assert (length, more) == (1000, 1000)
        assert pid != os.getpid()
        assert workflow.last_run.steps[0].state == state
    assert (watched.sets, watched.gets) == ([], [])
    [entry] = cache.entries()
    assert (entry.key, entry.step_id, entry.workflow, entry.size_bytes) == ("big", "make", "w", handle.size_bytes)
    assert os.getpid() not in handle.load()


def test_a_map_keeps_each_result_over_there(client, cache, monkeypatch):
    watched = Watched(cache, monkeypatch)
    workflow = aw.create_workflow("w", cache=cache, executor=client)
    item = in_a_cell("def item(n, plus):\n    if n == 7:\n        raise ValueError(n)\n    return n + plus", "item")

    def body(ctx):
        results = ctx.map("item", item, range(60), 1, lazy=True, on_error="collect")
        handles = [result.value for result in results if result.ok]
        return handles, [n for n, result in enumerate(results) if not result.ok], ctx.step("sum", sum, handles)

    handles, failed, total = workflow.run_sync(body).unwrap()
    assert failed == [7]
    assert total == sum(range(1, 61)) - 8
    assert watched.sets == []
    assert len(cache.keys()) == 59
    assert [handle.load() for handle in handles[:3]] == [1, 2, 3]
    workflow.run_sync(body).unwrap()
    states = [step.state for step in workflow.last_run.steps]
    assert (states.count("hit"), states.count("computed"), states.count("failed")) == (59, 1, 1)


def test_errors_come_back_as_ever(client, cache):
    workflow = aw.create_workflow("w", cache=cache, executor=client)
    returns = in_a_cell("import awaitly_nb as aw\ndef returns():\n    return aw.err('no')", "returns")
    assert workflow.run_sync(lambda ctx: ctx.step("e", returns, key="e", lazy=True)) == aw.Err("no")
    raises = in_a_cell("def raises():\n    raise KeyError('gone')", "raises")
    result = workflow.run_sync(lambda ctx: ctx.step("r", raises, key="r", lazy=True))
    assert isinstance(result.cause, KeyError)
    assert cache.keys() == ["e"]


def test_a_worker_that_cannot_write_hands_its_result_over(client, tmp_path):
    store = aw.sqlite(tmp_path / "here.db")
    # As when a path or a server can be reached from the notebook only.
    store.records.reopen._call = (store.records.reopen._call[0], (tmp_path / "no" / "\0",), {})
    cache = aw.create_shared_cache(store)
    workflow = aw.create_workflow("w", cache=cache, executor=client)
    make = in_a_cell("def make():\n    return 5", "make")
    with pytest.warns(aw.errors.CacheUnusableWarning, match="could not store") as told:
        handle = workflow.run_sync(lambda ctx: ctx.step("make", make, key="k", lazy=True)).unwrap()
    assert len(told) == 1
    assert handle.load() == 5
    assert cache.keys() == ["k"]


def test_a_worker_to_whom_the_address_leads_elsewhere_hands_its_result_over(client, tmp_path):
    store = aw.sqlite(tmp_path / "here.db")
    # As when the workers have another disk.
    store.records.reopen._call = (store.records.reopen._call[0], (tmp_path / "there.db",), {})
    cache = aw.create_shared_cache(store)
    workflow = aw.create_workflow("w", cache=cache, executor=client)
    make = in_a_cell("def make(n):\n    return n + 5", "make")
    with pytest.warns(aw.errors.CacheUnusableWarning, match="another place") as told:
        handles = workflow.run_sync(lambda ctx: ctx.map("make", make, range(5), lazy=True)).unwrap()
    assert len(told) == 1
    assert [handle.load() for handle in handles] == [5, 6, 7, 8, 9]
    assert len(cache.keys()) == 5
    assert aw.create_shared_cache(aw.sqlite(tmp_path / "there.db")).keys() == []


def test_a_worker_with_another_secret_hands_its_result_over(tmp_path, monkeypatch):
    cache = aw.create_shared_cache(aw.sqlite(tmp_path / "shared.db"))
    with monkeypatch.context() as patch:
        patch.setenv("AWAITLY_NB_SECRET", "the workers' own")
        cluster = open_cluster()
    make = in_a_cell("def make(n):\n    return n + 5", "make")
    try:
        with distributed.Client(cluster) as client:
            workflow = aw.create_workflow("w", cache=cache, executor=client)
            with pytest.warns(aw.errors.ForeignSecretWarning) as told:
                handles = workflow.run_sync(lambda ctx: ctx.map("make", make, range(8), key="{item}", lazy=True))
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cluster.close()
    assert len(told) == 1
    assert "awaitly-nb trust" in str(told[0].message)
    assert "AWAITLY_NB_SECRET" in str(told[0].message)
    assert "the workers' own" not in str(told[0].message)
    assert [handle.load() for handle in handles.unwrap()] == [n + 5 for n in range(8)]  # signed here, so trusted here


def notebook(source, *args):
    """Start a process that plays a notebook."""
    command = [sys.executable, "-W", "ignore", "-c", source, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


LARGE = """
import resource, sys
import distributed, numpy as np
import awaitly_nb as aw
address, path = sys.argv[1:]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def make(megabytes):
    return np.ones(megabytes * 131072)
def body(ctx, megabytes):
    big = ctx.step("make", make, megabytes, key=f"big:{megabytes}", lazy=True)
    return ctx.step("sum", lambda array: float(array.sum()), big)
with distributed.Client(address) as client:
    workflow = aw.create_workflow("w", cache=aw.create_shared_cache(aw.sqlite(path)), executor=client)
    workflow.run_sync(lambda ctx: body(ctx, 1)).unwrap()
    before = peak()
    assert workflow.run_sync(lambda ctx: body(ctx, 200)).unwrap() == 200 * 131072
    assert workflow.run_sync(lambda ctx: body(ctx, 200)).unwrap() == 200 * 131072
    assert workflow.last_run.steps[0].state == "hit"
    print(peak() - before)
"""


def test_a_large_result_does_not_pass_through_the_notebook(cluster, tmp_path):
    out, err = notebook(LARGE, cluster.scheduler_address, tmp_path / "shared.db").communicate(timeout=240)
    assert out, err
    assert float(out) < 60  # of 200 MB


KILLED = """
import pathlib, sys
import distributed
import awaitly_nb as aw
address, path, folder, source = sys.argv[1:]
namespace = {"__name__": "__main__"}
exec(compile(source, "<cell>", "exec"), namespace)
with distributed.Client(address) as client:
    def heard(event):
        if aw.events.is_step_waiting(event):
            (pathlib.Path(folder) / "waits").touch()
    cache = aw.create_shared_cache(aw.sqlite(path))
    workflow = aw.create_workflow("w", cache=cache, executor=client, on_event=heard)
    result = workflow.run_sync(lambda ctx: ctx.step("long", namespace["long"], folder, key="long", lazy=True))
    print(workflow.last_run.steps[0].state, result.unwrap().load(), flush=True)
"""

LONG = """
import pathlib, time
def long(folder):
    folder = pathlib.Path(folder)
    with (folder / "calls").open("a") as file:
        file.write("x")
    while not (folder / "go on").exists():
        time.sleep(0.05)
    return 42
"""


def test_a_result_finished_after_the_kernel_died_is_a_hit(cluster, tmp_path):
    args = (cluster.scheduler_address, tmp_path / "shared.db", tmp_path, LONG)
    first = notebook(KILLED, *args)
    try:
        assert within(120, (tmp_path / "calls").exists)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert within(60, lambda: not [c for c in cluster.scheduler.clients if c != "fire-and-forget" and "Client" in c])
    (tmp_path / "go on").touch()
    cache = aw.create_shared_cache(aw.sqlite(tmp_path / "shared.db"))
    assert within(60, lambda: cache.has("long"))
    out, err = notebook(KILLED, *args).communicate(timeout=120)
    assert out.split() == ["hit", "42"], err
    assert (tmp_path / "calls").read_text() == "x"


def test_a_kernel_that_comes_while_the_work_goes_on_waits_for_it(cluster, tmp_path):
    args = (cluster.scheduler_address, tmp_path / "shared.db", tmp_path, LONG)
    first = notebook(KILLED, *args)
    try:
        assert within(120, (tmp_path / "calls").exists)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    second = notebook(KILLED, *args)
    assert within(120, (tmp_path / "waits").exists)
    (tmp_path / "go on").touch()
    out, err = second.communicate(timeout=180)
    assert out.split() == ["hit", "42"], err
    assert (tmp_path / "calls").read_text() == "x"
