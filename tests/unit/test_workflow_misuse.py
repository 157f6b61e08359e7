"""Misuse is told at once, with the fix, and is never kept."""

from __future__ import annotations

import asyncio

import pytest

import awaitly_nb as aw


@pytest.mark.parametrize("awaited", [False, True])
def test_an_unknown_executor_is_told_at_the_call_and_never_kept(awaited):
    cache = {}
    workflow = aw.create_workflow("w", {"f": lambda: 1}, cache=cache, cache_errors="all")

    def run(executor):
        if not awaited:
            return workflow.run_sync(lambda ctx: ctx.step("s", ctx.deps.f, key="k", executor=executor))

        async def body(ctx):
            return await ctx.step("s", ctx.deps.f, key="k", executor=executor)

        return asyncio.run(workflow.run(body))

    refused = run("threads")
    assert isinstance(refused.cause, aw.InvalidOptionError)
    assert workflow.last_run.steps == ()
    assert cache == {}
    assert run("thread") == aw.Ok(1)


def test_misuse_inside_a_step_is_never_kept():
    cache = {}
    workflow = aw.create_workflow("w", cache=cache, cache_errors="all")
    body = lambda ctx: ctx.step("out", lambda: ctx.step("in", 5), key="k")  # noqa: E731
    assert isinstance(workflow.run_sync(body).cause, aw.MisuseError)
    assert cache == {}
