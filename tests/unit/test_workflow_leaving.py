"""Who fails inside a step, a run or an opening session takes along what is around it, and nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

import awaitly_nb as aw


def fail():
    return aw.err("FLAKY")


# -- a step that goes on although a step inside it failed ------------------------------------------------------------


@pytest.fixture(params=["inline", "thread"])
def executor(request):
    return request.param


def swallowing(ctx, collected):
    """Return a step's function that swallows the way out of the run."""

    def outer():
        try:
            return ctx.step("in", fail, key="in")
        except:  # noqa: E722 - the point
            collected.append("swallowed")
            return "recovered"

    return outer


def test_a_step_that_swallows_a_failure_inside_it_is_not_kept(executor):
    swallowed, cache = [], {}
    collector = aw.create_resume_state_collector()
    workflow = aw.create_workflow("w", cache=cache, on_event=collector.handle_event, executor=executor)
    body = lambda ctx: ctx.step("out", swallowing(ctx, swallowed), key="out")  # noqa: E731
    assert [workflow.run_sync(body) for _ in range(2)] == [aw.Err("FLAKY")] * 2
    assert swallowed == ["swallowed"] * 2
    assert list(cache) == ["in"]
    assert list(collector.get_resume_state().steps) == ["in"]
    assert [step.state for step in workflow.last_run.steps if step.step_id == "out"] == ["failed"]


def test_an_awaited_step_that_swallows_a_failure_is_not_kept(executor):
    cache = {}
    workflow = aw.create_workflow("w", cache=cache, executor=executor)

    async def body(ctx):
        async def outer():
            try:
                return await ctx.step("in", fail, key="in")
            except:  # noqa: E722 - the point
                return "recovered"

        return await ctx.step("out", outer, key="out")

    assert [asyncio.run(workflow.run(body)) for _ in range(2)] == [aw.Err("FLAKY")] * 2
    assert list(cache) == ["in"]


def test_a_second_step_inside_a_swallowing_one_is_no_way_back():
    cache = {}
    workflow = aw.create_workflow("w", cache=cache)

    def body(ctx):
        def outer():
            try:
                ctx.map("in", lambda item: aw.err(item), ["FLAKY"], key="in:{item}")
            except BaseException as exc:
                raise LookupError from exc

        return ctx.attempt("out", outer, key="out", error="DECLARED")

    assert workflow.run_sync(body) == aw.Err("FLAKY")
    assert list(cache) == ["in:FLAKY"]


def test_a_step_beside_one_that_failed_is_kept():
    cache, failed = {}, threading.Event()
    workflow = aw.create_workflow("w", cache=cache, executor="thread")

    async def body(ctx):
        def slow():
            assert failed.wait(60)
            return "done"

        def fails():
            failed.set()
            return aw.err("FLAKY")

        slow_step = asyncio.ensure_future(ctx.attempt("slow", slow, key="slow"))
        await asyncio.sleep(0)
        failing = await ctx.attempt("fails", fails, key="fails")
        with pytest.raises(BaseException):  # noqa: B017, PT011 - swallowed on the way out, so that the slow one can end
            await ctx.step("fails", fails, key="fails")
        await slow_step
        return failing

    assert asyncio.run(workflow.run(body)) == aw.Err("FLAKY")
    assert cache["slow"] == aw.Ok("done")


def test_a_step_may_make_its_own_of_what_another_workflow_came_to():
    inner = aw.create_workflow("inner", cache=None)
    outer = aw.create_workflow("outer", cache=None)
    body = lambda ctx: ctx.step("out", lambda: inner.run_sync(lambda ctx: ctx.step("in", fail)).unwrap_or("default"))  # noqa: E731
    assert outer.run_sync(body) == aw.Ok("default")


# -- a run inside a run ----------------------------------------------------------------------------------------------


def test_a_run_is_left_with_the_failure_of_a_run_around_it():
    inner, outer = (aw.create_workflow(name, cache=None) for name in ("inner", "outer"))
    events, after = [], []

    def body(ctx):
        inner.run_sync(lambda _: ctx.step("fails", fail), on_event=events.append)
        after.append("not reached")

    assert outer.run_sync(body) == aw.Err("FLAKY")
    assert after == []
    assert [event.type for event in events] == ["workflow_start", "workflow_cancelled"]
    assert events[-1].reason == "the run around it failed"


def test_an_awaited_run_is_left_with_the_failure_of_a_run_around_it():
    inner, outer = (aw.create_workflow(name, cache=None) for name in ("inner", "outer"))

    def inner_body(ctx, grouped):
        async def body(_):
            if not grouped:
                await ctx.step("fails", fail)
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step("fails", fail))

        return body

    seen = []
    for grouped in (False, True):

        async def body(ctx, grouped=grouped):
            try:
                return await inner.run(inner_body(ctx, grouped))
            except Exception as exc:  # what `run` promises to return as a result
                seen.append(exc)
                raise

        assert asyncio.run(outer.run(body)) == aw.Err("FLAKY")
        assert seen == []


# -- a session that is being opened ----------------------------------------------------------------------------------


def renewing():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("awaitly-lease")]


async def until(condition):
    while not condition():  # noqa: ASYNC110 - it is another thread that comes there
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_run_cancelled_while_its_session_opens_gives_the_lease_back(tmp_path, times):
    workflow = aw.create_workflow("w", cache=None)
    store = aw.sqlite(tmp_path / "states.db")

    async def body(_ctx):
        return 1

    async def main():
        assert await workflow.run(body, store=store, id="y") == aw.Ok(1)
        opening = threading.Event()
        acquire = store.blocking.acquire

        def acquiring(*args, **kwargs):
            opening.set()
            return acquire(*args, **kwargs)

        store.blocking.acquire = acquiring
        with closing(sqlite3.connect(tmp_path / "states.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            task = asyncio.create_task(workflow.run(body, store=store, id="x"))
            await until(opening.is_set)
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            other.execute("COMMIT")
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not renewing())
        assert await workflow.run(body, store=store, id="x") == aw.Ok(1)
        await until(lambda: not renewing())

    asyncio.run(main())
    store.blocking.close()


def test_a_blocking_run_interrupted_while_its_session_opens_gives_the_lease_back(tmp_path):
    workflow = aw.create_workflow("w", cache=None)
    store = aw.sqlite(tmp_path / "states.db")
    with closing(store.blocking):
        begin = store.blocking.begin

        def interrupted(*_args, **_options):
            raise KeyboardInterrupt

        store.blocking.begin = interrupted
        with pytest.raises(KeyboardInterrupt):
            workflow.run_sync(lambda ctx: 1, store=store, id="x")
        store.blocking.begin = begin
        assert workflow.run_sync(lambda ctx: 1, store=store, id="x") == aw.Ok(1)
