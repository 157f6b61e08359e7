"""`ctx.map` on a cluster: short items travel together, and each still ends, fails and is kept by itself."""

import asyncio
import os
import signal
import threading
import time
import warnings

import distributed
import pytest

import awaitly_nb as aw

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tornado and dask, on the way up
        made = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    yield made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.close()


@pytest.fixture(scope="module")
def client(cluster):
    with distributed.Client(cluster) as made:
        yield made


def in_a_cell(source):
    """Define a function as a cell does: in `__main__`, where no worker can import it."""
    namespace = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace["item"]


def within(seconds, true):
    """Tell whether something comes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.02)
    return True


@pytest.fixture(params=["plain", "async"])
def run_map(request, client, tmp_path):
    """Run one map in a plain or an awaiting body, with a cache on disk."""
    workflow = aw.create_workflow("w", cache=aw.create_disk_cache(tmp_path / "cache"), executor=client)

    def run(fn, items, *args, **options):
        async def body(ctx):
            return await ctx.map("item", fn, items, *args, **options)

        if request.param == "async":
            return asyncio.run(workflow.run(body))
        return workflow.run_sync(lambda ctx: ctx.map("item", fn, items, *args, **options))

    run.workflow = workflow
    return run


def states(run_map):
    found = [step.state for step in run_map.workflow.last_run.steps]
    return {state: found.count(state) for state in set(found)}


def test_short_items_travel_together_and_come_back_in_order(run_map, client):
    where = in_a_cell("import os, threading\ndef item(n, plus, times):\n    return (n + plus) * times, os.getpid()")
    before = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    values = run_map(where, range(1000), 1, times=3).value
    after = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    assert [value for value, _ in values] == [(n + 1) * 3 for n in range(1000)]
    assert os.getpid() not in {pid for _, pid in values}
    # A task takes at least four transitions; on a busy machine, items seem slower and chunks are smaller.
    assert after - before < 3 * 1000
    assert states(run_map) == {"computed": 1000}
    assert run_map(where, range(1000), 1, times=3).value == values
    assert states(run_map) == {"hit": 1000}


def test_one_failing_item_fails_alone(run_map):
    odd = in_a_cell("def item(n):\n    if n % 10 == 0:\n        raise ValueError(n)\n    return n")
    results = run_map(odd, range(300), on_error="collect", cache_errors="none").value
    assert [result.ok for result in results] == [n % 10 != 0 for n in range(300)]
    assert str(results[290].cause) == "290"
    run_map(odd, range(300), on_error="collect", cache_errors="none")
    assert states(run_map) == {"hit": 270, "failed": 30}


def test_an_item_that_does_not_travel_fails_alone(run_map):
    same = in_a_cell("def item(n):\n    return n")
    items = [*range(50), threading.Lock(), *range(50, 100)]
    with pytest.warns(aw.errors.UncachedWarning, match="item 50"):
        results = run_map(same, items, on_error="collect").value
    assert [result.ok for result in results] == [n != 50 for n in range(101)]


def test_hits_ask_nothing_of_the_function(run_map):
    lock = threading.Lock()  # which no pickle holds
    same = in_a_cell("def item(n):\n    return n")
    run_map(same, range(5), key="{item}")
    with pytest.warns(aw.errors.CodeChangedWarning):
        assert run_map(lambda n: lock, range(5), key="{item}").value == list(range(5))


def test_a_long_item_keeps_nothing_from_its_neighbours(run_map, tmp_path):
    source = """
import pathlib, time
def item(n, folder):
    if n == 150:
        while not (pathlib.Path(folder) / "go on").exists():
            time.sleep(0.02)
    return n
"""
    kept = run_map.workflow._cache
    seen = []

    def let_it_end():
        seen.append(within(60, lambda: len(kept.keys()) == 299))
        (tmp_path / "go on").touch()

    thread = threading.Thread(target=let_it_end)
    thread.start()
    assert run_map(in_a_cell(source), range(300), str(tmp_path), key="item:{item}") == aw.Ok(list(range(300)))
    thread.join()
    assert seen == [True]


def test_a_killed_worker_costs_no_item(run_map, tmp_path):
    source = """
import os, pathlib, signal
def item(n, folder):
    flag = pathlib.Path(folder) / "killed"
    if n == 200 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n
"""
    assert run_map(in_a_cell(source), range(400), str(tmp_path)) == aw.Ok(list(range(400)))
    assert (tmp_path / "killed").exists()


def test_an_item_that_kills_every_worker_fails_alone(client):
    source = """
import os, signal
def item(n):
    if n == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return n
"""
    workflow = aw.create_workflow("w", cache=None, executor=client)
    kill = in_a_cell(source)
    results = workflow.run_sync(lambda ctx: ctx.map("item", kill, range(200), on_error="collect")).value
    assert [n for n, result in enumerate(results) if not result.ok] == [100]
    assert results[100].error.cause_type == "KilledWorker"


def test_an_item_that_was_only_near_when_workers_died_is_tried_by_itself(client, tmp_path):
    # dask gives a call up after four lost workers, and blames whatever else those had before them.
    source = """
import os, pathlib, signal
def item(n, folder):
    if n == 100 and len(os.listdir(folder)) < 8:
        (pathlib.Path(folder) / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n
"""
    workflow = aw.create_workflow("w", cache=None, executor=client)
    died = in_a_cell(source)
    assert workflow.run_sync(lambda ctx: ctx.map("item", died, range(200), str(tmp_path))) == aw.Ok(list(range(200)))
    assert len(list(tmp_path.iterdir())) == 8  # four times in its chunk, four times alone


def test_the_time_of_an_item_is_its_own(run_map):
    nap = in_a_cell("import time\ndef item(n):\n    time.sleep(0.01)\n    return n")
    started = time.perf_counter()
    run_map(nap, range(200))
    whole = time.perf_counter() - started
    entries = run_map.workflow._cache.entries()
    assert all(entry.duration_s >= 0.01 for entry in entries)
    # Two threads: with the wait for their turn the items would come to many times the whole.
    assert sum(entry.duration_s for entry in entries) < 2.1 * whole


def test_stop_interrupts_the_workers_and_keeps_what_had_ended(client, tmp_path):
    source = """
import pathlib, time
def item(n, folder):
    if n < 20:
        return n
    (pathlib.Path(folder) / f"began {n}").touch()
    try:
        for _ in range(1200):
            time.sleep(0.05)
    except KeyboardInterrupt:
        (pathlib.Path(folder) / f"interrupted {n}").touch()
        raise
"""
    cache = aw.create_disk_cache(tmp_path / "cache")
    workflow = aw.create_workflow("w", cache=cache, executor=client)
    linger = in_a_cell(source)

    def press_stop():
        within(60, lambda: len(list(tmp_path.glob("began *"))) == 2 and len(cache.keys()) == 20)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_stop).start()
    with pytest.raises(KeyboardInterrupt):
        workflow.run_sync(lambda ctx: ctx.map("item", linger, range(100), str(tmp_path), key="{item}"))
    began = {path.name.split()[1] for path in tmp_path.glob("began *")}
    assert within(20, lambda: all((tmp_path / f"interrupted {n}").exists() for n in began))
    assert sorted(map(int, cache.keys())) == list(range(20))
    assert {path.name.split()[1] for path in tmp_path.glob("began *")} == began  # nothing began after Stop


def test_no_item_sees_what_another_did_to_what_they_share(run_map):
    scope = {"__name__": "__main__", "seen": []}
    exec("def item(n, box):\n    seen.append(n)\n    box.append(n)\n    return len(seen), len(box)", scope)
    assert run_map(scope["item"], range(200), [], key="{item}") == aw.Ok([(1, 1)] * 200)


def test_a_large_function_travels_by_itself(run_map):
    scope = {"__name__": "__main__", "table": bytes(2_000_000)}
    exec("def item(n):\n    return n + len(table)", scope)
    assert run_map(scope["item"], range(100)).value[-1] == 2_000_099


def test_an_asynchronous_client(tmp_path):
    async def main():
        async with (
            distributed.LocalCluster(n_workers=1, processes=False, asynchronous=True, dashboard_address=None) as local,
            distributed.Client(local, asynchronous=True) as client,
        ):
            cache = aw.create_disk_cache(tmp_path)
            workflow = aw.create_workflow("w", cache=cache, executor=client)
            double = in_a_cell("def item(n):\n    return 2 * n")

            async def body(ctx):
                return await ctx.map("item", double, range(200))

            # A plain body would hold up the loop on which its own answer has to come.
            for plain in (lambda ctx: ctx.map("item", double, range(2)), lambda ctx: ctx.step("one", double, 1)):
                refused = await asyncio.wait_for(workflow.run(plain), 60)
                assert isinstance(refused.cause, aw.MisuseError)
                assert "async def" in str(refused.cause)
            return await asyncio.wait_for(workflow.run(body), 60)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tornado and dask, on the way up
        assert asyncio.run(main()) == aw.Ok([2 * n for n in range(200)])


def test_a_second_run_is_many_times_faster(run_map):
    nap = in_a_cell("import time\ndef item(n):\n    time.sleep(0.001)\n    return n")

    def seconds():
        started = time.perf_counter()
        assert run_map(nap, range(2000)).ok
        return time.perf_counter() - started

    first, hits = seconds(), min(seconds() for _ in range(3))
    assert first / hits >= 20
