"""What a run writes: what lay at each path before, what it leaves there, and how a hit leaves the same.

A file that its cell has written, and a later cell changed or removed, is no longer what the first one left. Running
that cell would write it anew. So does a hit, where all that the run could have known of its files is as it was then:

- a path whose file was only overwritten, and that nobody had looked at before, may hold any file now;
- any other path has to hold what it held before the run, byte for byte.

The contents are stored with the result, up to a size. All else, as a link, a time that was set, a database, or what a
child process or a writer without an event has written, can only be compared.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from awaitly_nb.keys.stamps import Stamp, changed_files, digest_of, is_absent, mode_of, muted, regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["How", "Rewriting", "State", "StoredContents", "rewriting", "state_before"]

How: TypeAlias = Literal["written", "made", "changed", "moded", "removed", "replaced", "emptied", "unknown"]
"""What becomes of a path: its file is overwritten, the folder made if it is not there, or the file put there anew."""

State: TypeAlias = "dict[str, str]"
"""What lies at a path: its `kind`, and the `digest` of a file.

The kinds are "absent", "folder" and "file"; and of what a run could not know better, "some" for a file of any content,
"any" for that or nothing, and "made" for a folder or nothing.
"""

MOST_BYTES: Final = 1 << 20
"""How much of one run's files is stored: more takes longer to write again than most cells take that write it."""


def state_before(full: str, how: How, *, asked: bool) -> State | None:
    """Return what lies at a path that a run is about to touch, as far as the run can tell; None where nobody can.

    Parameters
    ----------
    full
        The path, absolute.
    how
        What becomes of it.
    asked
        Whether the run may have looked at it before.
    """
    if how in {"unknown", "emptied"}:
        return None
    loose = None if asked else _LOOSE.get((how, _kind(full)))
    return _state(full) if loose is None else {"kind": loose}


_LOOSE: Final = {
    ("written", "file"): "any",
    ("written", "absent"): "any",
    ("replaced", "file"): "any",
    ("replaced", "absent"): "any",
    ("removed", "file"): "some",
    ("made", "folder"): "made",
    ("made", "absent"): "made",
}
_MEANT: Final = {
    "some": frozenset({"file"}),
    "any": frozenset({"file", "absent"}),
    "made": frozenset({"folder", "absent"}),
}


def _kind(full: str) -> str:
    """Return the kind of what lies at a path; empty for links, and for what is neither file nor folder."""
    try:
        mode = os.lstat(full).st_mode
    except OSError as exc:
        return "absent" if isinstance(exc, FileNotFoundError) else ""
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else ""


def _state(full: str) -> State | None:
    kind = _kind(full)
    if kind != "file":
        return {"kind": kind} if kind else None
    found = regular(full)
    digest = digest_of(full, found) if found is not None and found.st_size <= MOST_BYTES else ""
    return {"kind": kind, "digest": digest} if digest else None


_open: Final = io.open  # the built-in of this name may be wrapped by the user


class StoredContents:
    """The contents of the files that a run leaves, as many as may be stored."""

    def __init__(self) -> None:
        self._room = MOST_BYTES

    def of(self, full: str, stamp: Stamp) -> dict[str, Any]:  # Any: bytes, and a number
        """Return content and mode of the file that has this stamp; nothing where it is too large or has changed."""
        if stamp["size"] > self._room:
            return {}
        with muted(), suppress(OSError), _open(full, "rb") as file:
            content, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            found = regular(full)
            if found is not None and len(content) == stamp["size"] and digest_of(full, found) == stamp["digest"]:
                self._room -= len(content)
                return {"content": content, "bits": mode}
        return {}


class Rewriting:
    """What is to be done so that files are what they were after a run.

    Attributes
    ----------
    paths
        Of the files that are written or removed, as the run named them.
    """

    __slots__ = ("_done", "_files", "_folders", "_gone", "paths")

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._gone: list[str] = []
        self._folders: list[str] = []
        self._files: list[tuple[str, Stamp]] = []
        self._done: list[tuple[str, str, bytes]] = []

    def apply(self) -> None:
        """Do it, or nothing of it.

        Raises
        ------
        OSError
            The disk is full, or the like.
        """
        try:
            with muted():
                for full in sorted(self._gone, key=len, reverse=True):
                    self._remove(full)
                for full in sorted(self._folders, key=len):
                    os.mkdir(full)  # noqa: PTH102
                    self._done.append(("made", full, b""))
                for full, stamp in self._files:
                    self._write(full, stamp)
        except OSError:
            self.undo()
            raise

    def undo(self) -> None:
        """Let files be what they were before `apply`."""
        with muted():
            for what, full, content in reversed(self._done):
                with suppress(OSError):  # the cell runs now, and meets with the same
                    if what == "removed folder":
                        os.mkdir(full)  # noqa: PTH102
                    elif what == "made":
                        os.rmdir(full)  # noqa: PTH106
                    elif what == "new":
                        os.remove(full)  # noqa: PTH107
                    else:
                        _overwrite(full, content)
                        os.chmod(full, int(what, 8))  # noqa: PTH101
        self._done.clear()

    def _remove(self, full: str) -> None:
        if os.path.isdir(full):  # noqa: PTH112
            os.rmdir(full)  # noqa: PTH106
            self._done.append(("removed folder", full, b""))
        else:
            content, mode = _content(full), mode_of(full)
            os.remove(full)  # noqa: PTH107
            self._done.append((f"{mode:o}", full, content))

    def _write(self, full: str, stamp: Stamp) -> None:
        if is_absent(full):
            self._done.append(("new", full, b""))
        else:
            self._done.append((f"{mode_of(full):o}", full, _content(full)))
            if not stamp.get("anew"):
                # Where it lies: other names of the file, and maps of its memory, see what the run wrote.
                _overwrite(full, stamp["content"])
                os.chmod(full, stamp["bits"])  # noqa: PTH101
                return
        there = f"{full}.{os.urandom(8).hex()}"
        try:
            _overwrite(there, stamp["content"])
            os.chmod(there, stamp["bits"])  # noqa: PTH101
            os.replace(there, full)  # noqa: PTH105
        except OSError:
            with suppress(OSError):
                os.remove(there)  # noqa: PTH107
            raise


def _content(full: str) -> bytes:
    with _open(full, "rb") as file:
        return file.read()


def _overwrite(full: str, content: bytes) -> None:
    with _open(full, "xb" if is_absent(full) else "r+b") as file:
        file.write(content)
        file.truncate()


def rewriting(stamps: Iterable[Mapping[str, Any]]) -> Rewriting | None:
    """Return what makes files what a run left; None where nothing but running does.

    Parameters
    ----------
    stamps
        What `FileTracker.effects` returned.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from awaitly_nb.keys import track_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "out.txt")
    ...     with track_files() as files:
    ...         _ = path.write_text("first")
    ...     stamps = files.effects()
    ...     _ = path.write_text("second")
    ...     rewriting(stamps).apply()
    ...     path.read_text()
    'first'
    """
    found = Rewriting()
    with muted():
        for stamp in stamps:
            before = stamp.get("before")
            if before is not None and before["kind"] in _MEANT and not changed_files([stamp]):
                continue  # of whatever size
            full = os.path.abspath(stamp.get("path", ""))  # noqa: PTH100
            now = _state(full)
            if now is None or before is None or not _is(now, before):
                return None
            after = "folder" if "kind" in stamp else "absent" if stamp.get("absent") else "file"
            if now["kind"] == after and now.get("digest") == stamp.get("digest") and not changed_files([stamp]):
                continue
            if not _note(found, full, stamp, now["kind"], after):
                return None
        return found if _is_possible(found) else None


def _sets_mode(stamp: Mapping[str, Any]) -> bool:
    return "mode" in stamp or "anew" in stamp


def _is(now: State, wanted: State) -> bool:
    meant = _MEANT.get(wanted["kind"])
    return now == wanted if meant is None else now["kind"] in meant


def _note(found: Rewriting, full: str, stamp: Mapping[str, Any], now: str, after: str) -> bool:
    """Note what is to be done about one path; tell whether it can be done."""
    if after == "file" and now in {"file", "absent"}:
        content = stamp.get("content")
        if content is None:
            return False
        if now == "file" and not _sets_mode(stamp) and mode_of(full) != stamp["bits"]:
            return False
        found._files.append((full, dict(stamp)))  # noqa: SLF001 - made here
    elif after == "absent":
        found._gone.append(full)  # noqa: SLF001 - as above
    elif after == "folder" and now == "absent":
        found._folders.append(full)  # noqa: SLF001 - as above
    else:
        return False
    found.paths.append(stamp["path"])
    return True


def _is_possible(found: Rewriting) -> bool:
    """Tell whether nothing is in the way: folders that are to go hold nothing else, and one may write there."""
    gone, made = set(found._gone), set(found._folders)  # noqa: SLF001 - made here, here and below
    for full in gone:
        if os.path.isdir(full) and any(os.path.join(full, name) not in gone for name in os.listdir(full)):  # noqa: PTH112, PTH118, PTH208
            return False
    for full in (*gone, *made, *(path for path, _ in found._files)):  # noqa: SLF001
        parent = os.path.dirname(full)  # noqa: PTH120
        if parent not in made and not os.access(parent, os.W_OK | os.X_OK):
            return False
        if parent in gone and full not in gone:
            return False
    return all(is_absent(path) or os.access(path, os.W_OK) for path, _ in found._files)  # noqa: SLF001
