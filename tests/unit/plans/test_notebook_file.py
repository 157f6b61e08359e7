"""A notebook is read as a file."""

import json

import pytest

from awaitly_nb import MisuseError
from awaitly_nb.plans.cell_text import read_cell
from awaitly_nb.plans.notebook_file import CodeCell, read_notebook


def test_code_cells_with_their_headings(tmp_path):
    path = tmp_path / "n.ipynb"
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text\n", "## Load data"]},
        {"cell_type": "code", "id": "a1", "source": ["import x\n", "y = 1"]},
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "code", "source": "z = 2"},
    ]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4}), encoding="utf-8")
    first, second = read_notebook(path)
    assert (first.index, first.source, first.cell_id, first.heading) == (1, "import x\ny = 1", "a1", "Load data")
    assert (second.index, second.source, second.cell_id) == (3, "z = 2", "")


@pytest.mark.parametrize("content", ["no json", "[]", '{"worksheets": []}', '{"cells": 3}'])
def test_what_is_no_notebook_is_told(tmp_path, content):
    path = tmp_path / "n.ipynb"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(MisuseError, match=r"n\.ipynb"):
        read_notebook(path)


def test_a_missing_notebook_is_told(tmp_path):
    with pytest.raises(MisuseError, match="there is no notebook"):
        read_notebook(tmp_path / "none.ipynb")


@pytest.mark.parametrize(
    ("source", "bound", "dynamic"),
    [
        ("%%time\nx = 1\ny = f(x)", ["x", "y"], ""),
        ("%%capture out\nx = 1", ["x", "out"], ""),
        ("%%bash\nls -l", [], ""),
        ("%%timeit\nx = 1", [], ""),
        ("%%sql rows <<\nselect 1", [], "the magic %%sql may bind any name"),
        ("%load_ext awaitly_nb\n%matplotlib inline", [], ""),
        ("!pip install x\nn = 1", ["n"], ""),
        ("%run other.py", [], "the magic %run may bind any name"),
        ("%pip install x", [], ""),
    ],
)
def test_what_magics_bind_is_told_without_a_shell(source, bound, dynamic):
    read = read_cell(CodeCell(0, source), auto=False)
    assert (read.statics.bound, read.statics.dynamic) == (bound, dynamic)
    assert not read.problem
