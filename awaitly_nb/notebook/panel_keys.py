"""The keys that a panel lists: numbered, so that messages stay small and any text can be a key.

Hides where they lie: in every namespace of the default folder, or in one workflow's own cache. Deleting and previewing
touch that store only, never a running step, and may be called from any thread.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from awaitly_nb import cache as caches
from awaitly_nb.cache import SEPARATOR, Listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.cache import Entry, StepCache
    from awaitly_nb.result import Mark, Result

__all__ = ["CacheKeys", "FolderKeys", "KeyList", "KeySource"]

_AHEAD = 100
"""How many of the newest keys are remembered, so that each deletion need not look through all."""


class KeySource(Protocol):
    """Where keys lie."""

    def namespace_of(self, workflow: str) -> str:
        """Return the namespace that the keys of a workflow lie in."""

    def listing(self) -> Listing:
        """Return what is known of every key."""

    def delete(self, namespace: str, key: str) -> bool:
        """Remove one key; return whether it was there."""

    def has(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies here, without decoding it."""

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:
        """Return what is kept, or None."""

    def marks(self, namespace: str, step_id: str) -> Iterable[Mark]:
        """Return what is known of the latest kept results of a step, newest first; decodes no value."""


class FolderKeys:
    """The default cache folder: every namespace, or one.

    Parameters
    ----------
    namespace
        The only namespace to list, or None for all.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace

    def namespace_of(self, workflow: str) -> str:
        """Return the workflow's name: the rule of the default folder."""
        return workflow

    def listing(self) -> Listing:
        """Return what is known of every key."""
        return caches.folder_listing(self._namespace)

    def delete(self, namespace: str, key: str) -> bool:
        """Remove exactly this key: no glob, a key may hold a star."""
        return caches.open_default(namespace).delete(key)

    def has(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies in the folder."""
        return caches.open_default(namespace).has(key)

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:
        """Return what is kept, or None."""
        return caches.open_default(namespace).get(key)

    def marks(self, namespace: str, step_id: str) -> Iterable[Mark]:
        """Return the marks of the latest kept results of a step, newest first."""
        return _marks(caches.open_default(namespace), step_id)


class CacheKeys:
    """One cache, whatever its kind.

    Parameters
    ----------
    cache
        The workflow's own cache.
    """

    def __init__(self, cache: StepCache) -> None:
        self._cache = cache

    def namespace_of(self, workflow: str) -> str:  # noqa: ARG002 - a cache is one namespace
        """Return the empty namespace: a cache of its own is not shared with workflows of other names."""
        return ""

    def listing(self) -> Listing:
        """Return what is known of every key of the cache."""
        return Listing.of(replace(entry, namespace="") for entry in self._cache.entries())

    def delete(self, namespace: str, key: str) -> bool:  # noqa: ARG002 - a cache is one namespace
        """Remove one key; return whether it was there."""
        return self._cache.delete(key)

    def has(self, namespace: str, key: str) -> bool:  # noqa: ARG002 - a cache is one namespace
        """Tell whether this key lies in the cache."""
        return self._cache.has(key)

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:  # noqa: ARG002 - a cache is one namespace
        """Return what is kept, or None."""
        return self._cache.get(key)

    def marks(self, namespace: str, step_id: str) -> Iterable[Mark]:  # noqa: ARG002 - a cache is one namespace
        """Return the marks of the latest kept results of a step, newest first, as far as the cache can list them."""
        return _marks(self._cache, step_id)


def _marks(cache: StepCache, step_id: str) -> Iterable[Mark]:
    marks = getattr(cache, "marks", None)  # a cache of the user's own need not have it
    return () if marks is None else marks(step_id)


class KeyList:
    """The keys as they were last read, each with the number that stands for it. Thread-safe.

    What is asked of one key takes as long with 100,000 of them as with ten.

    Parameters
    ----------
    source
        Where the keys lie.

    Attributes
    ----------
    size_bytes
        What all of them take, as far as is known.
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._guard = threading.RLock()
        self._numbers: dict[str, int] = {}  # by record name, of every key that was ever listed
        self._listing = Listing()
        self._rows: dict[int, int] = {}  # of each key that is there, its row in the listing
        self._deleted: set[int] = set()  # since the last reading began
        self._gone_at: dict[int, float] = {}  # of keys that are no more, when that was noticed
        self._hits: dict[str, int] = {}  # by record name, since they were read
        self._newest: list[int] = []  # rows, at least the newest hundred of those that are there
        self._took: dict[tuple[str, str | None], float] | None = None
        self.size_bytes = 0

    def read(self) -> tuple[Listing, list[int], list[int]]:
        """Read all keys from the source.

        Returns
        -------
        listing, numbers, deleted
            What was read, the number of each row, and the numbers of what was deleted while it was read.
        """
        with self._guard:
            self._deleted = set()
        listing = self._source.listing()
        with self._guard:
            numbers = self._number_all(listing.names)
            self._gone_at |= dict.fromkeys(self._rows.keys() - set(numbers), time.time())
            self._hits.clear()
            self._listing, self._rows = listing, dict(zip(numbers, range(len(numbers)), strict=True))
            self._newest, self._took = [], None
            self.size_bytes = sum(listing.sizes) + listing.sizes.count(-1)  # -1: not known
            deleted = [number for number in self._deleted if self._drop(number)]
            return listing, numbers, deleted

    def _number_all(self, names: list[str]) -> list[int]:
        known = self._numbers
        if not known:
            numbers = list(range(1, len(names) + 1))
            known.update(zip(names, numbers, strict=True))
            return numbers
        return [known.setdefault(name, len(known) + 1) for name in names]

    def namespace_of(self, workflow: str) -> str:
        """Return the namespace that the keys of a workflow lie in."""
        return self._source.namespace_of(workflow)

    def stored(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies in the source now."""
        return self._source.has(namespace, key)

    def marks(self, workflow: str, step_id: str) -> Iterable[Mark]:
        """Return what is known of the latest kept results of a step, newest first."""
        return self._source.marks(self._source.namespace_of(workflow), step_id)

    def put(self, entry: Entry) -> int:
        """Note a key that was just stored, and return its number."""
        with self._guard:
            (number,) = self._number_all([entry.namespace + SEPARATOR + entry.key])
            self._drop(number)
            self._rows[number] = row = len(self._listing)
            self._listing.add(entry)
            self._newest.append(row)
            self._deleted.discard(number)
            self.size_bytes += entry.size_bytes or 0
            if self._took is not None and entry.duration_s is not None:
                self._took[entry.namespace, entry.step_id] = entry.duration_s
            return number

    def _drop(self, number: int) -> bool:
        if (row := self._rows.pop(number, None)) is None:
            return False
        self.size_bytes -= max(self._listing.sizes[row], 0)
        self._gone_at[number] = time.time()
        return True

    def __len__(self) -> int:
        return len(self._rows)

    def numbers(self) -> list[int]:
        """Return the numbers of all keys."""
        with self._guard:
            return list(self._rows)

    def number_of(self, namespace: str, key: str) -> int | None:
        """Return the number of a listed key, or None."""
        number = self._numbers.get(namespace + SEPARATOR + key)
        return number if number in self._rows else None

    def dropped(self, namespace: str, key: str, *, since: float = 0.0) -> bool:
        """Tell whether this key was listed, and is gone; and that since an instant, in seconds since the epoch."""
        number = self._numbers.get(namespace + SEPARATOR + key)
        return number is not None and number not in self._rows and self._gone_at.get(number, 0.0) >= since

    def note_hit(self, workflow: str, key: str) -> None:
        """Count a hit; called on the time of the run, so no more than that is done."""
        name = self._source.namespace_of(workflow) + SEPARATOR + key
        self._hits[name] = self._hits.get(name, 0) + 1

    def take_hits(self) -> list[tuple[int, int]]:
        """Return the number and the hits of each key that was hit since this or all keys were last asked for."""
        with self._guard:
            found = []
            while self._hits:
                name, hits = self._hits.popitem()
                number = self._numbers.get(name)
                if number is not None and (row := self._rows.get(number)) is not None:
                    self._listing.hits[row] += hits
                    found.append((number, self._listing.hits[row]))
            return found

    def entry(self, number: int) -> Entry | None:
        """Return what is known of the key with this number, or None where it is gone."""
        with self._guard:
            row = self._rows.get(number)
            return None if row is None else self._listing.entry(row)

    def newest(self, count: int) -> list[Entry]:
        """Return the keys that were computed last, the newest first."""
        with self._guard:
            rows = [row for row in self._newest if self._is_there(row)]
            if len(rows) < min(count, len(self._rows)):
                rows = list(self._rows.values())
            rows.sort(reverse=True)  # of those of one second, the later row
            self._newest = heapq.nlargest(max(count, _AHEAD), rows, key=self._listing.created.__getitem__)
            return [self._listing.entry(row) for row in self._newest[:count]]

    def _is_there(self, row: int) -> bool:
        return self._rows.get(self._numbers[self._listing.names[row]]) == row

    def took(self, workflow: str, step_id: str) -> float | None:
        """Return the seconds that a step took when it was last computed, or None."""
        with self._guard:
            if self._took is None:
                listing = self._listing
                spaces = [name.partition(SEPARATOR)[0] for name in listing.names]
                self._took = dict(zip(zip(spaces, listing.step_ids, strict=True), listing.durations, strict=True))
            seconds = self._took.get((self._source.namespace_of(workflow), step_id), -1.0)
            return None if seconds < 0 else seconds

    def failed(self) -> list[int]:
        """Return the numbers of all kept failures."""
        with self._guard:
            return [number for number, row in self._rows.items() if not self._listing.ok[row]]

    def delete(self, numbers: Iterable[int]) -> list[int]:
        """Remove these keys where they lie, and return the numbers that are gone, removed now or by somebody before."""
        gone = []
        for number in numbers:
            if (entry := self.entry(number)) is not None:
                self._source.delete(entry.namespace, entry.key)
                with self._guard:
                    self._drop(number)
                    self._deleted.add(number)
            gone.append(number)
        return gone

    def get(self, number: int) -> Result[Any, Any] | None:
        """Return what is kept under the key with this number, or None."""
        if (entry := self.entry(number)) is None:
            return None
        return self._source.get(entry.namespace, entry.key)
