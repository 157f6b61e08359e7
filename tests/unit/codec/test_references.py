"""Pickles that share memory and refer to live objects."""

import decimal
import gc
import json
import math
import struct
import threading
import weakref
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from awaitly_nb.codec import UndecodableError, pack, remember_original, unpack
from tests.unit.counted_calls import calls_of


class MakesArrays:
    """Its pickle is made of arrays that live no longer than the pickling, and that share memory."""

    def __init__(self, seed):
        self.base = np.arange(seed, seed + 300.0)
        self.part = self.base[10:20]

    def __reduce__(self):
        base = self.base.copy()
        return _made, (base, base[10:20])


def _made(base, part):
    made = MakesArrays.__new__(MakesArrays)
    made.base, made.part = base, part
    return made


def round_trip(value):
    encoded = pack(value, [], numbers={}, changed=(), is_new=lambda cls: False)
    buffers = [bytearray(view) for view in encoded.buffers]
    return unpack(encoded.stream, buffers, encoded.shapes, live=lambda number: None)


def test_arrays_that_a_reduce_makes_are_not_taken_for_others():
    x = np.arange(50.0)
    value = [[MakesArrays(1000 * n) for n in range(200)], x, x[5:9]]
    objects, whole, view = round_trip(value)
    for one, other in zip(objects, value[0], strict=True):
        assert np.array_equal(one.base, other.base)
        assert np.array_equal(one.part, other.part)
    view[0] = -1.0
    assert whole[5] == -1.0


GAPPY = {
    "part": lambda: np.arange(30.0).reshape(5, 6)[:, :4],
    "reversed": lambda: np.arange(12).reshape(3, 4)[:, ::-1],
    "permuted": lambda: np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "field": lambda: np.zeros((2, 3), dtype=[("a", "i4"), ("b", "f8")])["b"],
    "dates": lambda: np.arange("2020-01", "2021-01", dtype="M8[M]").reshape(3, 4)[:, 1:],
    "objects": lambda: np.array([[1, "a", None], [2, "b", 3.5]], dtype=object)[:, 1:],
    "broadcast": lambda: np.broadcast_to(np.arange(4.0), (3, 4)),
}


@pytest.mark.parametrize("make", GAPPY.values(), ids=GAPPY)
def test_an_array_with_gaps_keeps_its_strides_and_parts_of_it_stay_parts(make):
    array = make()
    whole, part, one = round_trip([array, array[1:], array[:, 1]])
    assert whole.strides == array.strides
    assert whole.flags.writeable == array.flags.writeable
    for found, wanted in ((whole, array), (part, array[1:]), (one, array[:, 1])):
        assert found.tolist() == wanted.tolist()
        assert np.shares_memory(found, whole)


def test_what_lies_in_the_gaps_of_an_array_is_stored_with_what_they_share():
    base = np.arange(12.0).reshape(3, 4)
    two, between = round_trip([base[:, ::2], base[:2, 1]])
    assert (two.tolist(), between.tolist()) == (base[:, ::2].tolist(), [1.0, 5.0])


def test_a_part_of_a_live_array_is_refused_where_that_lies_in_another_way():
    live = np.arange(6.0).reshape(2, 3)
    encoded = pack(live[1:], [live], numbers={id(live): 0}, changed=(), is_new=lambda cls: False)
    found = unpack(encoded.stream, [], encoded.shapes, live=lambda number: live)
    assert found.tolist() == live[1:].tolist()
    other = np.asfortranarray(live)
    with pytest.raises(UndecodableError, match="in another way"):
        unpack(encoded.stream, [], encoded.shapes, live=lambda number: other)


def test_what_is_no_number_is_the_same_object_wherever_it_stood():
    own = float("nan")
    found = round_trip({"values": [np.nan, own, own, math.nan], "key": {math.nan: 1}})
    values = found["values"]
    assert values[0] is np.nan
    assert values[1] is values[2]
    assert values[1] is not np.nan
    assert found["key"][math.nan] == 1
    assert math.copysign(1, round_trip([-own])[0]) == math.copysign(1, -own)


def test_weak_containers_hold_what_comes_with_them_and_nothing_else():
    kept, gone = MakesArrays(1), MakesArrays(2)
    by_name = weakref.WeakValueDictionary(kept=kept, gone=gone)
    holders = [by_name, kept, weakref.WeakSet([kept]), weakref.WeakKeyDictionary({kept: 3})]
    found, value, some, times = round_trip(holders)
    gc.collect()
    assert dict(found) == {"kept": value}
    assert list(some) == [value]
    assert times[value] == 3


def test_a_weak_reference_still_calls_back():
    said, value = [], MakesArrays(1)
    found = round_trip([value, weakref.ref(value, said.append), said])
    made, reference, heard = found
    found.clear()
    del made
    gc.collect()
    assert reference() is None
    assert heard == [reference]


def test_a_thread_that_is_over_comes_back_so():
    thread = threading.Thread(target=int, name="own")
    thread.start()
    thread.join()
    found = round_trip(thread)
    assert (found.name, found.is_alive()) == ("own", False)
    found.join()


def test_what_was_replaced_goes_by_the_name_that_it_had():
    plain = json.dumps
    remember_original("json", "dumps", plain)
    json.dumps = lambda value: "mine"
    try:
        assert round_trip([plain])[0] is plain
    finally:
        json.dumps = plain


def packed(value, live=()):
    numbers = {id(one): number for number, one in enumerate(live)}
    return pack(value, list(live), numbers=numbers, changed=(), is_new=lambda cls: False)


@pytest.mark.parametrize(
    "many",
    [
        pytest.param(lambda n: [Decimal(i) / 7 for i in range(n)], id="decimals"),
        pytest.param(lambda n: list(np.arange(float(n))), id="scalars out of arrays"),
        pytest.param(lambda n: [date.fromordinal(i + 1) for i in range(n)], id="dates"),
    ],
)
def test_of_types_that_pickle_knows_best_no_object_is_looked_at_twice(many):
    few, more = (calls_of(lambda n=n: packed([many(n), None])) for n in (100, 1100))
    assert (more - few) / 1000 < 4  # one for the object, the others are those of its own pickle


def test_what_a_library_holds_comes_back_as_that_and_others_of_its_type_as_copies():
    own = decimal.Context(prec=5)
    held, copy, *_ = round_trip([decimal.DefaultContext, own, Decimal(1)])
    assert held is decimal.DefaultContext
    assert copy is not own
    assert copy.prec == 5


@pytest.mark.parametrize(
    "large", ["x" * 100_000, b"\x80" + b"x" * 100_000, b"\x00" * 70_000], ids=["text", "0x80", "0"]
)
@pytest.mark.parametrize("at", range(3))
def test_what_is_no_number_is_found_beside_what_is_too_large_for_a_frame(large, at):
    nan = float("nan")
    value = [large, {"a": [large, 1]}]
    value.insert(at, [nan, nan])
    made = round_trip([*value, nan])[at]
    assert made[0] is made[1]


def test_what_looks_like_no_number_inside_of_large_bytes_costs_nothing():
    inside = b"x" * 100_000 + struct.pack(">d", math.nan) + b"G" + struct.pack(">d", math.nan)
    assert calls_of(lambda: packed([inside, *range(1000)])) < 500
