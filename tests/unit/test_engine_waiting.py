"""A step that another kernel is computing waits, and says for whom."""

import pytest

import awaitly_nb as aw
from awaitly_nb.engine import step


class HeldElsewhere:
    """Another kernel's right to compute a key, given back after some polls, with the result in the cache."""

    def __init__(self, cache, polls):
        self._cache = cache
        self._polls = polls

    def try_acquire(self):
        self._polls -= 1
        if self._polls == 0:
            dict.__setitem__(self._cache.mapping, "k", aw.Ok("of the other kernel"))
        return self._polls <= 0

    def release(self):
        pass

    def holder(self):
        return "kernel 4711 on elsewhere, since 12:03:10"


@pytest.fixture
def shared(monkeypatch):
    from awaitly_nb.cache import as_step_cache

    monkeypatch.setattr(step, "_TELL_AFTER_S", 0.004)
    cache = as_step_cache({})
    cache.single_flight = lambda key: HeldElsewhere(cache, polls=6)
    return cache


def test_it_says_for_whom_it_waits_and_takes_the_others_result(mode, shared, recorder):
    workflow = aw.create_workflow("w", cache=shared, on_event=recorder)
    seen = []
    recorder_states = lambda event: seen.append(workflow_state())  # noqa: E731

    def workflow_state():
        runs = aw.recent_runs()
        return runs[-1].steps[-1].state if runs and runs[-1].steps else None

    def body(ctx):
        return (yield ctx.step("slow", lambda: "of this kernel", key="k"))

    result = mode.run(workflow, body, on_event=recorder_states)
    assert result == aw.Ok("of the other kernel")
    (waiting,) = recorder.of("step_waiting")
    assert aw.events.is_step_waiting(waiting)
    assert (waiting.step_id, waiting.step_key) == ("slow", "k")
    assert waiting.holder == "kernel 4711 on elsewhere, since 12:03:10"
    assert recorder.of("step_start") == []
    assert "waiting" in seen
    assert workflow.last_run.steps[-1].state == "hit"


def test_a_short_wait_is_not_worth_an_event(mode, shared, recorder, monkeypatch):
    monkeypatch.setattr(step, "_TELL_AFTER_S", 60.0)
    workflow = aw.create_workflow("w", cache=shared, on_event=recorder)

    def body(ctx):
        return (yield ctx.step("slow", lambda: 1, key="k"))

    mode.run(workflow, body)
    assert recorder.of("step_waiting") == []
