"""Durations, sizes, ages and words: read from what people write, and shown as people read them. Stdlib only, no I/O."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from awaitly_nb.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["did_you_mean", "parse_duration", "parse_size", "show_age", "show_duration", "show_size"]

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
