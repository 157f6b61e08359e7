"""The notebook cases, in a real IPython shell: what makes a step miss, and what keeps it."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import textwrap

import pytest

from awaitly_nb.keys import Parts, cell_parts, changed_files, diff, literal_files, step_parts, track_files

pytest.importorskip("IPython")

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

def deco(f):
    def wrapper(*args):
        return f(*args)
    return wrapper

@deco
def decorated(x):
    return x
"""

STEP = """
def step(x, y=1):
    '''Doc.'''
    import mylib
    # A comment.
    return helper(x) + LIMIT + Model().predict(y) + inner(x) + decorated(x) + mylib.clean(x)
"""


class Shell:
    """An InteractiveShell; `run` runs a cell as a notebook does, and fails with the cell."""

    def __init__(self, shell):
        self.shell = shell

    def run(self, *cells):
        for cell in cells:
            self.shell.run_cell(cell, store_history=True).raise_error()

    def __getitem__(self, name):
        return self.shell.user_ns[name]

    def parts(self, **arguments):
        return step_parts(self["step"], (2,), arguments, name="step")

    def key(self):
        return self.parts().key


@pytest.fixture
def shell(tmp_path, monkeypatch, project):
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    main = sys.modules["__main__"]
    streams = sys.stdout, sys.stderr, sys.displayhook, sys.excepthook
    project("mylib", "def clean(x):\n    return x\n")
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=config)
    try:
        yield Shell(made)
    finally:
        made.restore_sys_module_state()
        made.atexit_operations()
        atexit.unregister(made.atexit_operations)
        InteractiveShell.clear_instance()
        sys.modules["__main__"] = main
        sys.stdout, sys.stderr, sys.displayhook, sys.excepthook = streams


EDITS = {
    "the function": (STEP, "helper(x) + LIMIT", "helper(x) - LIMIT"),
    "a helper": (HELPERS, "deepest(x) * 2", "deepest(x) * 3"),
    "a helper's helper": (HELPERS, "return x + 1", "return x + 2"),
    "a method of a class": (HELPERS, "return x * 2", "return x * 3"),
    "a global": (HELPERS, "LIMIT = 3", "LIMIT = 4"),
    "a default": (STEP, "y=1", "y=2"),
    "a closure": (HELPERS, "inner = make(1)", "inner = make(2)"),
    "a decorator": (HELPERS, "return f(*args)", "return -f(*args)"),
}


@pytest.mark.parametrize("what", EDITS)
def test_edit_misses_and_flipping_back_hits_the_old_entry(shell, what):
    source, before, after = EDITS[what]
    assert source.count(before) == 1
    shell.run(HELPERS, STEP)
    first = shell.key()
    shell.run(source.replace(before, after))
    if source is HELPERS:
        shell.run(STEP)
    edited = shell.key()
    assert edited != first
    shell.run(source)
    assert shell.key() == first
    shell.run(source.replace(before, after))
    assert shell.key() == edited


def test_edit_of_an_imported_module_misses_under_autoreload_and_flipping_back_hits(shell, project, tmp_path):
    shell.run("%load_ext autoreload", "%autoreload 2", "import mylib", "from mylib import clean")
    shell.run(HELPERS, STEP.replace("import mylib", "pass").replace("mylib.clean(x)", "clean(x)"))
    first = shell.key()
    before = shell.parts()
    before.to_data()
    path = tmp_path / "mylib.py"

    def save(source, seconds):
        project("mylib", source)
        os.utime(path, (path.stat().st_mtime + seconds,) * 2)
        shell.run("pass")

    save("def clean(x):\n    return -x * 3\n", 10)
    assert shell["clean"](1) == -3
    assert shell.key() != first
    save("# moved\n\ndef clean(x):\n    'Doc.'\n    return x\n", 20)
    assert shell["clean"](1) == 1
    assert diff(before, shell.parts()) == ()
    assert shell.key() == first


def test_comments_docstring_layout_other_code_and_cell_order_hit(shell):
    shell.run(HELPERS, STEP)
    first = shell.key()
    for cells in [
        [STEP.replace("# A comment.", "# Another.\n    # And one more.")],
        [STEP.replace("'''Doc.'''", "'''Other.'''")],
        [STEP.replace("helper(x) + LIMIT", "(helper( x )\n        + LIMIT)")],
        ["other = 1\nprint(other)\n" + STEP + "\nother = 2\n"],
        ["%matplotlib --list\n" + STEP] if "matplotlib" in sys.modules else [STEP],
        ["!true\n" + STEP],
        [STEP, HELPERS],
        [HELPERS + STEP],
        [STEP],
    ]:
        shell.run(*cells)
        assert shell.key() == first, cells


def test_a_csv_and_a_parquet_file_that_it_reads_count_by_content(shell, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": [1, 2]}).to_csv("in.csv", index=False)
    pd.DataFrame({"a": [1, 2]}).to_parquet("in.parquet")
    shell.run(
        """
        import pandas as pd
        FOLDER = "."
        def load():
            return pd.read_parquet("in.parquet")
        def step(x):
            table = pd.read_csv("in.csv")
            table.to_csv("out.csv")
            return table, load()
        """.replace("\n        ", "\n")
    )
    with track_files(literal_files(shell["step"], (2,))) as files:
        shell["step"](2)
    stamps = files.stamps()
    assert {"in.csv", "in.parquet"} <= {stamp["path"] for stamp in stamps}
    assert not any("out.csv" in stamp["path"] for stamp in stamps)
    assert changed_files(stamps) == []
    pd.DataFrame({"a": [1, 3]}).to_csv("in.csv", index=False)
    assert changed_files(stamps) == ["file in.csv changed"]
    pd.DataFrame({"a": [1, 3]}).to_parquet("in.parquet")
    assert sorted(changed_files(stamps)) == ["file in.csv changed", "file in.parquet changed"]
    pd.DataFrame({"a": [1, 2]}).to_csv("in.csv", index=False)
    pd.DataFrame({"a": [1, 2]}).to_parquet("in.parquet")
    assert changed_files(stamps) == []


def test_an_edited_helper_is_named_in_the_notebook(shell):
    shell.run(HELPERS, STEP)
    before = Parts.from_data(shell.parts().to_data())
    shell.run(HELPERS.replace("deepest(x) * 2", "deepest(x) * 3"))
    (change,) = diff(before, shell.parts())
    assert change.line == "helper helper edited"
    assert "+    return deepest(x) * 3" in change.detail


CELL = "table = [helper(i) for i in raw]\nimport mylib\nbest = max(mylib.clean(t) for t in table)\n"


def test_a_cell_is_keyed_by_what_it_reads_and_calls(shell):
    shell.run(HELPERS, "raw = [1, 2, 3]")

    def key(source=CELL):
        plain = shell.shell.transform_cell(source)
        return cell_parts(plain, shell.shell.user_ns, name="cell").key

    first = key()
    shell.run(CELL)
    assert key() == first
    assert key("# why\n" + CELL.replace("for i in raw]", "for i\n   in raw]")) == first
    shell.run("unrelated = 1")
    assert key() == first
    shell.run(HELPERS.replace("return x + 1", "return x + 2"))
    assert key() != first
    shell.run(HELPERS)
    assert key() == first
    shell.run("raw = [1, 2, 4]")
    assert key() != first
    assert key("!true\n" + CELL) != key()


SCRIPT = """
    import json, sys
    from awaitly_nb.keys import step_parts
    {shell}
    run({helpers!r}); run({step!r})
    print(step_parts(namespace["step"], (2,), {{}}, name="step").key)
"""
IN_SHELL = """
    from IPython.core.interactiveshell import InteractiveShell
    ip = InteractiveShell.instance(); namespace = ip.user_ns
    ip.history_manager.enabled = False
    def run(cell): ip.run_cell(cell).raise_error()
"""
HEADLESS = """
    import linecache
    namespace = {"__name__": "__main__"}
    def run(cell):
        name = "/tmp/ipykernel_9/" + str(len(cell)) + ".py"
        linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)
        exec(compile(cell, name, "exec"), namespace)
"""


@pytest.mark.parametrize("how", [IN_SHELL, HEADLESS], ids=["restarted shell", "headless"])
def test_restart_and_headless_run_have_the_same_key(shell, tmp_path, how):
    shell.run(HELPERS, STEP)
    script = textwrap.dedent(SCRIPT).format(shell=textwrap.dedent(how), helpers=HELPERS, step=STEP)
    script = script.replace("\n    \n", "\n")
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == shell.key()


# -- the whole road: @aw.step in a shell -----------------------------------------------------------------------------

WORK = """
import awaitly_nb as aw
import pandas as pd

RATE = 2

def load():
    return pd.read_parquet("in.parquet")["a"].sum()

def total(x):
    return pd.read_csv("in.csv")["a"].sum() + load() + x * RATE

@aw.step
def step(x):
    '''Doc.'''
    with open("calls.log", "a") as log:
        log.write("called\\n")
    return int(total(x))
"""


def test_a_decorated_step_computes_after_each_real_change_and_only_then(shell, tmp_path, monkeypatch):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))

    def write(csv=1, parquet=1):
        pd.DataFrame({"a": [csv]}).to_csv("in.csv", index=False)
        pd.DataFrame({"a": [parquet]}).to_parquet("in.parquet")

    def calls(cell=WORK):
        """Run the cell again and call the step; return how often it computed so far, and what it returned."""
        shell.run(cell, "result = step(3)")
        return (tmp_path / "calls.log").read_text().count("called"), shell["result"]

    write()
    assert calls() == (1, 8)
    assert calls() == (1, 8)
    assert calls("# moved\n\n" + WORK.replace("Doc.", "Other.")) == (1, 8)
    assert calls(WORK.replace("RATE = 2", "RATE = 3")) == (2, 11)
    assert calls() == (2, 8)
    assert calls(WORK.replace(".sum() + load()", ".sum() - load()")) == (3, 6)
    assert calls() == (3, 8)
    write(csv=5)
    assert calls() == (4, 12)
    assert calls() == (4, 12)
    write(csv=5, parquet=7)
    assert calls() == (5, 18)
    write(csv=5, parquet=7)
    assert calls() == (5, 18)
