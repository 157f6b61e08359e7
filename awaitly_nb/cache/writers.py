"""Who is writing value files, so that a file without a row can be told from one whose row is about to be written.

A process that writes or removes value files takes the record lock of its token and leaves a note of that name. At the
next open, a note whose lock is free belongs to a process that died without tidying up: only then is the folder
searched.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from awaitly_nb.cache.folder import WRITER_NOTE
from awaitly_nb.stores import process_token

if TYPE_CHECKING:
    from pathlib import Path

    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.locks import KernelFlight

__all__ = ["announce", "dead_writers", "is_alive", "withdraw"]


def announce(folder: Folder) -> None:
    """Leave this process's note, because it is about to write or to remove a value file."""
    token = process_token()
    note = folder.directory / (WRITER_NOTE + token)
    if not note.exists():
        # The lock first: a note without a lock would look like that of a dead process.
        _lock_of(folder, token).try_acquire()
        with contextlib.suppress(OSError):
            note.touch(mode=0o600)


def withdraw(folder: Folder) -> None:
    """Remove this process's note: all it wrote has its row, and what it removed has none."""
    with contextlib.suppress(OSError):
        (folder.directory / (WRITER_NOTE + process_token())).unlink()


def dead_writers(folder: Folder) -> list[Path]:
    """Return the notes of processes that died while they may have been writing or removing value files."""
    try:
        notes = [path for path in folder.directory.iterdir() if path.name.startswith(WRITER_NOTE)]
    except OSError:
        return []
    return [note for note in notes if not is_alive(folder, note.name.removeprefix(WRITER_NOTE))]


def is_alive(folder: Folder, token: str) -> bool:
    """Tell whether the process of that token still lives; one that never locked counts as dead."""
    if token == process_token():
        return True
    if not folder.locks.path.exists():
        return False  # nor is the file made by asking
    lock = _lock_of(folder, token)
    if lock.try_acquire():
        lock.release()
        return False
    return True


def _lock_of(folder: Folder, token: str) -> KernelFlight:
    return folder.locks.flight("writer " + token)
