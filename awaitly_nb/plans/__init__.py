"""A plan before running: what will hit, what will run, why, and what it costs, without a kernel.

Reads the notebook's text (`notebook_file`, `cell_line`, `cell_text`, `statics`, `naming`) and the heads of entries
(`records`, `notes`), and walks the cells from fingerprint to fingerprint (`walk`). Unpickles nothing and runs no user
code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.plans.cell_line import CELL_FLAGS as CELL_FLAGS
    from awaitly_nb.plans.cell_line import CELL_VALUES as CELL_VALUES
    from awaitly_nb.plans.cell_line import CellOptions as CellOptions
    from awaitly_nb.plans.cell_line import parse_cell_line as parse_cell_line
    from awaitly_nb.plans.cell_text import parsed as parsed
    from awaitly_nb.plans.cell_text import without_magics as without_magics
    from awaitly_nb.plans.graph import Graph as Graph
    from awaitly_nb.plans.naming import Directive as Directive
    from awaitly_nb.plans.naming import called as called
    from awaitly_nb.plans.naming import read_directive as read_directive
    from awaitly_nb.plans.notebook_file import CodeCell as CodeCell
    from awaitly_nb.plans.notebook_file import code_cells as code_cells
    from awaitly_nb.plans.notebook_file import read_notebook as read_notebook
    from awaitly_nb.plans.notes import Notes as Notes
    from awaitly_nb.plans.planning import notes_of as notes_of
    from awaitly_nb.plans.planning import plan as plan
    from awaitly_nb.plans.records import AUTO as AUTO
    from awaitly_nb.plans.result import Plan as Plan
    from awaitly_nb.plans.statics import always_runs as always_runs
    from awaitly_nb.plans.walk import CellPlan as CellPlan
else:
    __getattr__ = door(
        __name__,
        {
            "without_magics": "cell_text",
            "AUTO": "records",
            "CELL_FLAGS": "cell_line",
            "CELL_VALUES": "cell_line",
            "CellOptions": "cell_line",
            "CellPlan": "walk",
            "CodeCell": "notebook_file",
            "Directive": "naming",
            "Graph": "graph",
            "Notes": "notes",
            "Plan": "result",
            "always_runs": "statics",
            "called": "naming",
            "code_cells": "notebook_file",
            "notes_of": "planning",
            "parse_cell_line": "cell_line",
            "parsed": "cell_text",
            "plan": "planning",
            "read_directive": "naming",
            "read_notebook": "notebook_file",
        },
    )
