"""Records in MongoDB, through pymongo. Each record is one document, and each write one atomic operation on it.

A document is found by its `_id`, the record's name. `seq`, a timestamp that the server gives on the first writing,
orders them. A body larger than a document may be is refused by the server; callers split what is large.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import MissingExtraError
from awaitly_nb.stores import ABSENT, ANY, Record
from awaitly_nb.stores.adapters import Address, checked_table, close_with, name_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from pymongo import MongoClient
    from pymongo.collection import Collection

    from awaitly_nb.stores import Body, Expect, Version

__all__ = ["MongoStore"]


class MongoStore:
    """Named records in one collection of a MongoDB database.

    Parameters
    ----------
    server
        A URL, or a client of the user's own, which stays open when the store is closed.
    database
        Name of the database; None means the URL's, else "awaitly".
    table
        Name of the collection.
    timeout_s
        Seconds to wait for a server, and for one answer.
    """

    def __init__(
        self,
        server: str | MongoClient[Any],
        *,
        database: str | None = None,
        table: str = "awaitly",
        timeout_s: float = 10.0,
    ) -> None:
        try:
            import pymongo
        except ImportError as exc:
            raise MissingExtraError("pymongo", "mongo") from exc
        self._table = checked_table(table)
        self._database = None if database is None else checked_table(database)
        self._timeout_s = timeout_s
        self._given = None if isinstance(server, str) else server
        self._address = Address(server if isinstance(server, str) else "mongodb://a client of your own")
        self._client: MongoClient[Any] | None = None
        self._lock = threading.Lock()
        self._pid = 0
        self._error = pymongo.errors.PyMongoError

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        name_bytes(name)
        found = self._run(lambda records: records.find_one({"_id": name}))
        return None if found is None else _record(found)

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`, in the order of their first writing."""
        name_bytes(prefix)
        # A range, not a pattern: literal, and on the index. The bound is no character, so no name has it.
        where = {"_id": {"$gte": prefix, "$lt": f"{prefix}\U0010ffff"}}
        fields = None if bodies else {"body": 0}
        return map(_record, self._run(lambda records: list(records.find(where, fields).sort("seq", 1))))

    def swap(self, name: str, head: str, body: Sequence[Body], *, expect: Expect = ANY) -> Version | None:
        """Write a record and return its new version, or do nothing and return None where `expect` does not hold."""
        version = os.urandom(16).hex()
        name_bytes(name)
        content = {"head": head, "body": b"".join(body), "version": version}
        written = {"written_at": True}
        first = {**written, "seq": {"$type": "timestamp"}}
        stored = {field: content[field] for field in ("head", "body")}

        from pymongo.errors import DuplicateKeyError

        def write(records: Collection[Any]) -> bool:
            if not isinstance(expect, str):
                with suppress(DuplicateKeyError):
                    # No document has this version yet, so this can only insert; or finds what a lost answer was about.
                    new = {"_id": name, "version": version}
                    records.update_one(new, {"$set": stored, "$currentDate": first}, upsert=True)
                    return True
                if expect is ABSENT:
                    return False
            old = {} if expect is ANY else {"version": {"$in": [expect, version]}}
            change = {"$set": content, "$currentDate": written}
            return records.update_one({"_id": name, **old}, change).matched_count > 0

        return version if self._run(write) else None

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records, and return how many there were."""
        wanted = list(names)
        return int(self._run(lambda records: records.delete_many({"_id": {"$in": wanted}}).deleted_count))

    def now(self) -> datetime:
        """Return the server's own time."""
        answer = self._run(lambda records: records.database.client.admin.command("hello"))
        at: datetime = answer["localTime"]
        return at.replace(tzinfo=UTC)

    def close(self) -> None:
        """Release the connections, unless the client is the user's."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    def _run(self, command: Callable[[Collection[Any]], Any]) -> Any:  # Any: documents
        from bson.errors import InvalidDocument
        from pymongo.errors import AutoReconnect, NetworkTimeout, ServerSelectionTimeoutError

        try:
            records = self._records()
            try:
                return command(records)
            except AutoReconnect as exc:
                if isinstance(exc, ServerSelectionTimeoutError | NetworkTimeout):
                    raise
                return command(records)  # the server was restarted; every command here may be sent twice
        except (self._error, InvalidDocument, OverflowError) as exc:
            raise self._address.error("use", exc) from None

    def _records(self) -> Collection[Any]:
        from pymongo import MongoClient, WriteConcern

        client = self._given
        if client is None:
            with self._lock:
                if self._client is None or self._pid != os.getpid():
                    limit_ms = round(self._timeout_s * 1000)
                    try:
                        self._client = MongoClient(
                            self._address.url,
                            serverSelectionTimeoutMS=limit_ms,
                            timeoutMS=limit_ms,
                            appname="awaitly-nb",
                        )
                    except ValueError as exc:
                        raise self._address.error("read the URL", exc) from None
                    self._pid = os.getpid()
                    close_with(self, self._client.close)
                client = self._client
        database = client.get_default_database("awaitly") if self._database is None else client[self._database]
        durable = WriteConcern("majority", j=True)
        return database.get_collection(self._table, write_concern=durable)

    def __repr__(self) -> str:
        return f"MongoStore({self._address.shown})"


def _record(found: dict[str, Any]) -> Record:
    written_at: datetime = found["written_at"]
    return Record(found["_id"], found["head"], found.get("body"), found["version"], written_at.replace(tzinfo=UTC))
