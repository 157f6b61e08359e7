"""Ctrl-C and the Stop button: never in the middle of a store, and at once in the middle of a blocking step."""

from __future__ import annotations

# The public wrapper takes the repr of each handler, and asyncio's shows the whole task: 100 us with each save.
import _signal  # type: ignore[import-not-found]
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Interrupted", "interruptible", "uninterrupted"]


class Interrupted:
    """Whether the user pressed Stop inside an `interruptible` block."""

    __slots__ = ("pressed",)

    def __init__(self) -> None:
        self.pressed = False


@contextmanager
def interruptible() -> Iterator[Interrupted]:
    """Let Stop break into blocking code that runs inside an event loop.

    While a cell awaits, ipykernel's SIGINT handler only asks the loop to cancel the cell, and asyncio's runner does the
    same in a script; a loop that is busy in blocking code hears neither. So the handler in force is called, for its
    book-keeping, and then KeyboardInterrupt is raised where the code is. Restored on the way out.
    """
    state = Interrupted()
    previous = _signal.getsignal(_signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(previous) or previous is _signal.default_int_handler:
        yield state
        return

    def handler(signum: int, frame: Any) -> None:  # Any: the interpreter's frame
        state.pressed = True
        previous(signum, frame)
        raise KeyboardInterrupt

    _signal.signal(_signal.SIGINT, handler)
    try:
        yield state
    finally:
        _signal.signal(_signal.SIGINT, previous)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold an interrupt back until the block is done; then it takes effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = _signal.getsignal(_signal.SIGINT)
    if not callable(previous):
        yield
        return
    pending: list[tuple[int, Any]] = []  # Any: the interpreter's frame
    _signal.signal(_signal.SIGINT, lambda signum, frame: pending.append((signum, frame)))
    try:
        yield
    finally:
        _signal.signal(_signal.SIGINT, previous)
        if pending:
            previous(*pending[-1])
