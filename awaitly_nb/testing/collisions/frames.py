"""Pairs of pandas frames, series, indexes and scalars."""

# ruff: noqa: PLW0108 - a value is made when its pair is asked for, and never before

from __future__ import annotations

import copy
from typing import Any
from zoneinfo import ZoneInfo

from awaitly_nb.testing.collisions.battery import Group

__all__ = ["groups"]

# Any, throughout: pandas is imported only where a group is made.


def groups() -> list[Group]:
    """Return the groups of this file."""
    return [_columns(), _indexes(), _dtypes(), _series(), _scalars()]


def _pd() -> Any:
    import pandas as pd

    return pd


def _frame(**columns: Any) -> Any:
    return _pd().DataFrame(columns or {"a": [1, 2], "b": [3, 4]})


def _columns() -> Group:
    many = 60_000
    return Group(
        "frame columns",
        differ=(
            ("name of a column", lambda: _frame(price=[1, 2]), lambda: _frame(cost=[1, 2])),
            ("names swapped", lambda: _frame(a=[1, 2], b=[3, 4]), lambda: _frame(b=[1, 2], a=[3, 4])),
            ("order of columns", lambda: _frame(a=[1], b=[2]), lambda: _frame(b=[2], a=[1])),
            ("columns 0 and '0'", lambda: _pd().DataFrame({0: [1]}), lambda: _pd().DataFrame({"0": [1]})),
            ("columns 1 and True", lambda: _pd().DataFrame({1: [1]}), lambda: _pd().DataFrame({True: [1]})),
            ("name of the column index", lambda: _frame(a=[1]), lambda: _frame(a=[1]).rename_axis(columns="x")),
            ("no rows, other columns", lambda: _frame(a=[]), lambda: _frame(b=[])),
            ("no rows, other dtypes", lambda: _frame(a=[]).astype("i8"), lambda: _frame(a=[]).astype("f8")),
            ("no columns, other rows", lambda: _pd().DataFrame(index=[1]), lambda: _pd().DataFrame(index=[1, 2])),
            ("int64 and float64", lambda: _frame(a=[1, 2]), lambda: _frame(a=[1.0, 2.0])),
            ("int64 and int32", lambda: _frame(a=[1, 2]), lambda: _frame(a=[1, 2]).astype("i4")),
            ("bool and int64", lambda: _frame(a=[True, False]), lambda: _frame(a=[1, 0])),
            ("a cell", lambda: _frame(a=[1, 2]), lambda: _frame(a=[1, 3])),
            ("order of rows", lambda: _frame(a=[1, 2], b=[3, 4]), lambda: _frame(a=[2, 1], b=[4, 3])),
            ("cells moved between columns", lambda: _frame(a=[1, 2], b=[3, 4]), lambda: _frame(a=[1, 3], b=[2, 4])),
            ("columns exchanged", lambda: _frame(a=[1, 2], b=[3, 4]), lambda: _frame(a=[3, 4], b=[1, 2])),
            ("rows and columns", lambda: _pd().DataFrame([[1, 2], [3, 4]]), lambda: _pd().DataFrame([[1, 3], [2, 4]])),
            ("where strings end", lambda: _frame(a=["a", "bc"]), lambda: _frame(a=["ab", "c"])),
            ("-0.0", lambda: _frame(a=[0.0]), lambda: _frame(a=[-0.0])),
            ("duplicate columns exchanged", lambda: _twins([[1, 2]]), lambda: _twins([[2, 1]])),
            ("levels of columns", lambda: _levels("x", "y"), lambda: _levels("y", "x")),
            ("one cell of 60,000 rows", lambda: _frame(a=[0] * many), lambda: _frame(a=[0] * (many - 1) + [1])),
            ("attrs", lambda: _frame(), lambda: _with_attrs(_frame())),
            ("flags", lambda: _frame(), lambda: _frame().set_flags(allows_duplicate_labels=False)),
            ("frame and dict", lambda: _frame(a=[1]), lambda: {"a": [1]}),
            ("frame and its array", lambda: _frame(a=[1]), lambda: _frame(a=[1]).to_numpy()),
            ("frame and series", lambda: _frame(a=[1]), lambda: _frame(a=[1])["a"]),
        ),
        agree=(
            ("made twice", lambda: _frame(a=[1], b=["x"]), lambda: _frame(a=[1], b=["x"])),
            ("one block and two", lambda: _pd().DataFrame([[1, 2], [3, 4]], columns=["a", "b"]), lambda: _grown()),
            ("a slice of all", lambda: _frame().iloc[:], lambda: _frame()),
            ("columns chosen in order", lambda: _frame()[["a", "b"]], lambda: _frame()),
            ("turned around twice", lambda: _frame().iloc[::-1].iloc[::-1], lambda: _frame()),
            ("used and fresh", lambda: _used(_frame()), lambda: _frame()),
            ("C and F order", lambda: _square("C"), lambda: _square("F")),
            ("a column read and none", lambda: _read(_frame(a=["x", "y"])), lambda: _frame(a=["x", "y"])),
        ),
        needs=("pandas",),
    )


def _twins(rows: Any) -> Any:
    return _pd().DataFrame(rows, columns=["a", "a"])


def _levels(*names: str) -> Any:
    columns = _pd().MultiIndex.from_product([["p"], ["q"]], names=names)
    return _pd().DataFrame([[1]], columns=columns)


def _with_attrs(frame: Any) -> Any:
    frame.attrs["source"] = "a"
    return frame


def _grown() -> Any:
    frame = _frame(a=[1, 3])
    frame["b"] = [2, 4]
    return frame


def _used(frame: Any) -> Any:
    _ = frame.index.is_unique, frame.columns.get_loc("a"), frame.describe(), frame.sum()
    return frame


def _read(frame: Any) -> Any:
    for name in frame.columns:
        _ = frame[name].str.upper()
    return frame


def _square(order: Any) -> Any:
    import numpy as np

    return _pd().DataFrame(np.array([[1.0, 2], [3, 4]], order=order))


def _indexes() -> Group:
    return Group(
        "indexes",
        differ=(
            ("values", lambda: _indexed([1, 2]), lambda: _indexed([1, 3])),
            ("order", lambda: _indexed([1, 2]), lambda: _indexed([2, 1])),
            ("name", lambda: _indexed([1, 2]), lambda: _indexed([1, 2]).rename_axis("x")),
            ("0 and '0'", lambda: _indexed([0, 1]), lambda: _indexed(["0", "1"])),
            ("range and list", lambda: _indexed(range(2)), lambda: _indexed([0, 1])),
            ("int and float", lambda: _indexed([0, 1]), lambda: _indexed([0.0, 1.0])),
            (
                "index and column",
                lambda: _frame(a=[1], b=[2]).set_index("a"),
                lambda: _frame(a=[1], b=[2]).set_index("b"),
            ),
            ("index and reset index", lambda: _frame().set_index("a"), lambda: _frame()),
            ("tuples and levels", lambda: _pd().Index([(1, 2)], tupleize_cols=False), lambda: _pd().Index([(1, 2)])),
            ("names of levels", lambda: _two_levels("x", "y"), lambda: _two_levels("y", "x")),
            ("order of levels", lambda: _two_levels(), lambda: _two_levels().swaplevel()),
            ("zone", lambda: _days(), lambda: _days(tz="UTC")),
            ("two zones of one instant", lambda: _days(tz="UTC"), lambda: _days(tz="UTC").tz_convert("Asia/Tokyo")),
            ("known and unknown frequency", lambda: _days(), lambda: _pd().DatetimeIndex(list(_days()))),
            ("holidays of a frequency", lambda: _business([]), lambda: _business(["2026-01-06"])),
            ("periods and times", lambda: _days(), lambda: _days().to_period()),
            ("closed sides", lambda: _pd().interval_range(0, 2), lambda: _pd().interval_range(0, 2, closed="left")),
            ("index and series", lambda: _pd().Index([1, 2]), lambda: _pd().Series([1, 2])),
            ("categories", lambda: _pd().CategoricalIndex(["a"]), lambda: _pd().CategoricalIndex(["a"], ["a", "b"])),
        ),
        agree=(
            ("a range made twice", lambda: _indexed(range(0, 4, 2)), lambda: _indexed(_pd().RangeIndex(0, 4, 2))),
            ("asked and not asked", lambda: _asked(_pd().Index(["b", "a"])), lambda: _pd().Index(["b", "a"])),
            ("levels made twice", lambda: _two_levels(), lambda: copy.deepcopy(_two_levels())),
            (
                "zones made twice",
                lambda: _days(tz=ZoneInfo("Europe/Berlin")),
                lambda: _days(tz=ZoneInfo.no_cache("Europe/Berlin")),
            ),
        ),
        needs=("pandas",),
    )


def _indexed(index: Any) -> Any:
    return _pd().DataFrame({"a": [1, 2]}, index=index)


def _two_levels(*names: str) -> Any:
    return _pd().MultiIndex.from_tuples([(1, 1), (1, 2)], names=names or None)


def _days(tz: Any = None) -> Any:
    return _pd().date_range("2026-01-01", periods=3, tz=tz)


def _business(holidays: list[str]) -> Any:
    return _pd().DatetimeIndex(["2026-01-02"], freq=_pd().offsets.CustomBusinessDay(holidays=holidays))


def _asked(index: Any) -> Any:
    _ = index.is_unique, index.get_loc("a"), index.is_monotonic_increasing
    return index


def _s(values: Any, dtype: Any = None, **options: Any) -> Any:
    return _pd().Series(values, dtype=dtype, **options)


def _dtypes() -> Group:
    return Group(
        "column dtypes",
        differ=(
            ("int64 and Int64", lambda: _s([1, 2]), lambda: _s([1, 2], "Int64")),
            ("float64 and Float64", lambda: _s([1.0]), lambda: _s([1.0], "Float64")),
            ("bool and boolean", lambda: _s([True]), lambda: _s([True], "boolean")),
            ("NaN and NA", lambda: _s([1.0, None]), lambda: _s([1.0, None], "Float64")),
            ("None and NaN among objects", lambda: _s([None], object), lambda: _s([float("nan")], object)),
            ("None and NaT among objects", lambda: _s([None], object), lambda: _s([_pd().NaT], object)),
            ("0 and NA", lambda: _s([1, 0], "Int64"), lambda: _s([1, None], "Int64")),
            ("where the NA is", lambda: _s([0, None], "Int64"), lambda: _s([None, 0], "Int64")),
            ("'' and a missing string", lambda: _s([""], "string"), lambda: _s([None], "string")),
            ("'nan' and a missing string", lambda: _s(["nan"], "str"), lambda: _s([float("nan")], "str")),
            ("objects and strings", lambda: _s(["a"], object), lambda: _s(["a"], "string")),
            ("objects 1 and True", lambda: _s([1], object), lambda: _s([True], object)),
            ("strings and category", lambda: _s(["a"], object), lambda: _s(["a"], "category")),
            ("order of categories", lambda: _category("ab"), lambda: _category("ba")),
            ("ordered or not", lambda: _category("ab"), lambda: _category("ab", ordered=True)),
            ("an unused category", lambda: _category("ab"), lambda: _category("abc")),
            (
                "codes of other categories",
                lambda: _category("ab"),
                lambda: _s(_pd().Categorical(["x", "y"], ["x", "y"])),
            ),
            ("category of ints and floats", lambda: _s([1], "category"), lambda: _s([1.0], "category")),
            ("unit", lambda: _s([0], "M8[ns]"), lambda: _s([0], "M8[s]")),
            ("naive and UTC", lambda: _s([0], "M8[ns]"), lambda: _s([0], "datetime64[ns, UTC]")),
            ("two zones", lambda: _s([0], "datetime64[ns, UTC]"), lambda: _s([0], "datetime64[ns, Asia/Tokyo]")),
            ("time and int", lambda: _s([0], "M8[ns]"), lambda: _s([0], "i8")),
            ("duration and time", lambda: _s([0], "m8[ns]"), lambda: _s([0], "M8[ns]")),
            (
                "periods of days and months",
                lambda: _s([_pd().Period("2026-01", "D")]),
                lambda: _s([_pd().Period("2026-01", "M")]),
            ),
            ("sparse and dense", lambda: _s([0, 1]), lambda: _s([0, 1], "Sparse[int64]")),
            ("fill of a sparse", lambda: _sparse(0), lambda: _sparse(1)),
            (
                "intervals",
                lambda: _s(_pd().interval_range(0, 1)),
                lambda: _s(_pd().interval_range(0, 1, closed="both")),
            ),
            ("strings and object times", lambda: _s(["2026"], object), lambda: _s([_pd().Timestamp("2026")], object)),
        ),
        agree=(
            ("Int64, whatever is under the NA", lambda: _under(5), lambda: _under(7)),
            ("boolean made twice", lambda: _s([True, None], "boolean"), lambda: _s([True, _pd().NA], "boolean")),
            ("category made twice", lambda: _category("ab"), lambda: _s(list("ab"), _category("ab").dtype)),
            (
                "strings cut from a longer column",
                lambda: _s(["a", "b"], "string"),
                lambda: _s(["x", "a", "b"], "string")[1:].reset_index(drop=True),
            ),
            (
                "zoned times made twice",
                lambda: _s([0], "datetime64[ns, Asia/Tokyo]"),
                lambda: _s([0], "datetime64[ns, UTC]").dt.tz_convert("Asia/Tokyo"),
            ),
            ("sparse made twice", lambda: _sparse(0), lambda: copy.deepcopy(_sparse(0))),
        ),
        needs=("pandas",),
    )


def _category(categories: str, *, ordered: bool = False) -> Any:
    index = _pd().Index(list(categories), dtype=object)
    return _s(_pd().Categorical(["a", "b"], index, ordered=ordered))


def _sparse(fill: int) -> Any:
    return _s(_pd().arrays.SparseArray([0, 1], fill_value=fill))


def _under(hidden: int) -> Any:
    import numpy as np

    return _s(_pd().arrays.IntegerArray(np.array([1, hidden]), np.array([False, True])))


def _series() -> Group:
    return Group(
        "series",
        differ=(
            ("name", lambda: _s([1], name="a"), lambda: _s([1], name="b")),
            ("a name and none", lambda: _s([1], name="None"), lambda: _s([1])),
            ("names 0 and '0'", lambda: _s([1], name=0), lambda: _s([1], name="0")),
            ("index", lambda: _s([1], index=[0]), lambda: _s([1], index=[1])),
            ("series and array", lambda: _s([1]), lambda: _s([1]).to_numpy()),
            ("series and list", lambda: _s([1]), lambda: [1]),
            ("series and extension array", lambda: _s([1], "Int64"), lambda: _s([1], "Int64").array),
            ("lists inside", lambda: _s([[1]]), lambda: _s([[2]])),
            ("dicts inside", lambda: _s([{"a": 1}]), lambda: _s([{"a": 1.0}])),
            ("values and their order", lambda: _s([1, 2]), lambda: _s([2, 1])),
        ),
        agree=(
            ("a column and its copy", lambda: _frame(a=[1, 2])["a"], lambda: _s([1, 2], name="a")),
            ("lists inside made twice", lambda: _s([[1]]), lambda: _s([list(range(1, 2))])),
        ),
        needs=("pandas",),
    )


def _scalars() -> Group:
    return Group(
        "pandas scalars and dtypes",
        differ=(
            (
                "Timestamp and datetime",
                lambda: _pd().Timestamp("2026"),
                lambda: _pd().Timestamp("2026").to_pydatetime(),
            ),
            ("Timestamp, naive and UTC", lambda: _pd().Timestamp("2026"), lambda: _pd().Timestamp("2026", tz="UTC")),
            (
                "Timestamp in two units",
                lambda: _pd().Timestamp("2026").as_unit("s"),
                lambda: _pd().Timestamp("2026").as_unit("ns"),
            ),
            ("a nanosecond", lambda: _pd().Timestamp(0), lambda: _pd().Timestamp(1)),
            ("Timedelta and timedelta", lambda: _pd().Timedelta("1D"), lambda: _pd().Timedelta("1D").to_pytimedelta()),
            ("NA and None", lambda: _pd().NA, lambda: None),
            ("NA and NaT", lambda: _pd().NA, lambda: _pd().NaT),
            ("NaT and None", lambda: _pd().NaT, lambda: None),
            ("Period of day and month", lambda: _pd().Period("2026-01", "D"), lambda: _pd().Period("2026-01", "M")),
            ("sides of an Interval", lambda: _pd().Interval(0, 1), lambda: _pd().Interval(0, 1, "left")),
            ("bounds of an Interval", lambda: _pd().Interval(0, 1), lambda: _pd().Interval(0.0, 1.0)),
            ("Int64 and int64 dtypes", lambda: _pd().Int64Dtype(), lambda: "Int64"),
            ("categories of a dtype", lambda: _pd().CategoricalDtype(["a"]), lambda: _pd().CategoricalDtype(["b"])),
        ),
        agree=(
            ("Timestamp made twice", lambda: _pd().Timestamp("2026-01-01"), lambda: _pd().Timestamp("2026/01/01")),
            (
                "dtype made twice",
                lambda: _pd().CategoricalDtype(["a"]),
                lambda: _pd().CategoricalDtype(_pd().Index(["a"])),
            ),
        ),
        needs=("pandas",),
    )
