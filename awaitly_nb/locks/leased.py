"""Single flight across machines: a lease in a store that they share, by the store's own clock.

A server cannot see that a holder died, so a lease runs out; a living holder renews it from a thread of its own. Keys
share a fixed number of leases, so that the store does not fill with them: two keys that meet wait for each other
without need, and never compute wrongly.

A holder that was stopped may wake at any moment, also between a look at its lease and its write. So it writes under a
condition that is older than that look: over the version that it saw before. What the next holder has written since
has another version, and is never written over.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.errors import LeaseHeldError, StoreError
from awaitly_nb.locks.records import host_name
from awaitly_nb.stores import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from types import TracebackType

    from awaitly_nb.stores import Expect, Store, Version

__all__ = ["LeasedFlight"]

_LEASES: Final = 4096
_POLL_S: Final = 0.05
_MOST_TRIES: Final = 16


class LeasedFlight:
    """The right to compute one key among all machines that use a store.

    Parameters
    ----------
    store
        Where the lease lies.
    name
        What is being computed.
    ttl_s
        Seconds after which a holder that no longer renews counts as dead.
    held
        Where a flight that is held is found by its name.

    Attributes
    ----------
    seen
        The version of what is stored under the name, as it was last seen under this lease; None where nobody looked.
    """

    def __init__(
        self, store: Store, name: str, *, ttl_s: float = 30.0, held: MutableMapping[str, LeasedFlight] | None = None
    ) -> None:
        self._store = store
        self._name = name
        self._held = {} if held is None else held
        self.seen: Expect | None = None
        number = int.from_bytes(blake2b(name.encode("utf-8"), digest_size=4).digest(), "little") % _LEASES
        self._record = f"\x1eflight\x1f{number}"
        self._ttl_s = ttl_s
        self._by = os.urandom(8).hex()
        self._version: str | None = None
        self._is_lost = False
        self._lock = threading.Lock()
        self._done = threading.Event()

    def try_acquire(self) -> bool:
        """Take the flight if nobody has it; a store that cannot be asked counts as free, for the work goes on."""
        if self._version is not None:
            return True
        try:
            record = self._store.read(self._record)
            expect: Expect = ABSENT
            if record is not None:
                if _until(record.head) > self._store.now().timestamp():
                    return False
                expect = record.version
            self._version = self._store.swap(self._record, self._head(self._ttl_s), [], expect=expect)
        except StoreError:
            return True
        except BaseException:
            self._give_back()
            raise
        if self._version is None:
            return False
        self._is_lost = False
        self.seen = None
        self._held[self._name] = self
        self._done = threading.Event()
        threading.Thread(target=self._renew, args=(self._done,), name="awaitly_nb lease", daemon=True).start()
        return True

    def release(self) -> None:
        """Give it back; harmless where it is not held."""
        if self._held.get(self._name) is self:
            del self._held[self._name]
        with self._lock:
            self._done.set()
            if self._version is not None:
                # Written as run out instead of removed: between a look and a removal another may have taken it.
                with suppress(StoreError):  # it runs out by itself
                    self._store.swap(self._record, self._head(-1.0), [], expect=self._version)
                self._version = None  # last: whoever was interrupted in here releases it once more

    def check_lease(self) -> None:
        """Renew the lease, before what was computed under it is stored.

        Raises
        ------
        LeaseHeldError
            This process was stopped, or its store was away, for longer than the lease, and another has taken it over.
        """
        with self._lock:
            if self._version is not None:
                try:
                    self._extend()
                except StoreError:
                    return  # whoever stores meets that too, and tells
            if self._is_lost:
                raise LeaseHeldError(self.holder() or "another kernel")

    def write(self, look: Callable[[], Expect], swap: Callable[[Expect], Version | None]) -> None:
        """Write what was computed under the lease, and never over what another holder has written since.

        Parameters
        ----------
        look
            Returns the version of what is stored, or ABSENT.
        swap
            Writes where that is what is stored; returns None, having done nothing, where it is not.

        Raises
        ------
        LeaseHeldError
            Another has taken the lease over.
        StoreError
            The store could not do it.
        """
        for _ in range(_MOST_TRIES):
            # In this order: whoever takes the lease over after the check writes what this look has not seen.
            expect = look() if self.seen is None else self.seen
            self.check_lease()
            self.seen = swap(expect)
            if self.seen is not None:
                return
        raise StoreError(f"others write {self._name!r} all the time; nothing was written")

    def holder(self) -> str | None:
        """Return who computes this key, as in "kernel 4711 on host, since 12:03:10", or None where that is unknown."""
        try:
            record = self._store.read(self._record)
            note: dict[str, Any] = json.loads(record.head) if record is not None else {}
            since = datetime.fromtimestamp(note["at"], UTC).astimezone()
            return f"kernel {int(note['pid'])} on {note['host']}, since {since:%H:%M:%S}"
        except (StoreError, ValueError, KeyError, TypeError):
            return None

    def __enter__(self) -> LeasedFlight:
        while not self.try_acquire():
            threading.Event().wait(_POLL_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def _give_back(self) -> None:
        """Give back what was perhaps taken: an interrupt came before the store's answer."""
        with suppress(StoreError):
            record = self._store.read(self._record)
            if record is not None and self._by in record.head:
                self._store.swap(self._record, self._head(-1.0), [], expect=record.version)

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(self._ttl_s / 3):
            with self._lock:
                if done.is_set() or self._version is None:
                    return
                try:
                    self._extend()
                except StoreError:
                    continue  # Tried again before it runs out.

    def _extend(self) -> None:
        # Only over the record that was written last: whoever took the lease meanwhile has written another one.
        assert self._version is not None
        self._version = self._store.swap(self._record, self._head(self._ttl_s), [], expect=self._version)
        self._is_lost = self._version is None

    def _head(self, ttl_s: float) -> str:
        now = self._store.now().timestamp()
        note = {"pid": os.getpid(), "host": host_name(), "at": now, "until": now + ttl_s, "by": self._by}
        return json.dumps(note)


def _until(head: str) -> float:
    try:
        return float(json.loads(head)["until"])
    except (ValueError, KeyError, TypeError):
        return 0.0
