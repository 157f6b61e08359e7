"""`ctx.steps.NAME(...)`: a dependency as a step whose key is made from its code and its arguments."""

from __future__ import annotations

import threading

import pytest

import awaitly_nb as aw


def call(*args, **kwargs):
    def body(ctx):
        value = yield ctx.steps.fetch(*args, **kwargs)
        return value

    return body


def test_it_hits_by_code_and_arguments(mode, cache, recorder):
    fetch = mode.counted(lambda user_id, limit=10: f"{user_id} up to {limit}")
    workflow = aw.create_workflow("w", {"fetch": fetch}, cache=cache, on_event=recorder)
    assert mode.run(workflow, call("1")) == aw.Ok("1 up to 10")
    assert mode.run(workflow, call("1")) == aw.Ok("1 up to 10")
    assert mode.run(workflow, call("1", limit=20)) == aw.Ok("1 up to 20")
    assert mode.run(workflow, call("2")) == aw.Ok("2 up to 10")
    assert fetch.calls[0] == ("1",)
    assert len(fetch.calls) == 3
    keys = list(cache.keys())
    assert len(keys) == 3
    assert all(key.startswith("fetch:") for key in keys)
    assert {event.step_id for event in recorder.of("step_start")} == {"fetch"}


def test_an_edited_dependency_runs_again_without_a_warning(mode, cache):
    first = aw.create_workflow("w", {"fetch": lambda x: x + 1}, cache=cache)
    second = aw.create_workflow("w", {"fetch": lambda x: x + 2}, cache=cache)
    assert mode.run(first, call(1)) == aw.Ok(2)
    assert mode.run(second, call(1)) == aw.Ok(3)
    assert mode.run(first, call(1)) == aw.Ok(2)
    assert len(list(cache.keys())) == 2


def test_a_file_that_the_step_read_and_that_changed_makes_it_run_again(mode, cache, tmp_path, recorder):
    path = tmp_path / "data.csv"
    workflow = aw.create_workflow("w", {"fetch": lambda: path.read_text()}, cache=cache, on_event=recorder)
    path.write_text("one")
    assert mode.run(workflow, call()) == mode.run(workflow, call()) == aw.Ok("one")
    path.write_text("another")
    assert mode.run(workflow, call()) == aw.Ok("another")
    assert mode.run(workflow, call()) == aw.Ok("another")
    assert len(recorder.of("step_start")) == 2
    assert "data.csv" in recorder.of("step_cache_miss")[1].reason


def test_with_tracking_off_a_changed_file_is_not_noticed(mode, cache, tmp_path):
    aw.configure(track_files=False)
    path = tmp_path / "data.csv"
    workflow = aw.create_workflow("w", {"fetch": lambda: path.read_text()}, cache=cache)
    path.write_text("one")
    mode.run(workflow, call())
    path.write_text("another")
    assert mode.run(workflow, call()) == aw.Ok("one")


def test_a_failure_leaves_the_workflow_and_replays(mode, cache):
    fetch = mode.counted(lambda: aw.err("NO"))
    workflow = aw.create_workflow("w", {"fetch": fetch}, cache=cache)
    assert mode.run(workflow, call()) == mode.run(workflow, call()) == aw.Err("NO")
    assert len(fetch.calls) == 1


def test_an_argument_without_a_fingerprint_runs_uncached_with_a_warning(mode, cache):
    fetch = mode.counted(lambda config: 1)
    workflow = aw.create_workflow("w", {"fetch": fetch}, cache=cache)
    for _ in range(2):
        with pytest.warns(aw.errors.UncachedWarning, match=r"config\['lock'\]"):
            assert mode.run(workflow, call({"lock": threading.Lock()})) == aw.Ok(1)
    assert len(fetch.calls) == 2
    assert list(cache.keys()) == []


def test_a_dependency_that_is_not_there_is_misuse_and_named(mode):
    result = mode.run(aw.create_workflow("w", {"other": len}, cache=None), call())
    assert isinstance(result.cause, aw.MisuseError)
    assert "fetch" in str(result.cause)


@pytest.mark.parametrize(
    ("key", "fault"), [("k:{itm}", "names 'itm'"), ("k:{item:d}", "Unknown format code"), ("k:{", "Single '{'")]
)
def test_a_template_of_a_map_that_cannot_be_filled_is_quoted_with_the_names_there_are(key, fault):
    result = aw.create_workflow("w", cache={}).run_sync(lambda ctx: ctx.map("rows", len, ["a"], key=key))
    assert isinstance(result.cause, aw.MisuseError)
    assert f"the key template {key!r} of step 'rows'" in str(result.cause)
    assert fault in str(result.cause)
    assert "there are: item, index" in str(result.cause)


def test_changing_arguments_run_after_run_do_not_look_unstable(mode, cache):
    workflow = aw.create_workflow("w", {"fetch": lambda x: x}, cache=cache)
    for number in range(5):
        assert mode.run(workflow, call(number)) == aw.Ok(number)


def test_a_resumed_automatic_step_hits_too(mode):
    fetch = mode.counted(lambda x: x)
    workflow = aw.create_workflow("w", {"fetch": fetch}, cache=None)
    _, state = mode.run_with_state(workflow, call(1))
    assert mode.run(workflow, call(1), resume_state=aw.ResumeState.from_json(state.to_json())) == aw.Ok(1)
    assert len(fetch.calls) == 1
