"""What the commands about kept results do, as functions: plain data in, plain data out.

They look at the default folder, all namespaces of it, and never make one where there is none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import SEPARATOR, Missed, entries_for, entry_of, folder_entries, open_folder, open_held
from awaitly_nb.codec import EnvelopeError, UndecodableError, default_keyring, read_head
from awaitly_nb.config import cache_directory, settings
from awaitly_nb.errors import NotCachedError, StoreError
from awaitly_nb.keys import Parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.cache import Entry, Folder
    from awaitly_nb.result import Result

__all__ = ["Details", "Statistics", "details", "entry_data", "find", "listed", "remove", "statistics"]

_SHOWN = 2_000


def find(
    pattern: str = "*",
    *,
    errors: bool = False,
    older_than_s: float | None = None,
    expired: bool = False,
    now: datetime | None = None,
) -> list[Entry]:
    """Return the kept keys that match a glob, oldest first.

    Parameters
    ----------
    pattern
        A case-sensitive glob over plain keys.
    errors
        Only kept failures.
    older_than_s
        Only what was computed longer ago than this.
    expired
        Also what is not served any more, and takes space.
    now
        The present, aware UTC.
    """
    if not cache_directory().is_dir():
        return []
    now = now or datetime.now(UTC)
    found = [entry for entry in _entries(pattern, expired=expired) if not (errors and entry.ok)]
    if older_than_s is None:
        return found
    return [e for e in found if e.created_at is not None and (now - e.created_at).total_seconds() > older_than_s]


def listed(word: str = "*") -> list[Entry]:
    """Return the kept keys that a glob, the name of a workflow, function or cell, or a part of a key stands for."""
    return entries_for(word, find)


def _entries(pattern: str, *, expired: bool) -> list[Entry]:
    if not expired:
        return folder_entries(pattern)
    heads = ((name, read_head(head), hits) for name, head, hits in _folder().heads())
    found = [entry_of(name, head, hits) for name, head, hits in heads if head is not None]
    return [entry for entry in found if fnmatchcase(entry.key, pattern)]


def remove(entries: Iterable[Entry]) -> int:
    """Remove these entries, and return how many were still there."""
    names = [_name(entry) for entry in entries]
    return _folder().delete(names) if names else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What is kept, taken together.

    Attributes
    ----------
    namespace
        Of which workflow, function or cell; None for all.
    keys, failures
        How many results, and how many of them are failures.
    size_bytes
        Their size.
    computed_s
        Seconds that computing them took.
    saved_s
        Seconds that serving them saved, as far as hits were counted.
    """

    namespace: str | None
    keys: int
    failures: int
    size_bytes: int
    computed_s: float
    saved_s: float


def statistics() -> list[Statistics]:
    """Return what is kept in each namespace, the largest first, and in all of them last."""
    by_namespace: dict[str | None, list[Entry]] = {}
    everything = find()
    for entry in everything:
        by_namespace.setdefault(entry.namespace, []).append(entry)
    rows = sorted((_sum(name, entries) for name, entries in by_namespace.items()), key=lambda s: -s.size_bytes)
    return [*rows, _sum(None, everything)]


def _sum(namespace: str | None, entries: list[Entry]) -> Statistics:
    return Statistics(
        namespace=namespace,
        keys=len(entries),
        failures=sum(not entry.ok for entry in entries),
        size_bytes=sum(entry.size_bytes or 0 for entry in entries),
        computed_s=sum(entry.duration_s or 0.0 for entry in entries),
        saved_s=sum((entry.duration_s or 0.0) * entry.hits for entry in entries),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """All that is known of one kept result.

    Attributes
    ----------
    entry
        Its head.
    result
        The result, or why it cannot be served.
    parts
        What its automatic key is made of: kind, name, and what a reader is shown.
    files
        Files it was computed from.
    """

    entry: Entry
    result: Result[Any, Any] | Missed  # Any: results of the user's steps
    parts: tuple[tuple[str, str, str], ...]
    files: tuple[str, ...]

    @property
    def preview(self) -> str:
        """The value or error as text, cut where it gets long."""
        if isinstance(self.result, Missed):
            return f"cannot be served: {self.result.detail or self.result.reason}"
        try:
            text = repr(self.result.value if self.result.ok else self.result.error)
        except Exception as exc:  # noqa: BLE001 - the stranger is the user's __repr__
            return f"(its repr raised {type(exc).__name__})"
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."

    def to_dict(self) -> dict[str, Any]:
        """Return the details as plain JSON data."""
        return entry_data(self.entry) | {
            "value": self.preview,
            "parts": [{"kind": kind, "name": name, "shown": shown} for kind, name, shown in self.parts],
            "files": list(self.files),
        }


def details(key: str) -> list[Details]:
    """Return what is known of `key`, once for each namespace that has it.

    Raises
    ------
    NotCachedError
        No namespace has it.
    """
    found = [entry for entry in find() if entry.key == key]
    if not found:
        raise NotCachedError(f"no key {key!r} is kept in {cache_directory()}; `awaitly-nb keys` lists what is")
    return [_details(entry) for entry in found]


def _details(entry: Entry) -> Details:
    # Not through a cache: that would count a hit, and `stats` would tell of time that nobody saved.
    result: Result[Any, Any] | Missed
    mark = None
    try:
        found = _folder().fetch(_name(entry))
        if found is None:
            return Details(entry=entry, result=Missed("absent", "it was removed meanwhile"), parts=(), files=())
        verify = settings().verify != "off"
        held = open_held(_name(entry), found[0], found[1], default_keyring(), verify=verify)
        mark = held.mark
        result = held.result(once=True)
    except (EnvelopeError, UndecodableError, StoreError) as exc:
        result = Missed("undecodable" if isinstance(exc, UndecodableError) else "unverified", str(exc), mark)
    parts = Parts.from_data(mark.parts).parts if mark is not None and mark.parts else ()
    return Details(
        entry=entry,
        result=result,
        parts=tuple((part.kind, part.name, _text(part.shown)) for part in parts),
        files=tuple(str(f.get("path", "")) for f in (mark.files if mark is not None else ())),
    )


def _folder() -> Folder:
    return open_folder(cache_directory(), mmap=settings().mmap)


def _name(entry: Entry) -> str:
    return f"{entry.namespace}{SEPARATOR}{entry.key}"


def _text(shown: object) -> str:
    return shown if isinstance(shown, str) else json.dumps(shown)


def entry_data(entry: Entry) -> dict[str, Any]:
    """Return what is known of an entry as plain JSON data."""
    return {
        "key": entry.key,
        "namespace": entry.namespace,
        "step_id": entry.step_id,
        "ok": entry.ok,
        "size_bytes": entry.size_bytes,
        "created_at": entry.created_at and entry.created_at.isoformat(),
        "duration_s": entry.duration_s,
        "expires_at": entry.expires_at and entry.expires_at.isoformat(),
        "hits": entry.hits,
    }
