"""Records in libSQL: a local file through the `libsql` driver, a remote server (sqld, Turso) over HTTP.

The protocol is Hrana, version 2, without streams; one statement is one request. The driver is not used for servers.
Version 0.1.11 has no time-outs, holds the interpreter's lock while it waits (so a server that hangs freezes the
kernel), and cannot go on after the server was restarted.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from awaitly_nb.errors import InvalidOptionError, MissingExtraError, StoreError
from awaitly_nb.stores.adapters import Address, close_with
from awaitly_nb.stores.sql import Dialect, SqlConnection, SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["libsql_store"]

_OK = 200

_DIALECT = Dialect(
    "INTEGER PRIMARY KEY AUTOINCREMENT",
    "BLOB",
    "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    too_large="Response is too large",  # a server answers with 10 MB at most, unless it was told otherwise
)


def libsql_store(
    database: str | Path, *, auth_token: str | None = None, table: str = "awaitly", timeout_s: float = 10.0
) -> SqlStore:
    """Return a store in a libSQL database.

    Parameters
    ----------
    database
        `libsql://`, `https://` or `http://` and the server, or the path of a local file.
    auth_token
        The token that the server asks for; it may also be in the URL, as `?authToken=`.
    table
        Name of the table.
    timeout_s
        Seconds to wait for one answer, or for another process that is writing.
    """
    text = os.fspath(database)
    if "://" not in text or text.startswith("file:"):
        return SqlStore(_LocalFile(Path(text.removeprefix("file:")), timeout_s), table=table)
    return SqlStore(_Server(text, auth_token, timeout_s), table=table)


class _Server:
    dialect = _DIALECT

    def __init__(self, url: str, auth_token: str | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        token = auth_token or parse_qs(parts.query).get("authToken", [None])[0]
        self._address = Address(url, secrets=[token or ""])
        if parts.scheme not in {"libsql", "https", "http"} or not parts.hostname:
            raise InvalidOptionError(f"{self._address.shown!r} is no libSQL server: libsql://, https:// or http://")
        self._timeout_s = timeout_s
        self._hrana = Hrana(parts.hostname, parts.port, tls=parts.scheme != "http", token=token, timeout_s=timeout_s)

    def execute(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        arguments = [_to_wire(value) for value in parameters]
        try:
            return _unlocked(lambda: self._hrana.execute(sql, arguments, _from_wire), self._timeout_s)
        except (OSError, ValueError) as exc:
            raise self._address.error("use", exc) from None

    def execute_or_create(self, sql: str, parameters: Sequence[Any], create: str) -> tuple[list[Any], int]:
        return _or_create(self, sql, parameters, create)

    def close(self) -> None:
        self._hrana.close()

    def __repr__(self) -> str:
        return self._address.shown


class _LocalFile:
    dialect = _DIALECT

    def __init__(self, path: Path, timeout_s: float) -> None:
        try:
            import libsql  # noqa: F401 - asked for here, so that its absence is told here
        except ImportError as exc:
            raise MissingExtraError("libsql", "libsql") from exc
        self._path = path.expanduser().absolute()
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._open: Any = None  # the driver has no types
        self._pid = 0

    def execute(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        with self._lock:
            try:
                return _unlocked(lambda: self._execute(sql, parameters), self._timeout_s)
            except (ValueError, OSError) as exc:
                raise StoreError(f"cannot use {self._path}: {exc}") from exc

    def execute_or_create(self, sql: str, parameters: Sequence[Any], create: str) -> tuple[list[Any], int]:
        return _or_create(self, sql, parameters, create)

    def close(self) -> None:
        with self._lock:
            if self._open is not None and self._pid == os.getpid():
                self._open.close()
            self._open = None

    def _execute(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        # The driver takes a tuple and nothing else, and every failure of its own is a ValueError.
        cursor = self._connection().execute(sql, tuple(parameters))
        return cursor.fetchall() if cursor.description else [], cursor.rowcount

    def _connection(self) -> Any:  # Any: the driver has no types
        import libsql

        if self._open is None or self._pid != os.getpid():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            opened = libsql.connect(str(self._path), timeout=self._timeout_s, isolation_level=None)
            opened.execute("PRAGMA journal_mode = WAL").fetchall()
            opened.execute("PRAGMA synchronous = FULL").fetchall()
            self._open, self._pid = opened, os.getpid()
            close_with(self, opened.close)
        return self._open

    def __repr__(self) -> str:
        return f"libsql, {self._path}"


def _unlocked(execute: Callable[[], tuple[list[Any], int]], timeout_s: float) -> tuple[list[Any], int]:
    """Execute a statement again while it is refused because of another writer.

    A server refuses a write at once where a file would let it wait; a file does so while it becomes a write-ahead log.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return execute()
        except (OSError, ValueError) as exc:
            if "database is locked" not in str(exc) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - only so that writers do not keep step


def _or_create(connection: SqlConnection, sql: str, parameters: Sequence[Any], create: str) -> tuple[list[Any], int]:
    try:
        return connection.execute(sql, parameters)
    except StoreError as exc:
        if "no such table" not in str(exc):
            raise
    connection.execute(create, ())
    return connection.execute(sql, parameters)


def _to_wire(value: bytes | str) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": "text", "value": value}
    return {"type": "blob", "base64": base64.b64encode(value).decode("ascii")}


def _from_wire(value: dict[str, Any]) -> Any:  # Any: what the column holds
    match value["type"]:
        case "integer":
            return int(value["value"])
        case "blob":
            text: str = value["base64"]
            return base64.b64decode(text + "=" * (-len(text) % 4))  # the server leaves out the padding
        case _:
            return value.get("value")


class Hrana:
    """A server that is asked over one open connection, made anew when it breaks. Safe in several threads.

    Parameters
    ----------
    host, port
        Where it listens.
    tls
        Whether it speaks HTTPS.
    token
        Sent as bearer token, or None.
    timeout_s
        Seconds to wait for the connection, and for each part of an answer.
    """

    def __init__(self, host: str, port: int | None, *, tls: bool, token: str | None, timeout_s: float) -> None:
        self._where = (host, port)
        self._tls = tls
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._open: http.client.HTTPConnection | None = None
        self._pid = 0

    def execute(
        self,
        sql: str,
        arguments: list[dict[str, Any]],
        read: Callable[[dict[str, Any]], Any],  # Any: values as the protocol writes them, and as the caller wants them
    ) -> tuple[list[Any], int]:
        """Run one statement in its own transaction; return its rows and how many rows it wrote.

        Raises
        ------
        OSError
            The server cannot be reached, or did not answer in time.
        ValueError
            It refused, or answered something else.
        """
        statement = {"sql": sql, "args": arguments}
        body = {"requests": [{"type": "execute", "stmt": statement}, {"type": "close"}]}
        with self._lock:
            status, answer = self._send(json.dumps(body).encode())
        if status != _OK:
            raise ValueError(f"HTTP {status}: {answer[:200].decode(errors='replace')}")
        outcome = json.loads(answer)["results"][0]
        if outcome["type"] != "ok":
            raise ValueError(outcome["error"]["message"])
        result = outcome["response"]["result"]
        return [[read(value) for value in row] for row in result["rows"]], int(result["affected_row_count"])

    def close(self) -> None:
        """Close the connection; harmless twice."""
        with self._lock:
            if self._open is not None and self._pid == os.getpid():
                self._open.close()
            self._open = None

    def _send(self, body: bytes) -> tuple[int, bytes]:
        reused = self._open is not None and self._pid == os.getpid()
        try:
            return self._once(body)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as exc:
            if not reused:
                raise ConnectionError(f"{type(exc).__name__}: {exc}") from exc
        # An open connection may have been closed by the server, or belong to one that was restarted since.
        try:
            return self._once(body)
        except http.client.HTTPException as exc:
            raise ConnectionError(f"{type(exc).__name__}: {exc}") from exc

    def _once(self, body: bytes) -> tuple[int, bytes]:
        if self._open is None or self._pid != os.getpid():
            kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
            self._open, self._pid = kind(*self._where, timeout=self._timeout_s), os.getpid()
            close_with(self, self._open.close)
        try:
            self._open.request("POST", "/v2/pipeline", body, self._headers)
            response = self._open.getresponse()
            return response.status, response.read()
        except BaseException:  # also an interrupt: half an answer must not be taken for the next one's
            self._open.close()
            self._open = None
            raise
