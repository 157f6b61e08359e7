"""Fingerprints of single values: refusals and their paths, user code that runs, stand-ins, files, names."""

import copyreg
import dataclasses
import datetime
import fractions
import io
import itertools
import logging
import os
import pickle
import re
import socket
import sqlite3
import sys
import threading
import typing
import uuid
from decimal import Decimal
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.errors import MisuseError, UnkeyableError
from awaitly_nb.keys import fingerprint
from awaitly_nb.keys.values_objects import file, file_digest, register_key
from tests.unit.counted_calls import calls_of


def refusal(value, path="value"):
    with pytest.raises(UnkeyableError) as caught:
        fingerprint(value, path=path)
    return caught.value


def test_a_fingerprint_is_32_lower_hexadecimal_digits():
    assert len(key := fingerprint({"a": [1, 2.5, None]})) == 32
    assert set(key) <= set("0123456789abcdef")


# Frozen, so that a change of the encoding cannot pass unseen: it would miss every entry that users have.
@pytest.mark.parametrize(
    ("value", "key"),
    [
        (None, "13b8ba17636fd15619483a95a5ef2963"),
        (1, "05034f896cd02f380cbcdfb7278ad14e"),
        ("text", "e53ed334701a0fe068829af195e2d184"),
        ([1, 2.5, {"a": (b"x", {3})}], "e65cb3476315c9a2bd40b2f372b50e2c"),
        (list(range(5000)), "b8793c90670b6713ea86caefa2956ca3"),
        (Path("a/b"), "2ca0d3bf64a3dda4045af2407d4058f9"),
    ],
)
def test_keys_of_this_encoding_are_frozen(value, key):
    if os.name == "nt" and isinstance(value, Path):
        pytest.skip("a Windows path is another class")
    assert fingerprint(value) == key


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter([1, 2]),
        lambda: iter((1, 2)),
        lambda: iter("ab"),
        lambda: iter("é1"),
        lambda: iter(b"ab"),
        lambda: iter(range(2)),
        lambda: iter(range(1 << 80, (1 << 80) + 2)),
        lambda: reversed([1, 2]),
        lambda: zip([1, 2], "ab", strict=True),
        lambda: map(str, [1, 2]),
        lambda: filter(None, [1, 2]),
    ],
)
def test_an_iterator_counts_by_what_it_goes_over_and_how_far_it_is(make):
    one, other = make(), make()
    start = fingerprint(one)
    assert fingerprint(other) == start
    first = next(one)
    assert fingerprint(one) != start
    assert [first, *one] == list(make())  # looking used nothing up


def test_a_count_is_where_it_is_and_a_match_is_what_it_found():
    one = itertools.count(3, 2)
    start = fingerprint(one)
    assert fingerprint(itertools.count(3, 2)) == start != fingerprint(itertools.count(3))
    assert next(one) == 3
    assert fingerprint(one) == fingerprint(itertools.count(5, 2))
    found = [re.search("b+", text) for text in ("abb", "abb", "ab", "cbb")]
    marks = [fingerprint(match) for match in found]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: (i for i in ()), "use it up"),
        (lambda: enumerate([1]), "use it up"),
        (lambda: itertools.count(0.5), "use it up"),
        (lambda: itertools.cycle([1]), "use it up"),
        (lambda: zip([1], (i for i in ()), strict=False), "use it up"),
        (threading.Lock, "no state"),
        (threading.RLock, "no state"),
        (lambda: sqlite3.connect(":memory:"), "connection"),
        (socket.socket, "no state"),
        (object, "bare object"),
        (lambda: sys._getframe(), "no state"),
    ],
)
def test_what_has_no_content_is_refused_with_a_way_out(make, word):
    value = make()
    error = refusal({"model": [1, value]}, "cfg")
    assert error.path == "cfg['model'][1]"
    assert str(error).startswith("cannot key cfg['model'][1] (")
    assert word in str(error)
    assert any(way in str(error) for way in ("key=", "pass ", "use an enum"))
    if hasattr(value, "close"):
        value.close()


def test_an_open_file_is_refused_and_one_in_memory_is_not(tmp_path):
    place = tmp_path / "f"
    place.write_text("x")
    with place.open() as stream:
        assert "aw.file" in str(refusal(stream))
    assert fingerprint(io.BytesIO(b"a")) == fingerprint(io.BytesIO(b"a")) != fingerprint(io.BytesIO(b"b"))
    assert fingerprint(io.StringIO("a")) != fingerprint(io.BytesIO(b"a"))


def test_figures_are_refused():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert "figure" in str(refusal(figure))


def test_a_lazy_polars_frame_is_refused():
    polars = pytest.importorskip("polars")
    assert ".collect()" in str(refusal(polars.DataFrame({"a": [1]}).lazy()))


class Node:
    def __init__(self, parent=None):
        self.parent = parent
        self.children = []
        if parent is not None:
            parent.children.append(self)


def tree(*counts):
    root = Node()
    for count in counts:
        child = Node(root)
        for _ in range(count):
            Node(child)
    return root


def loop_of(length):
    first = last = []
    for _ in range(length - 1):
        last.append([])
        last = last[0]
    last.append(first)
    return first


def ring(*names):
    nodes = [{"name": name} for name in names]
    for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        node["next"] = following
    return nodes[0]


def test_what_leads_back_to_itself_has_the_key_of_its_shape():
    assert fingerprint(tree(2, 1)) == fingerprint(tree(2, 1))
    different = [tree(), tree(2, 1), tree(1, 2), tree(2), tree(2, 1).children[0], tree(2, 1).children[1]]
    different += [loop_of(1), loop_of(2), loop_of(3), ring("a"), ring("a", "b"), ring("b", "a"), ring("a", "a")]
    assert len({fingerprint(value) for value in different}) == len(different)


def test_what_leads_back_is_the_same_wherever_it_stands_and_after_its_pickle():
    root = tree(3, 1)
    inside, twice = {"a": [tree(3, 1)], "b": 1}, [root, root]
    assert fingerprint(inside) == fingerprint({"a": [root], "b": 1})
    assert fingerprint(twice) == fingerprint([tree(3, 1), tree(3, 1)])  # what is closed in itself may be shared or not
    for value in (root, inside, twice, ring("a", "b"), root.children[1]):
        assert fingerprint(pickle.loads(pickle.dumps(value))) == fingerprint(value)


def test_which_ancestor_is_meant_counts():
    def grandchild(up):
        root = Node()
        child = Node(root)
        leaf = Node(child)
        leaf.parent = (root, child, leaf)[up]
        return root

    assert len({fingerprint(grandchild(up)) for up in range(3)}) == 3


def test_objects_that_lead_back_through_sets_do_not_depend_on_the_order_of_the_set():
    def friends(*names):
        class_of = Node()
        class_of.children = set()
        for name in names:
            friend = Node()
            friend.name, friend.parent = name, class_of
            class_of.children.add(friend)
        return class_of

    assert fingerprint(friends("a", "b", "c")) == fingerprint(friends("c", "b", "a")) != fingerprint(friends("a", "b"))


def test_a_web_of_sets_is_refused_and_ends():
    nodes = [Node() for _ in range(30)]
    for node in nodes:
        node.children = set(nodes)
    assert "through sets" in str(refusal(nodes[0], "web"))


def test_a_part_without_content_is_named_inside_a_tree_that_leads_back():
    root = tree(1)
    root.children[0].lock = threading.Lock()
    assert refusal(root, "tree").path == "tree.children[0].lock"


def test_a_long_chain_of_nodes_that_know_each_other_is_read_in_linear_time():
    nodes = [Node() for _ in range(60)]
    for node, following in itertools.pairwise(nodes):
        node.following, following.before = following, node
        node.first = following.first = nodes[0]
    assert len(fingerprint(nodes[0])) == 32  # as paths there are 2**60


def test_endless_depth_is_refused_not_a_recursion_error():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    try:
        assert "too deeply" in str(refusal(deep))
    finally:
        while deep:  # taken apart by hand, as collecting it recurses too
            deep = deep.pop()


@dataclasses.dataclass
class Config:
    model: object
    sizes: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    model: object


class Pair(typing.NamedTuple):
    first: object
    second: object


def test_paths_name_fields_items_and_members():
    lock = threading.Lock()
    assert refusal(Config(lock), "cfg").path == "cfg.model"
    assert refusal(Frozen({"x": lock}), "cfg").path == "cfg.model['x']"
    assert refusal(Pair(1, lock), "pair").path == "pair.second"
    assert refusal({1: {"a": (0, lock)}}, "v").path == "v[1]['a'][1]"
    assert refusal(Config(1, [lock]), "cfg").path == "cfg.sizes[0]"
    assert refusal({"k": {lock}}, "v").path == "v['k']<member lock>"


def test_paths_name_columns_and_rows():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": pandas.Series([1, threading.Lock()], dtype=object)})
    assert refusal(frame, "raw").path == "raw['b'][1]"


def test_a_refusal_survives_pickling():
    error = refusal({"a": threading.Lock()}, "cfg")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path) == (str(error), "cfg['a']")


class Hostile:
    def __init__(self, raised):
        self.raised = raised

    def __reduce_ex__(self, protocol):
        raise self.raised

    def __repr__(self):
        raise self.raised

    def __eq__(self, other):
        raise self.raised

    __hash__ = object.__hash__

    def __getattr__(self, name):
        raise self.raised


@pytest.mark.parametrize(
    "raised", [ValueError("v"), RecursionError(), MemoryError(), StopIteration(), AttributeError("x")]
)
def test_code_of_the_value_raises_nothing_but_unkeyable(raised):
    assert isinstance(refusal([Hostile(raised)]), UnkeyableError)
    assert isinstance(refusal({Hostile(raised): 1}), UnkeyableError)
    assert isinstance(refusal({Hostile(raised)}), UnkeyableError)
    assert refusal({Hostile(raised): threading.Lock()}).path.startswith("value<key 0>")


def test_an_interrupt_passes():
    with pytest.raises(KeyboardInterrupt):
        fingerprint([Hostile(KeyboardInterrupt())])


class Odd:
    def __init__(self, answer):
        self.answer = answer

    def __reduce_ex__(self, protocol):
        return self.answer


@pytest.mark.parametrize(
    "answer", [None, 3, (), (1,), (Odd, 3), (Odd, (), {}, iter([object()])), (1, 2, 3, 4, 5, 6, 7)]
)
def test_a_strange_reduction_is_refused_or_read_but_never_raises(answer):
    assert isinstance(refusal(Odd(answer)), UnkeyableError)


class Keyed:
    def __init__(self, content, noise=None):
        self.content, self.noise = content, noise

    def __awaitly_key__(self):
        if self.content == "raise":
            raise ValueError("no key today")
        return self.content


def test_a_class_gives_its_own_stand_in():
    assert fingerprint(Keyed(1, "a")) == fingerprint(Keyed(1, "b")) != fingerprint(Keyed(2, "a"))
    assert fingerprint(Keyed(1)) != fingerprint(1)
    assert "no key today" in str(refusal([Keyed("raise")]))
    assert refusal([Keyed(threading.Lock())]).path == "value[0].__awaitly_key__()"
    assert len(fingerprint(Keyed)) == 32  # the class itself is no instance


class Registered:
    def __init__(self, a, lock):
        self.a, self.lock = a, lock


class Derived(Registered):
    pass


def test_a_registered_type_and_its_subclasses_are_read_by_the_function():
    refusal(Registered(1, threading.Lock()))
    register_key(Registered, lambda value: value.a)
    assert fingerprint(Registered(1, threading.Lock())) == fingerprint(Registered(1, threading.Lock()))
    assert fingerprint(Registered(1, None)) != fingerprint(Registered(2, None))
    assert fingerprint(Registered(1, None)) != fingerprint(Derived(1, None))
    register_key(Registered, lambda value: 0)  # the later one counts
    assert fingerprint(Registered(1, None)) == fingerprint(Registered(2, None))


class ByName:
    def __init__(self, a):
        self.a, self.lock = a, threading.Lock()


def test_a_type_is_registered_by_name_without_its_class():
    register_key(f"{__name__}.ByName", lambda value: value.a)
    assert fingerprint(ByName(1)) == fingerprint(ByName(1)) != fingerprint(ByName(2))


def test_a_type_is_registered_by_the_name_that_its_library_shows():
    register_key("http.cookies.Morsel", lambda value: 1)
    from http import cookies

    shown = type("Shown", (), {"__module__": "elsewhere"})
    cookies.AwaitlyShown = shown
    try:
        register_key("http.cookies.AwaitlyShown", lambda value: value.a)
        one, two = shown(), shown()
        one.a, two.a, one.b, two.b = 1, 1, threading.Lock(), 2
        assert fingerprint(one) == fingerprint(two)
    finally:
        del cookies.AwaitlyShown


@pytest.mark.parametrize(("kind", "fn"), [(3, len), ("", len), (".", len), (int, "no function"), (None, len)])
def test_a_registration_that_cannot_work_is_misuse(kind, fn):
    with pytest.raises(MisuseError):
        register_key(kind, fn)


def test_a_file_is_keyed_by_content_and_a_path_by_name(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("x,y")
    second.write_text("x,y")
    assert fingerprint(file(first)) == fingerprint(file(second))
    assert fingerprint(first) != fingerprint(second)
    assert fingerprint(file(first)) != fingerprint(first)
    second.write_text("x,z")
    assert fingerprint(file(first)) != fingerprint(file(second))
    assert Path(file(first)).read_text() == "x,y"
    assert file(file(first)) == file(str(first))


def test_a_suffix_counts_because_readers_go_by_it(tmp_path):
    for name in ("a.csv", "a.gz"):
        (tmp_path / name).write_bytes(b"x")
    assert fingerprint(file(tmp_path / "a.csv")) != fingerprint(file(tmp_path / "a.gz"))


def test_a_rewritten_file_of_one_size_and_time_is_seen(tmp_path):
    place = tmp_path / "f"
    place.write_bytes(b"one")
    stat = place.stat()
    before = file_digest(place)
    place.write_bytes(b"two")
    os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_digest(place) != before


def test_an_unchanged_file_is_read_once(tmp_path, monkeypatch):
    place = tmp_path / "f"
    place.write_bytes(b"one")
    later = lambda: place.stat().st_mtime + 60  # noqa: E731
    digest = file_digest(place, clock=later)
    monkeypatch.setattr(Path, "open", lambda *a, **k: pytest.fail("it was read again"))
    assert file_digest(place, clock=later) == digest


def test_a_fresh_file_is_read_again_as_its_time_may_not_move(tmp_path):
    place = tmp_path / "f"
    place.write_bytes(b"one")
    stat = place.stat()
    now = lambda: stat.st_mtime  # noqa: E731
    first = file_digest(place, clock=now)
    with place.open("r+b") as stream:
        stream.write(b"two")
    assert file_digest(place, clock=now) != first


def test_a_folder_is_keyed_by_names_and_contents(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x").write_text("x")
    same = fingerprint(file(tmp_path / "one"))
    assert same == fingerprint(file(tmp_path / "two"))
    (tmp_path / "two" / "deep" / "x").rename(tmp_path / "two" / "x")
    assert fingerprint(file(tmp_path / "two")) != same


def test_a_missing_file_is_refused_with_its_path(tmp_path):
    error = refusal({"raw": file(tmp_path / "nope")}, "cfg")
    assert error.path == "cfg['raw']"
    assert "nope" in str(error)
    with pytest.raises(MisuseError):
        file(3)


def test_a_dataset_is_refused_as_it_is_only_a_plan(tmp_path):
    dataset = pytest.importorskip("pyarrow.dataset")
    (tmp_path / "a.csv").write_text("x\n1")
    assert "aw.file" in str(refusal(dataset.dataset(tmp_path, format="csv")))


def test_loggers_modules_and_builtins_go_by_name():
    assert fingerprint(logging.getLogger("a")) == fingerprint(logging.getLogger("a"))
    assert fingerprint(logging.getLogger("a")) != fingerprint(logging.getLogger("b"))
    assert fingerprint(os) != fingerprint(sys)
    assert fingerprint(len) != fingerprint(max)


def test_results_are_read_without_the_mark_that_rides_along():
    from awaitly_nb.result import Mark, with_mark

    plain = aw.Ok([1])
    assert fingerprint(with_mark(plain, Mark(step_id="s", duration_s=1.0))) == fingerprint(plain)
    assert fingerprint(aw.Ok([1])) != fingerprint(aw.Ok([2]))
    assert fingerprint(aw.Err("a")) != fingerprint(aw.Ok("a"))
    assert fingerprint(aw.Err("a")) != fingerprint(aw.Err("a", cause="b"))


def test_a_key_does_not_depend_on_the_walk_before_it():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1]})
    alone = fingerprint([frame, frame])
    fingerprint([pandas.DataFrame, frame])
    assert fingerprint([frame, frame]) == alone


def test_many_shared_parts_are_read_in_linear_time():
    tree = [0.5]
    for _ in range(200):
        tree = [tree, tree]
    assert len(fingerprint(tree)) == 32


WRITTEN_AT_ONCE = {
    "3156180432e6abcb6869746046d307dc": lambda: [Decimal("1.50"), fractions.Fraction(1, 3), 1j, Decimal("NaN")],
    "780688f91ade766cea604f873f61348a": lambda: [
        *(datetime.date(2020, 1, 2), datetime.timedelta(3), datetime.datetime(2020, 1, 2, 3), datetime.time(4)),
    ],
    "e856be0c48d7d130f3802ae16fec7ac4": lambda: [
        *(np.float64(0.5), np.float32("nan"), np.int8(-3), np.bool_(True), np.complex64(2j), np.longdouble(1)),
    ],
    "6b84cda71e9e7d4da54d03b2d00b9697": lambda: [
        *((), (1,), ((1,), "a"), (Decimal(1), None), (None,) * 8, ("a", [1])),
    ],
    "19aaae923f2aa4788a0199bec39a23ec": lambda: [
        *(uuid.UUID(int=5), PurePosixPath("a/b"), range(3), ValueError("x", 1), slice(1, None)),
    ],
}


@pytest.mark.parametrize("code", WRITTEN_AT_ONCE)
def test_what_is_written_at_once_has_the_code_of_before(code):
    assert fingerprint(WRITTEN_AT_ONCE[code]()) == code


@pytest.mark.parametrize(
    ("many", "most"),
    [
        pytest.param(lambda n: [Decimal(i) / 7 for i in range(n)], 6, id="decimals"),
        pytest.param(lambda n: [(i, fractions.Fraction(i, 7)) for i in range(n)], 18, id="fractions in pairs"),
        pytest.param(lambda n: list(np.arange(float(n))), 4, id="scalars out of arrays"),
    ],
)
def test_a_small_object_takes_few_calls(many, most):
    few, more = (calls_of(lambda n=n: fingerprint(many(n))) for n in (100, 1100))
    assert (more - few) / 1000 < most


def test_what_makes_an_object_and_leads_back_to_it_is_read_where_it_stands():
    class Made:
        def __init__(self, inner):
            self.inner = inner

        def __reduce__(self):
            return self.made, (self.inner,)

        def made(self, inner):
            return Made(inner)

    flat, nested = [Made(1), Made(1)], [Made(Made(1)), Made(1)]
    assert fingerprint(flat) != fingerprint(nested)
    assert fingerprint(flat) == fingerprint([Made(1), Made(1)])


def test_a_type_that_is_registered_is_not_read_as_it_would_be_at_once(monkeypatch):
    plain = fingerprint([Decimal(1), Decimal(2)])
    monkeypatch.setitem(copyreg.dispatch_table, Decimal, lambda value: (Decimal, (str(value + 1),)))
    assert fingerprint([Decimal(0), Decimal(1)]) == plain
