"""Worker processes on this machine, through loky, and both ends of a call in another process.

loky and not `ProcessPoolExecutor`: that one runs an unguarded script again in each worker, and stays broken for good
once a worker was killed. Functions of a notebook travel by value; what came of a call, printed and read, is told here.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.codec import from_bytes, to_bytes
from awaitly_nb.errors import MissingExtraError
from awaitly_nb.keys import note_files, track_files, tracked_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PROCESS", "ProcessExecutor", "RelayFuture", "answer", "interrupt_here", "interruptible", "work"]

_IDLE_S = 300
"""Seconds after which idle workers end."""


class ProcessExecutor:
    """Runs each call in one of as many worker processes as there are processors."""

    tells_files = True

    @property
    def concurrency(self) -> int:
        """How many calls run at once."""
        return os.cpu_count() or 1

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start `fn(*args, **kwargs)` in a worker, and return its future; cancelling it interrupts the worker."""
        try:
            from loky import get_reusable_executor
        except ImportError as exc:
            raise MissingExtraError("loky", "process") from exc

        token = uuid.uuid4().hex
        pid_file = Path(tempfile.gettempdir()) / f"awaitly-worker-{token}"
        future = RelayFuture(lambda: _interrupt(pid_file))
        pool = get_reusable_executor(max_workers=self.concurrency, timeout=_IDLE_S)
        inner = pool.submit(work, to_bytes((fn, args, kwargs)), token, str(pid_file), future.home)

        def ended(done: Future[bytes]) -> None:
            pid_file.unlink(missing_ok=True)  # a worker that was killed leaves it behind
            future.take(done.result)

        inner.add_done_callback(ended)
        return future


def _interrupt(pid_file: Path) -> None:
    # No file: the call has not begun, or is over.
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGINT)


PROCESS = ProcessExecutor()


_threads: dict[str, int] = {}
_local = threading.local()


def work(call: bytes, token: str, pid_file: str, home: str | None = None) -> bytes:
    """Run a packed call in this process, and return the packed reply.

    Parameters
    ----------
    call
        `to_bytes((fn, args, kwargs))`.
    token
        Names this call, for `interrupt_here`.
    pid_file
        Where to leave this process's id while the call runs.
    home
        As for `answer`.
    """

    def made() -> Any:  # Any: whatever the user's function returns
        fn, args, kwargs = from_bytes(call)
        return fn(*args, **kwargs)

    with interruptible(token, pid_file):
        return answer(made, home)


def answer(make: Callable[[], Any], home: str | None = None) -> bytes:  # Any: whatever the user's function returns
    """Return the packed reply of a call: what it returned or raised, what it printed and read, and the seconds it took.

    Parameters
    ----------
    make
        Makes the call.
    home
        The folder from which the step names its files; None where nobody wants to know what it reads.
    """
    written: list[tuple[str, str]] = []
    tracker = None if home is None else track_files(home=home)
    started = time.perf_counter()

    def packed(ok: bool, outcome: object, took_s: float) -> bytes:  # noqa: FBT001 - private
        return to_bytes((ok, outcome, written, took_s, () if tracker is None else tracker.stamps()))

    with _printing_to(written):
        try:
            with nullcontext() if tracker is None else tracker:
                value = make()
                if hasattr(type(value), "__await__"):
                    import asyncio

                    value = asyncio.run(_awaited(value))
                took_s = time.perf_counter() - started
            return packed(True, value, took_s)  # noqa: FBT003 - the first of a pair
        except BaseException as exc:  # noqa: BLE001 - raised again on the caller's side
            took_s = time.perf_counter() - started
            text = "".join(traceback.format_exception(exc))
            try:
                return packed(False, (exc, text), took_s)  # noqa: FBT003
            except Exception:  # noqa: BLE001 - the exception's own pickling may raise anything
                from awaitly_nb.errors import RemoteError

                stand_in = RemoteError(str(exc), type_name=type(exc).__qualname__, traceback_text=text)
                return packed(False, (stand_in, text), took_s)  # noqa: FBT003


async def _awaited(value: Any) -> Any:  # Any: whatever it comes to
    return await value


class RelayFuture(Future[Any]):
    """The future of a call that runs elsewhere; cancelling it interrupts the call there.

    Parameters
    ----------
    interrupt
        Interrupts the call.

    Attributes
    ----------
    took_s
        Seconds that the call itself took over there, without waiting for a worker and for its turn; None until known.
    home
        As for `answer`.
    """

    def __init__(self, interrupt: Callable[[], object]) -> None:
        super().__init__()
        self.took_s: float | None = None
        self._asked = False
        self._interrupt = interrupt
        self._context = copy_context()
        self.home = tracked_from()
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Interrupt the call, once; it ends with KeyboardInterrupt over there, and nobody waits for it here."""
        if not self.done() and not self._asked:
            self._asked = True
            self._interrupt()
        return False

    def take(self, reply: Callable[[], bytes]) -> None:
        """Take the reply in: tell of prints and files where the call was made, then be done. The first reply counts."""
        if self.done():
            return
        with suppress(InvalidStateError):  # another thread took another reply in meanwhile
            try:
                ok, outcome, written, self.took_s, files = from_bytes(reply())
            except BaseException as lost:  # noqa: BLE001 - a lost worker or an unreadable reply ends the call
                self.set_exception(lost)
                return
            if written:
                self._context.run(_print, written)
            if files:
                self._context.run(note_files, files, elsewhere=True)
            if ok:
                self.set_result(outcome)
                return
            exc, text = outcome
            exc.add_note(f"In the worker:\n{text}")
            self.set_exception(exc)


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
def interruptible(token: str, pid_file: str | None = None) -> Iterator[None]:
    """Let `interrupt_here(token)` find this thread while the block runs."""
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
