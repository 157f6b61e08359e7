"""What the panel shows of one kept value: the same few rows or lines that results show of themselves, as plain data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from awaitly_nb.notebook.html_preview import preview
from awaitly_nb.notebook.words import show_computed
from awaitly_nb.result import mark_of
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from awaitly_nb.cache import Entry
    from awaitly_nb.notebook.panel_rows import Row
    from awaitly_nb.result import Result

__all__ = ["preview_row"]


def preview_row(number: int, entry: Entry | None, result: Result[Any, Any] | None) -> Row:  # Any: the user's
    """Return what to show of the key with this number, whose value is `result` if it is still there."""
    if entry is None or result is None:
        return {"id": number, "key": "" if entry is None else entry.key, "text": "This key is gone."}
    seen, mark = preview(result), mark_of(result)
    facts = [*seen.facts]
    if entry.size_bytes is not None:
        facts.append(show_size(entry.size_bytes))
    if mark is not None and mark.at is not None:
        facts.append(show_computed(mark.at, mark.duration_s, datetime.now(UTC)))
    shown: Row = {"id": number, "key": entry.key, "facts": facts, "text": seen.text}
    if seen.rows:
        shown["table"] = {"columns": list(seen.columns), "rows": [list(row) for row in seen.rows]}
    return shown
