"""The ledger of process state: what one cell sets is set in another process that only loads what was stored."""

from __future__ import annotations

import importlib
import json
import logging
import os
import pickle
import subprocess
import sys
import warnings

import pytest

import awaitly_nb as aw
from awaitly_nb.notebook.ledger import Ledger

# Any import that the effect needs, the code of the cell, and what a later cell sees.
EFFECTS = {
    "environment set": ("import os", "os.environ['QQ'] = 'v'", "os.environ.get('QQ')"),
    "environment removed": ("import os; os.environ['QQ'] = 'v'", "del os.environ['QQ']", "os.environ.get('QQ')"),
    "folder below": (
        "import os; os.makedirs('sub', exist_ok=True)",
        "os.chdir('sub')",
        "os.path.basename(os.getcwd())",
    ),
    "path at front": ("import sys", "sys.path.insert(0, 'front')", "sys.path[0]"),
    "path second": ("import sys", "sys.path.insert(1, 'second')", "sys.path[1]"),
    "path at end": ("import sys", "sys.path.append('end')", "sys.path[-1]"),
    "path removed": ("import sys; sys.path.append('end')", "sys.path.remove('end')", "'end' in sys.path"),
    "warnings ignored": (
        "import warnings",
        "warnings.filterwarnings('ignore', message='zzz')",
        "warnings.filters[0][1].pattern",
    ),
    "warnings reset": ("import warnings", "warnings.resetwarnings()", "len(warnings.filters)"),
    "locale": (
        "import locale",
        "locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')",
        "locale.setlocale(locale.LC_NUMERIC)",
    ),
    "decimal": ("import decimal", "decimal.getcontext().prec = 5", "decimal.Decimal(1) / 3"),
    "decimal trap": (
        "import decimal",
        "decimal.getcontext().traps[decimal.Inexact] = True",
        "decimal.getcontext().traps[decimal.Inexact]",
    ),
    "decimal imported in the cell": (
        "",
        ("import decimal\ndecimal.getcontext().prec = 6"),
        "__import__('decimal').getcontext().prec",
    ),
    "recursion limit": ("import sys", "sys.setrecursionlimit(4321)", "sys.getrecursionlimit()"),
    "garbage collection": ("import gc", "gc.disable()", "gc.isenabled()"),
    "socket": ("import socket", "socket.setdefaulttimeout(7)", "socket.getdefaulttimeout()"),
    "level of a logger": (
        "import logging",
        "logging.getLogger('a.b').setLevel('ERROR')",
        "logging.getLogger('a.b').level",
    ),
    "logging disabled": ("import logging", "logging.disable(30)", "logging.root.manager.disable"),
    "basicConfig": (
        "import logging",
        "logging.basicConfig(level='INFO', format='%(message)s!')",
        "(logging.root.level, [h.formatter._fmt for h in logging.root.handlers])",
    ),
    "builtin": ("", "import builtins\nbuiltins.twice = len", "twice([1])"),
    "attribute of a module": ("import json", "json.mark = 5", "json.mark"),
    "function of a module": ("import json", "json.dumps = len", "json.dumps([1])"),
    "attribute of a class": ("import pathlib", "pathlib.PurePath.mark = 7", "pathlib.PurePath.mark"),
    "attribute deleted": ("import json; json.mark = 5", "del json.mark", "hasattr(json, 'mark')"),
    "pandas option": (
        "import pandas as pd",
        "pd.set_option('display.max_rows', 7)",
        "pd.get_option('display.max_rows')",
    ),
    "pandas option by attribute": (
        "import pandas as pd",
        "pd.options.display.precision = 2",
        "pd.options.display.precision",
    ),
    "pandas option reset": (
        "import pandas as pd; pd.options.display.precision = 2",
        "pd.reset_option('display.precision')",
        "pd.options.display.precision",
    ),
    "pandas imported in the cell": (
        "",
        ("import pandas as pd\npd.options.display.precision = 3"),
        "__import__('pandas').options.display.precision",
    ),
    "accessor": (
        "import pandas as pd",
        (
            "@pd.api.extensions.register_series_accessor('tally')\n"
            "class T:\n"
            "    def __init__(self, s): self.s = s\n"
            "    def n(self): return len(self.s)"
        ),
        "pd.Series([1, 2]).tally.n()",
    ),
    "tqdm.pandas": (
        "import pandas as pd; from tqdm import tqdm",
        "tqdm.pandas(disable=True)",
        "pd.Series([1]).progress_apply(str).tolist()",
    ),
    "rcParams": (
        "import matplotlib.pyplot as plt",
        "plt.rcParams['figure.dpi'] = 33",
        "plt.rcParams['figure.dpi']",
    ),
    "rcParams list in place": (
        "import matplotlib.pyplot as plt",
        "plt.rcParams['font.sans-serif'].insert(0, 'Mine')",
        "plt.rcParams['font.sans-serif'][0]",
    ),
    "style": ("import matplotlib.pyplot as plt", "plt.style.use('ggplot')", "plt.rcParams['axes.facecolor']"),
    "style and import in one cell": (
        "",
        ("import matplotlib.pyplot as plt\nplt.style.use('ggplot')"),
        "__import__('matplotlib').rcParams['axes.facecolor']",
    ),
    "colour map": (
        "import matplotlib as mpl",
        "mpl.colormaps.register(mpl.colormaps['viridis'], name='mine')",
        "'mine' in mpl.colormaps",
    ),
    "open figure": (
        "import matplotlib.pyplot as plt",
        "plt.figure(num=4); plt.plot([1, 2])",
        "(plt.get_fignums(), len(plt.gca().lines))",
    ),
    "figure closed": (
        "import matplotlib.pyplot as plt; plt.figure(); plt.figure()",
        "plt.close(1)",
        "plt.get_fignums()",
    ),
    "array printing": ("import numpy as np", "np.set_printoptions(precision=2)", "str(np.array([1.23456]))"),
    "array formatter": ("import numpy as np", "np.set_printoptions(formatter={'int': hex})", "str(np.array([17]))"),
    "array errors": ("import numpy as np", "np.seterr(divide='raise')", "np.geterr()['divide']"),
    "sklearn": (
        "import sklearn",
        "sklearn.set_config(transform_output='pandas')",
        "sklearn.get_config()['transform_output']",
    ),
    "decimal flag": (
        "import decimal",
        "decimal.Decimal(1) / 3",
        "decimal.getcontext().flags[decimal.Inexact]",
    ),
    "first day of the week": ("import calendar", "calendar.setfirstweekday(6)", "calendar.month(2024, 1)"),
    "dialect of csv": ("import csv", "csv.register_dialect('own', delimiter=';')", "csv.get_dialect('own').delimiter"),
    "limit of csv": ("import csv", "csv.field_size_limit(9)", "csv.field_size_limit()"),
    "name space of XML": (
        "import xml.etree.ElementTree as ET",
        "ET.register_namespace('own', 'urn:own')",
        "ET.tostring(ET.Element('{urn:own}a'))",
    ),
    "converter of sqlite3": (
        "import sqlite3",
        "sqlite3.register_converter('own', lambda data: data + b'!')",
        "sqlite3.converters['OWN'](b'a')",
    ),
    "archive of shutil": (
        "import shutil",
        "shutil.register_archive_format('own', print, description='of mine')",
        "('own', 'of mine') in shutil.get_archive_formats()",
    ),
    "errors of scipy": (
        "import scipy.special",
        "scipy.special.seterr(singular='raise')",
        "scipy.special.geterr()['singular']",
    ),
    "dask": ("import dask", "dask.config.set({'own.key': 5})", "dask.config.get('own.key', None)"),
    "dask set back": (
        "import dask; dask.config.set({'own.key': 5, 'optimization.fuse.active': True})",
        "dask.config.set({'optimization.fuse.active': None}); del dask.config.config['own']['key']",
        "(dask.config.get('own.key', None), dask.config.get('optimization.fuse.active'))",
    ),
    "template of plotly": ("import plotly.io as pio", "pio.templates.default = 'ggplot2'", "pio.templates.default"),
    "own template of plotly": (
        "import plotly.io as pio, plotly.graph_objects as go",
        "pio.templates['own'] = go.layout.Template(layout={'font': {'size': 7}})",
        "pio.templates['own'].layout.font.size if 'own' in pio.templates else None",
    ),
    "renderer of plotly": ("import plotly.io as pio", "pio.renderers.default = 'json'", "pio.renderers.default"),
    "polars": (
        "import polars as pl",
        "pl.Config.set_tbl_rows(3); pl.Config.set_float_precision(2)",
        "str(pl.DataFrame({'a': [1.23456] * 9}))",
    ),
}

# Runs the set-up once, and then three copies of that process: one runs the cell, one has it applied, one has neither.
CHILD = """
import os, pathlib, pickle, sys
from awaitly_nb.codec import pack, unpack
from awaitly_nb.notebook.ledger import Ledger
setup, cell, look = sys.argv[1:]
names = vars(sys.modules["__main__"])
file = pathlib.Path("stored").resolve()
exec(setup, names)
ledger = Ledger(names)
def run():
    before = ledger.snapshot(cell)
    exec(cell, names)
    data = pack(ledger.difference(before).to_data(), [], numbers={}, changed=(), is_new=lambda cls: True)
    file.write_bytes(pickle.dumps((data.stream, list(map(bytes, data.buffers)), data.shapes)))
def load():
    stored = unpack(*pickle.loads(file.read_bytes()), live=None)
    assert ledger.refusal(stored) is None, ledger.refusal(stored)
    early, late = ledger.split(stored)
    ledger.prepare(early)
    ledger.apply(late)
def neither():
    pass
for act in (run, load, neither):
    if os.fork() == 0:
        act()
        try:
            seen = repr(eval(look, names))
        except Exception as exc:
            seen = type(exc).__name__
        print("seen", seen, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_is_that_of_the_run_in_a_process_that_did_not_run_the_cell(effect, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *EFFECTS[effect]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    seen = [line for line in done.stdout.splitlines() if line.startswith("seen ")]
    assert len(seen) == 3, done.stderr
    ran, loaded, neither = seen
    assert loaded == ran
    assert neither != ran


@pytest.fixture
def ledger():
    return Ledger({"warnings": warnings, "logging": logging})


def changes_of(ledger, source, act):
    before = ledger.snapshot(source)
    act()
    return ledger.difference(before)


def test_a_cell_that_changes_nothing_and_names_nothing_leaves_nothing(ledger):
    assert changes_of(ledger, "x = 1", lambda: None).to_data() == {}
    assert ledger.refusal({}) is None


def test_what_is_set_to_what_it_was_is_required_to_be_so_at_the_hit(ledger, monkeypatch):
    monkeypatch.setenv("MODE", "a")
    stored = changes_of(ledger, "os.environ['MODE'] = 'a'", lambda: None).to_data()
    assert ledger.refusal(stored) is None
    monkeypatch.setenv("OTHER", "1")
    assert ledger.refusal(stored) is None
    monkeypatch.setenv("MODE", "b")
    assert ledger.refusal(stored) == "environment differ from when it ran"


def test_the_environment_is_set_again_after_the_imports_which_may_change_it(ledger, monkeypatch):
    monkeypatch.setenv("CONFIGURED", "no")
    stored = changes_of(ledger, "import x", lambda: monkeypatch.setenv("CONFIGURED", "once")).to_data()
    early, late = ledger.split(stored)
    ledger.prepare(early)
    monkeypatch.setenv("CONFIGURED", "twice")
    ledger.apply(late)
    assert os.environ["CONFIGURED"] == "once"


def test_a_cell_that_ran_is_not_refused_in_the_session_that_it_changed(ledger, monkeypatch):
    monkeypatch.setenv("MODE", "a")
    stored = changes_of(ledger, "os.environ['MODE'] = 'b'", lambda: os.environ.update(MODE="b")).to_data()
    assert ledger.refusal(stored) is None


def test_a_helper_of_the_notebook_counts_with_the_words_of_its_code(ledger):
    def helper():
        os.environ["MODE_OF_HELPER"] = "a"

    helper.__module__ = "__main__"
    before = Ledger({"helper": helper}).snapshot("helper()")
    before.close()
    assert "MODE_OF_HELPER" in before.words


def test_basic_config_is_not_applied_where_the_root_logger_has_handlers(ledger, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    stored = changes_of(ledger, "logging.basicConfig()", lambda: logging.basicConfig()).to_data()
    assert "the root logger" in ledger.refusal(stored)
    logging.root.handlers.clear()
    assert ledger.refusal(stored) is None


def test_a_handler_that_cannot_be_told_is_an_obstacle_and_no_pickler_takes_it(ledger):
    class Own(logging.Handler):
        def emit(self, record):
            """Do nothing."""

    logger, handler = logging.getLogger("tests.ledger.own"), Own()
    try:
        changes = changes_of(ledger, "logger.addHandler(h)", lambda: logger.addHandler(handler))
    finally:
        logger.removeHandler(handler)
    assert changes.obstacle == "logging: the cell adds a Own to a logger, which cannot be told in words"
    with pytest.raises(TypeError, match="a Own"):
        pickle.dumps(changes.to_data())


def test_handlers_that_a_package_adds_when_it_is_imported_are_no_change(ledger, monkeypatch):
    import types

    logger = logging.getLogger("package_of_tests")
    logging.Logger.manager.loggerDict.pop("package_of_tests")

    def act():
        monkeypatch.setitem(sys.modules, "package_of_tests", types.ModuleType("package_of_tests"))
        logging.getLogger("package_of_tests").addHandler(logging.NullHandler())

    assert "logging" not in changes_of(ledger, "import package_of_tests", act).data
    assert logger is not logging.getLogger("package_of_tests")
    logging.Logger.manager.loggerDict.pop("package_of_tests")

    def set_level():
        logging.getLogger("package_of_tests").setLevel("ERROR")

    assert changes_of(ledger, "import package_of_tests", set_level).data["logging"]
    logging.Logger.manager.loggerDict.pop("package_of_tests")

    def add_later():
        logging.getLogger("package_of_tests").addHandler(logging.NullHandler())

    # By then the package is there, so the handler is the cell's own.
    assert len(changes_of(ledger, "add_later()", add_later).data["logging"]["package_of_tests"]["came"]) == 1
    logging.Logger.manager.loggerDict.pop("package_of_tests")


def test_a_folder_that_is_missing_is_refused(ledger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    stored = changes_of(ledger, "os.chdir('sub')", lambda: os.chdir("sub")).to_data()
    os.chdir(tmp_path)
    assert ledger.refusal(stored) is None
    (tmp_path / "sub").rmdir()
    assert ledger.refusal(stored) == "working directory: sub is no folder"


def test_an_import_that_is_watched_leaves_the_module_as_without(ledger, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    before = ledger.snapshot("import colorsys\ncolorsys.mark = 1")
    import colorsys

    monkeypatch.setattr(colorsys, "mark", 1, raising=False)
    assert ledger.difference(before).data["attributes"]["set"] == {(("colorsys", ""), "mark"): 1}
    assert type(colorsys.__loader__) is type(colorsys.__spec__.loader) is type(json.__loader__)
    assert not any(type(finder).__module__.startswith("awaitly_nb") for finder in sys.meta_path)


class Depth:
    """A watcher as a user writes one."""

    def __init__(self, settings):
        self.settings = settings

    def snapshot(self):
        return self.settings["depth"]

    def difference(self, before):
        return None if self.settings["depth"] == before else self.settings["depth"]

    def apply(self, data):
        self.settings["depth"] = data


@pytest.fixture
def settings(monkeypatch):
    from awaitly_nb.notebook.ledger import book

    monkeypatch.setattr(book, "_registered", {})
    return {"depth": 1}


def test_a_registered_state_is_applied(ledger, settings):
    aw.register_state("depth", Depth(settings))
    stored = changes_of(ledger, "x", lambda: settings.update(depth=5)).to_data()
    settings["depth"] = 1
    ledger.apply(stored)
    assert settings["depth"] == 5


def test_a_state_that_nobody_registers_any_more_is_refused(ledger, settings, monkeypatch):
    from awaitly_nb.notebook.ledger import book

    aw.register_state("depth", Depth(settings))
    stored = changes_of(ledger, "x", lambda: settings.update(depth=5)).to_data()
    monkeypatch.setattr(book, "_registered", {})
    assert ledger.refusal(stored) == "no watcher 'depth' is registered (aw.register_state)"


def test_a_watcher_that_raises_is_the_reason_why_the_cell_is_not_stored(ledger, settings):
    aw.register_state("depth", Depth(settings))
    assert changes_of(ledger, "x", settings.clear).obstacle == "depth: 'depth'"


@pytest.mark.parametrize("name", ["", "environment", "pandas options", None])
def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(aw.MisuseError, match="cannot name a watcher"):
        aw.register_state(name, Depth({"depth": 1}))


def test_a_watcher_without_a_method_is_refused():
    with pytest.raises(aw.MisuseError, match="'snapshot'"):
        aw.register_state("x", object())


def test_what_a_library_has_not_got_yet_while_it_is_imported_is_nothing_that_the_cell_sets(tmp_path, monkeypatch):
    (tmp_path / "qq_first.py").write_text("import qq_second\nsetting = 1\n")
    (tmp_path / "qq_second.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    ledger = Ledger(names)
    before = ledger.snapshot("import qq_first, qq_second\nprint(qq_first.setting)")
    names["qq_first"] = importlib.import_module("qq_first")
    assert "attributes" not in ledger.difference(before).data
    before = ledger.snapshot("qq_first.setting = 2")
    names["qq_first"].setting = 2
    assert list(ledger.difference(before).data["attributes"]["set"]) == [(("qq_first", ""), "setting")]


def test_settings_of_the_standard_library_are_watched_where_the_words_name_them():
    ledger = Ledger({})
    value = os.umask(0o022)
    os.umask(value)
    before = ledger.snapshot("os.umask(0o077)")
    os.umask(0o077)
    changes = ledger.difference(before)
    os.umask(value)
    assert changes.data == {"settings of the standard library": {"mask of new files": 0o077}}
    stored = {"data": changes.data, "required": changes.required, "words": sorted(changes.words)}
    assert ledger.refusal(stored) is None
    ledger.apply(stored)
    assert "settings of the standard library differ" in ledger.refusal(stored)  # what the call gave would be another
    assert os.umask(value) == 0o077
    before = ledger.snapshot("os.makedirs('x')")
    os.umask(0o077)
    assert ledger.difference(before).data == {}
    os.umask(value)
