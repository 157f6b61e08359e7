"""Cached entries as people manage them: found by a glob or a name, shown, removed, and brought back after a removal.

Each function looks at the default folder, all namespaces of it, and never makes one where there is none. The panel, the
magics and the shell call these, so that a word means the same in all of them. Globs match plain keys, and case counts.
"""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.cache import (
    SEPARATOR,
    Missed,
    entry_of,
    folder_entries,
    key_begun_by,
    open_folder,
)
from awaitly_nb.codec import EnvelopeError, UndecodableError, read_head
from awaitly_nb.config import cache_directory, settings
from awaitly_nb.errors import NotCachedError, StoreError
from awaitly_nb.keys import Parts
from awaitly_nb.manage.previews import Preview, preview, shown_text
from awaitly_nb.units import counted, did_you_mean, short_key, show_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awaitly_nb.cache import Entry, Folder
    from awaitly_nb.result import Result

__all__ = [
    "TRASH",
    "EntryDetails",
    "Removal",
    "Trash",
    "came_from",
    "entry_data",
    "find",
    "folder_stamp",
    "listed",
    "names",
    "remove",
    "remove_one",
    "retry",
    "show",
    "shown_key",
    "undo",
]


def find(
    pattern: str = "*",
    *,
    errors: bool = False,
    older_than_s: float | None = None,
    superseded: bool = False,
    expired: bool = False,
    now: datetime | None = None,
) -> list[Entry]:
    """Return the entries whose key matches a glob, oldest first.

    Parameters
    ----------
    pattern
        A case-sensitive glob over plain keys, of every namespace.
    errors
        Only cached failures.
    older_than_s
        Only what was computed longer ago than this.
    superseded
        Only entries under an automatic key for which the same step, with the same arguments, has a newer one.
    expired
        Also what is not served any more, and takes space.
    now
        The present, aware UTC.
    """
    if not cache_directory().is_dir():
        return []
    now = now or datetime.now(UTC)
    found = _with_expired(pattern) if expired else folder_entries(pattern)
    if errors:
        found = [entry for entry in found if not entry.ok]
    if older_than_s is not None:
        found = [e for e in found if e.created_at is not None and (now - e.created_at).total_seconds() > older_than_s]
    return _superseded(found) if superseded else found


def _with_expired(pattern: str) -> list[Entry]:
    heads = ((name, read_head(head), hits) for name, head, hits in _folder().heads())
    found = [entry_of(name, head, hits) for name, head, hits in heads if head is not None]
    return [entry for entry in found if fnmatchcase(entry.key, pattern)]


def _superseded(entries: Iterable[Entry]) -> list[Entry]:
    """Return those of `entries` for which a newer one stands, of whatever the folder holds."""
    newest: dict[object, Entry] = {}
    for entry in folder_entries("*"):  # oldest first
        if (call := _call_of(entry)) is not None:
            newest[call] = entry
    return [
        entry
        for entry in entries
        if (call := _call_of(entry)) is not None
        and call in newest
        and (newest[call].namespace, newest[call].key) != (entry.namespace, entry.key)
    ]


def _call_of(entry: Entry) -> object | None:
    """Return which call an entry under an automatic key answers: the step and its arguments, whatever its code was."""
    name, _, digest = entry.key.rpartition(":")
    if len(digest) != _HEX_DIGITS or name != entry.step_id:
        return None  # an explicit key is its own identity
    return entry.namespace, entry.step_id, entry.call


_HEX_DIGITS: Final = 32


def shown_key(entry: Entry) -> str:
    """Return the key of an entry as people read it: an automatic one as the call, `score(fold=3)`."""
    return short_key(entry.key) if entry.call is None else entry.call.rpartition(" #")[0]


def listed(word: str = "*") -> list[Entry]:
    """Return the entries that a word stands for.

    Parameters
    ----------
    word
        A glob over keys, or over calls as they are shown; or the name of a workflow, function or cell, or a part of a
        key or of a call.
    """
    found = find(word)
    if found or not word:
        return found
    entries = find()
    if _GLOB.intersection(word) and (called := [entry for entry in entries if _is_called(entry, word)]):
        return called
    if _GLOB.intersection(word):
        return []
    return [e for e in entries if word == e.namespace or word in e.key or (e.call is not None and word in e.call)]


_GLOB: Final = frozenset("*?[")


def _is_called(entry: Entry, word: str) -> bool:
    return entry.call is not None and (shown_key(entry) == word or fnmatchcase(shown_key(entry), word))


def names() -> list[str]:
    """Return the names of steps and of workflows, functions and cells that have entries, the newest first."""
    found = (name for entry in reversed(find()) for name in (entry.step_id, entry.namespace) if name)
    return list(dict.fromkeys(found))


# -- looking at one ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDetails:
    """All that is known of one entry.

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
    parts: tuple[tuple[str, str, str], ...] = ()
    files: tuple[str, ...] = ()

    @property
    def preview(self) -> Preview:
        """The value, or the variables and outputs of a cell, in a few lines."""
        if isinstance(self.result, Missed):
            return Preview((), text=f"cannot be served: {self.result.detail or self.result.reason}")
        return preview(self.result)

    def to_dict(self) -> dict[str, Any]:
        """Return the details as plain JSON data."""
        return entry_data(self.entry) | {
            "value": shown_text(self.preview),
            "parts": [{"kind": kind, "name": name, "shown": shown} for kind, name, shown in self.parts],
            "files": list(self.files),
        }


def show(word: str) -> list[EntryDetails]:
    """Return what is cached under a key, which its first letters may stand for; one for each namespace that has it.

    Raises
    ------
    NotCachedError
        There is no such key.
    MisuseError
        Several keys begin so.
    """
    entries = find()
    keys = {entry.key for entry in entries}
    if called := [entry for entry in entries if entry.call is not None and word == shown_key(entry)]:
        return [_details(entry) for entry in called]
    key = key_begun_by(word, keys)
    if key is None:
        near = did_you_mean(word, keys)
        raise NotCachedError(f"no key {word!r} is cached in {cache_directory()}{near and '; '}{near}")
    return [_details(entry) for entry in entries if entry.key == key]


def _details(entry: Entry) -> EntryDetails:
    # Not through a cache: that would count a hit, and `status` would tell of time that nobody saved.
    result: Result[Any, Any] | Missed
    mark = None
    try:
        sealed = _folder().sealed(_name(entry), verify=settings().verify != "off")
        if sealed is None:
            return EntryDetails(entry=entry, result=Missed("absent", "it was removed meanwhile"))
        mark = sealed.mark
        result = sealed.result()
    except (EnvelopeError, UndecodableError, StoreError) as exc:
        result = Missed("undecodable" if isinstance(exc, UndecodableError) else "unverified", str(exc), mark)
    parts = Parts.from_data(mark.parts).parts if mark is not None and mark.parts else ()
    return EntryDetails(
        entry=entry,
        result=result,
        parts=tuple((part.kind, part.name, _part_text(part.shown)) for part in parts),
        files=tuple(str(f.get("path", "")) for f in (mark.files if mark is not None else ())),
    )


def _part_text(shown: Any) -> str:  # Any: plain JSON data
    if isinstance(shown, str):
        return shown
    if not isinstance(shown, dict):
        return str(shown)
    kind, facts = str(shown.get("is", "")), []
    if "repr" in shown:
        return str(shown["repr"])
    for name in ("shape", "rows", "len"):
        if name in shown:
            value = shown[name]
            facts.append(counted(value, "row" if name == "rows" else "item") if isinstance(value, int) else str(value))
    if isinstance(columns := shown.get("columns"), list):
        facts.append(
            "columns " + ", ".join(str(column[0]) for column in columns if isinstance(column, list) and column)
        )
    return " ".join([kind, ", ".join(facts)]).strip()


def came_from(entry: Entry) -> str:
    """Return from whom an entry came and what it was computed with that is another version here; "" for one of ours."""
    if not entry.came:
        return ""
    (_, signer), *versions = entry.came
    other = ", ".join(f"{name} {there}, here {here}" for name, there in versions if (here := _here(name)) != there)
    return f"came from {signer}, computed on another machine" + (f": {other}" if other else "")


def _here(name: str) -> str:
    try:
        return platform.python_version() if name == "python" else metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return "not installed"


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
        "call": entry.call,
        "came": dict(entry.came),
    }


# -- removing, and bringing back --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What was removed, or would be.

    Attributes
    ----------
    entries
        The entries.
    removed
        How many were there; fewer where somebody else was faster, 0 where it was only asked.
    undo
        True when `undo` can bring them back, for a minute.
    nothing
        What to say where there are none.
    """

    entries: tuple[Entry, ...] = ()
    removed: int = 0
    undo: bool = False
    nothing: str = ""

    @property
    def work_s(self) -> float:
        """Seconds that computing these took."""
        return sum(entry.duration_s or 0.0 for entry in self.entries)

    def __str__(self) -> str:
        if not self.entries:
            return self.nothing or "nothing is removed"
        work = f" ({show_duration(self.work_s)} of work)" if self.work_s >= 1 else ""
        if len(self.entries) == 1:
            return (
                f"removed {shown_key(self.entries[0])}{work}"
                if self.removed
                else f"{self.entries[0].key} is gone already"
            )
        return f"removed {counted(self.removed, 'key')}{work}"


def remove(
    word: str | None = None,
    *,
    errors: bool = False,
    older_than_s: float | None = None,
    superseded: bool = False,
    dry_run: bool = False,
    confirm: Callable[[Removal], bool] | None = None,
) -> Removal:
    """Remove the entries whose key matches a glob, in every namespace; they are computed again when they are needed.

    Where none does, the first letters of one key will do, if there are at least eight and no other key begins so.

    Parameters
    ----------
    word
        A glob, or the first letters of a key; None for all that the other parameters choose.
    errors, older_than_s, superseded
        As for `find`.
    dry_run
        Only say what would be removed.
    confirm
        Asked with what would be removed; False removes nothing.

    Raises
    ------
    MisuseError
        Several keys begin with `word`.
    """
    found = _matching(word, find(expired=True, errors=errors, older_than_s=older_than_s, superseded=superseded))
    asked = Removal(entries=tuple(found), nothing=_nothing(word, "no key matches", lambda: find(expired=True)))
    if dry_run or not found or (confirm is not None and not confirm(asked)):
        return asked
    return _remove(found)


def retry(word: str | None = None, *, dry_run: bool = False) -> Removal:
    """Remove cached failures, so that their steps run again.

    Parameters
    ----------
    word
        Which of them, as for `remove`; None for all.
    dry_run
        Only say what would be removed.
    """
    failed = find(errors=True, expired=True)
    found = _matching(word, failed)
    nothing = _nothing(word, "no failure is cached under", lambda: failed) if word else "no failure is cached"
    return Removal(entries=tuple(found), nothing=nothing) if dry_run or not found else _remove(found)


def _matching(word: str | None, entries: list[Entry]) -> list[Entry]:
    if word is None:
        return entries
    found = [entry for entry in entries if fnmatchcase(entry.key, word)]
    found = found or [entry for entry in entries if _is_called(entry, word)]
    if not found and (key := key_begun_by(word, {entry.key for entry in entries})) is not None:
        found = [entry for entry in entries if entry.key == key]
    return found


def _nothing(word: str | None, what: str, known: Callable[[], list[Entry]]) -> str:
    if word is None:
        return "no such key is cached"
    near = did_you_mean(word, {entry.key for entry in known()})
    return f"{what} {word!r}{near and '; '}{near}"


def _remove(entries: list[Entry]) -> Removal:
    folder = _folder()
    wanted = [_name(entry) for entry in entries]
    fits = len(wanted) <= _MOST_UNDONE and sum(entry.size_bytes or 0 for entry in entries) <= _MOST_BYTES_UNDONE
    batch = [back for name in wanted if (back := _copy(folder, name)) is not None] if fits else []
    removed = folder.delete(wanted)
    if batch and removed:
        TRASH.put(batch)
    return Removal(entries=tuple(entries), removed=removed, undo=bool(batch and removed))


def remove_one(namespace: str, key: str) -> tuple[bool, Callable[[], None] | None]:
    """Remove exactly this entry (no glob); return whether it was there, and what brings it back."""
    folder, name = _folder(), namespace + SEPARATOR + key
    back = _copy(folder, name)
    return folder.delete([name]) > 0, back


def _copy(folder: Folder, name: str) -> Callable[[], None] | None:
    """Return what writes this record as it is now, or None where it cannot be read.

    A large body is a map of its file, which lives on until the map is dropped: to hold it copies nothing.
    """
    try:
        found = folder.fetch(name)
    except StoreError:
        return None  # it is damaged: there is nothing to bring back
    if found is None:
        return None
    head, body, _, written_at, *_ = found

    def restore() -> None:
        if folder.version(name) is None:  # it was computed again meanwhile: the newer one stays
            folder.swap(name, head, [body], written_at=written_at)

    return restore


class Trash:
    """What was removed lately, for an undo. Thread-safe.

    Parameters
    ----------
    seconds
        How long a removal can be undone.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._guard = threading.Lock()
        self._batches: list[list[Callable[[], None]]] = []

    def put(self, batch: list[Callable[[], None]]) -> None:
        """Hold one removal: what brings back each of its entries."""
        with self._guard:
            self._batches.append(batch)
        timer = threading.Timer(self._seconds, self.drop, [batch])
        timer.daemon = True
        timer.start()

    def drop(self, batch: list[Callable[[], None]]) -> None:
        """Let go of one removal."""
        with self._guard:
            self._batches = [other for other in self._batches if other is not batch]

    def restore(self) -> int:
        """Bring back the latest removal, and return how many entries that were; 0 where there is none."""
        with self._guard:
            batch = self._batches.pop() if self._batches else []
        for restore in batch:
            restore()
        return len(batch)

    @property
    def holds(self) -> bool:
        """True where the latest removal can be undone."""
        return bool(self._batches and self._batches[-1])

    def clear(self) -> None:
        """Let go of everything."""
        with self._guard:
            self._batches = []


TRASH: Final = Trash()
"""What `remove` and `retry` removed in this process."""

_MOST_UNDONE: Final = 10_000
_MOST_BYTES_UNDONE: Final = 2 * 10**9


def undo() -> int:
    """Bring back what the latest `remove` or `retry` of this process removed; return how many entries that were.

    It can be undone for a minute. What was computed again meanwhile stays as it is.
    """
    return TRASH.restore()


def folder_stamp() -> object:
    """Return what changes when another process writes to the default folder; None where there is no folder yet."""
    return _folder().stamp() if cache_directory().is_dir() else None


def _folder() -> Folder:
    return open_folder(cache_directory(), mmap=settings().mmap)


def _name(entry: Entry) -> str:
    return f"{entry.namespace}{SEPARATOR}{entry.key}"
