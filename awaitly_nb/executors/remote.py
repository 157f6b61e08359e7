"""What happens on the other side: unpack a call, run it, send back what it returned or raised, and what it printed."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.codec import from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RelayFuture", "interrupt_here", "relay", "work"]

_threads: dict[str, int] = {}
_local = threading.local()


def work(call: bytes, token: str, pid_file: str | None = None) -> bytes:
    """Run a packed call in this process, and return the packed reply.

    Parameters
    ----------
    call
        `to_bytes((fn, args, kwargs))`.
    token
        Names this call, for `interrupt_here`.
    pid_file
        Where to leave this process's id while the call runs.
    """
    written: list[tuple[str, str]] = []
    with _printing_to(written), _interruptible(token, pid_file):
        try:
            fn, args, kwargs = from_bytes(call)
            value = fn(*args, **kwargs)
            if hasattr(type(value), "__await__"):
                import asyncio

                value = asyncio.run(_awaited(value))
            return to_bytes((True, value, written))
        except BaseException as exc:  # noqa: BLE001 - raised again on the caller's side
            text = "".join(traceback.format_exception(exc))
            try:
                return to_bytes((False, (exc, text), written))
            except Exception:  # noqa: BLE001 - the stranger is the exception's own pickling
                from awaitly_nb.errors import RemoteError

                stand_in = RemoteError(str(exc), type_name=type(exc).__qualname__, traceback_text=text)
                return to_bytes((False, (stand_in, text), written))


async def _awaited(value: Any) -> Any:  # Any: whatever it comes to
    return await value


class RelayFuture(Future[Any]):
    """The future of a call that runs elsewhere; cancelling it interrupts the call there."""

    def __init__(self, interrupt: Callable[[], object]) -> None:
        super().__init__()
        self._interrupt = interrupt
        self._asked = False
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Interrupt the call, once; it ends with KeyboardInterrupt over there, and nobody waits for it here."""
        if not self.done() and not self._asked:
            self._asked = True
            self._interrupt()
        return False


def relay(future: RelayFuture) -> Callable[[Callable[[], bytes]], None]:
    """Return what takes the reply in: prints where the call was made, then ends `future`."""
    context = copy_context()

    def take(reply: Callable[[], bytes]) -> None:
        try:
            ok, outcome, written = from_bytes(reply())
        except BaseException as lost:  # noqa: BLE001 - a lost worker or an unreadable reply ends the call
            future.set_exception(lost)
            return
        context.run(_print, written)
        if ok:
            future.set_result(outcome)
            return
        exc, text = outcome
        exc.add_note(f"In the worker:\n{text}")
        future.set_exception(exc)

    return take


def _print(written: list[tuple[str, str]]) -> None:
    for stream, text in written:
        getattr(sys, stream).write(text)


class _Router:
    """Stands for a worker's stream: what a call prints goes into its reply, all else where it always went."""

    def __init__(self, name: str, original: Any) -> None:  # Any: a text stream
        self._name = name
        self._original = original

    def write(self, text: str) -> int:
        written = getattr(_local, "written", None)
        if written is None:
            return int(self._original.write(text))
        written.append((self._name, text))
        return len(text)

    def __getattr__(self, name: str) -> Any:  # Any: of the original stream
        return getattr(self._original, name)


@contextmanager
def _printing_to(written: list[tuple[str, str]]) -> Iterator[None]:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, _Router):
            setattr(sys, name, _Router(name, stream))
    _local.written = written
    try:
        yield
    finally:
        _local.written = None


@contextmanager
def _interruptible(token: str, pid_file: str | None) -> Iterator[None]:
    _threads[token] = threading.get_ident()
    if pid_file is not None:
        Path(pid_file).write_text(str(os.getpid()), encoding="ascii")
    try:
        yield
    finally:
        _threads.pop(token, None)
        if pid_file is not None:
            with suppress(FileNotFoundError):
                Path(pid_file).unlink()


def interrupt_here(token: str) -> bool:
    """Raise KeyboardInterrupt in the thread of this process that runs the call; tell whether there is one."""
    import ctypes

    thread = _threads.get(token)
    if thread is None:
        return False
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    return bool(set_exception(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)))
