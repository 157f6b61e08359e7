"""Events: frozen records, one guard for each, JSON that never fails, and listeners that cannot break a run."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import json
import pickle
from collections import OrderedDict

import pytest

from awaitly_nb import events
from awaitly_nb.engine import Emitter, observe
from awaitly_nb.errors import ListenerWarning
from awaitly_nb.result import err, ok

AT = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
RUN = {"run_id": "run-1", "workflow": "report", "at": AT}
STEP = {**RUN, "step_id": "parse", "step_key": "rows:7"}
SAMPLES = [
    events.WorkflowStart(**RUN),
    events.WorkflowSuccess(**RUN, duration_s=1.0),
    events.WorkflowFailed(**RUN, error="NO", cause=ValueError("x"), duration_s=1.0),
    events.WorkflowCancelled(**RUN, last_step_key="rows:7", duration_s=1.0),
    events.StepCacheHit(**STEP, result=ok(1), source="cache", computed_at=AT),
    events.StepCacheMiss(**STEP),
    events.StepStart(**STEP),
    events.StepSuccess(**STEP, result=ok(1), duration_s=1.0),
    events.StepFailed(**STEP, result=err("NO"), duration_s=1.0),
    events.StepComplete(**STEP, result=ok(1), duration_s=1.0, stored=True),
    events.StepRetry(**STEP, attempt=2, delay_s=0.1, error="BUSY"),
    events.StepRetriesExhausted(**STEP, attempts=3, error="BUSY"),
    events.PersistFailed(**STEP, error=OSError("disk full")),
]
GUARDS = {
    "workflow_start": events.is_workflow_start,
    "workflow_success": events.is_workflow_success,
    "workflow_error": events.is_workflow_error,
    "workflow_cancelled": events.is_workflow_cancelled,
    "step_cache_hit": events.is_step_cache_hit,
    "step_cache_miss": events.is_step_cache_miss,
    "step_start": events.is_step_start,
    "step_success": events.is_step_success,
    "step_error": events.is_step_error,
    "step_complete": events.is_step_complete,
    "step_retry": events.is_step_retry,
    "persist_error": events.is_persist_error,
}


def named(event):
    return event.type


@pytest.mark.parametrize("event", SAMPLES, ids=named)
def test_each_event_has_one_guard_and_fools_no_other(event):
    holding = [name for name, guard in GUARDS.items() if guard(event)]
    assert holding == ([event.type] if event.type in GUARDS else [])


@pytest.mark.parametrize("stranger", [None, "step_complete", {"type": "step_complete"}, 7, object()], ids=repr)
def test_no_guard_holds_for_a_stranger(stranger):
    assert not any(guard(stranger) for guard in GUARDS.values())


@pytest.mark.parametrize("event", SAMPLES, ids=named)
def test_events_are_frozen_and_survive_pickling(event):
    with pytest.raises((AttributeError, AttributeError, TypeError)):
        event.run_id = "other"
    again = pickle.loads(pickle.dumps(event))
    assert type(again) is type(event)
    assert again.to_dict() == event.to_dict()
    assert copy.copy(event) == event


@pytest.mark.parametrize("event", SAMPLES, ids=named)
def test_to_dict_is_plain_json_with_the_type_first(event):
    data = event.to_dict()
    assert next(iter(data.items())) == ("type", event.type)
    assert set(data) == {"type", *event._fields}
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["at"] == "2024-02-29T12:00:00+00:00"


def test_results_are_told_as_data():
    hit = events.StepCacheHit(**STEP, result=err("NO", cause=ValueError("x")), source="cache")
    assert hit.to_dict()["result"] == {"ok": False, "error": "NO", "cause": "ValueError('x')"}
    assert SAMPLES[7].to_dict()["result"] == {"ok": True, "value": 1}


class Colour(enum.StrEnum):
    """A str that is more than a str."""

    RED = "red"


class Silent:
    """An object whose repr raises."""

    def __repr__(self):
        raise ValueError("no repr today")


class Dying:
    """An object whose repr ends the process, were it let."""

    def __repr__(self):
        raise RecursionError


def circle():
    rows = [1]
    rows.append(rows)
    return {"rows": rows}


def deep():
    rows = []
    for _ in range(5000):
        rows = [rows]
    return rows


VALUES = {
    "silent": Silent(),
    "dying": Dying(),
    "int keys": {1: 2},
    "set": {1},
    "nan": float("nan"),
    "infinity": [float("inf"), -float("inf")],
    "str enum": Colour.RED,
    "ordered dict": OrderedDict(a=1),
    "circle": circle(),
    "deep": deep(),
    "lone surrogate": "\ud800",
    "bytes": b"\xff",
    "huge int": 10**5000,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_to_dict_never_fails_and_a_browser_can_read_it(value):
    event = events.StepSuccess(**STEP, result=ok({"nested": [value]}), duration_s=0.0)
    json.dumps(event.to_dict(), allow_nan=False).encode()


def test_hits_are_replayed_and_ends_are_not():
    assert events.StepCacheHit.replayed is True
    assert events.StepComplete.replayed is False
    assert SAMPLES[8].error == "NO"


def test_every_listener_gets_every_event_until_the_emitter_is_closed():
    one, two = [], []
    emitter = Emitter([one.append, two.append])
    emitter.emit(SAMPLES[0])
    emitter.close()
    emitter.emit(SAMPLES[1])
    assert one == two == [SAMPLES[0]]


def test_a_listener_that_raises_is_reported_once_left_out_and_harms_nobody():
    calls, others = [], []

    def broken(event):
        calls.append(event)
        raise ValueError("listener bug")

    emitter = Emitter([broken, others.append])
    with pytest.warns(ListenerWarning, match="ValueError: listener bug") as caught:  # noqa: PT031 - one for all three
        for event in SAMPLES[:3]:
            emitter.emit(event)
    assert len(caught) == 1
    assert "broken" in str(caught[0].message)
    assert calls == [SAMPLES[0]]
    assert others == SAMPLES[:3]


def test_an_interrupt_in_a_listener_is_no_failure_of_the_listener():
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Emitter([interrupted]).emit(SAMPLES[0])


def test_observers_see_every_emitter_until_they_stop():
    seen = []
    stop = observe(seen.append)
    try:
        Emitter([]).emit(SAMPLES[0])
        Emitter([]).emit(SAMPLES[1])
    finally:
        stop()
    Emitter([]).emit(SAMPLES[2])
    stop()
    assert seen == SAMPLES[:2]


def test_an_observer_that_raises_is_left_out_of_every_emitter():
    calls = []

    def broken(event):
        calls.append(event)
        raise ValueError("observer bug")

    stop = observe(broken)
    try:
        with pytest.warns(ListenerWarning):
            Emitter([]).emit(SAMPLES[0])
        Emitter([]).emit(SAMPLES[1])
    finally:
        stop()
    assert calls == [SAMPLES[0]]


def test_an_emitter_without_listeners_is_idle():
    assert Emitter([]).idle
    assert not Emitter([print]).idle
    emitter = Emitter([print])
    emitter.close()
    assert emitter.idle
    stop = observe(print)
    try:
        assert not Emitter([]).idle
    finally:
        stop()
