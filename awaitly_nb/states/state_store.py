"""States by id in any store: `StateStore` as coroutines, and `StateStore.blocking`, the same verbs as plain calls.

The coroutines go through one worker thread for each store, so they block no event loop, keep their order, and serve
several loops at once. What a handle has saved or loaded is remembered without holding it in memory: how far it got in
a state's log, and weakly the entries themselves. So the next save of a state that grew knows what is new, without
reading and without comparing.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from awaitly_nb.errors import (
    InvalidOptionError,
    LeaseHeldError,
    MisuseError,
    StateError,
    StateTooLargeError,
    StateVersionError,
    StoreError,
)
from awaitly_nb.states.leases import Lease, Leases
from awaitly_nb.states.log import (
    PART,
    Brief,
    Folded,
    Segment,
    StepOutline,
    Whole,
    fold_segments,
    is_fence,
    run_of,
    slot_name,
    slot_of,
    write_segment,
)
from awaitly_nb.states.resume_state import content_of
from awaitly_nb.states.wire import as_resume_state
from awaitly_nb.stores import ABSENT, UnconditionalStoreError
from awaitly_nb.units import parse_duration, parse_size, show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import ThreadPoolExecutor
    from datetime import datetime, timedelta
    from types import TracebackType

    from awaitly_nb.states.resume_state import Log, ResumeState, StepEntry
    from awaitly_nb.stores import Record, Store

__all__ = ["BlockingStates", "SavedState", "StateStore", "outline"]

T = TypeVar("T")

_LONGEST_ID = 500

_TOUCH = "touch"
"""Name of the record that only tells when a state was saved once more, without news: always one, so no heap grows."""

_STEPS_ASIDE = 16
"""So many slots that others took meanwhile are passed one by one; with more it is cheaper to list."""

_LONGEST_PAUSE_S = 1.0

_SPARE_SEGMENTS = 64
"""So many segments beyond two for each step are left as they are; a state above that is written anew as one."""


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

    slot: int = -1
    last_name: str = ""
    size_bytes: int = 0
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

    def grow(self, slot: int, last_name: str, size_bytes: int) -> None:
        self.slot, self.last_name = max(self.slot, slot), last_name
        self.size_bytes += size_bytes
        self.segments += 1

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
        """Store `state` under `id`; see `StateStore.save`."""
        name = self._name(id)
        checked = as_resume_state(state)
        if checked is None:
            raise StateError(f"None is no resume state to save under {id!r}; use delete({id!r}) to remove it")
        content = content_of(checked)
        known = None if replace else self._still_known(id)
        if known is None:
            outcomes, removed = list(checked.steps.items()), dict(content.removed)
        else:
            outcomes = known.news(checked)
            removed = {key: at for key, at in content.removed.items() if known.removed.get(key, self) != at}
        extra = content.extra if known is None or known.extra != content.extra else None
        before = 0 if known is None else known.size_bytes
        segment = write_segment(name, outcomes, removed=None if replace else removed, extra=extra, replace=replace)
        self._refuse_too_large(id, checked, before + segment.size_bytes)
        if known is not None and not outcomes and not removed and extra is None:
            self._records.swap(f"{name}{_TOUCH}", segment.head(f"{name}{_TOUCH}"), [segment.body])
            with self._lock:
                known.remember(checked, ())
            return
        slot = self._append(id, segment)
        if replace:
            self._sweep(name, slot, segment)
        with self._lock:
            if known is None or self._known.get(id) is not known:
                known = self._known[id] = _Known()
            known.grow(slot, slot_name(name, slot), before + segment.size_bytes - known.size_bytes)
            if replace:
                known.segments = 1
            known.remember(checked, outcomes)

    def add(self, id: str, key: str, entry: StepEntry, *, run: int | None = None) -> None:  # noqa: A002
        """Store one more finished step under `id`, whatever else is there: one write.

        Parameters
        ----------
        run
            Number of the run whose step it is; None outside of a run.

        Raises
        ------
        LeaseHeldError
            A later run has taken the id over; nothing was written.
        """
        name = self._name(id)
        segment = write_segment(name, [(key, entry)], run=run)
        with self._lock:
            known = self._known.get(id)
        if (
            known is not None
            and self._size_limit is not None
            and known.size_bytes + segment.size_bytes > self._size_limit
        ):
            self._too_large(id, known.size_bytes + segment.size_bytes)
        slot = self._append(id, segment, run=run)
        with self._lock:
            known = self._known.setdefault(id, _Known())
            known.grow(slot, slot_name(name, slot), segment.size_bytes)
            known.entries[key] = entry

    def begin(self, id: str, run: int, *, fence: bool) -> ResumeState | None:  # noqa: A002
        """Return the state stored under `id` for a run to go on from, or None.

        Parameters
        ----------
        run
            The run's number, that of its lease.
        fence
            Whether the run before may still be at work: what it writes from here on is refused.
        """
        name = self._name(id)
        while True:
            folded = self._load(id)
            state = folded.state
            # At the beginning, when the whole state is at hand; what is written anew is what was just read.
            anew = state is not None and folded.segments > _SPARE_SEGMENTS + 2 * len(state)
            if not fence and not anew:
                return state
            if anew and state is not None:
                steps, extra = state.steps.items(), content_of(state).extra
                segment = write_segment(name, steps, extra=extra, replace=True, run=run)
            else:
                segment = write_segment(name, run=run)
            slot = folded.slot + 1
            if not self._write(name, slot, segment, fenced=run is not None):
                continue  # one more was written since it was read
            if anew:
                self._sweep(name, slot, segment)
            with self._lock:
                known = self._known.setdefault(id, _Known())
                known.grow(slot, slot_name(name, slot) if anew else known.last_name, 0)
                known.segments = 1 if anew else folded.segments
            return state

    def load(self, id: str) -> ResumeState | None:  # noqa: A002
        """Return the state stored under `id`, or None."""
        return self._load(id).state

    def _load(self, id: str) -> Folded:  # noqa: A002
        name = self._name(id)
        segments, parts = [], {}
        for record in self._records.scan(name, bodies=True):
            tail = record.name[len(name) :]
            if tail.startswith(PART):
                parts[tail[len(PART) :]] = bytes(record.body or b"")
            else:
                segments.append(record)
        folded = _folded(id, name, segments, Whole(name, parts))
        folded.size_bytes += sum(map(len, parts.values()))
        with self._lock:
            if folded.state is None:
                self._known.pop(id, None)
            else:
                known = self._known[id] = _Known(folded.slot, folded.last_name, folded.size_bytes, folded.segments)
                known.remember(folded.state, folded.state.steps.items())
        return folded

    def outline(self, id: str) -> list[StepOutline] | None:  # noqa: A002
        """Return what is known of the steps stored under `id`, in completion order, without decoding a value, or None.

        Raises
        ------
        StoreError
            The database could not do it, or the state is unreadable.
        """
        name = self._name(id)
        heads = list(self._records.scan(name))
        parts = {head.name for head in heads if head.name[len(name) :].startswith(PART)}
        segments: Iterable[Record | None] = (
            (self._records.read(head.name) for head in heads if head.name not in parts)
            if parts
            else self._records.scan(name, bodies=True)
        )
        brief = Brief({part[len(name) + len(PART) :] for part in parts})
        state = _folded(id, name, [segment for segment in segments if segment is not None], brief).state
        return None if state is None else [StepOutline.of(key, entry) for key, entry in state.steps.items()]

    def delete(self, id: str) -> bool:  # noqa: A002
        """Remove `id`; return whether there was something to remove."""
        # Fences stay, as leases do: a run that was stopped before it was taken over may still wake, and write.
        names = [record.name for record in self._records.scan(self._name(id)) if not is_fence(record)]
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
            if not tail.startswith(PART) and not is_fence(record):
                latest[name] = max(latest.get(name, (record.written_at, 0)), (record.written_at, position))
        newest = sorted(latest, key=latest.__getitem__, reverse=True)[:limit]
        return [SavedState(name, latest[name][0]) for name in newest]

    def acquire(
        self,
        id: str,  # noqa: A002
        ttl: float | timedelta | str = 60.0,
        *,
        owner: str | None = None,
        token: str | None = None,
    ) -> Lease | None:
        """Take the lease of `id`, or return None where somebody has it; `token` is to prove the ownership."""
        return self._leases.acquire(_checked_id(id), ttl, owner=owner, token=token)

    def renew(self, id: str, token: str | Lease, ttl: float | timedelta | str = 60.0) -> bool:  # noqa: A002
        """Extend the lease to `ttl` from now; False where it is no longer this owner's."""
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

    def _append(self, id: str, segment: Segment, *, run: int | None = None) -> int:  # noqa: A002
        """Write a segment into the next free slot of the log of `id`, and return which one it was."""
        name = self._name(id)
        with self._lock:
            known = self._known.get(id)
        slot, most_s, at_end = 0 if known is None else known.slot + 1, 0.0, known is not None
        while True:
            began = time.perf_counter()
            if self._write(name, slot, segment, fenced=run is not None):
                return slot
            # Who tries again at once meets all others again, and of many that write one slot only one succeeds.
            if at_end:
                most_s = min(2 * max(most_s, time.perf_counter() - began), _LONGEST_PAUSE_S)
                time.sleep(random.uniform(0, most_s))  # noqa: S311 - spreads them; nothing secret
            taken = list(self._taken(name, slot) if at_end else self._records.scan(name))
            at_end = True
            later = [record for record in taken if run is not None and (run_of(record) or 0) > run]
            if later:
                holder = self._leases.holder(id)
                raise LeaseHeldError(holder.owner if holder else "a later run", holder.since if holder else None)
            slots = [found for record in taken if (found := slot_of(name, record.name)) is not None]
            slot = max(slot, *slots) + 1 if slots else slot

    def _taken(self, name: str, slot: int) -> Iterable[Record]:
        """Return the records from `slot` on; where the log is far ahead, all of it."""
        looked = [self._records.read(slot_name(name, slot))]
        while looked[-1] is not None and len(looked) < _STEPS_ASIDE:
            looked.append(self._records.read(slot_name(name, slot + len(looked))))
        if looked[-1] is None:
            return [record for record in looked if record is not None]
        return self._records.scan(name)

    def _write(self, name: str, slot: int, segment: Segment, *, fenced: bool) -> bool:
        for part, content in segment.parts.items():
            self._records.swap(f"{name}{PART}{part}", "{}", [content])
        record = slot_name(name, slot)
        try:
            return self._records.swap(record, segment.head(record), [segment.body], expect=ABSENT) is not None
        except UnconditionalStoreError:
            if fenced:
                raise
        # A state that only one process saves needs no condition: a look before the write finds the end of the log.
        if self._records.read(record) is not None:
            return False
        return self._records.swap(record, segment.head(record), [segment.body]) is not None

    def _sweep(self, name: str, slot: int, segment: Segment) -> None:
        """Remove what the segment in `slot` replaces."""
        parts = {f"{name}{PART}{part}" for part in segment.parts}
        names = [record.name for record in self._records.scan(name)]
        slots = {found: slot_of(name, found) for found in names}
        later = {found for found, at in slots.items() if at is not None and at >= slot}
        if later != {slot_name(name, slot)}:
            return  # others have written since: their large values may be among the parts, so the next one sweeps
        self._records.delete([found for found in names if found not in parts and found not in later])

    def _refuse_too_large(self, id: str, state: ResumeState, size_bytes: int) -> None:  # noqa: A002
        if self._size_limit is None or size_bytes <= self._size_limit:
            return
        # What was read and written so far also counts outcomes that later ones replaced; the state itself decides.
        exact = write_segment(self._name(id), state.steps.items(), extra=content_of(state).extra).size_bytes
        if exact > self._size_limit:
            self._too_large(id, exact)

    def _too_large(self, id: str, size_bytes: int) -> None:  # noqa: A002
        limit = show_size(self._size_limit or 0)
        raise StateTooLargeError(f"the state of {id!r} takes {show_size(size_bytes)}, more than size_limit={limit}")

    def _name(self, id: str) -> str:  # noqa: A002
        return f"\x1estate\x1f{self._prefix}{_checked_id(id)}\x1f"


class StateStore:
    """Resume states by id, in a database.

    Parameters
    ----------
    records
        Where the records lie: any `Store`.
    prefix
        Begins every id, so that several applications can share one database without seeing each other's.
    size_limit
        Largest state to accept, in bytes or as text such as "50 MB"; None means none.
    lease_ttl
        Seconds, or text such as "5m", after which a run that has vanished, or that was stopped, no longer has its id,
        so that another one may take it over.

    Attributes
    ----------
    blocking
        The same verbs as plain calls, for code without an event loop.
    records
        The store underneath; a shared step cache can lie in it too.
    lease_ttl_s
        As given, in seconds.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> import awaitly_nb as aw
    >>> async def main(folder):
    ...     async with aw.sqlite(f"{folder}/runs.db") as store:
    ...         await store.save("wf-123", aw.ResumeState().with_value("user:1", "Ada"))
    ...         return await store.load("wf-123"), await store.load("wf-124")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(main(folder))
    (<ResumeState of 1 step>, None)
    """

    def __init__(
        self,
        records: Store,
        *,
        prefix: str = "",
        size_limit: int | str | None = None,
        lease_ttl: float | timedelta | str = 60.0,
    ) -> None:
        self.records = records
        self.lease_ttl_s = parse_duration(lease_ttl, name="lease_ttl")
        self.blocking = BlockingStates(records, prefix=prefix, size_limit=size_limit)
        self._worker: ThreadPoolExecutor | None = None
        self._worker_pid = 0
        self._worker_lock = threading.Lock()

    async def save(self, id: str, state: ResumeState, *, replace: bool = False) -> None:  # noqa: A002 - the API's name
        """Store `state` under `id`.

        It is merged with what is there, key by key: of two outcomes of a key the later one stays, and what `without`
        took out is removed. A state that grew by one step costs one step.

        Parameters
        ----------
        id
            Any text up to 500 characters, without control characters.
        state
            The state.
        replace
            Make the stored state exactly this one.

        Raises
        ------
        StateError
            A value cannot be written down; the message names its key.
        StateTooLargeError
            The state is larger than the store's `size_limit`; nothing was written.
        StoreError
            The database could not do it; what was stored before is still there.
        """
        await self._call(self.blocking.save, id, state, replace=replace)

    async def load(self, id: str) -> ResumeState | None:  # noqa: A002
        """Return the state stored under `id`, or None.

        Raises
        ------
        StoreError
            The database could not do it, or the record is unreadable; it is left as it is.
        StateVersionError
            A newer version of this package wrote it.
        """
        return await self._call(self.blocking.load, id)

    async def delete(self, id: str) -> bool:  # noqa: A002
        """Remove `id`; return whether there was something to remove."""
        return await self._call(self.blocking.delete, id)

    async def list(self, prefix: str = "", limit: int | None = 100) -> list[SavedState]:
        """Return what is stored under ids that begin with `prefix`, literally, the newest first.

        Parameters
        ----------
        prefix
            The beginning, without any pattern.
        limit
            How many at most; None for all.
        """
        return await self._call(self.blocking.list, prefix, limit)

    async def acquire(
        self,
        id: str,  # noqa: A002
        ttl: float | timedelta | str = 60.0,
        *,
        owner: str | None = None,
    ) -> Lease | None:
        """Take the lease of `id` for `ttl`, by the database's clock, or return None where somebody has it.

        A lease whose process ran on this machine and is gone is taken over at once.
        """
        return await self._call(self.blocking.acquire, id, ttl, owner=owner)

    async def renew(self, id: str, token: str | Lease, ttl: float | timedelta | str = 60.0) -> bool:  # noqa: A002
        """Extend the lease to `ttl` from now; False where it is no longer this owner's."""
        return await self._call(self.blocking.renew, id, token, ttl)

    async def release(self, id: str, token: str | Lease) -> bool:  # noqa: A002
        """Give the lease back; do nothing and return False where it is not this owner's."""
        return await self._call(self.blocking.release, id, token)

    async def holder(self, id: str) -> Lease | None:  # noqa: A002
        """Return the lease of `id` as it stands, without its token, or None where nobody has it."""
        return await self._call(self.blocking.holder, id)

    async def close(self) -> None:
        """Release the connection; harmless twice. A pool or client that the user gave stays open."""
        await self._call(self.blocking.close)
        with self._worker_lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False)

    async def __aenter__(self) -> StateStore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # Any: handed on as they are
        import asyncio
        from functools import partial

        return await asyncio.wrap_future(self._thread().submit(partial(fn, *args, **kwargs)))

    def _thread(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._worker_lock:
            # A fork copies the pool without its thread.
            if self._worker is None or self._worker_pid != os.getpid():
                self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="awaitly-store")
                self._worker_pid = os.getpid()
            return self._worker

    def __repr__(self) -> str:
        return f"StateStore({self.records!r})"


def outline(records: Store, id: str) -> list[StepOutline] | None:  # noqa: A002 - the API's name
    """Return the steps of the state stored under `id` without a prefix, in completion order, or None; decodes no value.

    Raises
    ------
    StoreError
        The database could not do it, or the state is unreadable.
    """
    return BlockingStates(records).outline(id)


def _folded(id: str, name: str, segments: Iterable[Record], reader: Whole | Brief) -> Folded:  # noqa: A002
    try:
        return fold_segments(name, segments, reader)
    except StateVersionError as exc:
        raise StateVersionError(f"{id!r}: {exc}") from exc
    except StateError as exc:
        raise StoreError(f"the state stored under {id!r} is unreadable, and was left as it is: {exc}") from exc


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
