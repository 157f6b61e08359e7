"""What the text of a cell says without running it."""

import ast

import pytest

from awaitly_nb.plans.statics import Constant, Definition, Imported, always_runs, made_names, read_statics


def statics(source):
    return read_statics(ast.parse(source), source)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("a = 1", ["a"]),
        ("a, (b, *c) = f()", ["a", "b", "c"]),
        ("for i in x:\n    y = i", ["i", "y"]),
        ("with open(p) as f:\n    t = f.read()", ["f", "t"]),
        ("if x:\n    a = 1\nelse:\n    b = 2", ["a", "b"]),
        ("z = [i for i in x]", ["z"]),
        ("z = [last := i for i in x]", ["z", "last"]),
        ("import a.b, c as d\nfrom e import f as g", ["a", "d", "g"]),
        ("def f():\n    inner = 1\nclass C:\n    member = 1", ["f", "C"]),
        ("try:\n    a = 1\nexcept E as e:\n    b = 2", ["a", "b"]),
        ("match x:\n    case [p, *q]:\n        pass\n    case {'k': v, **r}:\n        pass", ["p", "q", "v", "r"]),
        ("x.y = 1; z[0] = 2", []),
    ],
)
def test_what_a_cell_binds(source, names):
    assert sorted(statics(source).bound) == sorted(names)


def test_what_the_text_alone_tells():
    found = statics(
        "import numpy as np\nfrom a.b import c\nn, m = 3, 'x'\ndef f(x=1):\n    return x\ng = lambda y: y\nz = f()"
    )
    assert found.known["np"] == Imported("numpy")
    assert found.known["c"] == Imported("a.b", "c")
    assert (found.known["n"], found.known["m"]) == (Constant(3), Constant("x"))
    assert isinstance(found.known["f"], Definition)
    assert found.known["f"].text == "def f(x=1):\n    return x\n"
    assert isinstance(found.known["g"], Definition)
    assert "z" not in found.known


def test_a_later_binding_replaces_what_the_text_told():
    assert "n" not in statics("n = 3\nn = f()").known
    assert statics("n = f()\nn = 3").known["n"] == Constant(3)


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("df['x'] = 1", ["df"]),
        ("m.rate = 2", ["m"]),
        ("a.append(1)", ["a"]),
        ("n += 1", ["n"]),
        ("model.fit(X, y)", ["X", "model", "y"]),
        ("s = model.fit(X).score(X)", ["model"]),
        ("df.drop('a', axis=1, inplace=True)", ["df"]),
        ("df.drop('a', axis=1, inplace=False)\nd = 1", ["df"]),
        ("clean(df)", ["df"]),
        ("print(df); df.head()", []),
        ("def f(d):\n    return d", []),
    ],
)
def test_what_a_cell_may_change_in_place(source, changed):
    assert sorted(statics(source).changed) == changed


def test_what_a_text_cannot_tell():
    assert "exec()" in statics("exec('x = 1')").dynamic
    assert "%run" in statics("get_ipython().run_line_magic('run', 'other.py')").dynamic
    assert statics("from m import *").starred == ["m"]
    assert statics("del x, y").deleted == ["x", "y"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import numpy as np\nfrom a import b", "imports"),
        ("def f():\n    return slow()", "definitions"),
        ("class C:\n    n = 0", "definitions"),
        ("f = lambda x: x", "definitions"),
        ("N = 10\nNAMES = ['a', 'b']\nRATE = 1 / 3", "constants"),
        ("np.random.seed(0)", "settings"),
        ("plt.rcParams['figure.dpi'] = 100", "settings"),
        ("plt.rcParams.update({'figure.dpi': 100})", "settings"),
        ("os.environ['MODE'] = 'x'", "settings"),
        ("pd.set_option('display.max_rows', 7)\nsns.set_theme()", "settings"),
        ("get_ipython().run_line_magic('matplotlib', 'inline')", "settings"),
        ("'''only text'''", "nothing to run"),
        ("", "nothing to run"),
        ("import numpy as np\nx = np.ones(3)", ""),
        ("df.head()", ""),
        ("N = compute()", ""),
        ("if __name__ == '__main__':\n    main()", ""),
        ("x", ""),
    ],
)
def test_which_cells_always_run(source, why):
    assert always_runs(ast.parse(source)) == why


def test_what_a_cell_is_called_by():
    assert made_names(
        ast.parse("import os\nfor i in x:\n    pass\nmodel, scores = fit()\n_tmp = 1\ndef f(): pass")
    ) == [
        "model",
        "scores",
    ]


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("plt.scatter(x, y, c=z)", ["plt"]),
        ("ax.set_title(title)", ["ax"]),
        ("frame.to_csv(path)", ["frame"]),
        ("log.info(x)", []),
        ("shuffle(x)", ["x"]),
        ("rng.shuffle(x)", ["rng", "x"]),
        ("heapq.heappush(queue, 3)", ["heapq", "queue"]),
    ],
)
def test_what_draws_writes_or_tells_leaves_its_arguments_as_they_are(source, changed):
    assert [name for name in read_statics(ast.parse(source), source).changed if name != "log"] == changed
