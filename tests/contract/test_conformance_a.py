"""Section A of the behaviours: the step cache, on every kind of cache and body."""

from __future__ import annotations

import threading

import pytest

import awaitly_nb as aw


@pytest.fixture
def fetch_user(mode):
    return mode.counted(lambda user_id: {"id": user_id, "name": f"user {user_id}"})


def user_one(ctx):
    """Fetch user 1 under its key, and return the name."""
    user = yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
    return user["name"]


def test_a01_first_run_calls_once_and_the_body_gets_the_bare_value(mode, cache, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)
    received = []

    def body(ctx):
        user = yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
        received.append(user)
        return "report on " + user["name"]

    assert mode.run(workflow, body) == aw.Ok("report on user 1")
    assert received == [{"id": "1", "name": "user 1"}]
    assert fetch_user.calls == [("1",)]


def test_a02_second_run_hits(mode, cache, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)
    assert mode.run(workflow, user_one) == aw.Ok("user 1")
    assert mode.run(workflow, user_one) == aw.Ok("user 1")
    assert fetch_user.calls == [("1",)]


def test_a03_a_plain_dict_holds_exactly_that_key(mode, fetch_user):
    cache = {}
    mode.run(aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache), user_one)
    assert cache == {"user:1": aw.Ok({"id": "1", "name": "user 1"})}


def test_a03_every_cache_lists_exactly_that_key(mode, cache, fetch_user):
    mode.run(aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache), user_one)
    assert list(cache.keys()) == ["user:1"]
    assert cache.get("user:1") == aw.Ok({"id": "1", "name": "user 1"})


def test_a04_different_keys_are_kept_independently_and_a_third_step_hits(mode, cache, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)

    def body(ctx):
        first = yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
        second = yield ctx.step("fetch_user", ctx.deps.fetch_user, "2", key="user:2")
        again = yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
        return [first["id"], second["id"], again["id"]]

    assert mode.run(workflow, body) == aw.Ok(["1", "2", "1"])
    assert fetch_user.calls == [("1",), ("2",)]
    assert sorted(cache.keys()) == ["user:1", "user:2"]
    assert mode.run(workflow, body) == aw.Ok(["1", "2", "1"])
    assert fetch_user.calls == [("1",), ("2",)]


def test_a05_without_cache_and_state_a_key_runs_in_each_run(mode, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=None)
    mode.run(workflow, user_one)
    mode.run(workflow, user_one)
    assert fetch_user.calls == [("1",), ("1",)]


def test_a05_without_a_cache_argument_the_default_disk_cache_keeps_it(mode, fetch_user):
    mode.run(aw.create_workflow("w", {"fetch_user": fetch_user}), user_one)
    mode.run(aw.create_workflow("w", {"fetch_user": fetch_user}), user_one)
    assert fetch_user.calls == [("1",)]


def test_a06_deleting_a_key_reruns_exactly_that_step(mode, cache, fetch_user, forget):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)

    def body(ctx):
        first = yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
        second = yield ctx.step("fetch_user", ctx.deps.fetch_user, "2", key="user:2")
        return first["id"] + second["id"]

    mode.run(workflow, body)
    forget(cache, "user:1")
    assert list(cache.keys()) == ["user:2"]
    assert mode.run(workflow, body) == aw.Ok("12")
    assert fetch_user.calls == [("1",), ("2",), ("1",)]


def test_a07_clear_reruns_every_step(mode, cache, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)
    mode.run(workflow, user_one)
    cache.clear()
    assert list(cache.keys()) == []
    mode.run(workflow, user_one)
    assert len(fetch_user.calls) == 2


def test_a08_a_key_filled_by_one_workflow_hits_in_another_on_the_same_cache(mode, cache, fetch_user):
    mode.run(aw.create_workflow("one", {"fetch_user": fetch_user}, cache=cache), user_one)
    result = mode.run(aw.create_workflow("two", {"fetch_user": fetch_user}, cache=cache), user_one)
    assert result == aw.Ok("user 1")
    assert len(fetch_user.calls) == 1


def test_a09_a_per_run_cache_replaces_the_creation_time_cache_for_that_run_only(mode, new_cache, fetch_user):
    usual, other = new_cache(), new_cache()
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=usual)
    mode.run(workflow, user_one, cache=other)
    assert (list(usual.keys()), list(other.keys())) == ([], ["user:1"])
    mode.run(workflow, user_one)
    assert list(usual.keys()) == ["user:1"]
    assert len(fetch_user.calls) == 2


def test_a09_a_per_run_none_means_no_cache_for_that_run(mode, cache, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)
    mode.run(workflow, user_one)
    mode.run(workflow, user_one, cache=None)
    mode.run(workflow, user_one)
    assert len(fetch_user.calls) == 2


def test_a10_after_a_failing_unkeyed_step_is_fixed_the_expensive_step_hits(mode, cache, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)
    broken = True

    def draw(user):
        if broken:
            raise ValueError("no display")
        return f"chart of {user['id']}"

    def body(ctx):
        user = yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
        chart = yield ctx.step("draw", draw, user)
        return chart

    failed = mode.run(workflow, body)
    assert not failed.ok
    assert isinstance(failed.cause, ValueError)
    broken = False
    assert mode.run(workflow, body) == aw.Ok("chart of 1")
    assert len(fetch_user.calls) == 1


def test_a11_sync_and_async_functions_that_return_results_are_both_accepted(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    calls = []

    def sync_step():
        calls.append("sync")
        return aw.Ok(1)

    async def async_step():
        calls.append("async")
        return aw.Ok(2)

    def body(ctx):
        one = yield ctx.step("sync_step", sync_step, key="sync")
        two = yield ctx.step("async_step", async_step, key="async")
        three = yield ctx.step("thunk", lambda: async_step(), key="thunk")
        return one, two, three

    for _ in range(2):
        assert mode.run(workflow, body) == aw.Ok((1, 2, 2))
    assert calls == ["sync", "async", "async"]


@pytest.mark.parametrize("cache_kind", ["memory", "disk"], indirect=True)
def test_a12_a_value_that_cannot_be_kept_is_returned_with_one_warning_and_runs_again(mode, cache, recorder):
    make_lock = mode.counted(threading.Lock)
    workflow = aw.create_workflow("w", {"make_lock": make_lock}, cache=cache, on_event=recorder)

    def body(ctx):
        lock = yield ctx.step("make_lock", ctx.deps.make_lock, key="lock:1")
        return lock.locked()

    for run in (1, 2):
        with pytest.warns(aw.errors.UncachedWarning) as caught:
            assert mode.run(workflow, body) == aw.Ok(False)
        assert len(caught) == 1
        assert "lock:1" in str(caught[0].message)
        assert "_thread.lock" in str(caught[0].message)
        assert len(make_lock.calls) == run
    assert list(cache.keys()) == []
    assert len(recorder.of("persist_error")) == 2


def test_a12_a_dict_shares_any_value(mode):
    cache = {}
    make_lock = mode.counted(threading.Lock)
    workflow = aw.create_workflow("w", {"make_lock": make_lock}, cache=cache)

    def body(ctx):
        lock = yield ctx.step("make_lock", ctx.deps.make_lock, key="lock:1")
        return id(lock)

    assert mode.run(workflow, body) == mode.run(workflow, body) == aw.Ok(id(cache["lock:1"].value))
    assert len(make_lock.calls) == 1


def test_a13_a_step_ttl_expires_on_its_own_schedule(mode, aging, fetch_user):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=aging.cache)

    def body(ctx):
        short = yield ctx.step("fetch_user", ctx.deps.fetch_user, "short", key="short", ttl=60)
        long = yield ctx.step("fetch_user", ctx.deps.fetch_user, "long", key="long", ttl="2h")
        for_ever = yield ctx.step("fetch_user", ctx.deps.fetch_user, "for ever", key="for ever")
        return short["id"], long["id"], for_ever["id"]

    for seconds, computed in (
        (0, {"short", "long", "for ever"}),
        (59, set()),
        (2, {"short"}),
        (7200, {"short", "long"}),
    ):
        aging.wait(seconds)
        fetch_user.calls.clear()
        assert mode.run(workflow, body) == aw.Ok(("short", "long", "for ever"))
        assert {call[0] for call in fetch_user.calls} == computed


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), "soon"])
def test_a13_a_ttl_that_is_none_is_refused(mode, cache, fetch_user, ttl):
    workflow = aw.create_workflow("w", {"fetch_user": fetch_user}, cache=cache)

    def body(ctx):
        yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1", ttl=ttl)

    result = mode.run(workflow, body)
    assert isinstance(result.cause, aw.errors.InvalidOptionError)
    assert "ttl" in str(result.cause)
    assert fetch_user.calls == []


def test_a14_only_the_final_outcome_of_retries_is_kept_and_hits_never_retry(mode, cache, recorder):
    attempts = []

    def flaky():
        attempts.append(len(attempts) + 1)
        if len(attempts) < 3:
            raise ConnectionError("try again")
        return "answer"

    workflow = aw.create_workflow("w", {"flaky": mode.counted(flaky)}, cache=cache, on_event=recorder)

    def body(ctx):
        answer = yield ctx.step("flaky", ctx.deps.flaky, key="flaky", retry=3)
        return answer

    assert mode.run(workflow, body) == aw.Ok("answer")
    assert attempts == [1, 2, 3]
    assert cache.get("flaky") == aw.Ok("answer")
    assert recorder.types("flaky").count("step_complete") == 1
    recorder.clear()
    assert mode.run(workflow, body) == aw.Ok("answer")
    assert attempts == [1, 2, 3]
    assert recorder.types("flaky") == ["step_cache_hit"]


def test_a14_a_failure_after_all_retries_is_kept_once(mode, cache):
    attempts = []

    def refuse():
        attempts.append(1)
        return aw.err("REFUSED")

    workflow = aw.create_workflow("w", {"refuse": mode.counted(refuse)}, cache=cache)

    def body(ctx):
        yield ctx.step("refuse", ctx.deps.refuse, key="refuse", retry=2)

    assert mode.run(workflow, body) == aw.Err("REFUSED")
    assert len(attempts) == 2
    assert mode.run(workflow, body) == aw.Err("REFUSED")
    assert len(attempts) == 2
