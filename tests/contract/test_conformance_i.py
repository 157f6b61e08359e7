"""Section I of the behaviours, first half: bodies, results, deps, and runs inside and outside of an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

import awaitly_nb as aw


def one_step(fn, *args, **options):
    def body(ctx):
        value = yield ctx.step("fetch", fn, *args, **{"key": "k", **options})
        return value

    return body


@pytest.mark.parametrize("outcome", [aw.ok(1), aw.err("NO", cause="because")], ids=["ok", "err"])
def test_i104_a_body_that_returns_a_result_gives_the_run_that_result(mode, recorder, outcome):
    def body(ctx):
        yield ctx.step("fetch", lambda: 1)
        return outcome

    result = mode.run(aw.create_workflow("w", None, cache=None, on_event=recorder), body)
    assert result == outcome
    assert result.cause == outcome.cause
    assert recorder.types()[-1] == ("workflow_success" if outcome.ok else "workflow_error")


@pytest.mark.parametrize("value", [None, 0, "", False, [], {"ok": False}, Exception], ids=repr)
def test_i105_a_plain_value_counts_as_ok(mode, cache, value):
    fetch = mode.counted(lambda: value)
    workflow = aw.create_workflow("w", None, cache=cache)
    for _ in range(2):
        assert mode.run(workflow, one_step(fetch)) == aw.Ok(value)
    assert len(fetch.calls) == 1


@pytest.mark.parametrize("how", ["TaskGroup", "gather", "create_task"])
def test_i106_a_failing_step_among_parallel_ones_is_the_plain_error(cache, how):
    async def body(ctx):
        fail = ctx.step("fail", lambda: aw.err("NO"), key="fail")
        good = ctx.step("good", lambda: 1, key="good")
        if how == "TaskGroup":
            async with asyncio.TaskGroup() as group:
                group.create_task(good)
                group.create_task(fail)
        elif how == "gather":
            await asyncio.gather(good, fail)
        else:
            tasks = [asyncio.create_task(good), asyncio.create_task(fail)]
            for task in tasks:
                await task

    assert asyncio.run(aw.create_workflow("w", None, cache=cache).run(body)) == aw.Err("NO")


def test_i106_a_raising_step_in_a_task_group_has_its_own_exception_as_cause(cache):
    exc = ValueError("row 7")

    def fail():
        raise exc

    async def body(ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step("fail", fail, key="fail"))

    result = asyncio.run(aw.create_workflow("w", None, cache=cache).run(body))
    assert isinstance(result.error, aw.UnexpectedError)
    assert result.cause is exc


def test_i107_an_outer_retry_loop_pays_once(mode, cache):
    pay = mode.counted(lambda order, amount: {"order": order, "amount": amount})
    confirm = mode.counted(lambda: aw.err("MAIL SERVER DOWN"))
    workflow = aw.create_workflow("w", {"pay": pay}, cache=cache, cache_errors="none")

    def body(ctx):
        payment = yield ctx.step("pay", ctx.deps.pay, "o1", 100, key="payment:o1")
        yield ctx.step("confirm", confirm, key="confirm:o1")
        return payment

    for _ in range(5):
        assert mode.run(workflow, body) == aw.Err("MAIL SERVER DOWN")
    assert (pay.calls, len(confirm.calls)) == ([("o1", 100)], 5)


def test_i108_a_nested_workflow_is_kept_by_its_key(mode, cache):
    fetch = mode.counted(lambda: 20)
    child = aw.create_workflow("child", None, cache=None)
    run_child = child.run if mode.is_async else child.run_sync

    def body(ctx):
        value = yield ctx.step("child", run_child, mode.body(one_step(fetch)), key="child")
        return value + 1

    workflow = aw.create_workflow("parent", None, cache=cache)
    for _ in range(2):
        assert mode.run(workflow, body) == aw.Ok(21)
    assert len(fetch.calls) == 1


def test_i108_the_error_of_a_nested_workflow_becomes_the_parents(mode, cache):
    child = aw.create_workflow("child", None, cache=None)
    run_child = child.run if mode.is_async else child.run_sync

    def body(ctx):
        yield ctx.step("child", run_child, mode.body(one_step(lambda: aw.err("NO"))), key="child")

    assert mode.run(aw.create_workflow("parent", None, cache=cache), body) == aw.Err("NO")


def test_i109_an_edited_function_under_the_same_key_still_hits_and_that_is_said(mode, cache, recorder):
    workflow = aw.create_workflow("w", None, cache=cache)

    def fetch():
        return "first version"

    mode.run(workflow, one_step(fetch))

    def fetch():
        return "second version"

    with pytest.warns(aw.errors.CodeChangedWarning) as caught:
        assert mode.run(workflow, one_step(fetch), on_event=recorder) == aw.Ok("first version")
    assert len(caught) == 1
    assert "fetch" in str(caught[0].message)
    assert "'k'" in str(caught[0].message)
    assert recorder.of("step_cache_hit")[0].stale_code is True


def test_i109_comments_and_layout_are_no_change_of_code(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)

    def fetch():
        return [1, 2]

    mode.run(workflow, one_step(fetch))

    def fetch():
        """Fetch."""
        # twice as careful
        return [
            1,
            2,
        ]

    assert mode.run(workflow, one_step(fetch)) == aw.Ok([1, 2])


_MATRIX = """
import asyncio, sys, threading
import awaitly_nb as aw

place, kind, call = sys.argv[1:]

async def fetch_async():
    await asyncio.sleep(0)
    return 20

async def async_body(ctx):
    one = await ctx.step("one", lambda: 1, key="one")
    return one + await ctx.step("fetch", fetch_async, key="fetch")

def plain_body(ctx):
    return ctx.step("one", lambda: 1, key="one") + ctx.step("fetch", fetch_async, key="fetch")

body = async_body if kind == "async" else plain_body
workflow = aw.create_workflow("w", None, cache={})

async def in_loop():
    return await workflow.run(body) if call == "run" else workflow.run_sync(body)

def without_loop():
    return asyncio.run(workflow.run(body)) if call == "run" else workflow.run_sync(body)

results = []
for again in range(2):
    if place == "loop":
        results.append(asyncio.run(in_loop()))
    elif place == "script":
        results.append(without_loop())
    else:
        thread = threading.Thread(target=lambda: results.append(without_loop()))
        thread.start()
        thread.join()
assert results == [aw.Ok(21)] * 2, results
"""


@pytest.mark.parametrize("call", ["run", "run_sync"])
@pytest.mark.parametrize("kind", ["async", "plain"])
@pytest.mark.parametrize("place", ["loop", "script", "thread"])
def test_i111_bodies_run_in_a_running_loop_in_a_script_and_in_a_thread(place, kind, call):
    command = [sys.executable, "-W", "error", "-c", _MATRIX, place, kind, call]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_i111_a_plain_body_under_run_sync_never_touches_an_event_loop(cache):
    code = (
        "import sys, awaitly_nb as aw\n"
        "w = aw.create_workflow('w', None, cache={})\n"
        "assert w.run_sync(lambda ctx: ctx.step('one', lambda: 1, key='one')) == aw.Ok(1)\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_i115_the_body_gets_the_deps_and_calls_through_them_are_skipped_on_a_hit(mode, cache):
    fetch = mode.counted(lambda user_id: user_id)
    workflow = aw.create_workflow("w", {"fetch": fetch, "limit": 7}, cache=cache)

    def body(ctx):
        assert ctx.deps.limit == 7
        value = yield ctx.step("fetch", lambda: ctx.deps.fetch("1"), key="user:1")
        return value

    for _ in range(2):
        assert mode.run(workflow, body) == aw.Ok("1")
    assert fetch.calls == [("1",)]


def test_i115_run_level_deps_override_by_name_for_that_run_only(mode):
    workflow = aw.create_workflow("w", {"a": lambda: "a", "b": lambda: "b"}, cache=None)

    def body(ctx):
        a = yield ctx.step("a", ctx.deps.a)
        b = yield ctx.step("b", ctx.deps.b)
        return a + b

    assert mode.run(workflow, body, deps={"b": lambda: "other"}) == aw.Ok("aother")
    assert mode.run(workflow, body) == aw.Ok("ab")


def test_i115_a_dep_that_is_not_there_says_which_there_are(mode):
    def body(ctx):
        return ctx.deps.fetch_usr

    result = mode.run(aw.create_workflow("w", {"fetch_user": len}, cache=None), body)
    assert isinstance(result.cause, AttributeError)
    assert "fetch_usr" in str(result.cause)
    assert "fetch_user" in str(result.cause)


def test_i116_a_run_returns_a_result_and_does_not_raise(mode, cache):
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    def crash(exc):
        raise exc

    workflow = aw.create_workflow("w", None, cache=cache)
    assert mode.run(workflow, one_step(lambda: 1)) == aw.Ok(1)
    for exc in (ValueError("x"), LookupError(), RecursionError(), Unprintable(), ExceptionGroup("g", [ValueError()])):
        result = mode.run(workflow, one_step(crash, exc, key=None))
        assert result.cause is exc
        assert isinstance(result.error, aw.UnexpectedError)


def test_i117_workflows_with_different_ids_in_one_store_resume_independently(mode, tmp_path):
    store = aw.sqlite(tmp_path / "states.db")
    workflow = aw.create_workflow("w", None, cache=None)
    fetch = mode.counted(lambda name: f"value of {name}")

    def body_for(name):
        def body(ctx):
            value = yield ctx.step("fetch", fetch, name, key="same key in both")
            return value

        return body

    for _ in range(2):
        for name in ("one", "two"):
            result = mode.run(workflow, body_for(name), store=store, id=f"wf-{name}")
            assert result == aw.Ok(f"value of {name}")
    assert fetch.calls == [("one",), ("two",)]
    asyncio.run(store.close())


def test_i111_threads_each_run_their_own_workflow_at_the_same_time(mode):
    results, start = {}, threading.Barrier(4)

    def work(n):
        workflow = aw.create_workflow(f"w{n}", None, cache={})
        start.wait(30)
        results[n] = mode.run(workflow, one_step(lambda: n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {n: aw.Ok(n) for n in range(4)}
