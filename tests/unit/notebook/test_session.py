"""After a hit every name, view and holder sees what running the cell would have left."""

from __future__ import annotations

import gc

import pytest

from awaitly_nb.notebook.session.live import Live


def hit_after_restart(shell, cells, reads):
    """Run cells cold, then from the cache in an empty session; return what an expression is both times."""
    ends = []
    for hit in (False, True):
        shell.forget()
        for index, source in enumerate(cells):
            shell.run(f"%%awaitly c{index}\n{source}")
            assert shell.badge.startswith("from cache") is hit, shell.badge
        ends.append(repr(eval(reads, shell.ns)))
    return ends


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        (["a = [1]", "box = {'in': a}", "a.append(2)"], "(box, box['in'] is a)"),
        (["a = {'k': 1}", "b = [a]", "a['z'] = 2; del a['k']"], "(b, b[0] is a)"),
        (["a = {1, 2}", "b = (a,)", "a.add(3); a.discard(1)"], "(sorted(b[0]), b[0] is a)"),
        (["a = bytearray(b'ab')", "b = [a]", "a += b'c'"], "(b, b[0] is a)"),
        (["from collections import deque\na = deque([1])", "b = [a]", "a.appendleft(0)"], "(b, b[0] is a)"),
        (["from collections import OrderedDict\na = OrderedDict(x=1, y=2)", "b = [a]", "a.move_to_end('x')"], "b"),
        (["from collections import defaultdict\na = defaultdict(list)", "b = [a]", "a['k'].append(1)"], "b"),
        (["a = [[1], [2]]", "inner = a[1]", "inner.append(3)"], "(a, a[1] is inner)"),
        (["a = [3, 1]", "b = a", "b.sort()"], "(a, a is b)"),
        (["a = [1]\nb = a", "a += [2]"], "(b, a is b)"),
        (["a = [1]", "b = a.append", "b(2)"], "a"),
        (["import array\na = array.array('i', [1])", "b = [a]", "a.append(2)"], "(b, b[0] is a)"),
    ],
    ids=lambda value: " | ".join(value) if isinstance(value, list) else "",
)
def test_containers_change_in_place(shell, cells, reads):
    plain, hit = hit_after_restart(shell, cells, reads)
    assert hit == plain


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        (["import numpy as np\nx = np.arange(4)", "v = x[:2]", "v[0] = 99"], "x.tolist()"),
        (["import numpy as np\nx = np.arange(12).reshape(3, 4)", "v = x.T[1:]", "x[:, 2] = 0"], "v.tolist()"),
        (["import numpy as np\nx = np.arange(8)\nv = x[::2]", "v += 10"], "x.tolist()"),
        (["import numpy as np\nbig = np.arange(8)\na, b = big[:5], big[3:]\ndel big", "b[0] = 7"], "a.tolist()"),
        (["import numpy as np\nx = np.arange(4)", "v = x.view('i4')", "x[1] = 5"], "v.tolist()"),
        (["import numpy as np\nx = np.array([[1], 2], dtype=object)", "e = x[0]", "e.append(3)"], "x.tolist()"),
        (["import numpy as np\nx = np.array(['2020', '2021'], 'M8[Y]')", "v = x[1:]", "v[0] = '1999'"], "x.tolist()"),
        (
            ["import numpy as np\nx = np.zeros(3)\nr = x.view(); r.flags.writeable = False", "x[0] = 1"],
            "(r.tolist(), r.flags.writeable)",
        ),
        (
            ["import numpy as np\ng = np.random.default_rng(1)", "h = [g]", "a = g.random()"],
            "(h[0] is g, h[0].random())",
        ),
        (["import random\ng = random.Random(1)", "h = [g]", "a = g.random()"], "(h[0] is g, h[0].random())"),
    ],
    ids=lambda value: " | ".join(value) if isinstance(value, list) else "",
)
def test_arrays_go_on_sharing_their_memory(shell, cells, reads):
    pytest.importorskip("numpy")
    plain, hit = hit_after_restart(shell, cells, reads)
    assert hit == plain


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        (["df = pd.DataFrame({'k': [1]})\nframes = {'t': df}", "frames['t']['new'] = 5"], "df.to_dict('list')"),
        (["df = pd.DataFrame({'k': [1, 2]})", "d2 = df", "df.loc[0, 'k'] = 9"], "(d2 is df, d2.k.tolist())"),
        (["df = pd.DataFrame({'k': [1, 2]})", "df.loc[0, 'k'] = 9; e = df.rename(columns={'k': 'z'})"], "e.z.tolist()"),
        (["df = pd.DataFrame({'k': [1, 2]})", "v = df.values", "df.loc[0, 'k'] = 9"], "v.tolist()"),
        (["df = pd.DataFrame({'k': [1, 2]})", "s = df['k']", "df.loc[0, 'k'] = 9"], "(s.tolist(), df.k.tolist())"),
        (["df = pd.DataFrame({'k': [1, 2]})", "s = df['k']", "s[0] = 9"], "(s.tolist(), df.k.tolist())"),
        (
            ["df = pd.DataFrame({'k': [1, 2]})", "e = df.rename(columns={'k': 'z'})", "df['k'] = 0"],
            "(e.z.tolist(), df.k.tolist())",
        ),
        (["df = pd.DataFrame({'k': [2, 1]})", "h = [df]", "df.insert(0, 'z', df.pop('k') + 1)"], "h[0].to_dict()"),
        (
            ["df = pd.DataFrame({'k': [2, 1]})", "h = [df]", "df.columns = ['z']; df.index.name = 'row'"],
            "(list(h[0]), h[0].index.name)",
        ),
        (["df = pd.DataFrame({'k': [2, 1]})", "i = df.index", "df.index.name = 'row'"], "i.name"),
        (["df = pd.DataFrame({'s': ['a', 'b']})", "h = [df]", "df.loc[0, 's'] = 'z'"], "h[0].s.tolist()"),
        (
            ["df = pd.DataFrame({'c': pd.Categorical(['a', 'b'])})", "h = [df]", "df.loc[0, 'c'] = 'b'"],
            "h[0].c.tolist()",
        ),
        (["s = pd.Series([1, 2])", "h = [s]", "s.name = 'n'; s[0] = 7"], "(h[0].name, h[0].tolist())"),
        (["df = pd.DataFrame({'k': [1]})", "h = [df]", "df.attrs['unit'] = 'm'"], "h[0].attrs"),
        (
            ["df = pd.DataFrame({'a': [1], 'b': [2.]})", "df['c'] = df.a * 2", "m = df.mean().to_dict()"],
            "(m, df.c.tolist())",
        ),
    ],
    ids=lambda value: " | ".join(value) if isinstance(value, list) else "",
)
def test_frames_change_in_place(shell, cells, reads):
    pytest.importorskip("pandas")
    plain, hit = hit_after_restart(shell, ["import pandas as pd\n" + cells[0], *cells[1:]], reads)
    assert hit == plain


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        (["class K:\n    n = 0", "K.n = 5"], "K.n"),
        (["class K:\n    n = 0", "k = K()", "K.f = lambda self: 7"], "k.f()"),
        (["class K:\n    n = 0", "del K.n"], "hasattr(K, 'n')"),
        (
            [
                "class A:\n    n = 0; pool = []\n    def __init__(self):\n        A.n += 1; A.pool.append(1)\nx = A()",
                "y = A()",
            ],
            "(A.n, A.pool)",
        ),
        (["def f():\n    f.n += 1\n    return f.n\nf.n = 0", "a = f()", "b = f()"], "(a, b, f.n)"),
        (
            [
                "def make(n=0):\n    def tick():\n        nonlocal n; n += 1; return n\n    return tick\nt = make()",
                "a = t()",
                "b = t()",
            ],
            "(a, b, t())",
        ),
        (["def f(x, seen=[]):\n    seen.append(x)\n    return seen", "a = f(1)", "b = f(2)"], "(b, a is b)"),
        (["class P: pass\np = P()", "h = [p]", "p.x = 1; p.y = [2]"], "vars(h[0])"),
        (["class P:\n    __slots__ = ('x',)\np = P()", "h = [p]", "p.x = 1"], "h[0].x"),
        (["class P: pass\np = P(); p.x = 1", "h = [p]", "del p.x"], "vars(h[0])"),
        (["class L(list): pass\np = L([1])", "h = [p]", "p.append(2); p.name = 'n'"], "(h[0], h[0].name)"),
        (
            [
                "from dataclasses import dataclass\n@dataclass\nclass D:\n    x: int\nd = D(1)",
                "h = {'d': d}",
                "d.x = 2",
            ],
            "h",
        ),
        (["if True:\n    class K:\n        def f(self): return 3\nk = K()", "n = k.f()"], "(n, type(k) is K, k.f())"),
        (["for i in range(2):\n    class K:\n        v = i\nk = K()", "n = k.v"], "(n, type(k) is K)"),
        (["import types\nns = types.SimpleNamespace(a=1)", "h = [ns]", "ns.b = 2"], "h"),
    ],
    ids=lambda value: " | ".join(value).replace("\n", "; ") if isinstance(value, list) else "",
)
def test_objects_classes_and_functions_change_in_place(shell, cells, reads):
    plain, hit = hit_after_restart(shell, cells, reads)
    assert hit == plain


def test_a_frame_that_shares_columns_is_not_written_into(shell):
    """A frame that was computed here shares memory with a series until one is written to; a hit must not show there."""
    pytest.importorskip("pandas")
    shell.run("import pandas as pd\ndf = pd.DataFrame({'k': [1, 2]})")
    source = "%%awaitly write\ndf.loc[0, 'k'] = 9"
    shell.run(source)
    shell.forget()
    shell.run("import pandas as pd\ndf = pd.DataFrame({'k': [1, 2]})\ns = df['k']")
    shell.run(source)
    assert (shell.ns["df"].k.tolist(), shell.ns["s"].tolist()) == ([9, 2], [1, 2])


def test_what_is_shared_otherwise_than_when_it_was_stored_makes_the_cell_run(shell):
    source = "%%awaitly c\na[0].append(1)"
    shell.run("a = [[], []]")
    shell.run(source)
    shell.run("one = []\na = [one, one]")
    shell.run(source)
    assert shell.ns["a"] == [[1], [1]]


def test_objects_that_only_their_places_in_memory_tell_apart_are_not_taken_for_each_other(shell):
    for _ in range(2):
        shell.forget()
        shell.run("class A: pass\nitems = [A() for _ in range(6)]\nfirst = items[0]; s = set(items)")
        shell.run("%%awaitly c\ns.discard(first)")
        assert shell.ns["first"] not in shell.ns["s"]
        assert len(shell.ns["s"]) == 5
    assert "shared in another way" in shell.badge


def test_unchanged_columns_are_stored_once(shell):
    np = pytest.importorskip("numpy")
    shell.run("import pandas as pd, numpy as np\ndf = pd.DataFrame({c: np.arange(100_000.) for c in 'abcdef'})")
    shell.run("%%awaitly c\ndf['g'] = df.a * 2")
    rows = shell.ns["get_ipython"]().run_line_magic("awaitly", "keys c:*").rows
    assert "8" in str(rows[0])
    assert "MB" not in str(rows[0]), rows
    assert np.array_equal(shell.ns["df"].g, shell.ns["df"].a * 2)


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # from numpy 2.5 on; people's cells do it
def test_a_change_that_cannot_be_made_in_place_is_not_stored(shell):
    pytest.importorskip("numpy")
    for _ in range(2):
        shell.run("import numpy as np\nx = np.arange(4)")
        shell.run("%%awaitly c\nx.shape = (2, 2)")
        assert shell.ns["x"].shape == (2, 2)
        assert "not stored: it gives an array another shape" in shell.badge


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("import re\nm = re.search('b(c)', 'abcd')", "(m.group(1), m.span())"),
        (
            "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(1) as e:\n    n = 1",
            "e._shutdown",
        ),
        ("g = (i for i in (1, 2))\nn = list(g)", "(n, list(g))"),
        ("import zipfile, io\nwith zipfile.ZipFile(io.BytesIO(), 'w') as z:\n    n = 1", "z.fp"),
    ],
)
def test_what_is_spent_comes_back_spent(shell, source, reads):
    plain, hit = hit_after_restart(shell, [source], reads)
    assert hit == plain


def test_a_module_that_cannot_be_imported_makes_the_cell_run_and_says_why(shell, tmp_path):
    (tmp_path / "by_hand.py").write_text("V = 3")
    source = (
        "%%awaitly c\nfrom importlib.util import module_from_spec, spec_from_file_location\n"
        f"spec = spec_from_file_location('by_hand', {str(tmp_path / 'by_hand.py')!r})\n"
        "m = module_from_spec(spec)\nspec.loader.exec_module(m)\nv = m.V"
    )
    for told in ("stored", "No module named 'by_hand'"):
        shell.forget()
        shell.run(source)
        assert shell.ns["v"] == 3
        assert told in shell.badge


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        (["xs = [1, 2]; it = iter(xs)", "a = next(it)", "xs += [3, 4]; b = next(it), next(it)"], "(a, b, list(it))"),
        (["xs = [1]; it = iter(xs)", "xs.append(2); got = list(it)", "xs.append(3)"], "(got, list(it), xs)"),
        (["xs = [1]; it = iter(xs)", "got = list(it)", "xs.append(3); more = list(it)"], "(got, more)"),
        (["it = iter(range(6)); z = zip(it, it)", "a = next(z)", "b = next(it)"], "(a, b, list(z), list(it))"),
        (
            ["n = []\ndef f(x):\n    n.append(x)\n    return len(n)\nm = map(f, 'abc')", "a = next(m)"],
            "(a, n, list(m))",
        ),
        (["import itertools\nc = itertools.count(9, -2)", "a = next(c), next(c)", "b = next(c)"], "(a, b, next(c))"),
        (["import re\nms = list(re.finditer('a', 'banana'))", "n = ms[1].start()"], "(n, ms[1].pos, ms[2].span())"),
        (["xs = [1, 2, 3]; r = reversed(xs)", "a = next(r)", "xs[0] = 9", "b = list(r)"], "(a, b, list(r))"),
        (["it = iter([1, 2, 3]); m = map(str, it)", "a = next(m)", "b = next(it)"], "(a, b, list(m))"),
    ],
)
def test_an_iterator_goes_on_from_where_the_run_left_it(shell, cells, reads):
    plain = {}
    for source in cells:
        exec(source, plain)
    assert hit_after_restart(shell, cells, reads) == [repr(eval(reads, plain))] * 2


@pytest.mark.parametrize(
    "keep",
    ["err = e", "err = [e]", "try: raise TypeError from e\n    except TypeError as f: err = f.with_traceback(None)"],
)
def test_an_exception_is_made_anew_for_whoever_asks_for_its_traceback(shell, keep):
    source = f"try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    n = str(e)\n    {keep}"
    for _ in range(2):
        shell.forget()
        shell.run(f"%%awaitly c0\n{source}")
    assert shell.badge.startswith("from cache")
    assert shell.ns["n"] == "division by zero"
    shell.run(
        "%%awaitly c1\ne = err[0] if isinstance(err, list) else err.__cause__ or err\nm = e.__traceback__.tb_lineno"
    )
    assert shell.ns["m"] > 1


def test_an_exception_that_was_never_raised_is_stored(shell):
    assert hit_after_restart(shell, ["e = ValueError(1)"], "(e.args, e.__traceback__)") == ["((1,), None)"] * 2


@pytest.mark.parametrize(
    ("cold", "warm", "cell", "reads"),
    [
        ("a = [0]; b = a", "a = [0]; b = [0]", "a.append(1); n = len(b)", "(a, b, n)"),
        ("a = [0]; b = [0]", "a = [0]; b = a", "a.append(1); n = len(b)", "(a, b, n)"),
        ("r = [0]; m = [r, r]", "m = [[0], [0]]", "m[0][0] = 5; n = m[1][0]", "(m, n)"),
        ("a = [0]; b = a", "a = [0]; b = [0]", "n = a is b", "n"),
        ("a = np.zeros(2); b = a[:]", "a = np.zeros(2); b = np.zeros(2)", "a[0] = 5; n = b[0]", "n"),
        ("a = np.zeros(3); b = a[1:]", "a = np.zeros(3); b = a[:-1]", "b[0] = 5; n = a.tolist()", "n"),
    ],
)
def test_a_cell_runs_where_its_inputs_are_shared_in_another_way(shell, cold, warm, cell, reads):
    ends = []
    for source in (cold, warm):
        shell.forget()
        shell.run(f"import numpy as np\n{source}")
        shell.run(f"%%awaitly c\n{cell}")
        assert shell.badge.startswith("computed")
        ends.append(eval(reads, dict(shell.ns)))
        again = {}
        exec(f"import numpy as np\n{source}\n{cell}", again)
        assert repr(eval(reads, again)) == repr(ends[-1])


@pytest.mark.parametrize(
    ("source", "undo"),
    [
        ("from pathlib import Path; n = Path('out.txt').write_text('first')", lambda here: (here / "out.txt").unlink()),
        (
            "from pathlib import Path; n = Path('out.txt').write_text('first')",
            lambda here: (here / "out.txt").write_text("other"),
        ),
        ("import os; os.makedirs('made/inner', exist_ok=True)", lambda here: (here / "made/inner").rmdir()),
        ("import os; os.remove('old.txt')", lambda here: (here / "old.txt").write_text("old")),
        ("import os; os.rename('old.txt', 'new.txt')", lambda here: (here / "new.txt").rename(here / "old.txt")),
    ],
)
def test_a_hit_leaves_the_files_that_running_would(shell, tmp_path, monkeypatch, source, undo):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.txt").write_text("old")
    source = f"%%awaitly c\n{source}"
    shell.run(source)
    after = {path.name: path.is_dir() or path.read_text() for path in tmp_path.rglob("*")}
    shell.run(source)
    assert shell.badge.startswith("from cache")
    undo(tmp_path)
    shell.run(source)
    assert shell.badge.startswith("from cache")
    assert "files as it left them: " in shell.badge
    assert {path.name: path.is_dir() or path.read_text() for path in tmp_path.rglob("*")} == after


@pytest.mark.parametrize(
    "source",
    [
        "with open('out.txt', 'a') as f: n = f.write('more')",
        "p = Path('out.txt'); n = p.exists(); _ = p.write_text('more')",
        "p = Path('out' + '.txt'); n = os.path.getsize(p) if p in Path('.').iterdir() else 0; _ = p.write_text('more')",
        "try: n = Path('out.txt').read_text()\nexcept OSError: n = ''\n_ = Path('out.txt').write_text('more')",
        "n = len(list(Path('.').glob('*.txt'))); _ = Path('out.txt').write_text('more')",
        "n = Path('out.txt').write_text('x' * (2 << 20))",
        "n = Path('other.txt').write_text('x'); Path('out.txt').symlink_to('other.txt')",
        "_ = Path('out.txt').write_text('x'); n = os.utime('out.txt', (1000, 1000))",
        "n = Path('out.txt').write_text('x'); os.link('out.txt', 'twin.txt')",
    ],
)
def test_a_cell_runs_where_its_files_may_have_told_it_something(shell, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    source = f"%%awaitly c\nimport os\nfrom pathlib import Path\n{source}"
    shell.run(source)
    for path in tmp_path.glob("*.txt"):
        path.unlink()
    (tmp_path / "out.txt").write_text("other")
    try:
        shell.run(source)
    except OSError:  # a link cannot be made there
        return
    assert shell.badge.startswith("computed")
    assert "it wrote files" in shell.badge


def test_files_are_what_they_were_where_a_hit_cannot_be_served_after_all(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shell.run("seen = []\ndef fail():\n    if seen: raise ValueError('no')\n    return 1")
    source = "%%awaitly c --ignore seen,fail\nwith open('out.txt', 'a') as f: f.write('1')\nclass K:\n    n = fail()"
    shell.run(source)
    (tmp_path / "out.txt").unlink()
    shell.run("seen.append(1)")
    with pytest.raises(ValueError, match="no"):
        shell.run(source)
    assert (tmp_path / "out.txt").read_text() == "1"  # of the run, and not of a hit before it


def test_a_temporary_file_is_no_output(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "%%awaitly c\nfrom pathlib import Path\nn = Path('t.tmp').write_text('x')\nPath('t.tmp').unlink()"
    shell.run(source)
    (tmp_path / "t.tmp").write_text("of somebody else")
    shell.run(source)
    assert shell.badge.startswith("from cache")


def test_what_was_stored_can_be_collected(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    shell.run("%%awaitly big\nimport numpy as np\nx = np.arange(3_000_000, dtype=float)")
    shell.run("%%awaitly total\ny = x * 2")
    shell.forget()
    gc.collect()  # which crashed in CPython's own buffers
    shell.run("%%awaitly big\nimport numpy as np\nx = np.arange(3_000_000, dtype=float)")
    assert shell.badge.startswith("from cache")


def test_what_was_defined_and_deleted_again_is_not_there_after_a_hit(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    ends = hit_after_restart(
        shell, ["class K:\n    pass\nkind = K.__name__\ndel K\nv = [1]"], "('K' in globals(), v, kind)"
    )
    assert ends == ["(False, [1], 'K')"] * 2


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        (["h = logging.NullHandler(); log.addHandler(h)"], "log.handlers[0] is h"),
        (["h = logging.NullHandler(); held = [h]; log.addHandler(h)"], "held[0] is log.handlers[0] is h"),
        (["h = logging.StreamHandler(); h.setLevel(30); log.addHandler(h)"], "(log.handlers[0] is h, h.level)"),
        (
            ["a, b = logging.NullHandler(), logging.NullHandler()", "log.addHandler(b); log.addHandler(a)"],
            "log.handlers == [b, a]",
        ),
        (["h = logging.NullHandler()", "held = {'h': h}", "h.setLevel(40)"], "(held['h'] is h, held['h'].level)"),
    ],
    ids=lambda value: " | ".join(value) if isinstance(value, list) else "",
)
def test_a_handler_that_is_a_variable_is_the_one_on_its_logger(shell, cells, reads, monkeypatch):
    import logging

    # The name is that of a module which is loaded, and is no package that adds the handler itself.
    monkeypatch.setattr(logging.getLogger("abc"), "handlers", [])
    cells[0] = f"import logging, sys\nlog = logging.getLogger('abc')\n{cells[0]}"
    ends = []
    for hit in (False, True):
        shell.forget()
        logging.getLogger("abc").handlers.clear()
        for index, source in enumerate(cells):
            shell.run(f"%%awaitly c{index}\n{source}")
            assert shell.badge.startswith("from cache") is hit, shell.badge
        ends.append(repr(eval(reads, shell.ns)))
    assert ends[0] == ends[1]
    assert "False" not in ends[1]


@pytest.mark.parametrize(
    ("name", "place", "then", "reads"),
    [
        ("written_a", ".", "import written_a", "written_a.f()"),
        ("written_b", "later", "import sys; sys.path.insert(0, 'later')\nfrom written_b import f", "f()"),
        ("written_c", ".", "if True:\n    import written_c as m", "m.f()"),
    ],
)
def test_a_cell_imports_what_it_has_just_written(shell, name, place, then, reads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "later").mkdir()
    (tmp_path / f"{name}.py").write_text("def f(): return 1")
    write = f"from pathlib import Path\n_ = Path('{place}', '{name}.py').write_text('def f(): return 22')"
    shell.run(f"%%awaitly c\n{write}\n{then}")
    assert eval(reads, shell.ns) == 22


def test_a_module_that_is_as_it_was_is_loaded_once(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "loaded_once.py").write_text("with open('loads', 'a') as file:\n    file.write('x')")
    shell.run("%%awaitly c\nimport loaded_once\nn = 1")
    assert (tmp_path / "loads").read_text() == "x"


def test_what_cannot_be_looked_at_any_more_stops_no_cell(shell):
    shell.run("b = bytearray(b'abc')\nm = memoryview(b)")
    shell.run("%%awaitly c\nm.release()\nb.extend(b'd')")
    assert bytes(shell.ns["b"]) == b"abcd"
    assert "not stored: a memoryview cannot be looked at (ValueError" in shell.badge


def test_what_a_library_shares_inside_an_object_of_its_own_is_no_input():
    class Figure:
        def __init__(self, *parts):
            self.parts = list(parts)

        def __reduce__(self):
            return Figure, tuple(self.parts)

    Figure.__module__ = "json.encoder"  # a library
    one, line = ["a"], ["b"]
    figures = {"same": Figure(one, one), "equal": Figure(["a"], ["a"])}

    def sharing(**roots):
        live = Live(watch=False)
        live.add(roots.items())
        return live.sharing()

    assert sharing(f=figures["same"]) == sharing(f=figures["equal"]) == ""
    assert sharing(f=Figure(line), v=line) == sharing(f=Figure(one, line), v=line) != ""
    assert sharing(v=line, f=Figure(line)) != sharing(v=line, f=Figure(["b"]))
    assert sharing(v=line, w=line) != sharing(v=line, w=["b"])


def test_that_nothing_is_shared_is_seen_without_numbering_plain_containers():
    class Holder:
        def __init__(self, held):
            self.held = held

    line, rows = [1], [{"n": n, "in": (n, [n])} for n in range(20)]
    for roots, is_tree in (
        ({"rows": rows, "line": line, "text": "a"}, True),
        ({"rows": rows, "holder": Holder([2])}, True),
        ({"rows": rows, "also": rows}, False),
        ({"rows": [line, line]}, False),
        ({"rows": rows, "one": rows[3]["in"][1]}, False),
        ({"rows": rows, "holder": Holder(rows[3]["in"][1])}, False),
        ({"one": Holder(line), "other": Holder(line)}, False),
    ):
        live = Live(watch=False)
        live.add(roots.items())
        assert Live.is_a_tree(roots.items()) is is_tree
        assert (live.sharing() == "") is is_tree
