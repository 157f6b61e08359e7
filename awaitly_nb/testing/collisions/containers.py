"""Pairs of lists, dicts, sets and their kin."""

# ruff: noqa: PLW0108, PIE807 - a value is made when its pair is asked for, and never before

from __future__ import annotations

import struct
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from types import MappingProxyType, SimpleNamespace
from typing import Any

from awaitly_nb.testing.collisions.battery import Group

__all__ = ["groups"]

Point = namedtuple("Point", "x y")
Size = namedtuple("Size", "x y")


class Words(str):
    """A subclass of str."""

    __slots__ = ()


class Rows(list[int]):
    """A list with a name of its own."""


def groups() -> list[Group]:
    """Return the groups of this file."""
    return [_sequences(), _mappings(), _long(), _aliasing()]


def _sequences() -> Group:
    return Group(
        "sequences and sets",
        differ=(
            ("order of a list", lambda: [1, 2], lambda: [2, 1]),
            ("list and tuple", lambda: [1, 2], lambda: (1, 2)),
            ("where a nested list begins", lambda: [[1], 2], lambda: [1, [2]]),
            ("where a nested list ends", lambda: [1, [2, 3]], lambda: [[1, 2], 3]),
            ("[] and [[]]", lambda: [], lambda: [[]]),
            ("[] and None", lambda: [], lambda: None),
            ("[] and ()", lambda: [], lambda: ()),
            ("[] and {}", lambda: [], lambda: {}),
            ("1 and (1,)", lambda: 1, lambda: (1,)),
            ("[None] and []", lambda: [None], lambda: []),
            ("['ab'] and ['a', 'b']", lambda: ["ab"], lambda: ["a", "b"]),
            ("where a string ends", lambda: ["a", "bc"], lambda: ["ab", "c"]),
            ("a separator inside", lambda: ["a,b"], lambda: ["a", "b"]),
            ("where bytes end", lambda: [b"a", b"bc"], lambda: [b"ab", b"c"]),
            ("three and four items", lambda: [1] * 3, lambda: [1] * 4),
            ("[1, 2] and [1, 2.0]", lambda: [1, 2], lambda: [1, 2.0]),
            ("[0] and [False]", lambda: [0], lambda: [False]),
            ("[0.0] and [-0.0]", lambda: [0.0], lambda: [-0.0]),
            ("[1, 1, 2] and [1, 2, 2]", lambda: [1, 1, 2], lambda: [1, 2, 2]),
            ("set and frozenset", lambda: {1}, lambda: frozenset({1})),
            ("set and list", lambda: {1, 2}, lambda: [1, 2]),
            ("{1} and {True}", lambda: {1}, lambda: {True}),
            ("{1} and {1.0}", lambda: {1}, lambda: {1.0}),
            ("{} and set()", lambda: {}, lambda: set()),
            ("sets of tuples", lambda: {(1, 2)}, lambda: {(2, 1)}),
            ("named tuple and tuple", lambda: Point(1, 2), lambda: (1, 2)),
            ("two named tuples", lambda: Point(1, 2), lambda: Size(1, 2)),
            ("deque and list", lambda: deque([1]), lambda: [1]),
            ("maxlen of a deque", lambda: deque([1]), lambda: deque([1], 3)),
            ("a subclass of list", lambda: [1], lambda: Rows([1])),
            ("array and list", lambda: array("q", [1]), lambda: [1]),
            ("type of an array", lambda: array("i", [1]), lambda: array("I", [1])),
            ("format of a view", lambda: memoryview(bytes(8)), lambda: memoryview(bytes(8)).cast("q")),
        ),
        agree=(
            ("a list made twice", lambda: [1, "a", None], lambda: list(reversed([None, "a", 1]))),
            ("order of a set", lambda: {"a", "b", "c", "d"}, lambda: {"d", "c", "b", "a"}),
            ("order of a nested frozenset", lambda: {frozenset("abc"), 1}, lambda: {1, frozenset("cba")}),
            ("history of a set", lambda: _grown_and_shrunk(), lambda: {1, 2}),
            ("a list with NaN", lambda: [float("nan")], lambda: [-float("nan")]),
            ("an array made twice", lambda: array("d", [1, 2]), lambda: array("d", [1.0, 2.0])),
            ("slices written twice", lambda: slice(2), lambda: slice(None, 2, None)),
            ("tuples, interned or not", lambda: (1, 2, 3), lambda: tuple(range(1, 4))),
        ),
    )


def _grown_and_shrunk() -> set[int]:
    items = set(range(1000))
    items.difference_update(set(range(1000)) - {1, 2})
    return items


def _mappings() -> Group:
    return Group(
        "mappings",
        differ=(
            ("order of a dict", lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
            ("keys and values swapped", lambda: {1: 2}, lambda: {2: 1}),
            ("values swapped", lambda: {"a": 1, "b": 2}, lambda: {"a": 2, "b": 1}),
            ("dict and its items", lambda: {"a": 1}, lambda: [("a", 1)]),
            ("keys 1 and True", lambda: {1: "a"}, lambda: {True: "a"}),
            ("keys 1 and '1'", lambda: {1: "a"}, lambda: {"1": "a"}),
            ("keys 1 and 1.0", lambda: {1: "a"}, lambda: {1.0: "a"}),
            ("keys (1,) and (True,)", lambda: {(1,): "a"}, lambda: {(True,): "a"}),
            ("keys None and 'None'", lambda: {None: 1}, lambda: {"None": 1}),
            ("a None value and no value", lambda: {"a": None}, lambda: {}),
            ("{'a': 1} and {'a': 1.0}", lambda: {"a": 1}, lambda: {"a": 1.0}),
            ("nested type", lambda: {"a": {"b": 1}}, lambda: {"a": {"b": True}}),
            ("one level deeper", lambda: {"a": {"b": 1}}, lambda: {"a": {"b": {"b": 1}}}),
            ("where a key ends", lambda: {"ab": "c"}, lambda: {"a": "bc"}),
            ("dict and OrderedDict", lambda: {"a": 1}, lambda: OrderedDict(a=1)),
            ("dict and defaultdict", lambda: {"a": 1}, lambda: defaultdict(int, a=1)),
            ("factory of a defaultdict", lambda: defaultdict(int), lambda: defaultdict(list)),
            ("dict and Counter", lambda: {"a": 1}, lambda: Counter(a=1)),
            ("dict and proxy", lambda: {"a": 1}, lambda: MappingProxyType({"a": 1})),
            ("dict and UserDict", lambda: {"a": 1}, lambda: UserDict(a=1)),
            ("dict and namespace", lambda: {"a": 1}, lambda: SimpleNamespace(a=1)),
            ("where a ChainMap is cut", lambda: ChainMap({1: 2, 3: 4}), lambda: ChainMap({1: 2}, {3: 4})),
            ("keys and values views", lambda: {1: 1}.keys(), lambda: {1: 1}.values()),
        ),
        agree=(
            ("a dict made twice", lambda: {"a": 1, "b": [2]}, lambda: dict(zip("ab", (1, [2]), strict=True))),
            ("a dict that lost a key", lambda: _without({"x": 0, "a": 1}, "x"), lambda: {"a": 1}),
            ("order of a namespace", lambda: SimpleNamespace(a=1, b=2), lambda: _namespace("b", 2, "a", 1)),
            ("a Counter made twice", lambda: Counter("aab"), lambda: Counter({"a": 2, "b": 1})),
        ),
    )


def _without(mapping: dict[str, int], key: str) -> dict[str, int]:
    del mapping[key]
    return mapping


def _namespace(*pairs: Any) -> SimpleNamespace:
    value = SimpleNamespace()
    for name, item in zip(pairs[::2], pairs[1::2], strict=True):
        setattr(value, name, item)
    return value


_NAN = float("nan")
_ODD_NAN = struct.unpack("<d", bytes.fromhex("010000000000f8ff"))[0]


def _rows(count: int, *, reverse: bool = False, **last: object) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [{"number": i, "name": f"row {i}", "score": i / 2} for i in range(count)]
    rows[-1].update(last)
    if reverse:
        rows[-1] = dict(reversed(rows[-1].items()))
    return rows


def _shared(count: int, *, copied: bool = False) -> list[dict[str, object]]:
    part = ["a", {"b": 1.5}]
    return [{"part": ["a", {"b": 1.5}] if copied else part} for _ in range(count)]


def _set_of(*more: str) -> set[str]:
    return {*map(str, range(100)), *more}


def _floats(*more: float) -> set[float]:
    return {*map(float, range(100)), *more}


def _long() -> Group:
    many = 10_000
    return Group(
        "long lists",
        differ=(
            ("the last of 10,000 ints", lambda: list(range(many)), lambda: [*range(many - 1), -1]),
            ("one True among 10,000 ones", lambda: [1] * many, lambda: [1] * (many - 1) + [True]),
            ("one 1.0 among 10,000 ones", lambda: [1] * many, lambda: [1] * (many - 1) + [1.0]),
            ("one -0.0 among 10,000 zeros", lambda: [0.0] * many, lambda: [0.0] * (many - 1) + [-0.0]),
            ("all ints and all floats", lambda: [1] * many, lambda: [1.0] * many),
            ("all zeros and all False", lambda: [0] * many, lambda: [False] * many),
            ("where strings end", lambda: ["ab", "c"] * many, lambda: ["a", "bc"] * many),
            ("text and bytes", lambda: ["ab"] * many, lambda: [b"ab"] * many),
            ("one string among 10,000", lambda: ["ab"] * many, lambda: ["ab"] * (many - 1) + ["aB"]),
            ("4,096 and 4,097 items", lambda: [0] * 4096, lambda: [0] * 4097),
            ("one row of 10,000", lambda: _rows(many), lambda: _rows(many, name="b")),
            ("1 and True in one row", lambda: _rows(many, number=1), lambda: _rows(many, number=True)),
            ("0.0 and -0.0 in one row", lambda: _rows(many, number=0.0), lambda: _rows(many, number=-0.0)),
            ("NaN and infinity in one row", lambda: _rows(many, number=_NAN), lambda: _rows(many, number=float("inf"))),
            (
                "bytes and bytearray in one row",
                lambda: _rows(many, name=b"x"),
                lambda: _rows(many, name=bytearray(b"x")),
            ),
            ("bytes and a view in one row", lambda: _rows(many, name=b"x"), lambda: _rows(many, name=memoryview(b"x"))),
            (
                "bytes and an array in one row",
                lambda: _rows(many, name=b"x"),
                lambda: _rows(many, name=array("b", b"x")),
            ),
            ("a list and a tuple in one row", lambda: _rows(many, name=[1]), lambda: _rows(many, name=(1,))),
            (
                "a set and a frozenset in one row",
                lambda: _rows(many, name={1}),
                lambda: _rows(many, name=frozenset({1})),
            ),
            ("order of keys in one row", lambda: _rows(many, number=1), lambda: _rows(many, reverse=True, number=1)),
            ("a subclass of str in one row", lambda: _rows(many, name="x"), lambda: _rows(many, name=Words("x"))),
            ("a subclass of dict in one row", lambda: _rows(many, name={}), lambda: _rows(many, name=OrderedDict())),
            ("a list of rows and a tuple of them", lambda: _rows(many), lambda: tuple(_rows(many))),
            ("one of 10,000 in a set", lambda: set(map(str, range(many))), lambda: {*map(str, range(1, many)), "x"}),
            ("text and bytes in a set", lambda: set(map(str, range(many))), lambda: {b"%d" % i for i in range(many)}),
            ("ints and floats in a set", lambda: set(range(many)), lambda: set(map(float, range(many)))),
            ("a set and a frozenset of 10,000", lambda: set(range(many)), lambda: frozenset(range(many))),
            (
                "pairs the other way round",
                lambda: {(i, i + 1) for i in range(many)},
                lambda: {(i + 1, i) for i in range(many)},
            ),
            ("a cut at 4,096", lambda: [[0] * 4096, [0]], lambda: [[0] * 4095, [0, 0]]),
            ("Nones and empty strings", lambda: [None] * many, lambda: [""] * many),
            ("where the Nones are", lambda: ["a", None] * many, lambda: [None, "a"] * many),
            ("None and 'None' among strings", lambda: ["a", None] * many, lambda: ["a", "None"] * many),
            ("None and 0 among ints", lambda: [1, None] * many, lambda: [1, 0] * many),
            ("int bits read as a float", lambda: [4607182418800017408] * 100, lambda: [1.0] * 100),
        ),
        agree=(
            (
                "rows made twice",
                lambda: _rows(many, number=0.5),
                lambda: [dict(row) for row in _rows(many, number=0.5)],
            ),
            ("one NaN and another in a row", lambda: _rows(many, number=_NAN), lambda: _rows(many, number=_ODD_NAN)),
            ("rows that share a part and rows that do not", lambda: _shared(many), lambda: _shared(many, copied=True)),
            ("a surrogate in a set", lambda: _set_of("\ud800"), lambda: {"\ud800"} | _set_of()),
            ("a large set grown in another order", lambda: set(range(many)), lambda: {*range(many - 1, -1, -1)}),
            ("one NaN and another in a set", lambda: _floats(_NAN), lambda: _floats(_ODD_NAN)),
            ("10,000 ints made twice", lambda: list(range(many)), lambda: [*range(many)]),
            ("10,000 floats with NaN", lambda: [0.5, float("nan")] * many, lambda: [0.5, -float("nan")] * many),
            ("10,000 floats with both infinities", lambda: [1e308, -1e308] * many, lambda: [1e308, -1e308] * many),
            ("large and small ints", lambda: [2**70, 1] * many, lambda: [4**35, 1] * many),
        ),
    )


def _aliasing() -> Group:
    return Group(
        "shared parts",
        differ=(("a shared and another part", lambda: [[1]] * 2, lambda: [[1], [2]]),),
        agree=(
            ("one part twice, two equal parts", lambda: [[1]] * 2, lambda: [[1], [1]]),
            ("a string twice, two equal strings", lambda: ["x" * 50] * 2, lambda: ["x" * 50, "".join(["x"] * 50)]),
            ("a doubling tree of 30 levels", lambda: _doubled(30), lambda: _doubled(30)),
        ),
    )


def _doubled(levels: int) -> list[Any]:
    tree: list[Any] = []
    for _ in range(levels):
        tree = [tree, tree]
    return tree
