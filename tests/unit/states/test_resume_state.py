"""`ResumeState`: a value that never changes, and shares its log with those that came before it."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

import awaitly_nb as aw
from awaitly_nb.states.resume_state import Log, content_of, later_than, state_of

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def entry(result, *, at=AT):
    return aw.StepEntry(result, "step", at, 0.5)


def test_an_empty_state_is_true_and_has_no_steps():
    state = aw.ResumeState()
    assert state
    assert len(state) == 0
    assert state.steps == {}
    assert state.failed_keys() == []
    assert state.is_complete("anything") is False


def test_steps_are_read_only_and_in_completion_order():
    state = aw.ResumeState({"10": entry(aw.Ok(1)), "9": entry(aw.Err("E")), "a": entry(aw.Ok(2))})
    assert list(state) == list(state.steps) == ["10", "9", "a"]
    assert "9" in state
    assert "8" not in state
    with pytest.raises(TypeError):
        state.steps["b"] = entry(aw.Ok(3))


def test_states_read_one_log_each_up_to_its_own_end():
    log = Log([("a", entry(aw.Ok(1)))])
    early = state_of(log)
    log.append(("b", entry(aw.Ok(2))))
    late = state_of(log)
    assert list(early.steps) == ["a"]
    assert list(late.steps) == ["a", "b"]
    assert content_of(early).log is content_of(late).log


def test_the_last_outcome_of_a_key_stands_where_it_came():
    log = Log([("a", entry(aw.Err("E"))), ("b", entry(aw.Ok(2))), ("a", entry(aw.Ok(1)))])
    assert [(key, e.result) for key, e in state_of(log).steps.items()] == [("b", aw.Ok(2)), ("a", aw.Ok(1))]


def test_with_value_takes_a_value_or_a_result_and_leaves_the_rest():
    state = aw.ResumeState({"a": entry(aw.Err("E"))})
    given = state.with_value("a", 1).with_value("b", aw.Err("DECLINED"))
    assert [e.result for e in given.steps.values()] == [aw.Ok(1), aw.Err("DECLINED")]
    assert given.steps["a"].at.tzinfo is UTC
    assert state.steps["a"].result == aw.Err("E")


@pytest.mark.parametrize("bad", ["", None, 3, b"key"])
def test_with_value_refuses_what_is_no_key(bad):
    with pytest.raises(aw.MisuseError, match="with_value"):
        aw.ResumeState().with_value(bad, 1)


def test_what_is_given_later_counts_as_later_even_when_the_clock_was_set_back():
    ahead = datetime.now(UTC) + timedelta(days=1)
    state = aw.ResumeState({"a": entry(aw.Ok(1), at=ahead)})
    assert state.with_value("a", 2).steps["a"].at > ahead
    assert state.without("a").with_value("a", 2).steps["a"].at > ahead
    assert later_than(AT, None) == AT
    assert later_than(AT, AT - timedelta(seconds=1)) == AT


def test_without_a_key_that_is_not_there_changes_nothing():
    state = aw.ResumeState({"a": entry(aw.Ok(1))})
    assert state.without("b") == state
    assert content_of(state.without("b")).removed == {}
    assert content_of(state.without("a")).removed == {"a": AT}


def test_equality_is_of_keys_and_entries_not_of_how_they_came():
    one = aw.ResumeState({"a": entry(aw.Ok(1)), "b": entry(aw.Ok(2))})
    log = Log([("b", entry(aw.Err("E"))), ("a", entry(aw.Ok(1))), ("b", entry(aw.Ok(2)))])
    assert one == state_of(log)
    assert one != aw.ResumeState({"a": entry(aw.Ok(1))})
    assert one != aw.ResumeState({"a": entry(aw.Ok(1)), "b": entry(aw.Ok(3))})
    assert one != aw.ResumeState({"a": entry(aw.Ok(1)), "b": entry(aw.Ok(2), at=AT + timedelta(seconds=1))})
    assert one != {"a": 1}
    with pytest.raises(TypeError):
        hash(one)


@pytest.mark.parametrize("make", [lambda: math.nan, lambda: np.arange(3), lambda: pd.DataFrame({"a": [1, None]})])
def test_equality_holds_for_values_that_do_not_equal_themselves(make):
    assert aw.ResumeState({"a": entry(aw.Ok(make()))}) == aw.ResumeState({"a": entry(aw.Ok(make()))})


def test_equality_tells_arrays_apart():
    assert aw.ResumeState({"a": entry(aw.Ok(np.arange(3)))}) != aw.ResumeState({"a": entry(aw.Ok(np.arange(4)))})


def test_to_frame_has_a_row_a_step_and_no_values():
    state = aw.ResumeState({"a": entry(aw.Ok("secret")), "b": entry(aw.Err("E"))})
    frame = state.to_frame()
    assert list(frame.index) == ["a", "b"]
    assert list(frame["ok"]) == [True, False]
    assert list(frame.columns) == ["step_id", "ok", "at", "duration_s"]
    assert aw.ResumeState().to_frame().empty


def test_html_shows_keys_inert_and_no_values():
    state = aw.ResumeState({"<script>": entry(aw.Ok("secret")), "b": entry(aw.Err("E"))})
    html = state._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "secret" not in html
    many = aw.ResumeState({f"key-{number}": entry(aw.Ok(number)) for number in range(60)})._repr_html_()
    assert "key-59" in many
    assert "key-9<" not in many
    assert "10 more" in many


def test_repr_counts():
    state = aw.ResumeState({"a": entry(aw.Ok(1)), "b": entry(aw.Err("E"))})
    assert repr(state) == "<ResumeState of 2 steps, 1 failed>"


def test_an_entry_without_a_time_supersedes_and_is_superseded():
    assert entry(aw.Ok(1)).supersedes(entry(aw.Ok(2)))
    assert not entry(aw.Ok(1)).supersedes(entry(aw.Ok(2), at=AT + timedelta(seconds=1)))
    assert entry(aw.Ok(1), at=None).supersedes(entry(aw.Ok(2)))
    assert entry(aw.Ok(1)).supersedes(entry(aw.Ok(2), at=None))


def test_d55_text_of_text_is_the_same_text():
    state = aw.ResumeState().with_value("a", (1, {2})).with_value("b", aw.Err("E", ValueError("x")))
    text = state.to_json()
    assert not text.endswith("\n")
    assert aw.ResumeState.from_json(text).to_json() == text
    assert aw.ResumeState.from_json(text.encode()) == state
    assert json.loads(text) == state.to_dict()
