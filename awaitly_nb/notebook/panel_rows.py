"""What the panel shows of runs and keys, as plain JSON data. Pure: no widget, no clock, no cache.

A section is one run, or all decorated functions and cells together; a row is one step. Between two drawings only rows
that changed are sent, so that a run of a thousand steps costs the page one row at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from awaitly_nb.plans import AUTO
from awaitly_nb.units import STATES, WORDS, short_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from awaitly_nb.cache import Entry
    from awaitly_nb.engine import RunSummary, StepSummary

__all__ = ["FEW", "Row", "changes", "grouped", "invalidated", "key_row", "sections"]

Row: TypeAlias = "dict[str, Any]"  # Any: plain JSON data

LOOSE = "cells and functions"
FEW = 3
"""How many steps of one id are shown one by one."""

_STATUS = {"ok": "done"}
_LIVE = frozenset({"running", "waiting"})
_MOST_RUNS = 6
_MOST_STEPS = 2_000
"""So many rows of a run, or of one name among cells and functions: the last state of every name stays."""

_PAUSE_S = 30.0
"""Cells and functions that begin later than this after everything has ended belong to another run."""


def sections(
    runs: Sequence[RunSummary], *, workflow: str | None = None, took: Callable[[str, str], float | None] | None = None
) -> list[Row]:
    """Return what to draw of `runs`: the last run of each workflow, the newest first, then everything else in one.

    Parameters
    ----------
    runs
        Oldest first.
    workflow
        Show this workflow only.
    took
        Returns the seconds that a step took before, by workflow and step id: the estimate for a step that is running.
    """
    estimates = _Estimates(took)
    last: dict[str, RunSummary] = {}
    before: dict[str, RunSummary] = {}
    loose: list[RunSummary] = []
    for run in runs:
        if workflow is not None and run.workflow != workflow:
            continue
        if _is_loose(run):
            loose.append(run)
            continue
        if run.workflow in last:
            before[run.workflow] = last[run.workflow]
        last[run.workflow] = run
        for step in run.steps:
            if step.state == "computed":
                estimates.seen[run.workflow, step.step_id] = step.duration_s
    shown = sorted(last.values(), key=lambda run: run.started_at, reverse=True)[:_MOST_RUNS]
    drawn = [_section(run, before.get(run.workflow), estimates) for run in shown]
    if loose:
        drawn.append(_loose_section(loose, estimates))
    return drawn


class _Estimates:
    """How long a step may take: as long as it took in this process, else as its entry says."""

    def __init__(self, took: Callable[[str, str], float | None] | None) -> None:
        self.seen: dict[tuple[str, str], float] = {}
        self._took = took

    def get(self, workflow: str, step_id: str) -> float | None:
        seconds = self.seen.get((workflow, step_id))
        return self._took(workflow, step_id) if seconds is None and self._took is not None else seconds


def _is_loose(run: RunSummary) -> bool:
    """Tell whether `run` is a decorated function or a cell, whose steps carry its own name but in automatic mode."""
    return bool(run.steps) and (run.workflow == AUTO or all(step.step_id == run.workflow for step in run.steps))


def _section(run: RunSummary, before: RunSummary | None, estimates: _Estimates) -> Row:
    started = run.started_at.timestamp()
    steps = [_step(step, started, run.workflow, estimates) for step in run.steps[-_MOST_STEPS:]]
    if before is not None and before.status == "ok" and run.status != "ok":
        seen = {step.step_id for step in run.steps}
        state = "pending" if run.status == "running" else "skipped"
        steps += [
            {"step": step_id, "state": state, "est": estimates.get(run.workflow, step_id)}
            for step_id in dict.fromkeys(step.step_id for step in before.steps)
            if step_id not in seen
        ]
    return {
        "id": f"run {run.workflow}",
        "run": run.run_id,
        "title": run.workflow,
        "status": _STATUS.get(run.status, run.status),
        "started": started,
        "took": None if run.status == "running" else run.duration_s,
        "error": None if run.error_text == run.status else run.error_text or None,  # not "cancelled" twice
        "steps": steps,
    }


def _loose_section(runs: Sequence[RunSummary], estimates: _Estimates) -> Row:
    """Return one section of the latest outcome of each key that cells and decorated functions reached.

    What stands on its time axis, and in its sum, is what ran last without a long pause: running all cells, or one.
    """
    latest: dict[tuple[str, str | None], tuple[StepSummary, str]] = {}
    for run in runs:
        for step in run.steps:
            latest.pop((step.step_id, step.step_key), None)
            latest[step.step_id, step.step_key] = (step, run.workflow)
    by_name: dict[str, list[tuple[StepSummary, str]]] = {}
    for step, workflow in latest.values():
        by_name.setdefault(step.step_id, []).append((step, workflow))
    recent = [pair for pairs in by_name.values() for pair in sorted(pairs, key=_begin)[-_MOST_STEPS:]]
    steps = sorted(recent, key=_begin)
    started = _current_start(steps)
    running = any(step.state in _LIVE for step, _ in steps)
    rows = [_step(step, started, workflow, estimates) for step, workflow in steps]
    for row in rows:
        if row["since"] < started:
            row["start"] = None
    return {
        "id": "loose",
        "run": "",
        "title": LOOSE,
        "status": "running" if running else "done",
        "started": started,
        "took": sum(row["took"] or 0.0 for row in rows if row["start"] is not None),
        "error": None,
        "steps": rows,
    }


def _begin(pair: tuple[StepSummary, str]) -> datetime:
    return pair[0].at


def _current_start(steps: Sequence[tuple[StepSummary, str]]) -> float:
    """Return when the current run of cells and functions began, in seconds since the epoch; `steps` are in order."""
    started = ended = steps[0][0].at.timestamp()
    for step, _ in steps:
        at = step.at.timestamp()
        if at - ended > _PAUSE_S:
            started = at
        ended = max(ended, math.inf if step.state in _LIVE else at + step.duration_s)
    return started


def _step(step: StepSummary, started: float, workflow: str, estimates: _Estimates) -> Row:
    at = step.at.timestamp()
    error = step.error_text.removeprefix(f"UnexpectedError: step {step.step_id!r} raised ")  # the row says which step
    return {
        "step": step.step_id,
        "key": step.step_key,
        "workflow": workflow,
        "state": STATES.get(step.state, step.state),
        "start": max(at - started, 0.0),
        "since": at,
        "took": None if step.state == "running" else step.duration_s,
        "was": step.computed_s,
        "size": step.size_bytes,
        "saved": step.saved_s or 0.0,
        "why": error or step.reason or None,
        "reason": step.reason if error else None,
        "est": estimates.get(workflow, step.step_id),
    }


def invalidated(row: Row) -> Row:
    """Return the row of a step whose key was removed since: its next run is what counts, and no more its last."""
    why = row["reason"] if isinstance(row.get("reason"), str) else row["why"]
    return {**row, "state": "invalidated", "why": "runs again next time", "reason": why}


def grouped(steps: Sequence[Row]) -> list[Row]:
    """Return the lines that steps are shown in: many of one id, as a loop makes them, are one line.

    A line is a row with `parts`, the rows that it stands for.
    """
    same: dict[str, list[Row]] = {}
    for step in steps:
        same.setdefault(step["step"], []).append(step)
    lines: list[Row] = []
    for parts in same.values():
        if len(parts) <= FEW:
            lines += [{**step, "parts": [step], "twin": len(parts) > 1} for step in parts]
            continue
        present = [step["state"] for step in parts]
        current = [step for step in parts if step.get("start") is not None] or parts
        counts = [f"{present.count(state)} {WORDS[state]}" for state in WORDS if state in present]
        lines.append(
            {
                "step": f"{parts[0]['step']} × {len(parts)}",  # noqa: RUF001 - times
                "state": next(state for state in WORDS if state in present),
                "took": sum(step.get("took") or 0.0 for step in current),
                "size": sum(step.get("size") or 0 for step in parts) or None,
                "saved": sum(step.get("saved") or 0.0 for step in parts),
                "why": " · ".join(counts),
                "parts": parts,
            }
        )
    return lines


def changes(old: Sequence[Row], new: Sequence[Row]) -> Row:
    """Return what turns the drawing `old` into `new`: the order of sections, and of each its changed rows by number."""
    known = {section["id"]: section for section in old}
    changed = []
    for section in new:
        before = known.get(section["id"])
        if before == section:
            continue
        was = before["steps"] if before is not None else []
        rows = [[i, row] for i, row in enumerate(section["steps"]) if i >= len(was) or was[i] != row]
        changed.append({**section, "steps": None, "n": len(section["steps"]), "rows": rows})
    return {"order": [section["id"] for section in new], "sections": changed}


def key_row(number: int, entry: Entry) -> Row:
    """Return one key as the page draws it; `number` stands for the key in messages.

    An automatic key is cut: its digits are most of what 100,000 keys weigh, and nobody reads more than some. The
    preview shows it whole.
    """
    return {
        "id": number,
        "namespace": entry.namespace,
        "key": short_key(entry.key),
        "step": entry.step_id or "",
        "ok": int(entry.ok),
        "size": -1 if entry.size_bytes is None else entry.size_bytes,
        "took": -1 if entry.duration_s is None else _short(entry.duration_s),
        "at": 0 if entry.created_at is None else int(entry.created_at.timestamp()),
        "hits": entry.hits,
        "call": entry.call or "",
    }


def _short(seconds: float) -> float:
    """Return `seconds` with three digits that count: more would only be sent."""
    return float(f"{seconds:.3g}")
