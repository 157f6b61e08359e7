"""How every surface reads and says things: durations, sizes, instants, counts, each state by one word.

What is drawn once and read later (a saved notebook) tells instants, because an age would be wrong a moment after. The
page's own words are in the notebook's `static/`. Stdlib only, no I/O.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from awaitly_nb.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = [
    "STATES",
    "WORDS",
    "counted",
    "did_you_mean",
    "fit_width",
    "in_one_line",
    "middle_cut",
    "parse_duration",
    "parse_size",
    "short_key",
    "show_age",
    "show_computed",
    "show_duration",
    "show_size",
    "show_took",
    "show_when",
    "visible",
]

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*")


def parse_duration(value: float | timedelta | str, *, name: str) -> float:
    """Return `value` in seconds.

    Parameters
    ----------
    value
        Seconds, a timedelta, or text such as "90s", "15m", "2h", "7d" or "1w".
    name
        The option's name, for the error.

    Raises
    ------
    InvalidOptionError
        Zero, below zero, NaN, infinite, or no duration at all.
    """
    seconds = math.nan
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        if (match := _QUANTITY.fullmatch(value)) and (match[2] or "s").lower() in _SECONDS:
            seconds = float(match[1]) * _SECONDS[(match[2] or "s").lower()]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            seconds = float(value)
    if not 0 < seconds < math.inf:
        raise InvalidOptionError(
            f'{name}={value!r} is no duration above zero; give seconds, a timedelta, or text: "7d"'
        )
    return seconds


def parse_size(value: int | str, *, name: str) -> int:
    """Return `value` in bytes: a whole number, or text such as "500 MB" or "20GB".

    Raises
    ------
    InvalidOptionError
        Not above zero, or no size at all.
    """
    size = 0
    if isinstance(value, str):
        if (match := _QUANTITY.fullmatch(value)) and (match[2] or "B").upper() in _BYTES:
            size = int(float(match[1]) * _BYTES[(match[2] or "B").upper()])
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    if size <= 0:
        raise InvalidOptionError(f'{name}={value!r} is no size above zero; give bytes, or text: "20GB"')
    return size


def show_duration(seconds: float) -> str:
    """Return seconds as a person reads them.

    Examples
    --------
    >>> show_duration(0.0004), show_duration(0.25), show_duration(41), show_duration(150), show_duration(9000)
    ('0.4 ms', '250 ms', '41 s', '2 min 30 s', '2 h 30 min')
    """
    if seconds < 0.9995:  # noqa: PLR2004 - from there on it rounds to a second
        milliseconds = seconds * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds:.1f} ms"
    if seconds < 9.95:  # noqa: PLR2004 - from there on it rounds to two digits
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole_s = round(seconds)
    for size, unit, below, below_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole_s >= size:
            whole, rest = divmod(whole_s, size)
            return f"{whole} {unit}" + (f" {rest // below} {below_unit}" if rest // below else "")
    return f"{whole_s} s"


def show_size(size_bytes: float) -> str:
    """Return a size as a person reads it, in powers of ten.

    Examples
    --------
    >>> show_size(900), show_size(12_300_000)
    ('900 B', '12.3 MB')
    """
    if size_bytes < 1000:  # noqa: PLR2004 - powers of ten
        return f"{size_bytes:.0f} B"
    size = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.95 or unit == "TB":  # noqa: PLR2004 - from there on it rounds to the next unit
            break
    return f"{size:.0f} {unit}" if size >= 99.95 else f"{size:.1f} {unit}"  # noqa: PLR2004 - three digits


def show_age(at: datetime, now: datetime) -> str:
    """Return how long ago `at` was, as in "3 h ago"; an instant in the future (a clock set back) is "just now"."""
    seconds = (now - at).total_seconds()
    if seconds < 1:
        return "just now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known word next to `word`, or nothing where none is near.

    Examples
    --------
    >>> did_you_mean("statsu", ["status", "keys"]), did_you_mean("x", ["status"])
    ("did you mean 'status'?", '')
    """
    import difflib  # only where something was misspelt

    near = {text.casefold(): text for text in known}
    found = difflib.get_close_matches(word.casefold(), near, n=1, cutoff=0.6)
    return f"did you mean {near[found[0]]!r}?" if found else ""


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


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What moves the cursor of a terminal, rings its bell, or turns the reading direction; tabs and new lines stay."""


def visible(text: str) -> str:
    r"""Return a user's text with control characters written out, so that it does nothing to a terminal.

    Examples
    --------
    >>> print(visible("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def in_one_line(text: str) -> str:
    r"""Return a user's text as `visible` does, in one line.

    Examples
    --------
    >>> print(in_one_line("one\ntwo"))
    one\ntwo
    """
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
