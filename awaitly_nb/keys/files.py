"""The files a step or cell reads: noticed while it runs, stamped, and compared before a hit.

Two sources. An audit hook sees what goes through Python's `open`, `glob`, `listdir` and `sqlite3` in the step's
context, in the threads it starts, and nowhere else. Readers written in C++ (`read_parquet`) raise no event; for them
the literals and `Path`s that the step names count, where they name files that existed before. What is opened for
writing meanwhile is an output; what could not be opened because it was not there must still not be there.

A step that runs in another process is followed there, and its stamps come back with its result. Those of another
machine are compared here, under the same paths: a file that is not the same here makes the step run again, each time.

Hides that an audit hook can never be removed again: it is added when tracking is first asked for, and begins with one
look at whether anybody tracks.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.keys.code_origin import is_installed_path, is_own_path
from awaitly_nb.keys.file_stamps import (
    changed_files,
    is_absent,
    is_muted,
    regular,
    same,
    stamp_absent,
    stamp_file,
    stamp_list,
    stamp_seen,
    unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextvars import Token
    from types import FrameType, TracebackType

    from awaitly_nb.keys.file_stamps import Stamp

__all__ = ["FileTracker", "changed_files", "joined", "literal_files", "note_files", "track_files", "tracked_from"]

_current: ContextVar[FileTracker | None] = ContextVar("awaitly_nb_files", default=None)
_active: list[FileTracker] = []
_lock = threading.Lock()
_hooked = False
_started_by: weakref.WeakKeyDictionary[threading.Thread, tuple[FileTracker, ...]] = weakref.WeakKeyDictionary()


class FileTracker:
    """What was read since tracking began. A context manager; made by `track_files`."""

    def __init__(self, known: Iterable[Stamp] = (), home: str | None = None) -> None:
        self._known = tuple(known)
        self.home = home
        self._outer: tuple[FileTracker, ...] = ()
        self.astray = False
        self._token: Token[FileTracker | None] | None = None
        self._read: dict[str, tuple[str, os.stat_result]] = {}
        self._connected: dict[str, tuple[str, os.stat_result, os.stat_result | None]] = {}
        self._missing: dict[str, str] = {}
        self._written: set[str] = set()
        self._patterns: dict[str, None] = {}
        self._noted: dict[str, Stamp] = {}
        self._elsewhere: dict[str, Stamp] = {}
        self._stamps: tuple[Stamp, ...] | None = None

    def __enter__(self) -> FileTracker:
        _install()
        self.home = _cwd() if self.home is None else self.home
        self._outer, self.astray = _around(), _is_astray()
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
        for outer in self._outer:
            outer.take(self)

    def opened(self, path: str, *, writing: bool) -> None:
        """Take notice that `path` is being opened."""
        full = _full(path, _cwd())
        if writing:
            self._written.add(full)
        elif full not in self._written and full not in self._read:
            found = regular(full)
            if found is not None:
                self._read[full] = (self._as_given(path, full), found)
            elif is_absent(full):
                self._missing[full] = self._as_given(path, full)

    def connected(self, path: str) -> None:
        """Take notice that a database is opened, which may be read, or written, or both."""
        full = _full(path, _cwd())
        found = regular(full)
        if found is None:
            if is_absent(full):
                self._missing.setdefault(full, self._as_given(path, full))
        elif full not in self._connected:
            # The newest pages of a database may lie in its log.
            self._connected[full] = (self._as_given(path, full), found, regular(f"{full}-wal"))

    def listed(self, pattern: str) -> None:
        """Take notice that the names which match `pattern` were asked for."""
        self._patterns[self._as_given(pattern, _full(pattern, _cwd()))] = None

    def _as_given(self, path: str, full: str) -> str:
        # As given, because the step will look there again, from whatever folder it runs in; unless it moved meanwhile.
        return path if full == _full(path, self.home or _cwd()) else full

    def note(self, stamps: Iterable[Stamp]) -> None:
        """Count files that a kept result was computed from, and that were therefore not opened again."""
        for stamp in stamps:
            self._noted.setdefault(_name_of(stamp), stamp)

    def note_elsewhere(self, stamps: Iterable[Stamp]) -> None:
        """Count files that were read in another process, as they were there."""
        for stamp in stamps:
            self._elsewhere.setdefault(_name_of(stamp), stamp)

    def take(self, inner: FileTracker) -> None:
        """Count what a step inside this one read and wrote."""
        self._written |= inner._written
        for full, seen in inner._read.items():
            if full not in self._written:
                self._read.setdefault(full, seen)
        self.note(inner.stamps())
        self.note_elsewhere(inner._elsewhere.values())

    def stamps(self) -> tuple[Stamp, ...]:
        """Return the files that were read and not written."""
        return self._stamps if self._stamps is not None else self._made()

    def _made(self) -> tuple[Stamp, ...]:
        made = self._named()
        for full, (path, before) in self._read.items():
            # What is gone at the end was the step's own, a temporary file that some tool had written for it.
            if full not in self._written and path not in made and regular(full) is not None:
                made[path] = stamp_seen(path, full, before)
        for full, (path, before, log) in self._connected.items():
            if full not in self._written and path not in made:
                made.update((stamp["path"], stamp) for stamp in _database_stamps(path, full, before, log))
        for full, path in self._missing.items():
            if full not in self._written and path not in made and is_absent(full):
                made[path] = stamp_absent(path)
        # Lists are taken at the end: what the step itself adds to a folder is there when it runs again.
        made.update((pattern, stamp_list(pattern)) for pattern in self._patterns)
        # On another machine they may differ from what lies here, and then they are to differ.
        made.update(self._elsewhere)
        return tuple(made.values())

    def _named(self) -> dict[str, Stamp]:
        """Return the stamps that were given, of files that did not turn out to be outputs."""
        home = self.home or _cwd()
        made: dict[str, Stamp] = {}
        for stamp in self._known:
            # Opened for writing, or changed by a writer that raises no event: an output of the step.
            if "pattern" in stamp or self._is_still(stamp, _full(stamp["path"], home)):
                made[_name_of(stamp)] = stamp
        for stamp in self._noted.values():
            # Whoever changed such a file meanwhile: the kept result stands for it as it was.
            full = _full(_name_of(stamp), home)
            if full not in self._written and (not stamp.get("absent") or is_absent(full)):
                made[_name_of(stamp)] = stamp
        for name, stamp in made.items():
            if "pattern" in stamp:
                made[name] = stamp_list(name)
        return made

    def _is_still(self, stamp: Stamp, full: str) -> bool:
        now = regular(full)
        return full not in self._written and (now is None or same(stamp, now))


def track_files(known: Iterable[Stamp] = (), home: str | None = None) -> FileTracker:
    """Return a context manager that takes notice of the files opened inside it.

    Parameters
    ----------
    known
        Stamps taken beforehand, by `literal_files`; they are part of `stamps()` unless the step writes the file.
    home
        The folder that relative paths of the stamps begin at; by default the current one.

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
    return FileTracker(known, home)


def note_files(stamps: Iterable[Stamp], *, elsewhere: bool = False) -> None:
    """Tell the step that is running around this one, if any, that a result stands for these files.

    `elsewhere`: they were read in another process just now, and not when a kept result was computed.
    """
    for tracker in _around():
        if elsewhere:
            tracker.note_elsewhere(stamps)
        else:
            tracker.note(stamps)


def tracked_from() -> str | None:
    """Return the folder from which the step that is running here names its files; None where nobody tracks."""
    around = _around()
    return around[0].home if around else None


def joined(stamps: Iterable[Stamp], later: Iterable[Stamp]) -> tuple[Stamp, ...]:
    """Return the stamps of both, the later one of each file."""
    return tuple({_name_of(stamp): stamp for stamp in (*stamps, *later)}.values())


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


# -- the hook ---------------------------------------------------------------------------------------------------------

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SYSTEM_ROOTS: Final = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/share/zoneinfo/", "/usr/share/fonts/", "/System/")
_FONT_LIST: Final = "matplotlib/fontlist-"
_CARRIERS: Final = frozenset(
    ["codecs", "diskcache", "glob", "gzip", "io", "os", "pathlib", "shutil", "tempfile", "_pyio"]
)
_THREADS: Final = frozenset(["_thread.start_new_thread", "_thread.start_joinable_thread"])
_EVENTS: Final = _THREADS | frozenset(
    ["open", "sqlite3.connect", "glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob", "os.listdir", "os.scandir"]
)
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
    if event in _THREADS:
        if (around := _around()) and isinstance(thread := getattr(args[0], "__self__", None), threading.Thread):
            _started_by[thread] = around
        return
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
    if event == "sqlite3.connect":
        path = _database(_text(args[0]))
        if path is not None and not _is_system(path) and not _ours(caller):
            for tracker in trackers:
                tracker.connected(path)
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


def _around() -> tuple[FileTracker, ...]:
    """Return whoever tracks the step that the code here is a part of."""
    tracker = _current.get()
    if tracker is not None:
        return (tracker,)
    if threading.current_thread() is threading.main_thread():
        return ()
    # A thread has no context of its own, but it is known who started it. A pool may be older than the step that uses
    # it; and steps that a pool runs beside this one are not around it.
    starters = _started_by.get(threading.current_thread(), ())
    return tuple(tracker for tracker in list(_active) if tracker in starters or not tracker.astray)


def _is_astray() -> bool:
    """Tell whether this is a thread of which nobody can say what it is a part of."""
    return _current.get() is None and threading.current_thread() is not threading.main_thread()


def _database(name: str | None) -> str | None:
    """Return the path of a database as sqlite3 was given it, or None for one that lies in memory."""
    if name is not None and name.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(name)
        name = None if "mode=memory" in parts.query else unquote(parts.path)
    return None if not name or name == ":memory:" else name


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


def _database_stamps(path: str, full: str, before: os.stat_result, log: os.stat_result | None) -> Iterator[Stamp]:
    """Yield the stamps of a database and its log; none where it was written to meanwhile, which makes it an output."""
    now, log_now = regular(full), regular(f"{full}-wal")
    if now is None or not unchanged(before, now):
        return
    # An empty log is that of a connection which has written nothing, as a reader's own.
    if log_now is not None and log_now.st_size and not (log is not None and unchanged(log, log_now)):
        return
    yield stamp_seen(path, full, before)
    yield stamp_absent(f"{path}-wal") if log_now is None else stamp_seen(f"{path}-wal", f"{full}-wal", log_now)


def _name_of(stamp: Stamp) -> str:
    name: str = stamp.get("path") or stamp["pattern"]
    return name


def _full(path: str, folder: str) -> str:
    return os.path.normpath(path if path.startswith(os.sep) else os.path.join(folder, path))  # noqa: PTH118


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # the folder was removed
        return os.sep


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
