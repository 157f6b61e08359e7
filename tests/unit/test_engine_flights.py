"""One key wanted by several at once: runs, threads, event loops and forks, and leaders that do not finish."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import awaitly_nb as aw


@pytest.fixture
def workflow(cache):
    return aw.create_workflow("w", None, cache=cache)


def test_a_cancelled_leader_hands_over_to_a_waiter(workflow, cache, turns):
    calls = []

    async def slow():
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return "by the second"

    async def body(ctx):
        return await ctx.step("slow", slow, key="slow")

    async def cell():
        leader = asyncio.create_task(workflow.run(body))
        await turns()
        waiters = [asyncio.create_task(workflow.run(body)) for _ in range(3)]
        await turns()
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        return await asyncio.gather(*waiters)

    assert asyncio.run(cell()) == [aw.Ok("by the second")] * 3
    assert len(calls) == 2
    assert cache.get("slow") == aw.Ok("by the second")


def test_a_cancelled_waiter_harms_neither_leader_nor_other_waiters(workflow, turns):
    go_on = asyncio.Event()
    calls = []

    async def slow():
        calls.append(1)
        await go_on.wait()
        return 1

    async def body(ctx):
        return await ctx.step("slow", slow, key="slow")

    async def cell():
        runs = [asyncio.create_task(workflow.run(body)) for _ in range(3)]
        await turns()
        runs[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await runs[1]
        go_on.set()
        return await asyncio.gather(runs[0], runs[2])

    assert asyncio.run(cell()) == [aw.Ok(1)] * 2
    assert calls == [1]


def test_an_interrupted_leader_in_a_thread_hands_over(workflow, cache):
    started, go_on = threading.Event(), threading.Event()
    calls = []

    def slow():
        calls.append(1)
        if len(calls) == 1:
            started.set()
            go_on.wait(30)
            raise KeyboardInterrupt
        return "by the second"

    def body(ctx):
        return ctx.step("slow", slow, key="slow")

    def second():
        started.wait(30)
        go_on.set()
        return workflow.run_sync(body)

    with ThreadPoolExecutor(2) as pool:
        first, other = pool.submit(workflow.run_sync, body), pool.submit(second)
        assert isinstance(first.exception(30), KeyboardInterrupt)
        assert other.result(30) == aw.Ok("by the second")
    assert len(calls) == 2


def test_event_loops_of_several_threads_share_one_execution(workflow):
    calls, start = [], threading.Barrier(3)

    async def slow():
        calls.append(1)
        return 1

    async def body(ctx):
        return await ctx.step("slow", slow, key="slow")

    def loop(_):
        start.wait(30)
        return asyncio.run(workflow.run(body))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(loop, range(3))) == [aw.Ok(1)] * 3
    assert calls == [1]


def test_an_awaiting_waiter_leaves_its_loop_free_while_a_thread_leads(workflow, turns):
    started, go_on = threading.Event(), threading.Event()

    def slow():
        started.set()
        go_on.wait(30)
        return "from the thread"

    def plain_body(ctx):
        return ctx.step("slow", slow, key="slow")

    async def async_body(ctx):
        return await ctx.step("slow", slow, key="slow")

    async def cell():
        leader = threading.Thread(target=workflow.run_sync, args=(plain_body,))
        leader.start()
        started.wait(30)
        waiter = asyncio.create_task(workflow.run(async_body))
        await turns()  # the loop turns although the waiter waits; a blocked loop would never come here
        assert not waiter.done()
        go_on.set()
        result = await waiter
        leader.join(30)
        return result

    assert asyncio.run(cell()) == aw.Ok("from the thread")


def test_two_runs_that_want_each_others_keys_do_not_wait_for_ever(workflow, tolerate):
    inside = {"a": threading.Event(), "b": threading.Event()}

    def body_for(outer, inner):
        def body(ctx):
            def work():
                inside[outer].set()
                inside[inner].wait(30)
                return ctx.step(inner, lambda: f"{inner} inside {outer}", key=inner)

            return ctx.step(outer, work, key=outer)

        return body

    with ThreadPoolExecutor(2) as pool, tolerate(aw.errors.CodeChangedWarning):  # each key has two functions here
        runs = [pool.submit(workflow.run_sync, body_for("a", "b")), pool.submit(workflow.run_sync, body_for("b", "a"))]
        assert [run.result(30).ok for run in runs] == [True, True]


def test_nested_keys_of_parallel_tasks_do_not_wait_for_ever(workflow, turns):
    async def body(ctx):
        async def outer(mine, other):
            await turns(3)
            return await ctx.step(other, lambda: f"inner {other}", key=other)

        steps = [
            ctx.attempt("a", lambda: outer("a", "b"), key="a"),
            ctx.attempt("b", lambda: outer("b", "a"), key="b"),
        ]
        async with asyncio.timeout(30):
            return await asyncio.gather(*steps)

    result = asyncio.run(workflow.run(body))
    assert result.ok, result
    assert all(step.ok for step in result.value)


_FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: this fork has threads, which is the point
import awaitly_nb as aw

cache = aw.create_disk_cache(sys.argv[1])
workflow = aw.create_workflow("w", None, cache=cache)
inside, go_on = threading.Event(), threading.Event()

def slow():
    inside.set()
    go_on.wait(30)
    return "parent"

thread = threading.Thread(target=lambda: workflow.run_sync(lambda ctx: ctx.step("slow", slow, key="slow")))
thread.start()
inside.wait(30)
if (child := os.fork()) == 0:
    # The leader of "slow" is not in this process; the parent's lock on it is, and is respected until it lets go.
    ok = workflow.run_sync(lambda ctx: ctx.step("other", lambda: "child", key="other")) == aw.Ok("child")
    os._exit(0 if ok and cache.get("other") == aw.Ok("child") else 1)
status = os.waitpid(child, 0)[1]
go_on.set()
thread.join(30)
assert status == 0, status
assert cache.get("slow") == aw.Ok("parent")
assert cache.get("other") == aw.Ok("child")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_forked_child_works_while_a_step_of_the_parent_runs(tmp_path):
    done = subprocess.run([sys.executable, "-c", _FORK, str(tmp_path)], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
