"""What a cell reads, and the parts of its key."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import pytest

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import cell_parts, diff
from awaitly_nb.keys.cells import cell_reads


def reads(source):
    return {".".join(chain) for chain in cell_reads(ast.parse(source)).chains}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("y = x + 1", {"x"}),
        ("x = 1\ny = x", set()),
        ("y = x\nx = 1", {"x"}),
        ("x += 1", {"x"}),
        ("x: int = 1\ny: T", {"int", "T"}),
        ("import numpy as np\nnp.sum(a.b)", {"a.b"}),
        ("from m import f as g\ng(f)", {"f"}),
        ("df['a'] = 1", {"df"}),
        ("df.x.y = 1", {"df.x"}),
        ("a, (b, *c) = d\na; b; c", {"d"}),
        ("del x\nx", {"x"}),
        ("x = 1\ndel x\nx", {"x"}),
        # Functions are read where they are first used.
        ("def f():\n    return x\nx = 1\nf()", set()),
        ("def f():\n    return x\nf()\nx = 1", {"x"}),
        ("def f():\n    return x", {"x"}),
        ("def f(a, *b, c=d, **e):\n    g = a\n    return a, b, c, e, g, h", {"d", "h"}),
        ("def f():\n    def g():\n        return x\n    x = 1\n    return g", set()),
        ("def f():\n    global n\n    n += 1\nf()", {"n"}),
        ("f = lambda a: a + x\nx = 2\nf(1)", set()),
        ("print((lambda a: a + x)(1))\nx = 2", {"print", "x"}),
        ("@deco\ndef f():\n    return x\nx = 1", {"deco", "x"}),
        ("def f():\n    return g()\ndef g():\n    return x\nx = 1\nf()", set()),
        ("async def f():\n    await x\nawait f()", {"x"}),
        # Comprehensions have a scope of their own.
        ("[i + k for i in xs if i > j]", {"k", "xs", "j"}),
        ("{a: b for a, b in p.items() for c in a}", {"p.items"}),
        ("[(n := i) for i in xs]\nn", {"xs"}),
        ("i = 0\n[i for i in i]", set()),
        # Classes run at once, their methods later.
        ("class C(B):\n    y = x\n    z = y\n    def m(self):\n        return w\nw = 1\nC()", {"B", "x"}),
        ("class C:\n    def m(self):\n        return C, w", {"w"}),
        # Branches.
        ("if c:\n    x = 1\nelse:\n    x = 2\nx", {"c"}),
        ("if c:\n    x = 1\nx", {"c", "x"}),
        ("if c:\n    x = 1\nelse:\n    raise E\nx", {"c", "E"}),
        ("for i in xs:\n    y = i\ny, i", {"xs"}),
        ("while c:\n    y = 1\ny", {"c"}),
        ("with o() as f:\n    x = f.read()\nx", {"o"}),
        ("try:\n    x = 1\nexcept E as e:\n    x = e\nx", {"E"}),
        ("try:\n    x = 1\nexcept E:\n    pass\nx", {"E", "x"}),
        ("try:\n    import a\nexcept E:\n    a = None\nfinally:\n    b = 1\na, b", {"E"}),
        (
            "match v:\n    case {'k': k, **r}:\n        x = k\n    case [a, *b] if a > c:\n        x = b\n"
            "    case _:\n        x = 0\nx",
            {"v", "c", "x"},
        ),
        ("if (n := f()) > 1:\n    n", {"f"}),
        ("f'{x!r:>{w}}'", {"x", "w"}),
    ],
)
def test_names_that_a_cell_reads(source, expected):
    assert reads(source) == expected


def key(source, namespace, **options):
    return cell_parts(source, namespace, name="cell", **options).key


def test_layout_comments_and_unread_variables_keep_the_key():
    first = key("y = x + 1\nz = y", {"x": 1})
    assert key("# why\ny = (x +\n   1)  # so\n\nz = y\n", {"x": 1, "other": 2}) == first
    assert key("y = x + 2\nz = y", {"x": 1}) != first
    assert key("y = x + 1\nz = y", {"x": 1.0}) != first
    assert key("y = x + 1\nz = y", {}) != first


def test_what_the_cell_left_behind_is_not_read_when_it_runs_again():
    source = "total = 0\nfor i in items:\n    total += i\n    last = i\nprint(total, last)\n"
    before = {"items": [1, 2]}
    after = {**before, "total": 3, "last": 2, "i": 2}
    assert key(source, before) == key(source, after)


def test_a_loop_over_nothing_leaves_what_was_there():
    source = "for i in items:\n    last = i\nprint(last)\n"
    assert key(source, {"items": [], "last": 1}) != key(source, {"items": [], "last": 2})
    assert key(source, {"items": [5], "last": 1}) == key(source, {"items": [5], "last": 2})


def test_ignored_names_do_not_count_and_values_without_a_key_are_named():
    import threading

    lock = threading.Lock()
    with pytest.raises(UnkeyableError) as caught:
        key("f(lock)", {"lock": lock})
    assert "lock" in caught.value.path
    assert key("f(lock)", {"lock": lock}, ignore=["lock"]) == key("f(lock)", {"lock": 1}, ignore={"lock"})


def test_helpers_that_the_cell_calls_count(kernel):
    ns = kernel.run("def low(x):\n    return x\n\ndef helper(x):\n    return low(x)\n")
    first = key("y = helper(1)", ns)
    kernel.run("def low(x):\n    return -x\n")
    assert key("y = helper(1)", ns) != first
    kernel.run("def low(x):\n    # the same\n    return x\n")
    assert key("y = helper(1)", ns) == first


@pytest.mark.parametrize(
    "source",
    [
        "import mylib\ny = mylib.clean(1)",
        "import mylib as m\ny = m.clean(1)",
        "from mylib import clean\ny = clean(1)",
        "from mylib import *\ny = clean(1)",
        "def f():\n    from mylib import clean\n    return clean(1)\ny = f()",
        "def f():\n    import mylib\n    return mylib.clean(1)\ny = f()",
        "import mylib\nf = mylib\ny = f.clean(1)",
    ],
)
def test_modules_that_the_cell_imports_count(project, source):
    project("mylib", "def clean(x):\n    return x\n")
    first = key(source, {})
    left = {}
    exec(source, left)
    left.pop("__builtins__")
    left.pop("f", None)
    assert key(source, left) == first
    project("mylib", "def clean(x):\n    return -x * 2\n")
    importlib.reload(sys.modules["mylib"])
    assert key(source, {}) != first


def test_the_version_of_an_imported_package_counts():
    parts = cell_parts("import numpy as np\nx = np.ones(3)", {}, name="cell").parts
    assert [part.name for part in parts if part.kind == "package"] == ["numpy"]
    parts = cell_parts("import os, json\nx = json.dumps(1)", {}, name="cell").parts
    assert [part.kind for part in parts] == ["code"]


def test_top_level_await_is_fine():
    assert key("x = await fetch(1)", {}) != key("x = await fetch(2)", {})


CELLS = {
    "train": """
import numpy as np
rng=np.random.default_rng(0)
losses=[]
for epoch in range(3):
    loss=float(rng.random())
    losses.append(loss)
print(loss)
""",
    "plot": """
import json
fig_data=[(i,i**2) for i in range(3)]
with open('/tmp/x.txt','w') as fh:
    fh.write(str(fig_data))
""",
    "cls": """
class A:
    def m(self): return helper(1)
obj=A()
res=obj.m()
""",
    "try": """
try:
    val=int('x')
except ValueError as err:
    val=str(err)
finally:
    done=True
print(val,done)
""",
    "cond": """
mode='a'
if mode=='a':
    out=1
elif mode=='b':
    out=2
else:
    out=3
print(out)
""",
    "func": """
def train(n):
    acc=0
    for i in range(n):
        acc+=step(i)
    return acc
def step(i):
    return i*SCALE
SCALE=2
result=train(3)
""",
    "walrus": """
data=[1,2,3]
if (n:=len(data))>2:
    print(n)
big=[y for x in data if (y:=x*2)>2]
print(y)
""",
    "nested": """
def outer():
    total=0
    def inner():
        nonlocal total
        total+=1
        return total
    return inner()
z=outer()
""",
    "aug": """
count=0
count+=1
d={}
d['a']=count
d['a']+=1
""",
    "while": """
i=0
while i<3:
    i+=1
    last=i
print(last)
""",
    "ann": """
from dataclasses import dataclass
@dataclass
class P:
    x: int = 0
p=P(1)
print(p.x)
""",
    "del": """
tmp=1
del tmp
""",
    "lam": """
f=lambda v: v*K
K=3
w=list(map(f,[1,2]))
""",
    "star": """
first,*rest=[1,2,3]
print(*rest)
""",
    "fstr": """
name='a'
print(f'{name!r:>{5}}')
""",
    "dec": """
import functools
@functools.lru_cache
def fib(n): return n if n<2 else fib(n-1)+fib(n-2)
v=fib(5)
""",
}


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_run_again_unchanged_has_its_key(kernel, capsys, what):
    ns = kernel.run("def helper(x):\n    return x\n")
    first = cell_parts(CELLS[what], ns, name="cell")
    first.to_data()
    kernel.run(CELLS[what])
    assert diff(first, cell_parts(CELLS[what], ns, name="cell")) == ()
    assert cell_parts(CELLS[what], ns, name="cell") == first


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nx = np.ones(3)",
        "from pandas import DataFrame as D\nx = D()",
        "from sklearn.linear_model import LinearRegression\nx = LinearRegression()",
        "def f():\n    import numpy as np\n    return np.ones(3)\nx = f()",
        "import os.path\nx = os.path.sep",
    ],
)
def test_a_package_that_the_cell_loads_first_keeps_the_key(source):
    for package in ("numpy", "pandas", "sklearn"):
        if package in source:
            pytest.importorskip(package)
    code = f"""
import sys
from awaitly_nb.keys import cell_parts
assert not {{"numpy", "pandas", "sklearn"}} & set(sys.modules)
before = cell_parts({source!r}, {{}}, name="c").key
namespace = {{}}
exec({source!r}, namespace)
namespace.pop("f", None)
from awaitly_nb.keys.origin import package_version
package_version.cache_clear()
assert cell_parts({source!r}, namespace, name="c").key == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
