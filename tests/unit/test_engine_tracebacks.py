"""What a traceback shows: the user's own lines, and none of the machinery between them."""

from __future__ import annotations

import asyncio
import json
import traceback

import pytest

import awaitly_nb as aw
from awaitly_nb.engine.calls import without_machinery


def fails():
    raise RuntimeError("no disk")


async def fails_later():
    await asyncio.sleep(0)
    fails()


def stops():
    raise KeyboardInterrupt


async def stops_later():
    await asyncio.sleep(0)
    raise KeyboardInterrupt


def shown(exc):
    """Return the functions of a traceback that is shown whole, the chain of exceptions first to last."""
    text = "".join(traceback.format_exception(exc))
    assert "During handling" not in text
    return [frame.name for frame in traceback.extract_tb(exc.__traceback__)], text


def visible(exc):
    """Return the functions that IPython shows: it leaves out frames that ask for it."""
    frames = [frame for frame, _ in traceback.walk_tb(exc.__traceback__)]
    return [frame.f_code.co_name for frame in frames if "__tracebackhide__" not in frame.f_locals]


def test_a_frame_that_stands_on_no_line_stays_in_the_traceback():
    def lineless():
        raise KeyboardInterrupt

    # As it is when a signal falls on one of the instructions that the compiler adds by itself.
    lineless.__code__ = lineless.__code__.replace(co_linetable=b"")
    with pytest.raises(KeyboardInterrupt) as raised:
        lineless()
    kept = raised.value.__traceback__
    assert kept.tb_next.tb_lineno is None
    found = without_machinery(raised.value).__traceback__
    assert [(one.f_code.co_name, line) for one, line in traceback.walk_tb(found)][-1] == ("lineless", None)


@pytest.mark.parametrize(
    "options", [{}, {"retry": 2}, {"timeout": 60}, {"error": "DISK"}, {"executor": "thread"}], ids=str
)
@pytest.mark.parametrize("fn", [fails, fails_later], ids=lambda fn: fn.__name__)
@pytest.mark.parametrize("way", ["run", "run_sync"])
def test_the_cause_of_a_failed_step_begins_in_the_step(way, fn, options):
    workflow = aw.create_workflow("w", cache={})
    if way == "run":
        result = asyncio.run(workflow.run(async_body(fn, options)))
    else:
        result = workflow.run_sync(lambda ctx: ctx.step("s", fn, key="k", **options))
    expected = ["fails"] if fn is fails else ["fails_later", "fails"]
    assert shown(result.cause)[0] == expected
    with pytest.raises(RuntimeError) as raised:
        result.unwrap()
    test, *rest = visible(raised.value)
    assert rest == expected


def async_body(fn, options):
    async def body(ctx):
        return await ctx.step("s", fn, key="k", **options)

    return body


def test_an_error_of_the_body_begins_in_the_body():
    def body(ctx):
        return fails()

    result = aw.create_workflow("w", cache={}).run_sync(body)
    assert shown(result.cause)[0] == ["body", "fails"]


def test_a_misused_step_shows_the_line_that_misuses_it():
    def body(ctx):
        return ctx.step("s", 3)

    result = aw.create_workflow("w", cache={}).run_sync(body)
    assert isinstance(result.cause, aw.MisuseError)
    assert shown(result.cause)[0] == ["body"]


@pytest.mark.parametrize("way", ["run", "run_sync", "run_sync of a coroutine"])
def test_an_interrupt_shows_where_it_came(way):
    workflow = aw.create_workflow("w", cache={})

    def body(ctx):
        return ctx.step("s", stops, key="k")

    async def later(ctx):
        return await ctx.step("s", stops_later, key="k")

    ways = {
        "run": lambda: asyncio.run(workflow.run(later)),
        "run_sync": lambda: workflow.run_sync(body),
        "run_sync of a coroutine": lambda: workflow.run_sync(later),
    }
    with pytest.raises(KeyboardInterrupt) as raised:
        ways[way]()
    names = visible(raised.value)
    assert names[-1] == ("stops" if way == "run_sync" else "stops_later")
    assert not {"perform", "perform_async", "_invoke", "_compute", "_carry_out", "end"} & set(names)
    if way != "run":  # there are asyncio's own frames above
        assert set(names) <= {
            "test_an_interrupt_shows_where_it_came",
            "<lambda>",
            "body",
            "later",
            "stops",
            "stops_later",
        }


def test_a_decorated_function_raises_as_if_it_were_called():
    @aw.step(cache={})
    def load():
        fails()

    with pytest.raises(RuntimeError) as raised:
        load()
    assert visible(raised.value)[1:] == ["load", "fails"]


def test_a_library_as_a_step_keeps_its_frames():
    result = aw.create_workflow("w", cache={}).run_sync(lambda ctx: ctx.step("s", json.loads, "{"))
    assert shown(result.cause)[0][0] == "loads"


def test_an_exception_of_this_package_that_is_none_of_its_errors_shows_its_lines():
    broken = compile("def inside():\n    raise ValueError('a bug')", "awaitly_nb/broken.py", "exec")
    names = {"__name__": "awaitly_nb.broken"}
    exec(broken, names)
    with pytest.raises(ValueError) as raised:
        names["inside"]()
    assert shown(without_machinery(raised.value))[0][-1] == "inside"


def test_the_parts_of_a_group_and_what_an_exception_came_from_are_cut_too():
    def group():
        try:
            fails()
        except RuntimeError as exc:
            raise ExceptionGroup("two", [exc]) from exc

    result = aw.create_workflow("w", cache={}).run_sync(lambda ctx: ctx.step("s", group))
    assert shown(result.cause)[0] == ["group"]
    (part,) = result.cause.exceptions
    assert shown(part)[0] == ["group", "fails"]
