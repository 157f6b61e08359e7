"""A notebook is read as a file."""

import json

import pytest

from awaitly_nb import MisuseError
from awaitly_nb.plans.notebook_file import read_notebook


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
