"""Why a key is another: each prepared change is named, and nothing that did not change is."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import sys

import numpy as np
import pandas as pd
import pytest

from awaitly_nb.keys import Part, Parts, cell_parts, diff, distributions_of, nearest, step_parts
from awaitly_nb.keys.origin import package_version

SOURCE = """
import functools, enum, dataclasses
import numpy as np
import mylib
from math import sin as wave

LIMIT = 3
SCALE = 1
TABLE = {"a": [1, 2]}
FRAME = PANDAS.DataFrame({"price": [1, 2]})
score = lambda x: x + 1

def deepest(x):
    return x + 1

def helper(x, scale=SCALE):
    return deepest(x) * scale

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Config:
    depth: int = 3

class Model:
    rate = 2
    def predict(self, x):
        return x * self.rate

def make(k):
    def inner(x):
        return x + k
    return inner

inner = make(1)
part = functools.partial(deepest, 1)

def deco(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs)
    return wrapper

@deco
def decorated(x):
    return x

def step(raw, window=7, *, mode="fast"):
    '''Doc.'''
    return (
        helper(window) + LIMIT + TABLE["a"][0] + FRAME.shape[0] + score(1) + Model().predict(1) + inner(1) + part()
        + decorated(1) + mylib.clean(1) + np.sum(1) + wave(1) + Config().depth + Color.RED.value + missing
    )
"""


def frame(**columns):
    return pd.DataFrame(columns or {"price": [1, 2], "name": ["a", "b"]})


class World:
    """A notebook with one step in it, which can be edited and called."""

    def __init__(self, kernel, project):
        self.kernel, self.project = kernel, project
        self.kernel.ns["PANDAS"] = pd
        self.project("mylib", "def clean(x):\n    return x\n")
        self.source = SOURCE
        self.args = ({"raw": frame()}, {})
        self.version = None
        self.kernel.run(self.source)

    def edit(self, before, after):
        assert self.source.count(before) == 1, before
        self.kernel.run(self.source.replace(before, after))

    def parts(self, **arguments):
        kwargs = {"raw": frame(), **arguments}
        return step_parts(self.kernel["step"], (), kwargs, name="step", version=self.version)


@pytest.fixture
def world(kernel, project):
    return World(kernel, project)


def edit(before, after):
    return lambda world: world.edit(before, after)


def call(**arguments):
    return lambda world: arguments


def change_in_place(world):
    world.kernel["TABLE"]["a"].append(3)


def edit_project(world):
    world.project("mylib", "def clean(x):\n    return -x + 0\n")
    importlib.reload(sys.modules["mylib"])


def define_missing(world):
    world.kernel.ns["missing"] = 1


def bump_version(world):
    world.version = 2


CHANGES = {
    "own code": (edit("helper(window) + LIMIT", "helper(window) - LIMIT"), ["code of step edited"]),
    "a helper": (edit("deepest(x) * scale", "deepest(x) / scale"), ["helper helper edited"]),
    "a helper's helper": (edit("return x + 1\n\ndef helper", "return x + 2\n\ndef helper"), ["helper deepest edited"]),
    "a lambda": (edit("score = lambda x: x + 1", "score = lambda x: x + 2"), ["helper score edited"]),
    "a method": (edit("x * self.rate", "x / self.rate"), ["class Model edited"]),
    "a decorator": (
        edit("return f(*args, **kwargs)", "return -f(*args, **kwargs)"),
        ["helper deco.<locals>.wrapper edited"],
    ),
    "a closure's value": (edit("inner = make(1)", "inner = make(2)"), ["closure make.<locals>.inner.k: 1 -> 2"]),
    "a helper's default": (edit("SCALE = 1", "SCALE = 2"), ["default helper.scale: 1 -> 2"]),
    "an own default": (edit("window=7", "window=8"), ["argument window: 7 -> 8"]),
    "a global": (edit("LIMIT = 3", "LIMIT = 4"), ["global LIMIT: 3 -> 4"]),
    "a global in place": (change_in_place, ["global TABLE: ['a'] length 2 -> 3, ['a'][2] added"]),
    "a global frame": (
        edit('"price": [1, 2]', '"price": [1.0, 2.0]'),
        ['global FRAME: column "price" int64 -> float64'],
    ),
    "a partial's argument": (edit("deepest, 1)", "deepest, 2)"), ["global part(0): 1 -> 2"]),
    "a name that means something else": (edit("import sin as", "import cos as"), ["import wave: math.sin -> math.cos"]),
    "a name that appears": (define_missing, ["global missing: absent -> 1"]),
    "a project module": (edit_project, ["helper mylib.clean edited"]),
    "a dataclass field": (
        edit("depth: int = 3", "depth: int = 4"),
        ["class Config edited", "global Config.depth: 3 -> 4"],
    ),
    "an enum value": (edit("RED = 1", "RED = 2"), ["global Color.RED: 1 -> 2"]),
    "an argument": (call(window=9), ["argument window: 7 -> 9"]),
    "an argument's type": (call(window=7.0), ["argument window: 7 -> 7.0"]),
    "a text argument": (call(mode="slow"), ["argument mode: 'fast' -> 'slow'"]),
    "a dtype": (call(raw=frame(price=[1.0, 2.0], name=["a", "b"])), ['argument raw: column "price" int64 -> float64']),
    "a column's name": (call(raw=frame(cost=[1, 2], name=["a", "b"])), None),
    "a column's content": (
        call(raw=frame(price=[1, 3], name=["a", "b"])),
        ['argument raw: column "price" content changed'],
    ),
    "the version": (bump_version, ["version version is new"]),
    "two at once": (
        lambda world: world.edit("LIMIT = 3", "LIMIT = 4") or {"window": 8},
        ["global LIMIT: 3 -> 4", "argument window: 7 -> 8"],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_is_named_and_nothing_else_is(world, what):
    change, expected = CHANGES[what]
    before = Parts.from_data(json.loads(json.dumps(world.parts().to_data())))
    after = world.parts(**(change(world) or {}))
    assert after.key != before.key
    lines = [change.line for change in diff(before, after)]
    if expected is None:
        assert len(lines) == 1
        assert lines[0].startswith("argument raw: ")
        assert "price" in lines[0]
        assert "cost" in lines[0]
    else:
        assert lines == expected
    world.kernel.ns.pop("missing", None)
    world.version = None
    world.project("mylib", "def clean(x):\n    return x\n")
    importlib.reload(sys.modules["mylib"])
    world.kernel.run(SOURCE)
    assert diff(before, world.parts()) == ()


@dataclasses.dataclass
class Reading:
    value: object


def test_a_field_that_changed_is_told_as_code():
    def told(before, after):
        old, new = (
            step_parts(lambda result: result, (), {"result": Reading(value)}, name="step") for value in (before, after)
        )
        (change,) = diff(Parts.from_data(old.to_data()), new)
        return change.part, change.line

    assert told(np.zeros(3), np.ones(3)) == ("argument result", "result.value changed")
    assert told(1, 2) == ("argument result", "result.value 1 -> 2")


def test_a_package_version_is_named(world, monkeypatch):
    import numpy as np

    monkeypatch.setattr(np, "__version__", "3.1.0")
    package_version.cache_clear()
    before = step_parts(world.kernel.run(SOURCE)["step"], (1,), {}, name="step")
    monkeypatch.setattr(np, "__version__", "3.2.1")
    package_version.cache_clear()
    try:
        after = step_parts(world.kernel.run(SOURCE)["step"], (1,), {}, name="step")
        assert [change.line for change in diff(before, after)] == ["numpy 3.1.0 -> 3.2.1"]
    finally:
        package_version.cache_clear()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("'''Doc.'''", "'''Other.'''"),
        ("    return x\n\ndef step", "    # why\n    return x\n\ndef step"),
        ("LIMIT = 3", "OTHER = 5\nLIMIT = 3"),
    ],
)
def test_what_does_not_count_changes_nothing(world, before, after):
    first = world.parts()
    world.edit(before, after)
    assert world.parts() == first
    assert diff(first, world.parts()) == ()


def test_an_edit_shows_the_difference_of_the_source(world):
    before = world.parts()
    before.to_data()
    world.edit("deepest(x) * scale", "deepest(x) / scale")
    (change,) = diff(before, world.parts())
    assert change.part == "helper helper"
    assert "-    return deepest(x) * scale\n+    return deepest(x) / scale\n" in change.detail


def test_parts_that_come_or_go_with_an_edit_are_not_told_beside_it(world):
    before = world.parts()
    world.edit("helper(window) + LIMIT", "helper(window)")
    assert [change.line for change in diff(before, world.parts())] == ["code of step edited"]


def test_parts_are_plain_data_and_make_the_same_key(world):
    parts = world.parts()
    data = json.loads(json.dumps(parts.to_data()))
    back = Parts.from_data(data)
    assert back == parts
    assert hash(back) == hash(parts)
    assert back.key == parts.key
    assert back.name == "step"
    assert [part.digest for part in back.parts] == [part.digest for part in parts.parts]
    assert parts.key.startswith("step:")
    assert len(parts.key) == len("step:") + 32
    assert parts != "step"
    assert "step:" in repr(parts)


def test_names_and_kinds_cannot_run_into_each_other():
    one = Parts("f", [Part("argument", "a", "str 'x'"), Part("argument", "b", "str 'y'")])
    two = Parts("f", [Part("argument", "a", "str 'x'argument'b'str 'y'")])
    assert one.key != two.key


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("1", 1),
        (b"a", "a"),
        (None, "None"),
        ((1,), 1),
        ((1, 2), (12,)),
        ("a\x1eb", "a\\x1eb"),
    ],
)
def test_small_values_that_differ_never_share_a_key(one, two):
    def f(x):
        return x

    assert step_parts(f, (one,), {}, name="f") != step_parts(f, (two,), {}, name="f")


def test_all_forms_of_one_call_have_one_key_and_ignored_arguments_do_not_count():
    def f(a, b=2, *, log=None):
        return a

    first = step_parts(f, (1,), {}, name="f")
    assert step_parts(f, (), {"b": 2, "a": 1}, name="f") == first
    assert step_parts(f, (1, 2), {"log": None}, name="f") == first
    assert step_parts(f, (1, 2), {"log": print}, name="f") != first
    assert step_parts(f, (1,), {"log": 5}, name="f", ignore=("log",)) == step_parts(
        f, (1,), {}, name="f", ignore=["log"]
    )


def test_a_marker_for_not_given_has_a_key_as_a_default_only():
    from awaitly_nb.errors import UnkeyableError

    marker = object()

    def f(a, b=marker):
        return a

    def g(a, b=marker, c=object()):  # noqa: B008
        return a

    assert step_parts(f, (1,), {}, name="f") == step_parts(f, (1, marker), {}, name="f")
    for function, args in [(f, (1, object())), (g, (1,))]:
        with pytest.raises(UnkeyableError):
            step_parts(function, args, {}, name="f")


def test_self_counts_by_what_it_holds(kernel):
    ns = kernel.run(
        "class M:\n    def __init__(self, n):\n        self.n = n\n    def run(self, x):\n        return self.n * x\n"
    )
    M = ns["M"]
    first = step_parts(M(1).run, (2,), {}, name="run")
    assert step_parts(M(1).run, (2,), {}, name="run") == first
    assert step_parts(M.run, (M(1), 2), {}, name="run") == first
    assert step_parts(M(2).run, (2,), {}, name="run") != first


def test_a_wrong_call_raises_what_the_call_would():
    def f(a):
        return a

    with pytest.raises(TypeError, match="missing a required argument"):
        step_parts(f, (), {}, name="f")


def test_the_nearest_of_several_is_the_one_with_the_fewest_differences():
    def f(a, b):
        return a

    def parts(a, b):
        return step_parts(f, (a, b), {}, name="f")

    assert nearest(parts(1, 1), [parts(2, 2), parts(1, 2), parts(3, 3)]) == parts(1, 2)
    assert nearest(parts(1, 1), []) is None


def test_a_cell_tells_what_changed(kernel):
    ns = kernel.run("def helper(x):\n    return x\n\nraw = [1, 2]\n")
    source = "y = helper(raw)\n"
    before = cell_parts(source, ns, name="cell")
    kernel.run("def helper(x):\n    return -x\n")
    assert [c.line for c in diff(before, cell_parts(source, ns, name="cell"))] == ["helper helper edited"]
    ns["raw"] = [1, 3]
    lines = [c.line for c in diff(before, cell_parts(source, ns, name="cell"))]
    assert lines == ["helper helper edited", "global raw: [1] 2 -> 3"]
    edited = cell_parts("y = helper(raw) + 1\n", ns, name="cell")
    assert [c.line for c in diff(cell_parts(source, ns, name="cell"), edited)] == ["code of cell edited"]


def test_a_hit_is_told_nothing_and_makes_no_list(monkeypatch):
    import awaitly_nb.keys.parts as parts

    def f(a):
        return a

    def refuse(*args):
        raise AssertionError("the list of parts was made")

    monkeypatch.setattr(parts, "_listed", refuse)
    assert step_parts(f, (1,), {}, name="f").key == step_parts(f, (1,), {}, name="f").key


@pytest.mark.parametrize("name", ["password", "api_key", "AUTH_TOKEN", "client_secret"])
def test_secrets_count_and_are_neither_stored_nor_shown(kernel, name):
    ns = kernel.run(f"def f({name}, url):\n    return url, G_{name}\n")

    def parts(secret):
        ns[f"G_{name}"] = f"global-{secret}"
        return step_parts(ns["f"], (secret, f"postgres://me:{secret}@host/db"), {}, name="f")

    one = Parts.from_data(json.loads(json.dumps(parts("hunter2").to_data())))
    two = parts("hunter3")
    two.to_data()
    lines = [change.line for change in diff(one, two)]
    assert {line.partition(":")[0] for line in lines} == {f"global G_{name}", f"argument {name}", "argument url"}
    for text in (json.dumps(one.to_data()), json.dumps(two.to_data()), *lines):
        assert "hunter" not in text
    assert parts("hunter2") == one


def test_the_distributions_of_a_package_are_those_that_the_standard_library_tells():
    told = importlib.metadata.packages_distributions()
    assert {"numpy", "dateutil"} <= told.keys()  # one of its own name, and one that is called python-dateutil
    assert {top: distributions_of(top) for top in told} == {top: sorted(set(names)) for top, names in told.items()}
    assert distributions_of("nowhere_at_all") == []
