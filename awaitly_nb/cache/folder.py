"""One cache folder as this process sees it: its store, the tier over it, the locks in it and the keys to it.

There is one `Folder` for each directory and process, whatever number of caches and namespaces use it. It keeps working
when the directory does not: a folder that was deleted is made anew, a damaged database is set aside and rebuilt (see
`repair`), and what cannot be used at all raises `StoreError`, which caches turn into misses.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the public wrapper makes enums of handlers: 10 us a pair
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awaitly_nb.cache.tier import Tier
from awaitly_nb.codec import default_keyring
from awaitly_nb.errors import StoreError
from awaitly_nb.locks import RecordLocks
from awaitly_nb.stores import ANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from awaitly_nb.codec import Keyring
    from awaitly_nb.stores import Body, DiskStore, Expect, Record, Version

__all__ = ["FILE_FROM", "LOCK_FILE", "WRITER_NOTE", "Folder", "forget_folders", "open_folder"]

FILE_FROM: Final = 2**15
"""From this size a body goes into a file of its own, and this process leaves its note first."""

WRITER_NOTE: Final = "cache.db-writer-"
"""Begins the name of the note that a process leaves while it may be writing value files."""

LOCK_FILE: Final = "cache.db-locks"  # diskcache's own check passes over names that begin like its database

T = TypeVar("T")

_MOST_REMOVED: Final = 100_000


class Folder:
    """A `Store` over one directory that keeps working when the directory does not.

    Parameters
    ----------
    store
        The records.
    keyring
        The secrets that sign and verify here.
    """

    def __init__(self, store: DiskStore, keyring: Keyring) -> None:
        self.store = store
        self.keyring = keyring
        self.directory: Path = store.directory
        self.tier = Tier()
        # What was asked to go in this process, so that its next miss can say so.
        self.removed: set[str] = set()
        self.locks = RecordLocks(store.directory / LOCK_FILE)
        self.checked: dict[str, object] = {}
        """Of records whose buffers were authenticated in this process: the stamps of their files, by version."""
        self.told: set[object] = set()
        """What was warned of in this process, so that it is said once for the folder."""
        self._settled = False
        store.database.only_whole = True
        store.before_unlink = self._announce
        _live.add(self)

    def stamp(self) -> int:
        """Return a number that stays the same while nobody else writes to the folder; raises StoreError."""
        return self._guard(self.store.database.version)

    def seen_stamp(self) -> int:
        """Return the stamp as it was read last. An older one is safe: at worst a row is looked at once more."""
        return self.store.database.seen or self.stamp()

    def fetch(self, name: str) -> tuple[str, Body, Version, float, Any] | None:
        """Return head, body, version, time of writing and stamp of a record, or None."""
        return self._guard(self.store.fetch, name)

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        return self._guard(self.store.read, name)

    def version(self, name: str) -> Version | None:
        """Return the version of a record without reading it, or None."""
        return self._guard(self.store.version, name)

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`."""
        self._guard(self.store.database.fresh)
        return self.store.scan(prefix, bodies=bodies)

    def names(self, prefix: str = "", **options: Any) -> list[str]:  # Any: those of `DiskStore.names`
        """Return the names that begin with `prefix`, oldest first."""
        self._guard(self.store.database.fresh)
        return self._guard(lambda: self.store.names(prefix, **options))

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits of the records whose names begin with `prefix`."""
        self._guard(self.store.database.fresh)
        self.flush_hits()
        return self._guard(self.store.heads, prefix)

    def swap(
        self,
        name: str,
        head: str,
        body: Sequence[Body],
        *,
        expect: Expect = ANY,
        written_at: float | None = None,
        expires_at: float | None = None,
    ) -> Version | None:
        """Write a record; an interrupt meanwhile waits for the commit. See `DiskStore.swap`."""
        if not self._settled:
            self._guard(self.store.database.connection)  # here it can be interrupted, and below not
        if sum([len(part) for part in body]) >= FILE_FROM:
            self._announce()
        return uninterrupted(
            lambda: self._guard(
                lambda: self.store.swap(name, head, body, expect=expect, written_at=written_at, expires_at=expires_at)
            )
        )

    def delete(self, names: Iterable[str], *, version: Version | None = None) -> int:
        """Remove these records, only where they have `version` if one is given; return how many there were.

        An interrupt meanwhile waits until their files are gone too.
        """
        names = list(names)
        if not self._settled:
            self._guard(self.store.database.connection)
        self.tier.drop(*names)
        if version is None and len(self.removed) < _MOST_REMOVED:
            self.removed.update(names)
        try:
            return uninterrupted(lambda: self._guard(lambda: self.store.delete(names, version=version)))
        finally:
            self.tier.drop(*names)

    def flush_hits(self) -> None:
        """Write down how often entries were served since the last time, if the database that served them is there."""
        # Else the end of a kernel would make a deleted folder again, or count for whatever has taken its place.
        if (hits := self.tier.take_hits()) and self.store.database.is_current():
            try:
                self.store.count_hits(hits)
            except StoreError:
                return  # A read-only folder is served without counting.

    def now(self) -> datetime:
        """Return the store's time."""
        return self.store.now()

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        self.store.close()
        self.tier.clear()
        self._settled = False

    def _settle(self) -> None:
        """Notice what others left behind: files of dead writers, value files that lost their database."""
        self._settled = True
        try:
            mode = self.directory.stat().st_mode
            names = [path.name for path in self.directory.iterdir()]
        except OSError:
            return
        if mode & 0o002 or not self.store.database.whole or any(name.startswith(WRITER_NOTE) for name in names):
            from awaitly_nb.cache.repair import settle

            settle(self)

    def _announce(self) -> None:
        from awaitly_nb.cache.writers import announce

        announce(self)

    def _guard(self, do: Callable[..., T], *args: Any) -> T:
        """Do it; where the database turns out damaged or new, have it rebuilt or filled and do it once more."""
        try:
            if not (self._settled and self.store.database.whole):
                self.store.database.connection()
                self._settle()
            return do(*args)
        except StoreError as exc:
            from awaitly_nb.stores import DamagedDatabaseError, UnfilledDatabaseError

            if isinstance(exc, UnfilledDatabaseError):
                self._settle()
            elif isinstance(exc, DamagedDatabaseError):
                from awaitly_nb.cache.repair import rebuild

                self.tier.clear()
                rebuild(self, str(exc))
            else:
                raise
            return do(*args)


def uninterrupted(do: Callable[[], T]) -> T:
    """Do it, and let an interrupt from the keyboard wait until it is done."""
    if threading.current_thread() is not threading.main_thread():
        return do()  # Signals are only ever delivered to the main thread.
    pending: list[Any] = []  # Any: the frame of the signal
    handler = _signal.signal(_signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        return do()
    finally:
        # None: a handler that was not installed from Python, and cannot be put back from it.
        _signal.signal(_signal.SIGINT, _signal.default_int_handler if handler is None else handler)
        if pending and callable(handler):
            handler(*pending[0])


_folders: dict[tuple[str, bool, str], Folder] = {}
_folders_lock = threading.Lock()
_live: weakref.WeakSet[Folder] = weakref.WeakSet()


def open_folder(directory: str | os.PathLike[str], *, mmap: bool = True) -> Folder:
    """Return this process's folder for `directory`; nothing is touched until it is used."""
    from awaitly_nb.stores import DiskStore

    keyring = default_keyring()
    key = (os.path.realpath(Path(directory).expanduser()), mmap, keyring.own.id)
    with _folders_lock:
        if (folder := _folders.get(key)) is None:
            if not _folders:
                import atexit

                atexit.register(forget_folders)
            folder = _folders[key] = Folder(DiskStore(key[0], mmap=mmap), keyring)
        return folder


def forget_folders() -> None:
    """Write down what is pending, close every folder and forget it, as at the end of the process."""
    from awaitly_nb.cache.writers import withdraw

    with _folders_lock:
        folders = list(_folders.values())
        _folders.clear()
    for folder in folders:
        folder.flush_hits()
        withdraw(folder)
        folder.close()


def _after_fork() -> None:
    global _folders_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _folders_lock = threading.Lock()
    for folder in list(_live):
        folder.tier.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
