"""The same notebook, however it is run, has the same keys: nbclient computes, papermill and a kernel hit."""

from __future__ import annotations

import warnings

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

CELLS = [
    "%load_ext awaitly_nb",
    "import pandas as pd\nimport awaitly_nb as aw\n\ndef scaled(frame, factor):\n    return frame * factor",
    "%%awaitly table\nframe = pd.DataFrame({'a': [1.5, 2.5]}, index=pd.date_range('2013-01-01', periods=2))\nframe",
    "%%awaitly scale\nimport asyncio\nawait asyncio.sleep(0)\nbig = scaled(frame, 3)\nprint(big.a.sum())",
    "@aw.step\ndef total(frame):\n    return float(frame.a.sum())\ntotal(big)",
    "%awaitly keys",
]


def book():
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def badges(cells):
    return [cells[i].outputs[-1]["data"]["text/plain"].split(",")[0].split(" in ")[0] for i in (2, 3)]


def keys(listing):
    return sorted(line.split()[0] for line in listing.splitlines()[2:])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / ".awaitly"))
    return tmp_path


def test_nbclient_papermill_and_a_kernel_have_equal_keys(folder):
    computed = book()
    NotebookClient(computed, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    assert badges(computed.cells) == ["computed", "computed"]
    listed = keys(computed.cells[-1].outputs[0]["data"]["text/plain"])
    assert len(listed) == 3

    nbformat.write(book(), folder / "in.ipynb")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # papermill's own imports
        import papermill

        papermill.execute_notebook(folder / "in.ipynb", folder / "out.ipynb", cwd=str(folder), progress_bar=False)
    again = nbformat.read(folder / "out.ipynb", as_version=4)
    assert badges(again.cells) == ["from cache", "from cache"]
    assert keys(again.cells[-1].outputs[0]["data"]["text/plain"]) == listed

    with kernel(folder) as one:
        shown = [one.run(source) for source in CELLS[1:]]
    assert shown[1].is_hit
    assert shown[2].is_hit
    assert shown[2].text == "12.0\n"
    assert keys(shown[-1].outputs[0]["data"]["text/plain"]) == listed
