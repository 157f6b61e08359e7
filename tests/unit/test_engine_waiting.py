"""A step that another kernel is computing waits, and says for whom."""

import time

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


def test_who_takes_the_lock_of_a_step_is_noted_unless_its_last_call_took_no_time(tmp_path, monkeypatch):
    from awaitly_nb.engine import run
    from awaitly_nb.locks import RecordLocks

    noted, note = [], RecordLocks.note
    monkeypatch.setattr(RecordLocks, "note", lambda self, number: (noted.append(number), note(self, number)))
    monkeypatch.setattr(run, "_BRIEF_S", 0.1)
    cache = aw.create_disk_cache(tmp_path)
    cache.set("opened", aw.Ok(1))
    workflow = aw.create_workflow("w", cache=cache)
    taken = []

    def body(ctx):
        for seconds in (0, 0, 0.2, 0, 0):
            before = len(noted)
            ctx.step("one", time.sleep, seconds, key=f"{len(taken)}")
            taken.append(len(noted) - before)

    workflow.run_sync(body).unwrap()
    assert taken == [1, 0, 0, 1, 0]  # the one after the long one
