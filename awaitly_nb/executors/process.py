"""Worker processes on this machine, through loky: functions of a notebook travel by value.

loky and not `ProcessPoolExecutor`: that one runs an unguarded script again in each worker, and stays broken for good
once a worker was killed.
"""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.codec import to_bytes
from awaitly_nb.errors import MissingExtraError
from awaitly_nb.executors.remote import RelayFuture, work

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["PROCESS", "ProcessExecutor"]

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
