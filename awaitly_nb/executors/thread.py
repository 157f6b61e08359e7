"""Threads that run one call each, in the caller's context variables, so that prints land in the right cell."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["THREAD", "ThreadExecutor", "in_private_loop"]


_CANCEL_S: Final = 2.0


class ThreadExecutor:
    """Runs each call in a thread of its own.

    No pool: a step is long compared with the 50 us that a thread costs, and the threads are daemons, so that a step
    which outlived its time-out does not keep the interpreter from ending.
    """

    tells_files = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start `fn(*args, **kwargs)` in a new thread, and return its future."""
        future: Future[Any] = Future()
        context = copy_context()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                value = context.run(fn, *args, **kwargs)
            except BaseException as exc:  # noqa: BLE001 - raised again by future.result(), in the caller's thread
                future.set_exception(exc)
            else:
                future.set_result(value)

        threading.Thread(target=work, name=f"awaitly-{getattr(fn, '__name__', 'step')}", daemon=True).start()
        return future


THREAD = ThreadExecutor()


def in_private_loop(awaitable: Awaitable[Any], timeout_s: float | None) -> tuple[Any, bool]:
    """Await something from code that has no event loop, or must not touch the one it is in.

    The loop lives in a helper thread, in the caller's context variables; an interrupt cancels what is awaited.

    Returns
    -------
    tuple
        The value, and True when the time was up instead.
    """
    import asyncio

    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def main() -> tuple[Any, bool]:
        task = asyncio.current_task()
        assert task is not None
        tasks.append((asyncio.get_running_loop(), task))
        try:
            async with asyncio.timeout(timeout_s) as scope:
                return await awaitable, False
        except TimeoutError:
            if scope.expired():
                return None, True
            raise

    future: Future[Any] | None = None
    try:
        future = THREAD.submit(lambda: asyncio.run(main()))
        outcome: tuple[Any, bool] = future.result()
    except BaseException:
        # An interrupt may come while the thread is being started, and what it awaits has begun already.
        if tasks and (future is None or not future.done()):
            loop, task = tasks[0]
            loop.call_soon_threadsafe(task.cancel)
            # It may have something to cancel elsewhere, and then this process ends.
            wait([] if future is None else [future], timeout=_CANCEL_S)
        raise
    return outcome
