"""How the panel and the tables say things: each state by one word, an instant by its date, a long key by its two ends.

What is drawn once and read later (a saved notebook) tells instants, because an age would be wrong a moment after. The
page's own words are in `static/words.js`. Imports nothing but the standard library and `units`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["STATES", "WORDS", "middle_cut", "show_computed", "show_took", "show_when"]

WORDS: Final = {
    "running": "running",
    "waiting": "waiting",
    "failed": "failed",
    "replayed": "failed, from cache",
    "interrupted": "interrupted",
    "invalidated": "invalidated",
    "computed": "computed",
    "pending": "pending",
    "hit": "from cache",
    "skipped": "skipped",
}
"""What each state is called; the first that is present names a line of several steps: what people most want to know."""

STATES: Final = {"replayed failure": "replayed"}
"""States of a summary that a row calls otherwise."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def show_took(seconds: float) -> str:
    """Return what a step took, as a person reads it: below a millisecond no digit means anything.

    Examples
    --------
    >>> show_took(0.0004), show_took(0.25), show_took(41)
    ('<1 ms', '250 ms', '41 s')
    """
    return "<1 ms" if seconds < 0.001 else show_duration(seconds)  # noqa: PLR2004 - a millisecond


def show_when(at: datetime, now: datetime) -> str:
    """Return an instant in local time, to the minute; to the day where it lies in another year.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> show_when(datetime(2024, 6, 15, 12, tzinfo=UTC), datetime(2026, 6, 15, tzinfo=UTC))
    '15 Jun 2024'
    """
    local = at.astimezone()
    day = f"{local.day} {_MONTHS[local.month - 1]}"
    return f"{day} {local:%H:%M}" if local.year == now.astimezone().year else f"{day} {local.year}"


def show_computed(at: datetime, seconds: float | None, now: datetime) -> str:
    """Return when and how long something was computed, as in "computed 26 Nov 04:38 in 2 s"."""
    return f"computed {show_when(at, now)}" + ("" if seconds is None else f" in {show_took(seconds)}")


def middle_cut(text: str, most: int = 60) -> str:
    """Return `text` with its middle left out where it is longer than `most`: keys differ at their ends.

    Examples
    --------
    >>> middle_cut("a-rather-long-key:2024-01-01", 21)
    'a-rather-l…2024-01-01'
    """
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"
