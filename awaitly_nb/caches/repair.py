"""Putting a folder right: orphan files of dead writers, and a database that is damaged or gone.

A damaged database is renamed, never deleted, under a lock that one process at a time can hold; the new one is filled
with every row of the old that can still be read and with every value file, as far as their signatures verify. Kernels
that have the old file open see at their next look that another one is at its place.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from awaitly_nb.caches.writers import dead_writers, is_alive
from awaitly_nb.codec.envelope import EnvelopeError, open_envelope, read_head
from awaitly_nb.codec.secrets import default_keyring
from awaitly_nb.errors import CacheUnusableWarning, StoreError, warn
from awaitly_nb.stores import ABSENT
from awaitly_nb.stores.disk.database import DATABASE
from awaitly_nb.stores.disk.salvage import readable_rows, sound

if TYPE_CHECKING:
    from awaitly_nb.caches.folder import Folder
    from awaitly_nb.stores import Body

__all__ = ["adopt_files", "rebuild", "settle", "sweep"]

_REPAIR: Final = "repair"
_WAIT_S: Final = 120.0


def settle(folder: Folder) -> None:
    """Do what an open finds to be done: files of dead writers, and value files that lost their database."""
    with contextlib.suppress(OSError):
        if os.name == "posix" and folder.directory.stat().st_mode & stat.S_IWOTH:
            warn(
                f"anybody on this machine can write to the cache {folder.directory}; what they put there is not used, "
                f"but they can remove what you keep: chmod 700 {folder.directory}",
                CacheUnusableWarning,
            )
    database = folder.store.database
    if database.created:
        database.created = False
        if next(folder.store.files.paths(), None) is not None:
            kept = adopt_files(folder)
            found = f"{kept} entries were found again in their files"
            warn(f"the database of the cache {folder.directory} was gone; {found}", CacheUnusableWarning)
    if dead := set(dead_writers(folder)):
        sweep(folder, dead)


def sweep(folder: Folder, tokens: set[str] | None = None) -> list[str]:
    """Remove files that have no row and whose writer is dead; of these writers only, if any are named. Return them."""
    files = folder.store.files
    # Files first, then who lives, then the rows: a dead writer adds no row, and one that lives is left alone.
    found = [(path, token) for path in files.paths() if (token := files.token_of(path)) is not None]
    if tokens is None:
        alive = {token: is_alive(folder, token) for token in {token for _, token in found}}
        found = [(path, token) for path, token in found if not alive[token]]
    else:
        found = [(path, token) for path, token in found if token in tokens]
    files.remove_empty()
    if not found:
        return []
    named = folder.store.filenames()
    orphans = [path for path, _ in found if path not in named]
    for path in orphans:
        files.remove(path)
    return orphans


def rebuild(folder: Folder, reason: str) -> None:
    """Set a damaged database aside and make a new one from what verifies; raises StoreError where it cannot be done."""
    lock = folder.locks.flight(_REPAIR)
    until = time.monotonic() + _WAIT_S
    while not lock.try_acquire():
        if time.monotonic() > until:
            raise StoreError(f"{reason}; {lock.holder()} is repairing it")
        time.sleep(0.05)
    try:
        folder.store.close()
        path = folder.directory / DATABASE
        if sound(path):
            return  # Another process was faster.
        aside = _set_aside(folder)
        kept = _salvage(folder, aside) + adopt_files(folder)
        folder.store.database.created = False
        rescued = f"it was kept as {Path(aside).name}, and {kept} entries were rescued into a new one"
        warn(f"{reason}; {rescued}", CacheUnusableWarning)
    finally:
        lock.release()


def _set_aside(folder: Folder) -> str:
    """Rename the database with its write-ahead log, so that both stay together; return its new path."""
    stamp = datetime.fromtimestamp(time.time()).astimezone().strftime("%Y%m%d-%H%M%S-%f")
    old = os.fspath(folder.directory / DATABASE)
    aside = f"{old}.damaged-{stamp}"
    try:
        Path(old).rename(aside)
    except OSError as exc:
        raise StoreError(f"the damaged database {old} cannot be renamed ({exc})") from exc
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(OSError):
            Path(old + suffix).rename(aside + suffix)
    return aside


def _salvage(folder: Folder, aside: str) -> int:
    """Copy the small entries that can still be read, as they are; return how many verified."""
    kept = 0
    for name, head, body, written_at, expires_at in readable_rows(aside):
        if _verifies(name, head, body):
            version = folder.store.swap(name, head, [body], expect=ABSENT, written_at=written_at, expires_at=expires_at)
            kept += version is not None
    return kept


def adopt_files(folder: Folder) -> int:
    """Give every value file that verifies and has no row its row again; return how many."""
    store, kept = folder.store, 0
    named = store.filenames()
    newest: dict[str, tuple[float, float | None, str, str, int]] = {}
    for path in store.files.paths():
        if path in named:
            continue
        try:
            name, head, size = store.files.front(path)
            if not _verifies(name, head, store.files.read(path, size)):
                continue
        except (StoreError, OSError):
            continue
        stored_at, expires_at = _times(head)
        if name not in newest or stored_at > newest[name][0]:
            newest[name] = (stored_at, expires_at, head, path, size)
    for name, (stored_at, expires_at, head, path, size) in sorted(newest.items(), key=lambda item: item[1][0]):
        kept += store.adopt(name, head, path, size, written_at=stored_at, expires_at=expires_at)
    return kept


def _times(head: str) -> tuple[float, float | None]:
    members = read_head(head) or {}
    stored_at, expires_at = members.get("stored_at"), members.get("expires_at")
    return (
        float(stored_at) if isinstance(stored_at, int | float) else 0.0,
        float(expires_at) if isinstance(expires_at, int | float) else None,
    )


def _verifies(name: str, head: str, body: Body) -> bool:
    try:
        open_envelope(name, head, body, default_keyring())
    except EnvelopeError:
        return False
    return True
