"""The one place for nest-asyncio2: an `async def` body under `run_sync` while an event loop runs, as in a cell."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from awaitly_nb.engine import without_machinery
from awaitly_nb.executors import in_private_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["run_nested"]


def run_nested(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:  # Any: the coroutine's value
    """Run a coroutine to its end from blocking code, whether or not a loop runs in this thread."""
    __tracebackhide__ = True
    try:
        return _run_nested(make)
    except BaseException as exc:  # noqa: BLE001 - the same exception, less the frames of the machinery
        raise without_machinery(exc)  # noqa: B904 - as above


def _run_nested(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:  # Any: the coroutine's value
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None:  # and not above, where all that comes would come from that error
        return asyncio.run(make())
    if _patched(loop):
        task = loop.create_task(make())
        try:
            return loop.run_until_complete(task)
        except BaseException:
            # Stop breaks out of the nested loop; the outer one would go on with the task in the background.
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            raise
    return in_private_loop(make(), None)[0]


def _patched(loop: Any) -> bool:  # Any: an event loop of any make
    """Make a running loop re-entrant; False where that cannot be done, as with uvloop."""
    import nest_asyncio2

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns when nest_asyncio came first, which works all the same
            nest_asyncio2.apply(loop)
    except (ValueError, RuntimeError):
        return False
    return True
