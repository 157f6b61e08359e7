"""The in-memory tier: a store around a store, with opened entries, each with the stamp of when it was current.

A stamp is the database's `data_version`, read before the row: while the version is the same, nobody else has written
anything. Bounded by bytes; what was not served for longest goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.cache.entry import Missed
from awaitly_nb.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.cache.sealed import Sealed
    from awaitly_nb.cache.stepcache import Make, Seal
    from awaitly_nb.locks import KernelFlight
    from awaitly_nb.stores import Fetched

__all__ = ["MAX_ENTRY_BYTES", "Tier"]

MAX_ENTRY_BYTES: Final = 1 << 20
"""Larger entries are not cached in memory: reading them is cheap compared with decoding them."""

_OVERHEAD: Final = 500  # what Python's objects take beside the bytes
_IN_ORDER: Final = 4
"""After so many records in the order of their writing the next ones are read ahead."""
_NEAR: Final = 4  # what several functions store together lies together
_AHEAD: Final = 32
_NEVER: Final = (-1, -1)
_NOTHING_AHEAD: Final[tuple[tuple[int, int], dict[str, Fetched]]] = (_NEVER, {})


class Tier:
    """Opened entries by record name, over the store of a folder. Safe to call from several threads.

    This process's own writes do not change the database's version, so they are counted in `writes`: a slow reader must
    not put back what was replaced while it read.

    Parameters
    ----------
    store
        The store beneath.
    max_bytes
        Bound on what all entries take together.
    """

    def __init__(self, store: Folder, *, max_bytes: int = 64 << 20) -> None:
        self.store = store
        self.directory = store.directory
        self.told = store.told
        self.checked = store.checked
        self.entries: OrderedDict[str, Sealed] = OrderedDict()
        self.writes = 0
        self._database = store.store.database
        self._stamp = self._database.version
        self._ahead: tuple[tuple[int, int], dict[str, Fetched]] = _NOTHING_AHEAD
        self._number = self._in_order = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._hits: dict[str, int] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return repr(self.store)

    # The store

    def open(self, name: str, make: Make) -> Sealed | Missed:
        """Return the entry called `name` as `make` opened it, now or before, or why there is none."""
        known = self.entries.get(name)
        store = self.store
        if known is not None:
            try:
                if known.stamp == self._stamp():
                    known.hits += 1
                    return known
            except StoreError:
                pass  # asked below in a way that repairs the database
        database = self._database
        moment, ahead = self._ahead
        if (found := ahead.pop(name, None)) is not None and moment != self._moment():
            self._ahead, found = _NOTHING_AHEAD, None
        if found is None:
            # Read before the row: what this process or another writes meanwhile makes it stale, not wrong.
            moment, header = (self.writes, database.seen or store.stamp()), database.header
            found = store.fetch(name)
            if found is None:
                moments = None if database.on_network else (*moment, header)
                return Missed("absent", store.why_absent(name), None, moments)
            if 0 < found[-1] - self._number <= _NEAR:
                self._read_ahead(found[-1])
            else:
                self._in_order = 0
        head, body, version, _, file_stamp, self._number = found
        if known is not None and known.version == version:
            known.stamp = moment[1]  # Somebody has written something, but not to this entry: it is not verified again.
            known.hits += 1
            return known
        sealed = make(name, head, body, version, file_stamp)
        if sealed.size_bytes > MAX_ENTRY_BYTES or database.on_network:
            self.count(name)
            return sealed
        if sealed.buffers or type(sealed.stream) is not bytes:
            sealed.own_bytes()
        writes, sealed.stamp = moment
        sealed.version, sealed.hits = version, 1
        self.add(name, sealed, writes=writes)
        return sealed

    def _read_ahead(self, number: int) -> None:
        """Read what was written after the record of that number, once a few were asked for in that order.

        Whoever resumes does. One of these records is served only while nobody, here or elsewhere, has written anything.
        """
        if self._in_order < _IN_ORDER:
            self._in_order += 1
        elif not self._database.on_network:
            with suppress(StoreError):  # whoever wants one of them asks in a way that repairs the database
                moment = self.writes, self._stamp()
                self._ahead = moment, self.store.store.fetch_next(number, _AHEAD)

    def _moment(self) -> tuple[int, int]:
        try:
            return self.writes, self._stamp()
        except StoreError:
            return _NEVER

    def peek(self, name: str, make: Make) -> Sealed | None:
        """Return the entry for a reader who is not served: it counts as no hit, and is not cached here."""
        return self.store.peek(name, make)

    def put(self, name: str, sealed: Sealed, seal: Seal) -> None:
        """Write an entry, and have it here."""
        head, body = seal()
        store = self.store
        store.removed.discard(name)
        writes = self.drop(name)
        sealed.stamp = store.seen_stamp()
        sealed.version = store.write(name, head, body) or ""
        if sealed.size_bytes > MAX_ENTRY_BYTES or self._database.on_network:
            self.drop(name)
        else:
            sealed.own_bytes()
            self.replace(name, sealed, writes=writes)

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records; return how many there were."""
        return self.store.delete(names)

    def head(self, name: str) -> str | None:
        """Return the head of a record, or None."""
        return self.store.head(name)

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits of the records whose names begin with `prefix`, oldest first."""
        return self.store.heads(prefix)

    def dated(self, prefix: str = "") -> list[tuple[str, str | None]]:
        """Return the names that begin with `prefix`, oldest first, with the heads of those that may expire."""
        return self.store.dated(prefix)

    def flight(self, name: str) -> KernelFlight:
        """Return the right to compute `name`, among all processes that use the folder."""
        return self.store.flight(name)

    def share(self, text: bytes) -> str | None:
        """Return the digest of a part of keys that is stored once for all; None where it is not."""
        return self.store.share(text)

    def shared(self, digest: str) -> bytes | None:
        """Return the part that a digest stands for, or None."""
        return self.store.shared(digest)

    def unwritten_since(self, moment: Any) -> bool:  # Any: what a miss gave
        """Tell whether nobody, here or elsewhere, has written since the moment of a miss."""
        writes, stamp, header = moment
        if writes != self.writes:
            return False
        try:
            return self._database.unwritten_since(header) or stamp == self.store.stamp()
        except StoreError:
            return False

    # What is in memory

    def add(self, name: str, sealed: Sealed, *, writes: int) -> None:
        """Cache what was read, unless this process has written since it counted `writes`."""
        with self._lock:
            if writes == self.writes:
                self._add(name, sealed)

    def replace(self, name: str, sealed: Sealed, *, writes: int) -> None:
        """Cache what was just written, unless another thread has written since: then nobody knows who was last."""
        with self._lock:
            alone = writes == self.writes
            self.writes += 1
            if alone:
                self._add(name, sealed)
            else:
                self._drop(name)

    def drop(self, *names: str) -> int:
        """Drop entries, because this process is about to write or remove them; return the new count of `writes`."""
        with self._lock:
            self.writes += 1
            for name in names:
                self._drop(name)
            return self.writes

    def count(self, name: str) -> None:
        """Count that an entry was served which is not here."""
        with self._lock:
            self._hits[name] = self._hits.get(name, 0) + 1

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self.writes += 1
            self.entries.clear()
            self._ahead = _NOTHING_AHEAD
            self._bytes = 0

    def take_hits(self) -> dict[str, int]:
        """Return how often each entry was served since this was asked last."""
        with self._lock:
            for name, sealed in self.entries.items():
                self._count(name, sealed)
            hits, self._hits = self._hits, {}
            return hits

    def after_fork(self) -> None:
        """Be usable in the child, and empty."""
        self._lock = threading.Lock()
        self._ahead = _NOTHING_AHEAD
        self.entries.clear()
        self._hits.clear()
        self._bytes = 0

    def _add(self, name: str, sealed: Sealed) -> None:
        if name in self.entries:
            self._drop(name)
        if sealed.size_bytes > MAX_ENTRY_BYTES:
            return
        self.entries[name] = sealed
        self._bytes += sealed.size_bytes + len(name) + _OVERHEAD
        while self._bytes > self._max_bytes:
            oldest, gone = next(iter(self.entries.items()))
            if gone.hits and gone is not sealed:
                # A second chance for what was served since it came to the front: moving it at every hit costs more.
                self._count(oldest, gone)
                self.entries.move_to_end(oldest)
                continue
            self._drop(oldest)

    def _count(self, name: str, sealed: Sealed) -> None:
        if sealed.hits:
            self._hits[name] = self._hits.get(name, 0) + sealed.hits
            sealed.hits = 0

    def _drop(self, name: str) -> None:
        sealed = self.entries.pop(name, None)
        if sealed is not None:
            self._count(name, sealed)
            self._bytes -= sealed.size_bytes + len(name) + _OVERHEAD
