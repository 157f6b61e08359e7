"""The static forms: results, states, caches, runs and the panel, as inert HTML that reads well without a kernel.

Pure functions from data to markup. Owners call them from `_repr_html_` through an import in the method, so that a
program without a notebook never loads them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from awaitly_nb.notebook.html_elements import Html, cell, document, folded, heading, paragraph, preformatted, table, tag
from awaitly_nb.notebook.html_preview import Preview, preview
from awaitly_nb.notebook.panel_columns import short_key
from awaitly_nb.notebook.panel_rows import grouped, sections
from awaitly_nb.notebook.words import WORDS, middle_cut, show_computed, show_took, show_when
from awaitly_nb.result import Err, mark_of
from awaitly_nb.units import show_duration, show_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.cache import Entry, StepCache
    from awaitly_nb.engine import RunSummary, Why
    from awaitly_nb.notebook.panel_rows import Row
    from awaitly_nb.result import Mark, Result
    from awaitly_nb.states import ResumeState

__all__ = ["PANEL_ENTRIES", "cache_html", "panel_html", "result_html", "run_html", "state_html", "why_html"]

_SIGNS = {
    "hit": "✓",
    "computed": "●",
    "failed": "✕",
    "replayed": "✕",
    "invalidated": "○",
    "interrupted": "■",
    "skipped": "·",
}
# Inline on the bars, because an untrusted notebook keeps no style sheet. Blue is for what runs, and for nothing else.
_COLOURS = {
    "hit": "#2e9e4f",
    "computed": "#7b52c7",
    "running": "#1976d2",
    "failed": "#d32f2f",
    "replayed": "#d32f2f",
    "invalidated": "#e58a00",
}
# No code of ours is in a page that is loaded again until the kernel answers; `static.css` shows this meanwhile.
_BUSY = "The kernel is busy; the panel returns when it answers."
_MOST_ENTRIES = 50
PANEL_ENTRIES = 10  # less, because it is sent again after every click, and living panels list them all
_STEP_COLUMNS = (("State", "s"), ("Step", ""), ("Timeline", "t"), ("Took", "n"), ("Size", "n"), ("Saved", "n"))
_KEY_COLUMNS = (("Key", "k"), ("Step", ""), ("Result", "s"), ("Size", "n"), ("Took", "n"), ("Computed", "n"))


def result_html(result: Result[Any, Any], *, now: datetime | None = None) -> str:
    """Return a result as HTML: a success by the head of its value, a failure with its traceback folded."""
    facts = _mark_facts(mark_of(result), now or datetime.now(UTC))
    if isinstance(result, Err):
        shown = f"{type(result.error).__name__}: {result.error}"
        if isinstance(result.error, str):
            shown = result.error
        parts: list[object] = [heading("Err", tag("span", shown, css="failed"), *facts)]
        if (trace := _traceback(result)) is not None:
            parts.append(folded("Traceback", preformatted(trace)))
        return document(*parts)
    seen = preview(result.value)
    return document(heading("Ok", *seen.facts, *facts), _preview_html(seen))


def state_html(state: ResumeState, *, now: datetime | None = None) -> str:
    """Return a resume state as HTML: its steps in the order in which they were completed, the latest of many."""
    moment = now or datetime.now(UTC)
    rows = [
        (
            key,
            entry.step_id,
            _outcome(ok=entry.result.ok),
            "" if entry.duration_s is None else show_took(entry.duration_s),
            "" if entry.at is None else show_when(entry.at, moment),
        )
        for key, entry in state.steps.items()
    ]
    columns = (("Key", "k"), ("Step", ""), ("Result", "s"), ("Took", "n"), ("Computed", "n"))
    return document(
        heading("Resume state", _count(len(rows), "step")),
        table(columns, rows[-_MOST_ENTRIES:]),
        _more(len(rows) - _MOST_ENTRIES),
    )


def cache_html(cache: StepCache, *, now: datetime | None = None) -> str:
    """Return a cache as HTML: its newest entries. No value is decoded."""
    entries = cache.entries()
    total = sum(entry.size_bytes or 0 for entry in entries)
    return document(
        heading(type(cache).__name__, _count(len(entries), "key"), show_size(total) if total else ""),
        _entries_html(entries, now or datetime.now(UTC), _MOST_ENTRIES, len(entries)),
    )


def run_html(run: RunSummary) -> str:
    """Return one run as HTML: its steps, when each ran, and what the cache saved."""
    return document(*(_section_html(section, datetime.now(UTC)) for section in sections([run])))


def why_html(why: Why) -> str:
    """Return why a call hits or misses as HTML: one line, and a folded source diff for each part that has one."""
    told = [paragraph(change.line) for change in why.changes if not change.detail]
    diffs = [folded(change.line, preformatted(change.detail)) for change in why.changes if change.detail]
    verdict = tag("span", "hit" if why.hit else "miss", css="ok" if why.hit else "failed")
    return document(heading(why.key, verdict, "" if told or diffs else why.reason), *told, *diffs)


def panel_html(
    drawn: Sequence[Row],
    entries: Sequence[Entry],
    *,
    kept: tuple[int, int] | None = None,
    token: str = "",
    now: datetime | None = None,
) -> str:
    """Return the panel as HTML, which is what a saved notebook keeps of it.

    Parameters
    ----------
    drawn
        What `panel_rows.sections` made of the runs.
    entries
        The cached keys, of many the newest.
    kept
        How many keys there are in all, and their bytes, where `entries` are not all of them.
    token
        Where the living panel, if there is one in the page, may take the place of this form.
    now
        The instant of drawing: a date of its year is told without the year.
    """
    moment = now or datetime.now(UTC)
    count, total = kept or (len(entries), sum(entry.size_bytes or 0 for entry in entries))
    summary = f"{_count(count, 'key')} cached" + (f", {show_size(total)}" if total else "")
    keys = paragraph(summary, css="d")
    if entries:
        keys = folded(summary, _entries_html(entries, moment, PANEL_ENTRIES, count))
    if not drawn:
        keys = tag("div", paragraph("No step has run yet in this kernel.", css="d"), keys, css="awn-past")
    return document(
        tag("p", _BUSY, css="awn-busy", style="display: none") if token else "",
        *(_section_html(section, moment) for section in drawn),
        keys,
        css=f"awn-at-{token}" if token else "",
    )


def _section_html(section: Row, now: datetime) -> Html:
    steps: list[Row] = section["steps"]
    saved = sum(step.get("saved") or 0.0 for step in steps)
    states = [step["state"] for step in steps]
    facts = [
        section["status"],
        "" if section["took"] is None else show_duration(section["took"]),
        *(f"{states.count(state)} {word}" for state, word in WORDS.items() if state in states),
        tag("span", f"saved {show_duration(saved)}", css="hit") if saved >= 0.05 else "",  # noqa: PLR2004 - not worth a word
    ]
    span = max(
        [(step.get("start") or 0.0) + (step.get("took") or 0.0) for step in steps] + [section["took"] or 0.0, 1e-3]
    )
    rows = [_step_cells(line, span, now) for line in grouped(steps)]
    error = paragraph(section["error"], css="failed") if section["error"] else ""
    return tag("section", heading(section["title"], *facts), error, table(_STEP_COLUMNS, rows))


def _step_cells(step: Row, span: float, now: datetime) -> tuple[object, ...]:
    state, took, saved = step["state"], step.get("took"), step.get("saved") or 0.0
    why = step.get("why")
    if state == "hit" and "key" in step:
        at = datetime.fromtimestamp(step["at"], UTC) if step.get("at") else None
        why = None if at is None else show_computed(at, step.get("was"), now)
    if step.get("twin"):
        why = " · ".join([middle_cut(short_key(step["key"] or "")), *([why] if why and why != "first run" else [])])
    return (
        cell(f"{_SIGNS.get(state, '◌')} {WORDS.get(state, state)}", css=f"s {state}"),
        cell(
            step["step"],
            tag("div", why, css="d", style="font-weight: normal") if why else "",
            title=step.get("key") or "",
            heads=True,
        ),
        cell(*_bars(step["parts"], span), css="t"),
        "" if took is None else show_took(took),
        "" if step.get("size") is None else show_size(step["size"]),
        cell(show_duration(saved), css="n hit") if saved >= 0.001 and state != "invalidated" else "",  # noqa: PLR2004 - a millisecond
    )


def _bars(parts: Sequence[Row], span: float) -> list[Html]:
    """Return a bar for each step that has begun, all on one line: each moves back by what those before it took up."""
    bars, at = [], 0.0
    for part in sorted((part for part in parts if part.get("start") is not None), key=lambda part: part["start"]):
        left = max(min(100 * part["start"] / span, 99), at)
        width = min(max(100 * (part.get("took") or 0.0) / span, 0.8), 100 - left)
        colour = _COLOURS.get(part["state"], "#888888")
        # Rounded down: together they must never be wider than the line, or the last one falls off it.
        place = f"margin-left: {_floor(left - at)}%; width: {_floor(width)}%; height: 10px"
        bars.append(tag("div", style=f"{place}; background-color: {colour}; display: inline-block"))
        at = left + width
    return bars


def _floor(percent: float) -> float:
    return int(percent * 100) / 100


def _entries_html(entries: Sequence[Entry], now: datetime, most: int, count: int) -> Html:
    newest = sorted(entries, key=lambda entry: entry.created_at or datetime.min.replace(tzinfo=UTC), reverse=True)
    rows = [
        (
            cell(_shown_key(entry), css="k", title=entry.key, heads=True),
            entry.step_id or "",
            _outcome(ok=entry.ok),
            "" if entry.size_bytes is None else show_size(entry.size_bytes),
            "" if entry.duration_s is None else show_took(entry.duration_s),
            "" if entry.created_at is None else show_when(entry.created_at, now),
        )
        for entry in newest[:most]
    ]
    return Html(table(_KEY_COLUMNS, rows) + _more(count - most))


def _shown_key(entry: Entry) -> str:
    """Return a key as people read it: an automatic one cut short, and its namespace where it does not say it itself."""
    key = middle_cut(short_key(entry.key))
    return key if not entry.namespace or key.startswith(f"{entry.namespace}:") else f"{entry.namespace} {key}"


def _outcome(*, ok: bool) -> Html:
    return tag("span", "✓ ok", css="ok") if ok else tag("span", "✕ failed", css="failed")


def _more(hidden: int) -> Html:
    return paragraph(f"and {hidden:,} more", css="d") if hidden > 0 else Html("")


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _mark_facts(mark: Mark | None, now: datetime) -> list[str]:
    if mark is None or mark.at is None:
        return []
    return [show_computed(mark.at, mark.duration_s, now)]


def _preview_html(seen: Preview) -> Html:
    if seen.rows:
        return table([(name, "n") for name in seen.columns], seen.rows)
    return preformatted(seen.text)


def _traceback(result: Err[Any]) -> str | None:
    """Return the original traceback of a failure: of a living exception, or as it was written down."""
    for failure in (result.cause, result.error):
        if kept := getattr(failure, "traceback_text", ""):
            return str(kept)
        if isinstance(failure, BaseException) and failure.__traceback__ is not None:
            import traceback

            return "".join(traceback.format_exception(failure))
    return None
