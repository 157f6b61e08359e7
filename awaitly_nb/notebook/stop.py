"""The Stop button in a cell that awaits.

While a cell awaits, ipykernel answers SIGINT by asking the loop to cancel the cell, and the loop cannot do so before
blocking code on its thread ends. So every stretch of the cell that runs without giving way to the loop is made
interruptible, as the engine does for blocking steps; in between, ipykernel's own handler cancels what is awaited. That
handler does not wake a loop that sleeps (on 7.4, Stop during `await asyncio.sleep(8)` took 8 s), so it is woken.
"""

from __future__ import annotations

import signal
from types import coroutine
from typing import TYPE_CHECKING, Any

from awaitly_nb.engine import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType

__all__ = ["hide_handler", "interruptible", "stoppable", "wake_on_stop"]


def wake_on_stop() -> None:
    """Let ipykernel's handler for an awaiting cell wake the event loop; does nothing where that is not in force.

    Called when a cell begins. ipykernel puts its own handler of before back when the cell ends.
    """
    import asyncio

    previous = signal.getsignal(signal.SIGINT)
    if not callable(previous) or "_cancel_on_sigint" not in getattr(previous, "__qualname__", ""):
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return

    def handler(signum: int, frame: Any) -> None:  # Any: the interpreter's frame
        previous(signum, frame)
        loop.call_soon_threadsafe(lambda: None)

    signal.signal(signal.SIGINT, handler)


def hide_handler(traceback: TracebackType | None) -> None:
    """Cut the signal handler off the end of an interrupt's traceback, so that it ends where the user's code was."""
    while traceback is not None and traceback.tb_next is not None:
        if traceback.tb_next.tb_frame.f_globals.get("__name__") == interruptible.__module__:
            traceback.tb_next = None
        traceback = traceback.tb_next


@coroutine
def stoppable(coro: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:  # Any: what passes between task and loop
    """Drive `coro`, with SIGINT raising `KeyboardInterrupt` in it whenever it is not waiting for the loop."""
    resume: Callable[[Any], Any] = coro.send
    argument: Any = None
    while True:
        try:
            with interruptible():
                awaited = resume(argument)
        except StopIteration as end:
            return end.value
        try:
            argument = yield awaited
            resume = coro.send
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as exc:  # noqa: BLE001 - handed to the coroutine, which raises it on
            resume, argument = coro.throw, exc.with_traceback(None)  # as if the loop had spoken to it directly
