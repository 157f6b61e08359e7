"""Which cell feeds which, as a layered picture: SVG made here, or Mermaid text for JupyterLab and READMEs.

Layers follow the longest path from a cell without inputs. Inside a layer, cells stand below the mean of what feeds
them, in four passes. Above `FOLD_ABOVE` cells, cheap cells that always run become dots, so that what would run stays
readable.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.plans.report import Plan
    from awaitly_nb.plans.walk import CellPlan

__all__ = ["FOLD_ABOVE", "Graph"]

FOLD_ABOVE = 60
_CHAR, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN, _DOT = 7.0, 40.0, 26.0, 56.0, 16.0, 7.0
_GAP_LINE = 14.0
_WIDEST = 1250.0
_MOST_CHARS = 22
_CHEAP_S = 1.0
# Fill, line and sign of each state; the sign and the words say it without colours, too.
_LOOK = {
    "hit": ("#e3f3e6", "#2e7d32", "✓"),
    "run": ("#fde7d8", "#c75b12", "▶"),
    "new": ("#e6eefb", "#1d5fb8", "+"),
    "depends": ("#fff6d6", "#9a7400", "?"),
    "live": ("#f1f1f1", "#6b6b6b", "·"),
    "unknown": ("#f3e9f7", "#7b3f98", "…"),
}
_MERMAID = {state: f"fill:{fill},stroke:{line},color:#222" for state, (fill, line, _) in _LOOK.items()}


@dataclass(frozen=True, slots=True)
class _Node:
    cell: CellPlan
    layer: int
    x: float
    y: float
    width: float
    height: float


class Graph:
    """The cells of a plan and what flows between them.

    Parameters
    ----------
    plan
        The plan to draw.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        wired = {place for edge in plan.edges for place in (edge.source, edge.target)}
        self._cells = [cell for cell in plan.cells if cell.index in wired or cell.state != "live"]

    def to_svg(self) -> str:
        """Return the picture as SVG text: inert, without script, style sheet or request."""
        nodes = self._laid_out()
        if not nodes:
            return '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10" role="img"></svg>'
        width = max(node.x + node.width for node in nodes.values()) + _MARGIN
        height = max(node.y + node.height for node in nodes.values()) + _MARGIN
        title = escape(str(self._plan.total))
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img" aria-label="{title}" '
            'style="max-width:100%;height:auto;background:#fff" font-family="system-ui,sans-serif" font-size="12">',
            f"<title>{title}</title>",
        ]
        edges = self._edges(nodes)
        out += [part for part in edges if not part.startswith("<text")]
        out += [self._box(node) for node in nodes.values()]
        out += [part for part in edges if part.startswith("<text")]
        out.append("</svg>")
        return "".join(out)

    def to_mermaid(self) -> str:
        """Return the graph in Mermaid's language, for JupyterLab's own renderer and for READMEs."""
        lines = ["flowchart TD"]
        for cell in self._cells:
            told = _told(cell).replace('"', "'")
            lines.append(f'    c{cell.index}["{_mermaid(cell.name)}<br/>{_mermaid(told)}"]:::{cell.state}')
        shown = {cell.index for cell in self._cells}
        for (source, target), names in self._wires().items():
            if source in shown and target in shown:
                arrow = "==>" if any(differs for _, differs in names) else "-->"
                label = _mermaid(", ".join(name for name, _ in names)[:_MOST_CHARS])
                lines.append(f'    c{source} {arrow}|"{label}"| c{target}')
        lines += [f"    classDef {state} {look}" for state, look in _MERMAID.items()]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        return self.to_mermaid()

    def _repr_html_(self) -> str:
        # As an image: of a notebook that is not trusted JupyterLab shows images, and of an `<svg>` the words alone.
        picture = b64encode(self.to_svg().encode()).decode()
        told = escape(str(self._plan.total))
        return f'<img src="data:image/svg+xml;base64,{picture}" alt="{told}" style="max-width:100%;height:auto">'

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self.to_mermaid(), "text/vnd.mermaid": self.to_mermaid()}

    def _wires(self) -> dict[tuple[int, int], list[tuple[str, bool]]]:
        wires: dict[tuple[int, int], list[tuple[str, bool]]] = {}
        for edge in self._plan.edges:
            wires.setdefault((edge.source, edge.target), []).append((edge.variable, edge.differs))
        return wires

    def _laid_out(self) -> dict[int, _Node]:
        before: dict[int, list[int]] = {cell.index: [] for cell in self._cells}
        for source, target in self._wires():
            if source in before and target in before:
                before[target].append(source)
        layer: dict[int, int] = {}
        for cell in self._cells:  # in order: what feeds a cell stands above it, or was met already
            layer[cell.index] = 1 + max((layer[s] for s in before[cell.index] if s in layer), default=-1)
        rows: dict[int, list[CellPlan]] = {}
        for cell in self._cells:
            rows.setdefault(layer[cell.index], []).append(cell)
        fold = len(self._cells) > FOLD_ABOVE
        for _ in range(4):
            place = {cell.index: number for row in rows.values() for number, cell in enumerate(row)}
            for row in rows.values():
                row.sort(
                    key=lambda cell: (_urgency(cell) if fold else 0, _middle(before[cell.index], place, cell.index))
                )
        nodes: dict[int, _Node] = {}
        y = _MARGIN
        for number in sorted(rows):
            for line in _lines(rows[number], fold=fold):
                x = _MARGIN
                for cell, width, height, gap in line:
                    nodes[cell.index] = _Node(cell, number, x, y, width, height)
                    x += width + gap
                y += _HEIGHT + _GAP_LINE
            y += _GAP_Y - _GAP_LINE
        return _centred(nodes)

    def _edges(self, nodes: dict[int, _Node]) -> list[str]:
        out: list[str] = []
        told: set[tuple[int, str]] = set()
        for (source, target), names in self._wires().items():
            if source not in nodes or target not in nodes:
                continue
            a, b = nodes[source], nodes[target]
            x1, y1 = a.x + a.width / 2, a.y + a.height
            x2, y2 = b.x + b.width / 2, b.y
            bold = any(differs for _, differs in names)
            line = "#c75b12" if bold else "#9aa0a6"
            bend = (y2 - y1) / 2
            curve = f"M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + bend:.1f} {x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
            tip = f"M{x2 - 3.5:.1f},{y2 - 6:.1f} L{x2:.1f},{y2:.1f} L{x2 + 3.5:.1f},{y2 - 6:.1f} Z"
            label = ", ".join(name for name, _ in names)
            hint = f"{label}: {b.cell.reason}" if bold and b.cell.reason else label
            out.append(
                f'<path d="{curve}" fill="none" stroke="{line}" stroke-width="{2.2 if bold else 1.2}">'
                f'<title>{escape(hint)}</title></path><path d="{tip}" fill="{line}"/>'
            )
            # What flows is written where it leaves its cell, once; why a cell runs is written where it arrives.
            if bold:
                out.append(_label(b.cell.reason or label, x2, y2 - 9, line, most=_MOST_CHARS * 2))
            elif len(nodes) <= FOLD_ABOVE and (source, label) not in told:
                told.add((source, label))
                out.append(_label(label, x1, y1 + 12 * sum(one == source for one, _ in told), "#5f6368"))
        return out

    def _box(self, node: _Node) -> str:
        cell = node.cell
        fill, line, sign = _LOOK[cell.state]
        hint = escape(": ".join(part for part in (f"{cell.name} ({cell.state})", cell.reason) if part))
        if node.width == _DOT * 2:
            return (
                f'<circle cx="{node.x + _DOT:.1f}" cy="{node.y + _DOT:.1f}" r="{_DOT - 2}" fill="{fill}" '
                f'stroke="{line}"><title>{hint}</title></circle>'
            )
        middle = node.x + node.width / 2
        return (
            f"<g><title>{hint}</title>"
            f'<rect x="{node.x:.1f}" y="{node.y:.1f}" width="{node.width:.1f}" height="{node.height:.0f}" rx="6" '
            f'fill="{fill}" stroke="{line}"/>'
            f'<text x="{middle:.1f}" y="{node.y + 17:.1f}" text-anchor="middle" font-weight="600" fill="#202124">'
            f"{escape(_cut(cell.name))}</text>"
            f'<text x="{middle:.1f}" y="{node.y + 32:.1f}" text-anchor="middle" font-size="10.5" fill="{line}">'
            f"{sign} {escape(_told(cell))}</text></g>"
        )


def _lines(cells: Sequence[CellPlan], *, fold: bool) -> list[list[tuple[CellPlan, float, float, float]]]:
    """Return the cells of a layer in lines that are not too wide, each with width, height and the gap behind it."""
    lines: list[list[tuple[CellPlan, float, float, float]]] = [[]]
    x = 0.0
    for cell in cells:
        dot = fold and cell.state in ("live", "hit") and (cell.seconds or 0.0) < _CHEAP_S
        width, height, gap = (_DOT * 2, _DOT * 2, _GAP_X / 3) if dot else (_width(cell), _HEIGHT, _GAP_X)
        if lines[-1] and x + width > _WIDEST:
            lines.append([])
            x = 0.0
        lines[-1].append((cell, width, height, gap))
        x += width + gap
    return lines


def _centred(nodes: dict[int, _Node]) -> dict[int, _Node]:
    lines: dict[float, list[_Node]] = {}
    for node in nodes.values():
        lines.setdefault(node.y, []).append(node)
    ends = {y: max(node.x + node.width for node in line) for y, line in lines.items()}
    widest = max(ends.values())
    return {index: replace(node, x=node.x + (widest - ends[node.y]) / 2) for index, node in nodes.items()}


def _label(text: str, x: float, y: float, colour: str, *, most: int = _MOST_CHARS) -> str:
    # With a rim in the colour of the ground, it can be read on top of lines.
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="10" fill="{colour}" stroke="#fff" '
        f'stroke-width="3" paint-order="stroke">{escape(_cut(text, most))}</text>'
    )


def _told(cell: CellPlan) -> str:
    word = {"hit": "from cache", "run": "runs", "depends": "depends", "live": "always runs"}.get(cell.state, cell.state)
    return word if cell.seconds is None else f"{word}, {show_duration(cell.seconds)}"


def _width(cell: CellPlan) -> float:
    return max(len(_cut(cell.name)) * _CHAR * 1.05, (len(_told(cell)) + 2) * 6.2) + 22


def _cut(text: str, most: int = _MOST_CHARS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _urgency(cell: CellPlan) -> int:
    return 0 if cell.state in ("run", "new", "depends", "unknown") else 1


def _middle(sources: Sequence[int], place: dict[int, int], me: int) -> float:
    known = [place[source] for source in sources if source in place]
    return sum(known) / len(known) if known else float(place[me])


def _mermaid(text: str) -> str:
    return "".join(c if c.isalnum() or c in " _-.,:<>/()'" else "#35;" if c == "#" else "_" for c in text)
