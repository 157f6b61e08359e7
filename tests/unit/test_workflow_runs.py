"""`create_workflow` and its runs: options and overrides, misuse, and what is kept of the last run."""

from __future__ import annotations

import asyncio
import functools
import gc
import time

import pytest

import awaitly_nb as aw
from awaitly_nb.testing import FakeClock


def one_step(fn, **options):
    def body(ctx):
        value = yield ctx.step("fetch", fn, **{"key": "k", **options})
        return value

    return body


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((None,), {}),
        (("",), {}),
        ((7,), {}),
        (("w", ["fetch"]), {}),
        (("w",), {"cache": 42}),
        (("w",), {"cache": "folder"}),
        (("w",), {"cache": [1, 2]}),
        (("w",), {"cache": True}),
        (("w",), {"on_event": 42}),
        (("w",), {"on_event": ["text"]}),
    ],
    ids=str,
)
def test_a_workflow_that_cannot_mean_anything_is_misuse(args, options):
    with pytest.raises((aw.MisuseError, TypeError)) as caught:
        aw.create_workflow(*args, **options)
    assert isinstance(caught.value, aw.MisuseError)


@pytest.mark.parametrize(
    "options",
    [{"cache_errors": "sometimes"}, {"cache_errors": True}, {"executor": "elsewhere"}, {"executor": 4}],
    ids=str,
)
def test_an_unknown_option_value_is_refused_with_the_known_ones(options):
    with pytest.raises(aw.errors.InvalidOptionError, match="|".join(("returned", "inline"))):
        aw.create_workflow("w", None, **options)


def test_an_unknown_keyword_of_run_is_refused_and_lists_the_known_ones(mode):
    workflow = aw.create_workflow("w", None, cache=None)
    started = []

    def body(ctx):
        started.append(1)

    with pytest.raises(aw.MisuseError, match=r"cach.*resume_state"):
        mode.run(workflow, body, cach={})
    assert started == []


@pytest.mark.parametrize("body", [None, 42, "body"], ids=repr)
def test_a_body_that_is_no_function_is_misuse(body):
    workflow = aw.create_workflow("w", None, cache=None)
    with pytest.raises(aw.MisuseError, match="workflow.run"):
        workflow.run_sync(body)
    with pytest.raises(aw.MisuseError, match="workflow.run"):
        asyncio.run(workflow.run(body))


def test_a_body_already_called_is_misuse_and_closed():
    async def body(ctx=None):
        return 1

    workflow = aw.create_workflow("w", None, cache=None)
    with pytest.raises(aw.MisuseError, match="workflow.run"):
        workflow.run_sync(body())
    gc.collect()  # a coroutine left open would warn here, and warnings are errors


def test_every_step_option_can_be_an_override_of_the_run_and_lasts_for_that_run(mode):
    threads = []
    import threading

    def where():
        threads.append(threading.current_thread() is threading.main_thread())

    workflow = aw.create_workflow("w", None, cache=None)
    mode.run(workflow, one_step(where), executor="thread")
    mode.run(workflow, one_step(where))
    mode.run(workflow, one_step(where, executor="thread"))
    mode.run(aw.create_workflow("w", None, cache=None, executor="thread"), one_step(where, executor="inline"))
    assert threads == [False, True, False, True]


def test_an_executor_of_ones_own_needs_only_submit(mode):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        import threading

        workflow = aw.create_workflow("w", None, cache=None, executor=pool)
        name = mode.run(workflow, one_step(lambda: threading.current_thread().name)).value
    assert name.startswith("mine")


def test_defaults_of_configure_hold_for_workflows_made_after_it(mode):
    fetch = mode.counted(lambda: aw.err("NO"))
    aw.configure(cache_errors="none")
    workflow = aw.create_workflow("w", None, cache={})
    for _ in range(2):
        mode.run(workflow, one_step(fetch))
    assert len(fetch.calls) == 2


def test_the_same_workflow_can_run_inside_itself(mode):
    workflow = aw.create_workflow("w", None, cache={})
    run = workflow.run if mode.is_async else workflow.run_sync

    def inner(ctx):
        value = yield ctx.step("inner", lambda: 1, key="inner")
        return value

    def outer(ctx):
        value = yield ctx.step("outer", run, mode.body(inner), key="outer")
        return value + 1

    assert mode.run(workflow, outer) == aw.Ok(2)
    assert mode.run(workflow, outer) == aw.Ok(2)


def test_a_step_may_call_a_step(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    order = []

    def body(ctx):
        def outer():
            order.append("outer")
            return ctx.step("inner", lambda: order.append("inner") or 1, key="inner")

        value = yield ctx.step("outer", outer, key="outer")
        return value

    for _ in range(2):
        assert mode.run(workflow, body) == aw.Ok(1)
    assert order == ["outer", "inner"]
    assert sorted(cache.keys()) == ["inner", "outer"]


def test_a_step_that_waits_for_itself_is_misuse_and_no_deadlock(mode, cache):
    def body(ctx):
        def outer():
            return ctx.step("inner", lambda: 1, key="same")

        yield ctx.step("outer", outer, key="same")

    with pytest.warns(aw.errors.SharedKeyWarning):
        result = mode.run(aw.create_workflow("w", None, cache=cache), body)
    assert isinstance(result.cause, aw.MisuseError)
    assert "'same'" in str(result.cause)


def test_the_body_may_be_a_method_a_partial_or_a_callable_object(mode):

    class Report:
        async def run_async(self, ctx):
            return await ctx.step("one", lambda: 1, key="one")

        def run(self, ctx):
            return ctx.step("one", lambda: 1, key="one")

        def __call__(self, ctx):
            return self.run(ctx)

    def with_more(more, ctx):
        return ctx.step("one", lambda: 1, key="one")

    async def with_more_async(more, ctx):
        return await ctx.step("one", lambda: 1, key="one")

    workflow = aw.create_workflow("w", None, cache={})
    bodies = [Report().run, Report(), functools.partial(with_more, 1), Report().run_async]
    bodies += [functools.partial(with_more_async, 1)]
    for body in bodies:
        result = asyncio.run(workflow.run(body)) if mode.is_async else workflow.run_sync(body)
        assert result == aw.Ok(1)


def test_a_plain_body_under_run_in_a_loop_gets_bare_values(cache):
    def body(ctx):
        return ctx.step("one", lambda: 1, key="one") + 1

    assert asyncio.run(aw.create_workflow("w", None, cache=cache).run(body)) == aw.Ok(2)


def test_last_run_keeps_what_was_done_without_the_values(mode, cache):
    workflow = aw.create_workflow("report", None, cache=cache)
    assert workflow.last_run is None

    def body(ctx):
        yield ctx.step("good", lambda: "a secret value", key="good")
        yield ctx.step("bad", lambda: aw.err("NO"), key="bad")

    mode.run(workflow, body, run_id="first")
    first = workflow.last_run
    assert (first.run_id, first.workflow) == ("first", "report")
    assert [(step.step_id, step.step_key, step.state) for step in first.steps] == [
        ("good", "good", "computed"),
        ("bad", "bad", "failed"),
    ]
    assert "a secret value" not in repr(first)
    mode.run(workflow, body, run_id="second")
    second = workflow.last_run
    assert [step.state for step in second.steps] == ["hit", "replayed failure"]
    assert second.run_id == "second"
    assert [run.run_id for run in aw.recent_runs()][-2:] == ["first", "second"] or [
        run.run_id for run in aw.recent_runs()
    ][:2] == ["second", "first"]


def test_last_run_of_an_interrupted_run_is_there_too(mode):
    workflow = aw.create_workflow("w", None, cache=None)

    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mode.run(workflow, body, run_id="interrupted")
    assert workflow.last_run.run_id == "interrupted"
    assert [step.state for step in workflow.last_run.steps] == ["computed"]


@pytest.mark.parametrize("cache_kind", ["disk"], indirect=True)
def test_a_miss_after_a_removal_says_so_once(mode, cache, recorder):
    workflow = aw.create_workflow("w", None, cache=cache, on_event=recorder)
    for _ in range(2):
        mode.run(workflow, one_step(lambda: 1))
        cache.delete(cache.keys()[0])
    cache.clear()
    mode.run(workflow, one_step(lambda: 1))
    reasons = [event.reason for event in recorder.of("step_cache_miss")]
    assert reasons == ["first run", "removed from the cache", "removed from the cache"]


def test_a_miss_says_why(mode, aging, recorder):
    workflow = aw.create_workflow("w", None, cache=aging.cache, on_event=recorder)
    mode.run(workflow, one_step(lambda: 1, ttl=60))
    aging.wait(61)
    mode.run(workflow, one_step(lambda: 1, ttl=60))
    first, second = (event.reason for event in recorder.of("step_cache_miss"))
    assert first == "first run"
    assert "expired" in second


@pytest.mark.parametrize("cache_kind", ["memory", "disk"], indirect=True)
def test_what_the_body_does_to_a_value_never_shows_in_the_cache(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        rows = yield ctx.step("load", lambda: [1, 2], key="rows")
        rows.append(3)
        again = yield ctx.step("load", lambda: [1, 2], key="rows")
        return rows, again

    for _ in range(3):
        assert mode.run(workflow, body) == aw.Ok(([1, 2, 3], [1, 2]))


def test_a_mapping_shares_its_values_as_documented(mode):
    workflow = aw.create_workflow("w", None, cache={})

    def body(ctx):
        rows = yield ctx.step("load", lambda: [1, 2], key="rows")
        rows.append(3)
        return list(rows)

    assert mode.run(workflow, body) == aw.Ok([1, 2, 3])
    assert mode.run(workflow, body) == aw.Ok([1, 2, 3, 3])


def test_a_workflow_has_a_readable_repr():
    assert repr(aw.create_workflow("report", None, cache=None)) == "<workflow 'report'>"


class Takes:
    """A value that takes some seconds to make and some to load, by the clock that the test turns."""

    def __init__(self, clock, run_s, load_s):
        clock.advance(run_s)
        self.load_s = load_s

    def __reduce__(self):
        return load, (self.load_s,)


def load(seconds):
    time.perf_counter.advance(seconds)


def test_a_step_that_is_cheaper_to_run_than_to_load_says_so(mode, tmp_path, monkeypatch):
    workflow = aw.create_workflow("w", None, cache=aw.create_disk_cache(tmp_path))
    clock = FakeClock(at=100)

    def body(ctx):
        yield ctx.step("cheap", lambda: Takes(clock, 0.01, 0.02), key="cheap")
        yield ctx.step("dear", lambda: Takes(clock, 2, 0.02), key="dear")

    with monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", clock)
        mode.run(workflow, body)
        mode.run(workflow, body)
    cheap, dear = workflow.last_run.steps
    assert cheap.reason == "from the cache, cheaper to run than to load"
    assert dear.reason == "from the cache"


async def asynchronous(ctx, extra=0):
    one = await ctx.step("one", lambda: 1, key="one")
    two = await ctx.attempt("two", lambda: 2)
    return one + two.unwrap() + sum(await ctx.map("three", lambda x: x, [3, extra], key="three:{item}"))


@pytest.mark.parametrize("how", ["run", "run_sync", "run_sync in a loop"])
@pytest.mark.parametrize(
    "body", [lambda ctx: asynchronous(ctx), lambda ctx: asynchronous(ctx, extra=0)], ids=["lambda", "lambda with more"]
)
def test_a_body_that_returns_the_coroutine_of_another_is_an_async_body(how, body):
    workflow = aw.create_workflow("w", cache={})
    if how == "run":
        assert asyncio.run(workflow.run(body)) == aw.Ok(6)
    elif how == "run_sync":
        assert workflow.run_sync(body) == aw.Ok(6)
    else:

        async def cell():
            return workflow.run_sync(body)

        assert asyncio.run(cell()) == aw.Ok(6)


def test_a_failed_step_of_such_a_body_ends_the_run():
    async def body(ctx):
        await ctx.step("no", lambda: aw.err("NO"))
        raise AssertionError

    assert asyncio.run(aw.create_workflow("w", cache={}).run(lambda ctx: body(ctx))) == aw.Err("NO")
