"""The static forms: results, states, caches, runs and the panel, as inert HTML that reads well without a kernel.

Pure functions from data to markup, with one rule: whatever comes in is text, and is escaped. The markup reads well
where styles are removed too (GitHub, an untrusted notebook): states are words, tables are tables. The rooms below draw
their objects by what this module registers; it is loaded when Jupyter first asks one of them for its HTML.
"""

from __future__ import annotations

import html
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.drawing import register_html, register_panel
from awaitly_nb.manage import Preview, preview, shown_key
from awaitly_nb.notebook.panel_rows import grouped, sections
from awaitly_nb.result import Err, mark_of
from awaitly_nb.units import (
    WORDS,
    counted,
    middle_cut,
    short_key,
    show_computed,
    show_duration,
    show_size,
    show_took,
    show_when,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awaitly_nb.cache import Entry, StepCache
    from awaitly_nb.engine import RunSummary, Why
    from awaitly_nb.manage import Explanation
    from awaitly_nb.notebook.panel_rows import Row
    from awaitly_nb.plans import Plan
    from awaitly_nb.result import Mark, Result
    from awaitly_nb.states import ResumeState

__all__ = [
    "PANEL_ENTRIES",
    "Html",
    "HtmlCell",
    "cache_html",
    "cell",
    "document",
    "folded",
    "heading",
    "panel_html",
    "paragraph",
    "preformatted",
    "preview_html",
    "result_html",
    "run_html",
    "state_html",
    "table",
    "tag",
    "text",
    "why_html",
]

_KINDS: Final = {"key": "k", "state": "s", "result": "s"} | dict.fromkeys(
    ("took", "size", "saved", "age", "hits", "computed"), "n"
)


class Html(str):
    """Text that is markup already; everything else is escaped where it is put in."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return `value` as markup that shows it: escaped, and without characters that reorder or hide what follows."""
    if isinstance(value, Html):
        return value
    shown = "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in str(value)
    )
    return Html(html.escape(shown, quote=True))


def tag(name: str, *content: object, css: str = "", style: str = "", title: str = "", scope: str = "") -> Html:
    """Return one element around `content`."""
    attributes = {"class": css, "style": style, "title": title, "scope": scope}
    opening = "".join(f' {key}="{text(value)}"' for key, value in attributes.items() if value)
    return Html(f"<{name}{opening}>{''.join(text(part) for part in content)}</{name}>")


def paragraph(*content: object, css: str = "") -> Html:
    """Return a paragraph."""
    return tag("p", *content, css=css)


def heading(title: str, *facts: object) -> Html:
    """Return a line with a name and what is to be said of it."""
    shown = [part for i, fact in enumerate(filter(None, facts)) for part in (" · " if i else " ", tag("span", fact))]
    return tag("div", tag("strong", title), *shown, css="h")


def preformatted(content: str) -> Html:
    """Return text in a fixed-width block."""
    return tag("pre", content)


def folded(summary: str, *content: object) -> Html:
    """Return content that opens at a click."""
    return tag("details", tag("summary", summary), *content)


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]]) -> Html:
    """Return a table.

    Parameters
    ----------
    columns
        Title and class of each, or no class where the title says it: `n` is for numbers and stands to the right,
        neither it nor `s` (a state) breaks, and of a long key (`k`) the ends show, or other columns had no room.
    rows
        What stands in the cells; a `cell` is taken as it is. The first heads its row.
    """
    columns = [(title, css or _KINDS.get(title, "")) for title, css in columns]
    head = tag("thead", tag("tr", *(_cell("th", title, css, "col") for title, css in columns)))
    body = []
    for row in rows:
        cells = [
            cell if isinstance(cell, HtmlCell) else _plain(cell, css, heads=not i)
            for i, (cell, (_, css)) in enumerate(zip(row, columns, strict=True))
        ]
        body.append(tag("tr", *cells))
    return tag("table", head, tag("tbody", *body))


def _plain(content: object, css: str, *, heads: bool) -> Html:
    whole = str(content)
    if css == "k" and (short := middle_cut(whole)) != whole:
        return cell(short, css=css, title=whole, heads=heads)
    return cell(content, css=css, heads=heads)


class HtmlCell(Html):
    """A cell with a class or title of its own."""

    __slots__ = ()


def cell(*content: object, css: str = "", title: str = "", heads: bool = False) -> HtmlCell:
    """Return a cell; one that `heads` names its row."""
    return HtmlCell(
        _cell("th" if heads else "td", Html("".join(map(text, content))), css, "row" if heads else "", title)
    )


def _cell(name: str, content: object, css: str, scope: str, title: str = "") -> Html:
    # Inline, because an untrusted notebook keeps such styles only, and JupyterLab sets every cell to the right.
    kinds = css.split()
    side = "right" if "n" in kinds else "left"
    whole = "; white-space: nowrap" if {"n", "s"} & {*kinds} else ""  # "0.9 ms" is one word
    return tag(name, content, css=css, style=f"text-align: {side}{whole}", scope=scope, title=title)


@cache
def _style() -> str:
    return (Path(__file__).parent / "static" / "static.css").read_text(encoding="utf-8")


def document(*content: object, css: str = "") -> str:
    """Return a whole output: content with its style. A plain `str`, ready for `_repr_html_`."""
    style = Html(f"<style>{_style()}</style>")
    return str(tag("div", style, *content, css=f"awn-static {css}".strip()))


# -- the forms --------------------------------------------------------------------------------------------------------

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
    return document(heading("Ok", *seen.facts, *facts), preview_html(seen))


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
        heading("Resume state", counted(len(rows), "step")),
        table(columns, rows[-_MOST_ENTRIES:]),
        _more(len(rows) - _MOST_ENTRIES),
    )


def cache_html(cache: StepCache, *, now: datetime | None = None) -> str:
    """Return a cache as HTML: its newest entries. No value is decoded."""
    entries = cache.entries()
    total = sum(entry.size_bytes or 0 for entry in entries)
    return document(
        heading(type(cache).__name__, counted(len(entries), "key"), show_size(total) if total else ""),
        _entries_html(entries, now or datetime.now(UTC), _MOST_ENTRIES, len(entries)),
    )


def run_html(run: RunSummary) -> str:
    """Return one run as HTML: its steps, when each ran, and what the cache saved."""
    return document(*(_section_html(section, datetime.now(UTC)) for section in sections([run])))


def why_html(why: Why) -> str:
    """Return why a call hits or misses as HTML: one line, and a folded source diff for each part that has one."""
    told = [paragraph(change.line) for change in why.changes if not change.detail]
    diffs = [folded(change.line, _diff_html(change.detail)) for change in why.changes if change.detail]
    verdict = tag("span", "hit" if why.hit else "miss", css="ok" if why.hit else "")
    return document(heading(why.key, verdict, "" if told or diffs else why.reason), *told, *diffs)


def _explanation_html(found: Explanation) -> str:
    diffs = [_diff_html(change.detail) for change in found.changes if change.detail]
    return document(heading(found.name, found.line), *diffs)


def _diff_html(detail: str) -> Html:
    """Return a diff of source in colours, which are inline because an untrusted notebook keeps such styles only."""
    colours = {"+": "#2e7d32", "-": "#c62828"}
    lines = detail.rstrip("\n").split("\n")[2:]
    shown = [
        tag("span", line + "\n", style=f"color: {colours[line[0]]}") if line[:1] in colours else text(line + "\n")
        for line in lines
        if not line.startswith("@@")
    ]
    return tag("pre", *shown)


def panel_html(
    drawn: Sequence[Row],
    entries: Sequence[Entry],
    *,
    total: tuple[int, int] | None = None,
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
    total
        How many keys there are in all, and their bytes, where `entries` are not all of them.
    token
        Where the living panel, if there is one in the page, may take the place of this form.
    now
        The instant of drawing: a date of its year is told without the year.
    """
    moment = now or datetime.now(UTC)
    count, size = total or (len(entries), sum(entry.size_bytes or 0 for entry in entries))
    summary = f"{counted(count, 'key')} cached" + (f", {show_size(size)}" if size else "")
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
        [step["start"] + (step.get("took") or 0.0) for step in steps if step.get("start") is not None]
        + [section["took"] or 0.0, 1e-3]
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
        call = step.get("call") or short_key(step["key"] or "")
        why = " · ".join([middle_cut(call), *([why] if why and why != "first run" else [])])
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
    key = middle_cut(shown_key(entry))
    whole = not entry.namespace or entry.call is not None or key.startswith(f"{entry.namespace}:")
    return key if whole else f"{entry.namespace} {key}"


def _outcome(*, ok: bool) -> Html:
    return tag("span", "✓ ok", css="ok") if ok else tag("span", "✕ failed", css="failed")


def _more(hidden: int) -> Html:
    return paragraph(f"and {hidden:,} more", css="d") if hidden > 0 else Html("")


def _mark_facts(mark: Mark | None, now: datetime) -> list[str]:
    if mark is None or mark.at is None:
        return []
    return [show_computed(mark.at, mark.duration_s, now)]


def preview_html(seen: Preview) -> Html:
    """Return a preview as markup: a table, text, a picture, or of a cell each variable and what it showed."""
    if seen.parts:
        return Html("".join(tag("div", heading(name, *part.facts), preview_html(part)) for name, part in seen.parts))
    if seen.image:
        # The address was made by `preview` of decoded bytes: nothing in it can leave the attribute or load anything.
        return Html(f'<img src="{text(seen.image)}" alt="plot" style="max-height: 12em; max-width: 100%">')
    if seen.rows:
        return table([(name, "n") for name in seen.columns], seen.rows)
    return preformatted(seen.text) if seen.text else Html("")


def _traceback(result: Err[Any]) -> str | None:
    """Return the original traceback of a failure: of a living exception, or as it was written down."""
    for failure in (result.cause, result.error):
        if written := getattr(failure, "traceback_text", ""):
            return str(written)
        if isinstance(failure, BaseException) and failure.__traceback__ is not None:
            import traceback

            return "".join(traceback.format_exception(failure))
    return None


def _panel(*args: Any, **kwargs: Any) -> None:  # Any: as `panel` takes them
    from awaitly_nb.notebook.panel import panel

    panel(*args, **kwargs)


def _plan_html(found: Plan) -> str:
    from awaitly_nb.notebook.plan_view import plan_html

    return plan_html(found)


for _name in ("Ok", "Err"):
    register_html(_name, result_html)
for _name in ("MappingCache", "StoredCache"):
    register_html(_name, cache_html)
register_html("ResumeState", state_html)
register_html("RunSummary", run_html)
register_html("Plan", _plan_html)
register_html("Why", why_html)
register_html("Explanation", _explanation_html)
register_panel(_panel)
