"""What the steps and cells did, by name: how each stands now, and why it was computed last.

What ran in this process is told from its runs; what did not, from the folder, so that a shell has an answer too.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.cache import open_default
from awaitly_nb.config import cache_directory
from awaitly_nb.drawing import html_of
from awaitly_nb.engine import recent_runs
from awaitly_nb.errors import NotCachedError
from awaitly_nb.keys import Parts, diff, nearest
from awaitly_nb.manage.entries import came_from, find, names
from awaitly_nb.units import STATES, WORDS, did_you_mean, show_age, show_duration, show_took, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.cache import Entry
    from awaitly_nb.engine import StepSummary
    from awaitly_nb.keys import Change
    from awaitly_nb.result import Mark

__all__ = ["Explanation", "NameStatus", "notebook_names", "status", "why"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NameStatus:
    """How one cell, function or step of a workflow stands.

    Attributes
    ----------
    name
        Its name, with that of its workflow before it.
    state
        In the words of the panel: "from cache", "computed", "failed", "running", ...; "stored" for what did not run in
        this process.
    at
        When it ran, or was computed, aware UTC.
    duration_s
        Seconds that it took; None where not known.
    size_bytes
        Size of its latest result; None where nothing is stored.
    saved_s
        Seconds that its hits saved.
    keys
        How many keys it ran with here, or has in the folder.
    why
        Why it was computed, or what is to be said about it.
    """

    name: str
    state: str
    at: datetime | None = None
    duration_s: float | None = None
    size_bytes: int | None = None
    saved_s: float = 0.0
    keys: int = 1
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "name": self.name,
            "state": self.state,
            "at": self.at and self.at.isoformat(),
            "duration_s": self.duration_s,
            "size_bytes": self.size_bytes,
            "saved_s": self.saved_s,
            "keys": self.keys,
            "why": self.why,
        }


def status() -> list[NameStatus]:
    """Return one row for each name: of what ran in this process, or where nothing did, of what the folder has.

    Rows are in the order in which they ran last, the latest last.
    """
    latest: dict[str, list[tuple[str, StepSummary]]] = {}
    for run in recent_runs():
        for step in run.steps:
            name = step.step_id if run.workflow == step.step_id else f"{run.workflow} / {step.step_id}"
            latest.setdefault(name, []).append((run.workflow, step))
    if not latest:
        return _stored()
    sizes = {(entry.namespace, entry.key): entry.size_bytes for entry in find()}
    rows = [_ran(name, steps, sizes) for name, steps in latest.items()]
    return sorted(rows, key=lambda row: row.at or datetime.min.replace(tzinfo=UTC))


def _ran(name: str, steps: Sequence[tuple[str, StepSummary]], sizes: dict[tuple[str, str], int | None]) -> NameStatus:
    workflow, step = max(steps, key=lambda pair: pair[1].at)
    keys = {(one.step_key or "") for _, one in steps}
    state, why = WORDS[STATES.get(step.state, step.state)], step.error_text or step.reason
    size = step.size_bytes if step.size_bytes is not None else sizes.get((workflow, step.step_key or ""))
    if step.step_key is None:
        why = "not cached: " + (why or "no key")
    elif step.stored is False:
        why = f"not stored{why and '; '}{why}"
    return NameStatus(
        name=name,
        state=state,
        at=step.at,
        duration_s=None if step.state in {"running", "waiting"} else step.duration_s,
        size_bytes=size,
        saved_s=sum(one.saved_s for _, one in steps),
        keys=len(keys),
        why=why,
    )


def _stored() -> list[NameStatus]:
    by_name: dict[str, list[Entry]] = {}
    for entry in find():
        step = entry.step_id or entry.namespace
        name = step if entry.namespace in {step, ""} else f"{entry.namespace} / {step}"
        by_name.setdefault(name, []).append(entry)
    rows = []
    for name, entries in by_name.items():
        newest = entries[-1]
        rows.append(
            NameStatus(
                name=name,
                state="stored" if newest.ok else WORDS["failed"],
                at=newest.created_at,
                duration_s=newest.duration_s,
                size_bytes=sum(entry.size_bytes or 0 for entry in entries),
                saved_s=sum((entry.duration_s or 0.0) * entry.hits for entry in entries),
                keys=len(entries),
            )
        )
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a cell, a step or a function was computed last, or where its result came from.

    Attributes
    ----------
    name, key
        Which step, and the key it ran with.
    line
        The answer in one line, as in "computed 2 min ago in 26 s: first run".
    changes
        What differs from the nearest entry of the same step; each has `.part`, `.line` and `.detail`, a source diff.
    """

    name: str
    key: str
    line: str
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        diffs = [change.detail.rstrip("\n") for change in self.changes if change.detail]
        return visible("\n".join([f"{self.name}: {self.line}", *diffs]))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's own signature; Any: its printer
        printer.text("..." if cycle else _coloured(str(self)) if sys.stdout.isatty() else str(self))

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        changes = [{"part": change.part, "line": change.line, "diff": change.detail} for change in self.changes]
        return {"name": self.name, "key": self.key, "line": self.line, "changes": changes}


def _coloured(text: str) -> str:
    colours = {"+": "\x1b[32m", "-": "\x1b[31m"}
    return "\n".join(
        f"{colours[line[0]]}{line}\x1b[0m" if line[:1] in colours and line[:3] not in {"+++", "---"} else line
        for line in text.split("\n")
    )


def why(name: str) -> Explanation:
    """Return why a cell, a step or a function was computed last, or where its result came from.

    Parameters
    ----------
    name
        Of the cell, step or function; "WORKFLOW / STEP" where steps of several workflows have it.

    Raises
    ------
    NotCachedError
        Nothing of that name has run here or is cached.
    """
    runs = [(run.workflow, step) for run in recent_runs() for step in run.steps]
    ran = [(workflow, step) for workflow, step in runs if name in {step.step_id, f"{workflow} / {step.step_id}"}]
    if ran:
        return _of_run(*max(ran, key=lambda pair: pair[1].at))
    entries = [e for e in find() if name in {e.step_id, e.namespace, f"{e.namespace} / {e.step_id}"}]
    if not entries:
        near = did_you_mean(name, dict.fromkeys([*(step.step_id for _, step in runs), *names()]))
        raise NotCachedError(
            f"nothing called {name!r} has run here or is cached in {cache_directory()}{near and '; '}{near}"
        )
    return _of_entry(entries[-1])


def _of_run(workflow: str, step: StepSummary) -> Explanation:
    now = datetime.now(UTC)
    marks = _marks(workflow, step.step_id)
    changes: tuple[Change, ...] = ()
    error = step.error_text.removeprefix("UnexpectedError: ")
    took = f"{show_age(step.at, now)} in {show_took(step.duration_s)}"
    match step.state:
        case "hit" | "replayed failure":
            line = f"{WORDS[STATES.get(step.state, step.state)]}, {_computed(marks, step.step_key, now)}"
            entry = next((one for one in find() if (one.namespace, one.key) == (workflow, step.step_key)), None)
            if entry is not None and entry.came:
                line += f"; {came_from(entry)}"
            if "changed" in step.reason:
                line += "; its code changed since"
        case "running" | "waiting":
            line = f"{step.state}, since {show_duration((now - step.at).total_seconds())}"
            line += f": {step.reason}" if step.reason else ""
        case state:
            changes = _changes(marks, step.step_key)
            line = f"{state} {took}" + (f": {step.reason}" if step.reason else "")
    return Explanation(
        name=step.step_id, key=step.step_key or "", line="; ".join(filter(None, (line, error))), changes=changes
    )


def _of_entry(entry: Entry) -> Explanation:
    now = datetime.now(UTC)
    step_id = entry.step_id or entry.namespace
    marks = _marks(entry.namespace, step_id)
    changes = _changes(marks, entry.key)
    told = "; ".join(change.line for change in changes)
    at = "" if entry.created_at is None else f" {show_age(entry.created_at, now)}"
    took = "" if entry.duration_s is None else f" in {show_took(entry.duration_s)}"
    line = f"{'computed' if entry.ok else 'failed'}{at}{took}" + (f": {told}" if told else "")
    line = "; ".join(filter(None, (line, came_from(entry))))
    return Explanation(name=step_id, key=entry.key, line=line, changes=changes)


def _changes(marks: Sequence[Mark], key: str | None) -> tuple[Change, ...]:
    """Return what is new in the parts of a key since the nearest entry of the same step."""
    known = [Parts.from_data(mark.parts) for mark in reversed(marks) if mark.parts is not None]
    mine = next((parts for parts in known if parts.key == key), None)
    before = None if mine is None else nearest(mine, [parts for parts in known if parts.key != key])
    return () if mine is None or before is None else diff(before, mine)


def _marks(namespace: str, step_id: str) -> Sequence[Mark]:
    marks = getattr(open_default(namespace), "marks", None)
    return [] if marks is None or not cache_directory().is_dir() else list(marks(step_id))


def _computed(marks: Sequence[Mark], key: str | None, now: datetime) -> str:
    """Say when the entry of an automatic `key` was computed, or else the newest of these."""
    of_key = [mark for mark in marks if mark.parts is not None and Parts.from_data(mark.parts).key == key]
    for mark in (*of_key, *marks):
        if mark.at is not None and mark.duration_s is not None:
            return f"computed {show_age(mark.at, now)} in {show_took(mark.duration_s)}"
    return "computed earlier"


def notebook_names(path: Path | None = None) -> set[str]:
    """Return the names that a notebook gives its cells, functions and workflows, as far as its file shows them.

    Parameters
    ----------
    path
        The notebook; by default the one that this kernel belongs to, where Jupyter tells.
    """
    if path is None:
        path = Path(os.environ.get("JPY_SESSION_NAME") or "")
    try:
        at = path.stat().st_mtime_ns if path.suffix == ".ipynb" else 0
    except OSError:
        at = 0
    return set(_names_in(path, at)) if at else set()


@lru_cache(maxsize=4)
def _names_in(path: Path, _modified_ns: int) -> tuple[str, ...]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()  # it is being written, or is no notebook: then only what ran is known
    found = (match for source in sources for match in _NAMED.finditer(source))
    return tuple(match[1] or match[2] or match[3] for match in found)


_NAMED: Final = re.compile(
    r"""^%%awaitly[ ]+["']?([\w.-]+) | ^@(?:\w+\.)?step\b.*\n(?:@.*\n)*(?:async[ ]+)?def[ ]+(\w+)
    | create_workflow\(\s*["']([^"']+)""",
    re.MULTILINE | re.VERBOSE,
)


def expected_s(workflow: str, step_id: str) -> float | None:
    """Return the median of the seconds that a step's stored results took; None for a step that has none.

    Parameters
    ----------
    workflow
        Its workflow, or the name of the cell or function.
    step_id
        The step.
    """
    import statistics

    if not cache_directory().is_dir():
        return None
    took = [entry.duration_s for entry in open_default(workflow).entries() if entry.step_id == step_id]
    known = [seconds for seconds in took if seconds is not None]
    return statistics.median(known) if known else None
