"""The store contract in SQL, written once. An adapter brings a connection that runs one statement, and its dialect.

Every write is one statement, atomic by itself. Each write brings its own new version token, and a condition also holds
where the record already carries that token: so a statement whose answer was lost with its connection may be sent again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from awaitly_nb.errors import StoreError
from awaitly_nb.stores import ABSENT, ANY, Record
from awaitly_nb.stores.adapters import checked_table, from_micros, name_bytes, prefix_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from awaitly_nb.stores import Body, Expect, Version

__all__ = ["Dialect", "SqlConnection", "SqlStore"]

_MOST_NAMES = 500
"""Names in one DELETE: SQLite takes 999 parameters where it was built long ago."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one database spells what differs.

    Attributes
    ----------
    sequence, blob
        Column types: a growing number as primary key, and bytes.
    now
        An expression for microseconds since 1970, by the database's clock.
    mark
        The placeholder of a parameter.
    too_large
        What an error says that is about an answer of too many bytes; records are then read one by one.
    """

    sequence: str
    blob: str
    now: str
    mark: str = "?"
    too_large: str | None = None


class SqlConnection(Protocol):
    """One database that runs one statement at a time, each in its own transaction; safe in several threads."""

    dialect: Dialect

    def execute(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        """Run one statement; return its rows, and how many rows it wrote. Raises `StoreError`."""

    def execute_or_create(self, sql: str, parameters: Sequence[Any], create: str) -> tuple[list[Any], int]:
        """As `execute`; where the table is missing, run `create` first."""

    def close(self) -> None:
        """Release the connection; harmless twice."""


class SqlStore:
    """Named records in one table of an SQL database.

    Parameters
    ----------
    connection
        The database.
    table
        Name of the table, made on first use.
    """

    def __init__(self, connection: SqlConnection, *, table: str) -> None:
        table = checked_table(table)
        d = connection.dialect
        self._connection = connection
        self._create = (
            f"CREATE TABLE IF NOT EXISTS {table} (seq {d.sequence}, name {d.blob} NOT NULL UNIQUE, "
            f"head TEXT NOT NULL, body {d.blob} NOT NULL, version TEXT NOT NULL, written_at BIGINT NOT NULL)"
        )
        # The table's name is an identifier (checked above); every value is a parameter.
        self._read = f"SELECT name, head, version, written_at, body FROM {table} WHERE name = ?"  # noqa: S608
        self._scan = (
            f"SELECT name, head, version, written_at{{}} FROM {table} WHERE name >= ? AND name < ? ORDER BY seq"  # noqa: S608
        )
        self._insert = (
            f"INSERT INTO {table} (name, head, body, version, written_at) VALUES (?, ?, ?, ?, {d.now}) "  # noqa: S608
            "ON CONFLICT (name) DO UPDATE SET head = excluded.head, body = excluded.body, "
            "version = excluded.version, written_at = excluded.written_at"
        )
        self._only_absent = f" WHERE {table}.version = excluded.version"
        self._update = (
            f"UPDATE {table} SET head = ?, body = ?, version = ?, written_at = {d.now} "  # noqa: S608
            "WHERE name = ? AND version IN (?, ?)"
        )
        self._delete = f"DELETE FROM {table} WHERE name IN ({{}})"  # noqa: S608
        self._now = f"SELECT {d.now}"

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        rows, _ = self._run(self._read, (name_bytes(name),))
        return _record(rows[0]) if rows else None

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`, in the order of their first writing."""
        try:
            rows, _ = self._run(self._scan.format(", body" if bodies else ""), prefix_range(prefix))
        except StoreError as exc:
            limit = self._connection.dialect.too_large
            if not bodies or limit is None or limit not in str(exc):
                raise
            heads = list(self.scan(prefix))
            return (found for head in heads if (found := self.read(head.name)) is not None)
        return map(_record, rows)

    def swap(self, name: str, head: str, body: Sequence[Body], *, expect: Expect = ANY) -> Version | None:
        """Write a record and return its new version, or do nothing and return None where `expect` does not hold."""
        version, content, raw = os.urandom(16).hex(), b"".join(body), name_bytes(name)
        if isinstance(expect, str):
            _, written = self._run(self._update, (head, content, version, raw, expect, version))
        else:
            condition = self._only_absent if expect is ABSENT else ""
            _, written = self._run(self._insert + condition, (raw, head, content, version))
        return version if written else None

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records, and return how many there were."""
        raw, deleted = [name_bytes(name) for name in names], 0
        for start in range(0, len(raw), _MOST_NAMES):
            some = raw[start : start + _MOST_NAMES]
            deleted += self._run(self._delete.format(", ".join("?" * len(some))), some)[1]
        return deleted

    def now(self) -> datetime:
        """Return the database's own time."""
        rows, _ = self._run(self._now, ())
        return from_micros(rows[0][0])

    def close(self) -> None:
        """Release what this store opened itself."""
        self._connection.close()

    def _run(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        sql = sql.replace("?", self._connection.dialect.mark)
        return self._connection.execute_or_create(sql, parameters, self._create)

    def __repr__(self) -> str:
        return f"SqlStore({self._connection!r})"


def _record(row: Sequence[Any]) -> Record:
    name, head, version, written_at, *body = row
    return Record(bytes(name).decode(), head, body[0] if body else None, version, from_micros(written_at))
