"""A state machine against a model of a few lines: whatever users do between runs, a step is called when the model says.

The moves are those of a user: run some steps, edit a function, change the policy, delete a key, clear, wait, resume
from what the last run collected, open the folder again. The model knows nothing but the rules of the design.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import warnings
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import awaitly_nb as aw
from awaitly_nb.frozen import replace
from awaitly_nb.result import mark_of, with_mark
from awaitly_nb.testing import FakeClock

KEYS = ("a", "b", "c")
TTL_S = 100  # no sum of the waits below comes to it: a mapping lives by the real clock, which moves on by itself
OUTCOMES = {"ok": aw.Ok("fine"), "err": aw.Err("NO"), "crash": None, "no route": None}


def _version_0(outcome):
    return _come_to(outcome)


def _version_1(outcome):
    _ = "edited"
    return _come_to(outcome)


def _version_2(outcome):
    _ = "edited again"
    return _come_to(outcome)


VERSIONS = (_version_0, _version_1, _version_2)
RAISES = {"crash": ValueError("crash"), "no route": OSError("no route")}


def _come_to(outcome):
    _CALLS.append(1)
    if outcome in RAISES:
        raise RAISES[outcome]
    return OUTCOMES[outcome]


_CALLS: list[int] = []


class Kept:
    """What the model remembers of a kept result."""

    def __init__(self, outcome, version, until, at=float("inf"), age=None):
        self.outcome, self.version, self.until, self.at, self.age = outcome, version, until, at, age

    def age_at(self, now):
        return now - self.at if self.age is None else self.age

    def collected(self, now):
        """Return it as it stands in a resume state, whose marks `wait` does not move."""
        return Kept(self.outcome, self.version, float("inf"), age=self.age_at(now))

    def serves(self, policy, version, now, ttl=None):
        if now > self.until or (ttl is not None and self.age_at(now) > ttl):
            return False
        if self.outcome == "ok":
            return True
        allowed = {"returned": {"err"}, "all": {"err", "crash"}, "none": set()}[policy]
        return self.outcome in allowed and self.version == version


class Users(RuleBasedStateMachine):
    """One workflow on one cache, with a model beside it."""

    cache_kind: str
    is_async: bool

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.clock = FakeClock(at=time.time())
        self.model = {}
        self.state = None
        self.state_model = {}
        self.version, self.policy = 0, "returned"

    @initialize()
    def open(self):
        match self.cache_kind:
            case "dict":
                self.cache = {}
            case "memory":
                self.cache = aw.create_memory_cache(clock=self.clock)
            case _:
                self.reopen()

    def reopen(self):
        self.cache = aw.create_disk_cache(self.folder, namespace="model", clock=self.clock)

    @rule(
        steps=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(sorted(OUTCOMES))), min_size=1, max_size=4),
        ttl=st.sampled_from([None, TTL_S]),
        resume=st.booleans(),
        version=st.sampled_from([0, 0, 1, 2]),
        policy=st.sampled_from(["returned", "all", "all", "none"]),
    )
    def run(self, steps, ttl, resume, version, policy):
        self.version, self.policy = version, policy
        for _ in range(2):
            self.run_and_compare(steps, ttl, resume)

    def run_and_compare(self, steps, ttl, resume):
        resumed = self.state_model if resume and self.state is not None else {}
        expected, in_run, collected = [], {}, dict(resumed)
        for key, outcome in steps:
            if key in in_run:
                expected.append((in_run[key], 0))
                continue
            now = self.clock()
            for kept in (resumed.get(key), self.model.get(key)):
                if kept is not None and kept.serves(self.policy, self.version, now, ttl):
                    in_run[key] = kept.outcome
                    collected[key] = kept.collected(now)
                    expected.append((kept.outcome, 0))
                    break
            else:
                in_run[key] = outcome
                # A run tells how old a result is by its mark and the real clock; `wait` moves only the marks in a dict.
                at = now if self.cache_kind == "dict" else float("inf")
                fresh = Kept(outcome, self.version, float("inf") if ttl is None else now + ttl, at)
                collected[key] = fresh.collected(now)
                if outcome == "ok" or fresh.serves(self.policy, self.version, now):
                    self.model[key] = fresh
                expected.append((outcome, 1))
        seen, self.state = self.really_run(steps, ttl, self.state if resumed else None)
        self.state_model = collected
        assert seen == expected

    def really_run(self, steps, ttl, state):
        workflow = aw.create_workflow("model", None, cache=self.cache, cache_errors=self.policy)
        fn, seen = VERSIONS[self.version], []

        def note(result, before):
            outcome = "ok" if result.ok else {ValueError: "crash", OSError: "no route"}.get(type(result.cause), "err")
            assert result.ok or outcome in RAISES or result == OUTCOMES["err"]
            seen.append((outcome, len(_CALLS) - before))

        async def async_body(ctx):
            for key, outcome in steps:
                before = len(_CALLS)
                note(await ctx.attempt("step", lambda o=outcome: fn(o), key=key, ttl=ttl), before)

        def plain_body(ctx):
            for key, outcome in steps:
                before = len(_CALLS)
                note(ctx.attempt("step", lambda o=outcome: fn(o), key=key, ttl=ttl), before)

        collector = aw.create_resume_state_collector()
        options = {"on_event": collector.handle_event, "resume_state": state}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", aw.AwaitlyWarning)
            if self.is_async:
                result = asyncio.run(workflow.run(async_body, **options))
            else:
                result = workflow.run_sync(plain_body, **options)
        assert result == aw.Ok(None)
        return seen, aw.ResumeState.from_json(collector.get_resume_state().to_json())

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key):
        if isinstance(self.cache, dict):
            self.cache.pop(key, None)
        else:
            alive = key in self.model and self.clock() <= self.model[key].until
            assert self.cache.delete(key) is alive or not alive
        self.model.pop(key, None)

    @rule()
    def clear(self):
        self.cache.clear()
        self.model.clear()

    @rule(seconds=st.sampled_from([7, 55, 110]))
    def wait(self, seconds):
        self.clock.advance(seconds)
        if isinstance(self.cache, dict):
            for key, kept in self.cache.items():
                mark = mark_of(kept)
                self.cache[key] = with_mark(kept, replace(mark, at=mark.at - timedelta(seconds=seconds)))

    @rule()
    def open_again(self):
        if self.cache_kind == "disk":
            self.reopen()

    @invariant()
    def the_cache_has_what_the_model_has(self):
        alive = {key: kept for key, kept in self.model.items() if self.clock() <= kept.until}
        if not isinstance(self.cache, dict):
            assert set(self.cache.keys()) == set(alive)
        for key, kept in alive.items():
            assert self.cache.get(key).ok is (kept.outcome == "ok")

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.slow
def test_a_step_is_called_when_the_rules_say(cache_kind, mode):
    machine = type("Machine", (Users,), {"cache_kind": cache_kind, "is_async": mode.is_async})
    steps = settings(
        max_examples=25,
        stateful_step_count=15,
        phases=[Phase.generate],  # shrinking would run into the time limit, and the failing moves are printed anyway
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=steps)
