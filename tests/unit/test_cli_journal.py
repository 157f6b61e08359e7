"""The journal of a kernel: what another process can tell of its steps, also when the kernel was killed."""

import json
from datetime import UTC, datetime

import pytest

import awaitly_nb as aw
from awaitly_nb import events
from awaitly_nb.cli.headless import Follower, WouldCompute, steps_of, write_journal
from awaitly_nb.engine import listeners

AT = datetime(2026, 1, 1, tzinfo=UTC)


def line(kind, step=None, key=None, *, at=0.0, run="r", **told):
    data = {"type": kind, "at": at, "workflow": "w", "run_id": run, **told}
    return data | ({"step_id": step} if step else {}) | ({"step_key": key} if key else {})


def told(*lines, until=None):
    return [(s.step_id, s.state) for s in steps_of(lines, until=until)]


def test_a_computed_step_with_its_reason():
    (step,) = steps_of(
        [
            line("step_cache_miss", "fit", "fit:1", reason="first run"),
            line("step_start", "fit", "fit:1"),
            line("step_success", "fit", "fit:1", duration_s=2.0, ok=True),
            line("step_complete", "fit", "fit:1", duration_s=2.0, ok=True),
        ]
    )
    assert (step.state, step.duration_s, step.reason, step.saved_s) == ("computed", 2.0, "first run", 0.0)


def test_a_hit_says_what_it_saved():
    (step,) = steps_of([line("step_cache_hit", "fit", "fit:1", duration_s=0.5, computed_s=2.0, ok=True)])
    assert (step.state, step.duration_s, step.saved_s) == ("hit", 0.5, 1.5)


def test_a_replayed_failure_is_no_hit():
    assert told(line("step_cache_hit", "fit", "fit:1", duration_s=0.1, ok=False)) == [("fit", "replayed failure")]


def test_a_failed_step():
    lines = [line("step_start", "fit"), line("step_error", "fit", duration_s=1.0, ok=False)]
    assert [(s.state, s.reason) for s in steps_of(lines)] == [("failed", "no key")]


def test_what_had_begun_when_the_kernel_died_was_interrupted():
    lines = [
        line("step_cache_miss", "a", "a", at=1.0),
        line("step_start", "a", "a", at=1.0),
        line("step_success", "a", "a", at=2.0, duration_s=1.0, ok=True),
        line("step_start", "b", "b", at=2.0),
    ]
    assert told(*lines, until=5.0) == [("a", "computed"), ("b", "interrupted")]
    assert steps_of(lines, until=5.0)[-1].duration_s == 3.0
    assert steps_of(lines)[-1].duration_s == 0.0


def test_a_miss_without_a_start_would_have_been_computed():
    assert told(line("step_cache_miss", "a", "a", reason="code changed")) == [("a", "would compute")]


def test_one_step_called_with_several_keys_and_in_several_runs():
    lines = [
        entry
        for run in ("r1", "r2")
        for key in ("k1", "k2")
        for entry in (
            line("step_start", "score", key, run=run),
            line("step_success", "score", key, run=run, duration_s=1.0, ok=True),
        )
    ]
    assert told(*lines) == [("score", "computed")] * 4


@pytest.fixture
def observed(monkeypatch):
    monkeypatch.setattr(listeners, "_observers", {})
    return listeners.Emitter([])


def test_every_event_becomes_a_line_without_its_values(observed, tmp_path):
    write_journal(str(tmp_path / "j"))
    observed.emit(events.WorkflowStart(run_id="r", workflow="w", at=AT))
    observed.emit(
        events.StepCacheHit(
            run_id="r", workflow="w", at=AT, step_id="s", step_key="k", result=aw.Ok(object()), source="cache"
        )
    )
    start, hit = map(json.loads, (tmp_path / "j").read_text().splitlines())
    assert start == {"type": "workflow_start", "at": AT.timestamp(), "workflow": "w", "run_id": "r"}
    assert (hit["step_id"], hit["step_key"], hit["ok"], hit["source"]) == ("s", "k", True, "cache")
    assert "result" not in hit


def test_a_failure_is_told_with_its_error(observed, tmp_path):
    def crash():
        raise RuntimeError("no disk")

    path = tmp_path / "journal"
    workflow = aw.create_workflow("w", cache={})
    write_journal(str(path))
    workflow.run_sync(lambda ctx: ctx.step("crash", crash, key="k"))
    for _ in range(2):
        workflow.run_sync(lambda ctx: ctx.step("check", lambda: aw.err("TOO_FEW"), key="c"))
    found = steps_of(map(json.loads, path.read_text().splitlines()))
    assert [(s.state, s.error_text) for s in found] == [
        ("failed", "RuntimeError: no disk"),
        ("failed", "TOO_FEW"),
        ("replayed failure", "TOO_FEW"),
    ]


def test_where_nothing_is_to_be_computed_a_miss_ends_the_run(observed, tmp_path):
    write_journal(str(tmp_path / "j"), compute=False)
    observed.emit(events.StepStart(run_id="r", workflow="w", at=AT, step_id="unkeyed"))
    with pytest.raises(WouldCompute, match="'fit'.*code changed"):
        observed.emit(
            events.StepCacheMiss(run_id="r", workflow="w", at=AT, step_id="fit", step_key="k", reason="code changed")
        )
    assert told(*map(json.loads, (tmp_path / "j").read_text().splitlines())) == [
        ("fit", "would compute"),
        ("unkeyed", "interrupted"),
    ]


def test_a_follower_reads_whole_lines_only_and_all_of_them(tmp_path):
    path, seen = tmp_path / "j", []
    with Follower(path, seen.append) as follower:
        with path.open("a") as file:
            file.write('{"n": 1}\n{"n": 2}\n{"n"')
    assert seen == follower.events == [{"n": 1}, {"n": 2}]
