"""Codes of the built-in containers, and of long runs of items of one type.

Items are read in chunks. A chunk whose items are all `str`, or all `int`, and so on, is encoded as one column: a
million strings then cost one join per chunk instead of a call per string. Which form a chunk takes depends on its
content alone.
"""

from __future__ import annotations

import sys
from array import array
from itertools import islice
from math import isnan
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import xxhash

from awaitly_nb.keys.values_scalars import encode_bytes, encode_int, encode_text
from awaitly_nb.keys.values_walk import Encoder, Refusal, Walk, node, seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from hashlib import blake2b

__all__ = ["ENCODERS", "add_items", "add_mapping", "add_set", "show_key"]

_CHUNK = 4096
_COLUMN_FROM = 8
_TEXT_LIMIT = 1 << 20
_NAN = float("nan")
_NONE = type(None)


def add_items(walk: Walk, parts: blake2b, items: Iterable[object], segment: Callable[[int], str] | None = None) -> None:
    """Add the codes of `items`, in order, to a node; `segment(i)` says where item `i` sits, `[i]` by default."""
    reader = iter(items)
    base = 0
    encode = walk.encode
    while chunk := list(islice(reader, _CHUNK)):
        if (column := _column(chunk)) is not None:
            parts.update(column)
        else:
            codes: list[bytes] = []
            try:
                for item in chunk:
                    codes.append(encode(item))  # noqa: PERF401 - its length tells where a refusal happened
            except Refusal as refusal:
                at = base + len(codes)
                refusal.segments.append(f"[{at}]" if segment is None else segment(at))
                raise
            parts.update(b"*%d:" % len(chunk) + b"".join(codes))
        base += len(chunk)


def show_key(key: object) -> str:
    """Return `[key]` for a path, whatever the key's own repr does."""
    try:
        text = repr(key)
    except Exception as exc:  # noqa: BLE001 - the stranger is the key's own __repr__
        text = f"<{type(key).__name__} whose repr raised {type(exc).__name__}>"
    return f"[{text if len(text) <= 60 else text[:57] + '...'}]"  # noqa: PLR2004


def _column(chunk: list[Any]) -> bytes | None:
    if len(chunk) < _COLUMN_FROM:
        return None
    kinds = set(map(type, chunk))
    gaps = b""
    if len(kinds) == 2 and _NONE in kinds:  # noqa: PLR2004 - one type, and None where a value is missing
        kinds.remove(_NONE)
        gaps = bytes([item is None for item in chunk])
        chunk = [item for item in chunk if item is not None]
    kind = kinds.pop()
    make = _COLUMNS.get(kind)
    data = make(chunk) if make is not None and not kinds else None
    if data is None:
        return None
    head = b"|%s%d:%d:%d:" % (kind.__name__.encode(), len(chunk), len(data), len(gaps))
    return head + gaps + xxhash.xxh3_128_digest(data)


def _little(column: array[Any]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _ints(chunk: list[int]) -> bytes | None:
    try:
        return _little(array("q", chunk))
    except OverflowError:
        return None


def _floats(chunk: list[float]) -> bytes:
    if isnan(sum(chunk)):  # a sum that is no NaN proves that no item is one, at a fifth of the cost of looking
        chunk = [x if x == x else _NAN for x in chunk]  # noqa: PLR0124 - only a NaN differs from itself
    return _little(array("d", chunk))


def _texts(chunk: list[str]) -> bytes | None:
    lengths = array("q", map(len, chunk))
    if sum(lengths) > _TEXT_LIMIT:
        return None
    return _little(lengths) + "".join(chunk).encode("utf-8", "surrogatepass")


def _byte_strings(chunk: list[bytes]) -> bytes | None:
    lengths = array("q", map(len, chunk))
    if sum(lengths) > _TEXT_LIMIT:
        return None
    return _little(lengths) + b"".join(chunk)


_COLUMNS: dict[type, Callable[[list[Any]], bytes | None]] = {
    int: _ints,
    float: _floats,
    str: _texts,
    bytes: _byte_strings,
    bool: bytes,
    _NONE: lambda _: b"",
}


def _sequence(kind: str) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        parts = node(kind)
        add_items(walk, parts, value)
        return seal(parts)

    return encode


def _dict(walk: Walk, value: dict[Any, Any]) -> bytes:
    parts = node("dict")
    add_mapping(walk, parts, value)
    return seal(parts)


def add_mapping(walk: Walk, parts: blake2b, mapping: Any) -> None:
    """Add the keys and values of a mapping to a node, in its own order."""
    parts.update(encode_int(len(mapping)))
    keys = list(mapping)
    add_items(walk, parts, keys, lambda i: f"<key {i}>")
    add_items(walk, parts, mapping.values(), lambda i: show_key(keys[i]))


def _set(kind: str) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        parts = node(kind)
        add_set(walk, parts, value)
        return seal(parts)

    return encode


def add_set(walk: Walk, parts: blake2b, items: Iterable[object]) -> None:
    """Add the items of a set to a node, sorted by their codes: its own order differs from process to process."""
    codes = []
    for item in items:
        try:
            codes.append(walk.encode(item))
        except Refusal as refusal:
            refusal.segments.append(f"<member {type(item).__name__}>")
            raise
    codes.sort()
    parts.update(encode_int(len(codes)) + b"".join(codes))


def _bytearray(_walk: Walk, value: bytearray) -> bytes:
    return _labelled("bytearray", encode_bytes(value))


def _memoryview(_walk: Walk, value: memoryview) -> bytes:
    if value.format in ("O", "P") or value.ndim == 0:
        raise Refusal(f"a memoryview of format {value.format!r} has no content of its own")
    flat = value if value.contiguous and value.c_contiguous else memoryview(value.tobytes())
    return _labelled("memoryview", encode_text(f"{value.format} {value.shape}"), encode_bytes(flat.cast("B")))


def _range(_walk: Walk, value: range) -> bytes:
    return _labelled("range", encode_int(value.start), encode_int(value.stop), encode_int(value.step))


def _slice(walk: Walk, value: slice) -> bytes:
    return _labelled(
        "slice", walk.part(value.start, ".start"), walk.part(value.stop, ".stop"), walk.part(value.step, ".step")
    )


def _array(_walk: Walk, value: array[Any]) -> bytes:
    if value.typecode in "uw":  # text
        return _labelled("array", encode_text(value.typecode), encode_text(value.tounicode()))
    if sys.byteorder == "big":
        value = array(value.typecode, value)
        value.byteswap()
    data = memoryview(value).cast("B") if len(value) else b""
    return _labelled("array", encode_text(f"{value.typecode}{value.itemsize}"), encode_bytes(data))


def _proxy(walk: Walk, value: Any) -> bytes:
    parts = node("mappingproxy")
    add_mapping(walk, parts, value)
    return seal(parts)


def _labelled(kind: str, *codes: bytes) -> bytes:
    parts = node(kind)
    parts.update(b"".join(codes))
    return seal(parts)


ENCODERS: dict[type, Encoder] = {
    list: _sequence("list"),
    tuple: _sequence("tuple"),
    dict: _dict,
    set: _set("set"),
    frozenset: _set("frozenset"),
    bytearray: _bytearray,
    memoryview: _memoryview,
    range: _range,
    slice: _slice,
    array: _array,
    type({}.keys()): _sequence("dict_keys"),
    type({}.values()): _sequence("dict_values"),
    type({}.items()): _sequence("dict_items"),
    MappingProxyType: _proxy,
}
