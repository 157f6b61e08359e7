"""`%%awaitly`: a cell runs once, and comes back whole."""

from __future__ import annotations

import contextlib
import re
import sys

import pytest

from awaitly_nb.errors import CodeChangedWarning, NotCachedError, UncachedWarning
from awaitly_nb.notebook.session import PlaceholderError


@pytest.fixture
def calls(shell):
    """A list outside the notebook's namespace that cells can note calls in, without it being an input."""
    import builtins

    builtins.noted = noted = []
    yield noted
    del builtins.noted


def cell(line, source):
    return f"%%awaitly {line}\nnoted.append(1)\n{source}"


def test_a_cell_runs_once(shell, calls):
    shell.run(cell("raw", "x = 1 + 1\nprint('hello')"))
    assert (shell.ns["x"], shell.out, calls) == (2, "hello\n", [1])
    assert shell.badge.startswith("computed in")
    shell.forget()
    shell.run(cell("raw", "x = 1 + 1\nprint('hello')"))
    assert (shell.ns["x"], shell.out, calls) == (2, "hello\n", [1])
    assert shell.badge.startswith("from cache, computed")


def test_an_edited_cell_runs_again_and_says_why(shell, calls):
    shell.run(cell("raw", "x = 1"))
    shell.run(cell("raw", "x = 2"))
    assert (shell.ns["x"], len(calls)) == (2, 2)


def test_a_comment_changes_nothing(shell, calls):
    shell.run(cell("raw", "x = 1"))
    shell.run(cell("raw", "x = 1  # one\n\n"))
    assert len(calls) == 1


def test_an_input_is_part_of_the_key(shell, calls):
    shell.run("a = 1")
    shell.run(cell("raw", "x = a + 1"))
    shell.run("a = 2")
    shell.run(cell("raw", "x = a + 1"))
    assert (shell.ns["x"], len(calls)) == (3, 2)
    shell.run("a = 1")
    shell.run(cell("raw", "x = a + 1"))
    assert (shell.ns["x"], len(calls)) == (2, 2)


def test_a_helper_is_part_of_the_key(shell, calls):
    shell.run("def double(n):\n    return 2 * n")
    shell.run(cell("raw", "x = double(2)"))
    shell.run("def double(n):\n    return n + n + 0")
    shell.run(cell("raw", "x = double(2)"))
    assert len(calls) == 2


def test_a_file_is_part_of_the_key(shell, calls, tmp_path):
    data = tmp_path / "data.txt"
    data.write_text("one")
    shell.ns["path"] = str(data)
    for _ in range(2):
        shell.run(cell("raw", "from pathlib import Path\ntext = Path(path).read_text()"))
    assert len(calls) == 1
    data.write_text("two!")
    shell.run(cell("raw", "from pathlib import Path\ntext = Path(path).read_text()"))
    assert (shell.ns["text"], len(calls)) == ("two!", 2)


def test_aliases_stay_aliases(shell):
    source = "%%awaitly raw\na = [1]\nb = a\nc = {'a': a}"
    shell.run(source)
    shell.forget()
    shell.run(source)
    assert shell.ns["a"] is shell.ns["b"] is shell.ns["c"]["a"]


def test_a_name_that_is_an_input_stays_it(shell):
    shell.run("a = [1]")
    source = "%%awaitly raw\nb = a\nn = len(a)"
    shell.run(source)
    shell.forget()
    shell.run("a = [1]")
    shell.run(source)
    assert shell.ns["b"] is shell.ns["a"]


def test_a_file_left_behind_by_with_is_closed_again(shell):
    source = "%%awaitly raw\nimport os\nwith open(os.devnull) as f, open(os.devnull, 'rb') as g:\n    n = len(f.read())"
    for _ in range(2):
        shell.run(source)
        assert shell.ns["f"].closed
        assert shell.ns["g"].closed
        assert shell.ns["n"] == 0
        badge = shell.badge
        shell.forget()
    assert badge.startswith("from cache")


def test_imports_are_imported_again(shell):
    source = "%%awaitly raw\nimport os.path\nimport collections as c\nfrom math import pi\nx = pi"
    shell.run(source)
    shell.forget()
    shell.run(source)
    assert shell.ns["os"].path.join("a", "b")
    assert shell.ns["c"].OrderedDict
    assert shell.ns["pi"] == shell.ns["x"]


def test_what_the_cell_deleted_is_deleted(shell):
    source = "%%awaitly raw\nb = a + 1\ndel a"
    for _ in range(2):
        shell.run("a = 1")
        shell.run(source)
        assert shell.ns["b"] == 2
        assert "a" not in shell.ns


def test_a_changed_input_is_an_output(shell, calls):
    source = cell("raw", "a.append(2)")
    for _ in range(2):
        shell.run("a = [1]\nalias = a")
        shell.run(source)
        assert shell.ns["a"] == [1, 2]
        assert shell.ns["alias"] is shell.ns["a"]
    assert len(calls) == 1


def test_an_input_that_was_changed_and_then_rebound(shell, calls):
    source = cell("raw", "a.append(2)\na = 'gone'")
    for _ in range(2):
        shell.run("a = [1]\nalias = a")
        shell.run(source)
        assert (shell.ns["a"], shell.ns["alias"]) == ("gone", [1, 2])
    assert len(calls) == 1


def test_a_changed_array_is_an_output(shell, calls):
    source = cell("raw", "a[0] = 9")
    for _ in range(2):
        shell.run("import numpy as np\na = np.arange(3)\nview = a")
        shell.run(source)
        assert shell.ns["view"].tolist() == [9, 1, 2]
    assert len(calls) == 1


def test_names_may_swap(shell, calls):
    source = cell("raw", "a, b = b, a")
    for _ in range(2):
        shell.run("a, b = [1], [2]")
        shell.run(source)
        assert (shell.ns["a"], shell.ns["b"]) == ([2], [1])
    assert len(calls) == 1


def test_a_global_that_a_helper_changes_is_an_output(shell, calls):
    source = cell("raw", "note(2)")
    for _ in range(2):
        shell.run("seen = [1]\ndef note(n):\n    seen.append(n)")
        shell.run(source)
        assert shell.ns["seen"] == [1, 2]
    assert len(calls) == 1


def test_a_changed_frame_is_an_output(shell, calls):
    source = cell("raw", "df['y'] = df.x * 2")
    for _ in range(2):
        shell.run("import pandas as pd\ndf = pd.DataFrame({'x': [1, 2]})")
        shell.run(source)
        assert list(shell.ns["df"].columns) == ["x", "y"]
    assert len(calls) == 1


def test_what_happens_to_a_variable_later_does_not_reach_the_cache(shell, calls):
    source = cell("raw", "x = {'a': [1]}")
    for _ in range(3):
        shell.run(source)
        assert shell.ns["x"] == {"a": [1]}
        shell.ns["x"]["a"].append(2)
    assert len(calls) == 1


def test_the_same_value_again_is_still_assigned(shell):
    """A small int is one object; that the name was bound to it before must not hide the assignment."""
    shell.run("x = 5")
    shell.run("%%awaitly raw\nx = 5")
    shell.forget()
    shell.run("%%awaitly raw\nx = 5")
    assert shell.ns["x"] == 5


@pytest.mark.parametrize(
    ("source", "name", "value"),
    [
        ("for i in range(3):\n    pass", "i", 2),
        ("[last := n for n in (1, 2)]", "last", 2),
        ("with open(__import__('os').devnull) as f:\n    n = 1\ndel f", "n", 1),
        ("match [1, 2]:\n    case [first, *rest]:\n        pass", "rest", [2]),
        ("globals()['made'] = 3", "made", 3),
        ("a, (b, *c) = 1, (2, 3)", "c", [3]),
        ("x: int = 4", "x", 4),
        ("def f():\n    global g\n    g = 7\nf()", "g", 7),
    ],
)
def test_every_way_to_bind_a_name(shell, source, name, value):
    shell.run(f"%%awaitly raw\n{source}")
    shell.forget()
    shell.run(f"%%awaitly raw\n{source}")
    assert shell.badge.startswith("from cache")
    assert shell.ns[name] == value


def test_functions_come_back_bound_to_the_notebook(shell):
    source = "%%awaitly raw\ndef scaled(n):\n    return n * scale\nadd = lambda n: n + scale"
    for hit in (False, True):
        shell.forget()
        shell.run("scale = 10")
        shell.run(source)
        assert shell.badge.startswith("from cache") is hit
        assert shell.ns["scaled"](2) == 20
        shell.run("scale = 3")
        assert (shell.ns["scaled"](2), shell.ns["add"](2)) == (6, 5)


def test_a_restored_function_finds_what_is_defined_after_it(shell):
    for hit in (False, True):
        shell.forget()
        shell.run("%%awaitly helpers\ndef report(x):\n    return fmt(x)")
        assert shell.badge.startswith("from cache") is hit
        assert "fmt" not in shell.ns
        shell.run("def fmt(x):\n    return f'<{x}>'")
        assert shell.ns["report"](1) == "<1>"
        shell.run("def fmt(x):\n    return f'[{x}]'")
        assert shell.ns["report"](1) == "[1]"


def test_a_restored_function_brings_no_old_globals_along(shell):
    source = "%%awaitly helpers --key mine\ndef report(x):\n    return fmt(x)"
    shell.run("def fmt(x):\n    return f'<{x}>'")
    shell.run(source)
    shell.forget()
    shell.run("def fmt(x):\n    return 'new'")
    shell.run(source)
    assert shell.badge.startswith("from cache")
    assert (shell.ns["report"](1), shell.ns["fmt"](1)) == ("new", "new")
    shell.forget()
    shell.run(source)
    assert "fmt" not in shell.ns


def test_a_restored_function_writes_into_the_notebook(shell):
    for hit in (False, True):
        shell.forget()
        shell.run("%%awaitly counter\ncount = 0\ndef bump():\n    global count, seen\n    count += 1\n    seen = True")
        assert shell.badge.startswith("from cache") is hit
        builtins_of = shell.ns["__builtins__"]
        shell.run("bump()\nbump()")
        assert (shell.ns["count"], shell.ns["seen"]) == (2, True)
        assert shell.ns["__builtins__"] is builtins_of


TOOLS = """
import functools

FACTOR = 1

def scaled(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args) * FACTOR
    return wrapper
"""


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ("def outer(k):\n    def inner(x):\n        return x * k * RATE\n    return inner\nf = outer(1)", "f(3)"),
        ("f = [lambda x: x * RATE, {'g': lambda x: x * RATE}]", "f[1]['g'](3) if f[0](3) == 3 * RATE else 0"),
        ("import functools\nf = functools.partial(lambda x, y: x * y * RATE, 1)", "f(3)"),
        ("def f(x, g=lambda x: x * RATE, *, h=lambda x: x):\n    return h(g(x))", "f(3)"),
        ("def f(n):\n    for i in range(n):\n        yield RATE", "sum(f(3))"),
        ("async def f(n):\n    return n * RATE", "__import__('asyncio').run(f(3))"),
        ("def f(n):\n    return RATE if n == 1 else RATE + f(n - 1)", "f(3)"),
        ("class Box:\n    pass\nf = Box()\nf.fn = lambda x: x * RATE", "f.fn(3)"),
        ("class Box:\n    def fn(self, x):\n        return x * RATE\nf = Box().fn", "f(3)"),
        (
            "def local():\n    class Box:\n        def fn(self, x):\n            return x * RATE\n    return Box()\n"
            "f = local()",
            "f.fn(3)",
        ),
        (
            "import functools\ndef deco(fn):\n    @functools.wraps(fn)\n    def wrapper(x):\n"
            "        return fn(x) * RATE\n    return wrapper\n@deco\ndef f(x):\n    return x",
            "f(3)",
        ),
        ("import functools\n@functools.lru_cache\ndef f(x):\n    return x * RATE", "f(3)"),
        ("import awaitly_nb as aw\n@aw.step(name='again')\ndef f(x):\n    return x * RATE", "f(3)"),
        ("import bound_tools\n@bound_tools.scaled\ndef f(x):\n    return x * RATE", "f(3)"),
        ("import bound_tools\nf = bound_tools.scaled(len)", "f('abc') * RATE"),
    ],
    ids=lambda text: text.replace("\n", "; "),
)
def test_functions_of_every_make_read_the_notebook_as_it_is(shell, tmp_path, monkeypatch, made, used):
    (tmp_path / "bound_tools.py").write_text(TOOLS)
    monkeypatch.syspath_prepend(tmp_path)
    for hit in (False, True):
        shell.forget()
        shell.run("RATE = 1")
        shell.run(f"%%awaitly m\n{made}")
        assert shell.badge.startswith("from cache") is hit
        shell.run("RATE = 2")
        shell.run(f"result = {used}")
        assert shell.ns["result"] == 6
        if "bound_tools" in made:
            shell.run("bound_tools.FACTOR = 5")
            shell.run(f"result = {used}\nbound_tools.FACTOR = 1")
            assert shell.ns["result"] == 30


def test_a_function_that_a_step_returned_reads_the_notebook_too(shell):
    made = (
        "import awaitly_nb as aw\nRATE = 1\n"
        "def body(ctx):\n    return ctx.step('make', lambda: (lambda x: x * RATE), key='k')\n"
        "result = aw.create_workflow('w').run_sync(body)"
    )
    for _ in range(2):
        shell.forget()
        shell.run(made)
        shell.run("RATE = 2")
        shell.run("priced = result.unwrap()(3)")
        assert shell.ns["priced"] == 6


def test_with_vars_a_function_brings_what_the_cell_made_for_it(shell):
    source = (
        "%%awaitly m --vars area\nimport math\nhalf = 0.5\ntable = [1] * 10\n"
        "def squared(r):\n    return r * r * half\ndef area(r):\n    return 2 * math.floor(math.pi) * squared(r)"
    )
    for hit in (False, True):
        shell.forget()
        shell.run(source)
        assert shell.badge.startswith("from cache") is hit
        shell.run("result = area(2)")
        assert shell.ns["result"] == 12
    assert "table" not in shell.ns


def test_a_restored_function_keeps_its_source_and_so_its_key(shell, calls):
    helper = "%%awaitly helpers\ndef double(n):\n    return 2 * n"
    shell.run(helper)
    shell.run(cell("raw", "x = double(2)"))
    shell.forget()
    shell.run(helper)
    shell.run("import inspect")
    assert shell.ns["inspect"].getsource(shell.ns["double"]) == "def double(n):\n    return 2 * n\n"
    shell.run(cell("raw", "x = double(2)"))
    assert len(calls) == 1


def test_classes_and_their_instances_come_back_together(shell):
    source = (
        "%%awaitly raw\nfrom dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
        "    def double(self):\n        return self.x * 2\np = Point(4)"
    )
    shell.run(source)
    shell.forget()
    shell.run(source)
    assert shell.badge.startswith("from cache")
    assert type(shell.ns["p"]) is shell.ns["Point"]
    assert shell.ns["p"].double() == 8


@pytest.mark.parametrize(
    ("source", "check"),
    [
        ("class S:\n    pass\nS.count = 5\ns = S()", "S.count == 5 and type(s) is S"),
        ("class S:\n    made = []\n    def __init__(self):\n        S.made.append(self)\ns = S()", "S.made == [s]"),
        ("class S:\n    pass\ndef f(self):\n    return 7\nS.f = f\ns = S()", "s.f() == 7"),
        ("import enum\nclass C(enum.Enum):\n    RED = 1\nc = C.RED", "c is C.RED"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x y')\np = P(1, 2)", "type(p) is P and p.y == 2"),
        ("from functools import lru_cache\n@lru_cache\ndef f(n):\n    return n + 1\nx = f(1)", "f(1) == x == 2"),
        ("def make(k):\n    return lambda x: x * k\nf = make(3)", "f(2) == 6"),
        (
            "import re\ntry:\n    1 / 0\nexcept ZeroDivisionError as e:\n    err = e.with_traceback(None)",
            "type(err) is ZeroDivisionError",
        ),
    ],
)
def test_what_people_define_comes_back_as_it_was(shell, calls, source, check):
    for _ in range(2):
        shell.run(cell("raw", source))
        assert eval(check, shell.ns)
        shell.forget()
    assert len(calls) == 1


def test_an_unkeyable_input_runs_uncached_and_says_the_ways_out(shell, calls):
    shell.run("import threading\nlock = threading.Lock()")
    for _ in range(2):
        with pytest.warns(UncachedWarning, match="lock.*--ignore.*--key"):
            shell.run(cell("raw", "x = lock.locked()"))
    assert (shell.ns["x"], len(calls)) == (False, 2)
    for _ in range(2):
        shell.run(cell("raw --ignore lock", "x = lock.locked()"))
    assert len(calls) == 3


def test_a_variable_that_cannot_be_stored_comes_back_as_a_placeholder(shell, calls):
    source = cell("raw", "import threading\nconn = threading.Lock()\nx = 1")
    shell.run(source)
    assert ", stored" in shell.badge
    shell.forget()
    shell.run(source)
    assert (shell.ns["x"], len(calls)) == (1, 1)
    conn = shell.ns["conn"]
    assert "conn was a _thread.lock and could not be stored" in repr(conn)
    with pytest.raises(PlaceholderError, match="--force"):
        conn.acquire()
    with pytest.raises(PlaceholderError, match="--force"), conn:
        pass


def test_the_maker_of_a_placeholder_runs_before_a_cell_that_reads_it(shell, calls):
    source = cell("raw", "import threading\nconn = threading.Lock()\nx = [1]\nprint('made')")
    shell.run(source)
    for reader in ("held = conn.locked()", "%%awaitly later --ignore conn\nheld = conn.locked()"):
        shell.forget()
        calls.clear()
        shell.run(source)
        shell.run("x.append(2)")
        assert calls == []
        shell.run(reader)
        assert (shell.ns["held"], shell.ns["x"], calls) == (False, [1, 2], [1])
        assert shell.out == ""
        shell.run("again = conn.locked()")
        assert len(calls) == 1


def test_the_maker_runs_with_what_its_cell_read_where_that_is_bound_to_something_else_by_now(shell, calls):
    source = cell("raw", "import threading\nconn = threading.Lock()\nx = a + 1")
    shell.run("a = 1")
    shell.run(source)
    shell.forget()
    shell.run("a = 1")
    shell.run(source)
    shell.run("a = 2")
    shell.run("held = conn.locked()")
    assert (shell.ns["a"], shell.ns["x"], shell.ns["held"], len(calls)) == (2, 2, False, 2)


def test_the_maker_does_not_run_where_its_inputs_have_changed_in_place(shell, calls):
    source = cell("raw", "import threading\nconn = threading.Lock()\nx = len(a)")
    shell.run("a = [1]")
    shell.run(source)
    shell.forget()
    shell.run("a = [1]")
    shell.run(source)
    shell.run("a.append(2)")
    result = shell.attempt("conn.locked()")
    assert isinstance(result.error_in_exec, PlaceholderError)
    assert (shell.ns["a"], len(calls)) == ([1, 2], 1)
    shell.forget()
    shell.run("a = [1]")
    shell.run(source)  # its entry is gone, so that the notebook runs to its end
    assert len(calls) == 2


def test_what_a_placeholder_could_not_be_made_from_in_the_session_that_made_it_is_not_served(shell, calls):
    source = cell("raw", "import threading\nconn = threading.Lock()\nx = len(a)")
    for _ in range(2):
        shell.forget()
        for line in ("a = [1]", source, "a.append(2)", "held = conn.locked()"):
            shell.run(line)
        assert (shell.ns["x"], shell.ns["held"]) == (1, False)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("first", "does"),
    [
        ("import os", "os.environ['OWN_TWICE'] = '1'"),
        ("import random; random.seed(3)", "drawn = random.random()"),
        ("import random", "random.seed(4)"),
        ("import os", "os.chdir('.') if os.getcwd() == '/' else os.chdir('/')"),
        ("import sys", "sys.path.append('own')"),
        ("import pathlib", "_ = pathlib.Path('twice.txt').write_text('a')"),
    ],
)
def test_a_cell_that_does_more_than_bind_variables_is_not_stored_with_a_placeholder(
    shell, calls, tmp_path, monkeypatch, first, does
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delenv("OWN_TWICE", raising=False)
    shell.run(f"import threading\n{first}")
    shell.run(cell("raw", f"{does}\nconn = threading.Lock()"))
    assert "not stored: conn is a _thread.lock" in shell.badge


def test_a_variable_of_a_class_that_its_own_cell_defines_is_no_placeholder(shell, calls):
    source = cell("raw", "class It:\n    def __init__(self): self.items = (i for i in (1, 2))\nit = [It()]")
    for _ in range(2):
        shell.forget()
        shell.run(source)
        assert "not stored: it is a list" in shell.badge
        assert "knows the class It of the same cell" in shell.badge
        shell.run("same = isinstance(it[0], It)")
        assert shell.ns["same"]


def test_a_placeholder_that_a_function_in_a_container_reads_is_made_before(shell, calls):
    source = cell("raw", "import threading\nconn = threading.Lock()\nasks = {'held': [lambda: conn.locked()]}")
    shell.run(source)
    shell.forget()
    shell.run(source)
    shell.run("held = asks['held'][0]()")
    assert (shell.ns["held"], len(calls)) == (False, 2)


def test_a_cell_that_changes_its_input_is_not_stored_with_a_placeholder(shell, calls):
    source = cell("raw", "import threading\na.append(2)\nconn = threading.Lock()")
    for _ in range(2):
        shell.run("a = [1]")
        shell.run(source)
        assert shell.ns["a"] == [1, 2]
        assert "not stored: conn is a _thread.lock" in shell.badge
    assert len(calls) == 2


@pytest.mark.parametrize("value", ["fh", "[1, {'log': fh}]"])
@pytest.mark.parametrize("mode", ["r", "r+", "w", "rb"])
def test_an_open_file_is_a_placeholder_even_where_it_could_be_read(shell, tmp_path, value, mode):
    (tmp_path / "notes.txt").write_text("one")
    source = f"%%awaitly opened\nfh = open({str(tmp_path / 'notes.txt')!r}, {mode!r})\nmade = {value}\nx = 1"
    shell.run(source)
    shell.run("fh.close()")
    shell.forget()
    (tmp_path / "notes.txt").write_text("one")
    shell.run(source)
    if shell.badge.startswith("from cache"):
        assert "could not be stored" in repr(shell.ns["fh"])
        assert "could not be stored" in repr(shell.ns["made"])
    shell.run("fh.close()")
    assert shell.ns["x"] == 1


def test_a_function_over_an_open_file_is_a_placeholder(shell, tmp_path):
    (tmp_path / "notes.txt").write_text("one")
    source = (
        f"%%awaitly closed\ndef make():\n    fh = open({str(tmp_path / 'notes.txt')!r})\n"
        "    return lambda: fh\nread = make()"
    )
    shell.run(source)
    shell.run("read().close()")
    shell.forget()
    shell.run(source)
    assert "could not be stored" in repr(shell.ns["read"])
    shell.run("read().close()")


def test_filters_that_a_cell_sets_stay_set(shell):
    import warnings

    with warnings.catch_warnings():
        shell.run("%%awaitly raw\nimport warnings\nwarnings.filterwarnings('ignore', 'only this')")
        assert any(entry[1] is not None and entry[1].pattern == "only this" for entry in warnings.filters)
        assert not any(entry[1] is not None and "is done" in entry[1].pattern for entry in warnings.filters)


def test_a_failure_is_not_kept(shell, calls):
    for _ in range(2):
        result = shell.attempt(cell("raw", "print('before')\n1 / 0"))
        assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "source", ["x = = 3", "if True:\nx = 3", "x = (3", "return 3", "await nothing(", "%time y = 1\nx = = 3"]
)
def test_a_cell_that_does_not_compile_is_told_as_any_cell_is(shell, source):
    def told(cell):
        assert not shell.attempt(cell).success
        # Python 3.13 names an unfinished statement by a class of its own.
        assert re.search(r"^(Syntax|Indentation|_IncompleteInput)Error: ", shell.out, re.MULTILINE)
        return shell.out.replace(f"Cell In[{shell.ip.execution_count - 1}]", "Cell")

    plain = told(f"# %%awaitly raw\n{source}")
    assert told(f"%%awaitly raw\n{source}") == plain
    assert "awaitly_nb" not in plain


def test_a_workflow_that_is_stopped_in_a_cell_shows_the_cell_only(shell):
    shell.run("import awaitly_nb as aw\nworkflow = aw.create_workflow('flow')")
    shell.run("def stops():\n    raise KeyboardInterrupt")
    shell.run("async def body(ctx):\n    await ctx.step('s', stops, key='k')")
    for call in ("await workflow.run(body)", "workflow.run_sync(body)"):
        assert not shell.attempt(call).success
        assert "raise KeyboardInterrupt" in shell.out
        assert "File " not in shell.out
    shell.run("def fails():\n    raise RuntimeError('no disk')\n")
    assert not shell.attempt("workflow.run_sync(lambda ctx: ctx.step('s', fails, key='k')).unwrap()").success
    assert "no disk" in shell.out
    assert "File " not in shell.out


WAITS = "import asyncio\nawait asyncio.sleep(0)\n"


@pytest.mark.parametrize("first", ["%%awaitly raw\n", "# awaitly: cache\n"], ids=["one cell", "automatic"])
@pytest.mark.parametrize("before", ["", WAITS], ids=["plain", "awaits"])
def test_a_traceback_is_that_of_a_plain_cell(shell, first, before):
    def told(source):
        number = shell.ip.execution_count
        assert not shell.attempt(source).success
        assert f"Cell In[{number}], line" in shell.out
        assert "Cell In[1], line 2, in inverse(a)" in shell.out
        return shell.out.replace(f"Cell In[{number}]", "Cell")

    shell.run("def inverse(a):\n    return 1 / a")
    plain = told(f"# {first}{before}x = inverse(0)")
    if "awaitly:" in first:
        shell.run("%awaitly auto")
        plain = plain.replace("# # awaitly", "# awaitly")
    assert told(f"{first}{before}x = inverse(0)") == plain
    assert "magic" not in plain


def test_a_function_that_a_hit_brought_back_is_told_with_the_number_of_that_cell(shell):
    source = "%%awaitly made\ndef inverse(a):\n    return 1 / a"
    shell.run(source)
    shell.run("pass")
    shell.forget()
    number = shell.ip.execution_count
    shell.run(source)
    assert shell.badge.startswith("from cache")
    assert not shell.attempt("inverse(0)").success
    assert f"Cell In[{number}], line 3, in inverse(a)" in shell.out


def test_interrupts_pass_and_keep_nothing(shell, calls):
    for _ in range(2):
        result = shell.attempt(cell("raw", "raise KeyboardInterrupt"))
        assert isinstance(result.error_in_exec, KeyboardInterrupt)
    assert len(calls) == 2


def test_an_explicit_key_is_the_identity(shell, calls):
    shell.run("a = 1")
    shell.run(cell("raw --key mine", "x = a"))
    shell.run("a = 2")
    shell.run(cell("raw --key mine", "x = a"))
    assert (shell.ns["x"], len(calls)) == (1, 1)
    with pytest.warns(CodeChangedWarning, match="mine"):
        shell.run(cell("raw --key mine", "x = a + 1"))
    assert (shell.ns["x"], len(calls)) == (1, 1)


def test_a_key_takes_variables(shell):
    shell.run("year = 2013")
    shell.run("%%awaitly raw --key flights:{year}\nx = 1")
    assert shell.ns["get_ipython"]().run_line_magic("awaitly", "keys flights:2013").rows[0][0] == "flights:2013"


def test_a_key_whose_text_does_not_identify_a_value_takes_its_fingerprint(shell):
    for value in ("1", "'1'"):
        shell.run(f"k = {value}")
        with pytest.warns(UncachedWarning, match="reads as a number") if value == "'1'" else contextlib.nullcontext():
            shell.run('%%awaitly kind --key "m:{k}"\nx = type(k).__name__')
    assert shell.ns["x"] == "str"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("c --key m:{yaer}", "names 'yaer' in 'm:{yaer}', and there is no such variable; did you mean 'year'"),
        ("c_{yaer}", "there is no such variable"),
        ("c --key m:$year", "write {year}"),
        ("c --key m:{year", "cannot be read"),
        ("c --key m:{year.month}", "cannot be filled in"),
    ],
)
def test_what_cannot_be_filled_in_is_refused_before_the_cell_runs(shell, line, told):
    shell.run("year = 2013")
    assert told in str(shell.attempt(f"%%awaitly {line}\nx = 1").error_in_exec)
    assert "x" not in shell.ns


def test_a_key_takes_expressions(shell):
    shell.run("rows = [1, 2, 3]")
    shell.run('%%awaitly raw --key "rows:{len(rows)}:{rows[0]:02d}"\nx = 1')
    assert shell.ns["get_ipython"]().run_line_magic("awaitly", "keys rows:*").rows[0][0] == "rows:3:01"


def test_a_name_takes_variables(shell):
    shell.run("year = 2013")
    shell.run("%%awaitly flights_{year}\nx = 1")
    rows = shell.ns["get_ipython"]().run_line_magic("awaitly", "status").rows
    assert any("flights_2013" in map(str, row) for row in rows)


def test_force_runs_and_replaces(shell, calls):
    shell.run("import itertools")
    shell.run(cell("raw --key k", "x = len(noted)"))
    shell.run(cell("raw --key k --force", "x = len(noted)"))
    shell.forget()
    shell.run(cell("raw --key k", "x = len(noted)"))
    assert shell.ns["x"] == 2


def test_read_loads_or_fails(shell, calls):
    result = shell.attempt(cell("raw --read", "x = 1"))
    assert isinstance(result.error_in_exec, NotCachedError)
    shell.run(cell("raw", "x = 1"))
    shell.run(cell("raw --read", "x = 1"))
    assert len(calls) == 1


def test_no_output_restores_and_stays_silent(shell, calls):
    shell.run(cell("raw", "x = 1\nprint('shown')"))
    shell.run(cell("raw --no-output", "x = 1\nprint('shown')"))
    assert (shell.out, len(calls)) == ("", 1)


def test_dry_run_says_and_does_nothing(shell, calls):
    shell.run("a = 1")
    shell.run(cell("raw --dry-run", "x = a"))
    assert shell.badge == "dry run: miss: first run"
    shell.run(cell("raw", "x = a"))
    shell.run(cell("raw --dry-run", "x = a"))
    assert shell.badge.startswith("dry run: hit: computed")
    shell.run("a = 2")
    shell.run(cell("raw --dry-run", "x = a"))
    assert "a" in shell.badge
    assert "1 -> 2" in shell.badge
    assert len(calls) == 1


def test_a_ttl_expires(shell, calls):
    shell.run(cell("raw --ttl 1ms", "x = 1"))
    shell.run("import time\nt = time.perf_counter()\nwhile time.perf_counter() < t + 0.01: pass")
    shell.run(cell("raw --ttl 1ms", "x = 1"))
    assert len(calls) == 2


def test_two_cells_do_not_share(shell, calls):
    shell.run(cell("one", "x = 1"))
    shell.run(cell("two", "x = 1"))
    assert len(calls) == 2


def test_a_bare_magic_names_the_cell_by_what_it_makes(shell):
    shell.run("%%awaitly\nfeatures = [1]")
    assert shell.badge.startswith("computed in ")
    shell.run("%%awaitly features\nfeatures = [1]")
    assert shell.badge.startswith("from cache")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("raw extra", "'extra'"),
        ("raw --unknown", "'--unknown'"),
        ("raw --ttl 0s", "--ttl"),
        ("raw --ttl", "needs a value"),
        ("raw --vars 1x", "'1x'"),
        ("raw --force --read", "one of them"),
        ("raw 'open", "cannot read"),
    ],
)
def test_a_bad_first_line_answers_with_usage_and_no_traceback(shell, calls, line, said):
    result = shell.attempt(cell(line, "x = 1"))
    assert not result.success
    assert said in shell.err
    assert shell.err.startswith("UsageError: ")
    assert "Traceback" not in shell.out + shell.err
    assert calls == []


@pytest.mark.parametrize("command", ["!ls", "x = !ls", "%pip install nothing", "%sx ls", "get_ipython().system('ls')"])
def test_commands_of_the_system_are_refused(shell, calls, command):
    shell.attempt(cell("raw", command))
    assert "--allow-shell" in shell.err
    assert calls == []


def test_a_command_that_is_allowed_runs(shell):
    shell.run("%%awaitly raw --allow-shell\nx = !echo hi")
    assert list(shell.ns["x"]) == ["hi"]


def test_asking_is_refused(shell):
    shell.attempt("%%awaitly raw\nname = input('who? ')")
    assert "input('who? ')" in shell.out
    assert "name" not in shell.ns


def test_vars_that_were_not_assigned_are_an_error(shell):
    result = shell.attempt("%%awaitly raw --vars nope\nx = 1")
    assert not result.success
    assert "'nope'" in shell.err
    assert "x" not in shell.ns


def test_vars_that_only_a_run_can_tell_are_checked_after_it(shell):
    shell.attempt("%%awaitly raw --vars nope\nglobals()['x'] = 1")
    assert "'nope'" in shell.out
    shell.run("%%awaitly raw --vars x\nglobals()['x'] = 1")
    shell.run("%%awaitly other --vars y\ndef f():\n    global y\n    y = 2\nf()")
    assert shell.ns["y"] == 2


def test_a_hit_holds_every_variable_that_is_asked_for(shell, calls):
    shell.run(cell("raw --vars a", "a = 1\nb = 2"))
    shell.forget()
    shell.run(cell("raw --vars a,b", "a = 1\nb = 2"))
    assert (shell.ns["a"], shell.ns["b"], len(calls)) == (1, 2, 2)
    assert "b is asked for" in shell.badge
    shell.forget()
    shell.run(cell("raw --vars b", "a = 1\nb = 2"))
    assert (shell.ns["b"], len(calls)) == (2, 2)


def test_nested_magics_run_and_what_they_read_counts(shell, calls):
    shell.run("a = 1")
    shell.run(cell("raw", "%time x = a + 1"))
    shell.run("a = 2")
    shell.run(cell("raw", "%time x = a + 1"))
    assert (shell.ns["x"], len(calls)) == (3, 2)
    shell.forget()
    shell.run("a = 2")
    shell.run(cell("raw", "%time x = a + 1"))
    assert (shell.ns["x"], len(calls)) == (3, 2)


def test_a_trailing_semicolon_silences_the_value(shell):
    shell.run("%%awaitly raw\n40 + 2;")
    assert shell.out == ""
    shell.run("%%awaitly other\n40 + 2")
    assert "42" in shell.out


def test_the_value_of_the_last_line_is_the_underscore_again(shell):
    shell.run("%%awaitly raw\nx = [1]\nx")
    shell.forget()
    shell.run("%%awaitly raw\nx = [1]\nx")
    assert shell.ns["_"] is shell.ns["x"]


def test_awaiting_cells_run_once_too(shell, calls):
    source = cell("raw", "import asyncio\nawait asyncio.sleep(0)\nx = await asyncio.sleep(0, 5)\nprint(x)")
    shell.run(source)
    assert (shell.ns["x"], shell.out, calls) == (5, "5\n", [1])
    shell.forget()
    shell.run(source)
    assert (shell.ns["x"], shell.out, calls) == (5, "5\n", [1])
    assert shell.badge.startswith("from cache")


def test_a_dry_run_of_an_awaiting_cell(shell, calls):
    shell.run(cell("raw --dry-run", "import asyncio\nawait asyncio.sleep(0)"))
    assert (shell.badge, calls) == ("dry run: miss: first run", [])


def test_only_awaiting_cells_take_the_awaiting_path(shell):
    plain = shell.ip.transform_cell("%%awaitly raw\nasync def f():\n    await g()\nx = 1")
    assert plain.startswith("get_ipython().run_cell_magic('awaitly', 'raw'")
    awaiting = shell.ip.transform_cell("%%awaitly raw\nx = await f()")
    assert awaiting.startswith("await get_ipython().run_cell_magic('awaitly', 'raw'")
    loop = shell.ip.transform_cell("%%awaitly raw\nasync for x in f(): pass")
    assert loop.startswith("await ")


def test_a_failing_awaiting_cell_shows_its_own_line(shell):
    result = shell.attempt("%%awaitly raw\nimport asyncio\nawait asyncio.sleep(0)\n1 / 0")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert "----> 4 1 / 0" in shell.out
    assert "awaitly_nb/" not in shell.out
