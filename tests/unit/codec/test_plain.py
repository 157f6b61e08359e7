"""Values as plain JSON: exact, typed, and verified before anything is unpickled."""

from __future__ import annotations

import json
import math
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum

import numpy as np
import pytest
from hypothesis import given, strategies as st

from awaitly_nb.codec import UndecodableError, from_json, to_json
from awaitly_nb.errors import UnverifiedEntryError


class Color(Enum):
    RED = 1


def again(value):
    return from_json(json.loads(json.dumps(to_json(value))))


VALUES = [
    None,
    True,
    1,
    2**53,
    -(2**80),
    1.5,
    -0.0,
    math.inf,
    "text \ud800 \0",
    b"\x00\xff",
    (1, (2,)),
    {3, 1, 2},
    frozenset({"a"}),
    {"a": [1]},
    {1: "int", "1": "text", (1, 2): "tuple", None: 0},
    {"$awaitly": "mine"},
    {"$awaitly": "pickle", "stream": ""},
    Decimal("1.50"),
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, 4, 5, 678901),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2026, 10, 25, 2, 30, fold=1),
    datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    time(3, 4),
    timedelta(days=-1, microseconds=5),
    1 + 2j,
    Color.RED,
    range(5),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_and_their_types_survive(value):
    back = again(value)
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value) or isinstance(value, set | frozenset)


def test_nan_and_arrays_survive():
    assert math.isnan(again(math.nan))
    array = np.arange(5000.0)
    back = again({"array": array, "n": np.int64(3)})
    np.testing.assert_array_equal(back["array"], array)
    assert type(back["n"]) is np.int64


def test_fold_survives():
    assert again(datetime(2026, 10, 25, 2, 30, fold=1)).fold == 1


def test_a_value_that_contains_itself_survives():
    value = [1]
    value.append(value)
    back = again(value)
    assert back[1] is back


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.just("$awaitly"), inner)
    ),
    max_leaves=20,
)


@given(plain)
def test_any_value_survives_and_its_form_is_stable(value):
    form = json.dumps(to_json(value))
    back = from_json(json.loads(form))
    assert back == value
    assert json.dumps(to_json(back)) == form


def test_a_pickle_that_nobody_signed_is_not_unpickled(tmp_path):
    import base64
    import pickle

    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "exploded"), "w")

    form = to_json(range(3))
    form["stream"] = base64.b64encode(pickle.dumps(Bomb())).decode()
    with pytest.raises(UnverifiedEntryError, match="signature"):
        from_json(form)
    form["secret"] = "0123456789abcdef"
    with pytest.raises(UnverifiedEntryError, match="trust"):
        from_json(form)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "data",
    [
        {"$awaitly": "bytes", "base64": "%%"},
        {"$awaitly": "bytes"},
        {"$awaitly": "Decimal", "text": "x"},
        {"$awaitly": "dict", "items": [[1]]},
        {"$awaitly": "tuple", "items": 7},
        {"$awaitly": "tomorrow's"},
        {"$awaitly": "pickle"},
        {"$awaitly": ["tuple"]},
    ],
    ids=str,
)
def test_damaged_data_is_told(data):
    with pytest.raises((UndecodableError, UnverifiedEntryError)):
        from_json(data)
