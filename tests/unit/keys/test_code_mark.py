"""The mark of a step's code under an explicit key: code counts, values do not, and nothing raises."""

from __future__ import annotations

import functools
import gc

import pytest

from awaitly_nb.keys import code_mark

HELPERS = """
LIMIT = 3

def deepest(x):
    return x + 1

def helper(x):
    return deepest(x) * 2

class Model:
    def predict(self, x):
        return x * 2

def make(k):
    def inner(x):
        return x + k
    return inner

inner = make(1)

def step(x, y=1):
    # A comment.
    return helper(x) + LIMIT + Model().predict(y) + inner(x)
"""


class Raises:
    def __getattr__(self, name):
        raise RuntimeError(name)

    def __call__(self):
        return 1


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        ("helper(x) + LIMIT", "helper(x) - LIMIT", True),
        ("y=1", "y=2", True),
        ("deepest(x) * 2", "deepest(x) * 3", True),
        ("return x + 1", "return x + 2", True),
        ("return x * 2", "return x * 3", True),
        ("return x + k", "return x - k", True),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("inner = make(1)", "inner = make(2)", False),
        ("# A comment.", "# Another.", False),
    ],
)
def test_mark_counts_code_and_helpers_but_no_values(kernel, before, after, counts):
    assert HELPERS.count(before) == 1
    first = code_mark(kernel.run(HELPERS)["step"])
    assert (code_mark(kernel.run(HELPERS.replace(before, after))["step"]) != first) is counts
    assert code_mark(kernel.run(HELPERS)["step"]) == first


def test_mark_of_a_thunk_counts_the_dependencies_that_it_names(kernel):
    thunk = kernel.run("def body(ctx, user):\n    return lambda: ctx.deps.fetch(user)\n")["body"]("ctx", "u1")
    one = kernel.run("def fetch(x):\n    return x\n")["fetch"]
    two = kernel.run("def fetch(x):\n    return -x\n")["fetch"]
    other = kernel.run("def other(x):\n    return 5\n")["other"]
    first = code_mark(thunk, {"fetch": one})
    assert code_mark(thunk, {"fetch": two}) != first
    assert code_mark(thunk, {"fetch": one, "other": other}) == first
    assert code_mark(thunk, {"fetch": one}) == first
    deps = {"fetch": one}
    assert code_mark(thunk, deps) == first
    deps["fetch"] = two
    assert code_mark(thunk, deps) != first


def test_mark_is_the_same_whatever_a_thunk_closed_over(kernel):
    body = kernel.run("def body(user):\n    return lambda: user\n")["body"]
    assert code_mark(body("a")) == code_mark(body(object()))


def test_mark_tells_closures_over_different_functions_apart(kernel):
    ns = kernel.run("def a():\n    return 1\ndef b():\n    return 2\ndef body(g):\n    return lambda: g()\n")
    marks = [code_mark(ns["body"](ns[name])) for name in "abab"]
    assert marks[0] == marks[2] != marks[1] == marks[3]


@pytest.mark.parametrize(
    "thing",
    [
        len,
        print,
        int,
        functools.partial(int, base=2),
        Raises(),
        Raises,
        [].append,
        "text",
        None,
        functools.lru_cache(len),
    ],
    ids=lambda thing: "thing",
)
def test_mark_never_raises(thing):
    assert code_mark(thing) == code_mark(thing)
    assert len(code_mark(thing)) == 32


def test_mark_of_a_thunk_made_anew_over_other_functions_is_remembered(kernel, monkeypatch):
    import awaitly_nb.keys.collect as collecting

    ns = kernel.run("def body(g, C):\n    return lambda: g() + C()\ndef g():\n    return 1\nclass C:\n    pass\n")
    first = code_mark(ns["body"](ns["g"], ns["C"]))
    gc.collect()
    monkeypatch.setattr(collecting, "collect", None)  # from here on everything must come from memory
    assert code_mark(ns["body"](ns["g"], ns["C"])) == first


def test_mark_of_an_async_function_counts_its_code(kernel):
    one = code_mark(kernel.run("async def f():\n    return 1\n")["f"])
    assert one != code_mark(kernel.run("async def f():\n    return 2\n")["f"])
    assert one != code_mark(kernel.run("def f():\n    return 1\n")["f"])
