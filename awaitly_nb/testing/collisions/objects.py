"""Pairs of objects: dataclasses, attrs, pydantic, estimators, plain classes, partials and methods."""

# ruff: noqa: PLW0108 - a value is made when its pair is asked for, and never before

from __future__ import annotations

import copy
import functools
from typing import Any

from awaitly_nb.testing.collisions.battery import Group, define

__all__ = ["groups"]

# Any, throughout: the classes are made at run time.


def groups() -> list[Group]:
    """Return the groups of this file."""
    return [_plain(), _callables(), _attrs(), _pydantic(), _estimators()]


_CLASS = (
    "class {0}:\n    def __init__(self, **fields):\n        self.__dict__.update(fields)\n"
    "    def area(self):\n        return {1}\n"
)
_DATA = "from dataclasses import dataclass\n@dataclass{2}\nclass {0}:\n    {1}: object\n    b: object = None\n"
_SLOTS = (
    "class {0}:\n    __slots__ = ('a', 'b')\n    def __init__(self, **fields):\n"
    "        for name, value in fields.items():\n            setattr(self, name, value)\n"
)


def _of(template: str, *names: str, **fields: Any) -> Any:
    return define(template.format(*names), names[0])(**fields)


def _box(name: str = "Box", body: str = "1", **fields: Any) -> Any:
    return _of(_CLASS, name, body, **fields)


def _row(name: str = "Row", first: str = "a", options: str = "", **fields: Any) -> Any:
    return _of(_DATA, name, first, options, **fields)


def _plain() -> Group:
    return Group(
        "objects",
        differ=(
            ("a field", lambda: _box(a=1), lambda: _box(a=2)),
            ("type of a field", lambda: _box(a=1), lambda: _box(a=True)),
            ("name of a field", lambda: _box(a=1), lambda: _box(b=1)),
            ("one field more", lambda: _box(a=1), lambda: _box(a=1, b=None)),
            ("fields swapped", lambda: _box(a=1, b=2), lambda: _box(a=2, b=1)),
            ("name of the class", lambda: _box("Box", a=1), lambda: _box("Bag", a=1)),
            ("a method edited", lambda: _box("Box", "1", a=1), lambda: _box("Box", "2", a=1)),
            ("object and its dict", lambda: _box(a=1), lambda: {"a": 1}),
            ("a nested object", lambda: [_box(a=_box(b=1))], lambda: [_box(a=_box(b=2))]),
            ("a field of a dataclass", lambda: _row(a=1), lambda: _row(a=2)),
            ("1 and True in a dataclass", lambda: _row(a=1), lambda: _row(a=True)),
            ("name of a field of a dataclass", lambda: _row(a=1), lambda: _row("Row", "c", c=1)),
            ("frozen or not", lambda: _row(a=1), lambda: _row("Row", "a", "(frozen=True)", a=1)),
            ("dataclass and tuple", lambda: _row(a=1, b=2), lambda: (1, 2)),
            ("dataclass and dict", lambda: _row(a=1, b=2), lambda: {"a": 1, "b": 2}),
            (
                "slots of a dataclass",
                lambda: _row("Row", "a", "(slots=True)", a=1),
                lambda: _row("Row", "a", "(slots=True)", a=2),
            ),
            ("a slot", lambda: _of(_SLOTS, "Slim", a=1), lambda: _of(_SLOTS, "Slim", a=2)),
            ("which slot", lambda: _of(_SLOTS, "Slim", a=1), lambda: _of(_SLOTS, "Slim", b=1)),
            ("type of an exception", lambda: ValueError("a"), lambda: TypeError("a")),
            ("message of an exception", lambda: ValueError("a"), lambda: ValueError("b")),
            ("notes of an exception", lambda: ValueError("a"), lambda: _noted("n")),
            ("a class and its instance", lambda: define("class A: pass", "A"), lambda: define("class A: pass", "A")()),
            ("a subclass of int", lambda: 1, lambda: define("class N(int): pass", "N")(1)),
            ("a subclass of dict", lambda: {1: 2}, lambda: define("class D(dict): pass", "D")({1: 2})),
            (
                "an attribute of the class",
                lambda: define("class A:\n    x = 1", "A")(),
                lambda: define("class A:\n    x = 2", "A")(),
            ),
        ),
        agree=(
            ("made twice", lambda: _box(a=1), lambda: _box(a=1)),
            ("order of fields", lambda: _box(a=1, b=2), lambda: _box(b=2, a=1)),
            ("a dataclass made twice", lambda: _row(a=[1]), lambda: _row(a=[1])),
            ("a default given and left out", lambda: _row(a=1), lambda: _row(a=1, b=None)),
            ("slots in another order", lambda: _of(_SLOTS, "Slim", a=1, b=2), lambda: _of(_SLOTS, "Slim", b=2, a=1)),
            ("a comment in the class", lambda: _box("Box", "1", a=1), lambda: _box("Box", "1  # one", a=1)),
            ("an exception raised and not", lambda: _raised(), lambda: ValueError("a")),
        ),
    )


def _noted(note: str) -> ValueError:
    error = ValueError("a")
    error.add_note(note)
    return error


def _raised() -> ValueError:
    try:
        raise ValueError("a")  # noqa: TRY301 - what is compared is the error, raised
    except ValueError as error:
        return error


def _callables() -> Group:
    return Group(
        "partials and methods",
        differ=(
            ("function of a partial", lambda: functools.partial(min, 1), lambda: functools.partial(max, 1)),
            ("argument of a partial", lambda: functools.partial(min, 1), lambda: functools.partial(min, 2)),
            ("1 and True in a partial", lambda: functools.partial(min, 1), lambda: functools.partial(min, True)),  # noqa: FBT003
            (
                "keyword of a partial",
                lambda: functools.partial(min, key=len),
                lambda: functools.partial(min, default=len),
            ),
            ("partial and its function", lambda: functools.partial(min), lambda: min),
            ("owner of a method", lambda: _box(a=1).area, lambda: _box(a=2).area),
            ("owner of a built-in method", lambda: [1].append, lambda: [2].append),
            ("name of a built-in method", lambda: [1].append, lambda: [1].extend),
            ("method of an edited class", lambda: _box("Box", "1").area, lambda: _box("Box", "2").area),
        ),
        agree=(
            ("a partial made twice", lambda: functools.partial(min, 1), lambda: functools.partial(min, 1)),
            ("a method of an equal owner", lambda: _box(a=1).area, lambda: _box(a=1).area),
            ("a built-in method of an equal owner", lambda: [1].append, lambda: [1].append),
        ),
    )


def _attrs() -> Group:
    source = "import attrs\n@attrs.{0}\nclass P:\n    x: object\n    y: object = 0\n"

    def make(kind: str = "define", **fields: Any) -> Any:
        return define(source.format(kind), "P")(**fields)

    return Group(
        "attrs",
        differ=(
            ("a field", lambda: make(x=1), lambda: make(x=2)),
            ("fields swapped", lambda: make(x=1, y=2), lambda: make(x=2, y=1)),
            ("1 and 1.0", lambda: make(x=1), lambda: make(x=1.0)),
        ),
        agree=(
            ("made twice", lambda: make(x=[1]), lambda: make(x=[1])),
            (
                "its hash asked or not",
                lambda: _hashed(make("frozen(cache_hash=True)", x="a")),
                lambda: make("frozen(cache_hash=True)", x="a"),
            ),
        ),
        needs=("attrs",),
        versioned=True,
    )


def _hashed(value: Any) -> Any:
    hash(value)
    return value


def _pydantic() -> Group:
    source = "import pydantic\nclass M(pydantic.BaseModel):\n    x: {0}\n    y: object = 0\n"

    def make(kind: str = "object", **fields: Any) -> Any:
        return define(source.format(kind), "M")(**fields)

    return Group(
        "pydantic",
        differ=(
            ("a field", lambda: make(x=1), lambda: make(x=2)),
            ("1 and True", lambda: make(x=1), lambda: make(x=True)),
            ("type of a field", lambda: make("int", x=1), lambda: make("float", x=1)),
            ("a default set and left out", lambda: make(x=1), lambda: make(x=1, y=0)),
            ("model and dict", lambda: make(x=1), lambda: {"x": 1, "y": 0}),
        ),
        agree=(
            ("made twice", lambda: make(x=[1]), lambda: make(x=[1])),
            ("a model and its copy", lambda: make(x=1), lambda: make(x=1).model_copy(deep=True)),
        ),
        needs=("pydantic",),
        versioned=True,
    )


def _estimators() -> Group:
    def tree(seed: int | None = 0, depth: int | None = 2, *, fit: bool = True) -> Any:
        import numpy as np
        from sklearn.tree import DecisionTreeClassifier

        model = DecisionTreeClassifier(random_state=seed, max_depth=depth)
        data = np.arange(40.0).reshape(20, 2) % 7
        return model.fit(data, np.arange(20) % 3) if fit else model

    def line(scale: float = 1.0) -> Any:
        import numpy as np
        from sklearn.linear_model import LinearRegression

        return LinearRegression().fit(np.arange(4.0).reshape(4, 1), np.arange(4) * scale)

    def both(**options: Any) -> Any:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(**options), tree(fit=False))

    return Group(
        "estimators",
        differ=(
            ("a parameter", lambda: tree(depth=2, fit=False), lambda: tree(depth=3, fit=False)),
            ("fitted or not", lambda: tree(), lambda: tree(fit=False)),
            ("fitted on other data", lambda: line(1.0), lambda: line(2.0)),
            ("seed", lambda: tree(0, fit=False), lambda: tree(1, fit=False)),
            ("a step of a pipeline", lambda: both(), lambda: both(with_mean=False)),
            ("two estimators", lambda: line(), lambda: tree()),
        ),
        agree=(
            ("fitted twice", lambda: tree(), lambda: tree()),
            ("a copy", lambda: tree(), lambda: copy.deepcopy(tree())),
            ("a pipeline made twice", lambda: both(), lambda: both()),
        ),
        needs=("sklearn",),
        versioned=True,
    )
