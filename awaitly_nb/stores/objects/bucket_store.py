"""The store contract over a bucket: one object is one record, head first; look, then write over what was seen.

    awaitly1 VERSION LENGTH {"name": ..., "head": ..., "first_at": ..., "written_at": ..., "body_bytes": ...} BODY

Head and body are one object, so that one write replaces both; the head comes first, so that a list of heads is made of
the first few kilobytes of each. A record's name becomes an object's: safe on every service and file system, also where
upper and lower case are the same, and cut where it is too long, for the head has all of it.

Each write brings its own version, so a write whose answer was lost is found instead of taken for a rival's. Records are
ordered by the time of their first writing: by the service's clock, and always after what this handle has seen, so that
what somebody wrote after reading comes after what was read.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from awaitly_nb.errors import AwaitlyError, StoreError
from awaitly_nb.stores import ABSENT, ANY, DamagedRecordError, Record, UnconditionalStoreError
from awaitly_nb.stores.adapters import from_micros, name_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from awaitly_nb.stores import Body, Expect, Version
    from awaitly_nb.stores.adapters import Address

__all__ = [
    "ANYTHING",
    "NOTHING",
    "SUFFIX",
    "TAG_BYTES",
    "Bucket",
    "Found",
    "ObjectStore",
    "object_name",
    "object_prefix",
]

Found: TypeAlias = "tuple[bytes, str]"
"""The bytes of an object, and a tag, which is another one with every write. The tag may be older than the bytes."""

ANYTHING: Final = "anything"
"""`put` writes whatever is there."""

NOTHING: Final = ""
"""`put` writes only where nothing is."""


class Bucket(Protocol):
    """Named objects, each written as a whole: a reader sees the old one or the new one. Safe in several threads."""

    def conditional(self) -> bool:
        """Tell whether `put` can be given what it writes over."""

    def get(self, keys: Sequence[str], most: int | None = None) -> list[bytes | None]:
        """Return the objects, or the first `most` bytes of each; None for one that is not there."""

    def look(self, key: str, most: int) -> Found | None:
        """Return the first bytes of an object, and the tag to give `put` to write over it; None if it is not there."""

    def put(self, key: str, content: bytes, *, over: str) -> bool:
        """Write an object over the one with the tag `over`, NOTHING or ANYTHING; False where that is not there.

        False also where it is unknown: whoever is told so looks again. Without conditions `over` is ANYTHING always.
        """

    def names(self, prefix: str) -> dict[str, str]:
        """Return the names of the objects that begin with `prefix`, with a tag each, or "" where listing tells none.

        These tags need not be those of `look`.
        """

    def delete(self, keys: Sequence[str]) -> None:
        """Remove these objects; one that is not there is as good as removed."""

    def now(self) -> float:
        """Return the service's own time, in seconds since 1970."""

    def close(self) -> None:
        """Release connections; harmless twice."""


_MOST_TRIES = 100
_SMALL_BYTES = 65_536
"""So much is sent on the chance that nothing is there yet; with more it pays to look first."""


@dataclass(frozen=True, slots=True)
class _Before:
    """What lies under a name before it is written."""

    tag: str = NOTHING
    version: str | None = None
    first_at: int | None = None


class ObjectStore:
    """Named records, each an object.

    Parameters
    ----------
    bucket
        Where the objects lie.
    address
        What to call it in errors, and which secrets not to tell.
    """

    def __init__(self, bucket: Bucket, address: Address) -> None:
        self._bucket = bucket
        self._address = address
        self._heads = Heads()
        self._latest = 0
        self._lock = threading.Lock()

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        (content,) = self._run(self._bucket.get, [object_name(name)])
        if content is None:
            return None
        frame = self._frame(content, whole=True)
        if frame.name != name:
            raise DamagedRecordError(f"the object of {name!r} holds {frame.name!r}")
        return _record_of(frame, content)

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`, in the order of their first writing."""
        listed = {key: tag for key, tag in self._names(object_prefix(prefix)).items() if key.endswith(SUFFIX)}
        known = {} if bodies else self._heads.known(listed)
        rows = [(frame.first_at, _record_of(frame)) for frame in known.values()]
        unknown = [key for key in listed if key not in known]
        for key, content in zip(unknown, self._contents(unknown, bodies=bodies), strict=True):
            if content is None:
                continue  # removed since it was listed
            try:
                frame = self._frame(content, whole=bodies)
            except DamagedRecordError:
                # Told by an empty head, which is nobody's: whoever lists for a purpose says what that means there.
                rows.append((0, Record(_unquoted(key), "", b"" if bodies else None, "", from_micros(0))))
                continue
            self._heads.keep(key, listed[key], frame)
            rows.append((frame.first_at, _record_of(frame, content if bodies else None)))
        rows.sort(key=lambda row: (row[0], row[1].name))
        return (record for _, record in rows if record.name.startswith(prefix))

    def swap(self, name: str, head: str, body: Sequence[Body], *, expect: Expect = ANY) -> Version | None:
        """Write a record and return its new version, or do nothing and return None where `expect` does not hold."""
        key, version = object_name(name), os.urandom(16).hex()
        conditional = self._run(self._bucket.conditional)
        if expect is not ANY and not conditional:
            raise UnconditionalStoreError(
                f"{self._address.shown} has no writes under a condition that awaitly_nb can use, which leases and runs "
                "with store= rest on; it serves aw.create_shared_cache, and states that only one process saves"
            )
        small = sum(memoryview(part).nbytes for part in body) <= _SMALL_BYTES
        seen = _Before() if conditional and small and not isinstance(expect, str) else self._look(key)
        for _ in range(_MOST_TRIES):
            if seen.version == version:
                return version  # the answer was lost
            if not _holds(expect, seen):
                return None
            now = self._stamp()
            first_at = now if seen.first_at is None else seen.first_at
            content = seal(name, head, version, first_at=first_at, written_at=now, body=body)
            if self._run(self._bucket.put, key, content, over=seen.tag if conditional else ANYTHING):
                return version
            seen = self._look(key)
        raise StoreError(f"{self._address.shown}: others write {name!r} all the time; nothing was written")

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records, and return how many there were."""
        keys = {object_name(name) for name in names}
        if not keys:
            return 0
        # One listing tells which of them there are: what is removed together mostly begins alike.
        common = os.path.commonprefix(list(keys))  # noqa: RUF071 - of names, not of paths
        there = sorted(keys.intersection(self._names(common)))
        if there:
            self._run(self._bucket.delete, there)
        return len(there)

    def now(self) -> datetime:
        """Return the service's own time; a folder's is this machine's."""
        return from_micros(self._run(self._bucket.now) * 1_000_000)

    def close(self) -> None:
        """Release connections."""
        self._run(self._bucket.close)

    def _look(self, key: str) -> _Before:
        found: Found | None = self._run(self._bucket.look, key, PEEK_BYTES)
        if found is None:
            return _Before()
        content, tag = found
        try:
            (whole,) = self._whole_heads([key], [content])
            frame = self._frame(whole or b"", whole=False)
        except DamagedRecordError:
            return _Before(tag, "")  # to be written over
        return _Before(tag, frame.version, frame.first_at)

    def _contents(self, keys: list[str], *, bodies: bool) -> list[bytes | None]:
        contents = self._run(self._bucket.get, keys, None if bodies else PEEK_BYTES) if keys else []
        return contents if bodies else self._whole_heads(keys, contents)

    def _whole_heads(self, keys: list[str], contents: Sequence[bytes | None]) -> list[bytes | None]:
        """Return `contents`, with those read again that ended within their head."""
        whole = list(contents)
        for at, content in enumerate(contents):
            if content is None or len(content) < PEEK_BYTES:
                continue
            try:
                needed = head_bytes(content)
            except DamagedRecordError:
                continue
            if needed > len(content):
                (whole[at],) = self._run(self._bucket.get, [keys[at]], needed)
        return whole

    def _frame(self, content: bytes, *, whole: bool) -> Frame:
        frame = frame_of(content)
        if whole and len(content) != frame.body_at + frame.body_bytes:
            raise DamagedRecordError(f"{frame.name!r} has {len(content)} bytes where others were written")
        self._note(frame.first_at, frame.written_at)
        return frame

    def _names(self, prefix: str) -> dict[str, str]:
        listed: dict[str, str] = self._run(self._bucket.names, prefix)
        return listed

    def _stamp(self) -> int:
        now = int(self._run(self._bucket.now) * 1_000_000)
        with self._lock:
            self._latest = max(now, self._latest + 1)
            return self._latest

    def _note(self, *times: int) -> None:
        with self._lock:
            self._latest = max(self._latest, *times)

    def _run(self, verb: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # Any: what the verb returns
        try:
            return verb(*arguments, **options)
        except AwaitlyError:
            raise
        except Exception as exc:  # noqa: BLE001 - a file system may raise anything: each has exceptions of its own
            raise self._address.error("use", exc) from None

    def __repr__(self) -> str:
        return f"ObjectStore({self._address.shown})"


def _holds(expect: Expect, seen: _Before) -> bool:
    return expect is ANY or seen.version == (None if expect is ABSENT else expect)


def _record_of(frame: Frame, content: bytes | None = None) -> Record:
    body = None if content is None else memoryview(content)[frame.body_at :]
    return Record(frame.name, frame.head, body, frame.version, from_micros(frame.written_at))


def _unquoted(key: str) -> str:
    from urllib.parse import unquote

    return unquote(key.removesuffix(SUFFIX), errors="replace")


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


_MOST = 20_000


class Heads:
    """Heads by name of the object and tag. Safe in several threads: each step is one of a dict's own."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Frame]] = {}

    def known(self, listed: Mapping[str, str]) -> dict[str, Frame]:
        """Return the heads of those objects whose tag, as listed now, is the one they were read with."""
        found = {}
        for name, tag in listed.items():
            known = self._known.get(name)
            if tag and known is not None and known[0] == tag:
                found[name] = known[1]
        return found

    def keep(self, name: str, tag: str, frame: Frame) -> None:
        """Remember what was read of an object after it was listed with this tag."""
        if tag:
            if len(self._known) >= _MOST:
                self._known = {}
            self._known[name] = (tag, frame)
