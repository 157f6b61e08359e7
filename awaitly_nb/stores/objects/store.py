"""The store contract over a bucket: look, then write over what was seen.

Each write brings its own version, so a write whose answer was lost is found again instead of taken for a rival's.
Records are ordered by the time of their first writing: by the service's clock, and always after what this handle has
seen, so that what somebody wrote after reading comes after what was read.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import AwaitlyError, StoreError
from awaitly_nb.stores import ABSENT, ANY, DamagedRecordError, Record
from awaitly_nb.stores.names import from_micros
from awaitly_nb.stores.objects.bucket import ANYTHING, NOTHING
from awaitly_nb.stores.objects.frame import PEEK_BYTES, SUFFIX, frame_of, head_bytes, object_name, object_prefix, seal
from awaitly_nb.stores.objects.heads import Heads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from awaitly_nb.stores import Body, Expect, Version
    from awaitly_nb.stores.names import Address
    from awaitly_nb.stores.objects.bucket import Bucket, Found
    from awaitly_nb.stores.objects.frame import Frame

__all__ = ["ObjectStore"]

_MOST_TRIES = 100
_SMALL_BYTES = 65_536
"""So much is sent on the chance that nothing is there yet; with more it pays to look first."""


@dataclass(frozen=True, slots=True)
class _Seen:
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
            raise StoreError(
                f"{self._address.shown} has no writes under a condition that awaitly_nb can use, which leases and runs "
                "with store= rest on; it serves aw.create_shared_cache, and states that only one process saves"
            )
        small = sum(memoryview(part).nbytes for part in body) <= _SMALL_BYTES
        seen = _Seen() if conditional and small and not isinstance(expect, str) else self._look(key)
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

    def _look(self, key: str) -> _Seen:
        found: Found | None = self._run(self._bucket.look, key, PEEK_BYTES)
        if found is None:
            return _Seen()
        content, tag = found
        try:
            (whole,) = self._whole_heads([key], [content])
            frame = self._frame(whole or b"", whole=False)
        except DamagedRecordError:
            return _Seen(tag, "")  # to be written over
        return _Seen(tag, frame.version, frame.first_at)

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
        except Exception as exc:  # noqa: BLE001 - the stranger is a file system, and each has its own exceptions
            raise self._address.error("use", exc) from None

    def __repr__(self) -> str:
        return f"ObjectStore({self._address.shown})"


def _holds(expect: Expect, seen: _Seen) -> bool:
    return expect is ANY or seen.version == (None if expect is ABSENT else expect)


def _record_of(frame: Frame, content: bytes | None = None) -> Record:
    body = None if content is None else memoryview(content)[frame.body_at :]
    return Record(frame.name, frame.head, body, frame.version, from_micros(frame.written_at))


def _unquoted(key: str) -> str:
    from urllib.parse import unquote

    return unquote(key.removesuffix(SUFFIX), errors="replace")
