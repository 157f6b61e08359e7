"""The files a step or cell reads: noticed while it runs, stamped, and compared before a hit.

Two sources. An audit hook sees what goes through Python's `open`, `glob`, `listdir` and `sqlite3` in the step's
context, in the threads it starts, and nowhere else. Readers written in C++ (`read_parquet`) raise no event; for them
the literals and `Path`s that the step names count, where they name files that existed before. What is opened for
writing meanwhile is an output; what could not be opened because it was not there must still not be there.

A step that runs in another process is followed there, and its stamps come back with its result. Those of another
machine are compared here, under the same paths: a file that is not the same here makes the step run again, each time.

What a run writes is noted beside it (`written`), and what is compared later is in `stamps`.

Hides that an audit hook can never be removed again: it is added when tracking is first asked for, and begins with one
look at whether anybody tracks.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import sys
import threading
import time
import weakref
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.installed import is_installed_path, is_own_path
from awaitly_nb.keys.code import quoted_files
from awaitly_nb.keys.graph import ABSENT, CodeGraph, function_graph
from awaitly_nb.keys.stamps import (
    FRESH_NS,
    Stamp,
    is_absent,
    is_muted,
    mode_of,
    muted,
    names_in,
    regular,
    same,
    stamp_absent,
    stamp_file,
    stamp_list,
    stamp_seen,
    unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextvars import Token
    from types import FrameType, TracebackType

    from awaitly_nb.keys.written import How, State


__all__ = [
    "FileTracker",
    "children_started",
    "joined",
    "literal_files",
    "note_files",
    "track_files",
    "tracked_from",
]

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
        self._touched: dict[str, tuple[str, bool]] = {}
        from awaitly_nb.keys.written import state_before  # no hit needs it

        self._state_before = state_before
        self._before: dict[str, State | None] = {}
        self._anew: set[str] = set()
        self._modes: set[str] = set()
        self._emptied: set[str] = set()
        self._has_children = False
        self._patterns: dict[str, None] = {}
        self._of_children: dict[str, tuple[str, os.stat_result | None]] = {}
        self._noted: dict[str, Stamp] = {}
        self._elsewhere: dict[str, Stamp] = {}
        self._stamps: tuple[Stamp, ...] | None = None

    def __enter__(self) -> FileTracker:
        _install()
        self.home = _cwd() if self.home is None else self.home
        self.astray = _is_astray()
        self._outer = _around() if self.astray or _current.get() is not None else ()
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

    def opened(self, path: str, *, writing: bool, how: How = "changed") -> None:
        """Take notice that `path` is being opened, and how, if it may be written to."""
        full = _full(path, _cwd())
        if writing:
            self._written.add(full)
            self.touched(path, how)
        elif full not in self._written and full not in self._read:
            found = regular(full)
            if found is not None:
                self._read[full] = (self._as_given(path, full), found)
            elif is_absent(full):
                self._missing[full] = self._as_given(path, full)

    def started(self, command: str | Sequence[object], folder: str | None = None) -> None:
        """Take notice that a child process is started, perhaps in another folder: its command is all we know of it."""
        here = _full(folder or "", _cwd())
        self._has_children = True
        with muted():
            from awaitly_nb.keys.children import named_in_command

            named = list(named_in_command(command, here))
        for path, use in named:
            at = os.path.join(folder or "", path)  # noqa: PTH118
            if _is_system(_full(path, here)):
                continue
            if use == "written":
                self.opened(at, writing=True, how="unknown")
            elif use == "listed":
                self.listed(at)
                with muted():
                    found = _matches(_full(path, here))
                for one in found:
                    self.opened(at if one == _full(path, here) else one, writing=False)
            else:
                full = _full(at, _cwd())
                if full not in self._read:  # else what the code has read of it is an input, whatever becomes of it
                    self._of_children.setdefault(full, (self._as_given(at, full), regular(full)))
                if use == "read":
                    self.opened(at, writing=False)

    def touched(self, path: str, how: How = "changed") -> None:
        """Take notice that `path` is being made, replaced or removed, and how."""
        full = _full(path, _cwd())
        if "__pycache__" in full:
            return
        if full not in self._touched:
            self._touched[full] = self._as_given(path, full), not is_absent(full)
            # A child process may have read it before.
            is_known = full not in self._of_children
            if full not in self._before:
                self._before[full] = self._state_before(full, how, asked=self._has_seen(full)) if is_known else None
        if how == "unknown":
            self._before[full] = None
        if how == "replaced":
            self._anew.add(full)
        if how == "emptied":
            self._before[full] = None
            self._emptied.add(full)
        if how == "moded":
            self._modes.add(full)

    def _has_seen(self, full: str) -> bool:
        """Tell whether the run may know already what lies at this path."""
        from awaitly_nb.keys.presence import has_looked_at

        if full in self._read or full in self._missing or full in self._connected or has_looked_at(full):
            return True
        if self._has_children:  # of which nobody knows where they looked
            return True
        # A reader written in C++ raises no event.
        home = self.home or _cwd()
        named = (*(stamp["path"] for stamp in self._known if "path" in stamp), *self._noted)
        if any(_full(path, home) == full for path in named):
            return True
        # Of a pattern counts where it looks, and not what it found there.
        return any(full.startswith(_full(_WILD.split(pattern)[0], home)) for pattern in self._patterns)

    def unsettled(self, path: str) -> None:
        """Take notice that something of `path` is being set that nobody can set again."""
        self._before[_full(path, _cwd())] = None

    def effects(self, known: Iterable[Stamp] = ()) -> tuple[Stamp, ...]:
        """Return the stamps of what was made, replaced or removed, for `changed_files` to compare later.

        With each goes what `written.rewriting` needs, where that can be told.

        Parameters
        ----------
        known
            Stamps of files that the code names, taken now: what was not so before was written by a writer that raises
            no event.
        """
        before = {stamp["path"]: stamp for stamp in self._known if "pattern" not in stamp}
        touched = dict(self._touched)
        for stamp in known:
            earlier = before.get(stamp.get("path"))
            if "pattern" not in stamp and (earlier is None or any(earlier[name] != stamp[name] for name in _TIMES)):
                touched.setdefault(_full(stamp["path"], self.home or _cwd()), (stamp["path"], False))
        for full, (path, was) in self._of_children.items():
            if self._is_childs(full):
                touched.setdefault(full, (path, was is not None))
        found: list[Stamp] = []
        from awaitly_nb.keys.written import StoredContents

        contents = StoredContents()
        for full, (path, was_there) in touched.items():
            before = {} if (state := self._before.get(full)) is None else {"before": state}
            if (made := stamp_file(full)) is not None:
                if full in self._modes:
                    made["mode"] = mode_of(full)
                if full in self._anew:
                    made["anew"] = True
                found.append({**made, "path": path, **before, **(contents.of(full, made) if before else {})})
            elif not is_absent(full):
                inside = {"inside": names_in(full)} if full in self._emptied else {}
                found.append({"path": path, "kind": "folder", **before, **inside})
            elif was_there:  # what came and went meanwhile was temporary
                found.append({**stamp_absent(path), **before})
        found += [{"path": path, "kind": "any"} for full, (path, *_) in self._connected.items() if not is_absent(full)]
        return tuple(found)

    def _is_childs(self, full: str) -> bool:
        """Tell whether a child process, whose command names this file, has written it."""
        was, now = self._of_children[full][1], regular(full)
        return now is not None and (was is None or not unchanged(was, now))

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
        """Count files that a cached result was computed from, and that were therefore not opened now."""
        for stamp in stamps:
            self._noted.setdefault(_name_of(stamp), stamp)

    def note_elsewhere(self, stamps: Iterable[Stamp]) -> None:
        """Count files that were read in another process, as they were there."""
        for stamp in stamps:
            self._elsewhere.setdefault(_name_of(stamp), stamp)

    def take(self, inner: FileTracker) -> None:
        """Count what a step inside this one read and wrote."""
        self._written |= inner._written
        for full, state in inner._before.items():
            if full not in self._touched and full not in self._before:
                # What has been read out here, the inner one did not know of.
                self._before[full] = None if self._has_seen(full) else state
            elif state is None:
                self._before[full] = None
        self._anew |= inner._anew
        self._modes |= inner._modes
        self._emptied |= inner._emptied
        self._has_children |= inner._has_children
        self._touched = {**inner._touched, **self._touched}
        self._of_children = {**inner._of_children, **self._of_children}
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
            if full in self._written or (full in self._of_children and self._is_childs(full)):
                continue
            if path not in made and regular(full) is not None:
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
            # Whoever changed such a file meanwhile: the cached result stands for it as it was.
            full = _full(_name_of(stamp), home)
            if full not in self._written and (not stamp.get("absent") or is_absent(full)):
                made[_name_of(stamp)] = stamp
        for name, stamp in made.items():
            if "pattern" in stamp:
                made[name] = stamp_list(name)
        return made

    def _is_still(self, stamp: Stamp, full: str) -> bool:
        now = regular(full)
        if now is None:
            return full not in self._touched  # else the step has removed it
        return full not in self._written and same(stamp, now)


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

    `elsewhere`: they were read in another process just now, and not when a cached result was computed.
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


def literal_files(code: object, args: object = ()) -> tuple[Stamp, ...]:
    """Return stamps of the files that exist now and are named in code or arguments.

    A glob pattern stands for the files that it matches, and a folder of parquet files for those in it.

    Parameters
    ----------
    code
        A function, whose helpers count too, or the graph of what a cell reads.
    args
        Values to search for text and `Path`s: containers are searched, objects are not.
    """
    graph = code if isinstance(code, CodeGraph) else function_graph(code) if callable(code) else CodeGraph()
    own, given = _in_graph(graph), [*_in_value(args, _DEPTH), *_in_slots(graph)]
    here = None if given else _settled_folder()
    if here is not None and graph.nameless_in == here:
        return ()
    paths, patterns = _named_paths([*given, *own])
    if here is not None and all(_absent_names.get(text) == here for text in own if _plausible(text)):
        graph.nameless_in = here  # most functions name no file, and are called many times in one folder
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
_CHANGING: Final[dict[str, tuple[How, ...]]] = {
    "os.chmod": ("moded",),
    "os.remove": ("removed",),
    "os.rename": ("changed", "replaced"),
    "os.rmdir": ("changed",),
    "os.mkdir": ("changed",),
    "os.truncate": ("changed",),
    "os.link": ("unknown", "unknown"),
    "os.symlink": ("unknown", "unknown"),
    "shutil.rmtree": ("emptied",),
    "shutil.move": ("changed", "written"),
}
"""Events of what changes a folder, with what becomes of each path that one tells."""
_PLACES: Final = {"os.mkdir": 2, "os.chmod": 2, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.truncate": 2}
"""Events that tell more than a path before the numbers of the folders that these begin at."""
_SETTING: Final = frozenset({"os.utime", "os.chown", "os.setxattr", "os.removexattr", "os.chflags"})
"""Events of what gives a file something that only running gives it."""
_STARTING: Final = ("subprocess.Popen", "os.system")
_EVENTS: Final = (
    _THREADS
    | _CHANGING.keys()
    | _SETTING
    | frozenset(_STARTING)
    | frozenset(
        [
            "subprocess.Popen",
            "os.system",
            "open",
            "sqlite3.connect",
            "glob.glob",
            "pathlib.Path.glob",
            "pathlib.Path.rglob",
            "os.listdir",
            "os.scandir",
        ]
    )
)
_TIMES: Final = ("size", "mtime_ns", "ctime_ns")
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
    if event in _FORKING:
        _children[0] += 1
    if not _active or event not in _EVENTS:
        return
    with suppress(Exception):  # an exception here would make the user's open() fail
        _on_event(event, args)


def children_started() -> int:
    """Return how many child processes have been started since something was first tracked."""
    return _children[0]


_children = [0]
_FORKING: Final = frozenset({"subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn"})


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
        if path is not None and _counts(path, caller) and not _importing(path, caller):
            writing = bool(set(mode) & set("wax+")) if mode else bool((flags or 0) & _WRITING)
            how: How = "written" if (flags or 0) & os.O_TRUNC and not (flags or 0) & os.O_EXCL else "changed"
            for tracker in trackers:
                tracker.opened(path, writing=writing, how=how)
        return
    if event in _STARTING:
        command, folder = (args[1], args[2]) if event == "subprocess.Popen" else (args[0], None)
        for tracker in () if _ours(caller) else trackers:
            tracker.started(os.fsdecode(command) if isinstance(command, bytes) else command, _text(folder))
        return
    for path, notice in _other_event(event, args, caller):
        if path is not None and _counts(path, caller):
            for tracker in trackers:
                notice(tracker, path)


def _other_event(
    event: str, args: tuple[Any, ...], caller: FrameType
) -> Iterator[tuple[str | None, Callable[[FileTracker, str], None]]]:
    """Yield the paths that an event which opens no file names, and what a tracker does about each."""
    if event in _CHANGING:
        is_content = event == "os.mkdir" and _may_exist(caller)
        ways: tuple[How, ...] = ("made",) if is_content else _CHANGING[event]
        if event.startswith("os.") and any(type(arg) is int and arg >= 0 for arg in args[_PLACES.get(event, 1) :]):
            ways = ("unknown", "unknown")  # the path begins at a folder that is known by number
        for arg, how in zip(args, ways, strict=False):
            yield _text(arg), partial(FileTracker.touched, how=how)
    elif event in _SETTING:
        yield _text(args[0]), FileTracker.unsettled
    elif event == "sqlite3.connect":
        yield _database(_text(args[0])), FileTracker.connected
    else:
        yield _pattern(event, args, caller), FileTracker.listed


def _may_exist(caller: FrameType) -> bool:
    """Tell whether a folder is being made by who is content to find it."""
    home = str(caller.f_globals.get("__name__", "")).partition(".")[0]
    return home in {"os", "pathlib"} and caller.f_locals.get("exist_ok") is True


_WILD: Final = re.compile(r"[*?\[]")


def _counts(path: str, caller: FrameType) -> bool:
    return not _is_system(path) and not _ours(caller)


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


# -- files that code and arguments name --------------------------------------------------------------------------------

_LONGEST: Final = 1000
_MOST: Final = 1000
_MOST_FOLDERS: Final = 8
_DEPTH: Final = 4


def _named_paths(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the regular files that texts name, and the patterns, each once, in the order of first mention.

    A folder that is named joins with the relative names beside it, because that is how paths are put together:
    `DATA / "prices.parquet"`.
    """
    candidates = list(dict.fromkeys([text for text in texts if _plausible(text)]))[:_MOST]
    kinds = _kinds(candidates)
    folders = [text for text in candidates if kinds[text] == "folder"][:_MOST_FOLDERS]
    files: dict[str, None] = {}
    patterns: dict[str, None] = {}
    joined: set[str] = set()
    for text in candidates:
        if kinds[text] == "file":
            files[text] = None
        elif kinds[text] is None:
            for folder in folders:
                path = os.path.join(folder, text.lstrip(os.sep))  # noqa: PTH118 - `f"{DATA}/a.csv"` begins with one
                if _kind(path) == "file":
                    files[path] = None
                    joined.add(folder)
    for text in [text for text in candidates if folders or _PATTERN.search(text)]:
        beside = [] if os.path.isabs(text) else [os.path.join(folder, text) for folder in folders]  # noqa: PTH117, PTH118
        for path in (text, *beside):
            pattern = path if _PATTERN.search(text) else None
            if pattern is None and path not in joined and (kinds[path] if path in kinds else _kind(path)) == "folder":
                pattern = _data_folder(path)
            if pattern is not None and (matched := _matches(pattern)):
                patterns[pattern] = None
                files.update(dict.fromkeys(matched))
    return list(files), list(patterns)


def _kinds(texts: Iterable[str]) -> dict[str, str | None]:
    """Return what lies at each path, with one look at each; at the current folder alone where that has not changed."""
    here = _settled_folder()
    kinds: dict[str, str | None] = {}
    for text in texts:
        if here is not None and _absent_names.get(text) == here:
            kinds[text] = None
            continue
        kind = kinds[text] = _kind(text)
        if kind is None and here is not None and os.path.basename(text) == text and not os.path.islink(text):  # noqa: PTH114, PTH119
            if len(_absent_names) >= _MOST_ABSENT:
                _absent_names.clear()
            _absent_names[text] = here
    return kinds


def _settled_folder() -> tuple[int, ...] | None:
    """Return what changes when a name comes to the current folder or leaves it; None where that was a moment ago."""
    try:
        info = os.stat(".")  # noqa: PTH116 - on each miss
    except OSError:
        return None
    # A change in the same tick of the file system's clock would not show.
    settled = info.st_mtime_ns < time.time_ns() - FRESH_NS
    return (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns) if settled else None


_absent_names: dict[str, tuple[int, ...]] = {}
"""Words of the code that name nothing in the current folder, with what the folder was like: most are no file names."""
_MOST_ABSENT: Final = 10_000


def _kind(path: str) -> str | None:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - many, on each miss
    except (OSError, ValueError):
        return None
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else None


_PATTERN: Final = re.compile(r"^[^*?]*[*?][^*?]*\.\w+$|/[^/]*\*")
_PARTS: Final = (".parquet", ".arrow", ".feather")


def _data_folder(path: str) -> str | None:
    """Return the pattern of the data files in a folder that a reader takes as one table, or None."""
    if os.path.normpath(path) in (".", "..", os.sep):
        return None
    try:
        with os.scandir(path) as entries:
            for entry in itertools.islice(entries, _MOST):
                suffix = os.path.splitext(entry.name)[1]  # noqa: PTH122
                if suffix in _PARTS:
                    return os.path.join(path, f"*{suffix}")  # noqa: PTH118
                if "=" in entry.name and entry.is_dir():  # partitioned, as in `year=2024/part-0.parquet`
                    return os.path.join(path, "**", "*.parquet")  # noqa: PTH118
    except (OSError, ValueError):
        return None
    return None


def _matches(pattern: str) -> list[str]:
    import glob

    found = itertools.islice(glob.iglob(pattern, recursive=True), _MOST)  # noqa: PTH207 - a pattern may be absolute
    return [path for path in found if os.path.isfile(path)]  # noqa: PTH113


def _plausible(text: str) -> bool:
    return 0 < len(text) < _LONGEST and "\n" not in text and "\0" not in text


def _in_graph(graph: CodeGraph) -> tuple[str, ...]:
    if graph.named is None:
        graph.named = tuple(name for text in graph.texts for name in _in_value(text, 0))
    return graph.named


def _in_slots(graph: CodeGraph) -> list[str]:
    found: list[str] = []
    for slot in graph.slots:
        found += _in_value(slot.lookup.get(slot.key, ABSENT), _DEPTH)
    return found


def _in_value(value: object, depth: int) -> list[str]:
    """Return the text and the paths in a value, and the file names that are quoted in that text."""
    if type(value) in _NAMELESS:
        return []
    if isinstance(value, str):
        return [value, *quoted_files(value)]
    if isinstance(value, PurePath):
        return [str(value)]
    found: list[str] = []
    if depth and isinstance(value, dict):
        for item in list(value.values())[:_MOST]:
            found += _in_value(item, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for item in value if len(value) <= _MOST else list(value)[:_MOST]:
            if type(item) not in _NAMELESS:
                found += _in_value(item, depth - 1)
    return found


_NAMELESS: Final = frozenset({int, float, bool, type(None)})
