"""What is set on a class, a function or a closure after it was made is an input of whoever reads it."""

from __future__ import annotations

import pytest

from awaitly_nb.keys import cell_parts, step_parts

COUNTER = """
def make():
    n = 0
    def f():
        nonlocal n
        n += 1
        return n
    return f
f = make()
"""
DECORATED = """
import functools
def counted(g):
    calls = [0]
    @functools.wraps(g)
    def wrapper():
        calls[0] += 1
        return g(), calls[0]
    return wrapper
@counted
def f():
    return 1
"""
CASES = {
    "attribute of a class": ("class M:\n    rate = 1\n", "M.rate = .1", "y = M.rate"),
    "new attribute of a class": ("class M:\n    pass\n", "M.rate = .1", "y = M().rate"),
    "through an instance": ("class M:\n    rate = 1\nm = M()\n", "M.rate = .1", "y = m.rate"),
    "new, through an instance": ("class M:\n    pass\nm = M()\n", "M.rate = .1", "y = m.rate"),
    "list on a class": ("class M:\n    pool = []\nm = M()\n", "M.pool.append(1)", "y = m.pool"),
    "of a base": ("class B:\n    r = 1\nclass M(B):\n    pass\n", "B.r = 2", "y = M.r"),
    "of a metaclass": ("class T(type):\n    r = 1\nclass M(metaclass=T):\n    pass\n", "T.r = 2", "y = M.r"),
    "read by a helper": ("class M:\n    r = 1\ndef f():\n    return M.r\n", "M.r = 2", "y = f()"),
    "a method": ("class M:\n    def g(self): return 1\nm = M()\n", "M.g = lambda self: 2", "y = m.g()"),
    "attribute of a function": ("def f():\n    return f.n\nf.n = 0\n", "f.n = 5", "y = f()"),
    "read in the cell": ("def f():\n    pass\nf.n = 0\n", "f.n = 5", "y = f.n"),
    "read by name": ("def f():\n    pass\nf.n = 0\n", "f.n = 5", "y = getattr(f, 'n')"),
    "all of them": ("def f():\n    pass\nf.n = 0\n", "f.n = 5", "y = vars(f)"),
    "of a function in a list": ("def f():\n    pass\nf.n = 0\nfs = [f]\n", "f.n = 5", "y = fs[0].n"),
    "changed in place": ("def f():\n    return f.cache\nf.cache = {}\n", "f.cache[1] = 5", "y = f()"),
    "default": ("def f(x, seen=[]):\n    seen.append(x)\n    return seen\n", "f(1)", "y = f(2)"),
    "keyword default": ("def f(*, seen={}):\n    seen[1] = 1\n    return seen\n", "f()", "y = f()"),
    "closure": (COUNTER, "f()", "y = f()"),
    "closure of a decorator": (DECORATED, "f()", "y = f()"),
    "arguments of a partial": ("import functools\nl = []\nf = functools.partial(sum, l)\n", "l.append(1)", "y = f()"),
    "object of a bound method": (
        "class M:\n    x = 1\n    def g(self): return self.x\nm = M(); g = m.g\n",
        "m.x = 2",
        "y = g()",
    ),
    "method put on an installed class": (
        "import fractions\nfractions.Fraction.own = lambda self: 1\nv = fractions.Fraction(1)\n",
        "fractions.Fraction.own = lambda self: 2",
        "y = v.own()",
    ),
    "function put on an installed module": (
        "import fractions\nfractions.own = lambda: 1\n",
        "fractions.own = lambda: 2",
        "y = fractions.own()",
    ),
}


@pytest.fixture(autouse=True)
def library():
    import fractions

    yield
    for owner in (fractions, fractions.Fraction):
        if hasattr(owner, "own"):
            del owner.own


@pytest.mark.parametrize(("setup", "change", "cell"), CASES.values(), ids=CASES)
def test_a_cell_that_reads_it_misses(kernel, setup, change, cell):
    kernel.run(setup)
    first = cell_parts(cell, kernel.ns, name="c").key
    assert cell_parts(cell, kernel.ns, name="c").key == first
    kernel.run(change)
    assert cell_parts(cell, kernel.ns, name="c").key != first


@pytest.mark.parametrize(("setup", "change", "cell"), CASES.values(), ids=CASES)
def test_a_step_that_reads_it_misses(kernel, setup, change, cell):
    kernel.run(setup)
    step = kernel.run(f"def step():\n    {cell}\n    return y\n")["step"]
    first = step_parts(step, (), {}, name="step").key
    assert step_parts(step, (), {}, name="step").key == first
    kernel.run(change)
    assert step_parts(step, (), {}, name="step").key != first


@pytest.mark.parametrize("cell", ["y = [c().f() for c in made]", "y = K().f()"])
def test_classes_made_in_a_loop_have_the_same_key_in_each_kernel(kernel, cell):
    loop = """
made = []
for i in range(3):
    class K:
        n = i
        def f(self):
            return self.n
    made.append(K)
"""
    keys = set()
    for _ in range(2):
        for name in ("made", "K", "i"):
            kernel.ns.pop(name, None)
        kernel.run(loop)
        keys.add(cell_parts(cell, kernel.ns, name="c").key)
    assert len(keys) == 1
    kernel.run("K.n = 7")
    assert cell_parts(cell, kernel.ns, name="c").key not in keys
