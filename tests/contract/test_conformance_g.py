"""Section G of the behaviours: what a run tells its listeners, and in which order."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid

import pytest

import awaitly_nb as aw


def one_step(outcome, **options):
    def fetch():
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def body(ctx):
        value = yield ctx.step("fetch", fetch, **{"key": "user:1", **options})
        return value

    return body


FRESH_OK = ["step_cache_miss", "step_start", "step_success", "step_complete"]


def test_g88_a_fresh_ok_step(mode, cache, recorder):
    mode.run(aw.create_workflow("w", None, cache=cache, on_event=recorder), one_step(1))
    assert recorder.types() == ["workflow_start", *FRESH_OK, "workflow_success"]
    success, complete = recorder.of("step_success")[0], recorder.of("step_complete")[0]
    assert success.result == complete.result == aw.Ok(1)
    assert complete.stored is True
    assert complete.replayed is False
    assert complete.duration_s >= 0


def test_g88_a_fresh_err_step(mode, cache, recorder):
    mode.run(aw.create_workflow("w", None, cache=cache, on_event=recorder), one_step(aw.err("NO")))
    expected = ["step_cache_miss", "step_start", "step_error", "step_complete"]
    assert recorder.types() == ["workflow_start", *expected, "workflow_error"]
    assert recorder.of("step_error")[0].result == aw.Err("NO")


def test_g88_without_a_cache_there_is_no_miss(mode, recorder):
    mode.run(aw.create_workflow("w", None, cache=None, on_event=recorder), one_step(1))
    assert recorder.types("fetch") == FRESH_OK[1:]


def test_g88_without_a_key_there_is_no_miss_and_nothing_is_stored(mode, cache, recorder):
    mode.run(aw.create_workflow("w", None, cache=cache, on_event=recorder), one_step(1, key=None))
    assert recorder.types("fetch") == FRESH_OK[1:]
    assert recorder.of("step_complete")[0].stored is False


def test_g88_a_finished_step_is_stored_before_its_complete_event(mode, cache):
    kept = []

    def listener(event):
        if event.type == "step_complete":
            kept.append(cache.get(event.step_key))

    mode.run(aw.create_workflow("w", None, cache=cache, on_event=listener), one_step(1))
    assert kept == [aw.Ok(1)]


def test_g89_a_hit_is_one_event_with_result_and_id(mode, cache, recorder):
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, one_step({"a": 1}))
    before = dt.datetime.now(dt.UTC)
    mode.run(workflow, one_step({"a": 1}), on_event=recorder)
    assert recorder.types() == ["workflow_start", "step_cache_hit", "workflow_success"]
    (hit,) = recorder.of("step_cache_hit")
    assert (hit.step_id, hit.step_key, hit.result) == ("fetch", "user:1", aw.Ok({"a": 1}))
    assert (hit.replayed, hit.source, hit.stale_code) == (True, "cache", False)
    assert hit.computed_at <= before
    assert hit.computed_s >= 0


@pytest.mark.parametrize("cache_kind", ["memory", "disk"], indirect=True)
def test_g89_a_hit_tells_the_size_of_the_stored_value(mode, cache, recorder):
    workflow = aw.create_workflow("w", None, cache=cache)
    for _ in range(2):
        mode.run(workflow, one_step("x" * 10_000), on_event=recorder)
    assert recorder.of("step_cache_hit")[0].size_bytes >= 10_000
    assert recorder.of("step_complete")[0].size_bytes >= 10_000


def test_g89_the_source_of_a_hit_is_told(mode, cache, recorder):
    def body(ctx):
        for _ in range(2):
            yield ctx.step("fetch", lambda: 1, key="user:1")

    workflow = aw.create_workflow("w", None, cache=cache)
    _, state = mode.run_with_state(workflow, body)
    for options in ({"resume_state": state}, {}):
        mode.run(workflow, body, on_event=recorder, **options)
    assert [hit.source for hit in recorder.of("step_cache_hit")] == ["resumed", "run", "cache", "run"]


def test_g90_every_event_has_type_run_id_workflow_and_an_aware_instant(mode, cache, recorder):
    mode.run(aw.create_workflow("report", None, cache=cache), one_step(1), on_event=recorder, run_id="run-7")
    for event in recorder.events:
        assert (event.run_id, event.workflow) == ("run-7", "report")
        assert event.at.tzinfo is not None
        if event.type.startswith("step_"):
            assert (event.step_id, event.step_key) == ("fetch", "user:1")
    instants = [event.at for event in recorder.events]
    assert instants == sorted(instants)


def test_g90_without_a_name_the_run_id_is_a_new_uuid_and_the_body_sees_it(mode, recorder):
    seen = []

    def body(ctx):
        seen.append(ctx.run_id)

    workflow = aw.create_workflow("w", None, cache=None, on_event=recorder)
    mode.run(workflow, body)
    mode.run(workflow, body)
    assert len(set(seen)) == 2
    assert [str(uuid.UUID(run_id)) for run_id in seen] == seen
    assert {event.run_id for event in recorder.events} == set(seen)


def test_g91_creation_and_run_time_listeners_both_get_every_event_of_that_run(mode, cache):
    at_creation, second, at_run = [], [], []
    workflow = aw.create_workflow("w", None, cache=cache, on_event=[at_creation.append, second.append])
    mode.run(workflow, one_step(1), on_event=at_run.append)
    assert at_creation == second == at_run
    assert len(at_run) == 6
    mode.run(workflow, one_step(1))
    assert len(at_run) == 6
    assert len(at_creation) == len(second) == 9


def test_g92_retries_are_numbered_by_the_next_attempt_and_exhaustion_is_told(mode, recorder):
    workflow = aw.create_workflow("w", None, cache=None, on_event=recorder)
    mode.run(workflow, one_step(ValueError("no"), retry=3))
    assert recorder.types("fetch") == [
        "step_start",
        "step_retry",
        "step_retry",
        "step_retries_exhausted",
        "step_error",
        "step_complete",
    ]
    assert [retry.attempt for retry in recorder.of("step_retry")] == [2, 3]
    assert recorder.of("step_retries_exhausted")[0].attempts == 3


def test_g92_a_single_attempt_is_not_exhausted(mode, recorder):
    workflow = aw.create_workflow("w", None, cache=None, on_event=recorder)
    mode.run(workflow, one_step(ValueError("no"), retry=1))
    mode.run(workflow, one_step(ValueError("no")))
    assert recorder.types("fetch") == ["step_start", "step_error", "step_complete"] * 2


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (1, "workflow_success"),
        (aw.err("NO"), "workflow_error"),
        (ValueError("crash"), "workflow_error"),
        (KeyboardInterrupt(), "workflow_cancelled"),
        (SystemExit(3), "workflow_cancelled"),
        (asyncio.CancelledError(), "workflow_cancelled"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_g93_exactly_one_event_ends_a_run(mode, cache, recorder, outcome, ending):
    workflow = aw.create_workflow("w", None, cache=cache, on_event=recorder)
    if ending == "workflow_cancelled":
        with pytest.raises(type(outcome)):
            mode.run(workflow, one_step(outcome))
    else:
        mode.run(workflow, one_step(outcome))
    ends = {"workflow_success", "workflow_error", "workflow_cancelled"}
    assert [kind for kind in recorder.types() if kind in ends] == [ending]
    assert recorder.types()[-1] == ending


class _Odd:
    def __repr__(self):
        raise ValueError("no repr today")


_CIRCLE: list[object] = [1]
_CIRCLE.append(_CIRCLE)
_DEEP: list[object] = []
for _ in range(5000):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    "value",
    [
        _Odd(),
        {1: 2},
        {"a", "b"},
        b"x",
        dt.date(2024, 1, 1),
        float("nan"),
        float("inf"),
        2**70,
        _CIRCLE,
        "\ud800",
        _DEEP,
    ],
    ids=lambda value: type(value).__name__,
)
def test_g94_events_are_json_safe_whatever_the_value(mode, recorder, value):
    workflow = aw.create_workflow("w", None, cache=None, on_event=recorder)
    mode.run(workflow, one_step(value))
    mode.run(workflow, one_step(aw.err(value, cause=value)))
    mode.run(workflow, one_step(ValueError(value) if not isinstance(value, _Odd) else ValueError("x")))
    assert len(recorder.events) == 15
    for event in recorder.events:
        # A browser's JSON.parse knows no NaN, so it must not be there.
        json.dumps(event.to_dict(), allow_nan=False).encode()
