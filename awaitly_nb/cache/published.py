"""Entries in a store that others read: each signed with Ed25519, large values in pieces that are stored once.

A published entry is a record::

    name   ROOT, then the name of the entry: namespace, separator, key
    head   {"format", "signer", "signature", "told"}, where `told` is JSON text again:
           {"name", "head": of the entry, "pieces": [[size, SHA-256], ...], "inline": SHA-256 of the body, "made"}
    body   the small pieces, one after the other; in `pieces` their digest is ""

and each large piece is a record of its own, named by its digest, so that it is sent and stored once whatever number of
entries have it, and what was interrupted goes on where it was. Pieces come first and the entry last: what can be found
is whole. The signature covers a context string and `told`, and `told` covers every byte, so whoever can write to the
store can remove entries, and can neither make nor change one. Nothing here is unpickled, and of an entry whose signer
is not trusted nothing is looked at but the signature.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from awaitly_nb.cache.entry import SEPARATOR
from awaitly_nb.codec import EnvelopeError, PublicKey, UntrustedSignerError, read_head
from awaitly_nb.errors import MisuseError
from awaitly_nb.stores import DamagedRecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from awaitly_nb.cache.exchange import Exported
    from awaitly_nb.codec import Identity
    from awaitly_nb.stores import Body, Record, Store

__all__ = ["Offer", "Published", "Signers"]

_ROOT: Final = "\x1epublished\x1f"
_PIECE: Final = "\x1epiece\x1f"
_CONTEXT: Final = b"awaitly_nb published entry 1\0"
_FORMAT: Final = 1
_PIECE_BYTES: Final = 4 << 20
"""Every store takes a record of this size, and a connection that broke has lost no more."""
_LARGE: Final = 1 << 18
_MOST_INLINE: Final = 1 << 20
_THREADS: Final = 8


class Signers(NamedTuple):
    """Whose entries there are.

    Attributes
    ----------
    key
        A public key.
    name
        The name under which it is trusted here; None where it is not.
    entries
        How many entries it signed.
    """

    key: PublicKey
    name: str | None
    entries: int


class Offer(NamedTuple):
    """A published entry whose signer is trusted; its pieces are checked as they are read.

    Attributes
    ----------
    name
        Its name: namespace, separator, key.
    head
        The entry's readable head.
    made
        What it was made with, as its signer tells it.
    signer
        The name under which its signer is trusted.
    pieces
        Size and digest of each part of its body.
    inline
        The small parts.
    """

    name: str
    head: str
    made: dict[str, Any]  # Any: plain JSON data
    signer: str
    pieces: tuple[tuple[int, str], ...]
    inline: memoryview

    @property
    def namespace(self) -> str:
        """Where it belongs."""
        return self.name.partition(SEPARATOR)[0]

    @property
    def key(self) -> str:
        """Its key there."""
        return self.name.partition(SEPARATOR)[2]

    @property
    def size_bytes(self) -> int:
        """Size of the whole body."""
        return sum(size for size, _ in self.pieces)

    @property
    def duration_s(self) -> float:
        """Seconds that computing it took; 0 where that is not known."""
        took = (read_head(self.head) or {}).get("duration_s")
        return float(took) if isinstance(took, int | float) else 0.0


class Published:
    """The entries that a store offers.

    Parameters
    ----------
    store
        The store.
    name_of
        Returns the name under which a public key is trusted, or None.
    """

    def __init__(self, store: Store, name_of: Callable[[PublicKey], str | None]) -> None:
        self.store = store
        self._name_of = name_of

    def __repr__(self) -> str:
        return repr(self.store)

    def find(self, name: str) -> Offer | None:
        """Return the entry called `name`, by one question; None where there is none.

        Raises
        ------
        UntrustedSignerError
            Its signer is not trusted here; nothing but the signature was looked at.
        EnvelopeError
            It is not what was signed.
        StoreError
            The store cannot be read.
        """
        record = self.store.read(_ROOT + name)
        if record is None:
            return None
        return self._offer(record)

    def offers(self, namespaces: Iterable[str], on_refusal: Callable[[str, Exception], None]) -> Iterator[Offer]:
        """Yield the entries of these namespaces that are offered by somebody who is trusted.

        Parameters
        ----------
        namespaces
            The namespaces.
        on_refusal
            Called with the name of each other entry, and why it is not offered.
        """
        for namespace in namespaces:
            for record in self.store.scan(_ROOT + namespace + SEPARATOR, bodies=True):
                try:
                    offer = self._offer(record)
                except (UntrustedSignerError, EnvelopeError) as exc:
                    on_refusal(record.name.removeprefix(_ROOT), exc)
                else:
                    yield offer

    def signers(self) -> list[Signers]:
        """Return who signed the entries, the most of them first; reads heads only, and checks no signature."""
        count: dict[bytes, int] = {}
        for record in self.store.scan(_ROOT):
            signer = _signer_of(read_head(record.head) or {})
            if signer is not None:
                count[signer.raw] = count.get(signer.raw, 0) + 1
        rows = [Signers(key := PublicKey(raw), self._name_of(key), entries) for raw, entries in count.items()]
        return sorted(rows, key=lambda row: -row.entries)

    def notes(self, offer: Offer) -> bytes:
        """Return the beginning of its body that a plan needs: what its key is made of, and which files it read."""
        wanted = (read_head(offer.head) or {}).get("notes_bytes", 0)
        if type(wanted) is not int or not 0 <= wanted <= offer.size_bytes:
            raise EnvelopeError("its head does not tell the lengths of its parts", reason="damaged")
        notes = b""
        for part in self._parts(offer):
            if len(notes) >= wanted:
                break
            notes += part
        return notes[:wanted]

    def body(self, offer: Offer, on_piece: Callable[[int], None] | None = None) -> bytearray:
        """Return its whole body, every byte checked; pieces are fetched several at a time.

        Parameters
        ----------
        on_piece
            Called with the size of each piece that has arrived; what it raises ends the transfer.

        Raises
        ------
        EnvelopeError
            A piece is gone, or is not what was signed.
        StoreError
            The store cannot be read.
        """
        whole = bytearray(offer.size_bytes)
        view, start, at = memoryview(whole), 0, 0
        wanted: list[tuple[int, int, str]] = []
        for size, digest in offer.pieces:
            if digest:
                wanted.append((start, size, digest))
            else:
                view[start : start + size] = offer.inline[at : at + size]
                at += size
            start += size

        def fetch(piece: tuple[int, int, str]) -> int:
            begin, size, digest = piece
            view[begin : begin + size] = self._piece(size, digest)
            return size

        for size in _several(fetch, wanted):
            if on_piece is not None:
                on_piece(size)
        return whole

    def publish(
        self,
        entry: Exported,
        identity: Identity,
        *,
        made: dict[str, Any],  # Any: plain JSON data
        again: bool = False,
        on_piece: Callable[[int], None] | None = None,
    ) -> bool:
        """Offer an entry; return False where one that is trusted here is offered under its name already.

        Parameters
        ----------
        entry
            The entry, as `export_entries` hands it out.
        identity
            Who signs.
        made
            What it was made with.
        again
            Whether to send also what seems to be there already.
        on_piece
            Called with the size of each large piece that was sent.

        Raises
        ------
        StoreError
            The store cannot be written; the entry is offered whole or not at all, and the next call goes on.
        """
        name = entry.namespace + SEPARATOR + entry.key
        if not again:
            try:
                if self.find(name) is not None:
                    return False
            except (UntrustedSignerError, EnvelopeError, DamagedRecordError):
                pass  # it would be served to nobody who trusts the same signers, so it is replaced
        pieces, inline, large = _cut(entry.body)

        def send(piece: tuple[str, memoryview]) -> int:
            digest, data = piece
            if again or not self._has_piece(digest):
                self.store.swap(_PIECE + digest, "{}", [data])
            return data.nbytes

        for size in _several(send, list(large.items())):
            if on_piece is not None:
                on_piece(size)
        told = {"name": name, "head": entry.head, "pieces": pieces, "inline": _digest(*inline), "made": made}
        text = json.dumps(told, separators=(",", ":"))
        signature = identity.sign(_CONTEXT + text.encode()).hex()
        head = {"format": _FORMAT, "signer": str(identity.public), "signature": signature, "told": text}
        self.store.swap(_ROOT + name, json.dumps(head, separators=(",", ":")), inline)
        return True

    def _offer(self, record: Record) -> Offer:
        members = read_head(record.head) or {}
        signer, text, signature = _signer_of(members), members.get("told"), members.get("signature")
        if members.get("format") != _FORMAT or signer is None or not isinstance(text, str):
            raise EnvelopeError("it is no entry that this version knows", reason="damaged")
        name = self._name_of(signer)
        if name is None:
            raise UntrustedSignerError(
                f"it is signed by {signer.words}, who is not trusted here. Compare these six words with what"
                f' `awaitly-nb trust key` shows there, and if they are the same: awaitly-nb trust add "{signer}"'
                " --name NAME"
            )
        try:
            sound = isinstance(signature, str) and signer.verify(
                bytes.fromhex(signature), _CONTEXT + text.encode("utf-8", "surrogatepass")
            )
        except ValueError:
            sound = False
        if not sound:
            raise EnvelopeError("its signature does not fit what it tells", reason="unverified")
        offer = _parsed(text, memoryview(record.body or b""), name)
        if offer.name != record.name.removeprefix(_ROOT):
            raise EnvelopeError("it was published under another name", reason="unverified")
        return offer

    def _parts(self, offer: Offer) -> Iterator[Body]:
        at = 0
        for size, digest in offer.pieces:
            if digest:
                yield self._piece(size, digest)
            else:
                yield offer.inline[at : at + size]
                at += size

    def _piece(self, size: int, digest: str) -> Body:
        record = self.store.read(_PIECE + digest)
        data = b"" if record is None or record.body is None else record.body
        if memoryview(data).nbytes != size or _digest(data) != digest:
            raise EnvelopeError(
                "a piece of its value is gone" if record is None else "a piece of its value is not what was signed",
                reason="damaged",
            )
        return data

    def _has_piece(self, digest: str) -> bool:
        return any(record.name == _PIECE + digest for record in self.store.scan(_PIECE + digest))


def _several(work: Callable[[Any], int], pieces: Sequence[Any]) -> Iterator[int]:  # Any: what `work` takes
    """Yield what the work returns for each piece, several at a time; the first that fails ends it."""
    if len(pieces) < 2:  # noqa: PLR2004 - one needs no thread
        yield from map(work, pieces)
        return
    pool = ThreadPoolExecutor(min(_THREADS, len(pieces)), thread_name_prefix="awaitly_nb transfer")
    try:
        yield from pool.map(work, pieces)
    finally:
        # What is under way ends by the store's own time limit; nobody waits for it.
        pool.shutdown(wait=False, cancel_futures=True)


def _cut(body: Sequence[Body]) -> tuple[list[list[Any]], list[Body], dict[str, memoryview]]:  # Any: size and digest
    """Return the pieces of a body in order, those that are small, and those that are large, by digest."""
    pieces: list[list[Any]] = []
    inline: list[Body] = []
    large: dict[str, memoryview] = {}
    small = 0
    for part in body:
        view = memoryview(part).cast("B")
        if view.nbytes < _LARGE and small + view.nbytes <= _MOST_INLINE:
            small += view.nbytes
            inline.append(view)
            pieces.append([view.nbytes, ""])
            continue
        # A part is a buffer of the value: cut from its own beginning, it has the same pieces in every entry.
        for start in range(0, view.nbytes, _PIECE_BYTES):
            data = view[start : start + _PIECE_BYTES]
            digest = _digest(data)
            large[digest] = data
            pieces.append([data.nbytes, digest])
    return pieces, inline, large


def _parsed(text: str, inline: memoryview, signer: str) -> Offer:
    # Signed is not the same as sane: a signer may be mistaken.
    try:
        told = json.loads(text)
        pieces = tuple((size, digest) for size, digest in told["pieces"])
        sound = all(type(size) is int and size >= 0 and type(digest) is str for size, digest in pieces)
        sound = sound and sum(size for size, digest in pieces if not digest) == inline.nbytes
        # What nobody would write, and would take memory for before it is seen to be a lie.
        sound = sound and all(size <= _PIECE_BYTES for size, digest in pieces if digest)
        texts, made = (told["name"], told["head"]), told["made"]
        sound = sound and all(type(part) is str for part in texts) and isinstance(made, dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise EnvelopeError("what it tells of itself makes no sense", reason="damaged")
    if _digest(inline) != told["inline"]:
        raise EnvelopeError("its bytes are not those that were signed", reason="unverified")
    return Offer(*texts, made, signer, pieces, inline)


def _signer_of(members: dict[str, Any]) -> PublicKey | None:
    try:
        return PublicKey.parse(str(members.get("signer", "")))
    except MisuseError:
        return None


def _digest(*parts: Body) -> str:
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
