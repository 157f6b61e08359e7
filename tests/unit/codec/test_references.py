"""Pickles that share memory and refer to live objects."""

import gc
import json
import math
import threading
import weakref

import numpy as np

from awaitly_nb.codec import pack, remember_original, unpack


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
