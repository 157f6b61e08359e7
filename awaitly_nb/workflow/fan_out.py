"""`ctx.map`: one step per item, kept and collected one by one, some at a time, in order."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from awaitly_nb.engine.drive import drive
from awaitly_nb.engine.run import Leave, Run, warn
from awaitly_nb.engine.step import perform
from awaitly_nb.errors import InvalidOptionError, MisuseError, UncachedWarning, UnkeyableError
from awaitly_nb.executors import resolve
from awaitly_nb.keys import step_parts
from awaitly_nb.result import Err

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from awaitly_nb.engine.options import StepSpec
    from awaitly_nb.result import Result

__all__ = ["ItemKey", "OnError", "check_on_error", "map_blocking", "map_specs", "map_tasks"]

ItemKey: TypeAlias = "str | Callable[[Any], str] | None"  # Any: the user's items
OnError: TypeAlias = Literal["stop", "collect"]

_CONCURRENCY = 8


def map_specs(spec: StepSpec, items: Iterable[Any], key: ItemKey) -> Iterator[StepSpec]:
    """Yield one step per item, its key made from a template, by a function, or automatically."""
    for index, item in enumerate(items):
        one = replace(spec, args=(item, *spec.args))
        if key is None:
            try:
                parts = step_parts(spec.fn, one.args, dict(spec.kwargs), name=spec.step_id)
            except UnkeyableError as exc:
                warn(f"item {index} of step {spec.step_id!r} runs uncached: {exc}", UncachedWarning)
                yield one
            else:
                yield replace(one, key=parts.key, parts=parts)
            continue
        made = key.format(item=item, index=index) if isinstance(key, str) else key(item)
        if not isinstance(made, str) or not made:
            raise MisuseError(
                f"step {spec.step_id!r}: the key of item {index} came out as {made!r}, not a non-empty string"
            )
        yield replace(one, key=made)


def concurrency_of(executor: object, asked: int | None, *, alone: int) -> int:
    """Return how many items to have under way at once."""
    if asked is not None:
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            raise InvalidOptionError(f"concurrency={asked!r} is no whole number of 1 or more")
        return asked
    resolved = resolve(executor)
    return alone if resolved is None else int(getattr(resolved, "concurrency", _CONCURRENCY))


def check_on_error(value: object) -> OnError:
    """Return `value` if it is known; raises InvalidOptionError."""
    if value not in ("stop", "collect"):
        raise InvalidOptionError(f'on_error={value!r} is unknown; use "stop" or "collect"')
    return value


def map_blocking(
    run: Run, specs: Iterator[StepSpec], *, concurrency: int | None, executor: object, on_error: OnError
) -> list[Any]:
    """Carry out the steps from blocking code. In the calling thread when they run there, else from a few threads."""
    width = concurrency_of(executor, concurrency, alone=1)
    results: list[Result[Any, Any]] = []
    if width == 1:
        for spec in specs:
            results.append(drive(perform(run, spec)))
            if on_error == "stop" and isinstance(results[-1], Err):
                break
        return _answer(run, results, on_error)
    calls: set[Future[Any]] = set()

    def one(spec: StepSpec) -> Result[Any, Any]:
        result = drive(perform(run, spec), calls)
        if on_error == "stop" and isinstance(result, Err):
            raise run.fail(result)  # and so no further item begins
        return result

    pool = ThreadPoolExecutor(width, thread_name_prefix="awaitly-map")
    try:
        futures = [pool.submit(copy_context().run, one, spec) for spec in specs]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return _answer(run, [future.result() for future in futures], on_error)
    except BaseException as exc:
        if not isinstance(exc, Exception | Leave):
            run.interrupted(exc)
        for call in tuple(calls):
            call.cancel()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def map_tasks(
    run: Run, specs: Iterator[StepSpec], *, concurrency: int | None, executor: object, on_error: OnError
) -> list[Any]:
    """Carry out the steps on the running event loop, some at a time."""
    import asyncio

    from awaitly_nb.engine.drive_async import drive_async

    results: dict[int, Result[Any, Any]] = {}
    numbered = enumerate(specs)

    async def worker() -> None:
        for index, spec in numbered:
            results[index] = await drive_async(run, perform(run, spec))
            if on_error == "stop" and isinstance(results[index], Err):
                return

    width = concurrency_of(executor, concurrency, alone=_CONCURRENCY)
    tasks = [asyncio.ensure_future(worker()) for _ in range(width)]
    try:
        while tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if on_error == "stop" and any(isinstance(result, Err) for result in results.values()):
                break
            tasks = [task for task in tasks if not task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return _answer(run, [results[index] for index in sorted(results)], on_error)


def _answer(run: Run, results: list[Result[Any, Any]], on_error: OnError) -> list[Any]:
    if on_error == "collect":
        return list(results)
    for result in results:
        if isinstance(result, Err):
            raise run.fail(result)
    return [result.unwrap() for result in results]
