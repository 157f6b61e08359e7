"""Reading many rows: on a connection of its own where that takes long, and past text that is not UTF-8.

A row that somebody else wrote, or that was damaged, may hold any bytes as text. Python's SQLite refuses such a row and
with it the whole statement, so the statement is repeated with those texts as bytes, which nobody here takes for a name.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.stores.disk import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Reader", "fetch_again", "fetch_all"]

_UNDECODABLE: Final = "Could not decode to UTF-8"  # the error has no code: it is Python's, not SQLite's
_BATCH: Final = 500

Row = tuple[Any, ...]  # Any: columns not verified, so anybody may have written them


def fetch_all(connection: sqlite3.Connection, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
    """Return all rows of a query; a text that is not UTF-8 comes as its bytes."""
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError as exc:
        return fetch_again(exc, connection, sql, values)


def fetch_again(
    exc: sqlite3.OperationalError,
    connection: sqlite3.Connection,
    sql: str,
    values: Sequence[Any] | Mapping[str, Any],
) -> list[Row]:
    """Return all rows of a query that met a text which is not UTF-8, as its bytes; raise what else it failed with."""
    if not str(exc).startswith(_UNDECODABLE):
        raise exc
    connection.text_factory = _text_or_bytes
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.text_factory = str


class Reader:
    """A connection for one listing, so that it blocks nobody; to be used with `with`, or closed.

    Parameters
    ----------
    path
        The database.
    connect
        Opens the connection.
    """

    def __init__(self, path: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self.lock: Any = threading.RLock()  # Any: a function to the type checker
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        forks.watch(self)
        with self.lock:
            self._connection = connect()

    def __enter__(self) -> sqlite3.Connection:
        self.lock.acquire()
        return self._opened()

    def __exit__(self, *exc: object) -> None:
        self.close()
        self.lock.release()

    def walk(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[Row]:
        """Yield the rows of a query as they were when it began; a text that is not UTF-8 comes as its bytes."""
        with self.lock:
            connection = self._opened()
            connection.text_factory = _text_or_bytes
            self._cursor = cursor = connection.execute(sql, values)
        while True:
            with self.lock:
                self._opened()
                batch = cursor.fetchmany(_BATCH)
            if not batch:
                return
            yield from batch

    def close(self) -> None:
        """Close the connection; harmless twice."""
        with self.lock:
            connection, self._connection = self._connection, None
            cursor, self._cursor = self._cursor, None
            if cursor is not None:
                cursor.close()  # or SQLite would keep the connection open for the sake of its statement
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def after_fork(self, *, at_rest: bool) -> None:
        """End in the child: whoever goes on listing there is told so."""
        self.lock = threading.RLock()
        if at_rest:
            self.close()
        elif self._connection is not None:
            forks.abandon(self._connection, self._path)
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the listing was begun in another process")
        return self._connection


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return data
