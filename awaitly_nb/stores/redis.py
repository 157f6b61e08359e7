"""Records in Redis, through redis-py. Each write is one script, so it is atomic and sent in one round trip.

A record is a hash, and its name a member of a sorted set, all of one score, which Redis keeps in the order of bytes: so
a prefix is a range. How durable a write is, Redis decides: run it with `appendonly yes`, and without eviction.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import MissingExtraError
from awaitly_nb.stores import ABSENT, ANY, Record
from awaitly_nb.stores.adapters import Address, checked_table, close_with, from_micros, name_bytes, prefix_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    import redis

    from awaitly_nb.stores import Body, Expect, Version

__all__ = ["RedisStore"]

_LOADING_S = 0.05
"""Between two looks whether the server has loaded its data."""

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000000 + t[2]; "

# KEYS: names, counter. ARGV: start of a record's key, name, then as given. A record that already carries the new
# version was written by this very call, whose answer was lost with the connection.
_SWAP = (
    _NOW
    + """
local key = ARGV[1] .. ARGV[2]
local version = redis.call('HGET', key, 'version')
if ARGV[6] ~= 'any' and version ~= ARGV[5] and (version or '') ~= ARGV[7] then return 0 end
if not version then redis.call('HSET', key, 'seq', redis.call('INCR', KEYS[2])) end
redis.call('HSET', key, 'head', ARGV[3], 'body', ARGV[4], 'version', ARGV[5], 'written_at', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], 0, ARGV[2])
return 1
"""
)
_SCAN = """
local found = {}
for i, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3])) do
  found[i] = {name, redis.call('HMGET', ARGV[1] .. name, 'seq', 'head', 'version', 'written_at', unpack(ARGV, 4))}
end
return found
"""
_DELETE = """
local deleted = 0
for i = 2, #ARGV do
  deleted = deleted + redis.call('DEL', ARGV[1] .. ARGV[i])
  redis.call('ZREM', KEYS[1], ARGV[i])
end
return deleted
"""


class RedisStore:
    """Named records in a Redis server.

    Parameters
    ----------
    server
        A URL, or a client of the user's own (without `decode_responses`), which stays open when the store is closed.
    table
        Begins every key.
    timeout_s
        Seconds to wait for a connection, for one answer, and for a server that is loading what it has on disk.
    """

    def __init__(self, server: str | redis.Redis, *, table: str = "awaitly", timeout_s: float = 10.0) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as exc:
            raise MissingExtraError("redis", "redis") from exc
        # In braces, so that a cluster keeps all of it on one node, as scripts need it.
        self._start = f"{{{checked_table(table)}}}:"
        self._owned = isinstance(server, str)
        self._address = Address(server if isinstance(server, str) else "redis://a client of your own")
        self._error, self._loading = redis.RedisError, redis.BusyLoadingError
        self._timeout_s = timeout_s
        if isinstance(server, str):
            try:
                self._client = redis.Redis.from_url(
                    server,
                    socket_timeout=timeout_s,
                    socket_connect_timeout=timeout_s,
                    retry=Retry(NoBackoff(), 1),  # once, on a new connection: the server may have been restarted
                )
            except ValueError as exc:
                raise self._address.error("read the URL", exc) from None
            close_with(self, self._client.close)
        else:
            self._client = server
        self._swap, self._scan, self._delete = map(self._client.register_script, (_SWAP, _SCAN, _DELETE))

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        raw = name_bytes(name)
        fields = self._run(self._client.hmget, self._record_key + raw, ["seq", "head", "version", "written_at", "body"])
        return None if fields[0] is None else _record(raw, fields)

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`, in the order of their first writing."""
        low, high = prefix_range(prefix)
        rows = self._run(self._scan, self._keys[:1], [self._record_key, b"[" + low, b"(" + high, *["body"] * bodies])
        return (_record(name, fields) for name, fields in sorted(rows, key=lambda row: int(row[1][0])))

    def swap(self, name: str, head: str, body: Sequence[Body], *, expect: Expect = ANY) -> Version | None:
        """Write a record and return its new version, or do nothing and return None where `expect` does not hold."""
        version, rule = os.urandom(16).hex(), "any" if expect is ANY else "version"
        expected = "" if expect is ANY or expect is ABSENT else str(expect)
        arguments = [self._record_key, name_bytes(name), head, b"".join(body), version, rule, expected]
        return version if self._run(self._swap, self._keys, arguments) else None

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records, and return how many there were."""
        raw = [name_bytes(name) for name in names]
        return int(self._run(self._delete, self._keys[:1], [self._record_key, *raw])) if raw else 0

    def now(self) -> datetime:
        """Return the server's own time."""
        seconds, micros = self._run(self._client.time)
        return from_micros(seconds * 1_000_000 + micros)

    def close(self) -> None:
        """Release the connections, unless the client is the user's."""
        if self._owned:
            self._run(self._client.close)

    def _run(self, command: Callable[..., Any], *arguments: Any) -> Any:  # Any: redis-py's own looseness
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return command(*arguments)
            except self._error as exc:
                if not isinstance(exc, self._loading) or time.monotonic() > deadline:
                    raise self._address.error("use", exc) from None
            time.sleep(_LOADING_S)

    @property
    def _keys(self) -> list[str]:
        return [f"{self._start}names", f"{self._start}seq"]

    @property
    def _record_key(self) -> bytes:
        return f"{self._start}record:".encode()

    def __repr__(self) -> str:
        return f"RedisStore({self._address.shown})"


def _record(name: bytes, fields: Sequence[bytes]) -> Record:
    _, head, version, written_at, *body = fields
    return Record(
        name.decode(), head.decode(), body[0] if body else None, version.decode(), from_micros(int(written_at))
    )
