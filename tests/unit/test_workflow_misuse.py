"""Misuse is told at once, with the fix, and is never kept."""

from __future__ import annotations

import asyncio
import functools

import pytest

import awaitly_nb as aw
from awaitly_nb.cache import as_step_cache


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
    assert isinstance(refused.cause, aw.errors.InvalidOptionError)
    assert workflow.last_run.steps == ()
    assert cache == {}
    assert run("thread") == aw.Ok(1)


def test_misuse_inside_a_step_is_never_kept():
    cache = {}
    workflow = aw.create_workflow("w", cache=cache, cache_errors="all")
    body = lambda ctx: ctx.step("out", lambda: ctx.step("in", 5), key="k")  # noqa: E731
    assert isinstance(workflow.run_sync(body).cause, aw.MisuseError)
    assert cache == {}


# -- bodies and listeners of which a call runs nothing -----------------------------------------------------------------


def made_by_yield(ctx):
    yield ctx.step("s", lambda: 1)


async def awaited_by_yield(ctx):
    yield await ctx.step("s", lambda: 1)


class Callable:
    def __call__(self, ctx):
        yield ctx.step("s", lambda: 1)


@pytest.mark.parametrize("body", [made_by_yield, awaited_by_yield, functools.partial(made_by_yield), Callable()])
def test_a_generator_as_body_is_refused(body):
    workflow = aw.create_workflow("w", cache=None)
    with pytest.raises(aw.MisuseError, match="generator function"):
        workflow.run_sync(body)
    with pytest.raises(aw.MisuseError, match="generator function"):
        asyncio.run(workflow.run(body))


async def listening(_event):
    raise AssertionError


@pytest.mark.parametrize("listener", [listening, [print, listening], made_by_yield])
def test_a_listener_that_would_never_run_is_refused(listener):
    with pytest.raises(aw.MisuseError, match="plain function of one event"):
        aw.create_workflow("w", on_event=listener)
    with pytest.raises(aw.MisuseError, match="plain function of one event"):
        aw.create_workflow("w").run_sync(lambda ctx: 1, on_event=listener)


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"delay_s": "1s"}, "delay_s='1s'"),
        ({"max_delay_s": None}, "max_delay_s=None"),
        ({"jitter_s": float("nan")}, "jitter_s=nan"),
        ({"factor": -1}, "factor=-1"),
        ({"on": "ValueError"}, "on='ValueError'"),
        ({"on": (ValueError, "OSError")}, "write on="),
        ({"on": [ValueError]}, "no tuple of them"),
    ],
)
def test_a_retry_that_cannot_be_meant_is_refused_where_it_is_made(options, told):
    with pytest.raises(aw.errors.InvalidOptionError, match=told):
        aw.Retry(2, **options)


def test_a_retry_may_name_one_exception():
    calls = []

    def fetch():
        calls.append(1)
        raise LookupError

    workflow = aw.create_workflow("w", cache=None)
    for kind, times in [(LookupError, 2), (OSError, 1)]:
        calls.clear()
        workflow.run_sync(lambda ctx, kind=kind: ctx.step("s", fetch, retry=aw.Retry(2, delay_s=0, on=kind)))
        assert len(calls) == times


def test_a_bare_value_is_no_result_to_keep(cache):
    step_cache = as_step_cache(cache)
    with pytest.raises(aw.MisuseError, match=r"set\('k', ...\) was given a int.* aw.Ok\(value\)"):
        step_cache.set("k", 5)
    assert step_cache.get("k") is None


@pytest.mark.parametrize("awaited", [False, True])
def test_a_factory_that_fails_is_named(awaited):
    def factory():
        raise LookupError("no such state")

    async def awaited_factory():
        return factory()

    workflow = aw.create_workflow("w", cache=None, resume_state=awaited_factory if awaited else factory)
    expected = "the resume_state factory raised LookupError: no such state"
    assert str(workflow.run_sync(lambda ctx: 1).error) == expected
    assert str(asyncio.run(workflow.run(lambda ctx: 1)).error) == expected


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_stop_iteration_is_named_as_what_it_is(mode, executor):
    def body(ctx):
        yield ctx.step("s", lambda: next(iter([])), executor=executor)

    result = mode.run(aw.create_workflow("w", cache=None), body)
    assert (result.error.cause_type, result.error.step_id) == ("StopIteration", "s")
    assert isinstance(result.cause, StopIteration)


# -- items of a map that share a key ---------------------------------------------------------------------------------


LONG = [[*range(2000), end] for end in "ab"]


@pytest.mark.parametrize("items", [[1, "1"], [1, True, "True"], [LONG[0], LONG[1]]], ids=["text", "bool", "long"])
@pytest.mark.parametrize("kind", [list, iter])
def test_items_that_differ_and_share_a_key_are_told_once(items, kind):
    workflow = aw.create_workflow("w", cache=None)
    key = lambda item: f"u:{str(item)[:20]}"  # noqa: E731
    body = lambda ctx: ctx.map("u", lambda item: item, kind(items), key=key)  # noqa: E731
    with pytest.warns(aw.errors.SharedKeyWarning, match="differ and share the key") as told:
        assert workflow.run_sync(body).ok
    assert len(told) == 1


@pytest.mark.parametrize("items", [["a", "a"], [LONG[0], list(LONG[0])], [object()] * 2], ids=["text", "equal", "same"])
def test_an_item_that_comes_twice_may_share_its_key(items):
    workflow = aw.create_workflow("w", cache=None)
    assert workflow.run_sync(lambda ctx: ctx.map("u", lambda item: 1, items, key="u")) == aw.Ok([1, 1])


def test_items_of_a_template_whose_texts_are_equal_do_not_share_a_key():
    workflow = aw.create_workflow("w", cache=None)
    with pytest.warns(aw.errors.UncachedWarning, match="reads as a number") as told:
        assert workflow.run_sync(lambda ctx: ctx.map("u", type, [1, "1"], key="u:{item}")) == aw.Ok([int, str])
    assert len(told) == 1
