"""The layout of an entry: a readable, signed head, and a body of notes, one pickle stream and aligned buffers.

    head   one line: the format, the members that every entry has, in one order and with a tab between, the others as
           JSON, and at its end the signature of all before it, of the record's name, the notes, the stream and the
           buffers.
    body   notes | stream | padding to 64 | buffer | padding to 64 | buffer ...

Every byte is bound by a key. Small buffers are part of the signature itself. Those of a large value have an AES-GMAC
each, under a key of this entry alone, and the signature covers these: hashing hundreds of megabytes with BLAKE2b would
take longer than reading them. All have a checksum without a key as well: it proves nothing, and finds damage for an
owner whose secret is lost. Listing needs the head alone. `open_envelope` verifies before it hands out anything that
could be unpickled. A value moved to another name, cut short, extended or altered does not verify.

Heads of formats 1 and 2 are JSON, with the name of each member: half of what a small result took on disk. They are
read and no longer written. Entries of format 1 bound buffers by xxh3, which is no cryptographic hash: with buffers
they are `"outdated"` and are not served, until their owner vouches for the folder and they are signed anew (decision
15).
"""

from __future__ import annotations

import json
import os
import re
from binascii import a2b_base64, b2a_base64
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from awaitly_nb.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from awaitly_nb.codec.pickling import Encoded, Shape
    from awaitly_nb.codec.secrets import Keyring, Secret

__all__ = [
    "FACTS",
    "SCHEMA",
    "EnvelopeError",
    "Facts",
    "Opened",
    "check_buffers",
    "open_envelope",
    "read_head",
    "reseal",
    "seal",
    "short_text",
    "unsigned",
    "verified",
    "write_head",
]

Body: TypeAlias = "bytes | bytearray | memoryview"

SCHEMA: Final = 3
ALIGNMENT: Final = 64
"""What vector instructions and Arrow like best."""

MAC_FROM: Final = 1 << 20
"""From so many bytes of buffers they have an AES-GMAC; below it, loading the cryptography would take longer."""

PIECE: Final = 16 << 20
"""Part of the format: a larger buffer is authenticated in pieces of this size, so that several cores can share them."""

_MAX_THREADS: Final = 4
_SIGNATURE: Final = ',"signature":"'
_TAIL: Final = len(_SIGNATURE) + 32 + len('"}')
_PADDING: Final = bytes(ALIGNMENT)
_LAYOUT: Final = frozenset(
    {"schema", "secret", "signature", "stream_bytes", "notes_bytes", "buffers", "nonce", "macs", "sums", "shapes"}
)
_PACKED: Final = f"{SCHEMA}\t"
_SIGNED_BYTES: Final = 22  # sixteen bytes in base 64
_ID: Final = re.compile("[0-9a-f]{16}")
_SAME: Final = "="
"""Stands for a workflow that is called as its step, as that of every decorated function is."""
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # `json.loads` spends as much again on looking for white space


class EnvelopeError(CacheError):
    """An entry cannot be opened.

    Attributes
    ----------
    reason
        `"foreign"` for a secret that is not trusted here, `"unverified"` for a signature that is missing or does not
        fit, `"outdated"` for one of an old format that could be forged, `"damaged"` for what cannot be read at all,
        `"newer"` for a format of a later version.
    secret
        Id of the foreign secret.
    """

    fields = ("reason", "secret")

    def __init__(
        self,
        message: str,
        *,
        reason: Literal["foreign", "unverified", "outdated", "damaged", "newer"],
        secret: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.secret = secret


class Opened(NamedTuple):
    """A verified entry. Where it has `macs`, its buffers are not checked yet (see `check_buffers`).

    Attributes
    ----------
    head
        The head's members.
    notes, stream, buffers
        Parts of the body, as views of it.
    macs
        The MACs of the buffers, where the signature does not cover these directly.
    sums
        Their checksums.
    secret
        Who signed it; None where that was not looked at.
    """

    head: Mapping[str, Any]
    notes: Body
    stream: Body
    buffers: tuple[memoryview, ...] = ()
    macs: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    secret: Secret | None = None

    @property
    def shapes(self) -> list[Shape]:
        """The user's classes that the stream names."""
        return [(module, name, digest) for module, name, digest in self.head.get("shapes", ())]


def seal(
    name: str, told: tuple[Facts, dict[str, Any]], notes: Body, encoded: Encoded, secret: Secret
) -> tuple[str, list[Body]]:
    """Return head and body of an entry; the body's parts are views of the value's own memory, nothing is copied.

    Parameters
    ----------
    name
        The record's name, which the signature binds.
    told
        What the head tells of the entry: the members that have a field, and others as JSON data, which are used up.
    notes
        Bytes that only a reader of the whole entry wants.
    """
    facts, others = told
    stream, buffers = encoded.stream, encoded.buffers
    body, size = _laid_out(others, notes, stream, buffers)
    if facts[_SIZE_OF_FACTS] != size:
        others["stream_bytes"] = len(stream)
    signed: tuple[Body, ...] = (notes, stream) if notes else (b"", stream)
    if buffers:
        if sum(others["buffers"]) < MAC_FROM:
            signed += buffers
        else:
            nonce = os.urandom(16)
            others["nonce"] = nonce.hex()
            others["macs"] = _macs(secret.derive(nonce), buffers)
        others["sums"] = _checksums(buffers)
    if encoded.shapes:
        others["shapes"] = encoded.shapes
    text = _written(secret.id, facts, len(notes) if notes else None, others)
    return text + short_text(secret.digest(_front(SCHEMA, name, text), *signed)), body


def _laid_out(
    others: dict[str, Any], notes: Body, stream: Body, buffers: Sequence[memoryview]
) -> tuple[list[Body], int]:
    """Return the parts of a body, and the bytes of stream and buffers; their lengths go to the members."""
    body: list[Body] = [notes, stream] if notes else [stream]
    size = len(stream)
    if buffers:
        others["buffers"] = [buffer.nbytes for buffer in buffers]
        offset = len(notes) + size
        for buffer in buffers:
            if gap := -offset % ALIGNMENT:
                body.append(_PADDING[:gap])
            body.append(buffer)
            offset += gap + buffer.nbytes
            size += buffer.nbytes
    return body, size


def unsigned(opened: Opened, members: Mapping[str, Any], notes: Body) -> tuple[str, list[Body]]:
    """Return head and body of a verified entry without a signature: who sends it vouches for it by other means.

    Checksums are those that were signed with it, so that large buffers are not read for this.
    """
    others = {member: value for member, value in members.items() if member not in _LAYOUT}
    facts = _facts_of(others)
    body, size = _laid_out(others, notes, opened.stream, opened.buffers)
    if facts[_SIZE_OF_FACTS] != size:
        others["stream_bytes"] = len(opened.stream)
    if opened.buffers:
        others["sums"] = list(opened.sums)
    if opened.shapes:
        others["shapes"] = opened.shapes
    return _written(None, facts, len(notes) if notes else None, others), body


def reseal(name: str, opened: Opened, encoded: Encoded, secret: Secret) -> tuple[str, list[Body]]:
    """Return head and body of an entry signed anew, whoever signed it before: the caller vouches for what it holds."""
    others = {member: value for member, value in opened.head.items() if member not in _LAYOUT}
    return seal(name, (_facts_of(others), others), opened.notes, encoded, secret)


def short_text(digest: bytes) -> str:
    """Return a digest as text, in base 64 without padding."""
    return b2a_base64(digest, newline=False).rstrip(b"=").decode("ascii")


def write_head(members: Mapping[str, Any]) -> str:
    r"""Return the head that has these members; one that is None is absent, and a signature belongs at the end.

    Examples
    --------
    >>> head = write_head({"schema": 3, "created_at": 1.5, "size_bytes": 4, "step_id": "raw", "ok": False})
    >>> head.split("\t")
    ['3', '', '', '1.5', '4', 'raw', '', '', '', '', '', '{"ok":false}', '']
    >>> read_head(head)["step_id"], read_head(head)["ok"]
    ('raw', False)
    """
    others = {member: value for member, value in members.items() if value is not None and member != "schema"}
    signature = others.pop("signature", None) or ""  # of an entry that came unsigned it is None
    secret, notes_bytes = others.pop("secret", None), others.pop("notes_bytes", None)
    return _written(secret, _facts_of(others), notes_bytes, others) + signature


Facts: TypeAlias = tuple[Any, ...]
"""Name, instant, size, step, workflow, seconds, call and code mark of an entry; what is None is absent."""
FACTS: Final = ("name", "created_at", "size_bytes", "step_id", "workflow", "duration_s", "call", "code")
_SIZE_OF_FACTS: Final = FACTS.index("size_bytes")


def _facts_of(members: dict[str, Any]) -> Facts:
    """Take the members that have a field out of all."""
    return tuple([members.pop(member, None) for member in FACTS])


def _written(secret: Any, facts: Facts, notes_bytes: Any, others: dict[str, Any]) -> str:  # Any: as anybody may have it
    """Return a head without its signature. What a field cannot hold as it is goes to the others, which are JSON."""
    name, at, size, step, workflow, seconds, call, code = facts
    fields = (
        _VERSION,
        (type(secret) is str and _short_id(secret)) or _other(others, "secret", secret),
        name if _fits(name) else _other(others, "name", name),
        repr(at) if type(at) is float else _other(others, "created_at", at),
        repr(size) if type(size) is int else _other(others, "size_bytes", size),
        step if _fits(step) else _other(others, "step_id", step),
        (_SAME if workflow == step else workflow) if _fits(workflow) else _other(others, "workflow", workflow),
        repr(seconds) if type(seconds) is float else _other(others, "duration_s", seconds),
        call if _fits(call) else _other(others, "call", call),
        code if _fits(code) else _other(others, "code", code),
        repr(notes_bytes) if type(notes_bytes) is int else _other(others, "notes_bytes", notes_bytes),
        _to_json(others) if others else "",
        "",
    )
    return "\t".join(fields)


def _fits(text: object) -> bool:
    return type(text) is str and text.isascii() and text.isprintable() and text not in ("", _SAME)


def _other(others: dict[str, Any], member: str, value: object) -> str:
    if value is not None:
        others[member] = value
    return ""


@lru_cache(maxsize=256)
def _short_id(secret: str) -> str:
    return short_text(bytes.fromhex(secret)) if _ID.fullmatch(secret) else ""


_VERSION: Final = f"{SCHEMA}"


def read_head(head: str) -> dict[str, Any] | None:
    """Return the members of a head without verifying it, or None where it is no head. Never runs a pickle."""
    try:
        if head.startswith("{"):
            members, end = _scan(head, 0)
            return members if isinstance(members, dict) and end == len(head) else None
        if not head.startswith(_PACKED):
            version = int(head.partition("\t")[0][:9])
            return {"schema": version} if version > SCHEMA else None  # of a later one nothing else is known
        return _read_packed(head)
    except (ValueError, RecursionError, StopIteration):
        return None


def _read_packed(head: str) -> dict[str, Any] | None:
    """Return the members of a head of the present format; raises ValueError where it is none."""
    _, secret, name, created, size, step, workflow, duration, call, code, notes, rest, signature = head.split("\t")
    # Written out, because every first hit makes one; what is absent is None here.
    members: dict[str, Any] = {
        "schema": SCHEMA,
        "secret": _secret_id(secret),
        "name": name or None,
        "created_at": float(created) if created else None,
        "size_bytes": int(size) if size else None,
        "step_id": step or None,
        "workflow": (step if workflow == _SAME else workflow) or None,
        "duration_s": float(duration) if duration else None,
        "call": call or None,
        "code": code or None,
        "signature": signature or None,
    }
    if notes:
        members["notes_bytes"] = int(notes)
    if rest:
        members = {**members, **_members_of(rest), "schema": SCHEMA}
    return members


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _members_of(text: str) -> dict[str, Any]:
    """Return the members in the field of the others; raises ValueError where it is no object of JSON."""
    members, end = _scan(text, 0)
    if end != len(text) or not isinstance(members, dict):
        raise ValueError("no object")
    return members


@lru_cache(maxsize=256)
def _secret_id(text: str) -> str | None:
    return a2b_base64(text + "=", strict_mode=True).hex() if text else None


Verified: TypeAlias = (
    "tuple[Mapping[str, Any], float | None, str | None, Body, Body, tuple[memoryview, ...], tuple[str, ...],"
    " tuple[str, ...], Secret | None]"
)
"""The members that few entries have (all of them of an older format); seconds and code mark, which most have; notes,
stream, buffers, macs, sums and secret as of `Opened`. No class: every first hit makes one."""


def open_envelope(name: str, head: str, body: Body, keyring: Keyring, *, verify: bool = True) -> Opened:
    """Return the parts of an entry, verified; only buffers that have MACs are still to be checked.

    Raises
    ------
    EnvelopeError
        It is damaged, unsigned, altered, signed by somebody who is not trusted here, or of another format.
    """
    _, _, _, notes, stream, buffers, macs, sums, secret = verified(name, head, body, keyring, verify=verify)
    return Opened(read_head(head) or {}, notes, stream, buffers, macs, sums, secret)


def verified(name: str, head: str, body: Body, keyring: Keyring, *, verify: bool) -> Verified:
    """Do as `open_envelope`, on the road of a hit: what only a reader of the head wants is not parsed."""
    if not head.startswith(_PACKED):
        return _verified_json(name, head, body, keyring, verify=verify)
    try:
        _, secret_id, _, _, size, _, _, duration, _, code, of_notes, more, signature = head.split("\t")
        secret = None
        if verify:  # nearly all are of the own secret
            secret = keyring.own if secret_id == keyring.own.short_id else _trusted(_secret_id(secret_id), keyring)
        rest = _members_of(more) if more else _NOTHING
        notes_bytes = int(of_notes) if of_notes else 0
        stream_bytes = int(size) if size else 0
        duration_s = float(duration) if duration else None
    except (ValueError, RecursionError, StopIteration):
        raise EnvelopeError("its head is not readable", reason="damaged") from None
    buffers: tuple[memoryview, ...] = ()
    macs: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    if "buffers" in rest or "stream_bytes" in rest:
        notes, stream, buffers, macs, sums = _parts_of(SCHEMA, rest, body, notes_bytes, stream_bytes)
    elif len(body) != notes_bytes + stream_bytes:
        raise _torn(body, notes_bytes + stream_bytes)
    else:  # the usual small entry
        notes, stream = (body[:notes_bytes], body[notes_bytes:]) if notes_bytes else (b"", body)
    if secret is None:
        if read_head(head) is None:
            raise EnvelopeError("its head is not readable", reason="damaged")
    elif not (len(signature) == _SIGNED_BYTES and head.isascii()):
        raise EnvelopeError("it is not signed", reason="unverified")
    else:
        front = _front(SCHEMA, name, head[:-_SIGNED_BYTES])
        digest = secret.digest(front, notes, stream, *(() if macs else buffers))
        if not compare_digest(signature, short_text(digest)):
            raise EnvelopeError("its signature does not fit its bytes", reason="unverified")
    return rest, duration_s, code or None, notes, stream, buffers, macs, sums, secret


def _verified_json(name: str, head: str, body: Body, keyring: Keyring, *, verify: bool) -> Verified:
    """Do as `verified` for a head of format 1 or 2."""
    members = read_head(head)
    if members is None:
        raise EnvelopeError("its head is not readable", reason="damaged")
    schema: Any = members.get("schema")
    if schema not in (1, 2):
        if isinstance(schema, int) and schema > SCHEMA:
            raise EnvelopeError(f"it was written by a newer awaitly_nb (schema {schema})", reason="newer")
        raise EnvelopeError(f"its head has no known schema ({schema!r})", reason="damaged")
    secret = _trusted(members.get("secret"), keyring) if verify else None
    found = _parts_of(schema, members, body, members.get("notes_bytes", 0), len(body))
    if secret is None:
        return members, None, None, *found, None
    if not (head.startswith(_SIGNATURE, -_TAIL) and head.isascii()):
        raise EnvelopeError("it is not signed", reason="unverified")
    notes, stream, buffers, macs, _ = found
    front = _front(schema, name, head[:-_TAIL] + "}")
    digest = secret.digest(front, notes, stream, *(() if macs or schema == 1 else buffers))
    if not compare_digest(head[-34:-2], digest.hex()):
        raise EnvelopeError("its signature does not fit its bytes", reason="unverified")
    if schema == 1 and buffers:
        raise EnvelopeError(
            "an older awaitly_nb wrote it, whose checksums of arrays can be forged; if nobody else could write to the "
            "folder, `awaitly-nb trust folder` signs it anew",
            reason="outdated",
        )
    return members, None, None, *found, secret


def check_buffers(opened: Opened) -> None:
    """Authenticate the buffers of a large entry; those of any other were part of what was signed.

    Of an entry that was opened without verification, they are compared with their checksums instead: who vouches for a
    folder learns of damage, and of nothing else.

    Raises
    ------
    EnvelopeError
        One differs, or belongs to another entry.
    """
    if opened.secret is None:
        if opened.buffers and _checksums(opened.buffers) != list(opened.sums):
            raise EnvelopeError("a buffer does not match its checksum", reason="damaged")
        return
    if not opened.macs:
        return
    found = _macs(opened.secret.derive(bytes.fromhex(opened.head["nonce"])), opened.buffers)
    if not compare_digest("".join(found), "".join(opened.macs)):
        raise EnvelopeError("a buffer is not the one that was signed", reason="unverified")


def _front(schema: int, name: str, text: str) -> bytes:
    # The length keeps a name from passing as the beginning of another head.
    return f"awaitly_nb entry {schema} {len(name)} {name} {text}".encode()


def _trusted(secret_id: object, keyring: Keyring) -> Secret:
    if type(secret_id) is not str:
        raise EnvelopeError("its head does not tell who signed it", reason="unverified")
    secret = keyring.find(secret_id)
    if secret is None:
        raise EnvelopeError(
            f"it was signed with secret {secret_id[:64]}, which is not trusted here",
            reason="foreign",
            secret=secret_id[:64],
        )
    return secret


_Parts: TypeAlias = "tuple[Body, Body, tuple[memoryview, ...], tuple[str, ...], tuple[str, ...]]"
"""Notes, stream, buffers, and the MACs and checksums of these."""


def _parts_of(
    schema: int, members: Mapping[str, Any], body: Body, notes: Any, size: int
) -> _Parts:  # Any: as anybody may have written
    """Return the parts of an entry, by what its head tells of their lengths; `size` is that of stream and buffers."""
    view = memoryview(body)
    lengths, macs, sums = _buffers_of(schema, members) if "buffers" in members else ([], [], [])
    stream = members.get("stream_bytes", size - sum([length for length in lengths if type(length) is int]))
    if not all(type(length) is int and length >= 0 for length in (notes, stream, *lengths)):
        raise EnvelopeError("its head does not tell the lengths of its parts", reason="damaged")
    end = notes + stream
    spans = []
    for length in lengths:
        start = end + -end % ALIGNMENT
        end = start + length
        spans.append((start, end))
    if end != view.nbytes:
        raise _torn(body, end)
    buffers = tuple([view[start:end] for start, end in spans])
    return view[:notes], view[notes : notes + stream], buffers, tuple(macs), tuple(sums)


def _torn(body: Body, written: int) -> EnvelopeError:
    return EnvelopeError(f"it holds {len(body)} bytes where {written} were written", reason="damaged")


def _buffers_of(
    schema: int, members: Mapping[str, Any]
) -> tuple[list[Any], list[str], list[str]]:  # Any: as anybody may have written
    """Return the lengths of the buffers, and their MACs and checksums where they have any."""
    macs: list[Any] = []
    sums: list[Any] = []
    try:
        if schema == 1:
            lengths = [length for length, _ in members["buffers"]]
            sums = [digest for _, digest in members["buffers"]]
        else:
            lengths, sums = list(members["buffers"]), list(members["sums"])
            if "nonce" in members:
                bytes.fromhex(members["nonce"])
                macs = list(members["macs"])
        # Each of them has its own: with fewer, the last buffers would be bound by nothing.
        sound = len(sums) == len(lengths) and len(macs) == (len(lengths) if "nonce" in members else 0)
        sound = sound and all(type(text) is str and text.isascii() for text in (*macs, *sums))
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise EnvelopeError("its head tells of buffers that cannot be", reason="damaged")
    return lengths, macs, sums


def _macs(key: bytes, buffers: Sequence[memoryview]) -> list[str]:
    """Return the MAC of each buffer, as 32 hexadecimal digits.

    The key is used for one entry only, so the number of a buffer and of its piece is all that a GCM nonce needs.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    def mac(piece: tuple[int, int, memoryview]) -> bytes:
        number, start, view = piece
        # Nothing is encrypted: the buffer is associated data, and what comes out is its tag.
        return AESGCM(key).encrypt(number.to_bytes(4, "big") + start.to_bytes(8, "big"), b"", view)

    pieces = [
        (number, start, view)
        for number, buffer in enumerate(buffers)
        for start, view in enumerate(_pieces(buffer.cast("B")))
    ]
    found: dict[int, list[bytes]] = {}
    for (number, _, _), tag in zip(pieces, _shared_out(mac, pieces, buffers), strict=True):
        found.setdefault(number, []).append(tag)
    return [
        (tags[0] if len(tags) == 1 else blake2b(b"".join(tags), key=key, digest_size=16).digest()).hex()
        for tags in found.values()
    ]


def _checksums(buffers: Sequence[memoryview]) -> list[str]:
    """Return the checksum that format 1 has for each buffer."""
    from xxhash import xxh3_128_digest

    pieces = [_pieces(buffer.cast("B")) for buffer in buffers]
    found = iter(_shared_out(xxh3_128_digest, [piece for group in pieces for piece in group], buffers))
    digests = [[next(found) for _ in group] for group in pieces]
    return [(group[0] if len(group) == 1 else xxh3_128_digest(b"".join(group))).hex() for group in digests]


def _pieces(buffer: memoryview) -> list[memoryview]:
    return [buffer[start : start + PIECE] for start in range(0, buffer.nbytes or 1, PIECE)]


def _shared_out(
    work: Callable[[Any], bytes],
    pieces: Sequence[Any],  # Any: what `work` takes
    buffers: Sequence[memoryview],
) -> Iterable[bytes]:
    """Do the work on all pieces of `buffers`, where they are large on several cores: it lets go of the interpreter."""
    threads = min(_MAX_THREADS, os.cpu_count() or 1, len(pieces))
    if threads < 2 or sum([buffer.nbytes for buffer in buffers]) < PIECE:  # noqa: PLR2004 - one works alone
        return map(work, pieces)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, pieces))
