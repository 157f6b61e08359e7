"""Pairs of lists, dicts, sets and their kin."""

# ruff: noqa: PLW0108, PIE807 - a value is made when its pair is asked for, and never before

from __future__ import annotations

from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from types import MappingProxyType, SimpleNamespace
from typing import Any

from awaitly_nb.testing.collisions.battery import Group

__all__ = ["groups"]

Point = namedtuple("Point", "x y")
Size = namedtuple("Size", "x y")


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
            ("a cut at 4,096", lambda: [[0] * 4096, [0]], lambda: [[0] * 4095, [0, 0]]),
            ("Nones and empty strings", lambda: [None] * many, lambda: [""] * many),
            ("where the Nones are", lambda: ["a", None] * many, lambda: [None, "a"] * many),
            ("None and 'None' among strings", lambda: ["a", None] * many, lambda: ["a", "None"] * many),
            ("None and 0 among ints", lambda: [1, None] * many, lambda: [1, 0] * many),
            ("int bits read as a float", lambda: [4607182418800017408] * 100, lambda: [1.0] * 100),
        ),
        agree=(
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
