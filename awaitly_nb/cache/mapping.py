"""A plain mutable mapping as a cache: it holds the results themselves, under unprefixed keys, and shares their values.

The mapping stays the user's: nothing but results is put in, and whatever else lies in it is left alone. When an entry
expires rides in its mark.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache.entry import Entry, Missed, check_result
from awaitly_nb.cache.memory import _check
from awaitly_nb.codec import refuse_used_up
from awaitly_nb.drawing import html_of
from awaitly_nb.frozen import replace
from awaitly_nb.result import Err, Mark, Ok, mark_of, with_mark
from awaitly_nb.units import parse_duration, show_age

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    import pandas as pd

    from awaitly_nb.result import Result

__all__ = ["MappingCache"]


class MappingCache:
    """A step cache over the user's own mapping. Made by `as_step_cache`."""

    def __init__(self, mapping: MutableMapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        self.mapping = mapping
        self._clock = clock

    def get(self, key: str) -> Result[Any, Any] | None:  # Any: results of the user's steps
        """Return the result kept under `key`, or None if absent or expired."""
        found = self.lookup(key)
        return None if isinstance(found, Missed) else found

    def lookup(self, key: str) -> Result[Any, Any] | Missed:
        """Return the result kept under `key`, or why there is none."""
        _check(key)
        result = self.mapping.get(key)
        if not isinstance(result, Ok | Err):
            return Missed() if result is None else Missed("undecodable", f"holds a {type(result).__name__}, no result")
        ended = _expires_at(result)
        if ended is not None and not self._alive(result):
            return Missed("expired", f"expired {show_age(ended, self._now())}", mark_of(result))
        return result

    def set(self, key: str, result: Result[Any, Any], *, ttl: float | timedelta | str | None = None) -> None:
        """Keep `result` itself under `key` for `ttl`; None means for ever.

        Raises
        ------
        EncodeError
            Its value is used up by whoever reads it first.
        """
        _check(key)
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
        _check(key)
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

    def marks(self, step_id: str) -> list[Mark]:
        """Return the marks of the kept results of a step, newest first."""
        kept = [mark_of(result) for result in list(self.mapping.values()) if isinstance(result, Ok | Err)]
        return [mark for mark in reversed(kept) if mark is not None and mark.step_id == step_id]

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the entries as a pandas DataFrame, one row per key."""
        from awaitly_nb.cache.heads import frame_of

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
