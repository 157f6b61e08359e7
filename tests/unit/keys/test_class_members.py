"""What a class is made with beside its methods: factories, converters, validators, defaults, nested models."""

import ast
import linecache
import textwrap

import pytest

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import fingerprint, function_digest, step_parts


def key(kernel, source, name="f"):
    return function_digest(kernel.run(textwrap.dedent(source))[name])


def assert_noticed(kernel, source, *edits):
    source = textwrap.dedent(source)
    first = key(kernel, source)
    assert key(kernel, source) == first
    for before, after in edits:
        assert source.count(before) == 1, before
        assert key(kernel, source.replace(before, after)) != first, before


FACTORIES = """
from dataclasses import dataclass, field
from functools import partial

@dataclass
class Optim:
    lr: float = 0.1
    @classmethod
    def slow(cls): return cls(lr=0.01)

class Table:
    SIZE = 3

def make(scale): return scale * {SCALE}

class Maker:
    def __init__(self, start): self.start = start
    def __call__(self): return self.start * 10

@dataclass
class Config:
    optim: object = field(default_factory={FACTORY})

def f(seed):
    return Config().optim
"""


@pytest.mark.parametrize(
    ("factory", "before", "after"),
    [
        ("Optim", "lr: float = 0.1", "lr: float = 0.5"),
        ("Optim.slow", "lr=0.01", "lr=0.05"),
        ("Optim.slow", "lr: float = 0.1", "lr: float = 0.5"),
        ("Table", "SIZE = 3", "SIZE = 4"),
        ("partial(make, 2)", "scale * 7", "scale * 8"),
        ("partial(make, 2)", "partial(make, 2)", "partial(make, 3)"),
        ("partial(Optim, lr=1)", "partial(Optim, lr=1)", "partial(Optim, lr=2)"),
        ("lambda: make(2)", "scale * 7", "scale * 8"),
        ("Maker(2)", "self.start * 10", "self.start * 20"),
        ("Maker(2)", "Maker(2)", "Maker(3)"),
    ],
)
def test_a_factory_of_a_dataclass_field_is_followed(kernel, factory, before, after):
    assert_noticed(kernel, FACTORIES.format(FACTORY=factory, SCALE=7), (before, after))


def test_the_default_and_the_metadata_of_a_field_count_by_value(kernel):
    source = """
    from dataclasses import dataclass, field
    @dataclass(frozen=True)
    class Inner:
        lr: float = 0.1
    START, UNIT = Inner(0.2), "m"
    @dataclass(slots=True)
    class Config:
        inner: Inner = START
        width: float = field(default=1.0, metadata={"unit": UNIT})
    def f(): return Config()
    """
    assert_noticed(kernel, source, ("Inner(0.2)", "Inner(0.3)"), ('"m"', '"km"'), ("lr: float = 0.1", "lr: float = 1"))


def test_factories_converters_and_validators_of_attrs_are_followed(kernel):
    pytest.importorskip("attrs")
    source = """
    import attrs
    def double(x): return x * 2
    def check(instance, attribute, value):
        if value > 1000: raise ValueError(value)
    def table(): return [1]
    def hook(instance, attribute, value): return value + 3
    LIMIT = [5]
    @attrs.define
    class Config:
        a: list = attrs.field(factory=lambda: table() + [10])
        b: int = attrs.field(default=1, converter=double, validator=check)
        c: int = attrs.field(default=2, validator=attrs.validators.in_(LIMIT), on_setattr=hook)
        d: int = attrs.Factory(lambda self: self.b + 20, takes_self=True)
    def f(): return Config()
    """
    assert_noticed(
        kernel,
        source,
        ("[1]", "[2]"),
        ("[10]", "[11]"),
        ("x * 2", "x * 3"),
        ("> 1000", "> 2000"),
        ("[5]", "[6]"),
        ("value + 3", "value + 4"),
        ("self.b + 20", "self.b + 21"),
    )


def test_factories_validators_and_private_attributes_of_pydantic_are_followed(kernel):
    pytest.importorskip("pydantic")
    source = """
    from typing import Annotated, Optional
    from pydantic import AfterValidator, BaseModel, Field, PrivateAttr
    def double(x): return x * 2
    def triple(x): return x * 3
    def start(): return 4
    TABLE = {"a": 5}
    class Model(BaseModel):
        a: list = Field(default_factory=lambda: [1])
        b: Annotated[int, AfterValidator(double)] = 1
        c: list[Annotated[int, AfterValidator(triple)]] = [7]
        d: dict = TABLE
        _e: int = PrivateAttr(default_factory=start)
    def f(): return Model()
    """
    assert_noticed(
        kernel,
        source,
        ("[1]", "[2]"),
        ("x * 2", "x * 20"),
        ("x * 3", "x * 30"),
        ("return 4", "return 40"),
        ('{"a": 5}', '{"a": 50}'),
        ("[7]", "[70]"),
    )


MODELS = """
import typing
from dataclasses import dataclass
{IMPORT}

class Leaf({BASE}):
    lr: float = 0.1

class Inner({BASE}):
    leaf: "typing.Optional[Leaf]" = None

class Outer({BASE}):
    inner: {KIND}

def f(data):
    return Outer.model_validate(data)
"""


@pytest.mark.parametrize(
    "kind",
    ["Inner", "'Inner'", "typing.Optional[Inner]", "list['Inner']", "typing.Annotated[Inner, 'x']", "Inner | None"],
)
def test_a_model_that_only_an_annotation_names_is_followed(kernel, kind):
    pytest.importorskip("pydantic")
    source = MODELS.format(IMPORT="from pydantic import BaseModel", BASE="BaseModel", KIND=kind)
    assert_noticed(kernel, source, ("lr: float = 0.1", "lr: float = 0.5"), ("= None", "= Leaf(lr=3)"))


def test_a_class_that_only_an_annotation_of_a_plain_class_names_is_followed(kernel):
    source = """
    from __future__ import annotations
    from dataclasses import dataclass
    from typing import get_type_hints, NewType
    @dataclass
    class Inner:
        lr: float = 0.1
    Alias = list[Inner]
    @dataclass
    class Outer:
        inner: Alias
        name: str
        missing: Missing
    def f(data):
        return get_type_hints(Outer)["inner"]
    """
    assert_noticed(kernel, source, ("lr: float = 0.1", "lr: float = 0.5"), ("list[Inner]", "set[int]"))
    before = function_digest(kernel["f"])
    kernel.run("class Missing:\n    size = 1\n")
    there = function_digest(kernel["f"])
    assert there != before
    kernel.run("class Missing:\n    size = 2\n")
    assert function_digest(kernel["f"]) not in (there, before)


def test_a_model_whose_annotation_is_found_later_is_followed_then(kernel):
    pytest.importorskip("pydantic")
    source = """
    from pydantic import BaseModel
    class Outer(BaseModel):
        inner: "Later"
    def f(data): return Outer.model_validate(data)
    """
    keys = set()
    for rate in (0.1, 0.5):
        kernel.ns.pop("Later", None)
        keys.add(key(kernel, source))
        kernel.run(f"class Later(BaseModel):\n    lr: float = {rate}\n")
        kernel["Outer"].model_rebuild(_types_namespace=kernel.ns)
        keys.add(function_digest(kernel["f"]))
    assert len(keys) == 3


def test_classes_that_name_each_other_end(kernel):
    source = """
    from dataclasses import dataclass, field
    @dataclass
    class Node:
        next: "Node | None" = None
        other: "Other | None" = None
    @dataclass
    class Other:
        nodes: list[Node] = field(default_factory=list)
        self_made: "Other" = field(default_factory=lambda: Other())
    def f(): return Node()
    """
    assert_noticed(kernel, source, ("default_factory=list", "default_factory=set"))


def test_an_alias_that_names_itself_ends(kernel):
    pytest.importorskip("typing_extensions")
    source = """
    from dataclasses import dataclass
    from typing_extensions import TypeAliasType
    class Leaf:
        size = 1
    Tree = TypeAliasType("Tree", "list[Tree] | Leaf")
    Wood = TypeAliasType("Wood", list[Tree] | dict[str, Leaf])
    @dataclass
    class Config:
        tree: Tree
        wood: Wood
    def f(): return Config
    """
    assert_noticed(kernel, source, ("size = 1", "size = 2"))


def test_an_installed_class_that_an_annotation_names_does_not_count(kernel):
    source = """
    from dataclasses import dataclass
    {IMPORT}
    @dataclass
    class Config:
        at: {KIND} = None
    def f(): return Config()
    """
    parts = {
        kind: {
            (p.kind, p.name)
            for p in step_parts(
                kernel.run(textwrap.dedent(source).format(IMPORT=imports, KIND=kind))["f"], (), {}, name="f"
            ).parts
        }
        for imports, kind in (("import pandas as pd", "pd.DataFrame"), ("", "object"))
    }
    assert parts["pd.DataFrame"] == parts["object"]


def test_what_cannot_be_keyed_in_a_field_is_refused_by_name(kernel):
    source = """
    import threading
    from dataclasses import dataclass, field
    @dataclass(slots=True)
    class Config:
        lock: object = field(default=threading.Lock())
    def f(): return Config()
    """
    with pytest.raises(UnkeyableError, match="Config.lock.default"):
        key(kernel, source)


def test_an_enum_of_bare_marks_has_a_key_and_its_graph_holds(kernel):
    from awaitly_nb.keys.graph import function_graph

    source = """
    import enum
    class Missing(enum.Enum):
        NOT_GIVEN = object()
        EMPTY = object()
    class Color(enum.Enum):
        RED = [1]
        BLUE = 2
    def f(x=Missing.NOT_GIVEN): return x, Missing, Color
    """
    assert_noticed(kernel, source, ("[1]", "[2]"), ("BLUE = 2", "BLUE = 3"), ("EMPTY", "OTHER"))
    kernel.run(textwrap.dedent(source))
    keys = {step_parts(kernel["f"], (mark,), {}, name="f").key for mark in kernel["Missing"]}
    assert len(keys) == 2
    assert function_graph(kernel["f"]).holds()


def test_a_class_of_a_cell_is_the_same_whether_its_statements_were_compiled_alone_or_together(monkeypatch):
    """Python makes other code of `math.sqrt(n)` where it sees the import in the same piece of code."""
    source = "import math\nclass Own:\n    def root(self, n):\n        return math.sqrt(n)\n"
    filename = "<ipython-input-7-of-a-test>"
    monkeypatch.setitem(linecache.cache, filename, (len(source), None, source.splitlines(keepends=True), filename))
    tree = ast.parse(source)
    found = []
    for modules in ([tree], [ast.Module([statement], []) for statement in tree.body]):
        names = {"__name__": "__main__"}
        for module in modules:
            exec(compile(module, filename, "exec"), names)
        found.append(fingerprint(names["Own"]))
    assert found[0] == found[1]
