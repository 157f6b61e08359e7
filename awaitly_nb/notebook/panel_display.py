"""Where a panel is shown, and what stands there: the widget, or the HTML that a saved notebook keeps.

Hides IPython: display ids, the hooks before and after a cell, and the context in which an update must be sent so that
it reaches the right cell. Without a kernel there is text.
"""

from __future__ import annotations

import contextvars
import sys
import uuid
from typing import TYPE_CHECKING, Any

from awaitly_nb.units import WORDS, in_one_line, show_duration, show_size, show_took

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awaitly_nb.notebook.panel_rows import Row
    from awaitly_nb.notebook.panel_widget import PanelWidget

__all__ = ["Displays", "kernel_shell", "panel_text"]

_MOST_PLACES = 8
_VIEW = "application/vnd.jupyter.widget-view+json"


def kernel_shell() -> Any | None:  # Any: IPython's shell, imported by nobody here
    """Return the shell of a Jupyter kernel, or None in a terminal or a plain program."""
    if (ipython := sys.modules.get("IPython")) is None:
        return None
    shell = ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


class Displays:
    """The places where one panel is shown.

    Attributes
    ----------
    outdated
        True when the HTML no longer says what the panel says.
    in_cell
        True while a cell runs: its end brings the HTML up to date.
    """

    def __init__(self) -> None:
        self.outdated = False
        self.in_cell = False
        self._widget: PanelWidget | None = None
        self._places: list[tuple[str, contextvars.Context]] = []
        self._hooks: list[tuple[str, Callable[..., None]]] = []

    def show(self, widget: PanelWidget) -> None:
        """Show the widget in the output of the running cell."""
        self._widget = widget
        self.in_cell = True
        place = uuid.uuid4().hex
        self._places = [*self._places[1 - _MOST_PLACES :], (place, contextvars.copy_context())]
        self._publish(place, _view(widget), update=False)

    def freeze(self, html: Callable[[], str]) -> None:
        """Put HTML, and HTML only, in every place; it is made where there is one."""
        if self._places:
            self._everywhere({"text/html": html(), "text/plain": "awaitly panel"})

    def revive(self) -> None:
        """Put the widget back: this front end cannot bring the HTML to life."""
        if self._widget is not None:
            self._everywhere(_view(self._widget))

    def _everywhere(self, bundle: dict[str, Any]) -> None:  # Any: a mime bundle
        for place, context in self._places:
            # In the context of the cell that showed it, or the update is taken for output of whatever runs now.
            context.copy().run(self._publish, place, bundle, update=True)

    @staticmethod
    def _publish(place: str, bundle: dict[str, Any], *, update: bool) -> None:  # Any: a mime bundle
        from IPython.display import publish_display_data

        publish_display_data(  # type: ignore[no-untyped-call]  # IPython's own
            bundle, transient={"display_id": place}, update=update
        )

    def after_cell(self, settle: Callable[[], None]) -> None:
        """Call `settle` at the end of every cell."""
        shell = kernel_shell()
        if shell is None or self._hooks:
            return

        def begin(*_: object) -> None:
            self.in_cell = True

        def end(*_: object) -> None:
            self.in_cell = False
            settle()

        self._hooks = [("pre_run_cell", begin), ("post_run_cell", end)]
        for event, hook in self._hooks:
            shell.events.register(event, hook)

    def close(self) -> None:
        """Take the hooks away."""
        shell = kernel_shell()
        if shell is None:
            return
        for event, hook in self._hooks:
            shell.events.unregister(event, hook)
        self._hooks = []


def _view(widget: PanelWidget) -> dict[str, Any]:  # Any: a mime bundle
    return {
        _VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id},
        "text/plain": "awaitly panel",
    }


def panel_text(drawn: Sequence[Row]) -> str:
    """Return the panel as plain text, for a terminal."""
    lines = []
    for section in drawn:
        took = "" if section["took"] is None else f" ({show_duration(section['took'])})"
        lines.append(f"{section['title']}: {section['status']}{took}")
        for row in section["steps"]:
            facts = (
                "" if row.get("took") is None else show_took(row["took"]),
                "" if row.get("size") is None else show_size(row["size"]),
                f"saved {show_duration(row['saved'])}" if (row.get("saved") or 0) >= 0.001 else "",  # noqa: PLR2004
                row.get("why") or "",
            )
            lines.append(f"  {WORDS[row['state']]:<18} {row['step']:<24} " + "  ".join(fact for fact in facts if fact))
    return "\n".join(map(in_one_line, lines or ["No step has run yet."])) + "\n"
