"""One run on one stored id: take the lease, load, keep each step before the next one begins, give the lease back.

Synchronous; the async driver calls it in a thread. A daemon thread renews the lease, however long a step takes.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from awaitly_nb.errors import AwaitlyError, LeaseHeldError, MisuseError, StoreError
from awaitly_nb.states.state import later_than
from awaitly_nb.states.store import StateStore

if TYPE_CHECKING:
    from datetime import datetime

    from awaitly_nb.states.leases import Lease
    from awaitly_nb.states.state import ResumeState, StepEntry

__all__ = ["Session"]

_log = logging.getLogger(__name__)

_LAST_TRIES_S = 5.0
"""For so long what could not be saved before is tried again at the end of a run: a server restarts in that time."""

_PAUSE_S = 0.25

_SPARE_SEGMENTS = 64
"""So many segments beyond two for each step are left as they are; a state above that is written anew as one."""


class Session:
    """What `run(body, store=store, id=id)` does with the store.

    Parameters
    ----------
    store
        Where the state is kept.
    id
        Under which id.
    owner
        Who runs it, for those who find it taken; None means this process and host.
    ttl_s
        Seconds until the lease of an owner that vanished runs out.
    """

    def __init__(self, store: StateStore, id: str, *, owner: str | None = None, ttl_s: float = 60.0) -> None:  # noqa: A002
        if not isinstance(store, StateStore):
            raise MisuseError(
                f"store={store!r} is no StateStore: use aw.sqlite(path) or one of the others, or aw.StateStore(adapter)"
            )
        self._states = store.blocking
        self._id = id
        self._owner = owner
        self._ttl_s = ttl_s
        self._lease: Lease | None = None
        self._pending: dict[str, StepEntry] = {}
        self._finished_at: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def open(self) -> ResumeState | None:
        """Take the lease of the id and return the state kept under it, or None.

        Raises
        ------
        LeaseHeldError
            Somebody else is running this id.
        StoreError
            The database could not be read.
        """
        # Whoever gives up waiting for this closes the session; that waits until there is something to close.
        with self._lock:
            return self._open()

    def _open(self) -> ResumeState | None:
        self._lease = self._states.acquire(self._id, self._ttl_s, owner=self._owner)
        if self._lease is None:
            holder = self._states.holder(self._id)
            if holder is None:  # it was given back in this very moment
                self._lease = self._states.acquire(self._id, self._ttl_s, owner=self._owner)
                holder = self._states.holder(self._id)
            if self._lease is None:
                raise LeaseHeldError(holder.owner if holder else "another run", holder.since if holder else None)
        try:
            folded = self._states.load_folded(self._id)
            if folded is not None and folded.segments > _SPARE_SEGMENTS + 2 * len(folded.state):
                # At the beginning, when the whole state is at hand; what is written anew is what was just read.
                self._states.save(self._id, folded.state, replace=True)
        except BaseException:
            self._release()
            raise
        self._ended.clear()
        threading.Thread(target=self._renew, name=f"awaitly-lease {self._id}", daemon=True).start()
        if folded is None:
            return None
        self._finished_at = {key: entry.at for key, entry in folded.state.steps.items() if entry.at is not None}
        return folded.state

    def record(self, key: str, entry: StepEntry) -> None:
        """Keep one finished step, and those that could not be kept before it.

        Raises
        ------
        AwaitlyError
            It could not be kept; it is tried again with the next step and when the session closes.
        """
        with self._lock:
            if entry.at is not None:
                # Later than what it follows, whatever the clock says: the store takes the later outcome of a key.
                at = self._finished_at[key] = later_than(entry.at, self._finished_at.get(key))
                entry = replace(entry, at=at)
            self._pending.pop(key, None)
            self._pending[key] = entry
            self._flush()

    def close(self) -> None:
        """Keep what is not kept yet, and give the lease back; harmless twice.

        Raises
        ------
        AwaitlyError
            Something could not be kept, after several attempts.
        """
        try:
            with self._lock:
                self._flush_patiently()
        finally:
            self._ended.set()
            self._release()

    @property
    def pending(self) -> list[str]:
        """Keys of finished steps that are not kept yet."""
        return list(self._pending)

    def _flush(self) -> None:
        failure: AwaitlyError | None = None
        for key, entry in list(self._pending.items()):
            try:
                self._states.add(self._id, key, entry)
            except StoreError:
                raise  # the database is away: it will be for the others too
            except AwaitlyError as exc:  # this one value cannot be written: the others must not suffer
                failure = failure or exc
                del self._pending[key]
            else:
                del self._pending[key]
        if failure is not None:
            raise failure

    def _flush_patiently(self) -> None:
        deadline = time.monotonic() + _LAST_TRIES_S
        while True:
            try:
                self._flush()
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return

    def _renew(self) -> None:
        while not self._ended.wait(self._ttl_s / 3):
            try:
                if not self._holds():
                    _log.warning("the lease of %r was lost to another run", self._id)
                    return
            except StoreError as exc:
                _log.warning("the lease of %r could not be renewed, and is tried again: %s", self._id, exc)

    def _holds(self) -> bool:
        """Renew the lease; take it again where it ran out unnoticed (a laptop that slept) and nobody else has it."""
        if self._lease is None:
            return False
        if self._states.renew(self._id, self._lease, self._ttl_s):
            return True
        again = self._states.acquire(self._id, self._ttl_s, owner=self._owner)
        self._lease = again or self._lease
        return again is not None

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            self._states.release(self._id, lease)
        except StoreError as exc:
            # The work is done; a lease that is not given back runs out by itself.
            _log.warning("the lease of %r could not be given back: %s", self._id, exc)
