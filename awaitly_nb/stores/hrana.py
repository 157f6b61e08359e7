"""One SQL statement at a time over HTTP, as libSQL servers take it (the Hrana protocol, version 2, without streams)."""

from __future__ import annotations

import http.client
import json
import os
import threading
from typing import TYPE_CHECKING, Any

from awaitly_nb.stores.lifetime import close_with

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hrana"]

_OK = 200


class Hrana:
    """A server that is asked over one kept connection, made anew when it breaks. Safe in several threads.

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
        kept = self._open is not None and self._pid == os.getpid()
        try:
            return self._once(body)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as exc:
            if not kept:
                raise ConnectionError(f"{type(exc).__name__}: {exc}") from exc
        # A kept connection may have been closed by the server, or belong to one that was restarted since.
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
