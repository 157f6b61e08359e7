"""A result as bytes: made from a result, sealed into an entry, opened, and turned back.

The mark travels as members of the head; what only a reader of the whole entry wants (the key's parts, the files that
were read) as notes in the body. A failure is JSON, a value a pickle stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from hashlib import blake2b
from json import loads
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from awaitly_nb.cache.entry import is_alive
from awaitly_nb.codec import (
    FACTS,
    Encoded,
    EnvelopeError,
    Opened,
    UndecodableError,
    check_buffers,
    decode,
    decode_plain,
    encode,
    read_head,
    seal,
    short_text,
    verified,
)
from awaitly_nb.result import Err, Mark, Ok, fresh_ok, mark_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awaitly_nb.codec import Facts, Keyring, Shape
    from awaitly_nb.result import Result
    from awaitly_nb.stores import Body

__all__ = [
    "Sealed",
    "hold",
    "is_called",
    "is_part",
    "members_of",
    "name_digest",
    "open_sealed",
    "part_digest",
    "restated",
    "seal_result",
    "whole_notes",
]

_OTHERS: Final[tuple[tuple[str, object], ...]] = (("origin", "returned"), ("traces", None), ("made", None))
"""Fields of a mark that few heads tell of, each with the value that is left out; a further one is a line here."""
_MEMBERS: Final = (*[(name, None) for name in FACTS if name in Mark._fields and name != "size_bytes"], *_OTHERS)

_SHARED_FROM: Final = 160
"""A part of a key that is shorter takes less space than a record of its own would save."""

_FIELDS_OF_ROW, _MEMBERS_OF_PARTS = 4, 2
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_timestamp = datetime.fromtimestamp

_new = object.__new__
_set_field = {name: Mark.__dict__[name].__set__ for name in (*Mark._fields, "_head", "_notes", "_home")}
_set_head, _set_notes, _set_home, _set_code, _set_duration_s, _set_files, _set_size_bytes, _set_traces = [
    _set_field[name] for name in ("_head", "_notes", "_home", "code", "duration_s", "files", "size_bytes", "traces")
]
_set_at, _set_ttl_s = _set_field["at"], _set_field["ttl_s"]
_names = [name for name in Mark._fields if name not in ("at", "ttl_s", "size_bytes")]
_STAYING, _that_stay = [_set_field[name] for name in _names], attrgetter(*_names)
_values_of_others = attrgetter(*[name for name, _ in _OTHERS])
_USUAL: Final = tuple([default for _, default in _OTHERS])


class Home(Protocol):
    """The store of an entry, as far as its parts are concerned."""

    def share(self, text: bytes) -> str | None:
        """Return the digest of a part of a key as JSON, where it is a record of its own; else None."""

    def shared(self, digest: str) -> bytes | None:
        """Return the part of a key that a digest stands for, as JSON, or None."""


def _fill(mark: Mark, head: str, notes: Body, home: Home | None) -> None:
    """Set the fields of a mark that was read, as its head and its notes tell."""
    get = (read_head(head) or {}).get
    for name, default in _MEMBERS:
        _set_field[name](mark, get(name, default))
    created, expires = get("created_at"), get("expires_at")
    parts, files = _read_notes(bytes(notes), home, get("step_id")) if notes else (None, ())
    _set_field["at"](mark, None if created is None else _from_timestamp(created, UTC))
    _set_field["ttl_s"](mark, None if expires is None else expires - created)
    _set_field["parts"](mark, parts)
    _set_files(mark, files)
    _set_field["size_bytes"](mark, get("size_bytes"))


Mark.fill = staticmethod(_fill)


def restated(sealed: Sealed) -> Mark:
    """Return the mark of an entry that has no head: with the instant, the TTL and the size that the entry has."""
    mark, made = sealed.mark, _new(Mark)
    for set_field, value in zip(_STAYING, _that_stay(mark), strict=False):
        set_field(made, value)
    at = mark.at or _from_timestamp(sealed.stored_at, UTC)
    _set_at(made, at)
    _set_ttl_s(made, None if sealed.expires_at is None else sealed.expires_at - at.timestamp())
    _set_size_bytes(made, sealed.size_bytes)
    return made


class Sealed:
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
    private
        Whether nobody else uses the buffers, and they can be written to: then a result is made of themselves.
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
        "private",
        "shapes",
        "size_bytes",
        "stamp",
        "stored_at",
        "stream",
        "version",
    )

    def __init__(
        self,
        stream: Body,
        buffers: Sequence[Body],
        shapes: Sequence[Shape],
        mark: Mark,
        *,
        ok: bool = True,
        stored_at: float = 0.0,
        expires_at: float | None = None,
    ) -> None:
        self.stream = stream
        self.buffers = buffers
        self.shapes = shapes
        self.mark = mark
        self.ok = ok
        self.plain = ok and not buffers and not shapes
        self.stored_at = stored_at
        self.expires_at = expires_at
        self.size_bytes = len(stream) + (sum([len(buffer) for buffer in buffers]) if buffers else 0)
        self.private = False
        self.stamp = 0
        self.version = ""
        self.hits = 0

    def own_bytes(self) -> None:
        """Stop sharing memory with whatever the bytes were views of."""
        self.stream = bytes(self.stream)
        if self.buffers:
            self.buffers = tuple(bytes(buffer) for buffer in self.buffers)
        self.private = False

    def alive(self, now: float) -> bool:
        """Tell whether it may be served at `now`."""
        return self.expires_at is None or is_alive(self.stored_at, self.expires_at, now)

    def result(self, keyring: Keyring | None = None) -> Result[Any, Any]:  # Any: the user's
        """Return a fresh result; raises UndecodableError.

        Parameters
        ----------
        keyring
            For values inside a failure.
        """
        if self.plain:
            try:
                return fresh_ok(decode_plain(self.stream), self.mark)
            except Exception as exc:  # the objects' own __setstate__ methods may raise anything
                raise UndecodableError(f"cannot be rebuilt here ({type(exc).__name__}: {exc})") from exc
        if self.ok:
            buffers = self.buffers if self.private else [bytearray(buffer) for buffer in self.buffers]
            return Ok(decode(self.stream, buffers, self.shapes), _mark=self.mark)
        from awaitly_nb.codec import failure_from_data

        try:
            failure = failure_from_data(loads(bytes(self.stream)), keyring=keyring)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise UndecodableError(f"cannot be rebuilt here ({type(exc).__name__}: {exc})") from exc
        return Err(failure.error, failure.cause, _mark=self.mark)


def hold(
    result: Result[Any, Any], *, now: float, ttl_s: float | None, keyring: Keyring | None = None
) -> tuple[Sealed, Encoded]:
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
    expires_at = None if ttl_s is None else now + ttl_s
    sealed = Sealed(
        encoded.stream,
        encoded.buffers,
        encoded.shapes,
        mark_of(result) or _NO_MARK,
        ok=result.ok,
        stored_at=now,
        expires_at=expires_at,
    )
    return sealed, encoded


_NO_MARK = Mark()


def seal_result(name: str, sealed: Sealed, encoded: Encoded, keyring: Keyring, home: Home) -> tuple[str, list[Body]]:
    """Return head and body of the entry called `name`; its mark is from then on as the entry tells it."""
    mark = sealed.mark
    notes = (
        b"" if mark.parts is None and not mark.files else _notes_of(mark.parts, mark.files, mark.step_id, home.share)
    )
    head, body = seal(name, (_facts_of(name, sealed), _others_of(sealed)), notes, encoded, keyring.own)
    sealed.mark = told = _new(Mark)  # which reads its other fields from the entry when somebody asks, as of a hit
    _set_head(told, head)
    _set_notes(told, notes)
    _set_home(told, home)
    _set_duration_s(told, mark.duration_s)
    _set_code(told, mark.code)
    _set_files(told, mark.files)
    _set_traces(told, mark.traces)
    _set_size_bytes(told, sealed.size_bytes)
    return head, body


def members_of(name: str, sealed: Sealed) -> dict[str, Any]:
    """Return what the head of an entry tells of it, or would tell; what is None is absent."""
    return dict(zip(FACTS, _facts_of(name, sealed), strict=True)) | _others_of(sealed)


def _facts_of(name: str, sealed: Sealed) -> Facts:
    mark = sealed.mark
    return (
        # Not a proof, which is the signature: for who has lost the secret, and would find entries under another name.
        name_digest(name),
        sealed.stored_at if mark.at is None else mark.at.timestamp(),
        sealed.size_bytes,
        mark.step_id,
        mark.workflow,
        mark.duration_s,
        mark.call,
        mark.code,
    )


def _others_of(sealed: Sealed) -> dict[str, Any]:
    """Return what few heads tell of: what is absent or as usual is left out, because many heads are stored and read."""
    mark = sealed.mark
    others: dict[str, Any] = {}
    if not sealed.ok:
        others["ok"] = False
    if sealed.expires_at is not None:
        others["stored_at"], others["expires_at"] = sealed.stored_at, sealed.expires_at
    if (values := _values_of_others(mark)) != _USUAL:
        for (field, default), value in zip(_OTHERS, values, strict=True):
            if value != default:
                others[field] = dict(value) if isinstance(value, Mapping) else value
    if mark.files:
        others["files"] = len(mark.files)  # who reads heads alone learns that there is more to ask
    return others


def _notes_of(
    parts: Mapping[str, Any] | None,
    files: Sequence[Any],
    step_id: str | None,
    share: Callable[[bytes], str | None],
) -> bytes:
    """Return what only a reader of the whole entry wants: a line each, a letter and JSON.

    Source and helpers are parts of every key of a function, so what repeats is stored once: its digest stands for it.
    """
    lines = []
    if files:
        lines.append(f"f{_to_json(list(files))}")
    if parts is not None:
        told: Any = parts.data if isinstance(parts, _Parts) else dict(parts)
        if isinstance(rows := told.get("parts"), list):
            if len(told) == _MEMBERS_OF_PARTS and told.get("name") == step_id and all(map(_is_row, rows)):
                told = [_packed(row) or _shared(row, share) or row for row in rows]
            else:
                told = {**told, "parts": [_shared(row, share) or row for row in rows]}
        lines.append(f"p{_to_json(told)}")
    return "\n".join(lines).encode("ascii")


def _shared(row: Any, share: Callable[[bytes], str | None]) -> str | None:  # Any: plain JSON data
    if isinstance(row, str):
        return None
    # The last is the source of code, or the outline of a value.
    text = _source(*row) if _is_row(row) and type(row[-1]) is str else _to_json(row).encode("ascii")
    return share(text) if len(text) >= _SHARED_FROM else None


@lru_cache(maxsize=512)
def _source(kind: str, name: str, digest: str, source: str) -> bytes:
    """Return a part of code as JSON: the same for all keys of a function."""
    return _to_json([kind, name, digest, source]).encode("ascii")


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) == _FIELDS_OF_ROW


def _packed(row: list[Any]) -> list[Any] | None:  # Any: plain JSON data
    """Return a part without its outline where that follows from its digest, as that of a plain value does."""
    kind, name, digest, shown = row
    if not (isinstance(shown, dict) and list(shown) == ["is", "repr"] and digest == f"{shown['is']} {shown['repr']}"):
        return None
    return [name, digest] if kind == "argument" else [kind, name, digest]


def _unpacked(row: list[Any]) -> list[Any]:  # Any: plain JSON data
    if len(row) == _FIELDS_OF_ROW:
        return row
    *kind, name, digest = row
    what, _, text = digest.partition(" ")
    return [*(kind or ["argument"]), name, digest, {"is": what, "repr": text}]


def whole_notes(opened: Opened, home: Home) -> bytes:
    """Return the notes of an entry with all parts of its key in them, for where no record has what a digest stands for.

    Raises
    ------
    EnvelopeError
        A part is gone.
    """
    if not opened.notes:
        return b""
    parts, files = _read_notes(bytes(opened.notes), home, opened.head.get("step_id"))
    if isinstance(parts, _Parts) and not parts.is_whole:
        raise EnvelopeError("a part of its key is gone from the folder", reason="damaged")
    return _notes_of(parts, files, opened.head.get("step_id"), lambda _: None)


@lru_cache(maxsize=512)
def part_digest(text: bytes) -> str:
    """Return the digest that stands for a part of a key."""
    return short_text(_part(text))


def is_part(digest: str, text: bytes) -> bool:
    """Tell whether a digest stands for this part of a key; those of format 2 are hexadecimal."""
    found = _part(text)
    return digest in (short_text(found), found.hex())


def _part(text: bytes) -> bytes:
    return blake2b(text, digest_size=16, person=b"awaitly part").digest()


def name_digest(name: str) -> str:
    """Return a short digest of a record's name."""
    return short_text(_name(name))


def is_called(name: str, head: Mapping[str, Any]) -> bool:
    """Tell whether a head is of a record of that name, by the digest in it; that of format 2 is hexadecimal."""
    found = _name(name)
    return head.get("name") in (short_text(found), found.hex())


def _name(name: str) -> bytes:
    digest = _NAME.copy()
    digest.update(name.encode("utf-8"))
    return digest.digest()


_NAME: Final = blake2b(digest_size=4)


def open_sealed(
    name: str,
    head: str,
    body: Body,
    keyring: Keyring,
    *,
    verify: bool,
    checked: bool = False,
    home: Home | None = None,
    later: Callable[[Callable[[], None]], object] | None = None,
) -> Sealed:
    """Return a verified entry; its buffers are views of `body`, authenticated unless `checked`.

    Parameters
    ----------
    checked
        Whether these very buffers were authenticated before.
    later
        Is given what authenticates them, in place of doing so now; it raises EnvelopeError.
    home
        The store, which has the parts of keys that entries share.

    Raises
    ------
    EnvelopeError
        It cannot be read or does not verify.
    """
    rest, duration_s, code, notes, stream, buffers, macs, sums, secret = verified(
        name, head, body, keyring, verify=verify
    )
    if macs and verify and not checked:
        opened = Opened(rest, notes, stream, buffers, macs, sums, secret)
        if later is None:
            check_buffers(opened)
        else:
            later(partial(check_buffers, opened))
    mark = _new(Mark)
    _set_head(mark, head)
    _set_notes(mark, notes)
    _set_home(mark, home)
    if secret is not None and not rest:
        # The usual entry. What a hit of a step asks for is set now, what only a reader asks for when one does.
        _set_duration_s(mark, duration_s)
        _set_code(mark, code)
        _set_files(mark, ())
        _set_traces(mark, None)
        _set_size_bytes(mark, len(stream))
        return Sealed(stream, (), (), mark)
    try:
        _fill(mark, head, notes, home)
    except (TypeError, ValueError, OverflowError, OSError) as exc:
        # Only where signatures are not looked at: what we signed is well formed.
        raise EnvelopeError(f"its head makes no sense ({exc})", reason="damaged") from exc
    sealed = Sealed(
        stream,
        buffers,
        [(module, name, digest) for module, name, digest in rest.get("shapes", ())],
        mark,
        ok=rest.get("ok", True) is True,
        stored_at=rest.get("stored_at") or (0.0 if mark.at is None else mark.at.timestamp()),
        expires_at=rest.get("expires_at"),
    )
    sealed.private = bool(buffers) and not buffers[0].readonly
    return sealed


def _read_notes(
    notes: bytes, home: Home | None, step_id: str | None
) -> tuple[Mapping[str, Any] | None, tuple[Any, ...]]:
    if notes.startswith(b"p["):  # the usual ones: no files were read
        return _Parts(notes[1:], home, step_id), ()
    if notes.startswith(b"["):  # format 1
        files, parts = notes.split(b"\n", 1)
        return None if parts == b"null" else _Parts(parts), tuple(loads(files))
    # Format 2 has the whole word and a space.
    found = {line[:1]: line[6 if line.startswith((b"parts ", b"files ")) else 1 :] for line in notes.split(b"\n")}
    parts = found.get(b"p", b"")
    return _Parts(parts, home, step_id) if parts else None, tuple(loads(found.get(b"f", b"[]")))


class _Parts(Mapping[str, Any]):
    """Parts of a key, parsed when somebody asks: a hit does not, and sources are long."""

    __slots__ = ("_data", "_home", "_is_whole", "_name", "_text")

    def __init__(self, text: bytes, home: Home | None = None, name: str | None = None) -> None:
        self._text = text
        self._home = home
        self._name = name
        self._data: dict[str, Any] | None = None
        self._is_whole = True

    @property
    def data(self) -> dict[str, Any]:
        if self._data is None:
            told = loads(self._text)
            if packed := isinstance(told, list):
                told = {"name": self._name, "parts": told}
            if isinstance(rows := told.get("parts"), list):
                found = [
                    self._whole(row) if isinstance(row, str) else _unpacked(row) if packed else row for row in rows
                ]
                told["parts"] = [row for row in found if row is not None]
                self._is_whole = len(told["parts"]) == len(rows)
            self._data = told
        return self._data

    @property
    def is_whole(self) -> bool:
        """Whether every part is there that a digest stands for."""
        return self.data is not None and self._is_whole

    def _whole(self, digest: str) -> Any:
        """Return the part that a digest stands for; None where it is gone, which leaves the others."""
        text = None if self._home is None else self._home.shared(digest)
        return None if text is None or not is_part(digest, text) else loads(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.data,)  # in another process there is no store to ask

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return repr(self.data)
