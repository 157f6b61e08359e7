"""After random edits to real notebooks, the next run in a real kernel does what the plan said, every time.

A few edits in a usual run; `AWAITLY_NB_EDITS=100` makes a hundred, twenty to each of five notebooks,
`AWAITLY_NB_EDITS_SEED` makes others, and `AWAITLY_NB_EDITS_SHOW=unknown,run` tells why cells are in these states.
"""

from __future__ import annotations

import json
import os
import random
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from awaitly_nb.plans import always_runs, parsed, plan, without_magics
from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

CORPUS = Path(__file__).parent / "corpus"
NOTEBOOKS = ("sales", "regression", "timeseries", "simulation", "clusters")
EDITS = int(os.environ.get("AWAITLY_NB_EDITS", "0"))
SHOW = os.environ.get("AWAITLY_NB_EDITS_SHOW", "").split(",")
SEED = os.environ.get("AWAITLY_NB_EDITS_SEED", "")
NUMBER = re.compile(r"(?<![\w.\"'])(\d+)(?![\w.\"'])")
MODULE = "SHIFT = 1\n\ndef scaled(value, factor):\n    return value * factor + SHIFT\n\ndef unused():\n    return 5\n"
FILE = "city,street,amount\nUlm,Main,3\nBonn,Side,4\nKiel,Main,\nUlm,Low,7\n"
# What a corpus has no file and no module for; the rest of each notebook is as it was published.
TAIL = (
    "import csv\nimport os\nimport toolbox\nFACTOR = 3",
    "def cleaned(rows):\n    return [row for row in rows if row['amount']]",
    "%%awaitly orders\nwith open('orders.csv') as file:\n    orders = cleaned(list(csv.DictReader(file)))",
    "%%awaitly amounts\namounts = [toolbox.scaled(float(row['amount']), FACTOR) for row in orders]",
    "%%awaitly places\nplaces = sorted(row['city'] for row in orders)\nprint(places)",
    "%%awaitly mode\nmode = os.environ.get('REPORT_MODE', 'short'), len(amounts)",
    "%%awaitly total\ntotal_of_all = sum(amounts) + len(mode[0])",
)


@dataclass(frozen=True)
class Work:
    """A notebook with what lies beside it."""

    cells: tuple[str, ...]
    module: str = MODULE
    file: str = FILE
    env: dict = field(default_factory=dict)

    def write(self, folder):
        (folder / "toolbox.py").write_text(self.module)
        (folder / "orders.csv").write_text(self.file)
        cells = [{"cell_type": "code", "source": cell, "id": f"c{at}"} for at, cell in enumerate(self.cells)]
        (folder / "n.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}))
        return folder / "n.ipynb"


def work_of(name):
    first, *rest = re.split(r"^# %%\n", (CORPUS / f"{name}.cells").read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not always_runs(parsed(without_magics(first)[0])):
        first = f"%%awaitly start\n{first}"
    cached = [f"%%awaitly c{at}\n{cell.rstrip()}" for at, cell in enumerate(rest)]
    return Work(("%load_ext awaitly_nb", first.rstrip(), *cached, *TAIL))


# -- edits ------------------------------------------------------------------------------------------------------------


def number_edited(cell, dice):
    found = dice.choice([m for m in NUMBER.finditer(cell) if m.start() > cell.find("\n") or not cell.startswith("%%")])
    return f"{cell[: found.start()]}{int(found[1]) + 1}{cell[found.end() :]}"


def with_cell(work, at, cell):
    return replace(work, cells=(*work.cells[:at], cell, *work.cells[at + 1 :]))


def constant(work, dice):
    places = [at for at, cell in enumerate(work.cells) if at > 1 and NUMBER.search(cell.partition("\n")[2])]
    at = dice.choice(places)
    return with_cell(work, at, number_edited(work.cells[at], dice))


def helper(work, dice):
    at = next(at for at, cell in enumerate(work.cells) if cell.startswith("def cleaned"))
    lines = ["    rows = list(rows)", "    rows = rows[:3]", "    # nothing else"]
    return with_cell(work, at, work.cells[at].replace(":\n", f":\n{dice.choice(lines)}\n", 1))


def column(work, dice):
    at = next((at for at, cell in enumerate(work.cells) if cell.startswith("%%awaitly places")), None)
    if at is None:
        return work
    cell = work.cells[at]
    return with_cell(work, at, cell.replace("city", "street") if "city" in cell else cell.replace("street", "city"))


def file(work, dice):
    row = dice.choice(["Ulm,High,9\n", "Bonn,Low,1\n"])
    return replace(work, file=dice.choice([work.file + row, work.file.replace("Main", "Mayn"), work.file]))


def module(work, dice):
    old, new = dice.choice([("* factor", "* factor * 2"), ("SHIFT = 1", "SHIFT = 2"), ("return 5", "return 6")])
    return replace(work, module=work.module.replace(old, new))


def environment(work, dice):
    return replace(work, env={"REPORT_MODE": dice.choice(["long", "short", "other"])})


def seed(work, dice):
    cell = re.sub(r"(seed|default_rng)\((\d+)\)", lambda m: f"{m[1]}({int(m[2]) + 1})", work.cells[1])
    return with_cell(work, 1, cell)


def order(work, dice):
    at = dice.randrange(2, len(work.cells) - 1)
    cells = list(work.cells)
    cells[at], cells[at + 1] = cells[at + 1], cells[at]
    return replace(work, cells=tuple(cells))


def inserted(work, dice):
    cell = dice.choice(
        [
            "%%awaitly fresh\nfresh = sorted([3, 1, 2])",
            "fresh = 7",
            "print('hello')",
            "%%awaitly more\nmore = len('abc')",
        ]
    )
    at = dice.randrange(2, len(work.cells) + 1)
    return replace(work, cells=(*work.cells[:at], cell, *work.cells[at:]))


def deleted(work, dice):
    at = dice.randrange(2, len(work.cells))
    return replace(work, cells=(*work.cells[:at], *work.cells[at + 1 :]))


def moved(work, dice):
    cells = list(work.cells)
    cell = cells.pop(dice.randrange(2, len(cells)))
    cells.insert(dice.randrange(2, len(cells) + 1), cell)
    return replace(work, cells=tuple(cells))


KINDS = (constant, helper, column, file, module, environment, seed, order, inserted, deleted, moved)


# -- what is done and what was said -----------------------------------------------------------------------------------


def run(work, folder):
    """Run all in a real kernel; return what each cell did, up to the first that failed."""
    work.write(folder)
    did = []
    with kernel(folder, MPLBACKEND="Agg", **work.env) as one:
        for cell in work.cells:
            shown = one.attempt(cell)
            cached = cell.startswith("%%awaitly")
            did.append("error" if shown.error else "live" if not cached else "hit" if shown.is_hit else "run")
            if shown.error:
                break
    return did


def said(work, folder, monkeypatch):
    monkeypatch.delenv("REPORT_MODE", raising=False)
    for name, value in work.env.items():
        monkeypatch.setenv(name, value)
    return plan(work.write(folder), directory=folder / ".awaitly").cells


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NOTEBOOKS if EDITS else NOTEBOOKS[:1])
def test_what_the_plan_says_of_an_edit_is_what_the_next_run_does(name, tmp_path, monkeypatch):
    dice = random.Random(f"{name} {SEED}")
    work, count = work_of(name), EDITS // len(NOTEBOOKS) or 2
    assert "error" not in run(work, tmp_path)
    wrong, states, kinds = [], [], [*KINDS] * (count // len(KINDS) + 1)
    dice.shuffle(kinds)
    for kind in kinds[:count]:
        edited = kind(work, dice)
        planned = said(edited, tmp_path, monkeypatch)
        did = run(edited, tmp_path)
        for at, (told, real) in enumerate(zip(planned, did, strict=False)):
            states.append(told.state)
            right = {"hit": {"hit"}, "live": {"live", "error"}, "run": {"run", "error"}, "new": {"run", "error"}}
            if real not in right.get(told.state, {"hit", "run", "error"}):
                wrong.append(f"{kind.__name__}, cell {at} ({told.name}): {told.state} ({told.reason}) but {real}")
            if told.state == "run" and not told.reason:
                wrong.append(f"{kind.__name__}, cell {at} ({told.name}) runs, and nobody says why")
            if told.state in SHOW:
                print(f"{kind.__name__}, cell {at} ({told.name}): {told.state} ({told.reason}); {real}")
        work = work if "error" in did else edited
    print({state: states.count(state) for state in sorted(set(states))})
    assert not wrong, "\n".join(wrong)
    assert states.count("unknown") <= 0.05 * len(states)
