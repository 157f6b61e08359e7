"""What a run says aloud: keys that look unstable or shared, code that changed, listeners and caches that fail."""

from __future__ import annotations

import itertools
import logging
import warnings

import pytest

import awaitly_nb as aw


def one_step(fn, *args, step_id="fetch", **options):
    def body(ctx):
        value = yield ctx.step(step_id, fn, *args, **{"key": "k", **options})
        return value

    return body


def heard(mode, workflow, body, category=aw.AwaitlyWarning, **options):
    """Run, and return the texts of the warnings of `category`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mode.run(workflow, body, **options)
    return [str(warning.message) for warning in caught if issubclass(warning.category, category)]


def test_a_key_that_is_new_three_runs_in_a_row_looks_unstable(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    number = itertools.count()
    said = [
        heard(mode, workflow, one_step(len, "x", key=f"k:{next(number)}"), aw.errors.UnstableKeyWarning)
        for _ in range(3)
    ]
    assert said[:2] == [[], []]
    (message,) = said[2]
    assert "fetch" in message
    assert "k:2" in message


def test_a_key_that_hits_in_between_is_stable(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    for key in ("a", "b", "b", "c", "d", "d"):
        assert heard(mode, workflow, one_step(len, "x", key=key)) == []


def test_a_new_key_after_edited_code_is_not_unstable(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    versions = [lambda: 1, lambda: 2, lambda: 3, lambda: 4]
    for number, version in enumerate(versions):
        assert heard(mode, workflow, one_step(version, key=f"k:{number}")) == []


def test_a_new_key_for_new_arguments_is_not_unstable(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    for number in range(5):
        assert heard(mode, workflow, one_step(abs, number, key=f"k:{number}")) == []


def test_a_key_deleted_by_hand_is_not_unstable(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    for _ in range(5):
        assert heard(mode, workflow, one_step(len, "x")) == []
        cache.clear()


def test_two_ids_of_one_key_are_named_once_per_run(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        for step_id in ("one", "two", "one", "two", "two"):
            yield ctx.step(step_id, lambda: 1, key="k")

    for _ in range(2):
        (message,) = heard(mode, workflow, body, aw.errors.SharedKeyWarning)
        assert "'one'" in message
        assert "'two'" in message
        assert "'k'" in message


def test_one_id_with_one_key_twice_is_no_sharing(mode, cache):
    def body(ctx):
        for _ in range(2):
            yield ctx.step("one", lambda: 1, key="k")

    assert heard(mode, aw.create_workflow("w", None, cache=cache), body) == []


def test_changed_code_is_told_with_where_the_value_came_from_and_what_to_do(mode, cache):
    mode.run(aw.create_workflow("report", None, cache=cache), one_step(lambda: 1, step_id="old_id"))
    workflow = aw.create_workflow("other report", None, cache=cache)
    (message,) = heard(mode, workflow, one_step(lambda: 2, step_id="new_id"), aw.errors.CodeChangedWarning)
    for word in ("new_id", "'k'", "report", "old_id", "%awaitly rm k"):
        assert word in message


def test_a_changed_dependency_that_the_step_names_counts_as_changed_code(mode, cache, recorder):
    def body(ctx):
        value = yield ctx.step("fetch", lambda: ctx.deps.fetch(), key="k")
        return value

    mode.run(aw.create_workflow("w", {"fetch": lambda: 1, "unused": lambda: 1}, cache=cache), body)
    same = aw.create_workflow("w", {"fetch": lambda: 1, "unused": lambda: 2}, cache=cache)
    assert heard(mode, same, body) == []
    edited = aw.create_workflow("w", {"fetch": lambda: 2, "unused": lambda: 1}, cache=cache)
    assert len(heard(mode, edited, body, aw.errors.CodeChangedWarning)) == 1


def test_a_failure_of_a_changed_dependency_runs_again(mode, cache):
    def body(ctx):
        value = yield ctx.step("fetch", lambda: ctx.deps.fetch(), key="k")
        return value

    assert mode.run(aw.create_workflow("w", {"fetch": lambda: aw.err("NO")}, cache=cache), body) == aw.Err("NO")
    assert mode.run(aw.create_workflow("w", {"fetch": lambda: "fixed"}, cache=cache), body) == aw.Ok("fixed")


def test_values_of_closures_defaults_and_globals_are_no_code_under_an_explicit_key(mode, cache):
    def make(number, default):
        def fetch(extra=default):
            return number + extra

        return fetch

    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, one_step(make(1, 1)))
    assert heard(mode, workflow, one_step(make(2, 2))) == []


def test_a_callable_object_that_keeps_count_is_the_same_code_each_time(mode, cache):
    class Fetch:
        def __init__(self):
            self.count = 0

        def __call__(self):
            self.count += 1
            return aw.err("NO")

    fetch = Fetch()
    workflow = aw.create_workflow("w", None, cache=cache)
    for _ in range(3):
        assert mode.run(workflow, one_step(fetch)) == aw.Err("NO")
    assert fetch.count == 1


def test_a_listener_that_raises_is_reported_once_and_changes_nothing(mode, cache, recorder):
    calls = []

    def broken(event):
        calls.append(event.type)
        raise ValueError("listener bug")

    workflow = aw.create_workflow("w", None, cache=cache, on_event=[broken, recorder])
    with pytest.warns(aw.errors.ListenerWarning, match="listener bug") as caught:
        assert mode.run(workflow, one_step(lambda: 1)) == aw.Ok(1)
    assert len(caught) == 1
    assert calls == ["workflow_start"]
    assert recorder.types()[-1] == "workflow_success"
    assert cache.get("k") == aw.Ok(1)


def test_where_warnings_are_errors_a_broken_listener_still_changes_nothing(mode, recorder):
    def broken(event):
        raise ValueError("listener bug")

    cache = {}
    workflow = aw.create_workflow("w", None, cache=cache, on_event=[broken, recorder])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = mode.run(workflow, one_step(lambda: 1))
    assert result == aw.Ok(1)
    assert recorder.types()[-1] == "workflow_success"
    assert cache == {"k": aw.Ok(1)}


@pytest.mark.parametrize("what", ["unkept", "changed code", "shared key"])
def test_where_warnings_are_errors_a_finished_step_is_still_stored(mode, what):
    cache = {}
    workflow = aw.create_workflow("w", None, cache=cache)
    calls = []

    def fetch():
        calls.append(1)
        return 1

    def body(ctx):
        yield ctx.step("first", fetch, key="first")
        if what == "unkept":
            yield ctx.step("second", lambda: (n for n in ()), key="second")
        elif what == "changed code":
            yield ctx.step("second", lambda: 2, key="old")
        else:
            yield ctx.step("second", fetch, key="first")

    mode.run(workflow, one_step(lambda: 1, key="old"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mode.run(workflow, body, cache=cache)
    assert cache["first"] == aw.Ok(1)
    assert calls == [1]


class _FullDisk(dict):
    """A cache that can be read but not written."""

    def __setitem__(self, key, value):
        raise OSError(28, "No space left on device")


def test_a_write_that_fails_returns_the_value_and_warns_each_time(mode, recorder):
    fetch = mode.counted(lambda: 1)
    workflow = aw.create_workflow("w", None, cache=_FullDisk(), on_event=recorder)
    for run in (1, 2):
        with pytest.warns(aw.errors.UncachedWarning, match="No space left") as caught:
            assert mode.run(workflow, one_step(fetch)) == aw.Ok(1)
        assert len(caught) == 1
        assert "'k'" in str(caught[0].message)
        assert len(fetch.calls) == run
    assert [event.error.errno for event in recorder.of("persist_error")] == [28, 28]
    assert recorder.of("step_complete")[0].stored is False


def test_an_unkept_step_still_runs_once_within_its_run(mode):
    fetch = mode.counted(lambda: 1)

    def body(ctx):
        for _ in range(3):
            yield ctx.step("fetch", fetch, key="k")

    with pytest.warns(aw.errors.UncachedWarning):
        mode.run(aw.create_workflow("w", None, cache=_FullDisk()), body)
    assert len(fetch.calls) == 1


def test_warnings_point_at_the_users_line(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        yield ctx.step("one", lambda: 1, key="k")
        yield ctx.step("two", lambda: 1, key="k")

    with pytest.warns(aw.errors.SharedKeyWarning) as caught:
        mode.run(workflow, body)
    assert not caught[0].filename.startswith(aw.__path__[0])


def test_a_replayed_failure_of_a_state_is_logged_as_such(mode, caplog):
    workflow = aw.create_workflow("w", None, cache=None)
    _, state = mode.run_with_state(workflow, one_step(lambda: aw.err("NO")))
    with caplog.at_level(logging.INFO, logger="awaitly_nb"):
        mode.run(workflow, one_step(lambda: aw.err("NO")), resume_state=state)
    (record,) = caplog.records
    assert "resume state" in record.getMessage()
