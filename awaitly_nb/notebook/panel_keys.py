"""The keys that a panel lists: numbered, so that messages stay small and any text can be a key.

Hides where they lie: in every namespace of the default folder, or in one workflow's own cache. Deleting and previewing
touch that store only, never a running step, and may be called from any thread.

The page takes all keys as columns: about a megabyte for 100,000, made in a tenth of a second. Of two deflated buffers
the first is text: what is told once (the places that keys lie in, the steps that computed them) as JSON, then every
key, and then the calls of automatic keys, each behind a separator. The second is numbers: 32 bits each, column by
column, and of each column first all lowest bytes, then all second ones, and so on; the upper ones hardly differ, and
deflate to nothing. The page knows a size or a duration to three digits, which is what it shows; `static/columns.js`
reads what `key_columns` writes.
"""

from __future__ import annotations

import heapq
import json
import re
import sys
import threading
import time
import zlib
from array import array
from operator import sub
from typing import TYPE_CHECKING, Any, Final, Protocol

from awaitly_nb import cache as caches
from awaitly_nb.cache import SEPARATOR, Listing
from awaitly_nb.frozen import replace
from awaitly_nb.manage import Trash, folder_stamp, remove_one
from awaitly_nb.result import mark_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from awaitly_nb.cache import Entry, StepCache
    from awaitly_nb.result import Mark, Result

__all__ = ["CacheKeys", "FolderKeys", "KeyList", "KeySource", "key_columns"]

_AHEAD = 100
"""How many of the newest keys are remembered, so that each deletion need not look through all."""


class KeySource(Protocol):
    """Where keys lie."""

    def namespace_of(self, workflow: str) -> str:
        """Return the namespace that the keys of a workflow lie in."""

    def listing(self) -> Listing:
        """Return what is known of every key."""

    def remove(self, namespace: str, key: str) -> Callable[[], None] | None:
        """Remove one key; return what brings it back, or None where it was not there or cannot be brought back."""

    def stamp(self) -> object:
        """Return what changes when another process stores or removes a key here."""

    def has(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies here, without decoding it."""

    def call(self, namespace: str, key: str) -> str | None:
        """Return the call that an automatic key stands for, as people read it; None for any other key."""

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:
        """Return what is cached, or None."""

    def marks(self, namespace: str, step_id: str) -> Iterable[Mark]:
        """Return what is known of the latest entries of a step, newest first; decodes no value."""


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

    def remove(self, namespace: str, key: str) -> Callable[[], None] | None:
        """Remove exactly this key: no glob, a key may hold a star."""
        return remove_one(namespace, key)[1]

    def stamp(self) -> object:
        """Return what changes when another process writes to the folder."""
        return folder_stamp()

    def has(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies in the folder."""
        return caches.open_default(namespace).has(key)

    def call(self, namespace: str, key: str) -> str | None:
        """Return the call that an automatic key stands for."""
        return _call(caches.open_default(namespace), key)

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:
        """Return what is cached, or None."""
        return caches.open_default(namespace).get(key)

    def marks(self, namespace: str, step_id: str) -> Iterable[Mark]:
        """Return the marks of the latest entries of a step, newest first."""
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

    def remove(self, namespace: str, key: str) -> Callable[[], None] | None:  # noqa: ARG002 - a cache is one namespace
        """Remove one key; to bring it back it is stored anew, with what is left of its time."""
        result = self._cache.get(key)
        self._cache.delete(key)
        if result is None:
            return None
        mark = mark_of(result)
        expires_at = None
        if mark is not None and mark.ttl_s is not None and mark.at is not None:
            expires_at = mark.at.timestamp() + mark.ttl_s

        def restore() -> None:
            left_s = None if expires_at is None else expires_at - time.time()
            if self._cache.has(key) or (left_s is not None and left_s <= 0):
                return  # it was computed again meanwhile, and the newer one stays; or it has expired
            self._cache.set(key, result, ttl=left_s)

        return restore

    def stamp(self) -> object:
        """Return nothing that changes: not every cache can tell."""
        return None

    def has(self, namespace: str, key: str) -> bool:  # noqa: ARG002 - a cache is one namespace
        """Tell whether this key lies in the cache."""
        return self._cache.has(key)

    def call(self, namespace: str, key: str) -> str | None:  # noqa: ARG002 - a cache is one namespace
        """Return the call that an automatic key stands for, as far as the cache can tell."""
        return _call(self._cache, key)

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:  # noqa: ARG002 - a cache is one namespace
        """Return what is cached, or None."""
        return self._cache.get(key)

    def marks(self, namespace: str, step_id: str) -> Iterable[Mark]:  # noqa: ARG002 - a cache is one namespace
        """Return the marks of the latest entries of a step, newest first, as far as the cache can list them."""
        return _marks(self._cache, step_id)


def _marks(cache: StepCache, step_id: str) -> Iterable[Mark]:
    marks = getattr(cache, "marks", None)  # a cache of the user's own need not have it
    return () if marks is None else marks(step_id)


def _call(cache: StepCache, key: str) -> str | None:
    head_of = getattr(cache, "head_of", None)  # as above
    head = None if head_of is None else head_of(key)
    call = None if head is None else head.get("call")
    return call if isinstance(call, str) else None


class KeyList:
    """The keys as they were last read, each with the number that stands for it. Thread-safe.

    What is asked of one key takes as long with 100,000 of them as with ten.

    Parameters
    ----------
    source
        Where the keys lie.

    Attributes
    ----------
    source
        Where the keys lie.
    size_bytes
        What all of them take, as far as is known.
    trash
        What was deleted here lately, for an undo.
    """

    def __init__(self, source: KeySource) -> None:
        self.source = source
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
        self.trash = Trash()
        self._restored: list[tuple[int, Entry]] = []

    def read(self) -> tuple[Listing, list[int], list[int]]:
        """Read all keys from the source.

        Returns
        -------
        listing, numbers, deleted
            What was read, the number of each row, and the numbers of what was deleted while it was read.
        """
        with self._guard:
            self._deleted = set()
        listing = self.source.listing()
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
        return self.source.namespace_of(workflow)

    def stored(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies in the source now."""
        return self.source.has(namespace, key)

    def call(self, namespace: str, key: str) -> str | None:
        """Return the call that an automatic key stands for, as people read it; None for any other key."""
        return self.source.call(namespace, key)

    def marks(self, workflow: str, step_id: str) -> Iterable[Mark]:
        """Return what is known of the latest entries of a step, newest first."""
        return self.source.marks(self.source.namespace_of(workflow), step_id)

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
        name = self.source.namespace_of(workflow) + SEPARATOR + key
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
            seconds = self._took.get((self.source.namespace_of(workflow), step_id), -1.0)
            return None if seconds < 0 else seconds

    def failed(self) -> list[int]:
        """Return the numbers of all cached failures."""
        with self._guard:
            return [number for number, row in self._rows.items() if not self._listing.ok[row]]

    def delete(self, numbers: Iterable[int]) -> list[int]:
        """Remove these keys where they lie, and return the numbers that are gone, removed now or by somebody before."""
        gone, batch = [], []
        for number in numbers:
            if (entry := self.entry(number)) is not None:
                if (restore := self.source.remove(entry.namespace, entry.key)) is not None:
                    batch.append(self._both(restore, entry))
                with self._guard:
                    self._drop(number)
                    self._deleted.add(number)
            gone.append(number)
        self.trash.put(batch)  # also where it is empty, or an undo would bring back the removal before
        return gone

    def _both(self, restore: Callable[[], None], entry: Entry) -> Callable[[], None]:
        def back() -> None:
            restore()
            self._restored.append((self.put(entry), entry))

        return back

    def undo(self) -> list[tuple[int, Entry]]:
        """Bring back what was deleted last, if that was a minute ago at most; return the keys with their numbers."""
        self._restored = []
        self.trash.restore()
        return self._restored

    def stamp(self) -> object:
        """Return what changes when another process changes the keys."""
        return self.source.stamp()

    def get(self, number: int) -> Result[Any, Any] | None:
        """Return what is cached under the key with this number, or None."""
        if (entry := self.entry(number)) is None:
            return None
        return self.source.get(entry.namespace, entry.key)


# -- as the page takes them -------------------------------------------------------------------------------------------

_END: Final = "\x1e"  # of each text
_SHORTEN: Final = re.compile(r":([0-9a-f]{10})[0-9a-f]{22}(?=\x1e|\Z)")
_UPPER_HALF: Final = bytes(byte & 0xF0 for byte in range(256))


def key_columns(listing: Listing, numbers: Sequence[int]) -> list[bytes]:
    """Return the rows of a listing as two deflated buffers.

    Parameters
    ----------
    numbers
        What stands for each row in messages.
    """
    spaces: dict[str, int] = {}
    steps: dict[str | None, int] = {}
    keys, space_of = [], []
    for name in listing.names:
        space, _, key = name.partition(SEPARATOR)
        space_of.append(spaces.setdefault(space, len(spaces)))
        keys.append(key)
    columns = (
        _signed(_steps(numbers)),
        _signed(_steps(listing.created)),
        _signed(space_of),
        _signed([steps.setdefault(step, len(steps)) for step in listing.step_ids]),
        _signed(listing.hits),
        _floats(listing.sizes),
        _floats(listing.durations),
    )
    told = {
        "rows": len(keys),
        "namespaces": list(spaces),
        "steps": [step or "" for step in steps],
        "calls": any(listing.calls),
        "bytes": sum(listing.sizes) + listing.sizes.count(-1),
    }
    calls = [call or "" for call in listing.calls] if told["calls"] else []
    text = _END.join([json.dumps(told), _shortened(keys), *calls])
    return [
        zlib.compress(text.encode("utf-8", "replace"), 1),
        zlib.compress(b"".join([*columns, bytes(listing.ok)]), 1),
    ]


def _shortened(keys: list[str]) -> str:
    """Return all keys in one text, automatic ones cut as `short_key` does."""
    text = _END.join(keys)
    if text.count(_END) >= max(len(keys), 1):  # it is part of a key, where nobody could see it
        text = _END.join([key.replace(_END, "\N{REPLACEMENT CHARACTER}") for key in keys])
    around = _SHORTEN.split(text)  # and not `sub`, which expands its template in Python before 3.12
    around[1::2] = [f":{digits}…" for digits in around[1::2]]
    return "".join(around)


def _steps(values: Sequence[int]) -> Iterable[int]:
    """Return the first value, and how far it is from each to the next: small numbers, as rows lie in order of time."""
    return (*values[:1], *map(sub, values[1:], values[:-1]))


def _signed(values: Iterable[int]) -> bytes:
    return b"".join(_planes(array("i", values)))


def _floats(values: Iterable[float]) -> bytes:
    """Return non-negative numbers to eleven bits, and what is not known as a negative one."""
    lowest, second, *upper = _planes(array("f", values))
    return b"".join([bytes(len(lowest)), second.translate(_UPPER_HALF), *upper])


def _planes(column: array[int] | array[float]) -> list[bytes]:
    if sys.byteorder == "big":
        column.byteswap()
    raw = column.tobytes()
    return [raw[place::4] for place in range(4)]
