"""A bound on a folder, when the user sets one: what is cheapest to have again, for the space it takes, goes first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.cache.heads import number_of
from awaitly_nb.cache.held import SEPARATOR
from awaitly_nb.codec import read_head
from awaitly_nb.errors import CacheError, EvictedWarning, warn
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from awaitly_nb.cache.folder import Folder

__all__ = ["evict", "refuse_if_too_large"]

_ROOM: Final = 0.95  # evicting goes a little below the bound, so that not every store has to evict
_UNKNOWN_S: Final = 1.0  # what a step is taken to cost when nobody measured it
_HALF_LIFE_S: Final = 86_400.0  # an entry that is this old is worth half as much
_EMPTY_BYTES: Final = 64_000  # what a folder without entries takes: the tables
_NAMED: Final = 3


def refuse_if_too_large(key: str, size: int, limit: int) -> None:
    """Raise CacheError for a value that alone exceeds the bound: keeping it would cost all others."""
    if size + _EMPTY_BYTES > limit:
        raise CacheError(
            f"{key!r} takes {show_size(size)}, which with the {show_size(_EMPTY_BYTES)} of an empty folder is more "
            f"than the whole size_limit of {show_size(limit)}, so it is not kept; raise size_limit, or store less"
        )


def evict(folder: Folder, limit: int, *, spare: str) -> int:
    """Remove entries until the folder is within `limit` bytes, and say so; return how many.

    Entries that somebody is computing anew are left, and so is `spare`, the record just stored.
    """
    volume = folder.store.volume()
    if volume <= limit:
        return 0
    now = time.time()
    wanted = volume - int(limit * _ROOM)
    candidates = sorted(
        (_worth(head, size, now), name, size) for name, head, size in folder.store.sizes() if name != spare
    )
    chosen: list[str] = []
    freed = 0
    for _, name, size in candidates:
        if freed >= wanted:
            break
        flight = folder.locks.flight(name)
        if flight.try_acquire():
            flight.release()
            chosen.append(name)
            freed += size
    removed = folder.delete(chosen) if chosen else 0
    if removed:
        keys = ", ".join(repr(name.partition(SEPARATOR)[2]) for name in chosen[:_NAMED])
        more = f" and {removed - _NAMED} more" if removed > _NAMED else ""
        warn(
            f"removed {keys}{more} ({show_size(freed)}) to keep {folder.directory} within its size_limit of "
            f"{show_size(limit)}",
            EvictedWarning,
        )
    return removed


def _worth(head: str, size: int, now: float) -> float:
    """Return the seconds that recomputing an entry takes for each of its bytes, less with age."""
    members: dict[str, Any] = read_head(head) or {}
    seconds, created = number_of(members.get("duration_s")), number_of(members.get("created_at"))
    cost = _UNKNOWN_S if seconds is None else seconds
    age = 0.0 if created is None else max(0.0, now - created)
    return cost / max(size, 1) / (1 + age / _HALF_LIFE_S)
