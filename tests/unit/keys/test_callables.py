"""What is called counts with all that it holds: objects, methods of objects, partials, decorators, attributes."""

from __future__ import annotations

import functools
import gc
import operator
import re
import threading
import weakref
from types import MethodType

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import function_digest, step_parts
from awaitly_nb.keys.graph import function_graph


def key(fn, *args, **kwargs):
    return step_parts(fn, args, kwargs, name="step").key


class Mul:
    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        return x * self.k

    def times(self, x):
        return x * self.k

    @aw.step(cache={})
    def kept(self, x):
        return x * self.k


class Timed:
    """A decorator that is an object and, unlike `functools.wraps`, does not say what it wraps."""

    def __init__(self, fn, scale=1):
        self.fn, self.scale = fn, scale

    def __call__(self, *args):
        return self.fn(*args) * self.scale


def interpolation(y):
    from scipy.interpolate import interp1d

    return interp1d([0.0, 1.0], [0.0, y])


HOLDERS = {
    "an object of one's own": (lambda: Mul(2), lambda: Mul(3)),
    "a polynomial": (lambda: np.poly1d([1, 0]), lambda: np.poly1d([5, 0])),
    "an interpolation": (lambda: interpolation(1.0), lambda: interpolation(2.0)),
    "a vectorized function": (lambda: np.vectorize(lambda x: x + 1), lambda: np.vectorize(lambda x: x + 2)),
    "a method of a str": (lambda: "-".join, lambda: "+".join),
    "a method of a dict": (lambda: {"a": 1}.get, lambda: {"a": 2}.get),
    "a slot of an int": (lambda: (1).__add__, lambda: (2).__add__),
    "a pattern's method": (lambda: re.compile("a").match, lambda: re.compile("b").match),
    "an itemgetter": (lambda: operator.itemgetter(0), lambda: operator.itemgetter(1)),
    "a decorator": (lambda: Timed(abs), lambda: Timed(len)),
    "a decorator's state": (lambda: Timed(abs), lambda: Timed(abs, 2)),
    "a method": (lambda: Mul(2).times, lambda: Mul(3).times),
    "a step that is a method": (lambda: Mul(2).kept, lambda: Mul(3).kept),
    "a method that is an object": (lambda: MethodType(Timed(abs), 1), lambda: MethodType(Timed(abs, 2), 1)),
    "a partial of a method": (lambda: functools.partial(Mul(2).times), lambda: functools.partial(Mul(3).times)),
    "a partial of an object": (lambda: functools.partial(Mul(2)), lambda: functools.partial(Mul(3))),
    "a partial of a builtin": (lambda: functools.partial("-".join), lambda: functools.partial("+".join)),
    "a partial of a step": (lambda: functools.partial(Mul(2).kept), lambda: functools.partial(Mul(3).kept)),
    "a staticmethod": (lambda: staticmethod(Mul(2)), lambda: staticmethod(Mul(3))),
    "a memo of an object": (lambda: functools.lru_cache(Mul(2)), lambda: functools.lru_cache(Mul(3))),
    "a step of an object": (lambda: aw.step(Mul(2)), lambda: aw.step(Mul(3))),
}


@pytest.mark.parametrize("what", HOLDERS)
def test_two_that_hold_something_else_have_two_keys_wherever_they_stand(kernel, what):
    one, other = HOLDERS[what]
    assert key(one(), "12") == key(one(), "12") != key(other(), "12")

    f = kernel.run("def f(x):\n    return called(x)\n")["f"]
    inside = [key(f, kernel.ns.update(called=made()) or 1) for made in (one, one, other)]
    assert inside[0] == inside[1] != inside[2]

    cells = [aw.keys.cell_parts("y = called('12')", {"called": made()}, name="c").key for made in (one, one, other)]
    assert cells[0] == cells[1] != cells[2]


def test_each_item_of_a_map_over_an_object_is_computed_anew_for_another_object():
    workflow = aw.create_workflow("w", cache={})
    for slope, result in ((1, 2.0), (5, 10.0), (1, 2.0)):
        polynomial = np.poly1d([slope, 0])
        assert workflow.run_sync(lambda ctx, fn=polynomial: ctx.map("f", fn, [2.0])).unwrap() == [result]


def test_a_step_over_an_object_is_computed_anew_for_another_and_when_it_changes():
    cache = {}
    two = Mul(2)
    assert [aw.step(two, cache=cache)(5), aw.step(Mul(3), cache=cache)(5)] == [10, 15]
    two.k = 4
    assert aw.step(two, cache=cache)(5) == 20


def test_a_dependency_that_is_an_object_is_computed_anew_for_another():
    cache = {}
    for k in (2, 3):
        workflow = aw.create_workflow("w", deps={"scale": Mul(k)}, cache=cache)
        assert workflow.run_sync(lambda ctx: ctx.steps.scale(5)).unwrap() == 5 * k


def test_a_class_that_decorates_is_not_mistaken_for_the_step_around_it():
    class Twice:
        def __init__(self, fn):
            self._fn = fn  # names that the step has too
            self.name = "twice"
            functools.update_wrapper(self, fn)

        def __call__(self, x):
            return 2 * self._fn(x)

    @aw.step(cache={})
    @Twice
    def work(x):
        return x + 1

    assert work(1) == 4
    assert work.name.endswith("work")


def test_an_object_that_has_no_fingerprint_runs_uncached_with_a_warning():
    made = Mul(threading.Lock())
    with pytest.raises(UnkeyableError, match=r"object Mul\.k") as caught:
        key(made, 1)
    assert "aw.step(ignore=...)" in str(caught.value)
    with pytest.warns(aw.errors.UncachedWarning, match=r"object Mul\.k"):
        aw.step(Mul(threading.Lock()), cache={}).result(1)


@pytest.mark.parametrize("fn", [np.add, np.exp, len, str.upper, operator.add, int, functools.lru_cache(abs)], ids=repr)
def test_what_holds_nothing_gets_no_part_of_its_own(fn):
    assert not function_graph(fn).slots


def test_a_ufunc_made_of_a_function_is_refused():
    with pytest.raises(UnkeyableError, match="ufunc made at run time"):
        key(np.frompyfunc(lambda x: x + 1, 1, 1), 1)


def test_no_callable_is_kept_alive_by_what_is_remembered():
    class Data(list):
        pass

    held = Data([1])
    fn = functools.partial(Mul(held).times)
    ref = weakref.ref(held)
    key(fn, 1)
    del fn, held
    gc.collect()
    assert ref() is None


# -- attributes of functions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("decorators", ["", "@aw.step(cache={})", "@functools.lru_cache", "@Timed"])
@pytest.mark.parametrize("reading", ["model.k", "getattr(model, 'k', 1)", "k_of(model)"])
def test_an_attribute_of_a_function_counts_where_code_reads_it(kernel, decorators, reading):
    kernel.ns.update(aw=aw, functools=functools, Timed=Timed)
    kernel.run(
        f"def k_of(fn):\n    return fn.k\n\n{decorators}\ndef model(x):\n    return x * {reading}\n"
        "def f(x):\n    return model(x)\n"
    )
    model, f = kernel["model"], kernel["f"]
    keys = [key(f, 1)]
    for k in (2, 3, 2):
        model.k = k
        if not isinstance(model, Timed):
            model.unread = object()  # of an object, all that it holds counts
        keys.append(key(f, 1))
    assert keys[1] == keys[3]
    assert len(set(keys[:3])) == 3
    model.k = []
    empty = key(f, 1)
    model.k.append(1)
    assert key(f, 1) != empty


def test_an_attribute_set_on_a_step_counts_for_the_step_itself(kernel):
    kernel.ns.update(aw=aw)
    model = kernel.run("@aw.step(cache={})\ndef model(x):\n    return x * model.k\n")["model"]
    for k in (2, 3, 2):
        model.k = k
        assert model(5) == 5 * k


def test_an_attribute_that_a_cell_reads_counts(kernel):
    model = kernel.run("def model():\n    pass\n")["model"]
    keys = []
    for k in (2, 3):
        model.k = k
        keys.append(aw.keys.cell_parts("y = model.k", kernel.ns, name="c").key)
    assert keys[0] != keys[1]


def test_an_attribute_that_nobody_reads_is_no_part_of_the_key(kernel):
    model = kernel.run("def model(x):\n    return x\n")["model"]
    first = key(model, 1)
    model.calls = 1
    assert key(model, 1) == first


# -- methods -------------------------------------------------------------------------------------------------------

DECORATED = """
import functools
class Timed:
    def __init__(self, fn, *more):
        functools.update_wrapper(self, fn)
        self.fn, self.more = fn, more
    def __call__(self, *args):
        return self.fn(*args) + 1
    def __get__(self, instance, owner):
        return functools.partial(self.fn, instance)
class Op:
    def __init__(self, n):
        self.n = n
    def __call__(self, *args):
        return self.n
def g(self, n):
    return n
K = 2
class M:
    {member}
    def more(self):
        return 1
def f():
    return M()
"""


@pytest.mark.parametrize(
    ("member", "before", "after"),
    [
        ("@Timed\n    def p(self): return 1", "self.fn(*args) + 1", "self.fn(*args) + 2"),
        ("@staticmethod\n    @Timed\n    def p(): return 1", "self.fn(*args) + 1", "self.fn(*args) + 2"),
        ("@property\n    @Timed\n    def p(self): return 1", "self.fn(*args) + 1", "self.fn(*args) + 2"),
        ("p = Timed(g, K)", "K = 2", "K = 3"),
        ("p = property(g, Op(K))", "K = 2", "K = 3"),
        ("p = functools.partialmethod(g, K)", "K = 2", "K = 3"),
        ("p = staticmethod(Op(K))", "K = 2", "K = 3"),
        ("p = functools.partial(Op(K))", "K = 2", "K = 3"),
        ("p = functools.cached_property(Op(K))", "K = 2", "K = 3"),
        ("__add__ = Op(K)", "K = 2", "K = 3"),
        ("__add__ = functools.partialmethod(g, K)", "K = 2", "K = 3"),
    ],
)
def test_what_decorates_or_makes_a_method_counts(kernel, member, before, after):
    source = DECORATED.format(member=member)
    assert before in source
    first = function_digest(kernel.run(source)["f"])
    assert function_digest(kernel.run(source)["f"]) == first
    assert function_digest(kernel.run(source.replace(before, after))["f"]) != first


def test_the_version_of_a_method_that_is_a_step_counts(kernel):
    kernel.ns.update(aw=aw)
    source = "class M:\n    @aw.step(version=1)\n    def p(self):\n        return 1\ndef f():\n    return M().p()\n"
    first = function_digest(kernel.run(source)["f"])
    assert function_digest(kernel.run(source)["f"]) == first
    assert function_digest(kernel.run(source.replace("version=1", "version=2"))["f"]) != first
    assert function_digest(kernel.run(source.replace("(version=1)", ""))["f"]) != first


# -- what is added or raised later ---------------------------------------------------------------------------------


def test_a_keyword_only_default_of_a_wrapper_counts(kernel):
    source = (
        "import functools\ndef f(x):\n    return x\n\n@functools.wraps(f)\ndef w(*a, scale=2, **k):\n"
        "    return f(*a, **k) * scale\n"
    )
    two = kernel.run(source)["w"]
    first, given = key(two, 1), key(two, 1, scale=3)
    assert key(two, x=1) == first != given
    three = kernel.run(source.replace("scale=2", "scale=3"))["w"]
    assert key(three, 1) != first
    assert key(three, 1, scale=3) == given


def test_a_handler_that_is_registered_later_is_noticed(kernel):
    ns = kernel.run(
        "import functools\n@functools.singledispatch\ndef show(x):\n    return 'any'\ndef f(x):\n    return show(x)\n"
    )
    first = key(ns["f"], 1)
    kernel.run("@show.register\ndef _(x: int):\n    return 'int'\n")
    assert key(ns["f"], 1) != first


def test_a_raised_version_of_a_step_inside_makes_the_step_around_it_new(kernel):
    kernel.ns.update(aw=aw, cache={}, state={"n": 0})
    fetch = "@aw.step(version={}, cache=cache)\ndef fetch():\n    return state_of()['n']\n"
    kernel.ns["state_of"] = functools.partial(dict, n=0)
    report = "@aw.step(cache=cache)\ndef report():\n    return fetch()\n"
    keys = [kernel.run(fetch.format(n) + report)["report"].key() for n in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]
    unversioned = kernel.run(fetch.replace("version={}, ", "") + report)["report"].key()
    assert unversioned not in keys
    plain = kernel.run(fetch.replace("@aw.step(version={}, cache=cache)\n", "") + report)["report"].key()
    assert plain == unversioned


# -- classes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        'dataclasses.make_dataclass("P", [("x", int, dataclasses.field(default={}))])',
        'types.new_class("P", (), {{}}, lambda ns: ns.update(x={}))',
        'abc.ABCMeta("P", (), {{"x": {}}})',
    ],
)
def test_a_class_that_a_function_made_is_the_users(kernel, make):
    source = f"import abc, dataclasses, types\nP = {make}\ndef f():\n    return P().x\ndef g(p):\n    return p.x\n"
    keys = []
    for default in (1, 1, 2):
        ns = kernel.run(source.format(default))
        keys.append((key(ns["f"]), key(ns["g"], ns["P"]()), key(ns["P"])))
    assert keys[0] == keys[1]
    assert all(one != other for one, other in zip(keys[0], keys[2], strict=True))


def test_what_an_enum_consists_of_is_looked_at_once(kernel):
    source = "import enum\nclass Mode(enum.Enum):\n    A = 1\n    B = 2\ndef f():\n    return Mode.A\n"
    f = kernel.run(source)["f"]
    first = function_graph(f)
    assert function_graph(f) is first
    digest = function_digest(f)
    assert function_digest(kernel.run(source.replace("B = 2", "B = 3"))["f"]) != digest


# -- words ---------------------------------------------------------------------------------------------------------


def test_only_what_is_passed_is_advised_to_be_ignored(kernel):
    f = kernel.run("import threading\nlock = threading.Lock()\ndef f(x):\n    return lock, x\n")["f"]
    with pytest.raises(UnkeyableError, match=re.escape("global lock")) as caught:
        key(f, 1)
    assert "make it an argument that @aw.step(ignore=...) leaves out" in str(caught.value)
    kernel.ns["lock"] = 1
    with pytest.raises(UnkeyableError, match=re.escape("leave it out with ignore=")):
        key(f, threading.Lock())
