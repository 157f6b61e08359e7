"""Pairs of numpy arrays and scalars, and of sparse matrices."""

# ruff: noqa: PLW0108 - a value is made when its pair is asked for, and never before

from __future__ import annotations

import copy
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from awaitly_nb.testing.collisions.battery import Group

__all__ = ["groups"]

# Any, throughout: numpy is imported only where a group is made.


def groups() -> list[Group]:
    """Return the groups of this file."""
    return [_dtypes(), _shapes(), _contents(), _kinds(), _random(), _sparse()]


def _np() -> Any:
    import numpy as np

    return np


def _zeros(dtype: Any, shape: Any = 4) -> Any:
    return _np().zeros(shape, dtype)


def _dtypes() -> Group:
    record = [("a", "i4"), ("b", "f4")]
    return Group(
        "array dtypes",
        differ=(
            ("float64 and float32", lambda: _zeros("f8"), lambda: _zeros("f4")),
            ("float64 and int64", lambda: _zeros("f8"), lambda: _zeros("i8")),
            ("int64 and int32", lambda: _zeros("i8"), lambda: _zeros("i4")),
            ("8 int32 and 4 int64", lambda: _zeros("i4", 8), lambda: _zeros("i8", 4)),
            ("int64 and uint64", lambda: _zeros("i8"), lambda: _zeros("u8")),
            ("bool and uint8", lambda: _zeros("?"), lambda: _zeros("u1")),
            ("int8 and uint8", lambda: _zeros("i1"), lambda: _zeros("u1")),
            ("complex64 and float64", lambda: _zeros("c8"), lambda: _zeros("f8")),
            ("little and big endian", lambda: _zeros("<f8"), lambda: _zeros(">f8")),
            (
                "one value in two byte orders",
                lambda: _np().arange(4, dtype="<i4"),
                lambda: _np().arange(4, dtype=">i4"),
            ),
            ("int64 and datetime64", lambda: _zeros("i8"), lambda: _zeros("M8[ns]")),
            ("datetime64 in ns and us", lambda: _zeros("M8[ns]"), lambda: _zeros("M8[us]")),
            ("datetime64 and timedelta64", lambda: _zeros("M8[s]"), lambda: _zeros("m8[s]")),
            ("float16 and int16", lambda: _zeros("f2"), lambda: _zeros("i2")),
            ("text of 1 and of 2", lambda: _zeros("U1"), lambda: _zeros("U2")),
            ("text and bytes", lambda: _zeros("U1"), lambda: _zeros("S4")),
            ("text and objects", lambda: _np().array(["a"]), lambda: _np().array(["a"], object)),
            (
                "text and StringDType",
                lambda: _np().array(["a"]),
                lambda: _np().array(["a"], _np().dtypes.StringDType()),
            ),
            ("void and bytes", lambda: _zeros("V4"), lambda: _zeros("S4")),
            ("names of fields", lambda: _zeros(record), lambda: _zeros([("a", "i4"), ("c", "f4")])),
            ("order of fields", lambda: _zeros(record), lambda: _zeros(record[::-1])),
            ("types of fields", lambda: _zeros(record), lambda: _zeros([("a", "f4"), ("b", "i4")])),
            ("fields and none", lambda: _zeros([("a", "f8")]), lambda: _zeros("f8")),
            (
                "packed and aligned",
                lambda: _zeros(record),
                lambda: _zeros(_np().dtype([("a", "i1"), ("b", "f4")], align=True)),
            ),
            ("a field of two", lambda: _zeros([("a", "f4", 2)]), lambda: _zeros([("a", "f4", (2, 1))])),
            ("dtype and its name", lambda: _np().dtype("f8"), lambda: "float64"),
        ),
        agree=(
            ("dtype by two names", lambda: _zeros("float64"), lambda: _zeros("d")),
            ("dtype objects", lambda: _np().dtype("i4"), lambda: _np().dtype(_np().int32)),
            ("padding of an aligned dtype", lambda: _padded(0), lambda: _padded(255)),
            ("padding of long doubles", lambda: _long_doubles(0), lambda: _long_doubles(255)),
        ),
        needs=("numpy",),
    )


def _padded(fill: int) -> Any:
    np = _np()
    raw = np.full(3 * 8, fill, np.uint8)
    records = raw.view(np.dtype([("a", "i1"), ("b", "f4")], align=True))
    records["a"], records["b"] = 1, 2
    return records


def _long_doubles(fill: int) -> Any:
    np = _np()
    size = np.dtype("g").itemsize
    values = np.full(3 * size, fill, np.uint8).view("g")
    raw = values.view(np.uint8).reshape(3, size)
    raw[:] = np.array([1.5] * 3, "g").view(np.uint8).reshape(3, size)
    if np.finfo("g").nmant == 63:  # noqa: PLR2004 - x87: 10 bytes of 16 are used
        raw[:, 10:] = fill
    return values


def _shapes() -> Group:
    six = range(6)
    return Group(
        "array shapes and layout",
        differ=(
            ("(2, 3) and (3, 2)", lambda: _ones((2, 3)), lambda: _ones((3, 2))),
            ("(6,) and (2, 3)", lambda: _ones(6), lambda: _ones((2, 3))),
            ("(1,) and ()", lambda: _ones(1), lambda: _ones(())),
            ("(3,) and (3, 1)", lambda: _ones(3), lambda: _ones((3, 1))),
            ("(0, 3) and (3, 0)", lambda: _ones((0, 3)), lambda: _ones((3, 0))),
            ("(0,) and (0, 0)", lambda: _ones(0), lambda: _ones((0, 0))),
            ("an array and its transpose", lambda: _square(), lambda: _square().T),
            ("C and F order of one buffer", lambda: _square(), lambda: _square().reshape(-1).reshape(3, 3, order="F")),
            ("an array and its reverse", lambda: _np().array(six), lambda: _np().array(six)[::-1]),
            ("a slice and the whole", lambda: _np().array(six)[:5], lambda: _np().array(six)),
            ("an array and a list", lambda: _np().array([1, 2]), lambda: [1, 2]),
            ("an array of no dimension and a scalar", lambda: _np().array(1.0), lambda: _np().float64(1.0)),
        ),
        agree=(
            ("C and F order of one content", lambda: _square(), lambda: _np().asfortranarray(_square())),
            ("a strided view and its copy", lambda: _np().arange(9)[::2], lambda: _np().arange(9)[::2].copy()),
            ("reversed twice", lambda: _np().arange(9)[::-1][::-1], lambda: _np().arange(9)),
            ("a broadcast row and its copy", lambda: _broadcast(), lambda: _broadcast().copy()),
            ("a memory map and its array", lambda: _mapped(), lambda: _np().arange(9.0)),
            ("read-only and writable", lambda: _read_only(), lambda: _np().arange(9)),
            ("a transposed copy and a view", lambda: _square().T, lambda: _square().T.copy()),
            ("a large strided view and its copy", lambda: _wide()[:, ::2], lambda: _wide()[:, ::2].copy()),
            (
                "structured view and copy",
                lambda: _zeros([("a", "i4"), ("b", "f8")], 6)[::2],
                lambda: _zeros([("a", "i4"), ("b", "f8")], 3),
            ),
        ),
        needs=("numpy",),
    )


def _ones(shape: Any) -> Any:
    return _np().ones(shape)


def _square() -> Any:
    return _np().arange(9.0).reshape(3, 3)


def _wide() -> Any:
    return _np().arange(600_000).reshape(600, 1000)


def _broadcast() -> Any:
    return _np().broadcast_to(_np().arange(3), (4, 3))


def _mapped() -> Any:
    np = _np()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "array")
        path.write_bytes(np.arange(9.0).tobytes())
        return np.memmap(path, np.float64, "c")


def _read_only() -> Any:
    array = _np().arange(9)
    array.flags.writeable = False
    return array


def _contents() -> Group:
    return Group(
        "array contents",
        differ=(
            ("one element", lambda: _np().array([1, 2, 3]), lambda: _np().array([1, 2, 4])),
            ("order of elements", lambda: _np().array([1, 2, 3]), lambda: _np().array([3, 2, 1])),
            ("0.0 and -0.0", lambda: _np().array([0.0]), lambda: _np().array([-0.0])),
            ("NaN and 0", lambda: _np().array([_np().nan]), lambda: _np().array([0.0])),
            ("NaT and the epoch", lambda: _np().array(["NaT"], "M8[s]"), lambda: _np().array([0], "M8[s]")),
            ("the last bit", lambda: _np().array([1.0]), lambda: _np().array([_np().nextafter(1.0, 2.0)])),
            ("one of a million, in the middle", lambda: _million(0), lambda: _million(1)),
            ("two swapped in a million", lambda: _swapped(5, 700_000), lambda: _swapped(6, 700_000)),
            ("objects 1 and True", lambda: _objects(1, 2), lambda: _objects(bool(1), 2)),
            ("objects None and NaN", lambda: _objects(None), lambda: _objects(float("nan"))),
            ("objects '1' and 1", lambda: _objects("1"), lambda: _objects(1)),
            ("where object strings end", lambda: _objects("a", "bc"), lambda: _objects("ab", "c")),
            ("lists inside", lambda: _objects([1], [2]), lambda: _objects([1], [3])),
            ("a field", lambda: _np().array([(1, 2.0)], "i4,f4"), lambda: _np().array([(1, 3.0)], "i4,f4")),
        ),
        agree=(
            ("made twice", lambda: _np().arange(5), lambda: _np().array([0, 1, 2, 3, 4])),
            ("objects made twice", lambda: _objects("ab", 1.5), lambda: _objects("".join("ab"), 3 / 2)),
            ("a million made twice", lambda: _million(0), lambda: _million(0)),
            ("object NaNs", lambda: _objects(float("nan")), lambda: _objects(-float("nan"))),
        ),
        needs=("numpy",),
    )


def _million(middle: int) -> Any:
    array = _np().zeros(1_000_000)
    array[500_000] = middle
    return array


def _swapped(i: int, j: int) -> Any:
    array = _np().arange(1_000_000)
    array[[i, j]] = array[[j, i]]
    return array


def _objects(*items: object) -> Any:
    array = _np().empty(len(items), object)
    array[:] = items
    return array


def _kinds() -> Group:
    return Group(
        "kinds of arrays and scalars",
        differ=(
            ("float64 scalar and float", lambda: _np().float64(1), lambda: 1.0),
            ("int64 scalar and int", lambda: _np().int64(1), lambda: 1),
            ("int32 and int64 scalars", lambda: _np().int32(1), lambda: _np().int64(1)),
            ("bool_ and bool", lambda: _np().bool_(True), lambda: True),  # noqa: FBT003
            ("str_ and str", lambda: _np().str_("a"), lambda: "a"),
            ("bytes_ and bytes", lambda: _np().bytes_(b"a"), lambda: b"a"),
            ("datetime64 in s and ms", lambda: _np().datetime64(0, "s"), lambda: _np().datetime64(0, "ms")),
            ("masked and plain", lambda: _masked([0, 0]), lambda: _np().array([1, 2])),
            ("the mask", lambda: _masked([0, 1]), lambda: _masked([1, 0])),
            ("the fill value", lambda: _masked([0, 1]), lambda: _masked([0, 1], fill_value=7)),
            ("under the mask", lambda: _masked([0, 1]), lambda: _masked([0, 1], data=(1, 3))),
            ("array and matrix", lambda: _np().ones((2, 2)), lambda: _np().ones((2, 2)).view(_np().matrix)),
            (
                "record and structured array",
                lambda: _zeros([("a", "f8")]).view(_np().recarray),
                lambda: _zeros([("a", "f8")]),
            ),
            ("two ufuncs", lambda: _np().add, lambda: _np().multiply),
        ),
        agree=(
            ("scalar NaNs", lambda: _np().float64("nan"), lambda: -_np().float64("nan")),
            ("a masked array made twice", lambda: _masked([0, 1]), lambda: copy.deepcopy(_masked([0, 1]))),
            ("no mask and an empty mask", lambda: _np().ma.array([1, 2]), lambda: _masked([0, 0])),
        ),
        needs=("numpy",),
    )


def _random() -> Group:
    return Group(
        "random state",
        differ=(
            ("seeds of a Generator", lambda: _np().random.default_rng(1), lambda: _np().random.default_rng(2)),
            ("a Generator, used and fresh", lambda: _used(), lambda: _np().random.default_rng(1)),
            ("seeds of a RandomState", lambda: _np().random.RandomState(1), lambda: _np().random.RandomState(2)),
        ),
        agree=(("a Generator seeded twice", lambda: _np().random.default_rng(1), lambda: _np().random.default_rng(1)),),
        needs=("numpy",),
        versioned=True,
    )


def _masked(mask: list[int], *, data: tuple[int, ...] = (1, 2), fill_value: int | None = None) -> Any:
    return _np().ma.array(data, mask=mask, fill_value=fill_value)


def _used() -> Any:
    generator = _np().random.default_rng(1)
    generator.random()
    return generator


def _sparse() -> Group:
    return Group(
        "sparse matrices",
        differ=(
            ("csr and csc", lambda: _matrix("csr"), lambda: _matrix("csc")),
            ("csr and coo", lambda: _matrix("csr"), lambda: _matrix("coo")),
            ("matrix and array", lambda: _matrix("csr"), lambda: _sp().csr_array(_matrix("csr"))),
            ("dtype", lambda: _matrix("csr"), lambda: _matrix("csr").astype("f4")),
            ("shape, nothing stored", lambda: _sp().csr_matrix((2, 3)), lambda: _sp().csr_matrix((2, 4))),
            ("a stored value", lambda: _matrix("csr"), lambda: _matrix("csr") * 2),
            ("place of a value", lambda: _matrix("csr"), lambda: _sp().csr_matrix([[0, 1.0], [0, 2.0]])),
            ("a stored zero and none", lambda: _stored_zero(), lambda: _sp().csr_matrix((1, 2))),
            ("sparse and dense", lambda: _matrix("csr"), lambda: _matrix("csr").toarray()),
            ("rows of a lil", lambda: _matrix("lil"), lambda: _sp().lil_matrix([[0, 1.0], [0, 2.0]])),
            (
                "offsets of a dia",
                lambda: _sp().dia_matrix(([[1, 2]], [0]), (2, 2)),
                lambda: _sp().dia_matrix(([[1, 2]], [1]), (2, 2)),
            ),
        ),
        agree=(
            ("a csr, its flags asked or not", lambda: _asked(), lambda: _matrix("csr")),
            ("a coo made twice", lambda: _matrix("coo"), lambda: copy.deepcopy(_matrix("coo"))),
            ("a dok made twice", lambda: _matrix("dok"), lambda: _matrix("dok").copy()),
        ),
        needs=("numpy", "scipy"),
    )


def _sp() -> Any:
    return import_module("scipy.sparse")  # no stubs


def _matrix(kind: str) -> Any:
    return getattr(_sp(), f"{kind}_matrix")([[1.0, 0], [0, 2.0]])


def _stored_zero() -> Any:
    return _sp().csr_matrix(([0.0], ([0], [1])), (1, 2))


def _asked() -> Any:
    matrix = _matrix("csr")
    _ = matrix.has_sorted_indices, matrix.has_canonical_format
    return matrix
