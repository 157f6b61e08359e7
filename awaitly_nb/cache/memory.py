"""Caches in this process's memory: a dictionary as the store of a `StoredCache`, and the user's mapping as a cache.

The first holds bytes, so no value is shared. The second holds the results themselves, under unprefixed keys, and shares
their values; the mapping stays the user's: nothing but results is put in, and whatever else lies in it is left alone.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache.entry import Entry, Missed, check_key, check_result, frame_of
from awaitly_nb.cache.sealed import Sealed, members_of, restated
from awaitly_nb.codec import refuse_used_up
from awaitly_nb.drawing import html_of
from awaitly_nb.errors import InvalidOptionError
from awaitly_nb.frozen import replace
from awaitly_nb.result import Err, Mark, Ok, mark_of, with_mark
from awaitly_nb.units import parse_duration, show_age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    import pandas as pd

    from awaitly_nb.cache.stepcache import Make, Seal, Turn
    from awaitly_nb.result import Result

__all__ = ["DictStore", "MappingCache"]


class DictStore:
    """Sealed results of this process by name: expired ones go first, then the least recently used.

    Parameters
    ----------
    max_size
        How many it holds at most; None means no bound.
    clock
        Seconds since the epoch.
    """

    def __init__(self, max_size: int | None, clock: Callable[[], float]) -> None:
        if max_size is not None and (not isinstance(max_size, int) or isinstance(max_size, bool) or max_size <= 0):
            raise InvalidOptionError(f"max_size={max_size!r} is no number of entries above zero; None means no bound")
        self.told: set[object] = set()
        self.checked: dict[str, object] = {}
        self.entries: OrderedDict[str, Sealed] = OrderedDict()  # least recently used first
        self._order: dict[str, None] = {}  # oldest writing first; names nothing that is not there, at any moment
        self._max_size = max_size
        self._clock = clock
        self._lock = threading.RLock()
        _live.add(self)

    def __repr__(self) -> str:
        return "memory"

    def open(self, name: str, make: Make) -> Sealed | Missed:
        """Return the entry called `name`, or that there is none."""
        del make  # it never was anything else than what it is
        with self._lock:
            sealed = self.entries.get(name)
            if sealed is None:
                return Missed()
            if not sealed.alive(self._clock()):
                self._drop(name)
                return sealed
            self.entries.move_to_end(name)
            sealed.hits += 1
            return sealed

    def peek(self, name: str, make: Make) -> Sealed | None:
        """Return the entry, for a reader who is not served."""
        del make
        return self.entries.get(name)

    def put(self, name: str, sealed: Sealed, seal: Seal) -> None:
        """Store an entry."""
        del seal
        sealed.own_bytes()
        sealed.mark = restated(sealed)
        with self._lock:
            self.entries[name] = sealed
            self.entries.move_to_end(name)
            self._order.setdefault(name)
            if self._max_size is not None and len(self.entries) > self._max_size:
                now = self._clock()
                for old in [old for old, entry in self.entries.items() if not entry.alive(now)]:
                    self._drop(old)
                while len(self.entries) > self._max_size:
                    self._drop(next(iter(self.entries)))

    def delete(self, names: Iterable[str]) -> int:
        """Remove these entries; return how many there were."""
        with self._lock:
            return sum([self._drop(name) for name in names])

    def head(self, name: str) -> str | None:
        """Return the head of an entry, or None."""
        sealed = self.entries.get(name)
        return None if sealed is None else _head(name, sealed)

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits of the entries whose names begin with `prefix`, oldest first."""
        with self._lock:
            return [(name, _head(name, sealed), sealed.hits) for name, sealed in self._ordered(prefix)]

    def dated(self, prefix: str = "") -> list[tuple[str, str | None]]:
        """Return the names that begin with `prefix`, oldest first, with the heads of those that may expire."""
        with self._lock:
            return [
                (name, None if sealed.expires_at is None else _head(name, sealed))
                for name, sealed in self._ordered(prefix)
            ]

    def flight(self, name: str) -> Turn:
        """Return a right that is always free: within a process the engine sees to it that one computes."""
        del name
        return _Free()

    def share(self, text: bytes) -> str | None:
        """Return None: nothing is written that could repeat."""
        del text
        return None

    def shared(self, digest: str) -> bytes | None:
        """Return None: nothing is shared."""
        del digest
        return None

    def unwritten_since(self, moment: object) -> bool:
        """Return False: it is not known."""
        del moment
        return False

    def after_fork(self) -> None:
        """Be usable in the child of a fork."""
        self._lock = threading.RLock()  # another thread of the parent may have held it

    def _ordered(self, prefix: str) -> list[tuple[str, Sealed]]:
        return [(name, self.entries[name]) for name in self._order if name.startswith(prefix)]

    def _drop(self, name: str) -> bool:
        self._order.pop(name, None)
        return self.entries.pop(name, None) is not None


def _head(name: str, sealed: Sealed) -> str:
    return json.dumps({member: value for member, value in members_of(name, sealed).items() if value is not None})


class _Free:
    """A flight that nobody else can have."""

    __slots__ = ()

    def try_acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass

    def holder(self) -> str | None:
        return None


_live: weakref.WeakSet[DictStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_live):
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class MappingCache:
    """A step cache over the user's own mapping. Made by `as_step_cache`."""

    def __init__(self, mapping: MutableMapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        self.mapping = mapping
        self._clock = clock

    def get(self, key: str) -> Result[Any, Any] | None:  # Any: results of the user's steps
        """Return the result cached under `key`, or None if absent or expired."""
        found = self.lookup(key)
        return None if isinstance(found, Missed) else found

    def lookup(self, key: str) -> Result[Any, Any] | Missed:
        """Return the result cached under `key`, or why there is none."""
        check_key(key)
        result = self.mapping.get(key)
        if not isinstance(result, Ok | Err):
            return Missed() if result is None else Missed("undecodable", f"holds a {type(result).__name__}, no result")
        ended = _expires_at(result)
        if ended is not None and not self._alive(result):
            return Missed("expired", f"expired {show_age(ended, self._now())}", mark_of(result))
        return result

    def set(self, key: str, result: Result[Any, Any], *, ttl: float | timedelta | str | None = None) -> None:
        """Cache `result` itself under `key` for `ttl`; None means for ever.

        Raises
        ------
        EncodeError
            Its value is used up by whoever reads it first.
        """
        check_key(key)
        check_result(key, result)
        refuse_used_up(result)
        mark = mark_of(result) or Mark()
        at = mark.at or self._now()
        ttl_s = None
        if ttl is not None:
            ttl_s = parse_duration(ttl, name="ttl") + (self._now() - at).total_seconds()
        self.mapping[key] = with_mark(result, replace(mark, at=at, ttl_s=ttl_s))

    def has(self, key: str) -> bool:
        """Tell whether `get` would find something."""
        return self.get(key) is not None

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether there was something to remove."""
        check_key(key)
        return self.mapping.pop(key, None) is not None

    def clear(self) -> None:
        """Remove everything from the mapping."""
        self.mapping.clear()

    def keys(self) -> list[str]:
        """Return the live keys, in the mapping's order."""
        return [
            key for key, result in list(self.mapping.items()) if isinstance(result, Ok | Err) and self._alive(result)
        ]

    def entries(self, pattern: str = "*") -> list[Entry]:
        """Return what is known of the live keys that match the glob `pattern`."""
        return [_entry(key, self.mapping[key]) for key in self.keys() if fnmatchcase(key, pattern)]

    def marks(self, step_id: str, *, before: datetime | None = None) -> list[Mark]:
        """Return the marks of the cached results of a step, newest first, of those computed before an instant."""
        found = [mark_of(result) for result in list(self.mapping.values()) if isinstance(result, Ok | Err)]
        marks = [mark for mark in reversed(found) if mark is not None and mark.step_id == step_id]
        return [mark for mark in marks if before is None or mark.at is None or mark.at < before]

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the entries as a pandas DataFrame, one row per key."""
        return frame_of(self.entries())

    def _alive(self, result: Result[Any, Any]) -> bool:
        ended = _expires_at(result)
        return ended is None or self._now() <= ended

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _expires_at(result: Result[Any, Any]) -> datetime | None:
    mark = mark_of(result)
    if mark is None or mark.ttl_s is None or mark.at is None:
        return None
    return mark.at + timedelta(seconds=mark.ttl_s)


def _entry(key: str, result: Result[Any, Any]) -> Entry:
    mark = mark_of(result) or Mark()
    return Entry(
        key=key,
        step_id=mark.step_id,
        workflow=mark.workflow,
        ok=result.ok,
        size_bytes=mark.size_bytes,
        created_at=mark.at,
        duration_s=mark.duration_s,
        expires_at=_expires_at(result),
    )
