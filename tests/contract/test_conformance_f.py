"""Section F of the behaviours: runs, tasks and threads side by side, and what an interruption leaves behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import awaitly_nb as aw


def keyed(step_id, fn, **options):
    """Return the steps of a body with one step keyed by its id."""

    def body(ctx):
        value = yield ctx.step(step_id, fn, key=step_id, **options)
        return value

    return body


@pytest.mark.parametrize("outcome", [aw.ok("v"), aw.err("NO")], ids=["ok", "err"])
def test_f81_two_concurrent_async_runs_on_one_cache_execute_a_key_once(cache, turns, outcome):
    calls = []

    async def slow():
        calls.append(1)
        await turns()
        return outcome

    async def body(ctx):
        return await ctx.step("slow", slow, key="slow")

    async def both():
        one = aw.create_workflow("one", None, cache=cache)
        two = aw.create_workflow("two", None, cache=cache)
        return await asyncio.gather(one.run(body), one.run(body), two.run(body))

    assert asyncio.run(both()) == [outcome] * 3
    assert calls == [1]


@pytest.mark.parametrize("outcome", [aw.ok("v"), aw.err("NO")], ids=["ok", "err"])
def test_f81_two_threads_on_one_cache_execute_a_key_once(cache, outcome):
    calls = []
    both_started = threading.Barrier(2)

    def slow():
        calls.append(1)
        return outcome

    def body(ctx):
        both_started.wait(30)
        return ctx.step("slow", slow, key="slow")

    workflow = aw.create_workflow("w", None, cache=cache)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: workflow.run_sync(body), range(2)))
    assert results == [outcome] * 2
    assert calls == [1]


_KERNEL = """
import sys, time
import awaitly_nb as aw

def slow():
    with open(sys.argv[2], "a") as log:
        log.write("computed\\n")
    time.sleep(0.5)
    return "v"

cache = aw.create_disk_cache(sys.argv[1])
result = aw.create_workflow("w", None, cache=cache).run_sync(lambda ctx: ctx.step("slow", slow, key="slow"))
assert result == aw.Ok("v"), result
"""


def test_f81_two_processes_on_one_folder_execute_a_key_once(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-W", "error", "-c", _KERNEL, str(tmp_path / "cache"), str(log)]
    kernels = [subprocess.Popen(command) for _ in range(2)]
    assert [kernel.wait(60) for kernel in kernels] == [0, 0]
    assert log.read_text().splitlines() == ["computed"]


def test_f81_parallel_steps_of_one_key_share_one_execution_within_a_run(cache, turns, recorder):
    calls = []

    async def slow():
        calls.append(1)
        await turns()
        raise ValueError("shared")

    async def body(ctx):
        return await asyncio.gather(*(ctx.attempt("slow", slow, key="slow") for _ in range(3)))

    workflow = aw.create_workflow("w", None, cache=cache, on_event=recorder)
    results = asyncio.run(workflow.run(body)).value
    assert len(results) == 3
    assert {type(result.cause) for result in results} == {ValueError}
    assert calls == [1]
    assert recorder.types("slow").count("step_start") == 1


def test_f82_parallel_tasks_with_distinct_keys_are_all_kept_and_collected(cache, turns):
    async def fetch(n):
        await turns(n)
        return n

    async def body(ctx):
        return await asyncio.gather(*(ctx.step("fetch", fetch, n, key=f"n:{n}") for n in range(10)))

    result, state = asyncio.run(aw.create_workflow("w", None, cache=cache).run_with_state(body))
    assert result == aw.Ok(list(range(10)))
    assert set(cache.keys()) == set(state.steps) == {f"n:{n}" for n in range(10)}


def test_f83_one_failing_step_cancels_its_siblings_and_awaits_them(cache, turns, recorder):
    order = []

    async def fail():
        await turns(5)
        return aw.err("NO")

    async def slow():
        try:
            await asyncio.Event().wait()
        finally:
            await turns(5)
            order.append("sibling cleaned up")

    async def body(ctx):
        await asyncio.gather(ctx.step("slow", slow, key="slow"), ctx.step("fail", fail, key="fail"))

    async def cell():
        result = await aw.create_workflow("w", None, cache=cache, on_event=recorder).run(body)
        order.append("run returned")
        seen = recorder.types()
        await turns()
        assert recorder.types() == seen
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    assert asyncio.run(cell()) == aw.Err("NO")
    assert order == ["sibling cleaned up", "run returned"]
    assert recorder.types()[-1] == "workflow_error"
    assert list(cache.keys()) == ["fail"]


@pytest.mark.parametrize("how", ["step", "attempt"])
@pytest.mark.parametrize("kind", ["sync function", "async function"])
def test_f84_f85_cancellation_between_steps_keeps_what_finished_and_starts_nothing(cache, recorder, how, kind):
    calls = []

    def two():
        calls.append("two")

    async def two_async():
        calls.append("two")

    async def body(ctx):
        await ctx.step("one", lambda: 1, key="one")
        task.cancel()
        await getattr(ctx, how)("two", two if kind == "sync function" else two_async, key="two")

    async def cell():
        nonlocal task
        task = asyncio.ensure_future(aw.create_workflow("w", None, cache=cache, on_event=recorder).run(body))
        with pytest.raises(asyncio.CancelledError):
            await task

    task = None
    asyncio.run(cell())
    assert calls == []
    assert cache.get("one") == aw.Ok(1)
    assert recorder.types("two") == []
    assert recorder.types()[-1] == "workflow_cancelled"
    assert recorder.events[-1].last_step_key == "one"
    assert recorder.events[-1].reason == "CancelledError"


def test_f84_f85_an_interrupt_between_steps_keeps_what_finished_and_leaves_run(mode, cache, recorder):
    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        yield ctx.step("unkeyed", lambda: 2)
        raise KeyboardInterrupt

    workflow = aw.create_workflow("w", None, cache=cache, on_event=recorder)
    with pytest.raises(KeyboardInterrupt):
        mode.run(workflow, body)
    assert cache.get("one") == aw.Ok(1)
    assert recorder.types()[-1] == "workflow_cancelled"
    assert (recorder.events[-1].last_step_key, recorder.events[-1].reason) == ("one", "KeyboardInterrupt")


def test_f84_an_interrupt_inside_a_step_keeps_the_steps_before_it(mode, cache, recorder):
    def interrupted():
        raise KeyboardInterrupt

    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        yield ctx.attempt("two", interrupted, key="two")

    with pytest.raises(KeyboardInterrupt):
        mode.run(aw.create_workflow("w", None, cache=cache, on_event=recorder), body)
    assert list(cache.keys()) == ["one"]
    assert recorder.types().count("workflow_cancelled") == 1
    assert "step_complete" not in recorder.types("two")


def test_f85_the_step_error_that_was_on_its_way_out_is_told_with_the_cancellation(recorder):
    async def body(ctx):
        await ctx.step("one", lambda: 1, key="one")
        try:
            await ctx.step("fail", lambda: aw.err("NO"))
        finally:
            task.cancel()
            await asyncio.Event().wait()

    async def cell():
        nonlocal task
        task = asyncio.ensure_future(aw.create_workflow("w", None, cache=None, on_event=recorder).run(body))
        with pytest.raises(asyncio.CancelledError):
            await task

    task = None
    asyncio.run(cell())
    assert (recorder.events[-1].type, recorder.events[-1].error) == ("workflow_cancelled", "NO")
    assert recorder.events[-1].last_step_key == "one"


def test_f86_a_last_step_that_succeeds_in_spite_of_cancellation_is_kept_and_the_run_is_cancelled(cache, recorder):
    async def stubborn():
        task.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished all the same"

    async def body(ctx):
        return await ctx.step("stubborn", stubborn, key="stubborn")

    async def cell():
        nonlocal task
        task = asyncio.ensure_future(aw.create_workflow("w", None, cache=cache, on_event=recorder).run(body))
        with pytest.raises(asyncio.CancelledError):
            await task

    task = None
    asyncio.run(cell())
    assert cache.get("stubborn") == aw.Ok("finished all the same")
    assert recorder.types()[-1] == "workflow_cancelled"
    assert recorder.events[-1].last_step_key == "stubborn"


def _check_fifty(result, state, cache):
    assert result == aw.Ok([n * n for n in range(50)])
    assert set(cache.keys()) == set(state.steps) == {f"n:{n}" for n in range(50)}
    assert all(state.steps[f"n:{n}"].result == cache.get(f"n:{n}") == aw.Ok(n * n) for n in range(50))


def test_f87_steps_from_worker_threads_corrupt_neither_cache_nor_collector(plain, cache):
    def body(ctx):
        def one(n):
            return ctx.step("square", lambda: n * n, key=f"n:{n}")

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(one, range(50)))

    _check_fifty(*plain.run_with_state(aw.create_workflow("w", None, cache=cache), body), cache)


def test_f87_steps_from_tasks_whose_functions_run_in_threads_corrupt_nothing(cache):
    async def body(ctx):
        steps = (ctx.step("square", lambda n=n: n * n, key=f"n:{n}", executor="thread") for n in range(50))
        return await asyncio.gather(*steps)

    workflow = aw.create_workflow("w", None, cache=cache)
    _check_fifty(*asyncio.run(workflow.run_with_state(body)), cache)
