"""Section D of the behaviours, first half: collecting a run, and resuming from what was collected.

What becomes of a state on its way through text is in `test_conformance_d_text`.
"""

from __future__ import annotations

import asyncio

import pytest

import awaitly_nb as aw


@pytest.fixture
def fetch(mode):
    return mode.counted(lambda item: f"value of {item}")


@pytest.fixture
def two_steps(fetch):
    def body(ctx):
        user = yield ctx.step("fetch_user", fetch, "user", key="user:1")
        posts = yield ctx.step("fetch_posts", fetch, "posts", key="posts:1")
        return user, posts

    return body


BOTH = aw.Ok(("value of user", "value of posts"))


def only_user(value="saved user"):
    """A state with `user:1` alone, made as a user makes one."""
    return aw.create_resume_state_collector().get_resume_state().with_value("user:1", value)


def create(**options):
    return aw.create_workflow("w", None, **{"cache": None, **options})


def test_d42_a_collector_has_both_keys_in_completion_order(mode, cache, two_steps):
    collector = aw.create_resume_state_collector()
    workflow = aw.create_workflow("w", None, cache=cache, on_event=collector.handle_event)
    mode.run(workflow, two_steps)
    state = collector.get_resume_state()
    assert list(state.steps) == ["user:1", "posts:1"]
    entry = state.steps["user:1"]
    assert (entry.result, entry.step_id) == (aw.Ok("value of user"), "fetch_user")
    assert entry.at.utcoffset().total_seconds() == 0
    assert entry.duration_s >= 0


def test_d42_a_collector_collects_hits_of_the_cache_too(mode, cache, two_steps):
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, two_steps)
    collector = aw.create_resume_state_collector()
    mode.run(workflow, two_steps, on_event=collector.handle_event)
    assert list(collector.get_resume_state().steps) == ["user:1", "posts:1"]


def test_d43_steps_answers_for_a_key_and_none_for_a_missing_one():
    state = only_user()
    assert state.steps.get("user:1")
    assert state.steps.get("user:2") is None


def test_d45_a_resumed_run_hits_what_is_complete_and_equals_an_uninterrupted_one(mode, cache, fetch, two_steps):
    uninterrupted, whole = mode.run_with_state(create(), two_steps)
    saved = aw.ResumeState.from_json(whole.without("posts:1").to_json())
    fetch.calls.clear()
    workflow = aw.create_workflow("w", None, cache=cache)
    assert mode.run(workflow, two_steps, resume_state=saved) == uninterrupted == BOTH
    assert fetch.calls == [("posts",)]


def test_d45_resumed_entries_are_not_copied_into_the_cache(mode, cache, two_steps):
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, two_steps, resume_state=only_user())
    assert list(cache.keys()) == ["posts:1"]


def test_d45_the_state_wins_over_the_cache(mode, cache, two_steps):
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, two_steps)
    assert mode.run(workflow, two_steps, resume_state=only_user()) == aw.Ok(("saved user", "value of posts"))


def test_d46_a_creation_time_state_resumes_every_run_and_a_run_level_one_overrides_it_once(mode, fetch, two_steps):
    workflow = create(resume_state=only_user("at creation"))
    assert mode.run(workflow, two_steps).value[0] == "at creation"
    assert mode.run(workflow, two_steps, resume_state=only_user("for this run")).value[0] == "for this run"
    assert mode.run(workflow, two_steps).value[0] == "at creation"
    assert ("user",) not in fetch.calls


def test_d47_none_is_a_fresh_run(mode, fetch, two_steps):
    assert mode.run(create(resume_state=None), two_steps) == BOTH
    assert mode.run(create(), two_steps, resume_state=None) == BOTH
    assert fetch.calls == [("user",), ("posts",)] * 2


def test_d47_an_explicit_none_at_run_level_means_none(mode, fetch, two_steps):
    workflow = create(resume_state=only_user())
    assert mode.run(workflow, two_steps, resume_state=None) == BOTH
    assert fetch.calls == [("user",), ("posts",)]


def test_d48_a_state_loaded_just_before_the_run_resumes(fetch, two_steps, mode):
    async def load():
        return only_user()

    async def cell():
        return await create().run(mode.body(two_steps), resume_state=await load())

    assert asyncio.run(cell()).value[0] == "saved user"


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("where", ["creation", "run"])
def test_d48_a_factory_is_called_exactly_once_per_run(mode, fetch, two_steps, kind, where):
    loaded = []

    def load():
        loaded.append(1)
        return only_user()

    async def load_async():
        return load()

    option = {"resume_state": load if kind == "sync" else load_async}
    workflow = create(**(option if where == "creation" else {}))
    for run in (1, 2):
        result = mode.run(workflow, two_steps, **(option if where == "run" else {}))
        assert result.value[0] == "saved user"
        assert len(loaded) == run


def test_d48_a_factory_may_return_none(mode, two_steps):
    assert mode.run(create(resume_state=lambda: None), two_steps) == BOTH


def test_d48_a_factory_that_raises_fails_the_run_before_any_step(mode, fetch, two_steps):
    def load():
        raise ConnectionError("no database")

    result = mode.run(create(), two_steps, resume_state=load)
    assert isinstance(result.cause, ConnectionError)
    assert fetch.calls == []


def test_d49_a_checkpoint_in_the_body_has_exactly_what_is_finished(mode, fetch):
    collector = aw.create_resume_state_collector()
    checkpoints = []

    def body(ctx):
        yield ctx.step("fetch_user", fetch, "user", key="user:1")
        checkpoints.append(collector.get_resume_state())
        yield ctx.step("fetch_posts", fetch, "posts", key="posts:1")

    mode.run(create(on_event=collector.handle_event), body)
    assert list(checkpoints[0].steps) == ["user:1"]
    assert list(collector.get_resume_state().steps) == ["user:1", "posts:1"]


def test_d50_a_complete_state_calls_nothing_and_is_collected_as_it_was(mode, fetch, two_steps):
    _, complete = mode.run_with_state(create(), two_steps)
    loaded = aw.ResumeState.from_json(complete.to_json())
    fetch.calls.clear()
    result, collected = mode.run_with_state(create(), two_steps, resume_state=loaded)
    assert result == BOTH
    assert fetch.calls == []
    assert collected == loaded
    assert collected.to_json() == loaded.to_json()


def test_d50_a_loaded_key_that_is_not_reached_stays_in_every_checkpoint(mode, fetch, two_steps):
    collector = aw.create_resume_state_collector()
    workflow = create(on_event=collector.handle_event)
    saved = only_user().with_value("other:1", "not reached by this body")
    mode.run(workflow, two_steps, resume_state=saved)
    state = collector.get_resume_state()
    assert set(state.steps) == {"user:1", "other:1", "posts:1"}
    assert state.steps["other:1"].result == aw.Ok("not reached by this body")


def test_d51_entries_of_two_runs_accumulate_and_the_last_outcome_of_a_key_stands(mode):
    collector = aw.create_resume_state_collector()
    workflow = create(on_event=collector.handle_event, cache_errors="none")

    def run(key, outcome):
        def body(ctx):
            value = yield ctx.step("fetch", lambda: outcome, key=key)
            return value

        mode.run(workflow, body)

    run("a", aw.err("BUSY"))
    run("b", 1)
    run("a", 2)
    state = collector.get_resume_state()
    assert set(state.steps) == {"a", "b"}
    assert state.steps["a"].result == aw.Ok(2)


def test_d51_a_state_taken_earlier_does_not_change_and_clear_empties_the_collector(mode, two_steps):
    collector = aw.create_resume_state_collector()
    before = collector.get_resume_state()
    mode.run(create(on_event=collector.handle_event), two_steps)
    after = collector.get_resume_state()
    collector.clear()
    assert (list(before.steps), list(after.steps)) == ([], ["user:1", "posts:1"])
    assert list(collector.get_resume_state().steps) == []


@pytest.mark.parametrize("with_state", [True, False], ids=["resumed", "fresh"])
def test_d52_without_cache_one_key_repeated_in_a_run_executes_once(mode, fetch, with_state):
    def body(ctx):
        values = []
        for _ in range(3):
            value = yield ctx.step("fetch", fetch, "x", key="x")
            values.append(value)
        return values

    state = only_user() if with_state else None
    assert mode.run(create(), body, resume_state=state) == aw.Ok(["value of x"] * 3)
    assert len(fetch.calls) == 1


def test_d53_run_with_state_gives_result_and_state_for_an_ok_body(mode, two_steps):
    result, state = mode.run_with_state(create(), two_steps)
    assert result == BOTH
    assert list(state.steps) == ["user:1", "posts:1"]


def test_d53_and_for_an_err_body(mode, fetch):
    def body(ctx):
        yield ctx.step("fetch_user", fetch, "user", key="user:1")
        yield ctx.step("fail", lambda: aw.err("NO"), key="fail")

    result, state = mode.run_with_state(create(), body)
    assert result == aw.Err("NO")
    assert list(state.steps) == ["user:1", "fail"]


def test_d53_and_for_a_raising_body(mode, fetch):
    def body(ctx):
        yield ctx.step("fetch_user", fetch, "user", key="user:1")
        raise ValueError("in the body")

    result, state = mode.run_with_state(create(), body)
    assert isinstance(result.cause, ValueError)
    assert list(state.steps) == ["user:1"]


def test_d53_creation_time_listeners_get_everything_and_the_state_has_replayed_steps(mode, two_steps, recorder):
    workflow = create(on_event=recorder, resume_state=only_user())
    _, state = mode.run_with_state(workflow, two_steps)
    assert list(state.steps) == ["user:1", "posts:1"]
    assert recorder.types("fetch_user") == ["step_cache_hit"]
    assert recorder.types("fetch_posts")[-3:] == ["step_start", "step_success", "step_complete"]
    assert (recorder.types()[0], recorder.types()[-1]) == ("workflow_start", "workflow_success")


def test_d59_something_that_is_no_state_is_a_typed_error_before_any_step(mode, fetch, two_steps):
    for wrong in (42, "text", ["user:1"], object()):
        result = mode.run(create(), two_steps, resume_state=wrong)
        assert isinstance(result.cause, aw.errors.StateError), wrong
    assert fetch.calls == []


def test_d60_is_step_complete_holds_for_step_complete_only(mode, two_steps, recorder):
    mode.run(create(on_event=recorder, resume_state=only_user()), two_steps)
    assert [e.type for e in recorder.events if aw.is_step_complete(e)] == ["step_complete"]
    assert not aw.is_step_complete("step_complete")
    assert not aw.is_step_complete(None)


def test_d61_is_complete_is_true_for_ok_only_and_failures_are_listed(mode, fetch):
    def body(ctx):
        yield ctx.step("fetch_user", fetch, "user", key="user:1")
        yield ctx.step("fail", lambda: aw.err("NO"), key="fail")

    _, state = mode.run_with_state(create(), body)
    assert state.is_complete("user:1") is True
    assert state.is_complete("fail") is False
    assert state.is_complete("never seen") is False
    assert list(state.failed_keys()) == ["fail"]


def test_d62_without_and_with_value_leave_the_input_untouched_and_an_injected_value_is_used(mode, fetch, two_steps):
    _, state = mode.run_with_state(create(), two_steps)
    text = state.to_json()
    fewer, other = state.without("user:1"), state.with_value("user:1", "injected")
    assert state.to_json() == text
    assert list(fewer.steps) == ["posts:1"]
    fetch.calls.clear()
    assert mode.run(create(), two_steps, resume_state=other) == aw.Ok(("injected", "value of posts"))
    assert fetch.calls == []
    mode.run(create(), two_steps, resume_state=fewer)
    assert fetch.calls == [("user",)]


def test_d62_a_failed_step_can_be_given_its_value_by_hand(mode):
    def body(ctx):
        value = yield ctx.step("fail", lambda: aw.err("NO"), key="fail")
        return value

    _, state = mode.run_with_state(create(), body)
    assert mode.run(create(), body, resume_state=state.with_value("fail", "by hand")) == aw.Ok("by hand")


def test_d63_unknown_keys_of_a_state_are_ignored_and_kept(mode, two_steps):
    saved = only_user().with_value("old step", [1, 2])
    result, state = mode.run_with_state(create(), two_steps, resume_state=saved)
    assert result == aw.Ok(("saved user", "value of posts"))
    assert state.steps["old step"].result == aw.Ok([1, 2])


def test_d64_a_failing_run_has_the_ok_entries_before_it_and_the_failed_one(mode, fetch):
    later = mode.counted(lambda: 1)

    def body(ctx):
        yield ctx.step("fetch_user", fetch, "user", key="user:1")
        yield ctx.step("crash", _crash, key="crash")
        yield ctx.step("later", later, key="later")

    _, state = mode.run_with_state(create(), body)
    assert list(state.steps) == ["user:1", "crash"]
    assert state.steps["user:1"].result == aw.Ok("value of user")
    assert isinstance(state.steps["crash"].result.error, aw.UnexpectedError)
    assert isinstance(state.steps["crash"].result.cause, RuntimeError)
    assert later.calls == []


def _crash():
    raise RuntimeError("half way")
