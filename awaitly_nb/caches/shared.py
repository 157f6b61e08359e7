"""A store's share for step caches: their records lie under a name of their own, beside resume states and leases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from awaitly_nb.stores import ANY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from awaitly_nb.stores import Body, Expect, Record, Store, Version

__all__ = ["Share"]

_ROOT: Final = "\x1ecache\x1f"


class Share:
    """A `Store` that is a part of another one.

    Parameters
    ----------
    store
        The whole.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return repr(self.store)

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        record = self.store.read(_ROOT + name)
        return None if record is None else replace(record, name=name)

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`."""
        for record in self.store.scan(_ROOT + prefix, bodies=bodies):
            yield replace(record, name=record.name.removeprefix(_ROOT))

    def swap(self, name: str, head: str, body: Sequence[Body], *, expect: Expect = ANY) -> Version | None:
        """Write a record; see `Store.swap`."""
        return self.store.swap(_ROOT + name, head, body, expect=expect)

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records."""
        return self.store.delete([_ROOT + name for name in names])

    def now(self) -> datetime:
        """Return the store's own time."""
        return self.store.now()

    def close(self) -> None:
        """Close the whole store."""
        self.store.close()
