"""How every surface says things: each state by one word, an instant by its date, a long key by its two ends.

What is drawn once and read later (a saved notebook) tells instants, because an age would be wrong a moment after. The
page's own words are in the notebook's `static/`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "STATES",
    "WORDS",
    "counted",
    "fit_width",
    "middle_cut",
    "short_key",
    "show_computed",
    "show_took",
    "show_when",
]

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
_HEX: Final = re.compile(r":([0-9a-f]{10})[0-9a-f]{22}\Z")


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
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def short_key(key: str) -> str:
    """Return a key as people read it: of an automatic one, the first ten of its 32 digits.

    Examples
    --------
    >>> short_key("features:0123456789abcdef0123456789abcdef"), short_key("user:1")
    ('features:0123456789…', 'user:1')
    """
    return key if key[-33:-32] != ":" else _HEX.sub(r":\1…", key)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "key"), counted(2000, "key")
    ('1 key', '2,000 keys')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def fit_width(columns: Sequence[str], rows: Sequence[Sequence[str]], flexible: Sequence[int], width: int) -> list[int]:
    """Return how wide each column is, so that a table fits: only the `flexible` ones are cut, the widest of them first.

    Examples
    --------
    >>> fit_width(("key", "size"), [("a-key-of-25-letters-or-so", "1.2 MB")], [0], 24)
    [16, 6]
    """
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    floor = {place: max(len(columns[place]), _NARROWEST) for place in flexible}
    while flexible and over > 0:
        widest = max(flexible, key=lambda place: widths[place] - floor[place])
        if widths[widest] <= floor[widest]:
            break  # no terminal is that narrow: let it wrap
        widths[widest] -= 1
        over -= 1
    return widths


_NARROWEST: Final = 8
