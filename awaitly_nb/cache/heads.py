"""What the heads of entries tell, without believing them: anybody may have written one, and listings show them all."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.cache.entry import Entry
from awaitly_nb.cache.held import SEPARATOR
from awaitly_nb.codec import read_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

__all__ = ["entry_of", "frame_of", "is_alive", "literal_of", "live_heads", "matcher_of", "number_of"]

_TOO_LARGE: Final = 2**63


def number_of(value: object) -> float | None:
    """Return a number that a head holds, or None where it holds none, or one beyond what a float can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def is_alive(head: dict[str, Any], now: float) -> bool:
    """Tell whether an entry may be served at `now`, by what its head says."""
    stored_at, expires_at = number_of(head.get("stored_at")), number_of(head.get("expires_at"))
    if expires_at is None or stored_at is None:
        return True
    return 2 * stored_at - expires_at <= now <= expires_at


def matcher_of(pattern: str) -> Callable[[str], object] | None:
    """Return what tells whether a key matches the glob, case-sensitively; None where every key does."""
    return None if pattern == "*" else re.compile(translate(pattern)).match


def literal_of(pattern: str) -> str:
    """Return what every text that matches the glob begins with."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0]


def live_heads(rows: Iterable[tuple[str, str, int]], now: float) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield name, head and hits of the entries that may be served at `now`."""
    for name, text, hits in rows:
        head = read_head(text)
        if head is not None and ("expires_at" not in head or is_alive(head, now)):
            yield name, head, hits


def entry_of(name: str, head: dict[str, Any], hits: int = 0) -> Entry:
    """Return what a head tells, without believing it: it is shown to people, and nothing else is done with it."""
    namespace, _, key = name.partition(SEPARATOR)
    get = head.get
    step_id, workflow, size = get("step_id"), get("workflow"), get("size_bytes")
    return Entry(
        key=key,
        namespace=namespace,
        step_id=step_id if type(step_id) is str else None,
        workflow=workflow if type(workflow) is str else None,
        ok=get("ok", True) is True,
        size_bytes=size if type(size) is int and 0 <= size < _TOO_LARGE else None,
        created_at=_instant(get("created_at")),
        duration_s=number_of(get("duration_s")),
        expires_at=_instant(get("expires_at")) if "expires_at" in head else None,
        hits=hits,
        call=call if type(call := get("call")) is str else None,
    )


def _instant(value: Any) -> datetime | None:  # Any: as a stranger wrote it
    try:
        return datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def frame_of(entries: list[Entry]) -> pd.DataFrame:
    """Return entries as a DataFrame."""
    import pandas as pd

    columns = [*Entry.__slots__, "age_s"]
    return pd.DataFrame([[getattr(entry, column) for column in columns] for entry in entries], columns=columns)
