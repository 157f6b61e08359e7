"""Widgets in recorded outputs, turned into static HTML: a widget's model dies with its kernel, a recording does not.

Draws what is readable without code: text, progress bars, the value of a control, and boxes of these. A frontend never
gets the widget's own view type, which would show "model not found".
"""

from __future__ import annotations

import sys
from html import escape
from typing import Any

__all__ = ["without_widgets"]

VIEW = "application/vnd.jupyter.widget-view+json"


def without_widgets(data: dict[str, Any]) -> dict[str, Any]:  # Any: a MIME bundle's values
    """Return a MIME bundle in which a widget view is replaced by HTML of its state now; other bundles as they are."""
    if VIEW not in data:
        return data
    rest = {mime: content for mime, content in data.items() if mime != VIEW}
    widget = _widget(data[VIEW].get("model_id", ""))
    if "text/html" not in rest:
        rest["text/html"] = _drawn(widget) if widget is not None else escape(str(rest.get("text/plain", "widget")))
    return rest


def _widget(model_id: str) -> Any:  # Any: an ipywidgets widget, or None
    module = sys.modules.get("ipywidgets.widgets.widget")
    return None if module is None else module._instances.get(model_id)  # noqa: SLF001 - no public way to look one up


def _drawn(widget: Any) -> str:  # Any: an ipywidgets widget of any class
    kind = type(widget).__name__
    label = escape(str(getattr(widget, "description", "") or ""))
    if children := getattr(widget, "children", None):
        direction = "column" if kind in {"VBox", "Accordion", "Tab", "Stack"} else "row"
        inner = "".join(_drawn(child) for child in children)
        return f'<div style="display:flex;flex-direction:{direction};gap:.5em;align-items:baseline">{inner}</div>'
    value: Any = getattr(widget, "value", None)
    if kind in {"HTML", "HTMLMath"}:
        return f"<span>{label} {value}</span>"  # markup by its own definition, shown as markup live, too
    if kind in {"IntProgress", "FloatProgress"}:
        return f'<label>{label} <progress max="{float(widget.max):g}" value="{float(value):g}"></progress></label>'
    if value is None:
        return f"<code>{escape(kind)}</code>"
    return f"<span>{label} {escape(str(value))}</span>"
