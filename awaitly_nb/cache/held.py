"""A result as the bytes that caches keep: made from a result, sealed into an entry, opened again, and turned back.

The mark travels as members of the head; what only a reader of the whole entry wants (the key's parts, the files that
were read) as notes in the body. A failure is JSON, a value a pickle stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec import (
    Encoded,
    EnvelopeError,
    Opened,
    UndecodableError,
    check_buffers,
    decode,
    decode_plain,
    encode,
    open_envelope,
    seal,
)
from awaitly_nb.result import Err, Mark, Ok, mark_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.codec import Keyring, Shape
    from awaitly_nb.result import Result
    from awaitly_nb.stores import Body

__all__ = ["SEPARATOR", "Held", "fresh_ok", "hold", "open_held", "seal_held"]

SEPARATOR: Final = "\x1f"
"""Between namespace and key in a record's name."""

_FAILURE: Final = "failure"
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_timestamp = datetime.fromtimestamp

_new = object.__new__
_set_value = Ok.__dict__["value"].__set__
_set_mark = Ok.__dict__["_mark"].__set__
_setters = tuple(Mark.__dict__[name].__set__ for name in Mark.__slots__)


def fresh_ok(value: object, mark: Mark) -> Ok[Any]:
    """Return `Ok(value)` with its mark; the dataclass's own constructor takes as long as decoding a small value."""
    result = _new(Ok)
    _set_value(result, value)
    _set_mark(result, mark)
    return result


def fresh_mark(*values: Any) -> Mark:  # Any: each field has its own type
    """Return a mark of these values, in the order of its fields, in a third of the constructor's time."""
    mark = _new(Mark)
    for set_field, value in zip(_setters, values, strict=True):
        set_field(mark, value)
    return mark


class Held:
    """A result as bytes, ready to be turned back any number of times; each time makes a fresh value.

    Attributes
    ----------
    mark
        Shared by every result made from it: marks are immutable.
    ok
        False for a failure.
    plain
        Whether it has neither buffers nor classes of the user, so that `decode_plain` is enough.
    stored_at, expires_at
        Seconds since the epoch; None for the second means never.
    size_bytes
        What it holds in memory.
    timeless
        Whether it is plain and never expires: all that a repeated hit has to ask.
    stamp, version, hits
        For the tier: when it was known to be current, which writing of the record it is, how often it was served.
    """

    __slots__ = (
        "buffers",
        "expires_at",
        "hits",
        "mark",
        "ok",
        "plain",
        "shapes",
        "size_bytes",
        "stamp",
        "stored_at",
        "stream",
        "timeless",
        "version",
    )

    def __init__(
        self,
        stream: Body,
        buffers: Sequence[Body],
        shapes: Sequence[Shape],
        mark: Mark,
        *,
        ok: bool,
        stored_at: float,
        expires_at: float | None,
    ) -> None:
        self.stream = stream
        self.buffers = buffers
        self.shapes = shapes
        self.mark = mark
        self.ok = ok
        self.plain = ok and not buffers and not shapes
        self.stored_at = stored_at
        self.expires_at = expires_at
        self.timeless = self.plain and expires_at is None
        self.size_bytes = len(stream) + (sum([len(buffer) for buffer in buffers]) if buffers else 0)
        self.stamp = 0
        self.version = ""
        self.hits = 0

    def own_bytes(self) -> None:
        """Stop sharing memory with whatever the bytes were views of."""
        self.stream = bytes(self.stream)
        if self.buffers:
            self.buffers = tuple(bytes(buffer) for buffer in self.buffers)

    def alive(self, now: float) -> bool:
        """Tell whether it may be served at `now`; a clock set back by more than the whole TTL ends it too."""
        expires_at = self.expires_at
        return expires_at is None or 2 * self.stored_at - expires_at <= now <= expires_at

    def result(self, keyring: Keyring | None = None, *, once: bool = False) -> Result[Any, Any]:  # Any: the user's
        """Return a fresh result; raises UndecodableError.

        Parameters
        ----------
        keyring
            For values inside a failure.
        once
            Make it of the held buffers themselves, because nobody else will use them.
        """
        if self.plain:
            try:
                return fresh_ok(decode_plain(self.stream), self.mark)
            except Exception as exc:  # the strangers are the objects' own __setstate__ methods
                raise UndecodableError(f"cannot be rebuilt here ({type(exc).__name__}: {exc})") from exc
        if self.ok:
            buffers = self.buffers if once else [bytearray(buffer) for buffer in self.buffers]
            return Ok(decode(self.stream, buffers, self.shapes), _mark=self.mark)
        from awaitly_nb.codec import failure_from_data

        try:
            failure = failure_from_data(json.loads(bytes(self.stream)), keyring=keyring)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise UndecodableError(f"cannot be rebuilt here ({type(exc).__name__}: {exc})") from exc
        return Err(failure.error, failure.cause, _mark=self.mark)


def hold(
    result: Result[Any, Any], *, now: float, ttl_s: float | None, keyring: Keyring | None = None
) -> tuple[Held, Encoded]:
    """Return `result` as bytes, and its encoded form; the buffers are views of the value's own memory.

    Raises
    ------
    EncodeError
        Its value cannot be turned into bytes.
    """
    if isinstance(result, Ok):
        encoded = encode(result.value)
    else:
        from awaitly_nb.codec import failure_to_data

        encoded = Encoded(_to_json(failure_to_data(result, keyring=keyring)).encode("ascii"))
    mark = mark_of(result) or _NO_MARK
    at = mark.at or _from_timestamp(now, UTC)
    mark = fresh_mark(
        mark.step_id,
        mark.workflow,
        at,
        mark.duration_s,
        None if ttl_s is None else now + ttl_s - at.timestamp(),
        mark.code,
        mark.origin,
        mark.parts,
        mark.files,
        encoded.size_bytes,
        mark.traces,
    )
    expires_at = None if ttl_s is None else now + ttl_s
    held = Held(
        encoded.stream, encoded.buffers, encoded.shapes, mark, ok=result.ok, stored_at=now, expires_at=expires_at
    )
    return held, encoded


_NO_MARK = Mark()


def seal_held(name: str, held: Held, encoded: Encoded, keyring: Keyring) -> tuple[str, list[Body]]:
    """Return head and body of the entry called `name`."""
    mark = held.mark
    namespace, _, key = name.partition(SEPARATOR)
    members: dict[str, Any] = {"namespace": namespace, "key": key}
    # What is absent or as usual is left out: heads are parsed by the hundred thousand.
    if mark.step_id is not None:
        members["step_id"] = mark.step_id
    if mark.workflow is not None:
        members["workflow"] = mark.workflow
    members["ok"] = held.ok
    members["codec"] = "pickle5" if held.ok else _FAILURE
    members["created_at"] = held.stored_at if mark.at is None else mark.at.timestamp()
    if mark.duration_s is not None:
        members["duration_s"] = mark.duration_s
    members["stored_at"] = held.stored_at
    if held.expires_at is not None:
        members["expires_at"] = held.expires_at
    members["size_bytes"] = mark.size_bytes
    if mark.code is not None:
        members["code"] = mark.code
    if mark.origin != "returned":
        members["origin"] = mark.origin
    if mark.files:
        members["files"] = len(mark.files)  # who reads heads alone learns that there is more to ask
    if mark.traces:
        members["traces"] = dict(mark.traces)
    notes = b""
    if mark.parts is not None or mark.files:
        parts = mark.parts.data if isinstance(mark.parts, _Parts) else mark.parts and dict(mark.parts)
        notes = f"{_to_json(list(mark.files))}\n{_to_json(parts)}".encode("ascii")
    return seal(name, members, notes, encoded, keyring.own)


def open_held(name: str, head: str, body: Body, keyring: Keyring, *, verify: bool, checked: bool = False) -> Held:
    """Return a verified entry; its buffers are views of `body`, compared with their checksums unless `checked`.

    Raises
    ------
    EnvelopeError
        It cannot be read or does not verify.
    """
    opened = open_envelope(name, head, body, keyring, verify=verify)
    if opened.buffers and not checked:
        check_buffers(opened)
    try:
        return _opened(opened)
    except (TypeError, ValueError, OverflowError, OSError) as exc:
        # Only where signatures are not looked at: what we signed is well formed.
        raise EnvelopeError(f"its head makes no sense ({exc})", reason="damaged") from exc


def _opened(opened: Opened) -> Held:
    get = opened.head.get
    created, expires = get("created_at"), get("expires_at")
    parts, files = _read_notes(bytes(opened.notes)) if opened.notes else _NO_NOTES
    mark = fresh_mark(
        get("step_id"),
        get("workflow"),
        None if created is None else _from_timestamp(created, UTC),
        get("duration_s"),
        None if expires is None else expires - created,
        get("code"),
        get("origin", "returned"),
        parts,
        files,
        get("size_bytes"),
        get("traces"),
    )
    return Held(
        opened.stream,
        opened.buffers,
        opened.shapes if "shapes" in opened.head else (),
        mark,
        ok=get("ok") is True,
        stored_at=get("stored_at") or 0.0,
        expires_at=expires,
    )


_NO_NOTES: tuple[None, tuple[()]] = (None, ())


def _read_notes(notes: bytes) -> tuple[Mapping[str, Any] | None, tuple[Any, ...]]:
    files, parts = notes.split(b"\n", 1)
    return None if parts == b"null" else _Parts(parts), () if files == b"[]" else tuple(json.loads(files))


class _Parts(Mapping[str, Any]):
    """Parts of a key, parsed when somebody asks: a hit does not, and sources are long."""

    __slots__ = ("_data", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._data: dict[str, Any] | None = None

    @property
    def data(self) -> dict[str, Any]:
        if self._data is None:
            self._data = json.loads(self._text)
        return self._data

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return repr(self.data)
