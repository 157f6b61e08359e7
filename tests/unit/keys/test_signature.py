"""Arguments by name: every form of one call is bound alike, and a wrong call fails as the call itself would."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings, strategies as st

from awaitly_nb.keys.parts import bind


def plain(a, b=2):
    return locals()


def everything(a, b=2, /, c=3, *rest, d, e=5, **more):
    return locals()


def keywords(*, x, y=1):
    return locals()


def positional(a, /, **kw):
    return locals()


def gather(*args, **kwargs):
    return locals()


class Model:
    def __init__(self, depth=1):
        self.depth = depth

    def method(self, x, y=2):
        return x

    @classmethod
    def build(cls, n=1):
        return cls()

    @staticmethod
    def free(n=1):
        return n

    def __call__(self, z=0):
        return z


@functools.wraps(plain)
def wrapper(*args, **kwargs):
    return plain(*args, **kwargs)


def test_positional_keyword_and_default_forms_are_one():
    forms = [
        bind(plain, (1,), {}),
        bind(plain, (), {"a": 1}),
        bind(plain, (1, 2), {}),
        bind(plain, (), {"b": 2, "a": 1}),
    ]
    assert forms == [[("a", 1), ("b", 2)]] * 4
    assert bind(wrapper, (1,), {}) == forms[0]


def test_extra_arguments_are_bound_by_kind():
    found = bind(everything, (1, 9, 8, 7), {"d": 4, "z": 0, "a": 5})
    assert found == [("a", 1), ("b", 9), ("c", 8), ("d", 4), ("e", 5), ("*rest", (7,)), ("**more", {"z": 0, "a": 5})]


def test_methods_bind_self_and_partials_and_classes_bind_too():
    model = Model()
    assert bind(model.method, (1,), {}) == [("self", model), ("x", 1), ("y", 2)]
    assert bind(Model.method, (model, 1), {}) == [("self", model), ("x", 1), ("y", 2)]
    assert bind(Model.build, (), {}) == [("cls", Model), ("n", 1)]
    assert bind(Model.free, (), {}) == [("n", 1)]
    assert bind(functools.partial(plain, 1), (), {}) == [("b", 2)]
    assert bind(Model, (), {}) == [("depth", 1)]
    assert bind(len, ([1],), {}) == [("obj", [1])]
    assert bind(max, (1, 2), {"key": None}) == [("0", 1), ("1", 2), ("key=", None)]


def test_a_wrapper_that_adds_an_argument_is_bound_as_itself():
    @functools.wraps(plain)
    def adds(*args, **kwargs):
        return plain("added", *args, **kwargs)

    assert bind(adds, (), {}) == [("*args", ()), ("**kwargs", {})]
    assert bind(adds, (), {"b": 1}) == [("*args", ()), ("**kwargs", {"b": 1})]


CALLS = [plain, everything, keywords, positional, gather]
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "x", "y", "z"])


@settings(max_examples=400)
@given(st.sampled_from(CALLS), st.lists(st.integers(), max_size=5), st.dictionaries(NAMES, st.integers(), max_size=5))
def test_binding_agrees_with_the_call_itself(function, args, kwargs):
    try:
        expected = function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            bind(function, args, kwargs)
    else:
        assert {name.lstrip("*"): value for name, value in bind(function, args, kwargs)} == expected
