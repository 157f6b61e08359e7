"""Entries that leave a folder for somebody else's, and that come from one.

What leaves was verified under the secrets of this folder, has every part of its key in it, and has no signature any
more: nothing that a local secret signed leaves the machine. What comes in must have been vouched for by
other means (see `awaitly_nb.share`); it is looked at as far as that goes without a pickle, and is signed with the
secret that signs here. Nothing is unpickled in either direction. Failures do not travel: they may hold pickles that
another secret signed.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from awaitly_nb.cache.entry import SEPARATOR
from awaitly_nb.cache.folder import SizeLimit, open_folder
from awaitly_nb.cache.sealed import is_called, name_digest, whole_notes
from awaitly_nb.codec import (
    SCHEMA,
    Encoded,
    EnvelopeError,
    Opened,
    check_buffers,
    default_keyring,
    open_envelope,
    read_head,
    reseal,
    unsigned,
)
from awaitly_nb.stores import DamagedRecordError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.codec import Secret
    from awaitly_nb.stores import Body

__all__ = [
    "Announced",
    "Exported",
    "Intake",
    "announce_entries",
    "check_entry",
    "export_entries",
    "made_here",
    "staged",
]


class Exported(NamedTuple):
    """A cached success, ready to leave.

    Attributes
    ----------
    namespace, key
        Where it is cached.
    head
        Its readable head.
    body
        Its body in parts, views of what the folder has; valid until the next one is asked for.
    """

    namespace: str
    key: str
    head: str
    body: tuple[Body, ...]

    @property
    def size_bytes(self) -> int:
        """Size of the body."""
        return sum(memoryview(part).nbytes for part in self.body)


class Announced(NamedTuple):
    """What is told of an entry that is about to leave.

    Attributes
    ----------
    namespace, key
        Where it is cached.
    text
        Everything in it that can be read without unpickling: the head, the files it read, the parts of its key.
    size_bytes
        Size of its body here.
    """

    namespace: str
    key: str
    text: str
    size_bytes: int


def announce_entries(directory: str | os.PathLike[str], wanted: Iterable[tuple[str, str]]) -> Iterator[Announced]:
    """Yield what is told of the entries that `export_entries` would yield; large buffers are not read for that.

    Raises
    ------
    EnvelopeError
        One does not verify here.
    StoreError
        The folder cannot be read.
    """
    folder = open_folder(directory)
    for namespace, key, opened, size in _leaving(folder, wanted):
        text = json.dumps(opened.head) + "\n" + whole_notes(opened, folder).decode("ascii", "replace")
        yield Announced(namespace, key, text, size)


def export_entries(directory: str | os.PathLike[str], wanted: Iterable[tuple[str, str]]) -> Iterator[Exported]:
    """Yield those of the `wanted` entries of a folder, by namespace and key, that are there and are no failures.

    Raises
    ------
    EnvelopeError
        One does not verify here; those before it were yielded.
    StoreError
        The folder cannot be read.
    """
    folder = open_folder(directory)
    for namespace, key, opened, _ in _leaving(folder, wanted):
        check_buffers(opened)
        # The name is told to whoever checks it, and entries of format 1 have none.
        members = {**opened.head, "name": name_digest(namespace + SEPARATOR + key)}
        head, body = unsigned(opened, members, whole_notes(opened, folder))
        yield Exported(namespace, key, head, tuple(body))


def _leaving(folder: Folder, wanted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, Opened, int]]:
    """Yield the successes that are there, verified but for large buffers, and what their bodies take."""
    for namespace, key in wanted:
        name = namespace + SEPARATOR + key
        if (found := folder.fetch(name)) is not None:
            opened = open_envelope(name, found[0], found[1], folder.keyring)
            if opened.head.get("ok", True) is True:
                yield namespace, key, opened, memoryview(found[1]).nbytes


class Intake:
    """Takes in entries that came together: none of them is removed to make room for another. Threads may share one.

    Parameters
    ----------
    directory
        The folder.
    size_limit
        Bytes that the folder may hold; what is cheapest to compute again goes first.
    """

    def __init__(self, directory: str | os.PathLike[str], *, size_limit: int | None = None) -> None:
        self._folder = open_folder(directory)
        self._bound = None if size_limit is None else SizeLimit(self._folder, size_limit)
        self._names: set[str] = set()
        self._size = 0
        self._lock = threading.Lock()

    def refuse(self, key: str, size: int) -> None:
        """Raise CacheError for an entry of so many bytes that has no room, beside what came before it."""
        if self._bound is not None:
            self._bound.refuse(key, size, beside=self._size)

    def take(
        self,
        namespace: str,
        key: str,
        head: str,
        body: Body,
        *,
        came: dict[str, Any] | None = None,  # Any: plain JSON data
    ) -> bool:
        """Store an entry that `export_entries` made, signed with the secret that signs here.

        Parameters
        ----------
        namespace, key
            Where to store it.
        head, body
            The entry, from somebody whom the user trusts, and checked to be what they sent.
        came
            From whom it came, and what it was made with there; its head tells it from then on.

        Returns
        -------
        bool
            False where the folder has an entry under this key that is served here; that one stays.

        Raises
        ------
        EnvelopeError
            It is not whole, or belongs under another key; nothing was written.
        CacheError
            It has no room, as `refuse` tells.
        StoreError
            The folder cannot be written.
        """
        folder, size = self._folder, memoryview(body).nbytes
        name, opened = check_entry(namespace, key, head, body)
        served = _is_served(folder, name)
        with self._lock:
            if not served:
                self.refuse(key, size)
            self._names.add(name)
            self._size += size
        if served:
            return False
        if came is not None:
            opened = opened._replace(head={**opened.head, "came": came})
        folder.swap(name, *_sealed_anew(name, opened, folder.keyring.own))
        folder.restore(name)
        if self._bound is not None:
            with self._lock:
                self._bound.enforce(spare=self._names)
        return True


def check_entry(namespace: str, key: str, head: str, body: Body) -> tuple[str, Opened]:
    """Return the name of an entry and its parts, if it is what `export_entries` made of an entry under this key.

    Raises
    ------
    EnvelopeError
        It is not whole, or belongs under another key.
    """
    name = _name_of(namespace, key)
    opened = open_envelope(name, head, body, default_keyring(), verify=False)
    _check(name, opened)
    check_buffers(opened)
    return name, opened


def made_here() -> dict[str, Any]:  # Any: plain JSON data
    """Return what entries of this process are made with, as it is told to whoever takes them in elsewhere."""
    from importlib import metadata

    return {"awaitly_nb": metadata.version("awaitly-nb"), "python": platform.python_version()}


@contextmanager
def staged(entries: Iterable[tuple[str, str, str, Body]]) -> Iterator[Path]:
    """Have a folder for a while that tells of these entries what a plan asks for, and holds no value.

    Parameters
    ----------
    entries
        Namespace, key, head of each, and the beginning of its body at least: its notes.
    """
    directory = Path(tempfile.mkdtemp(prefix="awaitly-"))
    try:
        for entry in entries:
            _import_notes(directory, *entry)
        yield directory
    finally:
        folder = open_folder(directory)
        folder.withdraw()
        folder.close()
        shutil.rmtree(directory)


def _import_notes(directory: Path, namespace: str, key: str, head: str, body: Body) -> None:
    name, folder = _name_of(namespace, key), open_folder(directory)
    members = read_head(head) or {}
    length = members.get("notes_bytes", 0)
    if (
        members.get("schema") not in (2, SCHEMA)
        or type(length) is not int
        or not 0 <= length <= memoryview(body).nbytes
    ):
        raise EnvelopeError("its head does not tell the lengths of its parts", reason="damaged")
    opened = Opened({**members, "shapes": []}, memoryview(body)[:length], memoryview(b""))
    _check(name, opened, whole=False)
    folder.swap(name, *_sealed_anew(name, opened, folder.keyring.own))


def _sealed_anew(name: str, opened: Opened, secret: Secret) -> tuple[str, tuple[Body, ...]]:
    encoded = Encoded(bytes(opened.stream), opened.buffers, tuple(opened.shapes))
    head, body = reseal(name, opened, encoded, secret)
    return head, tuple(body)


def _name_of(namespace: str, key: str) -> str:
    """Return the name of an entry's record; raises EnvelopeError for one that is no name of an entry."""
    name = namespace + SEPARATOR + key
    try:
        name.encode()
        sound = bool(key) and SEPARATOR not in namespace and not namespace.startswith("\x1e")
    except UnicodeEncodeError:
        sound = False
    if not sound:
        raise EnvelopeError(f"{namespace!r} and {key!r} cannot be a namespace and a key", reason="damaged")
    return name


def _check(name: str, opened: Opened, *, whole: bool = True) -> None:
    """Raise EnvelopeError for what `export_entries` would not have made."""
    head = opened.head
    if head["schema"] == 1 or head.get("ok", True) is not True:
        raise EnvelopeError("only successes of the present format travel", reason="damaged")
    if not is_called(name, head):
        raise EnvelopeError("it was written under another key", reason="unverified")
    if whole and head.get("size_bytes") != len(opened.stream) + sum(map(len, opened.buffers)):
        raise EnvelopeError("it has not the size that was written", reason="damaged")


def _is_served(folder: Folder, name: str) -> bool:
    try:
        sealed = folder.sealed(name)
    except (EnvelopeError, DamagedRecordError):
        return False  # whose it was, or what damaged it, does not matter: it is not served
    return sealed is not None and sealed.alive(time.time())
