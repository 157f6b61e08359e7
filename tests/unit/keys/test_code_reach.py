"""How far a function's key reaches: modules, packages, wrappers, classes, names that come and go."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref

import pytest

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import code_mark, function_digest, step_parts


def key(kernel, source, name="step"):
    return function_digest(kernel.run(source)[name])


def test_modules_of_the_user_are_followed_attribute_by_attribute(project, kernel):
    project(
        "mylib",
        "RATE = 2\n\ndef clean(x):\n    return tidy(x)\n\ndef tidy(x):\n    return x\n\ndef other():\n    pass\n",
    )
    ns = kernel.run("import mylib\nimport mylib as m\n\ndef f(x):\n    return mylib.clean(x) * m.RATE\n")
    first = function_digest(ns["f"])

    def after(source):
        project("mylib", source)
        importlib.reload(sys.modules["mylib"])
        return function_digest(ns["f"])

    text = "RATE = 2\n\ndef clean(x):\n    return tidy(x)\n\ndef tidy(x):\n    return x\n\n"
    assert after(text + "def other():\n    return 2\n") == first
    assert after(text.replace("return x\n", "return -x\n")) != first
    assert after(text.replace("RATE = 2", "RATE = 3")) != first
    assert after(text) == first


def test_a_function_imported_by_name_and_its_module_are_followed(project, kernel):
    project("pkg.__init__", "")
    project("pkg.low", "def base(x):\n    return x + 1\n")
    project("pkg.high", "from pkg.low import base\n\ndef top(x):\n    return base(x)\n")
    first = function_digest(kernel.run("from pkg.high import top\ndef f(x):\n    return top(x)\n")["f"])
    for name in ("pkg.low", "pkg.high"):
        del sys.modules[name]
    project("pkg.low", "def base(x):\n    return x + 2222\n")
    assert function_digest(kernel.run("from pkg.high import top\ndef f(x):\n    return top(x)\n")["f"]) != first


def test_an_import_inside_the_function_is_followed_loaded_or_not(project, kernel):
    project("lazy", "def base(x):\n    return x + 1\n")
    source = "def f(x):\n    from lazy import base\n    return base(x)\n"
    f = kernel.run(source)["f"]
    assert "lazy" not in sys.modules
    first = function_digest(f)
    f(1)
    assert function_digest(f) == first
    project("lazy", "def base(x):\n    return x + 2222\n")
    importlib.reload(sys.modules["lazy"])
    assert function_digest(f) != first


def test_installed_packages_count_by_name_and_version(kernel, monkeypatch):
    import numpy as np

    from awaitly_nb.keys.origin import package_version

    f = kernel.run("import numpy as np\ndef f(x):\n    return np.sum(x)\n")["f"]
    parts = {(p.kind, p.name): p for p in step_parts(f, (1,), {}, name="f").parts}
    assert parts["package", "numpy"].digest == ".".join(np.__version__.split(".")[:2])
    assert parts["package", "numpy"].shown == np.__version__

    first = function_digest(f)
    monkeypatch.setattr(np, "__version__", "99.1.0")
    package_version.cache_clear()
    try:
        g = kernel.run("import numpy as np\ndef f(x):\n    return np.sum(x)\n\n")["f"]
        assert function_digest(g) != first
    finally:
        package_version.cache_clear()


def test_what_a_name_means_counts_even_where_the_code_is_the_same(kernel):
    one = function_digest(kernel.run("from math import sin as g\ndef f(x):\n    return g(x)\n")["f"])
    two = function_digest(kernel.run("from math import cos as g\ndef f(x):\n    return g(x)\n")["f"])
    assert one != two
    source = "def a(x):\n    return 1\n\ndef b(x):\n    return 2\n\ng, h = {}\n\ndef f(x):\n    return g(x) - h(x)\n"
    assert key(kernel, source.format("a, b"), "f") != key(kernel, source.format("b, a"), "f")
    assert key(kernel, "import math as m\ndef f(x):\n    return m.exp(x)\n", "f") != key(
        kernel, "import cmath as m\ndef f(x):\n    return m.exp(x)\n", "f"
    )


def test_a_name_that_appears_later_is_noticed(kernel):
    ns = kernel.run("def f():\n    return later()\n")
    before = function_digest(ns["f"])
    kernel.run("def later():\n    return 1\n")
    assert function_digest(ns["f"]) != before


def test_a_global_that_hides_a_builtin_is_noticed(kernel):
    ns = kernel.run("def f(x):\n    return len(x)\n")
    before = function_digest(ns["f"])
    kernel.run("def len(x):\n    return 1\n")
    assert function_digest(ns["f"]) != before


def test_functions_that_call_each_other_end(kernel):
    source = "def even(n):\n    return n == 0 or odd(n - 1)\n\ndef odd(n):\n    return n != 0 and even(n - 1)\n"
    ns = kernel.run(source)
    first = function_digest(ns["even"])
    assert first != function_digest(ns["odd"])
    assert key(kernel, source.replace("n != 0 and", "n > 0 and"), "even") != first


def test_a_table_of_functions_that_holds_the_function_itself_ends(kernel):
    source = "def f(x):\n    return TABLE['g'](x)\n\ndef g(x):\n    return x + 1\n\nTABLE = {'f': f, 'g': g}\n"
    first = key(kernel, source, "f")
    assert key(kernel, source, "f") == first
    assert key(kernel, source.replace("x + 1", "x + 2"), "f") != first


MUTABLE = "CONFIG = {'a': [1]}\n\ndef f():\n    return CONFIG\n"


def test_a_global_changed_in_place_is_noticed(kernel):
    ns = kernel.run(MUTABLE)
    before = function_digest(ns["f"])
    ns["CONFIG"]["a"].append(2)
    changed = function_digest(ns["f"])
    assert changed != before
    ns["CONFIG"] = {"a": [1]}
    assert function_digest(ns["f"]) == before
    ns["CONFIG"] = lambda: 1
    assert function_digest(ns["f"]) not in (before, changed)


def test_partials_bound_methods_and_wrappers_are_looked_through(kernel):
    base = """
    import functools, contextlib
    def add(x, y): return x + y
    class C:
        def __init__(self, n): self.n = n
        def m(self, x): return x + self.n
    @functools.lru_cache
    def cached(x): return x + 1
    @contextlib.contextmanager
    def managed(x): yield x + 1
    @functools.singledispatch
    def show(x): return 1
    @show.register
    def _(x: int): return 2
    p = functools.partial(add, 1)
    b = C(1).m
    def f(x):
        with managed(x): return p(x) + b(x) + cached(x) + show(x)
    """
    first = key(kernel, base, "f")
    assert key(kernel, base, "f") == first
    for before, after in [
        ("return x + y", "return x - y"),
        ("partial(add, 1)", "partial(add, 2)"),
        ("C(1).m", "C(2).m"),
        ("return x + self.n", "return x - self.n"),
        ("def cached(x): return x + 1", "def cached(x): return x + 2"),
        ("yield x + 1", "yield x + 2"),
        ("def _(x: int): return 2", "def _(x: int): return 3"),
        ("def show(x): return 1", "def show(x): return 4"),
    ]:
        assert base.count(before) == 1
        assert key(kernel, base.replace(before, after), "f") != first, before


CLASSES = """
import abc, dataclasses, enum, functools, typing

class Base(abc.ABC):
    def shared(self): return 1
    @abc.abstractmethod
    def todo(self): ...

class Color(enum.Enum):
    RED = 1
    BLUE = 2

class Pair(typing.NamedTuple):
    left: int
    right: int = 0

@dataclasses.dataclass(frozen=True)
class Config:
    depth: int = 3
    names: list = dataclasses.field(default_factory=list)
    def twice(self): return self.depth * 2

class Child(Base):
    size: int = 1
    def todo(self): return Color.RED, Pair(1), Config()
    @property
    def prop(self): return 10
    @staticmethod
    def static(): return 20
    @classmethod
    def klass(cls): return 30
    @functools.cached_property
    def lazy(self): return 40
    def __call__(self): return super().shared()

def f():
    return Child()()
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def shared(self): return 1", "def shared(self): return 2"),
        ("BLUE = 2", "BLUE = 3"),
        ("right: int = 0", "right: int = 1"),
        ("depth: int = 3", "depth: int = 4"),
        ("depth: int = 3", "width: int = 3"),
        ("frozen=True", "frozen=False"),
        ("default_factory=list", "default_factory=dict"),
        ("self.depth * 2", "self.depth * 3"),
        ("size: int = 1", "size: int = 2"),
        ("return 10", "return 11"),
        ("return 20", "return 21"),
        ("return 30", "return 31"),
        ("return 40", "return 41"),
        ("super().shared()", "super().shared() + 1"),
        ("class Child(Base)", "class Child(Base, Mixin)"),
    ],
)
def test_classes_count_by_their_methods_fields_and_bases(kernel, before, after):
    source = "class Mixin:\n    pass\n" + CLASSES
    assert before in source
    first = key(kernel, source, "f")
    assert key(kernel, source, "f") == first
    assert key(kernel, source.replace(before, after), "f") != first


def test_a_pydantic_model_and_an_attrs_class_have_a_key(kernel):
    pytest.importorskip("attrs")
    pytest.importorskip("pydantic")
    source = """
    import attrs, pydantic
    class Model(pydantic.BaseModel):
        a: int = 1
        @pydantic.field_validator("a")
        @classmethod
        def check(cls, value): return value + 1
    @attrs.define
    class Point:
        x: int = 0
    def f(): return Model(), Point()
    """
    first = key(kernel, source, "f")
    assert key(kernel, source, "f") == first
    assert key(kernel, source.replace("value + 1", "value + 2"), "f") != first
    assert key(kernel, source.replace("x: int = 0", "x: int = 1"), "f") != first
    assert key(kernel, source.replace("a: int = 1", "a: int = 2"), "f") != first


def test_a_global_without_a_fingerprint_is_named(kernel):
    f = kernel.run("import threading\nlock = threading.Lock()\ndef f():\n    return lock\n")["f"]
    with pytest.raises(UnkeyableError) as caught:
        step_parts(f, (), {}, name="f")
    assert "lock" in caught.value.path


def test_own_file_and_name_of_a_module_are_no_part_of_the_key(kernel):
    source = "def f():\n    return __name__, __file__\n"
    kernel.ns["__file__"] = "/one/place.py"
    first = key(kernel, source, "f")
    kernel.ns["__file__"] = "/another/place.py"
    assert key(kernel, source, "f") == first


def test_decorating_with_our_own_step_is_no_part_of_the_code(kernel):
    from awaitly_nb.keys.code import own_tree

    plain = own_tree(kernel.run("import awaitly_nb as aw\ndef f(x):\n    return x\n")["f"].__code__, kernel.ns)
    kernel.ns["aw"] = importlib.import_module("awaitly_nb")
    source = "import functools\ndef fake(f):\n    return f\nfake.__module__ = 'awaitly_nb.workflow'\n"
    ours = own_tree(kernel.run(source + "@fake\ndef f(x):\n    return x\n")["f"].__code__, kernel.ns)
    assert ours.digest == plain.digest


class Data:
    def __init__(self) -> None:
        self.rows = [1]


def test_no_data_is_kept_alive_by_what_is_remembered(kernel):
    ns = kernel.run(
        "def make(d):\n    def inner():\n        return d\n    return inner\n\ndef f():\n    return table, inner()\n"
    )
    one, two = Data(), Data()
    refs = [weakref.ref(one), weakref.ref(two)]
    ns["table"], ns["inner"] = one, ns["make"](two)
    function_digest(ns["f"])
    code_mark(ns["f"])
    del ns["table"], ns["inner"], one, two
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_helpers_a_thousand_deep_are_followed(kernel):
    def source(last):
        lines = [f"def f{i}(x):\n    return f{i + 1}(x)\n" for i in range(1000)]
        return "".join(lines) + f"def f1000(x):\n    return {last}\n"

    assert key(kernel, source(1), "f0") != key(kernel, source(2), "f0")


def test_two_namespaces_with_one_name_are_told_apart():
    def helper(n, body):
        ns = {"__name__": "same", "N": n}
        exec(compile(f"def helper():\n    return {body}\n", f"<made {n}>", "exec"), ns)
        return ns["helper"]

    def digest(first, second):
        ns = {"__name__": "other", "a": first, "b": second}
        exec(compile("def f():\n    return a() + b()\n", "<made>", "exec"), ns)
        return function_digest(ns["f"])

    digests = {digest(helper(x, "N"), helper(y, "N")) for x in (1, 2) for y in (1, 2)}
    assert len(digests) == 4


def test_builtin_methods_bound_to_data_count_by_the_data(kernel):
    source = "join = {!r}.join\ndef f(x):\n    return join(x)\n"
    assert key(kernel, source.format(","), "f") != key(kernel, source.format(";"), "f")


def test_a_decorator_that_is_an_object_counts_by_what_it_holds(kernel):
    source = """
    import functools
    class times:
        def __init__(self, f):
            functools.update_wrapper(self, f)
            self.n = 3
        def __call__(self, x):
            return self.__wrapped__(x) * self.n
    @times
    def helper(x):
        return x
    def f(x):
        return helper(x)
    """
    first = key(kernel, source, "f")
    assert key(kernel, source, "f") == first
    for before, after in [("self.n = 3", "self.n = 4"), ("return x\n", "return -x\n"), ("(x) * self", "(x) / self")]:
        assert before in source
        assert key(kernel, source.replace(before, after), "f") != first


def test_a_relative_import_inside_a_function_is_followed(project):
    project("relpkg.__init__", "")
    project("relpkg.low", "def base(x):\n    return x\n")
    project(
        "relpkg.high",
        "def top(x):\n    from . import low\n    from .low import base\n    return base(x) + low.base(x)\n",
    )
    import relpkg.high  # type: ignore[import-not-found]

    first = function_digest(relpkg.high.top)
    relpkg.high.top(1)
    assert function_digest(relpkg.high.top) == first
    project("relpkg.low", "def base(x):\n    return x * 222\n")
    importlib.reload(sys.modules["relpkg.low"])
    assert function_digest(relpkg.high.top) != first


def test_attributes_that_a_module_makes_when_asked_count(project, kernel):
    project(
        "lazymod", "def __getattr__(name):\n    if name == 'VALUE':\n        return 5\n    raise AttributeError(name)\n"
    )
    f = kernel.run("import lazymod\ndef f():\n    return lazymod.VALUE\n")["f"]
    first = function_digest(f)
    project(
        "lazymod",
        "def __getattr__(name):\n    if name == 'VALUE':\n        return 666\n    raise AttributeError(name)\n",
    )
    importlib.reload(sys.modules["lazymod"])
    assert function_digest(f) != first


def test_source_that_makes_the_compiler_warn_is_read_without_a_word(kernel):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = kernel.run("def f(x):\n    return x is 1, '\\d'\n")["f"]
    assert function_digest(f)


class Raises:
    def __getattr__(self, name):
        raise RuntimeError(name)

    def __call__(self):
        return 1


def test_code_that_cannot_be_looked_at_is_unkeyable():
    with pytest.raises(UnkeyableError):
        step_parts(Raises(), (), {}, name="f")
