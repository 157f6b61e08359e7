"""A folder whose secret is lost: what is in it, and signing it anew because its owner vouches for it.

Without the secret no signature can be verified any more, so whoever could write to the folder may have put anything
there. What can still be seen is looked at: who can write to the folder, that every entry is whole, lies under its own
name, and has the buffers that its head tells of. Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache.entry import SEPARATOR, number_of
from awaitly_nb.cache.sealed import is_called
from awaitly_nb.codec import (
    Encoded,
    EnvelopeError,
    check_buffers,
    open_envelope,
    read_head,
    reseal,
    resign as resign_json,
)
from awaitly_nb.stores import DamagedRecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.codec import Opened

__all__ = ["Foreign", "Resigned", "foreign", "objections", "resign"]

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Entries that are not served, by secret: it is not trusted here, or their format is one that could be forged.

    Attributes
    ----------
    secret
        Its public id, as the entries tell it.
    entries, size_bytes
        How many they are, and what they take.
    oldest_at, newest_at
        When they were stored, in seconds since the epoch, as they tell it.
    """

    secret: str
    entries: int
    size_bytes: int
    oldest_at: float
    newest_at: float


@dataclass(slots=True)
class Resigned:
    """What came of signing anew.

    Attributes
    ----------
    signed
        How many entries were.
    refused
        Why others were not, by the name of their record; they stay, and are not served.
    """

    signed: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def foreign(folder: Folder) -> list[Foreign]:
    """Return whose entries lie in the folder and are not trusted here, the most of them first; reads heads only."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    times: dict[str, list[float]] = {}
    for _, head, size in folder.store.sizes():
        members = read_head(head) or {}
        secret = members.get("secret")
        if isinstance(secret, str) and (folder.keyring.find(secret) is None or _is_outdated(members)):
            counts[secret] += 1
            sizes[secret] += size
            at = number_of(members.get("stored_at")) or 0.0
            oldest, newest = times.get(secret, (at, at))
            times[secret] = [min(oldest, at), max(newest, at)]
    return [
        Foreign(
            secret=secret,
            entries=count,
            size_bytes=sizes[secret],
            oldest_at=times[secret][0],
            newest_at=times[secret][1],
        )
        for secret, count in counts.most_common()
    ]


def _is_outdated(members: Mapping[str, Any]) -> bool:
    """Tell whether an entry has a format whose buffers could be forged, so that only its owner can vouch for it."""
    return members.get("schema") == 1 and bool(members.get("buffers"))


def objections(directory: Path) -> list[str]:
    """Return why the folder's content cannot be vouched for: who else could have written to it; opens nothing."""
    if os.name != "posix":
        return []
    found = [f"{path} is writable by everybody" for path in directory.parents if _is_open_to_all(path)]
    me = os.geteuid()
    for path in _everything(directory):
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            found.append(f"{path} is a link")
        elif info.st_uid != me:
            found.append(f"{path} belongs to user {info.st_uid}, and you are {me}")
        elif info.st_mode & _OTHERS:
            found.append(f"{path} can be written by others (mode {stat.S_IMODE(info.st_mode):o})")
        if len(found) > _NAMED:
            return [*found[:_NAMED], "and so on"]
    return found


def _everything(directory: Path) -> Iterator[Path]:
    yield directory
    for folder, below, files in os.walk(directory):
        for name in (*below, *files):
            yield Path(folder, name)


def _is_open_to_all(path: Path) -> bool:
    mode = path.stat().st_mode
    return bool(mode & stat.S_IWOTH and not mode & stat.S_ISVTX)


def resign(folder: Folder, lost: Collection[str], *, on_entry: Callable[[Resigned], None] | None = None) -> Resigned:
    """Sign every entry anew that one of the `lost` secrets signed and that is whole; ask `objections` first.

    One after the other, each as one atomic write: an interrupt leaves each entry as it was or signed anew, and the next
    call goes on. Entries that somebody replaces or removes meanwhile are left alone.

    Parameters
    ----------
    folder
        The folder.
    lost
        Ids of the secrets.
    on_entry
        Called after each entry with what came of it so far.

    Raises
    ------
    StoreError
        The folder cannot be written.
    """
    done = Resigned()
    hits: dict[str, int] = {}
    try:
        for name, head, count in folder.heads():
            if not _is_meant(folder, read_head(head) or {}, lost):
                continue
            try:
                if not _resign_one(folder, name, lost):
                    continue
            except (EnvelopeError, DamagedRecordError, sqlite3.Error) as exc:
                done.refused[name] = str(exc)
            else:
                done.signed += 1
                hits[name] = count
            if on_entry is not None:
                on_entry(done)
    finally:
        # A write begins to count anew.
        folder.store.count_hits({name: count for name, count in hits.items() if count})
    return done


def _resign_one(folder: Folder, name: str, lost: Collection[str]) -> bool:
    found = folder.fetch(name)
    if found is None:
        return False
    head, body, version, written_at, *_ = found
    opened = open_envelope(name, head, body, folder.keyring, verify=False)
    if not _is_meant(folder, opened.head, lost):
        return False
    _check(name, opened)
    check_buffers(opened)
    stream = bytes(opened.stream)
    if opened.head.get("ok", True) is not True and not opened.buffers:
        # A failure is JSON, and pickles in it are signed by themselves.
        stream = _failure(stream, lost, folder)
    new, parts = reseal(name, opened, Encoded(stream, opened.buffers, tuple(opened.shapes)), folder.keyring.own)
    return folder.swap(name, new, parts, expect=version, written_at=written_at) is not None


def _is_meant(folder: Folder, members: Mapping[str, Any], lost: Collection[str]) -> bool:
    secret = members.get("secret")
    return secret in lost and (folder.keyring.find(str(secret)) is None or _is_outdated(members))


def _check(name: str, opened: Opened) -> None:
    head = opened.head
    if not isinstance(head.get("signature"), str):
        raise EnvelopeError("it is not signed", reason="unverified")
    outdated = head["schema"] == 1
    if f"{head.get('namespace')}{SEPARATOR}{head.get('key')}" != name if outdated else not is_called(name, head):
        raise EnvelopeError("it was written under another key", reason="unverified")
    if head.get("size_bytes") != len(opened.stream) + sum(map(len, opened.buffers)):
        raise EnvelopeError("it has not the size that was written", reason="damaged")


def _failure(stream: bytes, lost: Collection[str], folder: Folder) -> bytes:
    try:
        data: Any = resign_json(json.loads(stream), lost, folder.keyring.own)
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise EnvelopeError(f"its failure cannot be read ({exc})", reason="damaged") from exc
    return json.dumps(data, separators=(",", ":")).encode()
