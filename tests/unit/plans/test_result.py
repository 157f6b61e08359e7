"""Totals, the table and the JSON of a plan."""

from awaitly_nb.plans.result import Plan
from awaitly_nb.plans.walk import CellPlan


def plan():
    return Plan(
        notebook="n.ipynb",
        cells=(
            CellPlan(name="load", index=0, state="hit", seconds=60.0, load_s=1.0, size_bytes=2_000_000, key="load:1"),
            CellPlan(name="model", index=1, state="run", seconds=240.0, reason="n changed"),
            CellPlan(name="plot", index=2, state="depends", reason="model comes from model, which will run"),
            CellPlan(name="", index=3, state="live", reason="imports"),
        ),
    )


def test_totals_are_one_line():
    text = str(plan().total)
    assert text.startswith("1 hit, 1 run (about ")
    assert "1 depend" in text
    assert "saves " in text
    assert "reads " in text
    assert not plan().complete
    assert Plan(cells=plan().cells[:1]).complete


def test_the_table_names_what_runs_and_folds_what_always_runs():
    lines = str(plan()).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["hit", "run", "depends", "live"]
    assert "n changed" in lines[1]
    assert lines[-1] == str(plan().total)


def test_the_data_is_plain():
    import json

    data = json.loads(json.dumps(plan().to_dict()))
    assert data["kind"] == "plan"
    assert [cell["state"] for cell in data["cells"]] == ["hit", "run", "depends", "live"]
    assert data["total"]["hit"] == 1
    assert data["total"]["text"] == str(plan().total)
