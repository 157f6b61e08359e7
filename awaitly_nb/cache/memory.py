"""A cache in memory: expired entries go first, then the least recently used. Keeps bytes, so no value is shared."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache.entry import Entry, Missed, check_result
from awaitly_nb.cache.held import Held, hold
from awaitly_nb.codec import UndecodableError
from awaitly_nb.drawing import html_of
from awaitly_nb.errors import InvalidOptionError, MisuseError
from awaitly_nb.units import parse_duration, show_age

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    import pandas as pd

    from awaitly_nb.result import Mark, Result

__all__ = ["MemoryCache"]


class MemoryCache:
    """Kept results of this process. Made by `create_memory_cache`."""

    def __init__(
        self,
        max_size: int | None = None,
        ttl: float | timedelta | str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_size is not None and (not isinstance(max_size, int) or isinstance(max_size, bool) or max_size <= 0):
            raise InvalidOptionError(f"max_size={max_size!r} is no number of entries above zero; None means no bound")
        self._max_size = max_size
        self._ttl_s = None if ttl is None else parse_duration(ttl, name="ttl")
        self._clock = clock
        self._lock = threading.RLock()
        self._held: OrderedDict[str, Held] = OrderedDict()  # least recently used first
        self._order: dict[str, None] = {}  # oldest writing first; names nothing that is not held, at any moment
        _live.add(self)

    def get(self, key: str) -> Result[Any, Any] | None:  # Any: results of the user's steps
        """Return the result kept under `key`, or None if absent or expired."""
        found = self.lookup(key)
        return None if isinstance(found, Missed) else found

    def lookup(self, key: str) -> Result[Any, Any] | Missed:
        """Return the result kept under `key`, or why there is none."""
        _check(key)
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return Missed()
            now = self._clock()
            if not held.alive(now):
                self._drop(key)
                assert held.expires_at is not None
                ended = datetime.fromtimestamp(held.expires_at, UTC)
                detail = f"expired {show_age(ended, datetime.fromtimestamp(now, UTC))}"
                return Missed("expired", detail, held.mark)
            self._held.move_to_end(key)
            held.hits += 1
        try:
            return held.result()
        except UndecodableError as exc:
            return Missed("undecodable", str(exc), held.mark)

    def set(self, key: str, result: Result[Any, Any], *, ttl: float | timedelta | str | None = None) -> None:
        """Keep `result` under `key` for `ttl`; None means the cache's own TTL.

        Raises
        ------
        EncodeError
            Its value cannot be turned into bytes.
        """
        _check(key)
        check_result(key, result)
        ttl_s = self._ttl_s if ttl is None else parse_duration(ttl, name="ttl")
        held, _ = hold(result, now=self._clock(), ttl_s=ttl_s)
        held.buffers = tuple(bytes(buffer) for buffer in held.buffers)
        with self._lock:
            self._held[key] = held
            self._held.move_to_end(key)
            self._order.setdefault(key)
            if self._max_size is not None and len(self._held) > self._max_size:
                self._drop_expired()
                while len(self._held) > self._max_size:
                    self._drop(next(iter(self._held)))

    def has(self, key: str) -> bool:
        """Tell whether `get` would find something, without decoding it."""
        _check(key)
        with self._lock:
            held = self._held.get(key)
            return held is not None and held.alive(self._clock())

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether there was something to remove."""
        _check(key)
        with self._lock:
            return self._drop(key)

    def clear(self) -> None:
        """Remove every key."""
        with self._lock:
            self._order.clear()
            self._held.clear()

    def keys(self) -> list[str]:
        """Return the live keys, oldest first."""
        with self._lock:
            now = self._clock()
            return [key for key in self._order if self._held[key].alive(now)]

    def entries(self, pattern: str = "*") -> list[Entry]:
        """Return what is known of the live keys that match the glob `pattern`, oldest first; decodes no value."""
        with self._lock:
            return [_entry(key, self._held[key]) for key in self.keys() if fnmatchcase(key, pattern)]

    def marks(self, step_id: str) -> list[Mark]:
        """Return the marks of the kept results of a step, newest first."""
        with self._lock:
            return [held.mark for held in reversed(self._held.values()) if held.mark.step_id == step_id]

    def size_of(self, key: str) -> int | None:
        """Return the size of the kept value in bytes, or None where nothing is kept."""
        with self._lock:
            held = self._held.get(key)
        return None if held is None else held.mark.size_bytes

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the entries as a pandas DataFrame, one row per key."""
        from awaitly_nb.cache.heads import frame_of

        return frame_of(self.entries())

    def _drop(self, key: str) -> bool:
        self._order.pop(key, None)
        return self._held.pop(key, None) is not None

    def _drop_expired(self) -> None:
        now = self._clock()
        for key in [key for key, held in self._held.items() if not held.alive(now)]:
            self._drop(key)


_live: weakref.WeakSet[MemoryCache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_live):
        cache._lock = threading.RLock()  # noqa: SLF001 - another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _check(key: str) -> None:
    if type(key) is not str or not key:
        raise MisuseError(f'{key!r} is no key: use a text that is not empty, as in key=f"user:{{id}}"')


def _entry(key: str, held: Held) -> Entry:
    mark = held.mark
    return Entry(
        key=key,
        step_id=mark.step_id,
        workflow=mark.workflow,
        ok=held.ok,
        size_bytes=held.size_bytes,
        created_at=mark.at,
        duration_s=mark.duration_s,
        expires_at=None if held.expires_at is None else datetime.fromtimestamp(held.expires_at, UTC),
        hits=held.hits,
    )
