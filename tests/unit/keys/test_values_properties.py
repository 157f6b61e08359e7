"""Properties of fingerprints over random values: one key exactly where the published equivalence table says so."""

import copy
import math
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from awaitly_nb.keys import fingerprint

# Few and mean leaves, so that random values are often nearly alike.
MEAN = [0, 1, -1, True, False, 0.0, -0.0, 1.0, float("nan"), "", "a", "1", b"", b"a", None, 1j, 2**70, (), frozenset()]
LEAVES = st.sampled_from(MEAN) | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
HASHABLE = st.recursive(LEAVES, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
    ),
    max_leaves=12,
)
TINY = st.recursive(
    st.sampled_from(MEAN),
    lambda inner: st.lists(inner, max_size=2) | st.lists(inner, max_size=2).map(tuple) | st.sets(st.sampled_from(MEAN)),
    max_leaves=3,
)


def same(a, b):
    """The published table, written without any encoding."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, set | frozenset):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    return a == b


@given(TINY, TINY)
@settings(max_examples=100)
def test_two_values_share_a_key_exactly_where_the_table_says_so(a, b):
    assert (fingerprint(a) == fingerprint(b)) is same(a, b)


@given(VALUES)
def test_a_copy_and_a_pickle_round_trip_keep_the_key(value):
    key = fingerprint(value)
    assert fingerprint(copy.deepcopy(value)) == key
    assert fingerprint(pickle.loads(pickle.dumps(value))) == key


def leaf_paths(value, path=()):
    """Yield the path of every leaf that can be replaced: items of lists, tuples and dict values."""
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from leaf_paths(item, (*path, i))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaf_paths(item, (*path, key))
    else:
        yield path


def replaced(value, path, leaf):
    if not path:
        return leaf
    first, *rest = path
    if isinstance(value, dict):
        return {k: replaced(v, rest, leaf) if k is first or k == first else v for k, v in value.items()}
    items = [replaced(v, rest, leaf) if i == first else v for i, v in enumerate(value)]
    return tuple(items) if isinstance(value, tuple) else items


@given(VALUES, LEAVES, st.data())
@settings(max_examples=100)
def test_changing_any_leaf_changes_the_key(value, leaf, data):
    path = data.draw(st.sampled_from([*leaf_paths(value)] or [()]))
    other = replaced(value, path, leaf)
    assert (fingerprint(other) == fingerprint(value)) is same(other, value)


@given(st.lists(st.sampled_from([1, 1.0, True, "1", b"1", None]), min_size=1, max_size=30), st.data())
def test_one_odd_item_in_a_long_list_changes_the_key(items, data):
    long = items * 400
    at = data.draw(st.integers(0, len(long) - 1))
    other = list(long)
    other[at] = "odd"
    assert fingerprint(other) != fingerprint(long) == fingerprint(list(long))


DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?")
    | hnp.complex_number_dtypes()
    | hnp.datetime64_dtypes()
    | hnp.timedelta64_dtypes()
    | hnp.byte_string_dtypes(max_len=4)
    | hnp.unicode_string_dtypes(max_len=4)
    | hnp.array_dtypes(max_size=3)
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))


@given(ARRAYS)
@settings(max_examples=100)
def test_the_layout_of_an_array_does_not_count(array):
    key = fingerprint(array)
    assert fingerprint(array.copy(order="C")) == key
    assert fingerprint(array.copy(order="F")) == key
    again = pickle.loads(pickle.dumps(array))
    assert again.dtype != array.dtype or fingerprint(again) == key  # pickling gives a 0-d array the native byte order
    spread = np.zeros((*array.shape, 2), array.dtype)
    spread[..., 0] = array
    assert fingerprint(spread[..., 0]) == key


@given(ARRAYS, ARRAYS)
@settings(max_examples=100)
def test_arrays_share_a_key_exactly_with_dtype_shape_and_bits(a, b):
    alike = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if a.dtype.names is None and b.dtype.names is None:
        assert (fingerprint(a) == fingerprint(b)) is alike


@given(
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=3, max_side=5)).filter(lambda a: a.dtype.itemsize > 0),
    st.data(),
)
@settings(max_examples=100)
def test_any_bit_of_an_array_changes_the_key(array, data):
    if array.dtype.char in "gG":
        return  # most of their bytes are padding
    raw = bytearray(array.tobytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    other = np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)
    assert fingerprint(other) != fingerprint(array)


COLUMNS = st.sampled_from(
    [
        [1, 2, 3],
        [1.0, 2.0, 3.0],
        [1.0, None, 3.0],
        ["a", "b", "c"],
        ["a", None, "c"],
        [True, False, True],
        pd.array([1, None, 3], "Int64"),
        pd.array([True, None, True], "boolean"),
        pd.array(["a", None, "c"], "string"),
        pd.Categorical(["a", "b", "a"]),
        pd.Categorical(["a", "b", "a"], ["b", "a"]),
        pd.Categorical(["a", "b", "a"], ordered=True),
        pd.date_range("2026", periods=3),
        pd.date_range("2026", periods=3, tz="UTC"),
        pd.date_range("2026", periods=3, tz="Europe/Berlin"),
        pd.timedelta_range("1h", periods=3),
        pd.period_range("2026", periods=3, freq="D"),
        pd.interval_range(0, 3),
        pd.arrays.SparseArray([0, 0, 1]),
        [[1], [2], None],
    ]
)
INDEXES = st.sampled_from(
    [
        pd.RangeIndex(3),
        pd.Index([0, 1, 2]),
        pd.Index(["x", "y", "z"], name="n"),
        pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["p", "q"]),
        pd.date_range("2026", periods=3),
    ]
)


@st.composite
def frames(draw):
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "price", 0, 1]), min_size=1, max_size=4, unique=True))
    return pd.DataFrame({name: pd.Series(draw(COLUMNS)) for name in names}).set_axis(draw(INDEXES))


def alike(a, b):
    try:
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=True, check_names=True)
    except (AssertionError, TypeError):
        return False
    # `assert_frame_equal` takes a RangeIndex for an Index of the same numbers.
    return type(a.index) is type(b.index) and type(a.columns) is type(b.columns)


@given(frames(), frames())
@settings(max_examples=50)
def test_frames_share_a_key_exactly_where_pandas_finds_no_difference(a, b):
    assert (fingerprint(a) == fingerprint(b)) is alike(a, b)


@given(frames(), st.data())
@settings(max_examples=50)
def test_a_copied_frame_keeps_its_key_and_a_changed_one_does_not(frame, data):
    key = fingerprint(frame)
    assert fingerprint(frame.copy()) == fingerprint(frame.iloc[:]) == key
    assert fingerprint(pickle.loads(pickle.dumps(frame))) == key
    name = data.draw(st.sampled_from(list(frame.columns)))
    changes = [
        frame.rename(columns={name: "other"}),
        frame.drop(columns=name),
        frame.iloc[:2],
        frame.iloc[[0, 0, 2]],
        frame.assign(more=1),
        frame.rename_axis(columns="axis"),
        frame.astype({name: object}) if frame[name].dtype != object else frame.assign(**{str(name): 0}),
    ]
    for change in changes:
        assert fingerprint(change) != key


@pytest.mark.parametrize("hide", [0, 7])
def test_what_lies_under_a_null_does_not_count(hide):
    mask = np.array([False, True])
    shown = pd.arrays.IntegerArray(np.array([1, hide]), mask)
    assert fingerprint(pd.Series(shown)) == fingerprint(pd.Series([1, None], dtype="Int64"))


PLAIN = st.recursive(
    st.sampled_from([leaf for leaf in MEAN if type(leaf) is not complex]) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(st.lists(PLAIN, min_size=8, max_size=12), PLAIN, st.data())
def test_plain_lists_share_a_key_exactly_where_they_say_the_same(items, other, data):
    at = data.draw(st.integers(0, len(items) - 1))
    changed = [*items[:at], other, *items[at + 1 :]]
    assert (fingerprint(items) == fingerprint(changed)) is same(items, changed)
    assert fingerprint(pickle.loads(pickle.dumps(items))) == fingerprint(items)


@given(st.lists(PLAIN, min_size=8, max_size=12), st.data())
def test_one_part_that_is_not_plain_changes_the_key_of_what_it_equals(items, data):
    at = data.draw(st.integers(0, len(items)))
    plain, odd = b"x", bytearray(b"x")
    assert fingerprint([*items[:at], [plain], *items[at:]]) != fingerprint([*items[:at], [odd], *items[at:]])


@given(
    st.sets(st.text(max_size=3) | st.integers() | st.tuples(st.integers(), st.text(max_size=2)), min_size=8),
    st.randoms(),
)
def test_the_order_in_which_a_large_set_grew_does_not_count(items, random):
    shuffled = list(items)
    random.shuffle(shuffled)
    assert fingerprint(set(shuffled)) == fingerprint(items)
    assert fingerprint(items - {shuffled[0]}) != fingerprint(items)
