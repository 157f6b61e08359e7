"""One run on one stored id: take the lease, load, store each step before the next one starts, give the lease back.

Synchronous; the async driver calls it in a thread. A daemon thread renews the lease, however long a step takes. A
process that is stopped, or whose step holds the interpreter's lock, cannot renew: so the lease is checked before each
step, and what is written is fenced by its number.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from awaitly_nb.errors import AwaitlyError, LeaseHeldError, MisuseError, StoreError
from awaitly_nb.states.leases import new_token
from awaitly_nb.states.resume_state import later_than
from awaitly_nb.states.state_store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from awaitly_nb.states.leases import Lease
    from awaitly_nb.states.resume_state import ResumeState, StepEntry

__all__ = ["Session", "clocks"]

_log = logging.getLogger(__name__)


def clocks() -> tuple[float, float]:
    """Return the seconds since this machine was started, those with its lid closed included; and the wall clock's."""
    # `time.monotonic` stands still while a machine sleeps, on Linux and macOS; these do not.
    clock = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if clock is None else time.clock_gettime(clock), time.time()


_LAST_TRIES_S = 5.0
"""For so long the store is asked once more, where a run must not go on or end without an answer: a server restarts
in that time."""

_PAUSE_S = 0.25


class Session:
    """One run on one stored id. Safe to call from several threads.

    Parameters
    ----------
    store
        Where the state is stored.
    id
        Under which id.
    owner
        Who runs it, for those who find it taken; None means this process and host.
    ttl_s
        Seconds until the lease of an owner that vanished runs out; None means what the store says.
    now
        Tells the time twice, as `clocks` does, which is the default.
    """

    def __init__(
        self,
        store: StateStore,
        id: str,  # noqa: A002
        *,
        owner: str | None = None,
        ttl_s: float | None = None,
        now: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        if not isinstance(store, StateStore):
            raise MisuseError(
                f"store={store!r} is no StateStore: use aw.sqlite(path) or one of the others, or aw.StateStore(adapter)"
            )
        self._states = store.blocking
        self._id = id
        self._owner = owner
        self._ttl_s = store.lease_ttl_s if ttl_s is None else ttl_s
        self._now = now or clocks
        self._lease: Lease | None = None
        self._token = ""
        self._renewed_at = self._now()
        self._run: int | None = None
        self._lost: LeaseHeldError | None = None
        self._pending: dict[str, StepEntry] = {}
        self._finished_at: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._ended = threading.Event()

    def open(self) -> ResumeState | None:
        """Take the lease of the id and return the state stored under it, or None.

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
        self._renewed_at = self._now()
        self._lease = self._acquire()
        if self._lease is None:
            holder = self._states.holder(self._id)
            if holder is None:  # it was given back in this very moment
                self._lease = self._acquire()
                holder = self._states.holder(self._id)
            if self._lease is None:
                raise _held_by(holder)
        try:
            state = self._states.begin(self._id, self._lease.number, fence=self._lease.taken_over)
        except BaseException:
            self._release()
            raise
        self._run = self._lease.number
        self._ended.clear()
        threading.Thread(target=self._renew_always, name=f"awaitly-lease {self._id}", daemon=True).start()
        if state is not None:
            self._finished_at = {key: entry.at for key, entry in state.steps.items() if entry.at is not None}
        return state

    def _acquire(self) -> Lease | None:
        # The token first: an interrupt in the middle leaves a lease in the store of which nobody here was told.
        self._token = new_token()
        try:
            lease = self._states.acquire(self._id, self._ttl_s, owner=self._owner, token=self._token)
        except StoreError:
            self._token = ""
            raise
        if lease is None:
            self._token = ""
        return lease

    @property
    def is_due(self) -> bool:
        """True where `check_lease` has something to do: half of the lease is over, or a clock jumped, or it is lost."""
        return self._lost is not None or self._unrenewed_s() >= self._ttl_s / 2

    def check_lease(self) -> None:
        """Renew the lease where it is due; what holds it no longer must not start a step.

        Raises
        ------
        LeaseHeldError
            Somebody else has taken the id over; or may have: the store has not answered for longer than the lease.
        """
        deadline = time.monotonic() + _LAST_TRIES_S
        while self._lost is None and self._unrenewed_s() >= self._ttl_s / 2:
            try:
                self._renew()
            except StoreError as exc:
                away_s = self._unrenewed_s()
                if away_s < self._ttl_s:
                    _log.warning("the lease of %r could not be renewed, and is tried again: %s", self._id, exc)
                    return  # it holds for a while
                if time.monotonic() > deadline:
                    raise LeaseHeldError(f"nobody knows whom: the store has been away for {away_s:.0f} s") from exc
                time.sleep(_PAUSE_S)
        if self._lost is not None:
            raise LeaseHeldError(self._lost.owner, self._lost.since)

    def record(self, key: str, entry: StepEntry) -> None:
        """Store one finished step, and those that could not be stored before it.

        Raises
        ------
        LeaseHeldError
            Somebody else has taken the id over; nothing was written.
        AwaitlyError
            It could not be stored; it is tried again with the next step and when the session closes.
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
        """Store what is not stored yet, and give the lease back; harmless twice.

        Raises
        ------
        LeaseHeldError
            Somebody else has taken the id over.
        AwaitlyError
            Something could not be stored, after several attempts.
        """
        try:
            with self._lock:
                self._flush_patiently()
        finally:
            self._ended.set()
            self._release()

    @property
    def pending(self) -> list[str]:
        """Keys of finished steps that are not stored yet."""
        return list(self._pending)

    def _flush(self) -> None:
        failure: AwaitlyError | None = None
        for key, entry in list(self._pending.items()):
            if self.is_due:
                self.check_lease()
            try:
                self._states.add(self._id, key, entry, run=self._run)
            except LeaseHeldError as exc:
                self._lost = exc
                raise
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
            except LeaseHeldError:
                raise
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return

    def _unrenewed_s(self) -> float:
        """Return how long ago the lease was renewed: by the clock that says more, in case one of them jumped."""
        passed, wall = self._now()
        return max(passed - self._renewed_at[0], abs(wall - self._renewed_at[1]))

    def _renew(self) -> None:
        with self._renewing:
            if self._lease is None or self._unrenewed_s() < self._ttl_s / 3:
                return  # given back, or renewed by another thread
            began = self._now()
            if self._states.renew(self._id, self._lease, self._ttl_s):
                self._renewed_at = began
            else:
                self._lost = _held_by(self._states.holder(self._id))
                _log.warning("the lease of %r was lost to another run", self._id)

    def _renew_always(self) -> None:
        while not self._ended.wait(self._ttl_s / 3) and self._lost is None:
            try:
                self._renew()
            except StoreError as exc:
                _log.warning("the lease of %r could not be renewed, and is tried again: %s", self._id, exc)

    def _release(self) -> None:
        with self._renewing:
            self._lease = None
        if not self._token:
            return
        try:
            self._states.release(self._id, self._token)
        except StoreError as exc:
            # The work is done; a lease that is not given back runs out by itself.
            _log.warning("the lease of %r could not be given back: %s", self._id, exc)
        self._token = ""


def _held_by(holder: Lease | None) -> LeaseHeldError:
    return LeaseHeldError(holder.owner if holder else "another run", holder.since if holder else None)
