"""The written form: what is read, what is recovered with a warning, and what is refused with the key at fault."""

import base64
import copy
from datetime import UTC, datetime

import pytest

import awaitly_nb as aw
from awaitly_nb.result import Mark, mark_of, with_mark
from awaitly_nb.states import as_resume_state

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_what_decides_whether_a_result_still_answers_is_kept_beside_it():
    mark = Mark(
        step_id="fetch",
        workflow="report",
        at=AT,
        duration_s=1.5,
        ttl_s=60.0,
        code="c0de",
        origin="throw",
        parts={"code": "a long source"},
        files=({"path": "data.csv", "size": 3},),
        size_bytes=10,
    )
    state = aw.ResumeState({"a": aw.StepEntry(with_mark(aw.Err("E"), mark), "fetch", AT, 1.5)})
    kept = mark_of(aw.ResumeState.from_json(state.to_json()).steps["a"].result)
    assert (kept.step_id, kept.workflow, kept.at, kept.duration_s) == ("fetch", "report", AT, 1.5)
    assert (kept.ttl_s, kept.code, kept.origin, kept.files) == (60.0, "c0de", "throw", mark.files)
    assert "long source" not in state.to_json()


def test_as_resume_state_takes_states_and_nothing():
    state = aw.ResumeState().with_value("a", 1)
    assert as_resume_state(None) is None
    assert as_resume_state(state) is state


@pytest.mark.parametrize(
    "loose",
    [
        {"steps": {"a": {"result": {"ok": True, "value": 1}}, "b": {"result": {"ok": False, "error": "E"}}}},
        {"steps": [["a", {"result": {"ok": True, "value": 1}}], ["b", {"result": {"ok": False, "error": "E"}}]]},
        {"a": {"ok": True, "value": 1}, "b": {"ok": False, "error": "E", "cause": "why"}},
        {"a": aw.Ok(1), "b": aw.Err("E")},
        {"a": aw.StepEntry(aw.Ok(1)), "b": aw.StepEntry(aw.Err("E"))},
        {"steps": {"a": {"result": aw.Ok(1), "at": "2026-03-04T05:06:07"}, "b": {"result": aw.Err("E"), "at": AT}}},
    ],
)
def test_d57_looser_forms_are_recovered_with_one_warning_and_left_alone(loose):
    before = copy.deepcopy(loose)
    with pytest.warns(aw.errors.StateRecoveredWarning) as told:
        state = as_resume_state(loose)
    assert len(told) == 1
    assert [(key, entry.result) for key, entry in state.steps.items()] == [("a", aw.Ok(1)), ("b", aw.Err("E"))]
    assert loose == before
    assert state.steps["a"].at is None or state.steps["a"].at == AT


def test_a_live_value_of_a_looser_form_is_taken_as_it_is():
    value = object()
    with pytest.warns(aw.errors.StateRecoveredWarning):
        assert as_resume_state({"a": aw.Ok(value)}).steps["a"].result.value is value


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (3, "3 .int."),
        ("{}", "from_json"),
        ([], "no resume state"),
        ({"a": 1}, "'a'.*with_value"),
        ({"a": {"value": 1}}, "'a'"),
        ({"a": {"ok": "yes"}}, "'a'"),
        ({1: aw.Ok(1)}, "step key 1"),
        ({"": aw.Ok(1)}, "step key ''"),
        ({"steps": 3}, "no steps"),
        ({"steps": {"a": {"result": aw.Ok(1), "at": "yesterday"}}}, "'a'.*yesterday"),
        ({"schema_version": "1", "steps": []}, "schema_version"),
        ({"schema_version": True, "steps": []}, "schema_version"),
        ({"schema_version": 1}, "list"),
        ({"schema_version": 1, "steps": {}}, "list"),
        ({"schema_version": 1, "steps": [{}]}, "no key"),
        ({"schema_version": 1, "steps": [3]}, "no key"),
        ({"schema_version": 1, "steps": [{"key": "a"}]}, "'a'"),
        ({"schema_version": 1, "steps": [{"key": "a", "ok": True, "at": "no", "value": 1}]}, "'a'"),
        ({"schema_version": 1, "steps": [{"key": "a", "ok": True, "at": None, "value": {"$awaitly": "?"}}]}, "'a'"),
    ],
)
def test_d59_what_is_no_state_is_refused_with_the_key_at_fault(wrong, told):
    with pytest.raises(aw.errors.StateError, match=told):
        as_resume_state(wrong)


@pytest.mark.parametrize("text", ["", "3", "[]", "{", "null", '{"schema_version": 1}', b"\xff"])
def test_d59_text_that_is_no_state_is_refused(text):
    with pytest.raises(aw.errors.StateError):
        aw.ResumeState.from_json(text)


def test_d58_a_newer_schema_is_refused_with_the_remedy():
    with pytest.raises(aw.errors.StateVersionError, match="2.*pip install --upgrade"):
        aw.ResumeState.from_dict({"schema_version": 2, "steps": []})


def test_d63_unknown_fields_of_state_and_entries_are_kept():
    data = aw.ResumeState().with_value("a", 1).to_dict()
    data["note"] = [1]
    data["steps"][0]["cost"] = 2.5
    state = aw.ResumeState.from_dict(data)
    assert state.to_dict() == data
    assert state.without("a").with_value("b", 2).to_dict()["note"] == [1]
    assert state.with_value("b", 2).to_dict()["steps"][0]["cost"] == 2.5


def test_d56_what_nothing_can_hold_is_refused_naming_the_key():
    import threading

    state = aw.ResumeState().with_value("fine", 1).with_value("the-lock", {"a": [threading.Lock()]})
    with pytest.raises(aw.errors.StateError, match="the-lock"):
        state.to_dict()


def test_an_altered_pickle_is_refused_before_it_is_decoded():
    data = aw.ResumeState().with_value("a", slice(1, 2)).to_dict()
    value = data["steps"][0]["value"]
    assert value["$awaitly"] == "pickle"
    value["stream"] = base64.b64encode(b"cos\nabort\n(tR.").decode()  # would end this process
    with pytest.raises(aw.errors.StateError, match="'a'"):
        aw.ResumeState.from_dict(data)
