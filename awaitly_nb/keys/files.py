"""The files a step or cell reads: noticed while it runs, stamped, and compared before a hit.

Two sources. An audit hook sees what goes through Python's `open`, `glob` and `listdir` in the step's context, in the
threads it starts, and nowhere else. Readers written in C++ (`read_parquet`) raise no event; for them the literals and
`Path`s that the step names count, where they name files that existed before. What is opened for writing meanwhile is an
output.

Hides that an audit hook can never be removed again: it is added when tracking is first asked for, and begins with one
look at whether anybody tracks.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.keys.code_origin import is_installed_path, is_own_path
from awaitly_nb.keys.file_stamps import changed_files, is_muted, regular, same, stamp_file, stamp_list, stamp_seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextvars import Token
    from types import FrameType, TracebackType

    from awaitly_nb.keys.file_stamps import Stamp

__all__ = ["FileTracker", "changed_files", "literal_files", "note_files", "track_files"]

_current: ContextVar[FileTracker | None] = ContextVar("awaitly_nb_files", default=None)
_active: list[FileTracker] = []
_lock = threading.Lock()
_hooked = False


class FileTracker:
    """What was read since tracking began. A context manager; made by `track_files`."""

    def __init__(self, known: Iterable[Stamp] = ()) -> None:
        self._known = tuple(known)
        self._home = ""
        self._outer: FileTracker | None = None
        self._token: Token[FileTracker | None] | None = None
        self._read: dict[str, tuple[str, os.stat_result]] = {}
        self._written: set[str] = set()
        self._patterns: dict[str, None] = {}
        self._noted: dict[str, Stamp] = {}
        self._stamps: tuple[Stamp, ...] | None = None

    def __enter__(self) -> FileTracker:
        _install()
        self._home = _cwd()
        self._outer = _current.get()
        self._token = _current.set(self)
        with _lock:
            _active.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _lock:
            _active.remove(self)
        assert self._token is not None
        with suppress(ValueError):  # left in another context, as when a task is closed by the loop
            _current.reset(self._token)
        self._stamps = self._made()
        if self._outer is not None:
            self._outer.take(self)

    def opened(self, path: str, *, writing: bool) -> None:
        """Take notice that `path` was opened."""
        full = _full(path, _cwd())
        if writing:
            self._written.add(full)
        elif full not in self._written and full not in self._read:
            found = regular(full)
            if found is not None:
                self._read[full] = (self._as_given(path, full), found)

    def listed(self, pattern: str) -> None:
        """Take notice that the names which match `pattern` were asked for."""
        self._patterns[self._as_given(pattern, _full(pattern, _cwd()))] = None

    def _as_given(self, path: str, full: str) -> str:
        # As given, because the step will look there again, from whatever folder it runs in; unless it moved meanwhile.
        return path if full == _full(path, self._home) else full

    def note(self, stamps: Iterable[Stamp]) -> None:
        """Count files that a kept result was computed from, and that were therefore not opened again."""
        for stamp in stamps:
            self._noted.setdefault(stamp.get("path") or stamp["pattern"], stamp)

    def take(self, inner: FileTracker) -> None:
        """Count what a step inside this one read and wrote."""
        self._written |= inner._written
        for full, seen in inner._read.items():
            if full not in self._written:
                self._read.setdefault(full, seen)
        self.note(inner.stamps())

    def stamps(self) -> tuple[Stamp, ...]:
        """Return the files that were read and not written."""
        return self._stamps if self._stamps is not None else self._made()

    def _made(self) -> tuple[Stamp, ...]:
        made: dict[str, Stamp] = {}
        for stamp in (*self._known, *self._noted.values()):
            if "pattern" in stamp:
                made[stamp["pattern"]] = stamp_list(stamp["pattern"])
                continue
            full = _full(stamp["path"], self._home)
            now = regular(full)
            # Opened for writing, or changed by a writer that raises no event: an output of the step.
            if full not in self._written and (now is None or same(stamp, now)):
                made[stamp["path"]] = stamp
        for full, (path, before) in self._read.items():
            # What is gone at the end was the step's own, a temporary file that some tool had written for it.
            if full not in self._written and path not in made and regular(full) is not None:
                made[path] = stamp_seen(path, full, before)
        # Lists are taken at the end: what the step itself adds to a folder is there when it runs again.
        made.update((pattern, stamp_list(pattern)) for pattern in self._patterns)
        return tuple(made.values())


def track_files(known: Iterable[Stamp] = ()) -> FileTracker:
    """Return a context manager that takes notice of the files opened inside it.

    Parameters
    ----------
    known
        Stamps taken beforehand, by `literal_files`; they are part of `stamps()` unless the step writes the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "in.txt")
    ...     _ = path.write_text("1")
    ...     with track_files() as files:
    ...         _ = path.read_text()
    ...     [stamp["size"] for stamp in files.stamps()]
    [1]
    """
    return FileTracker(known)


def note_files(stamps: Iterable[Stamp]) -> None:
    """Tell the step that is running around this one, if any, that a kept result stands for these files."""
    tracker = _current.get()
    if tracker is not None:
        tracker.note(stamps)


def literal_files(
    fn_or_source: object, args: object = (), namespace: Mapping[str, Any] | None = None
) -> tuple[Stamp, ...]:
    """Return stamps of the files that exist now and are named in code or arguments.

    A glob pattern stands for the files that it matches, and a folder of parquet files for those in it.

    Parameters
    ----------
    fn_or_source
        A function, whose helpers count too, or the source of a cell.
    args
        Values to search for text and `Path`s: containers are searched, objects are not.
    namespace
        What the names of a cell stand for.
    """
    from awaitly_nb.keys.file_names import named_paths

    paths, patterns = named_paths(fn_or_source, args, namespace)
    stamps = [stamp for path in paths if (stamp := stamp_file(path)) is not None]
    return (*stamps, *map(stamp_list, patterns))


# -- the hook ------------------------------------------------------------------------------------------------------

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SYSTEM_ROOTS: Final = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/share/zoneinfo/", "/usr/share/fonts/", "/System/")
_FONT_LIST: Final = "matplotlib/fontlist-"
_CARRIERS: Final = frozenset(
    ["codecs", "diskcache", "glob", "gzip", "io", "os", "pathlib", "shutil", "tempfile", "_pyio"]
)
_EVENTS: Final = frozenset(["open", "glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob", "os.listdir", "os.scandir"])
_READERS_OF_CODE: Final = ("linecache.py", "inspect.py", "tokenize.py")
_FINDERS: Final = frozenset(["importlib", "importlib_metadata", "pkg_resources", "pkgutil"])
_SCANNERS: Final = ("glob.py", "pathlib.py", "_local.py", "_abc.py", "shutil.py", "tempfile.py")


def _install() -> None:
    global _hooked  # noqa: PLW0603 - a hook is added once in the life of a process
    with _lock:
        if not _hooked:
            sys.addaudithook(_hook)
            _hooked = True


def _hook(event: str, args: tuple[Any, ...]) -> None:  # Any: each event has its own arguments
    if not _active or event not in _EVENTS:
        return
    with suppress(Exception):  # an exception here would make the user's open() fail
        _on_event(event, args)


def _on_event(event: str, args: tuple[Any, ...]) -> None:
    trackers = _trackers()
    if not trackers or is_muted():
        return
    caller = sys._getframe(2)  # noqa: SLF001 - the frame that opens, beyond the hook
    if event == "open":
        path, mode, flags = args
        path = _text(path)
        if path is not None and not _is_system(path) and not _ours(caller) and not _importing(path, caller):
            writing = bool(set(mode) & set("wax+")) if mode else bool((flags or 0) & _WRITING)
            for tracker in trackers:
                tracker.opened(path, writing=writing)
        return
    pattern = _pattern(event, args, caller)
    if pattern is not None and not _is_system(pattern) and not _ours(caller):
        for tracker in trackers:
            tracker.listed(pattern)


def _trackers() -> list[FileTracker]:
    tracker = _current.get()
    if tracker is not None:
        return [tracker]
    if threading.current_thread() is threading.main_thread():
        return []
    # A thread that a step started has no context of its own: whoever tracks now is taken to have started it.
    return list(_active)


def _pattern(event: str, args: tuple[Any, ...], caller: FrameType) -> str | None:
    if event == "glob.glob":
        return _text(args[0])
    if event.startswith("pathlib"):
        folder, pattern = str(args[0]), str(args[1])
        return os.path.join(folder, "**", pattern) if event.endswith("rglob") else os.path.join(folder, pattern)  # noqa: PTH118
    code = caller.f_code
    if str(caller.f_globals.get("__name__", "")).partition(".")[0] in _FINDERS:
        return None  # looks for packages along sys.path, of which the notebook's folder is one
    if code.co_filename.endswith(_SCANNERS) and code.co_name != "iterdir":
        return None  # on behalf of a pattern, which has told of itself
    folder_name = "." if args[0] is None else _text(args[0])
    return None if folder_name is None else os.path.join(folder_name, "*")  # noqa: PTH118


def _text(path: object) -> str | None:
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None


def _is_system(path: str) -> bool:
    return path.startswith(_SYSTEM_ROOTS) or _FONT_LIST in path or is_installed_path(path)


def _importing(path: str, frame: FrameType | None) -> bool:
    if not path.endswith((".pyc", ".py", ".so")):
        return False
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") or name.endswith(_READERS_OF_CODE):
            return True
        if not is_installed_path(name):
            return False
        frame = frame.f_back
    return False


def _ours(frame: FrameType | None) -> bool:
    """Tell whether it is this package that opens the file, through whatever opens it for us."""
    while frame is not None:
        if is_own_path(frame.f_code.co_filename):
            return True
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _CARRIERS:
            return False
        frame = frame.f_back
    return False


def _full(path: str, folder: str) -> str:
    return os.path.normpath(path if path.startswith(os.sep) else os.path.join(folder, path))  # noqa: PTH118


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # the folder was removed
        return os.sep
