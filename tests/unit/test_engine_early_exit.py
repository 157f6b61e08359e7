"""A failed step leaves the body, and nothing that the body does can keep it from ending the run."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import awaitly_nb as aw


@pytest.fixture
def workflow():
    return aw.create_workflow("w", None, cache=None)


def refuse():
    return aw.err("NO")


def test_except_exception_in_the_body_does_not_see_it(mode, workflow):
    seen = []

    def body(ctx):
        try:
            yield ctx.step("refuse", refuse)
        except Exception as exc:
            seen.append(exc)
        seen.append("went on")

    assert mode.run(workflow, body) == aw.Err("NO")
    assert seen == []


def test_a_bare_except_sees_it_but_the_run_still_ends_with_the_error(mode, workflow):
    later = mode.counted(lambda: 1)

    def body(ctx):
        try:  # noqa: SIM105 - the very thing under test
            yield ctx.step("refuse", refuse)
        except:  # noqa: E722 - the very thing under test
            pass
        with contextlib.suppress(BaseException):
            yield ctx.step("later", later, key="later")
        return "all is well"

    assert mode.run(workflow, body) == aw.Err("NO")
    assert later.calls == []


def test_a_body_that_swallows_it_and_returns_an_ok_has_not_succeeded(mode, workflow, recorder):
    def body(ctx):
        with contextlib.suppress(BaseException):
            yield ctx.step("refuse", refuse)
        return aw.ok("all is well")

    assert mode.run(workflow, body, on_event=recorder) == aw.Err("NO")
    assert recorder.types()[-1] == "workflow_error"


def test_a_body_that_swallows_it_and_raises_something_else_still_ends_with_the_first_error(mode, workflow):
    def body(ctx):
        try:
            yield ctx.step("refuse", refuse)
        except BaseException:
            raise ValueError("while cleaning up") from None

    assert mode.run(workflow, body) == aw.Err("NO")


def test_the_first_of_several_failures_is_the_runs(mode, workflow):
    def body(ctx):
        with contextlib.suppress(BaseException):
            yield ctx.step("refuse", refuse)
        yield ctx.step("other", lambda: aw.err("OTHER"))

    assert mode.run(workflow, body) == aw.Err("NO")


def test_attempt_after_a_swallowed_failure_does_not_run_either(mode, workflow):
    later = mode.counted(lambda: 1)

    def body(ctx):
        with contextlib.suppress(BaseException):
            yield ctx.step("refuse", refuse)
        result = yield ctx.attempt("later", later)
        return result

    assert mode.run(workflow, body) == aw.Err("NO")
    assert later.calls == []


def test_finally_and_context_managers_of_the_body_run(mode, workflow):
    order = []

    @contextlib.contextmanager
    def resource():
        order.append("open")
        try:
            yield
        finally:
            order.append("closed")

    def body(ctx):
        try:
            with resource():
                yield ctx.step("refuse", refuse)
        finally:
            order.append("finally")

    assert mode.run(workflow, body) == aw.Err("NO")
    assert order == ["open", "closed", "finally"]


def test_attempt_returns_the_result_and_stays(mode, workflow):
    def crash():
        raise ValueError("row 7")

    def body(ctx):
        refused = yield ctx.attempt("refuse", refuse)
        crashed = yield ctx.attempt("crash", crash)
        fine = yield ctx.attempt("fine", lambda: 1)
        return [refused, crashed.cause, fine]

    refused, cause, fine = mode.run(workflow, body).value
    assert (refused, fine) == (aw.Err("NO"), aw.Ok(1))
    assert isinstance(cause, ValueError)


def test_attempt_of_a_misused_step_is_refused_like_step(mode, workflow):
    def body(ctx):
        yield ctx.attempt("fetch", 42, key="k")

    assert isinstance(mode.run(workflow, body).cause, aw.MisuseError)


def test_attempt_knows_no_other_keywords_than_step(mode, workflow):
    received = []

    def body(ctx):
        yield ctx.attempt("fetch", lambda **kwargs: received.append(kwargs), key="k", retry=1, colour="red")
        yield ctx.step("fetch", lambda **kwargs: received.append(kwargs), key="l", retry=1, colour="red")

    assert mode.run(workflow, body).ok
    assert received == [{"colour": "red"}] * 2


def test_a_failure_in_a_worker_thread_ends_the_run_even_if_nobody_asks_for_the_future(workflow, plain):
    def body(ctx):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(ctx.step, "refuse", refuse)
        return "all is well"

    assert plain.run(workflow, body) == aw.Err("NO")


def test_a_failure_in_a_task_nobody_awaits_ends_the_run_without_noise(workflow, turns, caplog):
    async def body(ctx):
        asyncio.get_running_loop().create_task(ctx.step("refuse", refuse))
        await turns()
        return "all is well"

    async def cell():
        result = await workflow.run(body)
        gc.collect()
        await turns()
        return result

    assert asyncio.run(cell()) == aw.Err("NO")
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_several_failures_in_a_task_group_end_the_run_with_the_first(workflow):
    async def body(ctx):
        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(ctx.step("refuse", lambda n=n: aw.err(f"NO {n}")))

    assert asyncio.run(workflow.run(body)) == aw.Err("NO 0")


def test_an_exception_of_the_bodys_own_in_a_task_group_beside_a_failing_step(workflow, turns):
    async def own():
        await turns()
        raise ValueError("not a step")

    async def body(ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(own())
            group.create_task(ctx.step("refuse", refuse))

    assert asyncio.run(workflow.run(body)) == aw.Err("NO")


def test_except_star_in_the_body_cannot_swallow_it(workflow):
    async def body(ctx):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step("refuse", refuse))
        except* BaseException:
            pass
        return "all is well"

    assert asyncio.run(workflow.run(body)) == aw.Err("NO")


def test_a_caught_timeout_around_a_step_is_the_bodys_own_business(workflow):
    async def body(ctx):
        try:
            async with asyncio.timeout(0.02):
                await ctx.step("slow", asyncio.Event().wait, key="slow")
        except TimeoutError:
            return await ctx.step("other", lambda: "went another way", key="other")

    assert asyncio.run(workflow.run(body)) == aw.Ok("went another way")


def test_a_step_called_after_its_run_is_refused(mode, workflow):
    contexts = []
    mode.run(workflow, lambda ctx: contexts.append(ctx))
    late = mode.counted(lambda: 1)
    with pytest.raises(aw.MisuseError, match="late"):
        asyncio.run(_awaited(contexts[0].step("late", late))) if mode.is_async else contexts[0].step("late", late)
    assert late.calls == []


async def _awaited(coroutine):
    return await coroutine


def test_a_step_in_its_own_thread_is_not_cut_short_by_a_failure_elsewhere_but_no_event_follows(
    workflow, plain, recorder
):
    started, go_on = threading.Event(), threading.Event()

    def slow():
        started.set()
        go_on.wait(30)
        return 1

    def body(ctx):
        thread = threading.Thread(target=ctx.attempt, args=("slow", slow))
        thread.start()
        started.wait(30)
        threads.append(thread)
        ctx.step("refuse", refuse)

    threads = []
    assert plain.run(workflow, body, on_event=recorder) == aw.Err("NO")
    seen = recorder.types()
    go_on.set()
    threads[0].join(30)
    assert recorder.types() == seen
    assert seen[-1] == "workflow_error"
