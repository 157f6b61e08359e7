"""Ctrl-C and the Stop button: never in the middle of a store, at once in a blocking step, and noticed where caught."""

from __future__ import annotations

# The public wrapper takes the repr of each handler, and asyncio's shows the whole task: 100 us with each save.
import _signal  # type: ignore[import-not-found]
import atexit
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

T = TypeVar("T")

__all__ = ["Interrupted", "interruptible", "noticed", "uninterrupted"]


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
def noticed() -> Iterator[Interrupted]:
    """Notice a Stop in this block, also where its code catches KeyboardInterrupt and goes on.

    By the file that the interpreter writes each signal to: a handler of our own would be seen by code that asks for the
    one in force. Where somebody else has such a file, as an event loop with handlers, or outside the main thread,
    nothing is noticed.
    """
    state = Interrupted()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    reader, writer = _ears()
    _heard(reader)
    previous = _signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if previous != -1:
        _signal.set_wakeup_fd(previous)
        yield state
        return
    try:
        yield state
    finally:
        now = _signal.set_wakeup_fd(-1)
        if now not in (-1, writer.fileno()):
            _signal.set_wakeup_fd(now)
        state.pressed = _signal.SIGINT in _heard(reader)


_pairs: dict[int, tuple[socket.socket, socket.socket]] = {}


def _ears() -> tuple[socket.socket, socket.socket]:
    """Return both ends of what signals are heard by; a fork has its own, so that it is not heard for its parent."""
    import socket  # for cells alone: a first hit of a script would load it for nothing

    here = os.getpid()
    if here not in _pairs:
        _close()
        _pairs[here] = socket.socketpair()
        for end in _pairs[here]:
            end.settimeout(0)
    return _pairs[here]


@atexit.register
def _close() -> None:
    for pair in _pairs.values():
        for end in pair:
            end.close()
    _pairs.clear()


def _heard(reader: socket.socket) -> bytes:
    found = b""
    with suppress(BlockingIOError):
        while part := reader.recv(4096):
            found += part
    return found


_postponing = False
"""Whether an interrupt is held back already; the main thread's own, because signals are delivered to no other."""


def uninterrupted(do: Callable[..., T], *args: Any, **options: Any) -> T:  # Any: of what is done
    """Do it, and let an interrupt from the keyboard wait until it is done."""
    global _postponing  # noqa: PLW0603 - there is one handler in a process
    if _postponing or threading.get_ident() != threading.main_thread().ident:
        return do(*args, **options)
    pending: list[Any] = []  # Any: the number, and the interpreter's frame
    handler = _signal.signal(_signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    _postponing = True
    try:
        return do(*args, **options)
    finally:
        _postponing = False
        # None: a handler that was not installed from Python, and cannot be put back from it.
        _signal.signal(_signal.SIGINT, _signal.default_int_handler if handler is None else handler)
        if pending and callable(handler):
            handler(*pending[0])
