"""Codes of the values that have no parts: numbers, text, bytes and the built-in singletons.

Text and bytes beyond a few kilobytes are hashed as they stream by, in slices, so that no encoded copy of a large string
is ever held.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeAlias

import xxhash

__all__ = ["SCALARS", "ScalarEncoder", "encode_bytes", "encode_float", "encode_int", "encode_text"]

ScalarEncoder: TypeAlias = Callable[[Any], bytes]  # Any: each knows its own type

_INLINE = 4096
_SLICE = 1 << 20
_DOUBLE = Struct("<d").pack
_NAN = _DOUBLE(float("nan"))


def encode_int(value: int) -> bytes:
    """Return the code of an int of any size."""
    size = (value.bit_length() + 8) // 8
    return b"i%d:" % size + value.to_bytes(size, "little", signed=True)


def encode_float(value: float) -> bytes:
    """Return the code of a float: by bits, but all NaNs alike."""
    return b"f" + (_DOUBLE(value) if value == value else _NAN)  # noqa: PLR0124 - only a NaN differs from itself


def encode_text(value: str) -> bytes:
    """Return the code of a str; lone surrogates are text like any other."""
    if len(value) <= _INLINE:
        data = value.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(data) + data
    bulk = xxhash.xxh3_128()
    for start in range(0, len(value), _SLICE):
        bulk.update(value[start : start + _SLICE].encode("utf-8", "surrogatepass"))
    return b"S%d:" % len(value) + bulk.digest()


def encode_bytes(value: bytes | bytearray | memoryview) -> bytes:
    """Return the code of contiguous bytes."""
    if len(value) <= _INLINE:
        return b"b%d:" % len(value) + bytes(value)
    return b"B%d:" % len(value) + xxhash.xxh3_128_digest(value)


def _complex(value: complex) -> bytes:
    return b"c" + encode_float(value.real) + encode_float(value.imag)


SCALARS: dict[type, ScalarEncoder] = {
    int: encode_int,
    str: encode_text,
    float: encode_float,
    bool: lambda value: b"T" if value else b"F",
    type(None): lambda _: b"N",
    bytes: encode_bytes,
    complex: _complex,
    type(...): lambda _: b"E",
    type(NotImplemented): lambda _: b"I",
}
