"""The in-memory tier of a folder: encoded entries, each with the stamp of when it was known to be current.

A stamp is the database's `data_version`, read before the row: while the version is the same, nobody else has written
anything. Bounded by bytes; what was not served for longest goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from awaitly_nb.cache.held import Held

__all__ = ["MAX_ENTRY_BYTES", "Tier"]

MAX_ENTRY_BYTES: Final = 1 << 20
"""Larger entries are not kept: reading them is cheap compared with decoding them."""

_OVERHEAD: Final = 500  # what Python's objects take beside the bytes


class Tier:
    """Encoded entries by record name. Safe to call from several threads.

    This process's own writes do not change the database's version, so they are counted in `writes`: a slow reader must
    not put back what was replaced while it read.

    Parameters
    ----------
    max_bytes
        Bound on what all entries hold together.
    """

    def __init__(self, *, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._hits: dict[str, int] = {}
        self._lock = threading.Lock()
        self.entries: OrderedDict[str, Held] = OrderedDict()
        self.writes = 0

    def put(self, name: str, held: Held, *, writes: int) -> None:
        """Keep what was read, unless this process has written since it counted `writes`."""
        with self._lock:
            if writes == self.writes:
                self._put(name, held)

    def replace(self, name: str, held: Held, *, writes: int) -> None:
        """Keep what was just written, unless another thread has written since: then nobody knows who was last."""
        with self._lock:
            alone = writes == self.writes
            self.writes += 1
            if alone:
                self._put(name, held)
            else:
                self._drop(name)

    def drop(self, *names: str) -> int:
        """Forget entries, because this process is about to write or remove them; return the new count of `writes`."""
        with self._lock:
            self.writes += 1
            for name in names:
                self._drop(name)
            return self.writes

    def count(self, name: str) -> None:
        """Count that an entry was served which is not kept here."""
        with self._lock:
            self._hits[name] = self._hits.get(name, 0) + 1

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.writes += 1
            self.entries.clear()
            self._bytes = 0

    def take_hits(self) -> dict[str, int]:
        """Return how often each entry was served since this was asked last."""
        with self._lock:
            for name, held in self.entries.items():
                self._count(name, held)
            hits, self._hits = self._hits, {}
            return hits

    def renew_lock(self) -> None:
        """Be usable on the far side of a fork, and empty."""
        self._lock = threading.Lock()
        self.entries.clear()
        self._hits.clear()
        self._bytes = 0

    def _put(self, name: str, held: Held) -> None:
        self._drop(name)
        if held.size_bytes > MAX_ENTRY_BYTES:
            return
        self.entries[name] = held
        self._bytes += held.size_bytes + len(name) + _OVERHEAD
        while self._bytes > self._max_bytes:
            oldest, gone = next(iter(self.entries.items()))
            if gone.hits and gone is not held:
                # A second chance for what was served since it came to the front: moving it at every hit costs more.
                self._count(oldest, gone)
                self.entries.move_to_end(oldest)
                continue
            self._drop(oldest)

    def _count(self, name: str, held: Held) -> None:
        if held.hits:
            self._hits[name] = self._hits.get(name, 0) + held.hits
            held.hits = 0

    def _drop(self, name: str) -> None:
        held = self.entries.pop(name, None)
        if held is not None:
            self._count(name, held)
            self._bytes -= held.size_bytes + len(name) + _OVERHEAD
