"""How a record becomes one object: a fixed beginning, a head in JSON with its length, and the body.

    awaitly1 VERSION LENGTH {"name": ..., "head": ..., "first_at": ..., "written_at": ..., "body_bytes": ...} BODY

Head and body are one object, so that one write replaces both; the head comes first, so that a list of heads is made of
the first few kilobytes of each. Also how a record's name becomes an object's: safe on every service and file system,
also where upper and lower case are the same, and cut where it is too long, for the head has all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from awaitly_nb.stores import DamagedRecordError
from awaitly_nb.stores.names import name_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.stores import Body

__all__ = [
    "PEEK_BYTES",
    "SUFFIX",
    "TAG_BYTES",
    "Frame",
    "frame_of",
    "head_bytes",
    "object_name",
    "object_prefix",
    "seal",
]

SUFFIX = ".awaitly"

PEEK_BYTES = 4096
"""What is read of an object for its head: enough for nearly every one."""

_MAGIC = b"awaitly1"
_VERSION_BYTES = 32
_LENGTH_BYTES = 8
TAG_BYTES = len(_MAGIC) + _VERSION_BYTES
_START = TAG_BYTES + _LENGTH_BYTES
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST = 190
"""File systems take names of 255 bytes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What an object tells of its record. `first_at` and `written_at` are microseconds since 1970."""

    name: str
    head: str
    version: str
    first_at: int
    written_at: int
    body_at: int
    body_bytes: int


def seal(name: str, head: str, version: str, *, first_at: int, written_at: int, body: Iterable[Body]) -> bytes:
    """Return the object that is this record."""
    parts = list(body)
    size = sum(memoryview(part).nbytes for part in parts)
    told = {"name": name, "head": head, "first_at": first_at, "written_at": written_at, "body_bytes": size}
    text = json.dumps(told).encode()
    return b"".join([_MAGIC, version.encode(), b"%08x" % len(text), text, *parts])


def head_bytes(content: bytes) -> int:
    """Return how much of an object its head takes, from its first bytes; DamagedRecordError if it is none of ours."""
    try:
        if not content.startswith(_MAGIC):
            raise ValueError("it begins otherwise")  # noqa: TRY301 - one place tells of damage
        return _START + int(content[TAG_BYTES:_START], 16)
    except ValueError as exc:
        raise DamagedRecordError(f"an object is no record of awaitly_nb ({exc})") from None


def frame_of(content: bytes) -> Frame:
    """Return what the head of an object tells; DamagedRecordError if it cannot be read."""
    body_at = head_bytes(content)
    try:
        told: dict[str, Any] = json.loads(content[_START:body_at])
        version = content[len(_MAGIC) : TAG_BYTES].decode()
        times = int(told["first_at"]), int(told["written_at"])
        return Frame(str(told["name"]), str(told["head"]), version, *times, body_at, int(told["body_bytes"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise DamagedRecordError(f"an object has an unreadable head ({type(exc).__name__})") from None


def object_name(name: str) -> str:
    """Return the name of the object that keeps the record `name`."""
    raw = name_bytes(name)
    quoted = _quote(raw)
    if len(quoted) > _LONGEST:
        quoted = f"{quoted[:_LONGEST]}.{blake2b(raw, digest_size=16).hexdigest()}"
    return quoted + SUFFIX


def object_prefix(prefix: str) -> str:
    """Return what the objects of all records begin with whose names begin with `prefix`; others may begin so too."""
    return _quote(name_bytes(prefix))[:_LONGEST]


def _quote(raw: bytes) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw)
