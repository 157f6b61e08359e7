"""Whose turn it is to write: a hint between processes, so that they need not wait for each other as SQLite does.

SQLite's own waiting sleeps for 1, 2, 5, 10 and more milliseconds, and a write takes a twentieth of one. Nothing depends
on this lock: SQLite's keeps the writers apart, and who has waited here for a millisecond or two goes on to it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any, Final

fcntl: Any = None  # Any: a module
with suppress(ImportError):  # Windows
    import fcntl

__all__ = ["WriterQueue"]

_TURNS: Final = 300
_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_let_others_run = getattr(os, "sched_yield", lambda: time.sleep(0))


class WriterQueue:
    """A record lock on a file of its own; the system takes it from a process that dies.

    Parameters
    ----------
    path
        The file, made when first needed; where that cannot be, nobody waits here.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def enter(self) -> None:
        """Wait a moment while another process is writing."""
        if fcntl is None:
            return
        with suppress(OSError):  # a folder that cannot be written, a file system without locks, a link
            if self._descriptor is None:
                self._descriptor = os.open(self._path, _FLAGS, 0o600)
            for _ in range(_TURNS):
                try:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    _let_others_run()
                else:
                    return

    def leave(self) -> None:
        """Let the next one write."""
        if self._descriptor is not None:
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; the next `enter` opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)
