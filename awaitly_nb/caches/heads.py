"""What the heads of entries tell, without believing them: anybody may have written one, and listings show them all."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from awaitly_nb.caches.entry import Entry
from awaitly_nb.caches.held import SEPARATOR
from awaitly_nb.codec.envelope import read_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

__all__ = ["entry_of", "frame_of", "is_alive", "live_heads", "matcher_of"]


def is_alive(head: dict[str, Any], now: float) -> bool:
    """Tell whether an entry may be served at `now`, by what its head says."""
    stored_at, expires_at = head.get("stored_at"), head.get("expires_at")
    if not isinstance(expires_at, int | float) or not isinstance(stored_at, int | float):
        return True
    return 2 * stored_at - expires_at <= now <= expires_at


def matcher_of(pattern: str) -> Callable[[str], object] | None:
    """Return what tells whether a key matches the glob, case-sensitively; None where every key does."""
    return None if pattern == "*" else re.compile(translate(pattern)).match


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
    step_id, workflow, size, seconds = get("step_id"), get("workflow"), get("size_bytes"), get("duration_s")
    return Entry(
        key=key,
        namespace=namespace,
        step_id=step_id if type(step_id) is str else None,
        workflow=workflow if type(workflow) is str else None,
        ok=get("ok") is True,
        size_bytes=size if type(size) is int else None,
        created_at=_instant(get("created_at")),
        duration_s=seconds if type(seconds) in _NUMBERS else None,
        expires_at=_instant(get("expires_at")) if "expires_at" in head else None,
        hits=hits,
    )


_NUMBERS = (float, int)


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
