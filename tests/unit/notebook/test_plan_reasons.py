"""Each cell that a plan says will run names what differs: one test for each kind of thing."""

import json

import pytest

from awaitly_nb.keys import traces
from awaitly_nb.plans import plan


@pytest.fixture
def ran(shell, tmp_path, monkeypatch):
    """Run cells in a shell whose folder is the notebook's; return how another text of them is planned."""
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*cells):
        for cell in cells:
            shell.run(cell)

        def planned(*edited):
            path = tmp_path / "n.ipynb"
            sources = edited or cells
            path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": s} for s in sources], "nbformat": 4}))
            last = plan(path).cells[-1]
            return last.state, last.reason

        assert planned() == ("hit", "")
        return planned

    return run


def test_a_variable(ran):
    planned = ran("n = 3", "%%awaitly double\ndouble = n * 2")
    assert planned("n = 4", "%%awaitly double\ndouble = n * 2") == ("run", "n changed: 3 -> 4")


def test_a_column(ran, shell):
    cells = ["import pandas as pd\nk = 1", "%%awaitly raw\nraw = pd.DataFrame({'city': ['a'], 'price': [k]})"]
    mean = "%%awaitly mean\nmean = raw['price'].mean()"
    planned = ran(*cells, mean)
    other = [cells[0].replace("k = 1", "k = 1.5"), cells[1]]
    other.append("%%awaitly rows\nrows = len(raw)")
    for cell in other:  # the mean of the new prices was never asked for
        shell.run(cell)
    assert planned(*other, mean) == ("run", 'raw changed: column "price" int64 -> float64')


def test_a_file(ran, tmp_path):
    (tmp_path / "d.csv").write_text("1")
    planned = ran("%%awaitly text\nwith open('d.csv') as file:\n    text = file.read()")
    (tmp_path / "d.csv").write_text("22")
    state, reason = planned()
    assert state == "run"
    assert "d.csv" in reason


def test_a_function(ran):
    define, use = "def scale(x):\n    return x * 2", "%%awaitly big\nbig = scale(3)"
    planned = ran(define, use)
    assert planned(define.replace("* 2", "* 4"), use) == ("run", "helper scale edited")


def test_a_function_of_a_module(ran, shell, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "reasons_toolbox.py").write_text("def scale(x):\n    return x * 2\n")
    planned = ran("import reasons_toolbox", "%%awaitly big\nbig = reasons_toolbox.scale(3)")
    (tmp_path / "reasons_toolbox.py").write_text("def scale(x):\n    return x * 40\n")
    state, reason = planned()
    assert state == "run"
    assert "scale" in reason


def test_a_package(ran, monkeypatch):
    planned = ran("import numpy as np", "%%awaitly mean\nmean = float(np.mean([1, 2]))")
    monkeypatch.setattr("awaitly_nb.keys.package_version", lambda name: "99.1")
    state, reason = planned()
    assert state == "run"
    assert reason.startswith("numpy ")
    assert reason.endswith("-> 99.1")


def test_a_name_of_the_environment(ran, monkeypatch):
    monkeypatch.setenv("REASONS_MODE", "short")
    monkeypatch.setattr(traces, "_remembered", {})
    traces.remember_environment()  # as when a kernel begins
    planned = ran("import os", "%%awaitly mode\nmode = os.environ['REASONS_MODE']")
    monkeypatch.setenv("REASONS_MODE", "long")
    assert planned() == ("run", "environment REASONS_MODE differs")


def test_a_name_of_the_environment_that_the_session_had_set_itself(ran, monkeypatch):
    planned = ran("import os", "os.environ['REASONS_HERE'] = 'a'", "%%awaitly here\nhere = os.environ['REASONS_HERE']")
    assert planned() == ("hit", "")
    monkeypatch.delenv("REASONS_HERE")  # as whoever plans without that kernel
    assert planned() == ("depends", "environment REASONS_HERE differs, which its session had set itself")


@pytest.mark.parametrize(
    ("package", "seeds", "draws"),
    [
        ("import random", "random.seed({})", "random.random()"),
        ("import numpy as np", "np.random.seed({})", "float(np.random.rand())"),
        ("from numpy import random as r", "S = {}\nr.seed(S)", "float(r.rand())"),
    ],
)
def test_a_seed(ran, package, seeds, draws):
    cells = [package, seeds.format(8), f"%%awaitly x\nx = {draws}"]
    planned = ran(*cells)
    state, reason = planned(cells[0], seeds.format(9), cells[2])
    assert state == "run"
    assert reason.startswith(
        f"generator {'random' if package == 'import random' else 'numpy.random'} differs (other seed"
    )


def test_options_of_a_library_that_another_call_makes(ran):
    show = "%%awaitly table\nframe = pd.DataFrame({'a': [1]})\nframe.to_string(index=False)"
    planned = ran("import pandas as pd", "pd.set_option('display.precision', 3)", show)
    state, reason = planned("import pandas as pd", "pd.set_option('display.precision', 4)", show)
    assert state in ("depends", "run")
    assert "pandas" in reason
    assert planned("import pandas as pd", "# three\npd.set_option('display.precision',  3)", show) == ("hit", "")
