"""Codes of polars frames, series, dtypes and expressions.

Rows are read in windows at fixed places, so that chunks do not count. Everything is read through polars itself, so that
keys are the same with and without pyarrow.
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

__all__ = ["encoder_for"]

# Any, throughout: polars is not imported here.

_WINDOW = 1 << 16


def encoder_for(base: type, cls: type) -> Encoder | None:  # noqa: ARG001 - the signature of every family
    """Return how instances of polars' `base` are read; None leaves it to class and state."""
    pl = sys.modules.get("polars")
    if pl is None:
        return None
    for name, encoder in _ENCODERS.items():
        if base is getattr(pl, name, None):
            return encoder
    return None


def _frame(walk: Walk, value: Any) -> bytes:
    parts = node("polars frame")
    parts.update(walk.class_code(type(value), known="polars") + encode_int(value.height))
    for name, series in zip(value.columns, value.get_columns(), strict=True):
        parts.update(encode_text(name))
        try:
            _add_series(walk, parts, series)
        except Refusal as refusal:
            refusal.segments.append(f"[{name!r}]")
            raise
    return seal(parts)


def _series(walk: Walk, value: Any) -> bytes:
    parts = node("polars series")
    parts.update(walk.class_code(type(value), known="polars") + encode_text(value.name))
    _add_series(walk, parts, value)
    return seal(parts)


def _add_series(walk: Walk, parts: blake2b, series: Any) -> None:
    parts.update(walk.encode(series.dtype) + encode_int(len(series)))
    for start in range(0, len(series), _WINDOW):
        _add_window(walk, parts, series.slice(start, _WINDOW))


def _add_window(walk: Walk, parts: blake2b, window: Any) -> None:
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
        parts.update(encode_bytes("".join(window.to_list()).encode()))
    elif isinstance(dtype, pl.Struct):
        for name in window.struct.fields:
            parts.update(encode_text(name))
            _add_window(walk, parts, window.struct.field(name))
    elif isinstance(dtype, pl.List):
        lengths = window.list.len()
        parts.update(_bulk(lengths.fill_null(0).to_numpy()))
        _add_window(walk, parts, window.filter(lengths > 0).explode())
    elif dtype == pl.Boolean or (dtype.is_numeric() and not dtype.is_decimal() and "128" not in str(dtype)):
        parts.update(_bulk(window.to_numpy()))
    elif dtype.is_temporal() or isinstance(dtype, pl.Enum):
        parts.update(_bulk(window.to_physical().to_numpy()))
    else:
        add_items(walk, parts, window.to_list())


def _bulk(array: Any) -> bytes:
    np = sys.modules["numpy"]
    return xxhash.xxh3_128_digest(np.ascontiguousarray(array).view(np.uint8).data)


def _dtype(_walk: Walk, value: Any) -> bytes:
    parts = node("polars dtype")
    parts.update(encode_text(repr(value)))
    return seal(parts)


def _lazy(_walk: Walk, _value: Any) -> bytes:
    raise Refusal(
        "a lazy frame is a plan, and does not hold what it will read", "pass .collect(), or the path it scans"
    )


_ENCODERS: dict[str, Encoder] = {
    "DataFrame": _frame,
    "Series": _series,
    "LazyFrame": _lazy,
    "DataType": _dtype,
}
