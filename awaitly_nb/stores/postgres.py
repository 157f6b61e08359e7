"""Records in PostgreSQL, through psycopg 3, with connections made when needed, pooled, and replaced when they break.

psycopg's own pool is taken where the user brings one. It is not made here: while a server is away it tries again at
growing intervals in the background, logging each time, so that a server that is back is not found for a while, and
whoever waits is told only that he waited.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import MissingExtraError, StoreError
from awaitly_nb.stores.adapters import Address, close_with
from awaitly_nb.stores.sql import Dialect, SqlStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection
    from psycopg_pool import ConnectionPool

__all__ = ["postgres_store"]

_MOST_KEPT = 4


def postgres_store(server: str | ConnectionPool, *, table: str = "awaitly", timeout_s: float = 10.0) -> SqlStore:
    """Return a store in a PostgreSQL database.

    Parameters
    ----------
    server
        A connection URL or string, or a pool of the user's own, which stays open when the store is closed.
    table
        Name of the table; it may also have been made beforehand.
    timeout_s
        Seconds to wait for a connection, and for one statement.
    """
    return SqlStore(_Postgres(server, timeout_s), table=table)


class _Postgres:
    dialect = Dialect(
        "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "BYTEA",
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
        "%s",
    )

    def __init__(self, server: str | ConnectionPool, timeout_s: float) -> None:
        try:
            import psycopg
        except ImportError as exc:
            raise MissingExtraError("psycopg", "postgres") from exc
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[Connection[Any]] = []
        close_with(self, partial(_close_all, self._idle))
        self._pid = os.getpid()
        self._pool = None if isinstance(server, str) else server
        if not isinstance(server, str):
            self._address = Address("postgresql://a pool of your own")
            return
        try:
            parts = psycopg.conninfo.conninfo_to_dict(server)
        except psycopg.Error as exc:
            raise Address(server).error("read the connection string of", exc) from None
        self._address = Address(server, secrets=[str(parts.get("password") or "")])
        where = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        self._address.shown = f"postgresql://{where}"  # also where the connection string was no URL

    def execute(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        import psycopg

        try:
            try:
                return self._once(sql, parameters)
            except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
                if not isinstance(exc.__cause__, _StaleError):
                    raise
            # The server was restarted, or closed what was idle: send the statement again, on a new connection.
            return self._once(sql, parameters)
        except psycopg.Error as exc:
            raise self._address.error("use", exc) from None

    def execute_or_create(self, sql: str, parameters: Sequence[Any], create: str) -> tuple[list[Any], int]:
        try:
            return self.execute(sql, parameters)
        except StoreError as exc:
            if "UndefinedTable" not in str(exc):
                raise
        # One after the other: IF NOT EXISTS looks before it makes, and of two that do so at once one fails, on the
        # table, its type or its sequence. The lock is the transaction's, so it also holds behind PgBouncer.
        lock = "PERFORM pg_advisory_xact_lock(hashtext('awaitly_nb makes a table'))"
        self.execute(f"DO $make$ BEGIN {lock}; {create}; END $make$", ())
        return self.execute(sql, parameters)

    def close(self) -> None:
        with self._lock:
            self._leave_to_parent()
            _close_all(self._idle)

    def _once(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        # Binary results: bytes arrive as they are instead of as hex text of twice the size.
        with self._connection() as connection, _limited(connection, 2 * self._timeout_s):
            cursor = connection.cursor(binary=True)
            cursor.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else [], cursor.rowcount

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        if self._pool is not None:
            with self._pool.connection(timeout=self._timeout_s) as given:
                yield given
            return
        idle = self._idle_connection()
        connection = idle or self._connect()
        try:
            yield connection
        except BaseException as exc:
            broken = connection.broken or connection.closed
            if broken and idle is not None:
                self.close()  # the other idle ones are of the same server, and the same age
                if isinstance(exc, Exception) and not _is_late(exc):
                    exc.__cause__ = _StaleError()
            self._put_back(connection)
            raise
        self._put_back(connection)

    def _idle_connection(self) -> Connection[Any] | None:
        with self._lock:
            self._leave_to_parent()
            return self._idle.pop() if self._idle else None

    def _leave_to_parent(self) -> None:
        if self._pid != os.getpid():
            _left_to_parent.extend(self._idle)
            self._idle.clear()
            self._pid = os.getpid()
            close_with(self, partial(_close_all, self._idle))

    def _put_back(self, connection: Connection[Any]) -> None:
        from psycopg.pq import TransactionStatus

        with self._lock:
            # An interrupt may have left a statement under way: such a connection is not used again.
            usable = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
            if usable and len(self._idle) < _MOST_KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> Connection[Any]:
        import psycopg

        limit_ms = round(self._timeout_s * 1000)
        # Nothing is prepared, so that this also works behind PgBouncer.
        connection: Connection[Any] = psycopg.connect(
            self._address.url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=max(2, round(self._timeout_s)),
            tcp_user_timeout=limit_ms,
        )
        connection.execute(f"SET statement_timeout = {limit_ms}".encode())
        return connection

    def __repr__(self) -> str:
        return self._address.shown


_left_to_parent: list[Any] = []
"""Connections that a fork copied here: never used and never closed, since they are the parent's."""


def _close_all(connections: list[Connection[Any]]) -> None:
    while connections:
        connections.pop().close()


class _StaleError(Exception):
    """Says that the connection was one from before, so that a new one may do better."""


def _is_late(exc: BaseException) -> bool:
    import psycopg

    return isinstance(exc, psycopg.errors.QueryCanceled)


@contextmanager
def _limited(connection: Connection[Any], seconds: float) -> Iterator[None]:
    """Break off what takes longer than the server's own limit allows: a server that hangs does not keep it."""
    import psycopg

    late = threading.Event()

    def break_off() -> None:
        late.set()
        # Waking the thread that waits is all that may be done to its connection from outside.
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg.Error as exc:
        if late.is_set():
            raise psycopg.errors.QueryCanceled(f"no answer within {seconds:g} s") from exc
        raise
    finally:
        timer.cancel()
