"""Who watches every run of a process, and which events are made for them."""

import pytest

import awaitly_nb as aw
from awaitly_nb import events
from awaitly_nb.engine import RECENT, observe
from awaitly_nb.engine.explain import Miss


@pytest.fixture
def seen():
    return []


@pytest.mark.parametrize("without", [(), (events.StepCacheMiss,)])
def test_an_event_that_nobody_wants_is_not_made(seen, without, monkeypatch):
    asked = []
    monkeypatch.setattr(Miss, "__str__", lambda _: asked.append(1) or "why")
    stop = observe(lambda event: seen.append(type(event)), without=without)
    try:
        aw.step(lambda n: n + 1, name="more")(1)
    finally:
        stop()
    assert (events.StepCacheMiss in seen) == (without == ())
    assert events.StepStart in seen
    assert asked == ([1] if without == () else []), "to find the reason is what costs"


def test_the_reason_of_one_step_is_told_when_somebody_asks():
    workflow = aw.create_workflow("asked", {"double": lambda n: 2 * n})
    workflow.run_sync(lambda ctx: ctx.steps.double(3)).unwrap()
    run = aw.recent_runs()[-1]
    (step,) = run.steps
    assert RECENT.reason(run.run_id, step.step_id, step.step_key) == "first run"
    assert RECENT.reason(run.run_id, "another", None) == ""
