"""Section C of the behaviours: keys, ids and the functions that are given to a step."""

from __future__ import annotations

import itertools

import pytest

import awaitly_nb as aw


@pytest.fixture
def fetch(mode):
    return mode.counted(lambda item: f"value of {item}")


def misused(result):
    """Return the message of the misuse that ended a run."""
    assert isinstance(result.error, aw.UnexpectedError)
    assert isinstance(result.cause, aw.MisuseError)
    assert isinstance(result.cause, TypeError)
    return str(result.cause)


def test_c30_equal_inputs_hit_and_different_ones_miss(mode, cache, fetch):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body_for(user_id):
        def body(ctx):
            value = yield ctx.step("fetch", fetch, user_id, key=f"user:{user_id}")
            return value

        return body

    assert mode.run(workflow, body_for(1)) == aw.Ok("value of 1")
    assert mode.run(workflow, body_for(2)) == aw.Ok("value of 2")
    assert mode.run(workflow, body_for(1)) == aw.Ok("value of 1")
    assert fetch.calls == [(1,), (2,)]


def test_c31_a_key_that_changes_every_time_runs_every_time_and_is_said_to_look_unstable(mode, cache, fetch):
    workflow = aw.create_workflow("w", None, cache=cache)
    number = itertools.count()

    def body(ctx):
        value = yield ctx.step("fetch", fetch, "x", key=f"user:{next(number)}")
        return value

    assert [mode.run(workflow, body) for _ in range(2)] == [aw.Ok("value of x")] * 2
    with pytest.warns(aw.errors.UnstableKeyWarning, match="fetch"):
        assert mode.run(workflow, body) == aw.Ok("value of x")
    assert len(fetch.calls) == 3


@pytest.mark.parametrize("value", [{"id": 1}, "text", 7, None, aw.Ok(1)], ids=repr)
def test_c32_a_ready_value_instead_of_a_callable_is_refused_with_the_fix(mode, cache, value):
    def body(ctx):
        yield ctx.step("fetch", value, key="user:1")

    message = misused(mode.run(aw.create_workflow("w", None, cache=cache), body))
    assert "fetch" in message
    assert "lambda" in message
    assert list(cache.keys()) == []


def test_c32_a_coroutine_object_is_refused_with_the_fix_and_closed(mode, cache):
    started = []

    async def fetch_user():
        started.append(1)

    coroutines = []

    def body(ctx):
        coroutines.append(fetch_user())
        yield ctx.step("fetch", coroutines[0], key="user:1")

    message = misused(mode.run(aw.create_workflow("w", None, cache=cache), body))
    assert "fetch" in message
    assert "lambda" in message
    assert (started, coroutines[0].cr_frame) == ([], None)
    assert list(cache.keys()) == []


def test_c33_a_hit_does_not_even_call_the_function_to_build_its_coroutine(mode, cache, fetch):
    workflow = aw.create_workflow("w", None, cache=cache)
    built = []

    def thunk():
        built.append(1)
        return fetch("x")

    def body(ctx):
        value = yield ctx.step("fetch", thunk, key="x")
        return value

    for _ in range(2):
        assert mode.run(workflow, body) == aw.Ok("value of x")
    assert built == [1]


@pytest.mark.parametrize("options", [{}, {"key": None}], ids=["c34 absent", "c35 None"])
def test_c34_c35_without_a_key_a_step_runs_every_time_and_is_neither_kept_nor_collected(mode, cache, fetch, options):
    workflow = aw.create_workflow("w", None, cache=cache)

    def poll(ctx):
        last = None
        for attempt in range(3):
            last = yield ctx.step("poll", fetch, attempt, **options)
        return last

    for _ in range(2):
        result, state = mode.run_with_state(workflow, poll)
        assert result == aw.Ok("value of 2")
        assert list(state.steps) == []
    assert fetch.calls == [(0,), (1,), (2,)] * 2
    assert list(cache.keys()) == []


@pytest.mark.parametrize("step_id", ["", None, 7, b"fetch"], ids=repr)
def test_c36_an_id_that_is_no_text_is_misuse_and_nothing_is_called(mode, cache, fetch, step_id):
    def body(ctx):
        yield ctx.step(step_id, fetch, "x", key="x")

    message = misused(mode.run(aw.create_workflow("w", None, cache=cache), body))
    assert "id" in message
    assert fetch.calls == []


def test_c36_a_callable_in_the_place_of_the_id_is_misuse(mode, cache, fetch):
    def body(ctx):
        yield ctx.step(fetch, "x", key="x")

    assert 'ctx.step("' in misused(mode.run(aw.create_workflow("w", None, cache=cache), body))
    assert fetch.calls == []


@pytest.mark.parametrize("key", ["", 7, b"x", ("user", 1), 0, False], ids=repr)
def test_c37_a_key_that_is_no_text_is_misuse_and_never_silently_uncached(mode, cache, fetch, key):
    def body(ctx):
        yield ctx.step("fetch", fetch, "x", key=key)

    message = misused(mode.run(aw.create_workflow("w", None, cache=cache), body))
    assert "key" in message
    assert fetch.calls == []
    assert list(cache.keys()) == []


def test_c38_one_key_under_two_ids_shares_the_value_and_warns_with_both(mode, cache, fetch):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        first = yield ctx.step("fetch_user", fetch, "user", key="same")
        second = yield ctx.step("fetch_posts", fetch, "posts", key="same")
        return first, second

    with pytest.warns(aw.errors.SharedKeyWarning) as caught:
        assert mode.run(workflow, body) == aw.Ok(("value of user", "value of user"))
    assert len(caught) == 1
    for word in ("fetch_user", "fetch_posts", "same"):
        assert word in str(caught[0].message)
    assert fetch.calls == [("user",)]


def test_c39_a_changed_id_under_the_same_key_still_hits(mode, cache, fetch, tolerate):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body_with(step_id):
        def body(ctx):
            value = yield ctx.step(step_id, fetch, "x", key="x")
            return value

        return body

    mode.run(workflow, body_with("old name"))
    with tolerate(aw.AwaitlyWarning):
        assert mode.run(workflow, body_with("new name")) == aw.Ok("value of x")
    assert len(fetch.calls) == 1


def test_c40_a_loop_with_one_id_runs_each_item_once_and_hits_all_on_the_next_run(mode, cache, fetch):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        values = []
        for item in range(5):
            value = yield ctx.step("fetch", fetch, item, key=f"item:{item}")
            values.append(value)
        return values

    expected = aw.Ok([f"value of {item}" for item in range(5)])
    for _ in range(5):  # the many keys of one id must not look unstable either
        assert mode.run(workflow, body) == expected
    assert fetch.calls == [(item,) for item in range(5)]


def test_c41_keys_that_look_like_integers_stay_in_completion_order(mode, cache, fetch):
    workflow = aw.create_workflow("w", None, cache=cache)
    keys = ["10", "2", "-1", "1", "b", "0"]

    def body(ctx):
        for key in keys:
            yield ctx.step("fetch", fetch, key, key=key)

    _, state = mode.run_with_state(workflow, body)
    assert list(state.steps) == keys
    assert list(aw.ResumeState.from_json(state.to_json()).steps) == keys
    _, replayed = mode.run_with_state(workflow, body)
    assert list(replayed.steps) == keys
