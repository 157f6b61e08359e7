"""`ctx.map`: one step per item, stored and collected one by one, some at a time, in order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from awaitly_nb.engine import Leave, Run, call_of, perform
from awaitly_nb.errors import (
    InvalidOptionError,
    MisuseError,
    SharedKeyWarning,
    UncachedWarning,
    UnkeyableError,
    warn,
)
from awaitly_nb.executors import check_may_block, in_private_loop, resolve
from awaitly_nb.keys import fingerprint, step_parts
from awaitly_nb.result import Err
from awaitly_nb.workflow.template import fill

if TYPE_CHECKING:
    from asyncio import Future, Task
    from collections.abc import Callable, Iterable, Iterator

    from awaitly_nb.engine import StepSpec
    from awaitly_nb.result import Result

__all__ = ["ItemKey", "OnError", "check_on_error", "map_blocking", "map_tasks"]

ItemKey: TypeAlias = "str | Callable[[Any], str] | None"  # Any: the user's items
OnError: TypeAlias = Literal["stop", "collect"]

_CONCURRENCY = 8


def _specs(spec: StepSpec, items: Iterable[Any], key: ItemKey) -> Iterator[StepSpec]:
    """Yield one step per item, its key made from a template, by a function, or automatically."""
    first: dict[str, object] = {}
    told = False
    for index, item in enumerate(items):
        args = (item, *spec.args)
        if key is None:
            try:
                parts = step_parts(spec.fn, args, dict(spec.kwargs), name=spec.step_id)
            except UnkeyableError as exc:
                warn(f"item {index} of step {spec.step_id!r} runs uncached: {exc}", UncachedWarning)
                yield spec.but(args=args)
            else:
                reread = partial(step_parts, spec.fn, args, dict(spec.kwargs), name=spec.step_id)
                yield spec.but(args=args, key=parts.key, parts=parts, reread=reread)
            continue
        try:
            made = fill(key, {"item": item, "index": index}, step=spec.step_id) if isinstance(key, str) else key(item)
        except UnkeyableError as exc:
            warn(f"item {index} of step {spec.step_id!r} runs uncached: {exc}", UncachedWarning)
            yield spec.but(args=args)
            continue
        if not isinstance(made, str) or not made:
            raise MisuseError(
                f"step {spec.step_id!r}: the key of item {index} came out as {made!r}, not a non-empty string"
            )
        if not told and made in first and _differ(items, first[made], item):
            told = True
            warn(
                f"step {spec.step_id!r}: item {index} and one before it differ and share the key {made!r}, so this "
                "one is given the value of the other; name in key= what tells the items apart, or leave key= out",
                SharedKeyWarning,
            )
        if made not in first:
            first[made] = _trace(items, index, item)
        yield spec.but(args=args, key=made)


_SMALL = (str, int, float, bool, bytes, type(None))


def _trace(items: Iterable[Any], index: int, item: Any) -> object:  # Any: the user's items
    """Return what tells later whether another item is this one, and keeps no large one alive: cheaply, if it can."""
    if type(item) in _SMALL:
        return type(item), item
    return index if isinstance(items, Sequence) else _print(item)


def _print(item: object) -> str | None:
    try:
        return fingerprint(item)
    except UnkeyableError:
        return None


def _differ(items: Iterable[Any], before: object, item: Any) -> bool:  # Any: the user's items
    if isinstance(before, tuple):
        return before != (type(item), item)
    if isinstance(before, int) and isinstance(items, Sequence):
        other = items[before]
        return other is not item and _print(other) != _print(item)
    return before != _print(item)


def _spread(run: Run, spec: StepSpec, asked: int | None) -> tuple[StepSpec, Callable[[], int]]:
    """Return the step as its items are to be called, and what tells how many to have under way at once."""
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int) or asked < 1):
        raise InvalidOptionError(f"concurrency={asked!r} is no whole number of 1 or more")
    executor = resolve(spec.executor)
    # A time-out counts from the call of an item, so such an item must not wait for its neighbours.
    if spec.timeout_s is None and (batch := getattr(executor, "batch", None)) is not None:
        call = call_of(spec, run.cache)
        executor = batch(call, spec.args, spec.kwargs)
        spec = spec.but(executor=executor, call=call)
    return spec, lambda: asked or int(getattr(executor, "concurrency", _CONCURRENCY))


def check_on_error(value: object) -> OnError:
    """Return `value` if it is known; raises InvalidOptionError."""
    if value not in ("stop", "collect"):
        raise InvalidOptionError(f'on_error={value!r} is unknown; use "stop" or "collect"')
    return value


def map_blocking(
    run: Run, spec: StepSpec, items: Iterable[Any], key: ItemKey, *, concurrency: int | None, on_error: OnError
) -> list[Any]:
    """Carry out the steps from blocking code: in the calling thread, or several at a time from a private event loop."""
    executor = resolve(spec.executor)
    inline = executor is None
    check_may_block(executor)
    if concurrency == 1 or (inline and concurrency is None):
        results: list[Result[Any, Any]] = []
        for one in _specs(spec, items, key):
            results.append(perform(run, one).result)
            if on_error == "stop" and isinstance(results[-1], Err):
                break
        return _answer(run, results, on_error)
    if inline:
        spec = spec.but(executor="thread")
    tasks = map_tasks(run, spec, items, key, concurrency=concurrency, on_error=on_error)
    try:
        values: list[Any] = in_private_loop(tasks, None)[0]
    except BaseException as exc:
        if not isinstance(exc, Exception | Leave):
            run.interrupted(exc)
        raise
    return values


async def map_tasks(
    run: Run, spec: StepSpec, items: Iterable[Any], key: ItemKey, *, concurrency: int | None, on_error: OnError
) -> list[Any]:
    """Carry out the steps on the running event loop, some at a time."""
    import asyncio

    from awaitly_nb.engine import perform_async

    spec, width = _spread(run, spec, concurrency)
    results: dict[int, Result[Any, Any]] = {}
    numbered = enumerate(_specs(spec, items, key))
    tasks: set[Task[None]] = set()
    failed = False

    async def worker() -> None:
        nonlocal failed
        for index, one in numbered:
            results[index] = (await perform_async(run, one)).result
            failed = failed or (on_error == "stop" and isinstance(results[index], Err))
            if failed:
                return
            if len(tasks) > width():
                # Here and not when the task has ended, so that of several in one moment the last goes on.
                tasks.discard(asyncio.current_task())
                return
            start()

    def start() -> None:
        while len(tasks) < width():
            task = asyncio.ensure_future(worker())
            tasks.add(task)
            task.add_done_callback(ended)

    def ended(task: Task[None]) -> None:
        tasks.discard(task)
        lost = task.cancelled() or task.exception() is not None  # asked of each, else asyncio complains
        if not over.done() and (lost or failed or not tasks):
            over.set_result(task)

    over: Future[Task[None]] = asyncio.get_running_loop().create_future()
    start()
    try:
        (await over).result()
    finally:
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        run.tasks = {task for task in run.tasks if not task.done()}
    return _answer(run, [results[index] for index in sorted(results)], on_error)


def _answer(run: Run, results: list[Result[Any, Any]], on_error: OnError) -> list[Any]:
    if on_error == "collect":
        return list(results)
    for result in results:
        if isinstance(result, Err):
            raise run.fail(result)
    return [result.unwrap() for result in results]
