"""Copies of values, made the way a cache would: what is done to one does not show in the other."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec.pickling import UndecodableError, decode, encode
from awaitly_nb.errors import EncodeError
from awaitly_nb.result import Ok, mark_of

if TYPE_CHECKING:
    from awaitly_nb.result import Result

__all__ = ["copied", "copied_if_light", "is_heavy", "is_used_up", "refuse_used_up"]

_HEAVY_BYTES: Final = 8_000_000

_UNCHANGING = (type(None), bool, int, float, complex, str, bytes)


def is_used_up(result: Result[Any, Any]) -> bool:
    """Tell whether the value is used up by reading it, so that itself it could serve one reader only."""
    return isinstance(result, Ok) and isinstance(result.value, Iterator | AsyncIterator)


def refuse_used_up(result: Result[Any, Any]) -> None:
    """Raise EncodeError for such a value."""
    if isinstance(result, Ok) and is_used_up(result):
        kind = type(result.value).__name__
        raise EncodeError(f"a {kind} is used up by whoever reads it first; return a list of its items")


def copied(result: Result[Any, Any]) -> Result[Any, Any]:
    """Return `result` with a value of its own; the same object where it cannot change, or cannot be copied.

    A value that no pickler takes is shared: it could not be kept anywhere else either.
    """
    if not isinstance(result, Ok) or type(result.value) in _UNCHANGING:
        return result
    try:
        encoded = encode(result.value)
        value = decode(encoded.stream, [bytearray(buffer) for buffer in encoded.buffers])
        return Ok(value, _mark=mark_of(result))
    except (EncodeError, UndecodableError):
        return result


def copied_if_light(result: Result[Any, Any]) -> Result[Any, Any]:
    """Return `copied(result)`, and a large value itself: without a cache nobody expects to need its memory twice."""
    return result if is_heavy(result) else copied(result)


def is_heavy(result: Result[Any, Any]) -> bool:
    """Guess whether encoding a result takes long, from what arrays and frames tell of themselves."""
    if not isinstance(result, Ok):
        return False
    value = result.value
    if isinstance(value, dict):
        return any(map(_is_large, value.values()))
    return any(map(_is_large, value)) if isinstance(value, list | tuple) else _is_large(value)


def _is_large(value: object) -> bool:
    size = getattr(value, "nbytes", None)
    if size is None and callable(usage := getattr(value, "memory_usage", None)):
        size = getattr(usage(), "sum", int)()
    return (isinstance(size, int | float) and size > _HEAVY_BYTES) or sys.getsizeof(value, 0) > _HEAVY_BYTES
