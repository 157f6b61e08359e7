"""`%awaitly plan` and `%awaitly graph` in a shell."""

import json
import types

import pytest

from awaitly_nb.plans import Plan

CELLS = ["n = 3", "%%awaitly data\ndata = list(range(n))", "%%awaitly total\ntotal = sum(data)"]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))

    def write(cells=CELLS):
        path = tmp_path / "n.ipynb"
        content = {"cells": [{"cell_type": "code", "source": source} for source in cells], "nbformat": 4}
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    write()
    return write


def told(shell, line):
    shell.attempt(line).raise_error()
    return shell.ns["_"]


def test_the_plan_of_a_notebook_before_and_after_it_ran(shell, notebook):
    path = notebook()
    before = told(shell, f"%awaitly plan {path}")
    assert isinstance(before, Plan)
    assert [cell.state for cell in before.cells] == ["live", "new", "new"]
    for source in CELLS:
        shell.run(source)
    after = told(shell, f"%awaitly plan {path}")
    assert [cell.state for cell in after.cells] == ["live", "hit", "hit"]
    assert after.complete
    assert "awaitly-plan" in after._repr_html_()


def test_an_edit_is_told_with_its_reason(shell, notebook):
    for source in CELLS:
        shell.run(source)
    path = notebook(["n = 4", *CELLS[1:]])
    plan = told(shell, f"%awaitly plan {path}")
    assert [(cell.state, cell.reason) for cell in plan.cells[1:]] == [
        ("run", "n changed: 3 -> 4"),
        ("depends", "data comes from data, which will run"),
    ]


def test_what_the_kernel_knows_is_the_start(shell, notebook):
    shell.run("n = 3")
    for source in CELLS[1:]:
        shell.run(source)
    plan = told(shell, f"%awaitly plan {notebook(CELLS[1:])}")
    assert [cell.state for cell in plan.cells] == ["hit", "hit"]


def test_the_graph_is_a_picture_and_mermaid(shell, notebook):
    graph = told(shell, f"%awaitly graph {notebook()}")
    assert set(graph._repr_mimebundle_()) == {"text/html", "text/plain", "text/vnd.mermaid"}
    assert "flowchart TD" in repr(told(shell, f"%awaitly graph {notebook()} --mermaid"))


def test_the_front_end_may_tell_the_notebook(shell, notebook, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook()))
    plan = told(shell, "%awaitly plan")
    assert "saved" in plan.note
    monkeypatch.delenv("JPY_SESSION_NAME")
    shell.ns["__vsc_ipynb_file__"] = str(notebook())
    assert [cell.state for cell in told(shell, "%awaitly plan").cells] == ["live", "new", "new"]
    del shell.ns["__vsc_ipynb_file__"]
    shell.attempt("%awaitly plan")
    assert "NOTEBOOK" in shell.err


def test_what_the_page_has_counts_saved_or_not(shell, notebook, monkeypatch):
    from awaitly_nb.notebook.lab import Lab, foresee

    for source in CELLS:
        shell.run(source)
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook()))
    lab = Lab(shell.ip, foresee=foresee)
    lab.attach()
    try:
        page = [{"id": str(n), "source": source} for n, source in enumerate(["n = 5", *CELLS[1:]])]
        tell = []
        quiet = types.SimpleNamespace(on_msg=tell.append, on_close=id, send=lambda *_, **__: None, close=lambda: None)
        lab.add_page(quiet)
        tell[0]({"content": {"data": {"type": "cells", "cells": page}}})
        plan = told(shell, "%awaitly plan")
        assert "saved or not" in plan.note
        assert [cell.state for cell in plan.cells] == ["live", "run", "depends"]
        assert [cell.state for cell in told(shell, f"%awaitly plan {notebook()}").cells] == ["live", "hit", "hit"]
    finally:
        lab.detach()
    assert "saved last" in told(shell, "%awaitly plan").note


def test_what_always_runs_is_timed_and_a_first_hit_imports_what_the_run_did(shell, notebook, tmp_path, monkeypatch):
    (tmp_path / "takes_its_time.py").write_text("import time\ntime.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    cells = [
        "import time",
        "time.sleep(0.05)",
        "%%capture\ntime.sleep(0.05)",
        "%%awaitly size\nimport takes_its_time\nsize = 3",
    ]
    for source in cells:
        shell.run(source)
    path = notebook(cells)
    first = told(shell, f"%awaitly plan {path}")
    assert [cell.state for cell in first.cells] == ["live", "live", "live", "hit"], first
    assert [cell.seconds or 0.0 for cell in first.cells[:3]] >= [0.0, 0.05, 0.05]
    assert "3 cells always run (about " in str(first)
    assert first.cells[3].load_s >= 0.2, "in the next kernel"
    assert first.total.expected_s == first.total.live_s + first.total.load_s
    shell.run(cells[3])  # here the module is there already, which says nothing of the next kernel
    assert told(shell, f"%awaitly plan {path}").cells[3].load_s == first.cells[3].load_s
