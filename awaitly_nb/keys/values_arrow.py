"""Codes of pyarrow arrays, tables, scalars, schemas and types.

Rows are read in windows at fixed places, so that neither chunks nor slices nor offsets count, nor what lies under a
null. A schema's metadata counts: pandas keeps a frame's index in it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import xxhash

from awaitly_nb.keys.values_containers import add_items
from awaitly_nb.keys.values_scalars import encode_bytes, encode_int, encode_text
from awaitly_nb.keys.values_walk import Encoder, Refusal, Walk, node, seal

if TYPE_CHECKING:
    from hashlib import blake2b

__all__ = ["add_chunked", "encoder_for"]

# Any, throughout: pyarrow has no stubs.

_WINDOW = 1 << 16
_TEXTS = frozenset({"string", "binary", "large_string", "large_binary", "string_view", "binary_view"})


def encoder_for(base: type, cls: type) -> Encoder | None:  # noqa: ARG001 - the signature of every family
    """Return how instances of pyarrow's `base` are read; None leaves it to class and state."""
    pa = sys.modules.get("pyarrow")
    if pa is None:
        return None
    for name, encoder in _ENCODERS.items():
        if base is getattr(pa, name, None):
            return encoder
    return None


def add_chunked(walk: Walk, parts: blake2b, chunked: Any) -> None:
    """Add the type, the length and the contents of a ChunkedArray or Array to a node."""
    pa = sys.modules["pyarrow"]
    if isinstance(chunked, pa.Array):
        chunked = pa.chunked_array([chunked])
    parts.update(encode_text(str(chunked.type)) + encode_int(len(chunked)))
    if pa.types.is_dictionary(chunked.type):
        chunked = chunked.unify_dictionaries()
        parts.update(encode_int(chunked.type.ordered))
        if chunked.num_chunks:
            add_chunked(walk, parts, chunked.chunk(0).dictionary)
        chunked = pa.chunked_array([chunk.indices for chunk in chunked.chunks], chunked.type.index_type)
    for start in range(0, len(chunked), _WINDOW):
        window = chunked.slice(start, _WINDOW)
        _add_window(walk, parts, window.chunk(0) if window.num_chunks == 1 else _joined(window))


def _joined(window: Any) -> Any:
    joined = window.combine_chunks()
    return joined if isinstance(joined, sys.modules["pyarrow"].Array) else joined.chunk(0)


def _add_window(walk: Walk, parts: blake2b, array: Any) -> None:
    types = sys.modules["pyarrow"].types
    kind = array.type
    parts.update(encode_int(len(array)))
    if isinstance(array, sys.modules["pyarrow"].ExtensionArray):
        _add_window(walk, parts, array.storage)
        return
    if types.is_null(kind) or len(array) == 0:
        return
    if not types.is_union(kind) and not types.is_run_end_encoded(kind):
        parts.update(_validity(array))
    if types.is_boolean(kind):
        parts.update(_bulk(_filled(array, False).to_numpy(zero_copy_only=False)))  # noqa: FBT003 - the value to fill in
    elif str(kind) in _TEXTS:
        _add_text(parts, array)
    elif types.is_struct(kind):
        for number, child in enumerate(array.flatten()):
            parts.update(encode_text(kind.field(number).name))
            _add_window(walk, parts, child)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        parts.update(_lengths(array))
        _add_window(walk, parts, _items(array))
    elif types.is_fixed_size_list(kind):
        _add_window(walk, parts, array.flatten())
    elif types.is_dictionary(kind):  # inside another type
        _add_window(walk, parts, array.dictionary)
        _add_window(walk, parts, array.indices)
    elif _width(kind):
        _add_fixed(parts, array, _width(kind))
    else:
        add_items(walk, parts, array.to_pylist())


def _validity(array: Any) -> bytes:
    if array.null_count == 0:
        return b"v"
    return b"V" + _bulk(array.is_valid().to_numpy(zero_copy_only=False))


def _filled(array: Any, value: Any) -> Any:
    return array.fill_null(value) if array.null_count else array


def _add_text(parts: blake2b, array: Any) -> None:
    np = sys.modules["numpy"]
    kind = str(array.type)
    if kind.endswith("view"):
        kind = "large_string" if kind == "string_view" else "large_binary"
        array = array.cast(kind)
    array = _filled(array, "" if kind.endswith("string") else b"")
    _, offsets, data = array.buffers()
    offset_type = np.int64 if kind.startswith("large") else np.int32
    places = np.frombuffer(offsets, offset_type)[array.offset : array.offset + len(array) + 1]
    parts.update(_bulk(np.diff(places).astype(np.int64)))
    first, last = int(places[0]), int(places[-1])
    parts.update(xxhash.xxh3_128_digest(memoryview(data)[first:last] if data is not None else b""))


def _lengths(array: Any) -> bytes:
    np = sys.modules["numpy"]
    pc = sys.modules.get("pyarrow.compute") or __import__("pyarrow.compute").compute
    if sys.modules["pyarrow"].types.is_map(array.type):
        places = array.offsets.to_numpy()
        lengths = np.where(array.is_valid().to_numpy(zero_copy_only=False), np.diff(places), 0)
    else:
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return _bulk(lengths.astype(np.int64))


def _items(array: Any) -> Any:
    if not sys.modules["pyarrow"].types.is_map(array.type):
        return array.flatten()  # leaves out what lies under nulls
    pa = sys.modules["pyarrow"]
    if array.null_count:
        array = array.drop_null()
    first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
    keys, items = array.keys, array.items
    if len(keys) != last - first:
        keys, items = keys.slice(first, last - first), items.slice(first, last - first)
    return pa.StructArray.from_arrays([keys, items], ["key", "value"])


def _add_fixed(parts: blake2b, array: Any, width: int) -> None:
    np = sys.modules["numpy"]
    data = array.buffers()[1]
    rows = np.frombuffer(data, np.uint8, count=len(array) * width, offset=array.offset * width)
    if array.null_count:
        rows = rows.reshape(-1, width).copy()
        rows[array.is_null().to_numpy(zero_copy_only=False)] = 0
    parts.update(xxhash.xxh3_128_digest(rows.data))


def _width(kind: Any) -> int:
    try:
        bits = int(kind.bit_width)
    except ValueError:  # of variable width
        return 0
    return bits // 8


def _bulk(array: Any) -> bytes:
    np = sys.modules["numpy"]
    return xxhash.xxh3_128_digest(np.ascontiguousarray(array).view(np.uint8).data)


def _array(walk: Walk, value: Any) -> bytes:
    parts = node("arrow array")
    add_chunked(walk, parts, value)
    return seal(parts)


def _chunked(walk: Walk, value: Any) -> bytes:
    parts = node("arrow chunked array")
    add_chunked(walk, parts, value)
    return seal(parts)


def _table(walk: Walk, value: Any) -> bytes:
    parts = node("arrow table" if type(value).__name__ == "Table" else "arrow batch")
    parts.update(walk.part(value.schema, ".schema") + encode_int(value.num_rows))
    for name, column in zip(value.schema.names, value.columns, strict=True):
        try:
            add_chunked(walk, parts, column)
        except Refusal as refusal:
            refusal.segments.append(f"[{name!r}]")
            raise
    return seal(parts)


def _schema(walk: Walk, value: Any) -> bytes:
    parts = node("arrow schema")
    parts.update(walk.part(value.metadata, ".metadata"))
    for field in value:
        parts.update(_field(walk, field))
    return seal(parts)


def _field(walk: Walk, value: Any) -> bytes:
    parts = node("arrow field")
    parts.update(encode_text(value.name) + encode_text(str(value.type)) + encode_int(value.nullable))
    parts.update(walk.part(value.metadata, ".metadata"))
    return seal(parts)


def _type(_walk: Walk, value: Any) -> bytes:
    parts = node("arrow type")
    parts.update(encode_text(str(value)))
    return seal(parts)


def _scalar(walk: Walk, value: Any) -> bytes:
    parts = node("arrow scalar")
    add_chunked(walk, parts, sys.modules["pyarrow"].array([value.as_py()], value.type))
    return seal(parts)


def _buffer(_walk: Walk, value: Any) -> bytes:
    parts = node("arrow buffer")
    parts.update(encode_bytes(memoryview(value)))
    return seal(parts)


_ENCODERS: dict[str, Encoder] = {
    "Array": _array,
    "ChunkedArray": _chunked,
    "Table": _table,
    "RecordBatch": _table,
    "Schema": _schema,
    "Field": _field,
    "DataType": _type,
    "Scalar": _scalar,
    "Buffer": _buffer,
}
