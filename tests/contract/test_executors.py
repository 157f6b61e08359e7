"""One suite for every place where a step's function can run."""

import asyncio
import io
import itertools
import os
import sys
import tempfile
import threading
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import distributed
import pytest

import awaitly_nb as aw

KINDS = ["inline", "thread", "process", "dask"]


@pytest.fixture(scope="module")
def client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tornado and dask, on the way up
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        made = distributed.Client(cluster)
    yield made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.close()
        cluster.close()


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow if kind == "dask" else ()) for kind in KINDS])
def executor(request):
    return request.getfixturevalue("client") if request.param == "dask" else request.param


@pytest.fixture(params=["process", pytest.param("dask", marks=pytest.mark.slow)])
def elsewhere(request):
    """Executors that run a call in another process."""
    return request.getfixturevalue("client") if request.param == "dask" else request.param


def in_a_cell(source, **names):
    """Define functions as a cell does: in `__main__`, where no worker can import them."""
    namespace = {"__name__": "__main__", **names}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


def test_a_result_comes_back(executor, cache):
    workflow = aw.create_workflow("w", cache=cache, executor=executor)
    body = lambda ctx: ctx.step("add", lambda a, b: a + b, 1, b=2, key="sum")  # noqa: E731
    assert workflow.run_sync(body) == aw.Ok(3)
    assert workflow.run_sync(body) == aw.Ok(3)
    assert workflow.last_run.steps[0].state == "hit"


def test_an_async_body_awaits_it(executor):
    workflow = aw.create_workflow("w", cache=None, executor=executor)

    async def body(ctx):
        return await asyncio.gather(*(ctx.step(f"s{n}", pow, n, 2) for n in range(4)))

    assert asyncio.run(workflow.run(body)) == aw.Ok([0, 1, 4, 9])


def test_an_async_function_runs_there_too(executor):
    fetch = in_a_cell("async def fetch(x):\n    return x + 1")["fetch"]
    workflow = aw.create_workflow("w", cache=None, executor=executor)
    assert workflow.run_sync(lambda ctx: ctx.step("fetch", fetch, 1)) == aw.Ok(2)


def test_an_error_is_the_original_exception_with_the_workers_traceback(executor):
    boom = in_a_cell("def boom(x):\n    raise ZeroDivisionError(f'no {x}')")["boom"]
    result = aw.create_workflow("w", cache=None, executor=executor).run_sync(lambda ctx: ctx.step("boom", boom, "way"))
    assert result.error.cause_type == "ZeroDivisionError"
    assert isinstance(result.cause, ZeroDivisionError)
    assert str(result.cause) == "no way"
    if executor not in ("inline", "thread"):
        assert "in boom" in "\n".join(result.cause.__notes__)


def test_functions_of_a_cell_travel_with_their_helpers_as_they_are_now(elsewhere):
    cell = in_a_cell("def helper(x):\n    return x + 1\n\ndef step(x):\n    return helper(x)")
    workflow = aw.create_workflow("w", cache=None, executor=elsewhere)
    assert workflow.run_sync(lambda ctx: ctx.step("step", cell["step"], 1)) == aw.Ok(2)
    exec("def helper(x):\n    return x + 100", cell)
    assert workflow.run_sync(lambda ctx: ctx.step("step", cell["step"], 1)) == aw.Ok(101)


def test_it_runs_in_another_process(elsewhere):
    workflow = aw.create_workflow("w", cache=None, executor=elsewhere)
    assert workflow.run_sync(lambda ctx: ctx.step("pid", os.getpid)).value != os.getpid()


def test_what_a_worker_prints_is_told_here(elsewhere):
    talk = in_a_cell("def talk():\n    print('from far away')\n    return 1")["talk"]
    workflow = aw.create_workflow("w", cache=None, executor=elsewhere)
    with redirect_stdout(io.StringIO()) as heard:
        assert workflow.run_sync(lambda ctx: ctx.step("talk", talk)) == aw.Ok(1)
    assert heard.getvalue() == "from far away\n"


LINGER = """
import pathlib, time
def linger(folder):
    (pathlib.Path(folder) / "began").touch()
    try:
        for _ in range(600):
            time.sleep(0.05)
    except KeyboardInterrupt:
        (pathlib.Path(folder) / "interrupted").touch()
        raise
"""


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_timeout_ends_the_wait_and_interrupts_the_worker(elsewhere, kind, tmp_path):
    linger = in_a_cell(LINGER)["linger"]
    workflow = aw.create_workflow("w", cache=None, executor=elsewhere)
    workflow.run_sync(lambda ctx: ctx.step("warm up", os.getpid))

    async def body(ctx):
        return await ctx.step("linger", linger, str(tmp_path), timeout=2)

    if kind == "async":
        result = asyncio.run(workflow.run(body))
    else:
        result = workflow.run_sync(lambda ctx: ctx.step("linger", linger, str(tmp_path), timeout=2))
    assert result == aw.Err(aw.StepTimeoutError(step_id="linger", seconds=2.0))
    assert (tmp_path / "began").exists()
    assert within(10, (tmp_path / "interrupted").exists)


def test_cancelling_a_run_interrupts_the_worker(elsewhere, tmp_path):
    linger = in_a_cell(LINGER)["linger"]
    workflow = aw.create_workflow("w", cache=None, executor=elsewhere)

    async def cell():
        task = asyncio.create_task(workflow.run(lambda_body))
        assert await asyncio.to_thread(within, 60, (tmp_path / "began").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def lambda_body(ctx):
        return await ctx.step("linger", linger, str(tmp_path))

    asyncio.run(cell())
    assert within(10, (tmp_path / "interrupted").exists)


def test_a_killed_worker_costs_its_step_at_most(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = """
import os, pathlib, signal
def fragile(folder):
    flag = pathlib.Path(folder) / "killed"
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "whole"
"""
    fragile = in_a_cell(source)["fragile"]
    workflow = aw.create_workflow("w", cache={}, executor=elsewhere)
    body = lambda ctx: ctx.step("fragile", fragile, str(tmp_path), key="fragile")  # noqa: E731
    first = workflow.run_sync(body)
    assert first.ok or isinstance(first.error, aw.UnexpectedError)
    assert workflow.run_sync(body) == aw.Ok("whole")
    assert not list(tmp_path.glob("awaitly-*"))


def within(seconds, true):
    """Tell whether something comes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.02)
    return True


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_map_keeps_the_order_and_computes_only_what_is_missing(executor, cache, kind):
    workflow = aw.create_workflow("w", cache=cache, executor=executor)

    def run(items):
        async def body(ctx):
            return await ctx.map("square", lambda x: x * x, items, key="square:{item}")

        if kind == "async":
            return asyncio.run(workflow.run(body))
        return workflow.run_sync(lambda ctx: ctx.map("square", lambda x: x * x, items, key="square:{item}"))

    assert run(range(6)) == aw.Ok([n * n for n in range(6)])
    assert run(range(8)) == aw.Ok([n * n for n in range(8)])
    states = [step.state for step in workflow.last_run.steps]
    assert (states.count("hit"), states.count("computed")) == (6, 2)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_one_failing_item_does_not_lose_the_others(executor, cache, kind):
    workflow = aw.create_workflow("w", cache=cache, executor=executor)

    def odd(x):
        return x if x % 2 else aw.err(f"even {x}")

    def run(**options):
        async def body(ctx):
            return await ctx.map("odd", odd, [1, 2, 3, 4], key="odd:{item}", **options)

        if kind == "async":
            return asyncio.run(workflow.run(body))
        return workflow.run_sync(lambda ctx: ctx.map("odd", odd, [1, 2, 3, 4], key="odd:{item}", **options))

    collected = run(on_error="collect").value
    assert collected == [aw.Ok(1), aw.Err("even 2"), aw.Ok(3), aw.Err("even 4")]
    assert run() in (aw.Err("even 2"), aw.Err("even 4"))
    assert {"odd:1", "odd:3"} <= set(cache.keys())


def test_map_makes_automatic_keys_and_keys_by_function():
    workflow = aw.create_workflow("w", cache=(kept := {}))
    assert workflow.run_sync(lambda ctx: ctx.map("neg", lambda x: -x, ["a", "b"][:0])) == aw.Ok([])
    assert workflow.run_sync(lambda ctx: ctx.map("neg", lambda x: -x, [1, 2])) == aw.Ok([-1, -2])
    assert len(kept) == 2
    assert all(key.startswith("neg:") for key in kept)
    kept.clear()
    workflow.run_sync(lambda ctx: ctx.map("neg", lambda x: -x, [1, 2], key=lambda x: f"n{x}"))
    assert list(kept) == ["n1", "n2"]


def test_map_says_what_is_wrong_with_its_options():
    workflow = aw.create_workflow("w", cache={})
    for options in ({"concurrency": 0}, {"on_error": "ignore"}, {"key": lambda x: ""}):
        result = workflow.run_sync(lambda ctx, options=options: ctx.map("neg", lambda x: -x, [1], **options))
        assert isinstance(result.cause, aw.errors.InvalidOptionError | aw.MisuseError)


def test_map_has_no_more_under_way_than_asked():
    counter = itertools.count()
    seen = []

    async def slow(x):
        seen.append(next(counter) - len([s for s in seen if s == "done"]))
        await asyncio.sleep(0)
        seen.append("done")
        return x

    async def body(ctx):
        return await ctx.map("slow", slow, range(20), concurrency=3, key="{item}")

    assert asyncio.run(aw.create_workflow("w", cache=None).run(body)) == aw.Ok(list(range(20)))
    assert max(n for n in seen if n != "done") < 3


def test_an_unknown_executor_is_refused_at_once():
    with pytest.raises(aw.errors.InvalidOptionError, match="process"):
        aw.create_workflow("w", executor="cloud")


def test_the_thread_executor_prints_where_it_was_called(capsys):
    workflow = aw.create_workflow("w", cache=None, executor="thread")
    assert workflow.run_sync(lambda ctx: ctx.step("say", print, "hello", file=sys.stdout)).ok
    assert capsys.readouterr().out == "hello\n"


def test_a_file_that_a_worker_read_is_an_input(elsewhere, tmp_path, cache):
    read = in_a_cell("def read(folder, day): return open(f'{folder}/data-{day}.txt').read()")["read"]
    workflow = aw.create_workflow("w", {"read": read}, cache=cache, executor=elsewhere)
    body = lambda ctx: [ctx.steps.read(str(tmp_path), 1), *ctx.map("many", read_day, [1], str(tmp_path))]  # noqa: E731
    for text in ("old", "new"):
        (tmp_path / "data-1.txt").write_text(text)
        assert [workflow.run_sync(body) for _ in range(2)] == [aw.Ok([text, text])] * 2
        assert {step.state for step in workflow.last_run.steps} == {"hit"}


def read_day(day, folder):
    return (Path(folder) / f"data-{day}.txt").read_text()
