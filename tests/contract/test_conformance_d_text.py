"""Section D of the behaviours, second half: a state on its way through text and back."""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import awaitly_nb as aw


@dataclass(frozen=True)
class User:
    """A value as a user would write it."""

    name: str
    tags: tuple[str, ...]


EMPTY = aw.create_resume_state_collector().get_resume_state()


def state_of(mode, **outcomes):
    """Return the state of a run in which each key came to its outcome, exceptions raised, failures attempted."""

    def fetch(outcome):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def body(ctx):
        for key, outcome in outcomes.items():
            yield ctx.attempt("fetch", fetch, outcome, key=key)

    _, state = mode.run_with_state(aw.create_workflow("w", None, cache=None), body)
    return state


def through_text(state):
    return aw.ResumeState.from_json(state.to_json())


def test_d44_a_state_comes_back_equal_from_text(mode):
    state = state_of(mode, b={"id": 1, "tags": ["x", None, 1.5, True]}, a=aw.err("NO", cause={"code": 7}), c="text")
    text = state.to_json()
    assert not text.endswith("\n")
    loaded = aw.ResumeState.from_json(text)
    assert loaded == state
    assert list(loaded.steps) == ["b", "a", "c"]
    for key, entry in state.steps.items():
        assert loaded.steps[key] == entry
        assert loaded.steps[key].result.cause == entry.result.cause
    assert aw.ResumeState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_d54_an_exception_in_a_reloaded_state_replays_with_type_message_and_chain(mode):
    calls = []

    def fetch():
        calls.append(1)
        try:
            raise LookupError("row 7")
        except LookupError as exc:
            raise ValueError("no such user") from exc

    def body(ctx):
        yield ctx.step("fetch", fetch, key="user:1")

    workflow = aw.create_workflow("w", None, cache=None, cache_errors="all")
    first, state = mode.run_with_state(workflow, body)
    again = mode.run(workflow, body, resume_state=through_text(state))
    assert len(calls) == 1
    assert again == first
    assert again.error.origin == "throw"
    assert (type(again.cause), str(again.cause)) == (ValueError, "no such user")
    assert (type(again.cause.__cause__), str(again.cause.__cause__)) == (LookupError, "row 7")


def test_d54_by_default_it_is_shown_as_failed_and_runs_again(mode):
    state = through_text(state_of(mode, **{"user:1": ValueError("no such user")}))
    assert list(state.failed_keys()) == ["user:1"]

    def body(ctx):
        value = yield ctx.step("fetch", lambda: "found", key="user:1")
        return value

    assert mode.run(aw.create_workflow("w", None, cache=None), body, resume_state=state) == aw.Ok("found")


def test_d55_text_of_a_loaded_state_is_the_text_it_was_loaded_from(mode):
    state = state_of(
        mode,
        a={"k": (1, 2), "when": dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)},
        b=aw.err("NO", cause=ValueError("x")),
        c=RuntimeError("crash"),
        d=User("ada", ("x",)),
        e=np.arange(5),
    )
    text = state.to_json()
    assert through_text(state).to_json() == text
    assert through_text(through_text(state)).to_json() == text


VALUES = {
    "naive datetime": dt.datetime(2024, 2, 29, 12, 30, 1, 5),
    "aware datetime": dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=5.5))),
    "date": dt.date(2024, 2, 29),
    "time": dt.time(12, 30),
    "timedelta": dt.timedelta(days=-1, microseconds=3),
    "decimal": Decimal("1.10"),
    "bytes": b"\x00\xff",
    "tuple": (1, ("a", None)),
    "empty tuple": (),
    "set": {1, 2},
    "frozenset": frozenset({"a"}),
    "complex": 1 + 2j,
    "big int": 2**80,
    "int above 53 bits": 2**53 + 1,
    "dict with int keys": {1: "a", 2: "b"},
    "dict with mixed keys": {1: "a", "1": "b", (1, 2): "c"},
    "dict with our own tag": {"$awaitly": "pickle", "data": "x"},
    "nested": {"rows": [(1, {"at": dt.date(2024, 1, 1)}), b"x"]},
    "infinity": math.inf,
    "negative infinity": -math.inf,
    "dataclass": User("ada", ("x", "y")),
    "none": None,
    "true is not one": [True, 1, 1.0],
    "text with NUL and a lone surrogate": "a\x00b\ud800",
}


def typed(value):
    """Return `value` with the types at every depth, so that `1`, `True` and `1.0` differ."""
    match value:
        case dict():
            return (dict, [(typed(k), typed(v)) for k, v in value.items()])
        case list() | tuple():
            return (type(value), [typed(v) for v in value])
    return (type(value), value)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_d56_what_json_cannot_hold_comes_back_exactly(value):
    loaded = through_text(EMPTY.with_value("k", value)).steps["k"].result.value
    assert typed(loaded) == typed(value)


def test_d56_nan_comes_back_and_the_text_is_strict_json():
    text = EMPTY.with_value("k", [math.nan, -0.0]).to_json()
    nan, zero = aw.ResumeState.from_json(text).steps["k"].result.value
    assert math.isnan(nan)
    assert math.copysign(1, zero) == -1

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    json.loads(text, parse_constant=refuse)


def test_d56_arrays_and_frames_come_back_exactly():
    array = np.array([[1.5, np.nan], [np.inf, 0]], dtype=np.float32)
    frame = pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "c": pd.Categorical(["b", "a"])}, index=[3, 1])
    loaded = through_text(EMPTY.with_value("array", array).with_value("frame", frame)).steps
    back = loaded["array"].result.value
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable
    pd.testing.assert_frame_equal(loaded["frame"].result.value, frame)


def test_d56_what_nothing_can_hold_is_refused_naming_key_and_place(mode):
    state = EMPTY.with_value("user:1", {"rows": [1, (n for n in range(3))]})
    with pytest.raises(aw.AwaitlyError) as caught:
        state.to_json()
    assert "user:1" in str(caught.value)
    assert "generator" in str(caught.value)


def test_d57_naive_json_is_recovered_with_one_warning_and_left_as_it_was(mode):
    naive = {"steps": {"user:1": {"result": {"ok": True, "value": {"name": "ada"}}}}}
    before = copy.deepcopy(naive)

    def body(ctx):
        user = yield ctx.step("fetch", lambda: {"name": "computed"}, key="user:1")
        return user["name"]

    with pytest.warns(aw.errors.StateRecoveredWarning) as caught:
        result = mode.run(aw.create_workflow("w", None, cache=None), body, resume_state=naive)
    assert result == aw.Ok("ada")
    assert len(caught) == 1
    assert naive == before


def _version_field(data):
    (name,) = [name for name in data if name in {"schema", "schema_version", "version", "v"}]
    return name


def test_d58_a_state_of_a_newer_schema_is_refused():
    data = EMPTY.with_value("k", 1).to_dict()
    field = _version_field(data)
    data[field] += 1
    with pytest.raises(aw.errors.StateVersionError, match=str(data[field])):
        aw.ResumeState.from_dict(data)
    with pytest.raises(aw.errors.StateVersionError):
        aw.ResumeState.from_json(json.dumps(data))


def test_d58_and_it_fails_a_run_before_any_step(mode):
    data = EMPTY.with_value("k", 1).to_dict()
    data[_version_field(data)] += 1
    started = []

    def body(ctx):
        started.append(1)

    result = mode.run(aw.create_workflow("w", None, cache=None), body, resume_state=data)
    assert isinstance(result.cause, aw.errors.StateVersionError)
    assert started == []


@pytest.mark.parametrize("text", ["", "not json", "[]", "3", '"text"', "null", '{"steps": 3}', "{"])
def test_d59_text_that_is_no_state_is_a_typed_error(text):
    with pytest.raises(aw.errors.StateError):
        aw.ResumeState.from_json(text)


def test_d63_unknown_fields_of_a_state_are_kept_when_it_is_saved_again():
    data = EMPTY.with_value("k", 1).to_dict()
    data["note"] = "written by somebody else"
    again = aw.ResumeState.from_dict(data).with_value("l", 2).to_dict()
    assert again["note"] == "written by somebody else"
