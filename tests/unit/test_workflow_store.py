"""`run(body, store=store, id=...)`: load, resume, checkpoint after every step, keep the completed state."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading

import pytest

import awaitly_nb as aw
from awaitly_nb.states import StepEntry


@pytest.fixture
def path(tmp_path):
    return tmp_path / "states.db"


@pytest.fixture
def store(path):
    store = aw.sqlite(path)
    yield store
    asyncio.run(store.close())


@pytest.fixture
def workflow(recorder):
    return aw.create_workflow("w", None, cache=None, on_event=recorder)


def two_steps(ctx):
    user = yield ctx.step("fetch_user", lambda: "ada", key="user:1")
    posts = yield ctx.step("fetch_posts", lambda: ["post"], key="posts:1")
    return user, posts


def load(path, state_id="wf"):
    async def main():
        async with aw.sqlite(path) as other:
            return await other.load(state_id)

    return asyncio.run(main())


def test_a_completed_run_leaves_its_state_and_the_next_one_calls_nothing(mode, store, path, workflow, recorder):
    assert mode.run(workflow, two_steps, store=store, id="wf") == aw.Ok(("ada", ["post"]))
    state = load(path)
    assert list(state.steps) == ["user:1", "posts:1"]
    assert state.steps["user:1"].step_id == "fetch_user"
    recorder.clear()
    assert mode.run(workflow, two_steps, store=store, id="wf") == aw.Ok(("ada", ["post"]))
    assert recorder.types() == ["workflow_start", "step_cache_hit", "step_cache_hit", "workflow_success"]
    assert [hit.source for hit in recorder.of("step_cache_hit")] == ["resumed", "resumed"]
    assert recorder.events[0].resumed == state


def test_every_step_is_in_the_store_before_the_next_one_begins(mode, store, path, workflow):
    seen = []

    def look():
        state = load(path)
        seen.append([] if state is None else list(state.steps))

    def body(ctx):
        yield ctx.step("look", look, executor="thread")
        yield ctx.step("one", lambda: 1, key="one")
        yield ctx.step("look", look, executor="thread")
        yield ctx.step("two", lambda: 2, key="two")
        yield ctx.step("look", look, executor="thread")

    assert mode.run(workflow, body, store=store, id="wf").ok
    assert seen == [[], ["one"], ["one", "two"]]


def test_hits_of_the_cache_are_checkpointed_too(mode, store, path, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    mode.run(workflow, two_steps)
    mode.run(workflow, two_steps, store=store, id="wf")
    assert list(load(path).steps) == ["user:1", "posts:1"]


def test_a_failed_step_is_shown_as_failed_and_an_exception_runs_again(mode, store, path, workflow):
    outcomes = [ValueError("row 7"), "fixed"]

    def fetch():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def body(ctx):
        value = yield ctx.step("fetch", fetch, key="k")
        return value

    assert not mode.run(workflow, body, store=store, id="wf").ok
    assert list(load(path).failed_keys()) == ["k"]
    assert mode.run(workflow, body, store=store, id="wf") == aw.Ok("fixed")
    assert load(path).is_complete("k")


def test_while_one_run_has_the_lease_another_gets_an_error_and_runs_nothing(mode, store, path, workflow):
    inner = []
    called = mode.counted(lambda: 1)

    def second():
        other = aw.sqlite(path)
        try:
            inner.append(workflow.run_sync(lambda ctx: ctx.step("one", called, key="one"), store=other, id="wf"))
            inner.append(workflow.run_sync(lambda ctx: 5, store=other, id="another id"))
        finally:
            asyncio.run(other.close())

    def body(ctx):
        yield ctx.step("second", second, executor="thread")

    assert mode.run(workflow, body, store=store, id="wf").ok
    held, free = inner
    assert isinstance(held.error, aw.LeaseHeldError)
    assert held.error.owner
    assert held.error.since.tzinfo is not None
    assert called.calls == []
    assert free == aw.Ok(5)
    assert mode.run(workflow, two_steps, store=store, id="wf").ok  # the lease was given back


@pytest.mark.parametrize("exc", [ValueError("crash"), KeyboardInterrupt()], ids=lambda exc: type(exc).__name__)
def test_the_lease_is_given_back_however_the_run_ends(mode, store, path, workflow, exc):
    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        raise exc

    if isinstance(exc, Exception):
        assert mode.run(workflow, body, store=store, id="wf").cause is exc
    else:
        with pytest.raises(KeyboardInterrupt):
            mode.run(workflow, body, store=store, id="wf")
    assert list(load(path).steps) == ["one"]
    assert mode.run(workflow, two_steps, store=store, id="wf").ok


@pytest.mark.parametrize(
    "options",
    [{"id": "wf"}, {"id": ""}, {"id": 7}, {"id": "wf", "resume_state": None}],
    ids=["id alone", "empty id", "id that is no text", "store and state"],
)
def test_misuse_is_told_before_anything_runs(mode, store, workflow, options):
    started = []

    def body(ctx):
        started.append(1)

    if options != {"id": "wf"}:
        options = {**options, "store": store}
    with pytest.raises(aw.MisuseError, match="store"):
        mode.run(workflow, body, **options)
    assert started == []


def test_a_store_that_is_none_of_ours_is_refused_with_the_fix(mode, workflow):
    with pytest.raises(aw.MisuseError, match="aw.sqlite"):
        mode.run(workflow, two_steps, store={}, id="wf")


class _Flaky:
    """Stands before a database that goes away for a number of writes."""

    def __init__(self, records, failures):
        self._records, self.failures = records, failures

    def __getattr__(self, name):
        return getattr(self._records, name)

    def swap(self, name, head, body, **options):
        if b"$" not in name.encode() and self.failures > 0 and "lease" not in name:
            self.failures -= 1
            raise aw.errors.StoreError("the database went away")
        return self._records.swap(name, head, body, **options)


def test_a_checkpoint_that_fails_warns_and_is_saved_with_the_next_step(mode, path, workflow, recorder):
    inner = aw.sqlite(path)
    store = aw.StateStore(_Flaky(inner.records, failures=1))
    with pytest.warns(aw.errors.PersistWarning, match="fetch_user") as caught:
        assert mode.run(workflow, two_steps, store=store, id="wf").ok
    assert len(caught) == 1
    assert [event.step_key for event in recorder.of("persist_error")] == ["user:1"]
    assert set(load(path).steps) == {"user:1", "posts:1"}
    asyncio.run(inner.close())


def test_with_raise_a_checkpoint_that_fails_ends_the_run(mode, path, workflow):
    inner = aw.sqlite(path)
    store = aw.StateStore(_Flaky(inner.records, failures=1))
    result = mode.run(workflow, two_steps, store=store, id="wf", on_persist_error="raise")
    assert not result.ok
    assert isinstance(result.cause, aw.errors.StoreError)
    assert "user:1" in load(path).steps  # tried again when the session closed
    asyncio.run(inner.close())


def test_a_value_that_the_store_cannot_hold_is_told_and_the_other_steps_are_kept(mode, store, path, workflow):
    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        yield ctx.step("lock", lambda: threading.Lock(), key="lock")
        yield ctx.step("two", lambda: 2, key="two")
        return "done"

    with pytest.warns(aw.errors.PersistWarning, match="lock"):
        assert mode.run(workflow, body, store=store, id="wf") == aw.Ok("done")
    assert list(load(path).steps) == ["one", "two"]


def test_a_run_that_is_resumed_keeps_what_was_there_and_is_not_reached(mode, store, path, workflow):
    async def prepare():
        entry = aw.create_resume_state_collector().get_resume_state().with_value("old:1", "kept")
        await store.save("wf", entry)

    asyncio.run(prepare())
    mode.run(workflow, two_steps, store=store, id="wf")
    state = load(path)
    assert set(state.steps) == {"old:1", "user:1", "posts:1"}
    assert isinstance(state.steps["old:1"], StepEntry)


_KERNEL = """
import os, signal, sys
import awaitly_nb as aw

path, log, kill_in = sys.argv[1:]

def work(n):
    with open(log, "a") as lines:
        lines.write(f"{n}\\n")
    if str(n) == kill_in:
        os.kill(os.getpid(), signal.SIGKILL)
    return n

def body(ctx):
    return [ctx.step("work", work, n, key=f"n:{n}") for n in range(1, 6)]

workflow = aw.create_workflow("w", None, cache=None)
result = workflow.run_sync(body, store=aw.sqlite(path), id="wf")
assert result == aw.Ok([1, 2, 3, 4, 5]), result
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_a_kill_the_next_process_goes_on_at_the_step_that_was_killed(tmp_path, path):
    log = tmp_path / "log"

    def process(kill_in):
        command = [sys.executable, "-W", "error", "-c", _KERNEL, str(path), str(log), kill_in]
        return subprocess.run(command, timeout=60, stderr=subprocess.PIPE, text=True)

    assert process("3").returncode == -signal.SIGKILL
    assert log.read_text().split() == ["1", "2", "3"]
    # The lease of the killed process must not lock its successor out: nobody holds it any more.
    done = process("never")
    assert (done.returncode, done.stderr) == (0, "")
    assert log.read_text().split() == ["1", "2", "3", "3", "4", "5"]
