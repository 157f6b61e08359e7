"""Pickles that share memory and refer to live objects."""

import numpy as np

from awaitly_nb.codec import pack, unpack


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
