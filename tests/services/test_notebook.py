"""The notebook of crash recovery, with its last part on a real PostgreSQL server."""

import shutil
from pathlib import Path

import nbformat
import pytest

from awaitly_nb.cli.headless import run_notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "crash_recovery.ipynb"


@pytest.mark.slow
def test_the_notebook_of_crash_recovery_pays_once_on_postgres_too(servers, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", servers("postgres").url())
    report = run_notebook(Path(shutil.copy(NOTEBOOK, tmp_path)), output=tmp_path / "done.ipynb")
    assert (report.ending, report.error) == ("ok", "")
    cells = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
    printed = ["".join(o.text for o in cell.get("outputs", ()) if o.output_type == "stream") for cell in cells]
    told = [text.splitlines() for text in printed if "first kernel" in text]
    assert len(told) == 2  # on SQLite and on PostgreSQL
    for lines in told:
        assert [line.split(maxsplit=2 if "kernel" in line else 1)[-1] for line in lines] == [
            "the kernel died",
            "grace paid 100",
            "Ok(value='confirmed 100 to grace@example.org')",
            "grace paid 100",
        ]
