"""One cache folder as this process sees it: its store, the tier over it, the locks in it, who writes in it, its bound.

There is one `Folder` for each directory and process, whatever number of caches and namespaces use it. It keeps working
when the directory does not: a folder that was deleted is made anew, a damaged database is set aside and rebuilt (see
`repair`), and what cannot be used at all raises `StoreError`, which caches turn into misses.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awaitly_nb.cache.entry import SEPARATOR, Missed, number_of
from awaitly_nb.cache.sealed import open_sealed, part_digest
from awaitly_nb.cache.tier import Tier
from awaitly_nb.codec import default_keyring, read_head
from awaitly_nb.config import settings
from awaitly_nb.errors import CacheError, EvictedWarning, StoreError, warn
from awaitly_nb.interrupts import uninterrupted
from awaitly_nb.locks import RecordLocks
from awaitly_nb.stores import ABSENT, ANY, process_token
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence
    from datetime import datetime

    from awaitly_nb.cache.sealed import Sealed
    from awaitly_nb.cache.stepcache import Make, Seal
    from awaitly_nb.codec import Keyring
    from awaitly_nb.locks import KernelFlight
    from awaitly_nb.stores import Body, DiskStore, Expect, Fetched, Record, Version

__all__ = ["PART", "Folder", "SizeLimit", "dead_writers", "forget_folders", "is_alive", "open_folder", "process_note"]

_FILE_FROM: Final = 2**15
"""From this size a body goes into a file of its own, and this process leaves its note first."""

_WRITER_NOTE: Final = "cache.db-writer-"
_GONE: Final = "\x1egone\x1f"
"""Begins the name of a record that says what was removed here on purpose, so that no remote is asked for it."""
PART: Final = "\x1epart\x1f"
"""Begins the name of a record that is no entry: a part of keys that many entries share."""
_MOSTPARTS: Final = 10_000
_LOCK_FILE: Final = "cache.db-locks"  # diskcache's own check passes over names that begin like its database

_ROOM: Final = 0.95  # evicting goes a little below the bound, so that not every store has to evict
_UNKNOWN_S: Final = 1.0  # what a step is taken to cost when nobody measured it
_HALF_LIFE_S: Final = 86_400.0  # an entry that is this old is worth half as much
_EMPTY_BYTES: Final = 64_000  # what a folder without entries takes: the tables
_NAMED: Final = 3

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
        self.entries: dict[str, Sealed] = {}
        # What was asked to go in this process, so that its next miss can say so.
        self.removed: set[str] = set()
        self.locks = RecordLocks(store.directory / _LOCK_FILE)
        self.checked: dict[str, object] = {}
        """Of records whose buffers were authenticated in this process: the stamps of their files, by version."""
        self.told: set[object] = set()
        """What was warned of in this process, so that it is said once for the folder."""
        self.tier = Tier(self)
        """The same in memory as well."""
        self._settled = False
        self._seen: dict[str, bool] = {}
        store.database.only_whole = True
        store.before_unlink = self._announce
        _live.add(self)

    def __repr__(self) -> str:
        return str(self.directory)

    def secrets(self) -> Keyring:
        """Return the secrets that sign and verify here."""
        return self.keyring

    def stamp(self) -> int:
        """Return a number that stays the same while nobody else writes to the folder; raises StoreError."""
        return self._guard(self.store.database.version)

    def seen_stamp(self) -> int:
        """Return the stamp as it was read last. An older one is safe: at worst a row is looked at once more."""
        return self.store.database.seen or self.stamp()

    def open(self, name: str, make: Make) -> Sealed | Missed:
        """Return the entry called `name` as `make` opens it, or why there is none."""
        found = self.peek(name, make)
        return Missed("absent", self.why_absent(name)) if found is None else found

    def peek(self, name: str, make: Make) -> Sealed | None:
        """Return the entry called `name` as `make` opens it, or None."""
        found = self.fetch(name)
        if found is None:
            return None
        head, body, version, _, stamp, _ = found
        return make(name, head, body, version, stamp)

    def sealed(self, name: str, *, verify: bool = True, checked: bool = False) -> Sealed | None:
        """Return the entry called `name`, verified, for a reader who is not served; None where there is none.

        Parameters
        ----------
        verify
            Whether its signature is looked at.
        checked
            True for who reads its mark only: large buffers are not authenticated then, and must not be used.

        Raises
        ------
        EnvelopeError
            It does not verify.
        StoreError
            The folder cannot be read.
        """
        found = self.fetch(name)
        if found is None:
            return None
        head, body = found[:2]
        return open_sealed(name, head, body, self.keyring, verify=verify, checked=checked, home=self)

    def put(self, name: str, sealed: Sealed, seal: Seal) -> None:
        """Write an entry."""
        del sealed
        head, body = seal()
        self.removed.discard(name)
        self.swap(name, head, body)

    def head(self, name: str) -> str | None:
        """Return the head of a record, or None."""
        return self._guard(self.store.head, name)

    def dated(self, prefix: str = "") -> list[tuple[str, str | None]]:
        """Return the names that begin with `prefix`, oldest first, with the heads of those that may expire."""
        self._guard(self.store.database.fresh)
        return self._guard(self.store.dated, prefix)

    def flight(self, name: str) -> KernelFlight:
        """Return the right to compute `name`, among all processes that use the folder."""
        return self.locks.flight(name)

    def why_absent(self, name: str) -> str:
        """Return why there is no record of that name, as far as this process knows."""
        return "removed from the cache" if name in self.removed else ""

    def unwritten_since(self, moment: object) -> bool:
        """Return False: it is not known."""
        del moment
        return False

    def share(self, text: bytes) -> str | None:
        """Return the digest of a part of keys that is stored once for all; None for one that was not seen before."""
        digest = part_digest(text)
        stored = self._seen.get(digest)
        if stored:
            return digest
        if stored is None:  # most parts are seen once, as those of arguments
            if len(self._seen) >= _MOSTPARTS:
                self._seen.clear()
            self._seen[digest] = False
            return None
        try:
            self.write(PART + digest, "{}", [text], expect=ABSENT)
        except StoreError:
            return None  # whoever writes the entry tells
        self._seen[digest] = True
        return digest

    def shared(self, digest: str) -> bytes | None:
        """Return the part that a digest stands for, or None."""
        try:
            found = self.fetch(PART + digest)
        except StoreError:
            return None
        return None if found is None else bytes(found[1])

    def fetch(self, name: str) -> Fetched | None:
        """Return the record called `name` on the road of a hit, or None."""
        if not (self._settled and self.store.database.whole):
            return self._guard(self.store.fetch, name)
        try:
            return self.store.fetch(name)  # as `_guard` does it, without a call around
        except StoreError as exc:
            self._repair(exc)
            return self.store.fetch(name)

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
        return self._guard(self.store.names, prefix, **options)

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits of the records whose names begin with `prefix`."""
        self._guard(self.store.database.fresh)
        self.flush_hits()
        return self._guard(self.store.heads, prefix)

    def heads_of(self, prefixes: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return as `heads` the records of several prefixes, each with few of all."""
        self._guard(self.store.database.fresh)
        return self._guard(self.store.heads_of, prefixes)

    def swap(
        self,
        name: str,
        head: str,
        body: Sequence[Body],
        *,
        expect: Expect = ANY,
        written_at: float | None = None,
    ) -> Version | None:
        """Write a record; an interrupt meanwhile waits for the commit. See `DiskStore.swap`."""
        self.tier.drop(name)
        try:
            return self.write(name, head, body, expect=expect, written_at=written_at)
        finally:
            self.tier.drop(name)

    def write(
        self,
        name: str,
        head: str,
        body: Sequence[Body],
        *,
        expect: Expect = ANY,
        written_at: float | None = None,
    ) -> Version | None:
        """Write a record as `swap` does, for the tier, which knows of it."""
        if not self._settled:
            self._guard(self.store.database.connection)  # here it can be interrupted, and below not
        if sum([len(part) for part in body]) >= _FILE_FROM:
            self._announce()
        version: Version | None = uninterrupted(
            self._guard, self.store.swap, name, head, body, expect=expect, written_at=written_at
        )
        return version

    def delete(self, names: Iterable[str], *, version: Version | None = None, for_good: bool = True) -> int:
        """Remove these records, only where they have `version` if one is given; return how many there were.

        An interrupt meanwhile waits until their files are gone too. What is removed for good is not taken from a remote
        again: whoever removes a result wants it computed.
        """
        names = list(names)
        if not self._settled:
            self._guard(self.store.database.connection)
        self.tier.drop(*names)
        if version is None and for_good:
            self._remember_removed(names)
        try:
            removed: int = uninterrupted(self._guard, self.store.delete, names, version=version)
        finally:
            self.tier.drop(*names)
        return removed

    def _remember_removed(self, names: list[str]) -> None:
        if len(self.removed) < _MOST_REMOVED:
            self.removed.update(names)
        if settings().remote is not None:
            for name in names:
                self.write(_GONE + name, "{}", [])

    def is_removed(self, name: str) -> bool:
        """Tell whether an entry was removed for good here, by this process or another."""
        return name in self.removed or self.version(_GONE + name) is not None

    def restore(self, name: str) -> None:
        """Drop the note that an entry was removed: there is one again."""
        self.removed.discard(name)
        if self.version(_GONE + name) is not None:
            self._guard(self.store.delete, [_GONE + name])

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
        self._seen.clear()
        self._settled = False

    def _settle(self) -> None:
        """Notice what others left behind: files of dead writers, value files that lost their database."""
        self._settled = True
        try:
            mode = self.directory.stat().st_mode
            names = [path.name for path in self.directory.iterdir()]
        except OSError:
            return
        if mode & 0o002 or not self.store.database.whole or any(name.startswith(_WRITER_NOTE) for name in names):
            from awaitly_nb.cache.repair import settle

            settle(self)

    def _announce(self) -> None:
        """Leave this process's note, because it is about to write or to remove a value file."""
        note = self.directory / process_note()
        if not note.exists():
            # The lock first: a note without a lock would look like that of a dead process.
            _lock_of(self, process_token()).try_acquire()
            with contextlib.suppress(OSError):
                note.touch(mode=0o600)

    def withdraw(self) -> None:
        """Remove this process's note: all it wrote has its row, and what it removed has none."""
        with contextlib.suppress(OSError):
            (self.directory / process_note()).unlink()

    def _guard(self, do: Callable[..., T], *args: Any, **options: Any) -> T:  # Any: of what is done
        """Do it; where the database turns out damaged or new, have it rebuilt or filled and do it once more."""
        try:
            if not (self._settled and self.store.database.whole):
                self.store.database.connection()
                self._settle()
            return do(*args, **options)
        except StoreError as exc:
            self._repair(exc)
            return do(*args, **options)

    def _repair(self, exc: StoreError) -> None:
        """Have a database rebuilt or filled that turned out damaged or new; raise any other error."""
        from awaitly_nb.stores import DamagedDatabaseError, UnfilledDatabaseError

        if isinstance(exc, UnfilledDatabaseError):
            self._settle()
        elif isinstance(exc, DamagedDatabaseError):
            from awaitly_nb.cache.repair import rebuild

            self.tier.clear()
            rebuild(self, str(exc))
        else:
            raise exc


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
    """Write down what is pending, close every folder and drop it, as at the end of the process."""
    with _folders_lock:
        folders = list(_folders.values())
        _folders.clear()
    for folder in folders:
        folder.flush_hits()
        folder.withdraw()
        folder.close()


def _after_fork() -> None:
    global _folders_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _folders_lock = threading.Lock()
    for folder in list(_live):
        folder.tier.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# Who is writing value files: so that a file without a row can be told from one whose row is about to be written. A
# process that writes or removes value files takes the record lock of its token and leaves a note of that name. At the
# next open, a note whose lock is free belongs to a process that died without tidying up: only then is the folder
# searched.


def process_note() -> str:
    """Return the name of the note that this process leaves while it may be writing value files."""
    return _WRITER_NOTE + process_token()


def dead_writers(folder: Folder) -> list[Path]:
    """Return the notes of processes that died while they may have been writing or removing value files."""
    try:
        notes = [path for path in folder.directory.iterdir() if path.name.startswith(_WRITER_NOTE)]
    except OSError:
        return []
    return [note for note in notes if not is_alive(folder, note.name.removeprefix(_WRITER_NOTE))]


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


# A bound, when the user sets one


class SizeLimit:
    """At most so many bytes: what is cheapest to compute again, for the space it takes, goes first.

    Parameters
    ----------
    folder
        The folder.
    limit
        Its bytes.
    """

    def __init__(self, folder: Folder, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def refuse(self, key: str, size: int, *, beside: int = 0) -> None:
        """Raise CacheError for a value that exceeds the bound: alone, or with so many bytes that have to stay."""
        if size + beside + _EMPTY_BYTES > self._limit:
            came = f"the {show_size(beside)} that came with it and " if beside else ""
            raise CacheError(
                f"{key!r} takes {show_size(size)}, which with {came}the {show_size(_EMPTY_BYTES)} of an empty "
                f"folder is more than the whole size_limit of {show_size(self._limit)}, so it is not stored; raise "
                "size_limit, or store less"
            )

    def enforce(self, *, spare: Container[str]) -> int:
        """Remove entries until the folder is within its bound, and say so; return how many.

        Entries that somebody is computing anew are left, and so are those in `spare`, the records just stored.
        """
        folder, limit = self._folder, self._limit
        volume = folder.store.volume()
        if volume <= limit:
            return 0
        now = time.time()
        wanted = volume - int(limit * _ROOM)
        candidates = sorted(
            (_worth(head, size, now), name, size) for name, head, size in folder.store.sizes() if name not in spare
        )
        chosen: list[str] = []
        freed = 0
        for _, name, size in candidates:
            if freed >= wanted:
                break
            flight = folder.locks.flight(name)
            if flight.try_acquire():
                flight.release()
                chosen.append(name)
                freed += size
        removed = folder.delete(chosen, for_good=False) if chosen else 0
        if removed:
            keys = ", ".join(repr(name.partition(SEPARATOR)[2]) for name in chosen[:_NAMED])
            more = f" and {removed - _NAMED} more" if removed > _NAMED else ""
            warn(
                f"removed {keys}{more} ({show_size(freed)}) to keep {folder.directory} within its size_limit of "
                f"{show_size(limit)}",
                EvictedWarning,
            )
        return removed


def _worth(head: str, size: int, now: float) -> float:
    """Return the seconds that recomputing an entry takes for each of its bytes, less with age."""
    members: dict[str, Any] = read_head(head) or {}
    seconds, created = number_of(members.get("duration_s")), number_of(members.get("created_at"))
    cost = _UNKNOWN_S if seconds is None else seconds
    age = 0.0 if created is None else max(0.0, now - created)
    return cost / max(size, 1) / (1 + age / _HALF_LIFE_S)
