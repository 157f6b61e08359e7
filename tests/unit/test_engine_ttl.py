"""How long a kept result may be served is the step's word at the call, not only when it was kept."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

import awaitly_nb as aw
from awaitly_nb.frozen import replace
from awaitly_nb.result import mark_of, with_mark


def aged(result, seconds):
    """Return `result` as if it had ended so long ago."""
    mark = mark_of(result)
    at = datetime.now(UTC) - timedelta(seconds=seconds + (mark.duration_s or 0))
    return with_mark(result, replace(mark, at=at))


def put(cache, result):
    if isinstance(cache, dict):
        cache["k"] = result
    else:
        cache.set("k", result)


@pytest.fixture
def calls():
    return []


def body_of(calls, **options):
    return lambda ctx: ctx.step("fetch", lambda: calls.append(1) or len(calls), key="k", **options)


@pytest.mark.parametrize("first", [{}, {"ttl": "9d"}], ids=["none", "longer"])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_ttl_that_is_given_later_counts(cache, calls, first, lazy):
    workflow = aw.create_workflow("w", cache=cache)
    workflow.run_sync(body_of(calls, **first))
    put(cache, aged(cache.get("k"), 3600))
    assert workflow.run_sync(body_of(calls)) == aw.Ok(1)
    assert workflow.run_sync(body_of(calls, ttl="2h")) == aw.Ok(1)
    late = workflow.run_sync(body_of(calls, ttl="30m", lazy=lazy)).value
    assert (late.load() if lazy else late) == 2
    assert workflow.last_run.steps[0].reason == "expired 30 min ago"
    assert workflow.run_sync(body_of(calls, ttl="30m")) == aw.Ok(2)


def test_a_ttl_counts_for_a_resumed_step_too(calls):
    workflow = aw.create_workflow("w", cache=None)
    state = aw.ResumeState().with_value("k", "resumed")
    assert workflow.run_sync(body_of(calls, ttl="30m"), resume_state=state) == aw.Ok("resumed")
    entry = state.steps["k"]
    old = aw.ResumeState({"k": dataclasses.replace(entry, result=aged(entry.result, 3600))})
    assert workflow.run_sync(body_of(calls, ttl="2h"), resume_state=old) == aw.Ok("resumed")
    assert workflow.run_sync(body_of(calls, ttl="30m"), resume_state=old) == aw.Ok(1)


def test_a_step_that_takes_longer_than_its_ttl_is_served_for_that_long_afterwards(cache, calls):
    workflow = aw.create_workflow("w", cache=cache)
    workflow.run_sync(body_of(calls))
    kept = aged(cache.get("k"), 60)
    slow = replace(mark_of(kept), at=mark_of(kept).at - timedelta(hours=5), duration_s=5 * 3600.0)
    put(cache, with_mark(kept, slow))
    assert workflow.run_sync(body_of(calls, ttl="1h")) == aw.Ok(1)


def test_a_decorated_function_can_be_given_a_ttl_later(calls):
    cache = {}

    def fetch():
        calls.append(1)
        return len(calls)

    assert aw.step(cache=cache, key="k", name="fetch")(fetch)() == 1
    cache["k"] = aged(cache["k"], 3600)
    later = aw.step(cache=cache, key="k", name="fetch", ttl="30m")(fetch)
    assert not later.is_cached()
    assert str(later.why()) == "miss: expired 30 min ago"
    assert [later(), later()] == [2, 2]
