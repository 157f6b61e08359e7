"""Saving and loading states over any store, as plain calls. `StateStore` offers the same verbs as coroutines.

What this handle has saved or loaded is remembered without keeping it alive: how far it got in a state's log, and weakly
the entries themselves. So the next save of a state that grew knows what is new, without reading and without comparing.
"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import (
    InvalidOptionError,
    MisuseError,
    StateError,
    StateTooLargeError,
    StateVersionError,
    StoreError,
)
from awaitly_nb.states.leases import Lease, Leases
from awaitly_nb.states.segments import Folded, Written, fold_segments, write_segment
from awaitly_nb.states.state import content_of
from awaitly_nb.states.wire import as_resume_state
from awaitly_nb.units import parse_size, show_size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from awaitly_nb.states.state import Log, ResumeState, StepEntry
    from awaitly_nb.stores import Store

__all__ = ["BlockingStates", "SavedState"]

_LONGEST_ID = 500
_PART = "="
"""Begins the last part of the name of a large value's record; segments are named by hex digits."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a store tells of a state without reading it.

    Attributes
    ----------
    id
        The id it was saved under.
    updated_at
        When it was last saved, aware UTC, by the store's clock.
    """

    id: str
    updated_at: datetime


@dataclass(slots=True)
class _Known:
    """What this handle knows to be stored under one id."""

    last_name: str
    size_bytes: int
    segments: int = 0
    log: weakref.ref[Log] | None = None
    length: int = 0
    entries: weakref.WeakValueDictionary[str, StepEntry] = field(default_factory=weakref.WeakValueDictionary)
    removed: dict[str, datetime | None] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def news(self, state: ResumeState) -> list[tuple[str, StepEntry]]:
        """Return the outcomes of `state` that are not stored yet."""
        content = content_of(state)
        if self.log is not None and self.log() is content.log and content.length >= self.length:
            return content.log[self.length : content.length]
        return [(key, entry) for key, entry in state.steps.items() if self.entries.get(key) is not entry]

    def remember(self, state: ResumeState, news: Iterable[tuple[str, StepEntry]]) -> None:
        content = content_of(state)
        self.log, self.length = weakref.ref(content.log), content.length
        for key in content.removed:
            self.entries.pop(key, None)
        self.entries.update(news)
        self.removed.update(content.removed)
        self.extra = dict(content.extra)


class BlockingStates:
    """States by id in one store. Safe to call from several threads.

    Parameters
    ----------
    records
        The store.
    prefix
        Begins every id, so that several applications can share a store without seeing each other.
    size_limit
        Largest state to accept, in bytes or as text; None means none.
    """

    def __init__(self, records: Store, *, prefix: str = "", size_limit: int | str | None = None) -> None:
        self._records = records
        self._prefix = _checked(prefix, "prefix")
        self._size_limit = None if size_limit is None else parse_size(size_limit, name="size_limit")
        self._leases = Leases(records, prefix=f"\x1elease\x1f{self._prefix}")
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def save(self, id: str, state: ResumeState, *, replace: bool = False) -> None:  # noqa: A002
        """Keep `state` under `id`; see `StateStore.save`."""
        name = self._name(id)
        checked = as_resume_state(state)
        if checked is None:
            raise StateError(f"None is no resume state to save under {id!r}; use delete({id!r}) to forget it")
        content = content_of(checked)
        known = None if replace else self._still_known(id)
        if known is None:
            outcomes, removed = list(checked.steps.items()), dict(content.removed)
        else:
            outcomes = known.news(checked)
            removed = {key: at for key, at in content.removed.items() if known.removed.get(key, self) != at}
        extra = content.extra if known is None or known.extra != content.extra else None
        before = 0 if known is None else known.size_bytes
        segment = write_segment(outcomes, removed=None if replace else removed, extra=extra, replace=replace)
        self._refuse_too_large(id, checked, before + segment.size_bytes)
        obsolete = [record.name for record in self._records.scan(name)] if replace else []
        # A save without news still moves `updated_at`; its record is always the same one, so no heap grows.
        nothing_new = known is not None and not outcomes and not removed and extra is None
        last_name = self._write(name, segment, tail="touch" if nothing_new else None)
        if replace:
            kept = {f"{name}{_PART}{part}" for part in segment.parts}
            self._records.delete([old for old in obsolete if old not in kept])
        with self._lock:
            if known is None or self._known.get(id) is not known:
                known = self._known[id] = _Known(last_name, 0)
            if not nothing_new:
                known.last_name = last_name
            known.size_bytes = before + (0 if nothing_new else segment.size_bytes)
            known.segments = 1 if replace else known.segments + 1
            known.remember(checked, outcomes)

    def add(self, id: str, key: str, entry: StepEntry) -> None:  # noqa: A002
        """Keep one more finished step under `id`, whatever else is there: one write."""
        segment = write_segment([(key, entry)])
        with self._lock:
            known = self._known.get(id)
        if (
            known is not None
            and self._size_limit is not None
            and known.size_bytes + segment.size_bytes > self._size_limit
        ):
            self._too_large(id, known.size_bytes + segment.size_bytes)
        last_name = self._write(self._name(id), segment)
        with self._lock:
            known = self._known.setdefault(id, _Known(last_name, 0))
            known.last_name = last_name
            known.size_bytes += segment.size_bytes
            known.segments += 1
            known.entries[key] = entry

    def load(self, id: str) -> ResumeState | None:  # noqa: A002
        """Return the state kept under `id`, or None."""
        folded = self.load_folded(id)
        return None if folded is None else folded.state

    def load_folded(self, id: str) -> Folded | None:  # noqa: A002
        """Return the state kept under `id` and what it was read from, or None."""
        name = self._name(id)
        segments, parts = [], {}
        for record in self._records.scan(name, bodies=True):
            tail = record.name[len(name) :]
            if tail.startswith(_PART):
                parts[tail[len(_PART) :]] = bytes(record.body or b"")
            else:
                segments.append(record)
        try:
            folded = fold_segments(segments, parts)
        except StateVersionError as exc:
            raise StateVersionError(f"{id!r}: {exc}") from exc
        except StateError as exc:
            raise StoreError(f"the state stored under {id!r} is unreadable, and was left as it is: {exc}") from exc
        with self._lock:
            if folded is None:
                self._known.pop(id, None)
            else:
                known = self._known[id] = _Known(folded.last_name, folded.size_bytes, folded.segments)
                known.remember(folded.state, folded.state.steps.items())
        return folded

    def delete(self, id: str) -> bool:  # noqa: A002
        """Forget `id`; return whether there was something to forget."""
        names = [record.name for record in self._records.scan(self._name(id))]
        with self._lock:
            self._known.pop(id, None)
        return bool(names) and self._records.delete(names) > 0

    def list(self, prefix: str = "", limit: int | None = 100) -> list[SavedState]:
        """Return what is stored under ids that begin with `prefix`, literally, the newest first."""
        if limit is not None and (isinstance(limit, bool) or limit < 1):
            raise InvalidOptionError(f"limit={limit!r} must be at least 1, or None for all")
        start = f"\x1estate\x1f{self._prefix}"
        latest: dict[str, tuple[datetime, int]] = {}
        for position, record in enumerate(self._records.scan(start + _checked(prefix, "prefix"))):
            name, _, tail = record.name[len(start) :].partition("\x1f")
            if not tail.startswith(_PART):
                latest[name] = max(latest.get(name, (record.written_at, 0)), (record.written_at, position))
        newest = sorted(latest, key=latest.__getitem__, reverse=True)[:limit]
        return [SavedState(name, latest[name][0]) for name in newest]

    def acquire(self, id: str, ttl: float | timedelta | str = 60.0, *, owner: str | None = None) -> Lease | None:  # noqa: A002
        """Take the lease of `id`, or return None where somebody holds it."""
        return self._leases.acquire(_checked_id(id), ttl, owner=owner)

    def renew(self, id: str, token: str | Lease, ttl: float | timedelta | str = 60.0) -> bool:  # noqa: A002
        """Hold the lease for another `ttl`; False where it is no longer this owner's."""
        return self._leases.renew(_checked_id(id), token, ttl)

    def release(self, id: str, token: str | Lease) -> bool:  # noqa: A002
        """Give the lease back; do nothing where it is not this owner's."""
        return self._leases.release(_checked_id(id), token)

    def holder(self, id: str) -> Lease | None:  # noqa: A002
        """Return the lease of `id` as it stands, without its token, or None."""
        return self._leases.holder(_checked_id(id))

    def close(self) -> None:
        """Release the connection; harmless twice."""
        self._records.close()

    def _still_known(self, id: str) -> _Known | None:  # noqa: A002
        """Return what is known of `id`, unless somebody deleted or replaced it meanwhile."""
        with self._lock:
            known = self._known.get(id)
        return known if known is not None and self._records.read(known.last_name) is not None else None

    def _write(self, name: str, segment: Written, *, tail: str | None = None) -> str:
        for part, content in segment.parts.items():
            self._records.swap(f"{name}{_PART}{part}", "{}", [content])
        segment_name = f"{name}{tail or os.urandom(16).hex()}"
        self._records.swap(segment_name, segment.head, [segment.body])
        return segment_name

    def _refuse_too_large(self, id: str, state: ResumeState, size_bytes: int) -> None:  # noqa: A002
        if self._size_limit is None or size_bytes <= self._size_limit:
            return
        # What was read and written so far also counts outcomes that later ones replaced; the state itself decides.
        exact = write_segment(state.steps.items(), extra=content_of(state).extra).size_bytes
        if exact > self._size_limit:
            self._too_large(id, exact)

    def _too_large(self, id: str, size_bytes: int) -> None:  # noqa: A002
        limit = show_size(self._size_limit or 0)
        raise StateTooLargeError(f"the state of {id!r} takes {show_size(size_bytes)}, more than size_limit={limit}")

    def _name(self, id: str) -> str:  # noqa: A002
        return f"\x1estate\x1f{self._prefix}{_checked_id(id)}\x1f"


def _checked_id(id: str) -> str:  # noqa: A002
    if not isinstance(id, str) or not id:
        raise MisuseError(f'an id is a non-empty str, not {id!r}; write store.load("wf-123")')
    return _checked(id, "id")


def _checked(text: str, what: str) -> str:
    """Return `text` if every database can hold it, and it cannot be mistaken for the structure of a record's name."""
    if not isinstance(text, str):
        raise MisuseError(f"{what}={text!r} must be a str")
    if len(text) > _LONGEST_ID or any(char < " " or "\ud800" <= char <= "\udfff" for char in text):
        raise InvalidOptionError(
            f"{what}={text[:60]!r} must have at most {_LONGEST_ID} characters, no control characters, no surrogates"
        )
    return text
