"""The plan of the notebook that one is in: where its file is, what the kernel knows already, and how it is shown."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from awaitly_nb.errors import MisuseError, UnkeyableError
from awaitly_nb.keys import part_digest
from awaitly_nb.notebook.body import transformed
from awaitly_nb.notebook.html import Html, cell, document, heading, paragraph, table
from awaitly_nb.notebook.lab import page_cells
from awaitly_nb.plans import Plan, plan
from awaitly_nb.units import show_duration, show_size

if TYPE_CHECKING:
    from awaitly_nb.notebook.shell import Shell
    from awaitly_nb.plans import CellPlan

__all__ = ["own_notebook", "plan_html", "plan_of_session"]

_SIGNS = {"hit": "✓", "run": "▶", "new": "+", "depends": "?", "unknown": "…", "live": "·"}
_WORDS = {"hit": "from cache", "run": "runs", "new": "runs first", "depends": "depends", "unknown": "unknown"}
_COLUMNS = (("State", "s"), ("Cell", ""), ("Why", ""), ("Takes", "n"), ("Reads", "n"))
_NONE = "-"


def plan_of_session(shell: Shell | None, notebook: str | None = None, *, auto: bool | None = None) -> Plan:
    """Return the plan of a notebook from here: what *Run All* would do in this kernel.

    Parameters
    ----------
    shell
        The shell that the user is in, or None outside of one.
    notebook
        The path of the notebook; None means the one that belongs to this kernel, as the page has it or as it was saved.
    auto
        Whether plain cells are looked after; None means as the settings say.

    Raises
    ------
    MisuseError
        Nobody told this kernel which notebook it belongs to.
    """
    path = Path(notebook) if notebook is not None else own_notebook(shell)
    page = page_cells() if notebook is None else ()
    text = [one.source for one in page] if page else path
    if text is None:
        raise MisuseError("this front end does not tell which notebook it shows; say it: %awaitly plan NOTEBOOK.ipynb")
    names = {} if shell is None else shell.user_ns

    def known(name: str) -> str | None:
        value = names.get(name)
        if name not in names or callable(value) or name.startswith("_"):
            return None
        try:
            return part_digest(name, value)
        except UnkeyableError:
            return None

    made = plan(
        text,
        auto=auto,
        known=known,
        transform=None if shell is None else partial(transformed, shell),
        place=None if path is None else path.absolute().parent,
    )
    note = "as it is on the page, saved or not" if page else "as it was saved last" if notebook is None else ""
    return replace(made, notebook=made.notebook or str(path or ""), note=note)


def own_notebook(shell: Shell | None) -> Path | None:
    """Return the file of the notebook that this kernel belongs to, as far as the front end tells."""
    told = None if shell is None else shell.user_ns.get("__vsc_ipynb_file__")
    for name in (told, os.environ.get("JPY_SESSION_NAME")):
        if isinstance(name, str) and name.endswith(".ipynb") and Path(name).is_file():
            return Path(name)
    return None


def plan_html(found: Plan) -> str:
    """Return a plan as a table that reads well without a kernel; cells that always run are counted, not listed."""
    rows = [_row(one) for one in found.cells if one.state != "live"]
    return document(
        heading("Plan", str(found.total)),
        table(_COLUMNS, rows) if rows else "",
        *(paragraph(note) for note in (found.told_live, found.note) if note),
        css="awaitly-plan",
    )


def _row(one: CellPlan) -> list[object]:
    state: Html = cell(f"{_SIGNS[one.state]} {_WORDS.get(one.state, one.state)}", title=one.key or "")
    takes = one.load_s if one.state == "hit" else one.seconds
    return [
        state,
        one.name,
        one.reason,
        _NONE if takes is None else show_duration(takes),
        show_size(one.size_bytes) if one.size_bytes else _NONE,
    ]
