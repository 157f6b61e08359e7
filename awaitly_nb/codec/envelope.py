"""The layout of an entry: a readable, signed head, and a body of notes, one pickle stream and aligned buffers.

    head   one line of JSON; its last member is the signature of all before it, of the record's name, the notes and the
           stream. The buffers are in it by length and checksum, so that they are covered too.
    body   notes | stream | padding to 64 | buffer | padding to 64 | buffer ...

Listing needs the head alone. `open_envelope` verifies before it hands out anything that could be unpickled. A value
moved to another name, cut short, extended or altered does not verify.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from awaitly_nb.codec.checksums import checksums
from awaitly_nb.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awaitly_nb.codec.pickling import Encoded
    from awaitly_nb.codec.secrets import Keyring, Secret
    from awaitly_nb.codec.shapes import Shape

__all__ = ["SCHEMA", "EnvelopeError", "Opened", "check_buffers", "open_envelope", "read_head", "reseal", "seal"]

Body: TypeAlias = "bytes | bytearray | memoryview"

SCHEMA: Final = 1
ALIGNMENT: Final = 64
"""What vector instructions and Arrow like best."""

_DOMAIN = "awaitly_nb entry 1"
_SIGNATURE = ',"signature":"'
_TAIL = len(_SIGNATURE) + 32 + len('"}')
_PADDING = bytes(ALIGNMENT)
_NO_SPANS: list[tuple[int, int]] = []
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # `json.loads` spends as much again on looking for white space


class EnvelopeError(CacheError):
    """An entry cannot be opened.

    Attributes
    ----------
    reason
        `"foreign"` for a secret that is not trusted here, `"unverified"` for a signature that is missing or does not
        fit, `"damaged"` for what cannot be read at all, `"newer"` for a schema of a later version.
    secret
        Id of the foreign secret.
    """

    fields = ("reason", "secret")

    def __init__(
        self, message: str, *, reason: Literal["foreign", "unverified", "damaged", "newer"], secret: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.secret = secret


class Opened(NamedTuple):
    """A verified entry, its buffers not yet checked (see `check_buffers`).

    Attributes
    ----------
    head
        The head's members.
    notes, stream, buffers
        Parts of the body, as views of it.
    """

    head: dict[str, Any]
    notes: memoryview
    stream: memoryview
    buffers: tuple[memoryview, ...]

    @property
    def shapes(self) -> list[Shape]:
        """The user's classes that the stream names."""
        return [(module, name, digest) for module, name, digest in self.head.get("shapes", ())]


def seal(
    name: str, members: Mapping[str, Any], notes: bytes, encoded: Encoded, secret: Secret
) -> tuple[str, list[Body]]:
    """Return head and body of an entry; the body's parts are views of the value's own memory, nothing is copied.

    Parameters
    ----------
    name
        The record's name, which the signature binds.
    members
        What the head tells of the entry, as JSON data.
    notes
        Bytes that only a reader of the whole entry wants.
    """
    stream = encoded.stream
    head: dict[str, Any] = {"schema": SCHEMA, "secret": secret.id, **members, "stream_bytes": len(stream)}
    body: list[Body] = [stream]
    if notes:
        head["notes_bytes"] = len(notes)
        body = [notes, stream]
    if encoded.buffers:
        offset = len(notes) + len(stream)
        head["buffers"] = buffers = []
        for buffer, digest in zip(encoded.buffers, checksums(encoded.buffers), strict=True):
            buffers.append([buffer.nbytes, digest])
            if gap := -offset % ALIGNMENT:
                body.append(_PADDING[:gap])
            body.append(buffer)
            offset += gap + buffer.nbytes
    if encoded.shapes:
        head["shapes"] = encoded.shapes
    return _signed(name, head, notes, stream, secret), body


def reseal(name: str, opened: Opened, stream: Body, secret: Secret) -> str:
    """Return the head of an entry signed anew, whoever signed it before: the caller vouches for what it holds.

    Parameters
    ----------
    stream
        Its stream; where it has buffers, of the length it had.
    """
    head = {member: value for member, value in opened.head.items() if member != "signature"}
    return _signed(name, {**head, "secret": secret.id, "stream_bytes": len(stream)}, opened.notes, stream, secret)


def _signed(name: str, head: Mapping[str, Any], notes: Body, stream: Body, secret: Secret) -> str:
    text = _to_json(head)
    signature = secret.sign(_front(name, text), notes, stream)
    return f'{text[:-1]}{_SIGNATURE}{signature}"}}'


def _front(name: str, text: str) -> bytes:
    # The length keeps a name from passing as the beginning of another head.
    return f"{_DOMAIN} {len(name)} {name} {text}".encode()


def read_head(head: str) -> dict[str, Any] | None:
    """Return the members of a head without verifying it, or None where it is no head. Never runs a pickle."""
    try:
        members, end = _scan(head, 0)
    except (ValueError, RecursionError, StopIteration):
        return None
    return members if isinstance(members, dict) and end == len(head) else None


def open_envelope(name: str, head: str, body: Body, keyring: Keyring, *, verify: bool = True) -> Opened:
    """Return the parts of an entry, verified.

    Raises
    ------
    EnvelopeError
        It is damaged, unsigned, altered, signed by somebody who is not trusted here, or of a later schema.
    """
    members = read_head(head)
    if members is None:
        raise EnvelopeError("its head is not readable", reason="damaged")
    schema = members.get("schema")
    if schema != SCHEMA:
        if isinstance(schema, int) and schema > SCHEMA:
            raise EnvelopeError(f"it was written by a newer awaitly_nb (schema {schema})", reason="newer")
        raise EnvelopeError(f"its head has no known schema ({schema!r})", reason="damaged")
    view = memoryview(body)
    if "buffers" not in members and "notes_bytes" not in members and members.get("stream_bytes") == view.nbytes:
        # The usual small entry: one stream and nothing else.
        notes, stream, spans = view[:0], view, _NO_SPANS
    else:
        notes_end, stream_end, spans = _layout(members, view.nbytes)
        notes, stream = view[:notes_end], view[notes_end:stream_end]
    if verify:
        secret = _secret_of(members, keyring)
        if not (head.startswith(_SIGNATURE, -_TAIL) and head.isascii()):
            raise EnvelopeError("it is not signed", reason="unverified")
        if not secret.verify(head[-34:-2], _front(name, head[:-_TAIL] + "}"), notes, stream):
            raise EnvelopeError("its signature does not fit its bytes", reason="unverified")
    return Opened(members, notes, stream, tuple([view[start:end] for start, end in spans]) if spans else ())


def _secret_of(members: dict[str, Any], keyring: Keyring) -> Secret:
    secret_id = str(members.get("secret"))
    secret = keyring.find(secret_id)
    if secret is None:
        raise EnvelopeError(
            f"it was signed with secret {secret_id[:64]}, which is not trusted here",
            reason="foreign",
            secret=secret_id[:64],
        )
    return secret


def _layout(members: dict[str, Any], size: int) -> tuple[int, int, list[tuple[int, int]]]:
    """Return where notes and stream end, and where each buffer lies, in a body of `size` bytes."""
    notes, stream = members.get("notes_bytes", 0), members.get("stream_bytes")
    if type(notes) is not int or type(stream) is not int or notes < 0 or stream < 0:
        raise EnvelopeError("its head does not tell the lengths of its parts", reason="damaged")
    end = notes + stream
    spans = []
    for length, _ in _buffers_of(members) if "buffers" in members else ():
        start = end + -end % ALIGNMENT
        end = start + length
        spans.append((start, end))
    if end != size:
        raise EnvelopeError(f"it holds {size} bytes where {end} were written", reason="damaged")
    return notes, notes + stream, spans


def _buffers_of(members: dict[str, Any]) -> list[tuple[int, str]]:
    try:
        buffers = [(length, digest) for length, digest in members["buffers"]]
    except (TypeError, ValueError):
        buffers = [(-1, "")]
    if not all(type(length) is int and length >= 0 and type(digest) is str for length, digest in buffers):
        raise EnvelopeError("its head tells of buffers that cannot be", reason="damaged")
    return buffers


def check_buffers(opened: Opened) -> None:
    """Compare every buffer with its checksum.

    Raises
    ------
    EnvelopeError
        One differs.
    """
    if opened.buffers and checksums(opened.buffers) != [digest for _, digest in _buffers_of(opened.head)]:
        raise EnvelopeError("a buffer does not match its checksum", reason="damaged")
