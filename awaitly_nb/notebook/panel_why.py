"""Why a step was computed, in full: each part of its key that was new, and of code the difference of its source.

The row of a step says it in one line; this is found again when somebody opens the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.engine import seen_parts
from awaitly_nb.keys import Parts, diff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.notebook.panel_rows import Row
    from awaitly_nb.result import Mark

__all__ = ["why_changes"]


def why_changes(step_id: str, key: str, reason: str, marks: Iterable[Mark]) -> list[Row]:
    """Return the changes that `reason` tells in one line, as plain JSON data; none where they are not known any more.

    Parameters
    ----------
    step_id, key
        The step.
    reason
        What its row says.
    marks
        Of the kept results of the step; looked at only where this process has not seen enough.
    """
    seen = seen_parts(step_id)
    if found := _told(seen, key, reason):
        return found
    kept = [Parts.from_data(dict(mark.parts)) for mark in marks if mark.parts is not None]
    return _told([*seen, *kept], key, reason)


def _told(known: list[Parts], key: str, reason: str) -> list[Row]:
    mine = next((parts for parts in known if parts.key == key), None)
    if mine is None:
        return []
    for parts in known:
        changes = diff(parts, mine)
        # Another difference than the one in the row would be one that did not decide anything.
        if changes and "; ".join(change.line for change in changes) == reason:
            return [{"line": change.line, "diff": change.detail} for change in changes]
    return []
