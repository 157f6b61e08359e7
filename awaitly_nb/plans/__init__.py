"""A plan before running: what will hit, what will run, why, and what it costs, without a kernel.

Reads the notebook's text (`notebook_file`, `cell_line`, `cell_text`, `statics`) and the heads of entries
(`history`, `notes`), and walks the cells from fingerprint to fingerprint (`walk`). Unpickles nothing and runs no user
code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.plans.cell_line import (
        CELL_FLAGS as CELL_FLAGS,
        CELL_VALUES as CELL_VALUES,
        CellOptions as CellOptions,
        Directive as Directive,
        called as called,
        parse_cell_line as parse_cell_line,
        read_directive as read_directive,
    )
    from awaitly_nb.plans.cell_text import (
        code_digest as code_digest,
        parsed as parsed,
        plain_digest as plain_digest,
        read_input as read_input,
        without_magics as without_magics,
    )
    from awaitly_nb.plans.history import AUTO as AUTO
    from awaitly_nb.plans.notebook_file import (
        CodeCell as CodeCell,
        code_cells as code_cells,
        read_notebook as read_notebook,
    )
    from awaitly_nb.plans.notes import Notes as Notes
    from awaitly_nb.plans.picture import Graph as Graph
    from awaitly_nb.plans.planning import cell_codes as cell_codes, notes_of as notes_of, plan as plan
    from awaitly_nb.plans.report import SCHEMA_VERSION as SCHEMA_VERSION, Plan as Plan
    from awaitly_nb.plans.setup import SessionInputs as SessionInputs
    from awaitly_nb.plans.statics import always_runs as always_runs, read_statics as read_statics
    from awaitly_nb.plans.walk import CellPlan as CellPlan
else:
    __getattr__ = door(
        __name__,
        {
            "cell_line": "CELL_FLAGS CELL_VALUES CellOptions Directive called parse_cell_line read_directive",
            "cell_text": "code_digest parsed plain_digest read_input without_magics",
            "picture": "Graph",
            "notebook_file": "CodeCell code_cells read_notebook",
            "notes": "Notes",
            "planning": "cell_codes notes_of plan",
            "history": "AUTO",
            "report": "SCHEMA_VERSION Plan",
            "setup": "SessionInputs",
            "statics": "always_runs read_statics",
            "walk": "CellPlan",
        },
    )
