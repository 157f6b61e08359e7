"""`retry` and `timeout`: how often, how long, and what is left when they give up."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading

import pytest

import awaitly_nb as aw


@pytest.fixture
def workflow(recorder):
    return aw.create_workflow("w", None, cache={}, on_event=recorder)


def one_step(fn, **options):
    def body(ctx):
        value = yield ctx.step("fetch", fn, **options)
        return value

    return body


def failing(mode, *outcomes):
    left = list(outcomes)

    def fetch():
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return mode.counted(fetch)


def test_a_number_of_attempts(mode, workflow):
    fetch = failing(mode, ValueError(), aw.err("BUSY"), "done")
    assert mode.run(workflow, one_step(fetch, retry=3)) == aw.Ok("done")
    assert len(fetch.calls) == 3


def test_success_stops_the_attempts(mode, workflow, recorder):
    fetch = failing(mode, "done")
    assert mode.run(workflow, one_step(fetch, retry=5)) == aw.Ok("done")
    assert len(fetch.calls) == 1
    assert recorder.of("step_retry") == []


def test_the_last_failure_is_the_steps(mode, workflow):
    last = ValueError("third")
    fetch = failing(mode, ValueError("first"), aw.err("second"), last)
    assert mode.run(workflow, one_step(fetch, retry=aw.Retry(3, delay_s=0))).cause is last


def test_a_declared_error_is_tried_again_too(mode, workflow):
    fetch = failing(mode, ValueError(), ValueError())
    assert mode.run(workflow, one_step(fetch, retry=2, error="FETCH_FAILED")) == aw.Err("FETCH_FAILED")
    assert len(fetch.calls) == 2


def test_only_the_exceptions_that_retry_names_are_tried_again(mode, workflow, recorder):
    retry = aw.Retry(3, delay_s=0, on=(ConnectionError,))
    fetch = failing(mode, ConnectionError(), ValueError("not this one"))
    assert isinstance(mode.run(workflow, one_step(fetch, retry=retry)).cause, ValueError)
    assert len(fetch.calls) == 2
    assert recorder.of("step_retries_exhausted") == []


def test_waits_grow_up_to_their_bound(mode, workflow, recorder):
    retry = aw.Retry(5, delay_s=0.001, factor=2, max_delay_s=0.003)
    fetch = failing(mode, *[ValueError()] * 5)
    mode.run(workflow, one_step(fetch, retry=retry))
    assert [event.delay_s for event in recorder.of("step_retry")] == [0.001, 0.002, 0.003, 0.003]


def test_an_interrupt_is_not_tried_again(mode, workflow):
    fetch = failing(mode, KeyboardInterrupt(), "never")
    with pytest.raises(KeyboardInterrupt):
        mode.run(workflow, one_step(fetch, retry=3))
    assert len(fetch.calls) == 1


@pytest.mark.parametrize("retry", [0, -1, 1.5, True, "twice"], ids=repr)
def test_a_retry_that_is_none_is_refused(mode, workflow, retry):
    fetch = failing(mode, 1)
    result = mode.run(workflow, one_step(fetch, retry=retry))
    assert isinstance(result.cause, aw.errors.InvalidOptionError)
    assert "retry" in str(result.cause)
    assert fetch.calls == []


@pytest.mark.parametrize(
    "options", [{"delay_s": -1}, {"factor": math.nan}, {"max_delay_s": -1}, {"jitter_s": -1}], ids=str
)
def test_waits_below_zero_are_refused(options):
    with pytest.raises(aw.errors.InvalidOptionError, match="retry"):
        aw.Retry(2, **options)


def test_each_attempt_has_its_own_time(workflow, mode):
    stop = threading.Event()
    attempts = []

    def slow_first():
        attempts.append(1)
        if len(attempts) == 1:
            stop.wait(60)
        return "second was fast"

    async def slow_first_async():
        attempts.append(1)
        if len(attempts) == 1:
            await asyncio.Event().wait()
        return "second was fast"

    try:
        fn = slow_first_async if mode.is_async else slow_first
        result = mode.run(workflow, one_step(fn, timeout=1.5, retry=aw.Retry(2, delay_s=0)))
    finally:
        stop.set()
    assert result == aw.Ok("second was fast")


def test_a_timed_out_coroutine_is_cancelled_and_cleaned_up(mode, workflow):
    order = []

    async def slow():
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cleaned up")

    result = mode.run(workflow, one_step(slow, timeout=0.05))
    assert isinstance(result.error, aw.StepTimeoutError)
    assert order == ["cleaned up"]


@pytest.mark.parametrize("timeout", ["50ms", 0.05], ids=repr)
def test_a_blocking_function_with_a_timeout_runs_in_a_thread_in_the_callers_context(mode, workflow, timeout):
    stop = threading.Event()
    threads = []

    def slow():
        threads.append(threading.current_thread())
        stop.wait(60)

    try:
        result = mode.run(workflow, one_step(slow, timeout=timeout, key="slow"))
    finally:
        stop.set()
    assert result == aw.Err(aw.StepTimeoutError(step_id="fetch", step_key="slow", seconds=0.05))
    assert threads != [threading.main_thread()]


_user = contextvars.ContextVar("user", default="nobody")


@pytest.mark.parametrize("options", [{}, {"timeout": 30}, {"executor": "thread"}], ids=str)
@pytest.mark.parametrize("kind", ["sync function", "async function"])
def test_the_callers_context_variables_hold_wherever_the_function_runs(mode, workflow, options, kind):
    def sync_fetch():
        return _user.get()

    async def async_fetch():
        return _user.get()

    token = _user.set("ada")
    try:
        result = mode.run(workflow, one_step(sync_fetch if kind == "sync function" else async_fetch, **options))
    finally:
        _user.reset(token)
    assert result == aw.Ok("ada")


def test_a_timeout_error_of_the_functions_own_is_no_step_timeout(mode, workflow):
    own = TimeoutError("the server's")
    result = mode.run(workflow, one_step(failing(mode, own), timeout=30))
    assert isinstance(result.error, aw.UnexpectedError)
    assert result.cause is own


def test_a_fast_step_does_not_notice_its_timeout(mode, workflow):
    assert mode.run(workflow, one_step(mode.counted(lambda: 1), timeout="1h", key="k")) == aw.Ok(1)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "soon"], ids=repr)
def test_a_timeout_that_is_none_is_refused(mode, workflow, timeout):
    result = mode.run(workflow, one_step(lambda: 1, timeout=timeout))
    assert isinstance(result.cause, aw.errors.InvalidOptionError)
    assert "timeout" in str(result.cause)
