"""An audit runs a notebook live and with its cache, and names what hits leave otherwise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from awaitly_nb.errors import MisuseError
from awaitly_nb.notebook.audit import AuditFinding, _run, audit, audit_sources

LOAD = "%load_ext awaitly_nb"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def fill(folder, *sources):
    """Run these cells once, so that they are cached."""
    _run([LOAD, *sources], folder, live=False)


def audited(folder, *sources):
    return audit_sources([LOAD, *sources], folder)


def test_hits_that_leave_what_running_leaves(folder):
    cells = [
        "%%awaitly c1\nimport os, random\nrandom.seed(1)\nos.environ['MODE'] = 'a'",
        "%%awaitly c2\nx = [random.random() for _ in range(3)]\nprint(len(x))\nx",
        "%%awaitly c3\nx.append(4)",
    ]
    fill(folder, *cells)
    report = audited(folder, *cells)
    assert (report.cells, report.hits, report.findings, report.unsteady) == (4, 3, (), ())
    assert str(report) == "3 of 4 cells were served from the cache\nthey leave what running them leaves"


def test_a_variable_that_a_hit_leaves_otherwise_is_named_once_with_its_first_difference(folder):
    fill(folder, "%%awaitly c1 --key mine\nx = {'a': 1, 'b': 2}")
    report = audited(folder, "%%awaitly c1 --key mine\nx = {'a': 1, 'b': 3}", "y = 1")
    assert report.findings == (AuditFinding(1, "%%awaitly c1 --key mine", "variable x", report.findings[0].difference),)
    assert "b" in report.findings[0].difference
    assert "1 differences" in str(report)


def test_a_variable_that_a_hit_does_not_leave_is_missing(folder):
    fill(folder, "%%awaitly c1 --key mine\nx = 1")
    report = audited(folder, "%%awaitly c1 --key mine\nx = 1\ny = 2")
    assert [str(found) for found in report.findings] == [
        "cell 1 (%%awaitly c1 --key mine): variable y: is missing after the hit"
    ]


def test_what_the_cell_was_told_not_to_store_is_not_missed(folder):
    cells = ["%%awaitly c1 --vars x\nx = 1\ny = 2"]
    fill(folder, *cells)
    assert audited(folder, *cells).findings == ()


def test_what_a_hit_shows_otherwise_is_named(folder):
    fill(folder, "%%awaitly c1 --key mine\nprint('one')")
    (found,) = audited(folder, "%%awaitly c1 --key mine\nprint('two')").findings
    assert found.what == "output"
    assert found.difference == "'two\\n' -> 'one\\n'"


def test_a_state_that_a_hit_leaves_otherwise_is_named(folder):
    fill(folder, "%%awaitly c1 --key mine\nimport os\nos.environ['MODE'] = 'a'")
    found = audited(folder, "%%awaitly c1 --key mine\nimport os\nos.environ['MODE'] = 'b'").findings
    assert [(one.cell, one.what) for one in found] == [(1, "environment: MODE")]


def test_an_error_that_only_running_raises_is_named(folder):
    fill(folder, "%%awaitly c1 --key mine\nx = 1")
    (found,) = audited(folder, "%%awaitly c1 --key mine\nx = 1 / 0").findings
    assert (found.what, found.difference) == ("error", "ZeroDivisionError: division by zero -> none")


def test_what_two_live_runs_leave_otherwise_is_no_finding(folder):
    cells = ["%%awaitly c1\nimport time\nnow = time.perf_counter_ns()"]
    fill(folder, *cells)
    report = audited(folder, *cells)
    assert report.findings == ()
    assert [one.what for one in report.unsteady] == ["variable now"]
    assert "two live runs differ in" in str(report)


def test_a_notebook_that_ends_its_process_is_misuse(folder):
    with pytest.raises(MisuseError, match="ended its process"):
        fill(folder, "import os; os._exit(3)")


def write_notebook(path, *sources):
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    return path


def test_a_file_that_is_no_notebook_is_misuse(folder):
    with pytest.raises(MisuseError, match="there is no notebook"):
        audit(folder / "none.ipynb")


@pytest.mark.parametrize("value", [1, 2])
def test_the_shell_command_ends_with_1_where_something_differs(folder, value):
    fill(folder, "%%awaitly c1 --key mine\nx = 1")
    path = write_notebook(folder / "n.ipynb", LOAD, f"%%awaitly c1 --key mine\nx = {value}")
    command = [sys.executable, "-c", "from awaitly_nb.cli import main; main()", "audit", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (value == 2), done.stderr
    assert len(json.loads(done.stdout)["findings"]) == (value == 2)


def test_the_magic_takes_the_path_of_a_notebook(folder, shell):
    path = write_notebook(folder / "n.ipynb", LOAD, "%%awaitly c1\nx = 1")
    report = shell.ip.run_line_magic("awaitly", f"audit {path}")
    assert (report.cells, report.hits, report.findings) == (2, 0, ())
