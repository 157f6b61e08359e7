"""What a plan says: one row per cell, one line of totals, and the same as JSON data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awaitly_nb.drawing import html_of
from awaitly_nb.errors import MisuseError
from awaitly_nb.units import in_one_line, show_duration, show_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.plans.picture import Graph
    from awaitly_nb.plans.walk import CellPlan, Edge

__all__ = ["SCHEMA_VERSION", "Plan", "Total"]

SCHEMA_VERSION = 1
_WIDTH = 78
_WOULD_RUN = frozenset({"run", "new"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A plan in numbers.

    Attributes
    ----------
    hit, run, new, depends, live, unknown
        How many cells are in each state.
    run_s
        Seconds that the cells which run are expected to take, as far as that is known.
    load_s
        Seconds that the hits are expected to take.
    live_s
        Seconds that the cells which always run are expected to take: imports, plots, and what was not worth storing.
    saved_s
        Seconds that running the hits would take, less `load_s`.
    size_bytes
        Bytes that the hits read.
    """

    hit: int = 0
    run: int = 0
    new: int = 0
    depends: int = 0
    live: int = 0
    unknown: int = 0
    run_s: float = 0.0
    load_s: float = 0.0
    live_s: float = 0.0
    saved_s: float = 0.0
    size_bytes: int = 0

    @property
    def expected_s(self) -> float:
        """Seconds that *Run All* is expected to take, as far as that is known; cells that depend are not counted."""
        return self.run_s + self.load_s + self.live_s

    def __str__(self) -> str:
        told = [f"{self.hit} hit"]
        running = self.run + self.new
        if running:
            told.append(f"{running} run" + (f" (about {show_duration(self.run_s)})" if self.run_s else ""))
        told += [f"{count} {word}" for count, word in ((self.depends, "depend"), (self.unknown, "unknown")) if count]
        line = ", ".join(told)
        gains = []
        if self.saved_s > 0:
            gains.append(f"saves {show_duration(self.saved_s)}")
        if self.size_bytes:
            gains.append(f"reads {show_size(self.size_bytes)}")
        return f"{line}; {', '.join(gains)}" if gains else line


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan:
    """What *Run All* would do to a notebook, cell by cell.

    Attributes
    ----------
    notebook
        The path of the notebook; "" for one that is not saved.
    cells
        One `CellPlan` per code cell, in order: `name`, `index`, `state`, `reason`, `seconds`, `size_bytes`.
    edges
        Which cell feeds which.
    note
        What a reader has to know of where the text came from; "" mostly.
    """

    notebook: str = ""
    cells: tuple[CellPlan, ...] = ()
    edges: tuple[Edge, ...] = field(default=(), repr=False)
    note: str = ""

    @property
    def total(self) -> Total:
        """The plan in numbers; as text it is one line."""
        count = dict.fromkeys(("hit", "run", "new", "depends", "live", "unknown"), 0)
        for cell in self.cells:
            count[cell.state] += 1
        hits = [cell for cell in self.cells if cell.state == "hit"]
        load_s = sum(cell.load_s or 0.0 for cell in hits)
        return Total(
            **count,
            run_s=sum(cell.seconds or 0.0 for cell in self.cells if cell.state in _WOULD_RUN),
            load_s=load_s,
            live_s=sum(cell.seconds or 0.0 for cell in self.cells if cell.state == "live"),
            saved_s=sum(cell.seconds or 0.0 for cell in hits) - load_s,
            size_bytes=sum(cell.size_bytes for cell in hits),
        )

    @property
    def complete(self) -> bool:
        """True when nothing that is cached would run: all its cells hit or always run."""
        return all(cell.state in ("hit", "live") for cell in self.cells)

    @property
    def told_live(self) -> str:
        """How many cells always run, and about how long; "" for none."""
        total = self.total
        takes = f" (about {show_duration(total.live_s)})" if total.live_s else ""
        return f"{total.live} {'cell' if total.live == 1 else 'cells'} always run{takes}" if total.live else ""

    def needed(self, only: Sequence[str] | None = None) -> set[int]:
        """Return the places of the cells that have to be executed for some of them: these, and all that they need.

        Parameters
        ----------
        only
            Cells by name or by place; None means those that are not served from the cache.

        Raises
        ------
        MisuseError
            There is no such cell.
        """
        if only is None:
            wanted = {cell.index for cell in self.cells if cell.state not in ("hit", "live")}
        else:
            wanted = {place for word in only for place in self._places(word)}
        before: dict[int, set[int]] = {}
        for edge in self.edges:
            before.setdefault(edge.target, set()).add(edge.source)
        # What always runs sets up the session for whatever comes after it.
        last = max(wanted, default=-1)
        found = {cell.index for cell in self.cells if cell.state == "live" and cell.index < last} | wanted
        waiting = list(found)
        while waiting:
            for place in before.get(waiting.pop(), ()):
                if place not in found:
                    found.add(place)
                    waiting.append(place)
        return found

    def _places(self, word: str) -> list[int]:
        found = [cell.index for cell in self.cells if word in (cell.name, str(cell.index), cell.cell_id)]
        if not found:
            import difflib

            near = difflib.get_close_matches(word, [cell.name for cell in self.cells], n=1)
            raise MisuseError(f"there is no cell {word!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return found

    def to_dict(self) -> dict[str, Any]:  # Any: plain JSON data
        """Return this as plain JSON data, as the schema that ships with the package says."""
        total = self.total
        return {
            "schema": SCHEMA_VERSION,
            "kind": "plan",
            "notebook": self.notebook,
            "note": self.note,
            "cells": [
                {
                    "name": cell.name,
                    "index": cell.index,
                    "id": cell.cell_id,
                    "state": cell.state,
                    "reason": cell.reason,
                    "seconds": cell.seconds,
                    "load_s": cell.load_s,
                    "size_bytes": cell.size_bytes,
                    "key": cell.key,
                    "differs": cell.differs,
                }
                for cell in self.cells
            ],
            "edges": [
                {"source": e.source, "target": e.target, "variable": e.variable, "differs": e.differs}
                for e in self.edges
            ],
            "total": {name: getattr(total, name) for name in Total.__slots__} | {"text": str(total)},
        }

    def graph(self) -> Graph:
        """Return which cell feeds which, as a picture that needs no program and no kernel."""
        from awaitly_nb.plans.picture import Graph

        return Graph(self)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        shown = [cell for cell in self.cells if cell.state != "live"]
        width = max([len(cell.name) for cell in shown], default=4)
        width = min(width, 28)
        lines = []
        for cell in shown:
            name = cell.name if len(cell.name) <= width else cell.name[: width - 1] + "…"
            took = "" if cell.seconds is None else show_duration(cell.seconds)
            lines.append(f"{cell.state:<8} {name:<{width}} {took:>8}  {cell.reason}".rstrip()[: _WIDTH + 40])
        if live := self.told_live:
            lines.append(f"{'live':<8} {live}")
        if self.note:
            lines.append(self.note)
        lines.append(str(self.total))
        return "\n".join(map(in_one_line, lines))

    def _repr_html_(self) -> str | None:
        return html_of(self)
