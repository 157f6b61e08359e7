"""Outlines: small plain data of any value, and one line that says what changed."""

import dataclasses
import datetime
import enum
import json
import threading
from collections import namedtuple
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from awaitly_nb.keys import outline, outline_diff

FRAME = pd.DataFrame({"price": [1, 2], "city": ["x", "y"]})


def told(old, new, *, digests=True):
    return outline_diff(outline(old, digests=digests), outline(new, digests=digests))


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (FRAME.astype({"price": float}), 'column "price" int64 -> float64'),
        (FRAME.rename(columns={"city": "town"}), 'column "city" renamed to "town"'),
        (FRAME.drop(columns="city"), 'column "city" removed'),
        (FRAME.assign(more=1), 'column "more" added'),
        (FRAME[["city", "price"]], "order of columns changed"),
        (FRAME.assign(price=[1, 3]), 'column "price" content changed'),
        (FRAME.set_index(pd.Index(["p", "q"])), "index RangeIndex -> Index"),
        (FRAME.rename_axis("n"), "index names None -> n"),
        (FRAME.iloc[:1], "rows 2 -> 1"),
    ],
)
def test_a_frame_says_which_column_or_index_changed(changed, line):
    assert line in told(FRAME, changed)


def test_a_frame_names_nothing_that_did_not_change():
    assert told(FRAME, FRAME.assign(price=[1, 3])) == 'column "price" content changed'
    assert told(FRAME, FRAME.astype({"price": float})) == 'column "price" int64 -> float64'
    assert "city" not in told(FRAME, FRAME.iloc[:1])


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (1, 2, "1 -> 2"),
        (1, "a", "1 -> 'a'"),
        (1, 1.0, "1 -> 1.0"),
        (1, True, "1 -> True"),
        ("1", 1, "'1' -> 1"),
        (None, 0, "None -> 0"),
        ([1, 2], [1, 3], "[1] 2 -> 3"),
        ([1], [1, 2], "length 1 -> 2, [1] added"),
        ((1,), [1], "tuple -> list"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "['a']['b'] 1 -> 2"),
        ({"a": 1}, {"a": 1, "b": 2}, "length 1 -> 2, ['b'] added"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "order of keys changed"),
        (np.zeros(3), np.zeros((3, 1)), "shape (3) -> (3, 1)"),
        (np.zeros(3), np.zeros(3, "f4"), "dtype float64 -> float32"),
        (np.zeros(3), np.ones(3), "content changed"),
        ({"w": np.zeros(3)}, {"w": np.ones(3)}, "['w'] content changed"),
        (Path("a"), Path("b"), "PosixPath('a') -> PosixPath('b')"),
        (
            datetime.date(2026, 1, 1),
            datetime.date(2026, 1, 2),
            "datetime.date(2026, 1, 1) -> datetime.date(2026, 1, 2)",
        ),
        (pd.Series([1], name="a"), pd.Series([1], name="b"), "name a -> b"),
        (pd.Series([1]), pd.Series([1.0]), "dtype int64 -> float64"),
        ({1, 2}, {1, 3}, "1, 2 -> 1, 3"),
        ("x" * 100, "x" * 99 + "y", "content changed"),
    ],
)
def test_the_line_names_what_changed(old, new, line):
    assert told(old, new) == line


@dataclasses.dataclass
class Config:
    rate: float
    table: object = None


Point = namedtuple("Point", "x y")
Colour = enum.Enum("Colour", "RED GREEN")


def test_objects_name_their_fields():
    assert told(Config(0.1), Config(0.2)) == ".rate 0.1 -> 0.2"
    assert told(Config(0.1, FRAME), Config(0.1, FRAME.assign(price=0))) == '.table column "price" content changed'
    assert told(Point(1, 2), Point(1, 3)) == ".y 2 -> 3"
    assert told(Colour.RED, Colour.GREEN) == "RED -> GREEN"


def test_polars_and_arrow_tables_are_told_by_column():
    polars = pytest.importorskip("polars")
    arrow = pytest.importorskip("pyarrow")
    assert told(polars.DataFrame({"a": [1]}), polars.DataFrame({"a": [1.0]})) == 'column "a" Int64 -> Float64'
    assert told(arrow.table({"a": [1]}), arrow.table({"a": [1.0]})) == 'column "a" int64 -> double'


def test_many_changes_are_counted_not_listed():
    assert told({i: i for i in range(9)}, {i: -i - 1 for i in range(9)}).endswith("and 6 more")


def test_without_digests_no_content_is_read():
    assert told(FRAME, FRAME.assign(price=[1, 3]), digests=False) == "content changed"
    assert "digest" not in json.dumps(outline({"a": FRAME, "b": np.zeros(3)}))


class Hostile:
    def __repr__(self):
        raise ValueError("no")

    @property
    def __dict__(self):
        raise ValueError("no")


VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.just(FRAME) | st.builds(Hostile),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(VALUES, VALUES)
@settings(max_examples=100)
def test_an_outline_is_plain_json_and_the_line_is_one_line(a, b):
    first, second = outline(a), outline(b)
    assert json.loads(json.dumps(first)) == first
    line = outline_diff(first, second)
    assert line
    assert "\n" not in line


def repr_of(value):
    return type(value).__name__


@pytest.mark.parametrize(
    "value", [Hostile(), threading.Lock(), 1 << 20_000, Decimal("NaN"), Config, len, json], ids=repr_of
)
def test_anything_has_an_outline(value):
    assert outline(value)["is"]


def test_a_cycle_has_an_outline():
    loop = {}
    loop["me"] = loop
    assert len(json.dumps(outline(loop))) < 1000


def test_an_outline_stays_small():
    wide = pd.DataFrame(np.zeros((2, 5000)))
    assert len(json.dumps(outline(wide))) < 20_000
    assert len(json.dumps(outline({str(i): "x" * 1000 for i in range(1000)}))) < 5_000
    assert len(json.dumps(outline([[[[0] * 50] * 50] * 50] * 50))) < 200_000
