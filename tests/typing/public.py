"""What type checkers make of the public API: read by mypy and pyright, never run. Each line must hold for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import awaitly_nb as aw

if TYPE_CHECKING:
    from awaitly_nb.workflow import AsyncContext, Context


def plain(path: str, rows: int = 10) -> list[str]:
    return [path] * rows


async def later(path: str) -> list[str]:
    return [path]


def told(path: str) -> aw.Result[int, str]:
    return aw.ok(len(path)) if path else aw.err("empty")


async def told_later(path: str) -> aw.Result[int, str]:
    return told(path)


def maybe(path: str) -> int | None:
    return len(path) or None


# ---- steps of a plain body: the function's own type, whatever kind of function it is


def steps(ctx: Context) -> int:
    assert_type(ctx.step("plain", plain, "a", rows=3, key="plain:a"), list[str])
    assert_type(ctx.step("later", later, "a", key="later:a", ttl="7d", retry=3), list[str])
    assert_type(ctx.step("told", told, "a", key="told:a"), int)
    assert_type(ctx.step("told_later", told_later, "a"), int)
    assert_type(ctx.step("maybe", maybe, "a"), int | None)
    assert_type(ctx.step("lambda", lambda: 1.5), float)
    assert_type(ctx.step("lazy", plain, "a", key="lazy:a", lazy=True), aw.Stored)
    return ctx.step("told", told, "a")


def attempts(ctx: Context) -> None:
    assert_type(ctx.attempt("plain", plain, "a"), aw.Result[list[str], Any])
    assert_type(ctx.attempt("later", later, "a", error="FAILED"), aw.Result[list[str], Any])
    assert_type(ctx.attempt("told", told, "a"), aw.Result[int, Any])
    assert_type(ctx.attempt("lazy", plain, "a", key="lazy:a", lazy=True), aw.Result[aw.Stored, Any])


def maps(ctx: Context) -> None:
    assert_type(ctx.map("plain", plain, ["a", "b"], key="plain:{item}"), list[list[str]])
    assert_type(ctx.map("later", later, ["a", "b"], concurrency=2), list[list[str]])
    assert_type(ctx.map("told", told, ["a", "b"]), list[int])
    assert_type(ctx.map("told", told, ["a", "b"], on_error="collect"), list[aw.Result[int, Any]])


# ---- steps of an `async def` body: the same, awaited


async def awaited(ctx: AsyncContext) -> list[str]:
    assert_type(await ctx.step("plain", plain, "a", rows=3, key="plain:a"), list[str])
    assert_type(await ctx.step("later", later, "a", key="later:a", ttl="7d", retry=aw.Retry(3)), list[str])
    assert_type(await ctx.step("told", told, "a"), int)
    assert_type(await ctx.step("told_later", told_later, "a"), int)
    assert_type(await ctx.step("lazy", plain, "a", key="lazy:a", lazy=True), aw.Stored)
    assert_type(await ctx.attempt("told_later", told_later, "a"), aw.Result[int, Any])
    assert_type(await ctx.map("later", later, ["a", "b"]), list[list[str]])
    assert_type(await ctx.map("told", told, ["a", "b"], on_error="collect"), list[aw.Result[int, Any]])
    return await ctx.step("later", later, "a")


# ---- runs


async def runs(workflow: aw.Workflow, store: aw.StateStore) -> None:
    assert_type(workflow.run_sync(steps), aw.Result[int, Any])
    assert_type(await workflow.run(awaited, store=store, id="wf-1"), aw.Result[list[str], Any])
    assert_type(await workflow.run(steps, cache=None, executor="thread"), aw.Result[int, Any])
    assert_type(workflow.run_sync(lambda ctx: ctx.step("plain", plain, "a")), aw.Result[list[str], Any])
    result, state = await workflow.run_with_state(awaited)
    assert_type(result, aw.Result[list[str], Any])
    assert_type(state, aw.ResumeState)
    if isinstance(result, aw.Ok):
        assert_type(result.value, list[str])
    assert_type(result.unwrap_or([]), list[str])


# ---- decorated functions keep their signature


@aw.step
def features(raw: list[float], window: int = 7) -> dict[str, float]:
    return {"mean": sum(raw) / window}


@aw.step(key="page:{url}", ttl="7d", ignore=("log",))
async def fetch(url: str, log: bool = False) -> bytes:
    return url.encode()


async def decorated() -> None:
    assert_type(features([1.0], window=3), dict[str, float])
    assert_type(features.key([1.0]), str)
    assert_type(features.is_cached([1.0]), bool)
    assert_type(features.invalidate([1.0], window=3), bool)
    assert_type(await fetch("http://example.org"), bytes)


# ---- what is wrong is an error: each ignore is used, or the checkers complain about it


async def misuse(ctx: Context, workflow: aw.Workflow) -> None:
    ctx.step("plain", plain, "a", key=3)  # type: ignore[call-overload]
    ctx.step("plain", plain, "a", cache_errors="some")  # type: ignore[call-overload]
    features("text")  # type: ignore[arg-type]
    workflow.run_sync(steps, cahce=None)  # type: ignore[call-overload]
    aw.step(ttl=[])  # type: ignore[call-overload]
