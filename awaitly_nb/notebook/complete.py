"""Tab completion of both magics: commands, options, names of steps and cells, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awaitly_nb.notebook.options import CELL_FLAGS, CELL_VALUES, COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["complete"]

_MOST = 200


def complete(shell: Any, event: Any) -> list[str]:  # noqa: ARG001 - IPython's own signature; Any: it has no types
    """Return what may stand at the cursor; IPython calls this."""
    before, last = _split(event.text_until_cursor)
    if before[:1] == ["%%awaitly"]:
        if len(before) == 1 and not last.startswith("-"):
            return _beginning(last, _names())
        return _beginning(last, [*CELL_VALUES, *CELL_FLAGS])
    if len(before) == 1:
        return _beginning(last, COMMANDS)
    match before[1:]:
        case ["why"]:
            return _beginning(last, _names())
        case ["keys" | "rm"]:
            return _keys(last, failed=False)
        case ["retry"]:
            return _keys(last, failed=True)
    return []


def _split(line: str) -> tuple[list[str], str]:
    words = line.split()
    return (words, "") if line.endswith((" ", "\t")) else (words[:-1], words[-1] if words else "")


def _beginning(start: str, candidates: Iterable[str]) -> list[str]:
    return [word for word in candidates if word.startswith(start)]


def _names() -> list[str]:
    from awaitly_nb.cache import folder_entries
    from awaitly_nb.workflow import recent_runs

    ran = [step.step_id for run in reversed(recent_runs()) for step in run.steps]
    kept = [entry.step_id for entry in reversed(folder_entries("*")[-_MOST:]) if entry.step_id]
    return list(dict.fromkeys([*ran, *kept]))


def _keys(start: str, *, failed: bool) -> list[str]:
    from awaitly_nb.cache import folder_entries

    # Braces and brackets of what was typed are literal here; a glob would read them as classes.
    literal = "".join(f"[{char}]" if char in "*?[" else char for char in start)
    entries = folder_entries(f"{literal}*")
    return list(dict.fromkeys(entry.key for entry in reversed(entries[-_MOST:]) if not (failed and entry.ok)))
