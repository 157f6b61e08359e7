"""Notebooks in the manner of published ones: served from the cache they end as a plain run does, edited ones too.

They lie in `corpus/`, cells separated by `# %%`. What is compared is what an audit compares: after each cell every
variable, what was shown, and the watched state of the process.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from awaitly_nb.notebook.audit import _run, audit_sources

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.cells"))
NUMBER = re.compile(r"(?<![\w.\"'])(\d+)(?![\w.\"'])")

pytestmark = pytest.mark.slow


def cells_of(path):
    cells = re.split(r"^# %%\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return ["%load_ext awaitly_nb", *(f"%%awaitly c{number}\n{cell.rstrip()}" for number, cell in enumerate(cells))]


def edited(cells, dice):
    """Return the cells with one number in one of them made larger by one."""
    places = [
        (number, found)
        for number, cell in enumerate(cells)
        for found in NUMBER.finditer(cell)
        if cell[: found.start()].count("\n")  # not in the first line, which names the cell
    ]
    number, found = dice.choice(places)
    cell = cells[number]
    text = f"{cell[: found.start()]}{int(found.group(1)) + 1}{cell[found.end() :]}"
    return [*cells[:number], text, *cells[number + 1 :]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_there_are_ten_notebooks():
    assert len(CORPUS) >= 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_notebook_served_from_the_cache_ends_as_a_plain_run(path, folder):
    cells = cells_of(path)
    assert _run(cells, folder, live=False)[-1]["error"] is None
    report = audit_sources(cells, folder)
    assert report.findings == (), str(report)
    assert report.hits >= 0.6 * len(cells), str(report)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_after_ten_random_edits_it_ends_as_a_plain_run_of_the_edited_one(path, folder):
    cells, dice = cells_of(path), random.Random(path.stem)
    _run(cells, folder, live=False)
    for count in range(1, 11):
        cells = edited(cells, dice)
        if count in (1, 4, 10):
            report = audit_sources(cells, folder)
            assert report.findings == (), str(report)


AUTO = CORPUS if os.environ.get("AWAITLY_NB_LONG") else CORPUS[:1]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", AUTO, ids=lambda path: path.stem)
def test_without_a_magic_it_ends_as_a_plain_run(path, folder, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_AUTO", "1")
    cells = [cell.partition("\n")[2] for cell in cells_of(path)[1:]]
    cells = ["%load_ext awaitly_nb", *(f"# awaitly: cache\n{cell}" for cell in cells)]  # they are fast, so they ask
    assert _run(cells, folder, live=False)[-1]["error"] is None
    report = audit_sources(cells, folder)
    assert (report.findings, report.unsteady) == ((), ()), str(report)
    plain = [cell for cell in cells if not re.search(r"^[%!]", cell, re.MULTILINE)]  # cells with magics always run
    assert report.hits >= 0.8 * len(plain), str(report)


def test_the_audit_names_an_unseeded_draw(folder, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_AUTO", "1")
    cells = ["%load_ext awaitly_nb", "import random", "# awaitly: cache\nlucky = random.random()"]
    assert _run(cells, folder, live=False)[-1]["error"] is None
    report = audit_sources(cells, folder)
    assert report.hits == 1
    assert [(one.cell, one.what) for one in report.unsteady] == [(2, "variable lucky")]
