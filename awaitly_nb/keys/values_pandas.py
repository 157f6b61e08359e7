"""Codes of pandas frames, series, indexes, extension arrays, dtypes and scalars, for pandas 2 and 3.

A frame is its columns in their order, each with its dtype and its values, its index, its column index, its `attrs` and
flags; how pandas keeps them in blocks does not count, nor what the memory under a null holds. The representation that
can be seen does: the levels of a MultiIndex, the categories of a categorical and their order, the storage of a string.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import xxhash

from awaitly_nb.keys.values_containers import show_key
from awaitly_nb.keys.values_numpy import add_array, add_dtype, raw_digest
from awaitly_nb.keys.values_scalars import encode_int, encode_text
from awaitly_nb.keys.values_walk import Encoder, Refusal, Walk, node, seal

if TYPE_CHECKING:
    from hashlib import blake2b

__all__ = ["encoder_for"]

# Any, throughout: pandas is not imported here, and its stubs do not know the attributes that are read.

_MASK_SLICE = 1 << 16


def encoder_for(base: type, cls: type) -> Encoder | None:
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
    from awaitly_nb.keys.values_arrow import add_chunked

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
