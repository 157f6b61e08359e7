"""Totals, the table and the JSON of a plan."""

import pytest

from awaitly_nb import MisuseError
from awaitly_nb.plans.report import Plan
from awaitly_nb.plans.walk import CellPlan, Edge


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


def test_what_has_to_be_executed_for_some_cells():
    cells = tuple(
        CellPlan(name=name, index=index, state=state)
        for index, (name, state) in enumerate(
            [("imports", "live"), ("a", "hit"), ("b", "hit"), ("c", "run"), ("d", "depends"), ("late", "live")]
        )
    )
    edges = (Edge(1, 3, "a"), Edge(3, 4, "c"), Edge(2, 5, "b"))
    plan = Plan(cells=cells, edges=edges)
    assert plan.needed() == {0, 1, 3, 4}
    assert plan.needed(["b"]) == {0, 2}
    assert plan.needed(["5"]) == {0, 2, 5}
    with pytest.raises(MisuseError, match="did you mean 'late'"):
        plan.needed(["lates"])
