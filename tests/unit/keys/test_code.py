"""A function's code as a key: what counts, what does not, wherever the function comes from."""

from __future__ import annotations

import importlib
import linecache

import pytest

from awaitly_nb.keys import function_digest

BASE = """
LIMIT = 3

def deepest(x):
    return x + 1

def helper(x):
    return deepest(x) * 2

class Model:
    rate = 2

    def predict(self, x):
        return x * self.rate

def make(k):
    def inner(x):
        return x + k
    return inner

inner = make(1)

def deco(f):
    import functools
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs)
    return wrapper

@deco
def decorated(x):
    return x

def step(x, y=1, *, z=2):
    '''Doc.'''
    # A comment.
    return helper(x) + LIMIT + Model().predict(y) + inner(z) + decorated(x)
"""


def key(kernel, source, name="step"):
    return function_digest(kernel.run(source)[name])


EDITS = {
    "own code": ("return helper(x) + LIMIT", "return helper(x) - LIMIT"),
    "a constant": ("y=1, *", "y=5, *"),
    "a keyword default": ("z=2", "z=3"),
    "a helper": ("deepest(x) * 2", "deepest(x) * 3"),
    "a helper's helper": ("return x + 1\n", "return x + 2\n"),
    "a method of a class": ("return x * self.rate", "return x / self.rate"),
    "a class attribute": ("rate = 2", "rate = 3"),
    "a closure value": ("inner = make(1)", "inner = make(2)"),
    "a closure's code": ("return x + k", "return x - k"),
    "a global": ("LIMIT = 3", "LIMIT = 4"),
    "a global's type": ("LIMIT = 3", "LIMIT = 3.0"),
    "a decorator": ("return f(*args, **kwargs)", "return 1 + f(*args, **kwargs)"),
    "what is decorated": ("def decorated(x):\n    return x", "def decorated(x):\n    return -x"),
    "a decorator taken off": ("@deco\ndef decorated", "def decorated"),
}


@pytest.mark.parametrize("what", EDITS)
def test_edit_of_anything_the_function_uses_makes_another_key_and_flipping_back_gives_the_old_one(kernel, what):
    before, after = EDITS[what]
    assert BASE.count(before) == 1
    first = key(kernel, BASE)
    assert key(kernel, BASE.replace(before, after)) != first
    assert key(kernel, BASE) == first


NO_EDITS = {
    "a comment": ("# A comment.", "# Another comment.\n    # Two, even."),
    "a docstring": ("'''Doc.'''", "'''Another.'''"),
    "no docstring": ("    '''Doc.'''\n", ""),
    "layout": ("return helper(x) + LIMIT", "return (helper( x )\n      + LIMIT)"),
    "other code before it": ("LIMIT = 3", "import os\nOTHER = [1]\n\nLIMIT = 3"),
    "other functions": ("def step(", "def unrelated():\n    return OTHER\n\ndef step("),
    "order of functions": (
        "def deepest(x):\n    return x + 1\n\ndef helper(x):\n    return deepest(x) * 2\n",
        "def helper(x):\n    return deepest(x) * 2\n\ndef deepest(x):\n    return x + 1\n",
    ),
    "order of class members": (
        "    rate = 2\n\n    def predict(self, x):\n        return x * self.rate\n",
        "    def predict(self, x):\n        return x * self.rate\n\n    rate = 2\n",
    ),
    "quotes": ("import functools\n    @", "import functools  # 'x'\n    @"),
}


@pytest.mark.parametrize("what", NO_EDITS)
def test_edit_of_what_does_not_count_keeps_the_key(kernel, what):
    before, after = NO_EDITS[what]
    assert BASE.count(before) == 1
    assert key(kernel, BASE.replace(before, after)) == key(kernel, BASE)


def test_golden_digest_is_the_same_on_every_python(kernel):
    source = (
        BASE + "\n\ndef more(x: int) -> str:\n    return f'{x!r:>{4}} {x}' + 'a' 'b' if x else [y for y in (x, 1.5)]\n"
    )
    from awaitly_nb.keys.code import own_tree

    tree = own_tree(kernel.run(source)["more"].__code__)
    assert tree.text.startswith("def more")
    assert tree.digest == "0e7c7f6bf077c6c75134f9ce3eeb7598"


def test_lambdas_on_one_line_are_told_apart(kernel):
    ns = kernel.run("fs = [lambda x: x + 1, lambda x: x + 2, lambda: (lambda x: x + 1), lambda x: x + 1]")
    digests = [function_digest(f) for f in ns["fs"]]
    assert digests[0] == digests[3]
    assert len(set(digests[:3])) == 3
    assert function_digest(ns["fs"][2]()) == digests[0]


def test_constant_lambdas_on_one_line_are_told_apart(kernel):
    ns = kernel.run("a, b, c = lambda: 1, lambda: 2, lambda: True")
    assert len({function_digest(ns[name]) for name in "abc"}) == 3


def test_functions_made_in_a_loop_differ_by_what_they_closed_over(kernel):
    ns = kernel.run(
        """
        def make(i):
            return lambda x: x + i
        late = [make(i) for i in range(3)]
        early = [lambda x, i=i: x + i for i in range(3)]
        """
    )
    assert len({function_digest(f) for f in ns["late"]}) == 3
    assert len({function_digest(f) for f in ns["early"]}) == 3


def test_running_a_cell_again_unchanged_keeps_the_key_of_the_new_function_object(kernel):
    first = kernel.run(BASE)["step"]
    before = function_digest(first)
    second = kernel.run(BASE)["step"]
    assert first is not second
    assert function_digest(second) == before


def test_one_file_name_with_other_lines_is_noticed(kernel):
    first = function_digest(kernel.run("def f(x):\n    return x + 1\n", filename="<ipython-input-1-abc>")["f"])
    second = function_digest(kernel.run("def f(x):\n    return x + 2\n", filename="<ipython-input-1-abc>")["f"])
    assert first != second


def test_a_file_saved_but_not_reloaded_is_not_believed(project, tmp_path):
    project("stale", "def f(x):\n    return x + 1\n")
    import stale  # type: ignore[import-not-found]

    project("stale", "def f(x):\n    return x + 2\n")
    running_old = function_digest(stale.f)
    importlib.reload(stale)
    assert function_digest(stale.f) != running_old
    reloaded = function_digest(stale.f)
    project("stale", "# moved down\n\ndef f(x):\n    return x + 2\n")
    stale.f.__code__ = stale.f.__code__.replace(co_name="f")
    assert function_digest(stale.f) == reloaded
    importlib.reload(stale)
    assert function_digest(stale.f) == reloaded


def test_without_source_the_instructions_count_and_the_docstring_does_not(kernel):
    def digest(source):
        ns = {"__name__": "__main__"}
        exec(compile(source, "<string>", "exec", dont_inherit=True), ns)
        return function_digest(ns["f"])

    linecache.cache.pop("<string>", None)
    first = digest("def f(x):\n    'Doc.'\n    return x + 1")
    assert digest("def f(x):\n    'Other.'\n\n\n    return (x +\n 1)") == first
    assert digest("def f(x):\n    return x + 2") != first
    assert digest("def f(x):\n    return x + 1.0") != first
    assert digest("def f(x):\n    return x - 1") != first
    assert digest("def f(x):\n    return y + 1") != first
    assert digest("def f(x):\n    return (lambda: x + 1)()") != digest("def f(x):\n    return (lambda: x + 2)()")


def test_autoreload_that_puts_new_code_into_the_old_function_is_noticed(kernel):
    ns = kernel.run("def helper(x):\n    return x\n\ndef f(x):\n    return helper(x)\n")
    before = function_digest(ns["f"])
    old = ns["helper"]
    kernel.run("def helper(x):\n    return -x\n")
    old.__code__ = ns["helper"].__code__
    ns["helper"] = old
    assert function_digest(ns["f"]) != before


def test_a_default_replaced_in_place_is_noticed(kernel):
    ns = kernel.run("def helper(x=1):\n    return x\n\ndef f():\n    return helper()\n")
    before = function_digest(ns["f"])
    ns["helper"].__defaults__ = (2,)
    assert function_digest(ns["f"]) != before


def test_a_method_replaced_on_its_class_is_noticed(kernel):
    ns = kernel.run("class C:\n    def m(self):\n        return 1\n\ndef f():\n    return C().m()\n")
    before = function_digest(ns["f"])
    ns["C"].m = lambda self: 2
    changed = function_digest(ns["f"])
    assert changed != before
    ns["C"].more = lambda self: 3
    assert function_digest(ns["f"]) != changed
