"""Checksums of bulk bytes: they find damage, they do not prove origin. xxhash is loaded with the first of them.

A large buffer is hashed in pieces, each by itself, so that several cores can share the work.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["checksums"]

PIECE: Final = 16 << 20
"""Part of the format: what is larger is the checksum of the checksums of pieces of this size."""

_MAX_THREADS: Final = 4
_THREADS_FROM: Final = 16 << 20
"""Below it, threads take longer to start than they save."""


def checksums(buffers: Sequence[memoryview]) -> list[str]:
    """Return the checksum of each contiguous buffer as 32 hexadecimal digits."""
    from xxhash import xxh3_128_digest

    pieces = [_pieces(buffer.cast("B")) for buffer in buffers]
    flat = [piece for group in pieces for piece in group]
    threads = min(_MAX_THREADS, os.cpu_count() or 1, len(flat))
    digests: Iterable[bytes]
    if threads > 1 and sum([piece.nbytes for piece in flat]) >= _THREADS_FROM:
        from concurrent.futures import ThreadPoolExecutor

        # xxhash lets go of the interpreter's lock, so the threads run side by side.
        with ThreadPoolExecutor(threads) as pool:
            digests = list(pool.map(xxh3_128_digest, flat))
    else:
        digests = map(xxh3_128_digest, flat)
    found = iter(digests)
    return [_joined([next(found) for _ in group]) for group in pieces]


def _pieces(buffer: memoryview) -> list[memoryview]:
    if buffer.nbytes <= PIECE:
        return [buffer]
    return [buffer[start : start + PIECE] for start in range(0, buffer.nbytes, PIECE)]


def _joined(digests: list[bytes]) -> str:
    from xxhash import xxh3_128_hexdigest

    return digests[0].hex() if len(digests) == 1 else xxh3_128_hexdigest(b"".join(digests))
