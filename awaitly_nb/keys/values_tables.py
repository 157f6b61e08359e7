"""Codes of tables: of pandas 2 and 3, polars and pyarrow, with their columns, indexes, dtypes and scalars.

A pandas frame is its columns in their order, each with its dtype and its values, its index, its column index, its
`attrs` and flags; how pandas lays them out in blocks does not count, nor what the memory under a null holds. The
representation that can be seen does: the levels of a MultiIndex, the categories of a categorical and their order, the
storage of a string.

Of polars and Arrow, rows are read in windows at fixed places, so that neither chunks nor slices nor offsets count.
Polars is read through polars itself, so that keys are the same with and without pyarrow. The metadata of an Arrow
schema counts: pandas puts a frame's index there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import xxhash

from awaitly_nb.keys.values import (
    Encoder,
    Refusal,
    Walk,
    add_items,
    encode_bytes,
    encode_int,
    encode_text,
    node,
    seal,
    show_key,
)
from awaitly_nb.keys.values_arrays import add_array, add_dtype, raw_digest
from awaitly_nb.pandas_attributes import set_on_pandas

if TYPE_CHECKING:
    from hashlib import blake2b

__all__ = ["arrow_encoder", "pandas_encoder", "polars_encoder"]

# Any, throughout: pandas is not imported here, and its stubs do not know the attributes that are read.

_MASK_SLICE = 1 << 16


def pandas_encoder(base: type, cls: type) -> Encoder | None:
    """Return how instances of `cls`, which derives from pandas' `base`, are read; None leaves it to class and state."""
    pd = sys.modules.get("pandas")
    if pd is None or not hasattr(pd, "NA"):  # still being imported
        return None
    if issubclass(cls, pd.api.extensions.ExtensionArray):
        return _extension_array if _reader_of(cls) is not None else None
    if base is pd.DataFrame:
        return _frame
    if base is pd.Series:
        return _series
    if base is pd.Index:
        return _index
    return _SCALARS.get(base.__name__) if base is getattr(pd, base.__name__, None) or base.__name__ in _LATE else None


def _frame(walk: Walk, value: Any) -> bytes:
    parts = node("frame")
    parts.update(walk.class_code(type(value), known="pandas"))
    parts.update(walk.part(value.columns, ".columns") + walk.part(value.index, ".index"))
    for position, array in enumerate(_columns(value)):
        try:
            _add_values(walk, parts, array)
        except Refusal as refusal:
            refusal.segments.append(show_key(value.columns[position]))
            raise
    _add_metadata(walk, parts, value)
    return seal(parts)


def _columns(frame: Any) -> Any:
    read = getattr(frame, "_iter_column_arrays", None)  # a tenth of the cost of `iloc` on a wide frame
    return read() if read is not None else (frame.iloc[:, i].array for i in range(frame.shape[1]))


def _series(walk: Walk, value: Any) -> bytes:
    parts = node("series")
    parts.update(walk.class_code(type(value), known="pandas"))
    parts.update(walk.part(value.name, ".name") + walk.part(value.index, ".index"))
    _add_values(walk, parts, value.array)
    _add_metadata(walk, parts, value)
    return seal(parts)


def _add_metadata(walk: Walk, parts: blake2b, value: Any) -> None:
    parts.update(walk.part(value.attrs, ".attrs"))
    parts.update(b"d" if value.flags.allows_duplicate_labels else b"u")
    # What a subclass such as GeoDataFrame carries along.
    for name in value._metadata:  # noqa: SLF001 - the documented place
        if name not in ("name", "_name"):
            parts.update(encode_text(name) + walk.part(getattr(value, name, None), f".{name}"))
    _add_attributes(walk, parts, value)


def _add_attributes(walk: Walk, parts: blake2b, value: Any) -> None:
    """Add what users set on a frame or an index as attributes, in no order."""
    for name, part in sorted(set_on_pandas(value).items()):
        parts.update(b"a" + encode_text(name) + walk.part(part, f".{name}"))


def _index(walk: Walk, value: Any) -> bytes:
    parts = node("index")
    parts.update(walk.class_code(type(value), known="pandas"))
    parts.update(walk.part(list(value.names), ".names"))
    kind = type(value).__name__
    if kind == "RangeIndex":
        parts.update(encode_int(value.start) + encode_int(value.stop) + encode_int(value.step))
    elif kind == "MultiIndex":
        for number, (level, codes) in enumerate(zip(value.levels, value.codes, strict=True)):
            parts.update(walk.part(level, f".levels[{number}]"))
            add_array(walk, parts, codes)
    else:
        parts.update(_frequency(walk, getattr(value, "freq", None)))
        _add_values(walk, parts, value.array)
    _add_attributes(walk, parts, value)
    return seal(parts)


def _frequency(walk: Walk, freq: Any) -> bytes:
    if freq is None:
        return b"N"
    code = encode_text(f"{type(freq).__name__} {freq.freqstr}")
    # The name of a custom calendar does not tell its holidays.
    return code + walk.part(freq, ".freq") if "Custom" in type(freq).__name__ else code


def _extension_array(walk: Walk, value: Any) -> bytes:
    parts = node("extension array")
    parts.update(walk.class_code(type(value), known="pandas"))
    _add_values(walk, parts, value)
    return seal(parts)


def _add_values(walk: Walk, parts: blake2b, array: Any) -> None:
    """Add an array of a column: numpy's or an extension array."""
    np = sys.modules["numpy"]
    if isinstance(array, np.ndarray):
        parts.update(b"n")
        add_array(walk, parts, array)
        return
    read = _reader_of(type(array))
    if read is None:  # an array of another library
        parts.update(b"x" + walk.encode(array))
        return
    read(walk, parts, array)


def _reader_of(cls: type) -> Any:
    arrays = sys.modules["pandas"].arrays
    for base in cls.__mro__:
        read = _READERS.get(base.__name__)
        if read is not None and (getattr(arrays, base.__name__, None) is base or base.__name__ in _LATE):
            return read
    return None


def _numpy(walk: Walk, parts: blake2b, array: Any) -> None:
    _add_values(walk, parts, array.to_numpy())


def _instants(walk: Walk, parts: blake2b, array: Any) -> None:
    zone = getattr(array, "tz", None)
    unit = sys.modules["numpy"].datetime_data(getattr(array, "_ndarray", array.to_numpy()).dtype)[0]
    parts.update(encode_text(f"{type(array).__name__} {unit}") + walk.part(zone, ".tz") + raw_digest(array.asi8))
    parts.update(encode_int(len(array)))


def _periods(_walk: Walk, parts: blake2b, array: Any) -> None:
    parts.update(encode_text(str(array.dtype)) + raw_digest(array.asi8) + encode_int(len(array)))


def _categorical(walk: Walk, parts: blake2b, array: Any) -> None:
    parts.update(encode_text("ordered" if array.ordered else "category") + walk.part(array.categories, ".categories"))
    add_array(walk, parts, array.codes)


def _intervals(walk: Walk, parts: blake2b, array: Any) -> None:
    parts.update(encode_text(f"interval {array.closed}"))
    parts.update(walk.part(array.left, ".left") + walk.part(array.right, ".right"))


def _sparse(walk: Walk, parts: blake2b, array: Any) -> None:
    parts.update(encode_text("sparse") + encode_int(len(array)) + walk.part(array.fill_value, ".fill_value"))
    add_array(walk, parts, array.sp_index.to_int_index().indices)
    add_array(walk, parts, array.sp_values)


def _masked(_walk: Walk, parts: blake2b, array: Any) -> None:
    data, mask = array._data, array._mask  # noqa: SLF001 - the public way is a copy as objects
    parts.update(encode_text(str(array.dtype)) + encode_int(len(array)) + raw_digest(mask))
    if not mask.any():
        parts.update(raw_digest(data))
        return
    bulk = xxhash.xxh3_128()
    for start in range(0, len(data), _MASK_SLICE):
        piece = data[start : start + _MASK_SLICE].copy()
        piece[mask[start : start + _MASK_SLICE]] = 0
        bulk.update(piece.view("u1").data)
    parts.update(bulk.digest())


def _strings(walk: Walk, parts: blake2b, array: Any) -> None:
    parts.update(_string_dtype(walk, array.dtype))
    objects = getattr(array, "_ndarray", None)
    add_array(walk, parts, sys.modules["numpy"].asarray(array, dtype=object) if objects is None else objects)


def _arrow(walk: Walk, parts: blake2b, array: Any) -> None:
    plain = type(array.dtype).__name__ == "ArrowDtype"
    parts.update(encode_text("arrow") if plain else _string_dtype(walk, array.dtype))
    add_chunked(walk, parts, array.__arrow_array__())


def _string_dtype(walk: Walk, dtype: Any) -> bytes:
    return encode_text(f"string {dtype.storage}") + walk.encode(getattr(dtype, "na_value", None))


_READERS: dict[str, Any] = {
    "NumpyExtensionArray": _numpy,
    "DatetimeArray": _instants,
    "TimedeltaArray": _instants,
    "PeriodArray": _periods,
    "Categorical": _categorical,
    "IntervalArray": _intervals,
    "SparseArray": _sparse,
    "IntegerArray": _masked,
    "FloatingArray": _masked,
    "BooleanArray": _masked,
    "StringArray": _strings,
    "ArrowStringArray": _arrow,
    "ArrowExtensionArray": _arrow,
}


def _timestamp(walk: Walk, value: Any) -> bytes:
    parts = node("timestamp")
    parts.update(walk.class_code(type(value), known="pandas") + encode_int(value.fold) + walk.part(value.tz, ".tz"))
    parts.update(_instant(value))
    return seal(parts)


def _instant(value: Any) -> bytes:
    return encode_text(value.unit) + encode_int(value.asm8.view("i8").item())


def _timedelta(walk: Walk, value: Any) -> bytes:
    parts = node("timedelta64")
    parts.update(walk.class_code(type(value), known="pandas") + _instant(value))
    return seal(parts)


def _period(_walk: Walk, value: Any) -> bytes:
    parts = node("period")
    parts.update(encode_int(value.ordinal) + encode_text(value.freqstr))
    return seal(parts)


def _interval(walk: Walk, value: Any) -> bytes:
    parts = node("interval")
    parts.update(walk.part(value.left, ".left") + walk.part(value.right, ".right") + encode_text(value.closed))
    return seal(parts)


def _singleton(_walk: Walk, value: Any) -> bytes:
    parts = node("pandas")
    parts.update(encode_text(type(value).__name__))
    return seal(parts)


def _dtype(walk: Walk, value: Any) -> bytes:
    parts = node("pandas dtype")
    parts.update(walk.class_code(type(value), known="pandas"))
    match type(value).__name__:
        case "CategoricalDtype":
            parts.update(encode_text(str(value.ordered)) + walk.part(value.categories, ".categories"))
        case "StringDtype":
            parts.update(_string_dtype(walk, value))
        case "ArrowDtype":
            parts.update(walk.part(value.pyarrow_dtype, ".pyarrow_dtype"))
        case "DatetimeTZDtype":
            parts.update(encode_text(value.unit) + walk.part(value.tz, ".tz"))
        case "SparseDtype":
            add_dtype(walk, parts, sys.modules["numpy"].dtype(value.subtype))
            parts.update(walk.part(value.fill_value, ".fill_value"))
        case _:
            parts.update(encode_text(str(value)))
    return seal(parts)


_SCALARS: dict[str, Encoder] = {
    "Timestamp": _timestamp,
    "Timedelta": _timedelta,
    "Period": _period,
    "Interval": _interval,
    "NaTType": _singleton,
    "NAType": _singleton,
    **dict.fromkeys(
        (
            "ArrowDtype",
            "BooleanDtype",
            "CategoricalDtype",
            "DatetimeTZDtype",
            "Float32Dtype",
            "Float64Dtype",
            "Int16Dtype",
            "Int32Dtype",
            "Int64Dtype",
            "Int8Dtype",
            "IntervalDtype",
            "PeriodDtype",
            "SparseDtype",
            "StringDtype",
            "UInt16Dtype",
            "UInt32Dtype",
            "UInt64Dtype",
            "UInt8Dtype",
        ),
        _dtype,
    ),
}
_LATE = frozenset({"ArrowExtensionArray", "ArrowStringArray", "NAType", "NaTType", "NumpyExtensionArray"})
"""Names that not every pandas lists where the others are."""


# -- polars ------------------------------------------------------------------------------------------------------------

# Any, throughout: polars is not imported here.

_WINDOW = 1 << 16
_TEXTS_AT_ONCE = 1 << 26


def polars_encoder(base: type, cls: type) -> Encoder | None:  # noqa: ARG001 - the signature of every family
    """Return how instances of polars' `base` are read; None leaves it to class and state."""
    pl = sys.modules.get("polars")
    if pl is None:
        return None
    for name, encoder in _POLARS.items():
        if base is getattr(pl, name, None):
            return encoder
    return None


def _polars_frame(walk: Walk, value: Any) -> bytes:
    parts = node("polars frame")
    parts.update(walk.class_code(type(value), known="polars") + encode_int(value.height))
    for name, series in zip(value.columns, value.get_columns(), strict=True):
        parts.update(encode_text(name))
        try:
            _add_polars_series(walk, parts, series)
        except Refusal as refusal:
            refusal.segments.append(f"[{name!r}]")
            raise
    return seal(parts)


def _polars_series(walk: Walk, value: Any) -> bytes:
    parts = node("polars series")
    parts.update(walk.class_code(type(value), known="polars") + encode_text(value.name))
    _add_polars_series(walk, parts, value)
    return seal(parts)


def _add_polars_series(walk: Walk, parts: blake2b, series: Any) -> None:
    parts.update(walk.encode(series.dtype) + encode_int(len(series)))
    if series.dtype == sys.modules["polars"].String and len(series):
        _add_polars_texts(parts, series)
        return
    for start in range(0, len(series), _WINDOW):
        _add_polars_window(walk, parts, series.slice(start, _WINDOW))


def _add_polars_texts(parts: blake2b, series: Any) -> None:
    """Add the windows of a series of texts as `_add_polars_window` does.

    polars is asked for many windows at once, because it takes a millisecond to plan any question, however small.
    """
    window_bytes = max(1, series.estimated_size() * _WINDOW // len(series))
    rows = _WINDOW * max(1, _TEXTS_AT_ONCE // window_bytes)
    for first in range(0, len(series), rows):
        piece = series.slice(first, rows)
        lengths, at = piece.str.len_bytes(), 0
        data = memoryview(_joined(piece))
        for start in range(0, len(piece), _WINDOW):
            window, sizes = piece.slice(start, _WINDOW), lengths.slice(start, _WINDOW)
            parts.update(encode_int(len(window)) + encode_int(nulls := window.null_count()))
            if nulls:
                parts.update(_bulk(window.is_null().to_numpy()))
                sizes = sizes.drop_nulls()
            array = sizes.to_numpy()
            end = at + int(array.sum())
            parts.update(_bulk(array) + encode_bytes(data[at:end]))
            at = end


def _joined(texts: Any) -> bytes:
    """Return the texts of a series behind each other, in UTF-8 as polars has them."""
    return texts.str.join("").cast(sys.modules["polars"].Binary).item() or b""


def _add_polars_window(walk: Walk, parts: blake2b, window: Any) -> None:
    pl = sys.modules["polars"]
    dtype = window.dtype
    parts.update(encode_int(len(window)) + encode_int(nulls := window.null_count()))
    if dtype == pl.Null or len(window) == 0:
        return
    if nulls:
        parts.update(_bulk(window.is_null().to_numpy()))
        if not dtype.is_nested():
            window = window.drop_nulls()
    if isinstance(dtype, pl.Categorical):  # physical codes depend on what the process saw before
        dtype, window = pl.String(), window.cast(pl.String)
    if dtype == pl.String:
        parts.update(_bulk(window.str.len_bytes().to_numpy()))
        parts.update(encode_bytes(_joined(window)))
    elif isinstance(dtype, pl.Struct):
        for name in window.struct.fields:
            parts.update(encode_text(name))
            _add_polars_window(walk, parts, window.struct.field(name))
    elif isinstance(dtype, pl.List):
        lengths = window.list.len()
        parts.update(_bulk(lengths.fill_null(0).to_numpy()))
        _add_polars_window(walk, parts, window.filter(lengths > 0).explode())
    elif dtype == pl.Boolean or (dtype.is_numeric() and not dtype.is_decimal() and "128" not in str(dtype)):
        parts.update(_bulk(window.to_numpy()))
    elif dtype.is_temporal() or isinstance(dtype, pl.Enum):
        parts.update(_bulk(window.to_physical().to_numpy()))
    else:
        add_items(walk, parts, window.to_list())


def _bulk(array: Any) -> bytes:
    np = sys.modules["numpy"]
    return xxhash.xxh3_128_digest(np.ascontiguousarray(array).view(np.uint8).data)


def _polars_dtype(_walk: Walk, value: Any) -> bytes:
    parts = node("polars dtype")
    parts.update(encode_text(repr(value)))
    return seal(parts)


def _polars_lazy(_walk: Walk, _value: Any) -> bytes:
    raise Refusal(
        "a lazy frame is a plan, and does not hold what it will read", "pass .collect(), or the path it scans"
    )


def _polars_expression(walk: Walk, value: Any) -> bytes:
    state = value.__getstate__()
    if b"cloudpickle" in state:  # a function of a notebook, as polars writes it
        raise Refusal("a polars expression calls a function, and nobody sees what that reads and changes")
    parts = node("polars expression")
    parts.update(walk.class_code(type(value), known="polars") + encode_bytes(state))
    return seal(parts)


_POLARS: dict[str, Encoder] = {
    "Expr": _polars_expression,
    "DataFrame": _polars_frame,
    "Series": _polars_series,
    "LazyFrame": _polars_lazy,
    "DataType": _polars_dtype,
}


# -- pyarrow -----------------------------------------------------------------------------------------------------------

# Any, throughout: pyarrow has no stubs.

_ARROW_TEXTS = frozenset({"string", "binary", "large_string", "large_binary", "string_view", "binary_view"})


def arrow_encoder(base: type, cls: type) -> Encoder | None:  # noqa: ARG001 - the signature of every family
    """Return how instances of pyarrow's `base` are read; None leaves it to class and state."""
    pa = sys.modules.get("pyarrow")
    if pa is None:
        return None
    for name, encoder in _ARROW.items():
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
        _add_arrow_window(walk, parts, window.chunk(0) if window.num_chunks == 1 else _arrow_joined(window))


def _arrow_joined(window: Any) -> Any:
    joined = window.combine_chunks()
    return joined if isinstance(joined, sys.modules["pyarrow"].Array) else joined.chunk(0)


def _add_arrow_window(walk: Walk, parts: blake2b, array: Any) -> None:
    types = sys.modules["pyarrow"].types
    kind = array.type
    parts.update(encode_int(len(array)))
    if isinstance(array, sys.modules["pyarrow"].ExtensionArray):
        _add_arrow_window(walk, parts, array.storage)
        return
    if types.is_null(kind) or len(array) == 0:
        return
    if not types.is_union(kind) and not types.is_run_end_encoded(kind):
        parts.update(_arrow_validity(array))
    if types.is_boolean(kind):
        parts.update(_bulk(_arrow_filled(array, False).to_numpy(zero_copy_only=False)))  # noqa: FBT003 - the value to fill in
    elif str(kind) in _ARROW_TEXTS:
        _add_text(parts, array)
    elif types.is_struct(kind):
        for number, child in enumerate(array.flatten()):
            parts.update(encode_text(kind.field(number).name))
            _add_arrow_window(walk, parts, child)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        parts.update(_arrow_lengths(array))
        _add_arrow_window(walk, parts, _arrow_items(array))
    elif types.is_fixed_size_list(kind):
        _add_arrow_window(walk, parts, array.flatten())
    elif types.is_dictionary(kind):  # inside another type
        _add_arrow_window(walk, parts, array.dictionary)
        _add_arrow_window(walk, parts, array.indices)
    elif _arrow_width(kind):
        _add_fixed(parts, array, _arrow_width(kind))
    else:
        add_items(walk, parts, array.to_pylist())


def _arrow_validity(array: Any) -> bytes:
    if array.null_count == 0:
        return b"v"
    return b"V" + _bulk(array.is_valid().to_numpy(zero_copy_only=False))


def _arrow_filled(array: Any, value: Any) -> Any:
    return array.fill_null(value) if array.null_count else array


def _add_text(parts: blake2b, array: Any) -> None:
    np = sys.modules["numpy"]
    kind = str(array.type)
    if kind.endswith("view"):
        kind = "large_string" if kind == "string_view" else "large_binary"
        array = array.cast(kind)
    array = _arrow_filled(array, "" if kind.endswith("string") else b"")
    _, offsets, data = array.buffers()
    offset_type = np.int64 if kind.startswith("large") else np.int32
    places = np.frombuffer(offsets, offset_type)[array.offset : array.offset + len(array) + 1]
    parts.update(_bulk(np.diff(places).astype(np.int64)))
    first, last = int(places[0]), int(places[-1])
    parts.update(xxhash.xxh3_128_digest(memoryview(data)[first:last] if data is not None else b""))


def _arrow_lengths(array: Any) -> bytes:
    np = sys.modules["numpy"]
    pc = sys.modules.get("pyarrow.compute") or __import__("pyarrow.compute").compute
    if sys.modules["pyarrow"].types.is_map(array.type):
        places = array.offsets.to_numpy()
        lengths = np.where(array.is_valid().to_numpy(zero_copy_only=False), np.diff(places), 0)
    else:
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return _bulk(lengths.astype(np.int64))


def _arrow_items(array: Any) -> Any:
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


def _arrow_width(kind: Any) -> int:
    try:
        bits = int(kind.bit_width)
    except ValueError:  # of variable width
        return 0
    return bits // 8


def _arrow_array(walk: Walk, value: Any) -> bytes:
    parts = node("arrow array")
    add_chunked(walk, parts, value)
    return seal(parts)


def _arrow_chunked(walk: Walk, value: Any) -> bytes:
    parts = node("arrow chunked array")
    add_chunked(walk, parts, value)
    return seal(parts)


def _arrow_table(walk: Walk, value: Any) -> bytes:
    parts = node("arrow table" if type(value).__name__ == "Table" else "arrow batch")
    parts.update(walk.part(value.schema, ".schema") + encode_int(value.num_rows))
    for name, column in zip(value.schema.names, value.columns, strict=True):
        try:
            add_chunked(walk, parts, column)
        except Refusal as refusal:
            refusal.segments.append(f"[{name!r}]")
            raise
    return seal(parts)


def _arrow_schema(walk: Walk, value: Any) -> bytes:
    parts = node("arrow schema")
    parts.update(walk.part(value.metadata, ".metadata"))
    for field in value:
        parts.update(_arrow_field(walk, field))
    return seal(parts)


def _arrow_field(walk: Walk, value: Any) -> bytes:
    parts = node("arrow field")
    parts.update(encode_text(value.name) + encode_text(str(value.type)) + encode_int(value.nullable))
    parts.update(walk.part(value.metadata, ".metadata"))
    return seal(parts)


def _arrow_type(_walk: Walk, value: Any) -> bytes:
    parts = node("arrow type")
    parts.update(encode_text(str(value)))
    return seal(parts)


def _arrow_scalar(walk: Walk, value: Any) -> bytes:
    parts = node("arrow scalar")
    add_chunked(walk, parts, sys.modules["pyarrow"].array([value.as_py()], value.type))
    return seal(parts)


def _arrow_buffer(_walk: Walk, value: Any) -> bytes:
    parts = node("arrow buffer")
    parts.update(encode_bytes(memoryview(value)))
    return seal(parts)


_ARROW: dict[str, Encoder] = {
    "Array": _arrow_array,
    "ChunkedArray": _arrow_chunked,
    "Table": _arrow_table,
    "RecordBatch": _arrow_table,
    "Schema": _arrow_schema,
    "Field": _arrow_field,
    "DataType": _arrow_type,
    "Scalar": _arrow_scalar,
    "Buffer": _arrow_buffer,
}
