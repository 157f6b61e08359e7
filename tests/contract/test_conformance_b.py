"""Section B of the behaviours: which failures are kept, and how they come back."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass

import pytest

import awaitly_nb as aw


@dataclass(frozen=True)
class PaymentRefused:
    """An error as a user would write it."""

    type: str
    amount: int


def one_step(fn, **options):
    """Return the steps of a body with one step, keyed unless `options` say otherwise."""

    def body(ctx):
        value = yield ctx.step("fetch", fn, **{"key": "user:999", **options})
        return value

    return body


def failing_then(mode, *outcomes):
    """Return a counted function that comes to each outcome in turn, an exception being raised."""
    left = list(outcomes)

    def fetch():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return mode.counted(fetch)


def test_b15_a_returned_err_ends_the_run_with_that_error(mode, cache):
    fetch, later = mode.counted(lambda: aw.err("NOT_FOUND")), mode.counted(lambda: 1)
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        yield ctx.step("fetch", fetch, key="user:999")
        yield ctx.step("later", later, key="later")

    result = mode.run(workflow, body)
    assert result == aw.Err("NOT_FOUND")
    assert result.error == "NOT_FOUND"
    assert later.calls == []


def test_b16_the_second_run_has_the_same_error_and_calls_nothing(mode, cache):
    fetch = mode.counted(lambda: aw.err("NOT_FOUND", cause={"id": 999}))
    workflow = aw.create_workflow("w", None, cache=cache)
    for _ in range(3):
        result = mode.run(workflow, one_step(fetch))
        assert result == aw.Err("NOT_FOUND")
        assert result.cause == {"id": 999}
    assert len(fetch.calls) == 1


def test_b17_after_deleting_the_key_a_dependency_that_succeeds_now_makes_the_run_ok(mode, cache, forget):
    fetch = failing_then(mode, aw.err("NOT_FOUND"), aw.ok({"id": "999"}))
    workflow = aw.create_workflow("w", None, cache=cache)
    assert mode.run(workflow, one_step(fetch)) == aw.Err("NOT_FOUND")
    assert mode.run(workflow, one_step(fetch)) == aw.Err("NOT_FOUND")
    forget(cache, "user:999")
    assert mode.run(workflow, one_step(fetch)) == aw.Ok({"id": "999"})
    assert len(fetch.calls) == 2


def test_b18_a_replayed_error_is_one_hit_and_a_workflow_error(mode, cache, recorder):
    fetch = mode.counted(lambda: aw.err("NOT_FOUND"))
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, one_step(fetch))
    mode.run(workflow, one_step(fetch), on_event=recorder)
    assert recorder.types() == ["workflow_start", "step_cache_hit", "workflow_error"]
    (hit,) = recorder.of("step_cache_hit")
    assert (hit.result, hit.replayed) == (aw.Err("NOT_FOUND"), True)
    assert recorder.of("workflow_error")[0].error == "NOT_FOUND"


def test_b19_a_raised_exception_is_unexpected_and_runs_again(mode, cache):
    exc = ValueError("bad row 7")
    fetch = failing_then(mode, exc, exc, "rows")
    workflow = aw.create_workflow("w", None, cache=cache)
    result = mode.run(workflow, one_step(fetch))
    assert isinstance(result.error, aw.UnexpectedError)
    assert result.cause is exc
    assert result.error.origin == "throw"
    assert (result.error.step_id, result.error.step_key) == ("fetch", "user:999")
    assert (result.error.cause_type, result.error.cause_message) == ("ValueError", "bad row 7")
    with pytest.raises(ValueError, match="bad row 7"):
        result.unwrap()
    assert not mode.run(workflow, one_step(fetch)).ok
    assert mode.run(workflow, one_step(fetch)) == aw.Ok("rows")
    assert len(fetch.calls) == 3


def test_b19_with_all_it_replays_without_calling_until_the_function_is_edited(mode, cache):
    calls = []
    workflow = aw.create_workflow("w", None, cache=cache, cache_errors="all")

    def parse():
        calls.append("first version")
        raise ValueError("bad row 7")

    for _ in range(2):
        result = mode.run(workflow, one_step(parse))
        assert isinstance(result.error, aw.UnexpectedError)
        assert isinstance(result.cause, ValueError)
        assert str(result.cause) == "bad row 7"
        assert result.error.origin == "throw"
    assert calls == ["first version"]

    def parse():
        calls.append("second version")
        return "rows"

    assert mode.run(workflow, one_step(parse)) == aw.Ok("rows")
    assert calls == ["first version", "second version"]


def test_b19_editing_a_helper_of_the_function_counts_as_editing_it(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)

    def helper():
        return aw.err("BAD ROW")

    def parse():
        return helper()

    assert mode.run(workflow, one_step(parse)) == aw.Err("BAD ROW")

    def helper():  # noqa: F811 - the cell of the notebook is edited and run again
        return "rows"

    assert mode.run(workflow, one_step(parse)) == aw.Ok("rows")


@pytest.mark.parametrize(
    "exc", [OSError("no route"), ImportError("no module"), MemoryError(), TimeoutError()], ids=repr
)
def test_b19_not_even_all_replays_what_lies_outside_the_code(mode, cache, exc):
    fetch = failing_then(mode, exc, "rows")
    workflow = aw.create_workflow("w", None, cache=cache, cache_errors="all")
    assert mode.run(workflow, one_step(fetch)).cause is exc
    assert mode.run(workflow, one_step(fetch)) == aw.Ok("rows")


def test_b20_a_declared_error_replays_with_its_cause(mode, cache):
    fetch = failing_then(mode, KeyError("user"))
    workflow = aw.create_workflow("w", None, cache=cache)
    for _ in range(2):
        result = mode.run(workflow, one_step(fetch, error="FETCH_FAILED"))
        assert result == aw.Err("FETCH_FAILED")
        assert type(result.cause) is KeyError
        assert result.cause.args == ("user",)
    assert len(fetch.calls) == 1


def test_b20_a_returned_err_is_not_renamed_by_error(mode, cache):
    fetch = failing_then(mode, aw.err("NOT_FOUND"))
    result = mode.run(aw.create_workflow("w", None, cache=cache), one_step(fetch, error="FETCH_FAILED"))
    assert result == aw.Err("NOT_FOUND")


def test_b20_the_cause_keeps_its_own_chain_through_a_replay(mode, cache):
    def fetch():
        try:
            raise LookupError("row 7")
        except LookupError as exc:
            raise ValueError("no such user") from exc

    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, one_step(fetch, error="FETCH_FAILED"))
    cause = mode.run(workflow, one_step(fetch, error="FETCH_FAILED")).cause
    assert (type(cause), str(cause)) == (ValueError, "no such user")
    assert (type(cause.__cause__), str(cause.__cause__)) == (LookupError, "row 7")


@pytest.mark.parametrize("where", ["workflow", "run", "step"])
def test_b21_with_none_failures_run_again_and_successes_still_hit(mode, cache, where):
    good = mode.counted(lambda: 1)
    fetch = failing_then(mode, aw.err("BUSY"), aw.err("BUSY"), 2)
    off = {"cache_errors": "none"}
    workflow = aw.create_workflow("w", None, cache=cache, **(off if where == "workflow" else {}))

    def body(ctx):
        one = yield ctx.step("good", good, key="good")
        two = yield ctx.step("fetch", fetch, key="fetch", **(off if where == "step" else {}))
        return one + two

    outcomes = [mode.run(workflow, body, **(off if where == "run" else {})) for _ in range(4)]
    assert outcomes == [aw.Err("BUSY"), aw.Err("BUSY"), aw.Ok(3), aw.Ok(3)]
    assert (len(good.calls), len(fetch.calls)) == (1, 3)


def test_b21_a_step_can_keep_failures_that_its_workflow_does_not(mode, cache):
    fetch = failing_then(mode, aw.err("NOT_FOUND"))
    workflow = aw.create_workflow("w", None, cache=cache, cache_errors="none")
    for _ in range(2):
        assert mode.run(workflow, one_step(fetch, cache_errors="returned")) == aw.Err("NOT_FOUND")


@pytest.mark.parametrize("options", [{}, {"cache_errors": "returned"}], ids=["by default", "asked for"])
def test_b22_returned_and_declared_errors_replay_but_exceptions_run_again(mode, cache, options):
    returned = mode.counted(lambda: aw.err("RETURNED"))
    declared, raised = failing_then(mode, ValueError()), failing_then(mode, ValueError(), ValueError())
    workflow = aw.create_workflow("w", None, cache=cache, **options)
    for _ in range(2):
        assert mode.run(workflow, one_step(returned, key="a")) == aw.Err("RETURNED")
        assert mode.run(workflow, one_step(declared, key="b", error="DECLARED")) == aw.Err("DECLARED")
        assert isinstance(mode.run(workflow, one_step(raised, key="c")).error, aw.UnexpectedError)
    assert (len(returned.calls), len(declared.calls), len(raised.calls)) == (1, 1, 2)


@pytest.mark.parametrize("policy", ["returned", "all"])
def test_b23_a_timeout_is_a_step_timeout_error_and_is_never_replayed(mode, cache, policy):
    calls = []
    stop = threading.Event()

    async def slow_async():
        calls.append(1)
        await asyncio.Event().wait()

    def slow_sync():
        calls.append(1)
        stop.wait(60)

    workflow = aw.create_workflow("w", None, cache=cache, cache_errors=policy)
    slow = slow_async if mode.is_async else slow_sync
    try:
        for run in (1, 2):
            result = mode.run(workflow, one_step(slow, timeout=0.05))
            assert result.error == aw.StepTimeoutError(step_id="fetch", step_key="user:999", seconds=0.05)
            assert len(calls) == run
    finally:
        stop.set()
    assert list(cache.keys()) == []


def test_b24_a_replayed_failure_says_so_and_how_to_retry(mode, cache, caplog):
    fetch = failing_then(mode, aw.err("NOT_FOUND"))
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, one_step(fetch))
    assert "was not run" not in caplog.text
    with caplog.at_level(logging.INFO, logger="awaitly_nb"):
        mode.run(workflow, one_step(fetch))
    (record,) = caplog.records
    assert record.getMessage() == (
        "step 'fetch' was not run: it failed just now with 'NOT_FOUND', which is cached. "
        "To run it again: %awaitly retry user:999"
    )


def test_b25_an_outer_step_that_fails_through_an_inner_one_is_not_complete(mode, cache, recorder):
    inner = mode.counted(lambda: aw.err("INNER"))
    workflow = aw.create_workflow("w", None, cache=cache, on_event=recorder)

    def body(ctx):
        def outer():
            return ctx.step("inner", inner, key="inner")

        yield ctx.step("outer", outer, key="outer")

    result, state = mode.run_with_state(workflow, body)
    assert result == aw.Err("INNER")
    assert "inner" in state.failed_keys()
    assert not state.is_complete("outer")
    assert "outer" not in state.steps
    assert list(cache.keys()) == ["inner"]


def test_b26_an_exception_in_the_body_is_unexpected_and_nothing_is_kept_for_it(mode, cache):
    good = mode.counted(lambda: 1)
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        yield ctx.step("good", good, key="good")
        raise ZeroDivisionError("in the body")

    for _ in range(2):
        result = mode.run(workflow, body)
        assert isinstance(result.error, aw.UnexpectedError)
        assert isinstance(result.cause, ZeroDivisionError)
        assert result.error.step_id is None
    assert list(cache.keys()) == ["good"]
    assert len(good.calls) == 1


@pytest.mark.parametrize(
    "error", [PaymentRefused("REFUSED", 5), {"type": "REFUSED", "amount": 5}], ids=["dataclass", "dict"]
)
def test_b27_an_error_with_a_type_is_equal_after_a_replay_and_a_state_round_trip(mode, cache, error):
    fetch = failing_then(mode, aw.err(error))
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, one_step(fetch))
    result, state = mode.run_with_state(workflow, one_step(fetch))
    assert result == aw.Err(error)
    assert type(result.error) is type(error)
    loaded = aw.ResumeState.from_json(state.to_json()).steps["user:999"].result
    assert loaded == aw.Err(error)
    assert type(loaded.error) is type(error)


def test_b28_failed_entries_taken_out_of_a_state_run_again_and_ok_ones_hit(mode):
    good, fetch = mode.counted(lambda: 1), failing_then(mode, aw.err("BUSY"), 2)
    workflow = aw.create_workflow("w", None, cache=None)

    def body(ctx):
        one = yield ctx.step("good", good, key="good")
        two = yield ctx.step("fetch", fetch, key="fetch")
        return one + two

    _, state = mode.run_with_state(workflow, body)
    for key in state.failed_keys():
        state = state.without(key)
    assert mode.run(workflow, body, resume_state=state) == aw.Ok(3)
    assert (len(good.calls), len(fetch.calls)) == (1, 2)


def test_b28_a_failed_entry_left_in_the_state_replays(mode):
    fetch = failing_then(mode, aw.err("BUSY"))
    workflow = aw.create_workflow("w", None, cache=None)
    _, state = mode.run_with_state(workflow, one_step(fetch))
    assert mode.run(workflow, one_step(fetch), resume_state=state) == aw.Err("BUSY")


def test_b29_a_failure_stops_replaying_when_its_ttl_is_over(mode, aging):
    fetch = failing_then(mode, aw.err("BUSY"), 2)
    workflow = aw.create_workflow("w", None, cache=aging.cache)
    for seconds, outcome in ((0, aw.Err("BUSY")), (59, aw.Err("BUSY")), (2, aw.Ok(2))):
        aging.wait(seconds)
        assert mode.run(workflow, one_step(fetch, ttl=60)) == outcome
    assert len(fetch.calls) == 2
