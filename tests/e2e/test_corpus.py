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
from awaitly_nb.plans import always_runs, parsed, without_magics
from tests.e2e import timed_runs

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.cells"))
NUMBER = re.compile(r"(?<![\w.\"'])(\d+)(?![\w.\"'])")

pytestmark = pytest.mark.slow


def cells_of(path):
    text = path.read_text(encoding="utf-8").replace("SCALE = 1.0", "SCALE = 0.01")
    cells = re.split(r"^# %%\n", text, flags=re.MULTILINE)
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
    assert report.hits >= len(cells) - 1 - RUN_AGAIN.get(path.stem, 0), str(report)


RUN_AGAIN = {
    "library_tour": 2,  # adds a line to a file that an earlier cell writes, so both run again
    "plots": 1,  # draws on the figure of an earlier cell
}
"""How many cells of a notebook cannot be served; the first one, which loads the extension, is in none of them."""


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


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("way", "slow_s", "share"), [("magic", 0.5, 0.95), ("auto", 1.0, 0.8)])
def test_slow_cells_hit(way, slow_s, share, tmp_path):
    slow = {}
    for path in (*timed_runs.CORPUS, *timed_runs.LONG):
        cells, folder = timed_runs.cells_of(path, way, scale=0.05), tmp_path / path.stem
        first, again = (timed_runs.run(cells, folder, auto=way == "auto") for _ in range(2))
        for number, (cell, one, two) in enumerate(zip(cells, first, again, strict=True)):
            tree, has_magics = parsed(without_magics(cell)[0]), re.search("^[%!]", cell, re.MULTILINE)
            # Automatic mode leaves imports alone, and cells with magics.
            live = number == 0 or (way == "auto" and (tree is None or has_magics or always_runs(tree)))
            if one.wall_s > slow_s and not live:
                slow[path.stem, number] = two.hit
    assert len(slow) >= 5, slow
    assert sum(slow.values()) >= share * len(slow), {where for where, hit in slow.items() if not hit}
