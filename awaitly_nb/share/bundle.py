"""One file that carries a notebook and entries: blobs, a manifest that names and digests each, and one signature.

Layout::

    8 bytes     magic
    blobs       one after the other, nothing between them
    manifest    UTF-8 JSON; says size and SHA-256 of each blob
    trailer     64 bytes Ed25519 signature | 32 bytes public key | 8 bytes length of the manifest | 8 bytes magic

The signature covers a context string and the manifest, and the manifest covers every blob, so that no byte of the file
can change unnoticed. Nothing is compressed, so nothing can explode; blobs have numbers and no names, so nothing says
where to write. Writing is one pass with flat memory.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO

from awaitly_nb.codec import PublicKey
from awaitly_nb.errors import AwaitlyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from hashlib import _Hash as Hash
    from pathlib import Path
    from types import TracebackType

    from awaitly_nb.codec import Identity

__all__ = ["Bundle", "BundleError", "BundleWriter"]

_MAGIC = b"awbndl1\n"
_CONTEXT = b"awaitly_nb bundle 1\0"
_SIGNATURE, _KEY, _LENGTH = 64, 32, 8
_TRAILER = _SIGNATURE + _KEY + _LENGTH + len(_MAGIC)
_MOST_MANIFEST = 64 << 20
_SLICE = 1 << 20
_FORMAT = 1
_FLUSH_FROM = 32 << 20


class BundleError(AwaitlyError, ValueError):
    """A file is no bundle, is damaged, or was altered; nothing of it was used."""


class BundleWriter:
    """Writes a bundle under a temporary name; it stands under its own name only once it is whole.

    Parameters
    ----------
    path
        The file to write.
    identity
        Who signs it.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path = path
        self._identity = identity
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        self._blobs: list[list[Any]] = []  # Any: size and digest
        self._file: BinaryIO | None = None
        self._written = 0
        self._hashing = ThreadPoolExecutor(1)

    def __enter__(self) -> BundleWriter:
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._file.write(_MAGIC)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._hashing.shutdown()
        if self._file is not None and not self._file.closed:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def add(self, parts: Iterable[bytes | bytearray | memoryview]) -> int:
        """Append one blob, and return its number."""
        assert self._file is not None
        digest, size = sha256(), 0
        for part in parts:
            view = memoryview(part).cast("B")
            size += view.nbytes
            for start in range(0, view.nbytes, _SLICE):
                self._append(view[start : start + _SLICE], digest)
        self._blobs.append([size, digest.hexdigest()])
        return len(self._blobs) - 1

    def _append(self, piece: memoryview, digest: Hash) -> None:
        assert self._file is not None
        if piece.nbytes < _SLICE:
            digest.update(piece)
            self._file.write(piece)
        else:
            # Hashed by a thread while it is written: each takes about as long as the other.
            hashed = self._hashing.submit(digest.update, piece)
            try:
                self._file.write(piece)
            finally:
                hashed.result()
        self._written += piece.nbytes
        if self._written >= _FLUSH_FROM:
            self._begin_to_flush()

    def _begin_to_flush(self) -> None:
        """Have the disk begin while the rest is still being hashed, instead of all at the end."""
        assert self._file is not None
        self._file.flush()
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._written = 0

    def finish(self, manifest: dict[str, Any]) -> None:  # Any: plain JSON data
        """Write the manifest and the signature, and put the file in its place."""
        assert self._file is not None
        text = json.dumps({**manifest, "format": _FORMAT, "blobs": self._blobs}, ensure_ascii=False).encode()
        signature = self._identity.sign(_CONTEXT + text)
        self._file.write(text)
        self._file.write(signature + self._identity.public.raw + len(text).to_bytes(_LENGTH, "big") + _MAGIC)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)


class Bundle:
    """A bundle whose signature was checked, and whose blobs are checked as they are read.

    Opening reads the manifest alone.

    Parameters
    ----------
    path
        The file.
    admit
        Called with its signer before anything is parsed; raises for one who is not trusted.

    Raises
    ------
    BundleError
        It is no bundle, is cut short, or its signature is not that of its manifest.
    """

    def __init__(self, path: Path, admit: Callable[[PublicKey], None] | None = None) -> None:
        self.path = path
        try:
            self._file = _open_regular(path)
        except OSError as exc:
            raise BundleError(f"{path} cannot be read: {exc.strerror or exc}") from None
        try:
            self.signer, self.manifest, self._places = _read(self._file, path, admit)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def verify(self) -> None:
        """Read every byte.

        Raises
        ------
        BundleError
            A blob is not what was signed.
        """
        for number in range(len(self._places)):
            for _ in self.slices(number):
                pass

    def size_of(self, number: int) -> int:
        """Return the size of a blob in bytes."""
        return self._places[self._checked(number)][1]

    def read(self, number: int) -> bytearray:
        """Return a blob, verified; it is in memory once."""
        whole = bytearray()
        for part in self.slices(number):
            whole += part
        return whole

    def slices(self, number: int) -> Iterator[bytes]:
        """Yield a blob in slices; what was yielded may be used only once the iteration has ended without an error.

        Raises
        ------
        BundleError
            The blob is not what was signed.
        """
        begin, size, wanted = self._places[self._checked(number)]
        digest, position, left = sha256(), begin, size
        while left:
            self._file.seek(position)
            part = self._file.read(min(_SLICE, left))
            if not part:
                raise BundleError(f"{self.path} ends in the middle of blob {number}")
            digest.update(part)
            position += len(part)
            left -= len(part)
            yield part
        if digest.hexdigest() != wanted:
            raise BundleError(f"{self.path}: blob {number} is not what was signed; ask for the file again")

    def _checked(self, number: object) -> int:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(self._places):
            raise BundleError(f"{self.path} has no blob {number!r}")
        return number


_Span = tuple[int, int, str]


def _open_regular(path: Path) -> BinaryIO:
    import stat

    # A FIFO or a device would block, or never end.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


def _read(
    file: BinaryIO, path: Path, admit: Callable[[PublicKey], None] | None
) -> tuple[PublicKey, dict[str, Any], list[_Span]]:
    size = file.seek(0, os.SEEK_END)
    if size < len(_MAGIC) + _TRAILER:
        raise BundleError(f"{path} is no bundle: it is too short")
    file.seek(0)
    first = file.read(len(_MAGIC))
    file.seek(size - _TRAILER)
    trailer = file.read(_TRAILER)
    if first != _MAGIC or trailer[-len(_MAGIC) :] != _MAGIC:
        raise BundleError(f"{path} is no bundle, or is cut short")
    length = int.from_bytes(trailer[_SIGNATURE + _KEY : _SIGNATURE + _KEY + _LENGTH], "big")
    begin = size - _TRAILER - length
    if length > _MOST_MANIFEST or begin < len(_MAGIC):
        raise BundleError(f"{path} is damaged: its manifest cannot have {length} bytes")
    file.seek(begin)
    text = file.read(length)
    signer = PublicKey(trailer[_SIGNATURE : _SIGNATURE + _KEY])
    if not signer.verify(trailer[:_SIGNATURE], _CONTEXT + text):
        raise BundleError(f"{path} was altered or damaged: its signature is not that of its manifest")
    if admit is not None:
        admit(signer)
    return signer, *_parsed(text, path, end=begin)


def _parsed(text: bytes, path: Path, *, end: int) -> tuple[dict[str, Any], list[_Span]]:
    # Signed is not the same as sane: the signer may be anybody.
    try:
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
            raise BundleError(f"{path} has format {manifest.get('format')!r}, and this version reads {_FORMAT}")
        places: list[_Span] = []
        position = len(_MAGIC)
        for size, digest in manifest["blobs"]:
            if type(size) is not int or type(digest) is not str or not 0 <= size <= end - position:
                raise BundleError(f"{path}: the sizes in its manifest are not those of the file")
            places.append((position, size, digest))
            position += size
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        if isinstance(exc, BundleError):
            raise
        raise BundleError(f"{path}: its manifest cannot be read") from None
    if position != end:
        raise BundleError(f"{path}: the sizes in its manifest are not those of the file")
    return manifest, places
