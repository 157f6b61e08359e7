"""A store's share for step caches, under a name of its own beside resume states and leases, and patient with a server.

A cache must not cost more than it saves. With its server away a step asks for the value, for the lease and to write,
and each may take as long as the store's timeout. So after a reading that failed in `t` seconds nothing is read for
`10 * t`, and until one succeeds no value is written that took less than `t` to compute: a tenth of the time is lost.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from awaitly_nb.cache.entry import Missed
from awaitly_nb.codec import read_head
from awaitly_nb.errors import StoreError
from awaitly_nb.frozen import replace
from awaitly_nb.stores import ABSENT, ANY, DamagedRecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from awaitly_nb.cache.sealed import Sealed
    from awaitly_nb.cache.stepcache import Make, Seal
    from awaitly_nb.locks import LeasedFlight
    from awaitly_nb.stores import Body, Expect, Record, Store, Version

__all__ = ["Share"]

_ROOT: Final = "\x1ecache\x1f"
_PATIENCE: Final = 10.0  # how many times as long as it took to fail
_LONGEST_S: Final = 60.0


class Share:
    """A `Store` that is a part of another one.

    Parameters
    ----------
    store
        The whole.
    clock
        Seconds, from any beginning.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._clock = clock
        self._asked_again_at = 0.0
        self._took_s = 0.0
        self._why = ""
        self.told: set[object] = set()
        self.checked: dict[str, object] = {}
        self.entries: dict[str, Sealed] = {}
        self._held: dict[str, LeasedFlight] = {}

    def __repr__(self) -> str:
        return repr(self.store)

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        if self._clock() < self._asked_again_at:
            raise self._not_asked()
        started = self._clock()
        try:
            record = self.store.read(_ROOT + name)
        except DamagedRecordError:
            self._note(name, ANY)  # it has no version, and is to be replaced
            raise
        except StoreError as exc:
            ended = self._clock()
            self._took_s, self._why = ended - started, str(exc)
            self._asked_again_at = ended + min(_PATIENCE * self._took_s, _LONGEST_S)
            raise
        self._asked_again_at = 0.0
        self._note(name, ABSENT if record is None else record.version)
        return None if record is None else replace(record, name=name)

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`; people ask for that, so it is always tried."""
        for record in self.store.scan(_ROOT + prefix, bodies=bodies):
            yield replace(record, name=record.name.removeprefix(_ROOT))
        self._asked_again_at = 0.0

    def swap(self, name: str, head: str, body: Sequence[Body], *, expect: Expect = ANY) -> Version | None:
        """Write a record; see `Store.swap`."""
        version = self.store.swap(_ROOT + name, head, body, expect=expect)
        self._asked_again_at = 0.0
        return version

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records."""
        return self.store.delete([_ROOT + name for name in names])

    def open(self, name: str, make: Make) -> Sealed | Missed:
        """Return the entry called `name` as `make` opens it, or that there is none."""
        return self.peek(name, make) or Missed()

    def peek(self, name: str, make: Make) -> Sealed | None:
        """Return the entry called `name` as `make` opens it, or None."""
        record = self.read(name)
        if record is None:
            return None
        # Bytes that were read for this alone may become the value; others would be shared with whoever has them.
        return make(name, record.head, record.body or b"", record.version, None)

    def put(self, name: str, sealed: Sealed, seal: Seal) -> None:
        """Write an entry; under a lease that is held for it, only while it holds."""
        del sealed
        head, body = seal()
        # A lease is read before it is taken, and whoever holds one renews it in any case: those are always written.
        if self._asked_again_at and _seconds_in(head) <= self._took_s:
            raise self._not_asked()
        flight = self._held.get(name)
        if flight is None:
            self.swap(name, head, body)
        else:
            flight.write(partial(self._version, name), lambda expect: self.swap(name, head, body, expect=expect))

    def head(self, name: str) -> str | None:
        """Return the head of a record, or None; reads no body."""
        record = self._outline(name)
        return None if record is None else record.head

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits (not counted here) of the records whose names begin with `prefix`."""
        return [(record.name, record.head, 0) for record in self.scan(prefix)]

    def dated(self, prefix: str = "") -> list[tuple[str, str | None]]:
        """Return the names that begin with `prefix`, with their heads."""
        return [(record.name, record.head) for record in self.scan(prefix)]

    def flight(self, name: str) -> LeasedFlight:
        """Return the right to compute `name` among all machines that use the store."""
        from awaitly_nb.locks import LeasedFlight

        return LeasedFlight(self, name, held=self._held)

    def share(self, text: bytes) -> str | None:
        """Return None: a round trip for a part of keys costs more than its bytes."""
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

    def now(self) -> datetime:
        """Return the store's own time."""
        return self.store.now()

    def close(self) -> None:
        """Close the whole store."""
        self.store.close()

    def _note(self, name: str, version: Expect) -> None:
        if (flight := self._held.get(name)) is not None:
            flight.seen = version

    def _version(self, name: str) -> Expect:
        record = self._outline(name)
        return ABSENT if record is None else record.version

    def _outline(self, name: str) -> Record | None:
        return next((record for record in self.scan(name) if record.name == name), None)

    def _not_asked(self) -> StoreError:
        left_s = max(0.0, self._asked_again_at - self._clock())
        why = f"the last try took {self._took_s:.1f} s in vain: {self._why}"
        return StoreError(f"not asked for another {left_s:.0f} s, because {why}")


def _seconds_in(head: str) -> float:
    """Return how long it took to compute an entry, as its head tells; 0 where that is not known."""
    return float((read_head(head) or {}).get("duration_s") or 0.0)
