"""`awaitly-nb plan`: a notebook is told without a kernel."""

import json
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from awaitly_nb.cli.app import app


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    cells = ["import math", "n = 3", "%%awaitly data\ndata = list(range(n))", "%%awaitly total\ntotal = sum(data)"]
    path = tmp_path / "n.ipynb"
    content = {"cells": [{"cell_type": "code", "source": source} for source in cells], "nbformat": 4}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def awaitly(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_what_would_run_is_told_with_exit_code_three(notebook):
    done = awaitly("plan", notebook)
    assert done.exit_code == 3
    assert "2 cells always run" in done.output
    assert "0 hit, 2 run" in done.output
    assert not (notebook.parent / "cache").exists()  # looking makes no folder


def test_json_mermaid_and_svg(notebook, tmp_path):
    data = json.loads(awaitly("plan", notebook, "--json").output)
    assert [cell["state"] for cell in data["cells"]] == ["live", "live", "new", "new"]
    assert awaitly("graph", notebook, "--mermaid").output.startswith("flowchart TD")
    assert awaitly("graph", notebook).output.startswith("<svg")
    assert awaitly("graph", notebook, "--output", tmp_path / "g.svg").output == ""
    assert ET.parse(tmp_path / "g.svg").getroot().tag.endswith("svg")


def test_a_file_that_is_no_notebook_is_told(tmp_path):
    (tmp_path / "n.ipynb").write_text("{}")
    done = awaitly("plan", tmp_path / "n.ipynb")
    assert done.exit_code == 1
    assert "no notebook" in done.output
