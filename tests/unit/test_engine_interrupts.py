"""Ctrl-C, the Stop button and `SystemExit`: they leave the run, with everything that finished stored."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading

import pytest

import awaitly_nb as aw
from awaitly_nb.executors.thread import ThreadExecutor, in_private_loop


def raiser(exc):
    def fn():
        raise exc

    return fn


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), SystemExit(3)], ids=lambda exc: type(exc).__name__)
@pytest.mark.parametrize("how", ["step", "attempt"])
def test_raised_by_a_step_it_leaves_run_itself(mode, cache, recorder, exc, how):
    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        yield getattr(ctx, how)("two", raiser(exc), key="two")

    with pytest.raises(type(exc)) as caught:
        mode.run(aw.create_workflow("w", None, cache=cache, on_event=recorder), body)
    assert caught.value is exc
    assert list(cache.keys()) == ["one"]
    (cancelled,) = recorder.of("workflow_cancelled")
    assert (cancelled.last_step_key, cancelled.reason) == ("one", type(exc).__name__)
    assert recorder.types()[-1] == "workflow_cancelled"


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), SystemExit(3)], ids=lambda exc: type(exc).__name__)
@pytest.mark.parametrize("how", ["TaskGroup", "gather", "forgotten task"])
def test_raised_in_a_child_task_it_is_caught_at_the_steps_edge_and_leaves_run(cache, recorder, turns, exc, how):
    async def body(ctx):
        await ctx.step("one", lambda: 1, key="one")
        step = ctx.step("two", raiser(exc), key="two")
        if how == "TaskGroup":
            async with asyncio.TaskGroup() as group:
                group.create_task(step)
        elif how == "gather":
            await asyncio.gather(step, ctx.step("slow", asyncio.Event().wait, key="slow"))
        else:
            forgotten.append(asyncio.create_task(step))
            await turns()

    async def cell():
        with pytest.raises(type(exc)) as caught:
            await aw.create_workflow("w", None, cache=cache, on_event=recorder).run(body)
        assert caught.value is exc
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await turns()  # the loop is alive: nothing tore it down

    forgotten = []
    asyncio.run(cell())
    assert list(cache.keys()) == ["one"]
    assert recorder.types()[-1] == "workflow_cancelled"
    assert recorder.events[-1].last_step_key == "one"


def test_a_body_cannot_swallow_an_interrupt_of_a_child_task(cache):
    async def body(ctx):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step("two", raiser(KeyboardInterrupt())))
        except* BaseException:
            pass
        return "all is well"

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(aw.create_workflow("w", None, cache=cache).run(body))


def test_raised_by_a_step_in_a_thread_it_leaves_run(mode, cache):
    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        yield ctx.step("two", raiser(KeyboardInterrupt()), key="two", executor="thread")

    with pytest.raises(KeyboardInterrupt):
        mode.run(aw.create_workflow("w", None, cache=cache), body)
    assert list(cache.keys()) == ["one"]


class _InterruptedWhileStoring(dict):
    """A cache in the middle of whose write the user presses Ctrl-C."""

    def __setitem__(self, key, value):
        super().__setitem__(key, "half a value")
        signal.raise_signal(signal.SIGINT)
        super().__setitem__(key, value)


@pytest.fixture
def _default_handler():
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("_default_handler")
def test_an_interrupt_while_a_result_is_stored_waits_for_the_store(mode):
    cache = _InterruptedWhileStoring()
    later = mode.counted(lambda: 1)

    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        yield ctx.step("later", later, key="later")

    with pytest.raises(KeyboardInterrupt):
        mode.run(aw.create_workflow("w", None, cache=cache), body)
    assert cache == {"one": aw.Ok(1)}
    assert later.calls == []


@pytest.mark.usefixtures("_default_handler")
def test_the_signal_handler_is_back_in_its_place_after_a_run(mode, cache):
    before = signal.getsignal(signal.SIGINT)

    def body(ctx):
        yield ctx.step("one", lambda: 1, key="one")
        yield ctx.step("two", raiser(KeyboardInterrupt()), key="two")

    with pytest.raises(KeyboardInterrupt):
        mode.run(aw.create_workflow("w", None, cache=cache), body)
    assert signal.getsignal(signal.SIGINT) is before


_KERNEL = """
import asyncio, sys, time
import awaitly_nb as aw

kind, folder = sys.argv[1:]
events = []
workflow = aw.create_workflow("w", None, cache=aw.create_disk_cache(folder), on_event=events.append)

def blocking_step(n):
    if n == 3:
        print("in step 3", flush=True)
        time.sleep(60)
    return n

async def awaiting_step(n):
    if n == 3:
        print("in step 3", flush=True)
        await asyncio.sleep(60)
    return n

step = awaiting_step if kind == "awaiting" else blocking_step

def plain_body(ctx):
    return [ctx.step("n", step, n, key=f"n:{n}") for n in range(1, 6)]

async def async_body(ctx):
    return [await ctx.step("n", step, n, key=f"n:{n}") for n in range(1, 6)]

try:
    if kind == "plain":
        workflow.run_sync(plain_body)
    elif kind == "awaiting in a plain body":
        step = awaiting_step
        workflow.run_sync(plain_body)
    else:
        asyncio.run(workflow.run(async_body))
except KeyboardInterrupt:
    print("interrupted", events[-1].type, events[-1].last_step_key, events[-1].reason, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("kind", ["plain", "awaiting in a plain body", "blocking in an async body", "awaiting"])
def test_a_real_ctrl_c_in_step_three_of_five_keeps_two_and_stops_at_once(tmp_path, kind):
    command = [sys.executable, "-W", "error", "-c", _KERNEL, kind, str(tmp_path / "cache")]
    kernel = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert kernel.stdout.readline() == "in step 3\n"
    kernel.send_signal(signal.SIGINT)
    out, _ = kernel.communicate(timeout=30)
    words = out.split()
    assert words[:3] == ["interrupted", "workflow_cancelled", "n:2"], out
    assert words[3] in {"KeyboardInterrupt", "CancelledError"}
    assert aw.create_disk_cache(tmp_path / "cache").keys() == ["n:1", "n:2"]


def test_an_interrupt_while_the_private_loop_is_being_started_cancels_what_it_awaits(monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    async def awaited():
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    submit = ThreadExecutor.submit

    def interrupted(self, fn):
        submit(self, fn)
        assert begun.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_private_loop(awaited(), None)
    assert ended.wait(30)


NESTED = """
import asyncio, gc
import awaitly_nb as aw

complaints = []

def stop():
    raise KeyboardInterrupt

async def body(ctx):
    await ctx.step("one", stop, key="one")

async def cell():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["message"]))
    try:
        aw.create_workflow("w", None, cache={}).run_sync(body)
    except KeyboardInterrupt:
        print("stopped", end=" ")
    gc.collect()

asyncio.run(cell())
print(complaints)
"""


def test_stop_in_a_nested_run_leaves_no_task_that_complains_later():
    # In a process of its own: such a run makes the loops of its process re-entrant.
    found = subprocess.run([sys.executable, "-c", NESTED], capture_output=True, text=True, timeout=60, check=False)
    assert (found.stdout, found.stderr) == ("stopped []\n", "")
