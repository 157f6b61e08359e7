"""What this process ran: the last state of every name stays, whatever else ran, and nothing grows without bound."""

from __future__ import annotations

from datetime import UTC, datetime

import awaitly_nb as aw
from awaitly_nb import events
from awaitly_nb.engine import Summariser, listeners

AT = datetime(2026, 1, 1, tzinfo=UTC)


def run_of(name, number):
    return events.WorkflowStart(workflow=name, run_id=f"{name} {number}", at=AT)


def call_of(name, key="1"):
    """An event of a cell or a decorated function: no run surrounds it."""
    return events.StepStart(workflow=name, run_id=f"{name}@1", at=AT, step_id=name, step_key=f"{name}:{key}")


def test_a_loop_of_runs_pushes_out_no_other_name():
    seen = Summariser(limit=3)
    for event in (run_of("report", 0), call_of("cell"), *(run_of("loop", n) for n in range(10))):
        seen.handle_event(event)
    assert [run.run_id for run in seen.runs()] == ["report 0", "cell@1", "loop 7", "loop 8", "loop 9"]


def test_more_cells_than_fifty_are_remembered():
    seen = Summariser()
    for number in range(200):
        seen.handle_event(call_of(f"cell {number}"))
    assert len(seen.runs()) == 200


def test_a_function_with_many_keys_is_bounded_and_the_steps_of_a_run_are_not(monkeypatch):
    monkeypatch.setattr(listeners, "_MOST_KEYS", 5)
    seen = Summariser()
    for number in range(20):
        seen.handle_event(call_of("score", number))
    (run,) = seen.runs()
    assert [step.step_key for step in run.steps] == [f"score:{n}" for n in range(15, 20)]
    workflow = aw.create_workflow("many", cache=None)
    workflow.run_sync(lambda ctx: [ctx.step("one", lambda: 1, key=str(n)) for n in range(20)])
    assert len(workflow.last_run.steps) == 20


def test_all_names_together_are_bounded(monkeypatch):
    monkeypatch.setattr(listeners, "_MOST_RUNS", 10)
    seen = Summariser()
    for number in range(30):
        seen.handle_event(call_of(f"cell {number}"))
    assert len(seen.runs()) == 10


def test_whether_a_result_was_stored_is_told():
    states = {}
    for name, cache in (("kept", {}), ("bare", None)):
        workflow = aw.create_workflow(name, cache=cache)
        workflow.run_sync(lambda ctx: ctx.step("one", lambda: 1, key="one:1"))
        (states[name],) = workflow.last_run.steps
    assert (states["kept"].stored, states["bare"].stored) == (True, False)
