"""Large arrays that lie in a private map of a file and that nobody has written to: their digests are known unread.

A hit maps its large arrays. To make the key of the next cell they would be read as a whole, and so take the memory and
the time that the map saves. What a digest was is stored beside them, and the system tells which pages of a private map
were written to: as long as none was, the digest holds. Where the system does not tell (elsewhere than on Linux) they
are read.
"""

from __future__ import annotations

import mmap
import struct
import sys
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LARGE_BYTES", "Range", "known_digest", "note_digest", "noted_digests", "remember_digest"]

LARGE_BYTES: Final = 1 << 20
"""Smaller arrays are read: that takes less time than asking."""

Range: TypeAlias = "tuple[int, int]"
"""Address and length of some memory."""

_noting: list[dict[Range, bytes]] = []
_known: dict[Range, tuple[weakref.ref[mmap.mmap], bytes]] = {}
_PAGE: Final = mmap.PAGESIZE
_ENTRY: Final = 8
_AT_ONCE: Final = 1 << 17
# Of `/proc/self/pagemap`: a page that is there and not the file's, or that was swapped out, was written to.
_PRESENT: Final = 1 << 63
_SWAPPED: Final = 1 << 62
_OF_FILE: Final = 1 << 61


@contextmanager
def noted_digests() -> Iterator[dict[Range, bytes]]:
    """Yield what is given the digest of each large array that is read meanwhile, by where it lies."""
    noted: dict[Range, bytes] = {}
    _noting.append(noted)
    try:
        yield noted
    finally:
        _noting.remove(noted)


def note_digest(address: int, size: int, digest: bytes) -> None:
    """Tell whoever notes them of the digest of an array that was read, or whose digest was known."""
    for noted in _noting:
        noted[address, size] = digest


def remember_digest(owner: mmap.mmap, address: int, size: int, digest: bytes) -> None:
    """Remember the digest of bytes that lie in a private map of a file, as long as the map lives."""

    def forget(gone: weakref.ref[mmap.mmap]) -> None:
        if (found := _known.get((address, size))) is not None and found[0] is gone:
            del _known[address, size]

    _known[address, size] = weakref.ref(owner, forget), digest


def known_digest(address: int, size: int) -> bytes | None:
    """Return the digest of the bytes that lie there; None where it is not known, or may be another one by now."""
    found = _known.get((address, size))
    if found is None or found[0]() is None:
        return None
    if _is_untouched(address, size):
        return found[1]
    del _known[address, size]
    return None


def _is_untouched(address: int, size: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    first, last = address // _PAGE, (address + size - 1) // _PAGE
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pages:  # noqa: PTH123 - a Path has no `buffering=0` of use
            pages.seek(first * _ENTRY)
            left = last - first + 1
            while left:
                data = pages.read(min(left, _AT_ONCE) * _ENTRY)
                if not data or any(map(_is_written, _distinct(data))):
                    return False
                left -= len(data) // _ENTRY
    except OSError:
        return False
    return True


def _distinct(data: bytes) -> Any:  # Any: integers; NumPy is not imported here
    """Return the flags of some pages, each once."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return {entry & (_PRESENT | _SWAPPED | _OF_FILE) for (entry,) in struct.iter_unpack("=Q", data)}
    flags = numpy.frombuffer(data, numpy.uint64) >> numpy.uint64(61)
    return [int(flag) << 61 for flag in numpy.flatnonzero(numpy.bincount(flags.astype(numpy.uint8)))]


def _is_written(entry: int) -> bool:
    return bool(entry & _SWAPPED) or bool(entry & _PRESENT and not entry & _OF_FILE)
