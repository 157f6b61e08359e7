"""Pairs of Arrow and polars values."""

from __future__ import annotations

import datetime as dt
from typing import Any

from awaitly_nb.testing.collisions.battery import Group

__all__ = ["groups"]

# Any, throughout: the libraries are imported only where a group is made.


def groups() -> list[Group]:
    """Return the groups of this file."""
    return [_arrow(), _polars(), _arrow_backed()]


def _pa() -> Any:
    import pyarrow as pa

    return pa


def _a(values: Any, kind: Any = None) -> Any:
    return _pa().array(values, kind)


def _arrow() -> Group:
    return Group(
        "Arrow",
        differ=(
            ("int64 and int32", lambda: _a([1]), lambda: _a([1], _pa().int32())),
            ("string and large string", lambda: _a(["a"]), lambda: _a(["a"], _pa().large_string())),
            ("string and binary", lambda: _a(["a"]), lambda: _a([b"a"])),
            ("where strings end", lambda: _a(["a", "bc"]), lambda: _a(["ab", "c"])),
            ("'' and null", lambda: _a([""]), lambda: _a([None], _pa().string())),
            ("0 and null", lambda: _a([0]), lambda: _a([None], _pa().int64())),
            ("NaN and null", lambda: _a([float("nan")]), lambda: _a([None], _pa().float64())),
            ("[] and null", lambda: _a([[]], _pa().list_(_pa().int8())), lambda: _a([None], _pa().list_(_pa().int8()))),
            ("where lists end", lambda: _a([[1], [2, 3]]), lambda: _a([[1, 2], [3]])),
            ("a null struct and a struct of null", lambda: _a([None], _struct()), lambda: _a([{"a": None}], _struct())),
            ("dictionary and plain", lambda: _a(["a"]).dictionary_encode(), lambda: _a(["a"])),
            ("unit", lambda: _a([0], _pa().timestamp("s")), lambda: _a([0], _pa().timestamp("us"))),
            ("zone", lambda: _a([0], _pa().timestamp("s")), lambda: _a([0], _pa().timestamp("s", "UTC"))),
            ("array and chunked array", lambda: _a([1]), lambda: _pa().chunked_array([[1]])),
            ("name of a column", lambda: _pa().table({"a": [1]}), lambda: _pa().table({"b": [1]})),
            ("order of columns", lambda: _pa().table({"a": [1], "b": [1]}), lambda: _pa().table({"b": [1], "a": [1]})),
            (
                "metadata",
                lambda: _pa().table({"a": [1]}),
                lambda: _pa().table({"a": [1]}).replace_schema_metadata({"x": "y"}),
            ),
            ("table and batch", lambda: _pa().table({"a": [1]}), lambda: _pa().record_batch({"a": [1]})),
            ("nullable", lambda: _pa().field("a", "int8"), lambda: _pa().field("a", "int8", nullable=False)),
            ("scalar and int", lambda: _pa().scalar(1), lambda: 1),
        ),
        agree=(
            ("one chunk and two", lambda: _pa().chunked_array([[1, 2]]), lambda: _pa().chunked_array([[1], [2]])),
            ("a slice and a copy", lambda: _a(["x", "a", None])[1:], lambda: _a(["a", None])),
            ("bytes under a null", lambda: _masked(5), lambda: _masked(7)),
            ("a sliced list", lambda: _a([[0], [1], None])[1:], lambda: _a([[1], None])),
            ("bools not on a byte", lambda: _a([True, False, True])[1:], lambda: _a([False, True])),
            (
                "strings of two chunks",
                lambda: _pa().chunked_array([["a"], ["b"]]),
                lambda: _pa().chunked_array([["a", "b"]]),
            ),
        ),
        needs=("pyarrow", "numpy"),
    )


def _struct() -> Any:
    return _pa().struct([("a", _pa().int8())])


def _masked(hidden: int) -> Any:
    pa = _pa()
    valid = pa.py_buffer(bytes([0b01]))
    data = pa.py_buffer((1).to_bytes(8, "little") + hidden.to_bytes(8, "little"))
    return pa.Array.from_buffers(pa.int64(), 2, [valid, data])


def _pl() -> Any:
    import polars as pl

    return pl


def _s(values: Any, dtype: Any = None) -> Any:
    return _pl().Series(values, dtype=dtype)


def _polars() -> Group:
    return Group(
        "polars",
        differ=(
            ("name of a column", lambda: _pl().DataFrame({"a": [1]}), lambda: _pl().DataFrame({"b": [1]})),
            (
                "order of columns",
                lambda: _pl().DataFrame({"a": [1], "b": [1]}),
                lambda: _pl().DataFrame({"b": [1], "a": [1]}),
            ),
            ("name of a series", lambda: _pl().Series("a", [1]), lambda: _pl().Series("b", [1])),
            ("Int64 and Int32", lambda: _s([1]), lambda: _s([1], _pl().Int32)),
            ("Int64 and Float64", lambda: _s([1]), lambda: _s([1.0])),
            ("'' and null", lambda: _s([""]), lambda: _s([None], _pl().String)),
            ("where the null is", lambda: _s([1, None]), lambda: _s([None, 1])),
            ("NaN and null", lambda: _s([float("nan")]), lambda: _s([None], _pl().Float64)),
            ("where strings end", lambda: _s(["a", "bc"]), lambda: _s(["ab", "c"])),
            ("[] and null", lambda: _s([[]], _pl().List(_pl().Int8)), lambda: _s([None], _pl().List(_pl().Int8))),
            ("where lists end", lambda: _s([[1], [2, 3]]), lambda: _s([[1, 2], [3]])),
            ("strings and categories", lambda: _s(["a"]), lambda: _s(["a"], _pl().Categorical)),
            ("order of an Enum", lambda: _s(["a"], _pl().Enum(["a", "b"])), lambda: _s(["a"], _pl().Enum(["b", "a"]))),
            ("time unit", lambda: _s([0], _pl().Datetime("us")), lambda: _s([0], _pl().Datetime("ms"))),
            ("zone", lambda: _s([0], _pl().Datetime("us")), lambda: _s([0], _pl().Datetime("us", "UTC"))),
            ("date and its midnight", lambda: _s([dt.date(2026, 1, 1)]), lambda: _s([dt.datetime(2026, 1, 1)])),  # noqa: DTZ001
            ("frame and series", lambda: _pl().DataFrame({"": [1]}), lambda: _s([1])),
            ("two expressions", lambda: _pl().col("a") + 1, lambda: _pl().col("a") + 2),
        ),
        agree=(
            ("one chunk and two", lambda: _s([1, 2]), lambda: _pl().concat([_s([1]), _s([2])], rechunk=False)),
            ("a slice and a copy", lambda: _s(["x", "a", None])[1:], lambda: _s(["a", None])),
            (
                "categories in another order of sight",
                lambda: _s(["b", "a"], _pl().Categorical)[1:],
                lambda: _s(["a"], _pl().Categorical),
            ),
            (
                "a frame made twice",
                lambda: _pl().DataFrame({"a": [1]}),
                lambda: _pl().DataFrame([_pl().Series("a", [1])]),
            ),
        ),
        needs=("polars", "numpy"),
    )


def _arrow_backed() -> Group:
    def column(values: Any, kind: Any) -> Any:
        import pandas as pd

        return pd.Series(values, dtype=pd.ArrowDtype(kind))

    return Group(
        "Arrow-backed columns",
        differ=(
            (
                "int64 and Arrow's int64",
                lambda: column([1], _pa().int64()),
                lambda: column([1], _pa().int64()).astype("i8"),
            ),
            (
                "string and large string",
                lambda: column(["a"], _pa().string()),
                lambda: column(["a"], _pa().large_string()),
            ),
            ("0 and null", lambda: column([0], _pa().int8()), lambda: column([None], _pa().int8())),
            (
                "decimals of two scales",
                lambda: column([1], _pa().decimal128(5, 1)),
                lambda: column([1], _pa().decimal128(5, 2)),
            ),
            (
                "lists",
                lambda: column([[1], [2]], _pa().list_(_pa().int8())),
                lambda: column([[1, 2], []], _pa().list_(_pa().int8())),
            ),
        ),
        agree=(
            (
                "cut from a longer column",
                lambda: column([9, 1], _pa().int8())[1:].reset_index(drop=True),
                lambda: column([1], _pa().int8()),
            ),
        ),
        needs=("pandas", "pyarrow"),
    )
