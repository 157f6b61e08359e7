"""Where named bytes are stored: one small contract, and short adapters that know nothing of results.

A record is a name, a small readable head (JSON text) and a large body. A store has one verb that writes, `swap`, and it
is atomic: a reader sees the record before it or after it, never in between. What the bytes mean is decided above, once,
in `caches` and `resume`; signatures, expiry and merging are not a store's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from awaitly_nb.doors import door
from awaitly_nb.errors import StoreError
from awaitly_nb.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

__all__ = [
    "ABSENT",
    "ANY",
    "Body",
    "DamagedRecordError",
    "Expect",
    "Record",
    "Store",
    "UnconditionalStoreError",
    "Version",
]

Body: TypeAlias = "bytes | bytearray | memoryview"

Version: TypeAlias = "str"
"""An opaque token that is new with every write of a record."""


class _Token:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ANY: Final = _Token("ANY")
"""`swap` writes whatever is there."""

ABSENT: Final = _Token("ABSENT")
"""`swap` writes only where no record is."""

Expect: TypeAlias = "Version | _Token"


class UnconditionalStoreError(StoreError):
    """A store cannot write under a condition, and a condition was asked for; nothing was written."""


class DamagedRecordError(StoreError):
    """The bytes of one record are not what was written: gone, cut short, or somebody else's."""


class Record(Frozen):
    """One record as a store returned it.

    Attributes
    ----------
    name
        Its name; any `str` that UTF-8 can hold, up to 1,000 characters.
    head
        Small readable JSON text.
    body
        The bytes, or None where only heads were asked for. May be a private mapping of a file: writable, never shared.
    version
        Changes with every write.
    written_at
        When it was written by the store's own clock, aware UTC.
    stamp
        Where the body is a file: what changes when somebody writes to the file behind the store's back.
    """

    name: str
    head: str
    body: Body | None
    version: Version
    written_at: datetime
    stamp: object = None


class Store(Protocol):
    """Named records with one atomic `swap`. Synchronous and safe to call from several threads.

    A method that cannot do its work raises `StoreError` and leaves every record as it was.
    """

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`, literally, in the order of their first writing.

        Without `bodies` no body is read. One round trip to a server.
        """

    def swap(self, name: str, head: str, body: Sequence[Body], *, expect: Expect = ANY) -> Version | None:
        """Write a record, the body being the concatenation of the parts of `body`, and return its new version.

        Returns None, having done nothing, where `expect` does not hold.
        """

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records, and return how many there were."""

    def now(self) -> datetime:
        """Return the store's own time, aware UTC: all leases of a server live by its clock."""

    def close(self) -> None:
        """Release what this store opened itself; harmless twice."""


if TYPE_CHECKING:
    from awaitly_nb.stores.adapters import Address as Address, reopenable as reopenable
    from awaitly_nb.stores.addresses import at_address as at_address, store_at as store_at
    from awaitly_nb.stores.disk import DiskStore as DiskStore, Fetched as Fetched
    from awaitly_nb.stores.disk.database import (
        DATABASE as DATABASE,
        DamagedDatabaseError as DamagedDatabaseError,
        UnfilledDatabaseError as UnfilledDatabaseError,
        is_network as is_network,
    )
    from awaitly_nb.stores.disk.salvage import (
        Stray as Stray,
        is_made as is_made,
        readable_rows as readable_rows,
        sound as sound,
        strays as strays,
    )
    from awaitly_nb.stores.disk.store import process_token as process_token
    from awaitly_nb.stores.libsql import libsql_store as libsql_store
    from awaitly_nb.stores.mongo import MongoStore as MongoStore
    from awaitly_nb.stores.objects import object_store as object_store
    from awaitly_nb.stores.postgres import postgres_store as postgres_store
    from awaitly_nb.stores.redis import RedisStore as RedisStore
    from awaitly_nb.stores.sqlite import sqlite_store as sqlite_store
else:
    __getattr__ = door(
        __name__,
        {
            "adapters": "Address reopenable",
            "addresses": "at_address store_at",
            "disk": "DiskStore Fetched",
            "disk.database": "DATABASE DamagedDatabaseError UnfilledDatabaseError is_network",
            "disk.salvage": "Stray is_made readable_rows sound strays",
            "disk.store": "process_token",
            "libsql": "libsql_store",
            "mongo": "MongoStore",
            "objects": "object_store",
            "postgres": "postgres_store",
            "redis": "RedisStore",
            "sqlite": "sqlite_store",
        },
    )
