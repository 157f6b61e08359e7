"""What a run uses of its process beside arguments, globals and files: noticed while it runs, compared before a hit.

A *tracer* watches one kind of state. The engine calls `begin_traces` before a step or cell runs and stores what
`end_traces` returns with the result. At the next look-up, `changed_traces` says whether the session still is as the run
found it, and after a hit `apply_traces` leaves the session, and the trace of a run around this one, as running would.

Here are the tracers of the environment and of `sys.argv`. Both watch only while something is traced: the class of
`os.environ`, and the list in `sys.argv`, are exchanged for that time, so a read costs nothing at all otherwise.

Which reads of the environment count:

===================================  ============================================================================
read by                              counts
===================================  ============================================================================
code of the user                     every name
the standard library, for the user   every name but those of the terminal, the locale and the search path
an installed package                 every name but those, the user's folders, threads, and names of the kernel;
                                     nothing while it is imported, and nothing when it copies the whole environment
whoever iterates over it, the user   all names, but for those that tell one session or terminal from another
a program that the user starts       all names, but for those and those that an installed package may read
===================================  ============================================================================

A name that the run has set itself is no input. Values are stored as digests with a salt; of names that look like a
secret only two bytes of the digest, from which nobody can guess the value.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

from awaitly_nb.installed import is_installed_path, is_own_path, is_standard_path
from awaitly_nb.keys.parts import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextvars import Token
    from types import CodeType, FrameType

__all__ = [
    "Tracer",
    "apply_traces",
    "begin_traces",
    "changed_traces",
    "end_traces",
    "environment_set",
    "is_importing",
    "names_set_here",
    "register_tracer",
    "remember_environment",
]

# Any, throughout: plain JSON data, and what a tracer begins with.


class Tracer(Protocol):
    """Watches one kind of state that a run may use.

    Attributes
    ----------
    name
        Under which what was used is stored.
    """

    @property
    def name(self) -> str:
        """The name under which what was used is stored."""

    def begin(self) -> object:
        """Begin to watch; return what `end` needs."""

    def end(self, begun: Any, /) -> Any:
        """Stop watching; return what was used as JSON data, or None where nothing was."""

    def difference(self, used: Any, /) -> str | None:
        """Return why the session is not as the run found it, in one line, or None where it is."""

    def apply(self, used: Any, /) -> None:
        """Leave the session as the run did; called on a hit."""


_HOMES: Final = (
    "awaitly_nb.keys.generators",
    "awaitly_nb.keys.settings",
    "awaitly_nb.keys.messages",
    "awaitly_nb.keys.presence",
)
"""Modules that register tracers when they are imported, which happens when something is first traced or compared."""

_tracers: dict[str, Tracer] = {}
_FAILED: Final = "!"


def register_tracer(tracer: Tracer) -> None:
    """Add a tracer, or replace the one of its name."""
    _tracers[tracer.name] = tracer


def begin_traces() -> list[tuple[Tracer, object]]:
    """Begin to watch what a run uses; hand the answer to `end_traces`, in a `finally`."""
    _load()
    begun: list[tuple[Tracer, object]] = []
    for tracer in tuple(_tracers.values()):
        try:
            begun.append((tracer, tracer.begin()))
        except Exception as exc:  # noqa: BLE001 - a registered tracer may raise anything; the run goes on
            begun.append((_Broken(tracer.name), exc))
    return begun


def end_traces(begun: list[tuple[Tracer, object]]) -> dict[str, Any] | None:
    """Return what the run used, as JSON data by tracer, or None where it used nothing."""
    used: dict[str, Any] = {}
    for tracer, state in reversed(begun):
        try:
            found = tracer.end(state)
        except Exception as exc:  # noqa: BLE001 - as above: without its trace the result is stored, and never served
            used.setdefault(_FAILED, {})[tracer.name] = f"{type(exc).__name__}: {exc}"
            continue
        if found is not None:
            used[tracer.name] = found
    return used or None


def changed_traces(data: Mapping[str, Any] | None) -> str | None:
    """Return why a run that used `data` would not find the same session now, or None where it would.

    Examples
    --------
    >>> import os
    >>> os.environ["MODE_OF_DOCTEST"] = "fast"
    >>> begun = begin_traces()
    >>> _ = os.environ.get("MODE_OF_DOCTEST")
    >>> used = end_traces(begun)
    >>> changed_traces(used)
    >>> os.environ["MODE_OF_DOCTEST"] = "slow"
    >>> changed_traces(used)
    'environment MODE_OF_DOCTEST differs'
    >>> del os.environ["MODE_OF_DOCTEST"]
    """
    for name, used in (data or {}).items():
        if name == _FAILED:
            failed, why = next(iter(used.items()))
            return f"{failed} could not be read when it ran ({why})"
        tracer = _tracers.get(name)
        if tracer is None:
            _load()
            tracer = _tracers.get(name)
        if tracer is None:
            return f"it used {name}, which nothing here can compare"
        try:
            reason = tracer.difference(used)
        except Exception as exc:  # noqa: BLE001 - a registered tracer, or damaged data, may raise anything: run it
            reason = f"{name} cannot be compared ({type(exc).__name__}: {exc})"
        if reason is not None:
            return reason
    return None


def apply_traces(data: Mapping[str, Any] | None) -> None:
    """Leave the session as the run that used `data` did; called on a hit, after `changed_traces` found no difference.

    Raises
    ------
    Exception
        Whatever a registered tracer raises: a hit that cannot be applied must not be served.
    """
    for name, used in (data or {}).items():
        if (tracer := _tracers.get(name)) is not None:
            tracer.apply(used)


_unloaded: Final = list(_HOMES)


def _load() -> None:
    while _unloaded:  # emptied one by one: what cannot be imported now is tried again
        import_module(_unloaded[0])
        del _unloaded[0]


class _Broken:
    """Stands for a tracer whose `begin` raised."""

    def __init__(self, name: str) -> None:
        self.name = name

    def begin(self) -> object:
        return None

    def end(self, begun: Exception, /) -> Any:
        raise begun

    def difference(self, used: Any, /) -> str | None:  # noqa: ARG002 - never stored
        return None

    def apply(self, used: Any, /) -> None:
        """Do nothing: never stored."""


# -- who reads -----------------------------------------------------------------------------------------------------

_USER: Final = "user"
_FOR_USER: Final = "standard library, for the user"
_PACKAGE: Final = "package"
_ACCESSORS: Final = (__file__, "os.py", "<frozen os>", "_collections_abc.py", "<frozen _collections_abc>")


def _reader(frame: FrameType | None) -> tuple[str | None, CodeType | None]:
    """Return on whose behalf the code in `frame` reads, None for this package and for imports, and the code itself."""
    carried = False
    while frame is not None and ((name := frame.f_code.co_filename) == __file__ or is_standard_path(name)):
        if name.startswith("<frozen importlib"):
            return None, None  # a module of the standard library is imported
        carried = carried or not name.endswith(_ACCESSORS)
        frame = frame.f_back
    if frame is None:
        return _FOR_USER, None  # a thread that the standard library runs
    code = frame.f_code
    if is_own_path(code.co_filename):
        return None, code
    if not is_installed_path(code.co_filename):
        return (_FOR_USER if carried else _USER), code
    return (None if is_importing(frame) else _PACKAGE), code


def is_importing(frame: FrameType | None) -> bool:
    """Tell whether the code in `frame` belongs to the import of an installed package."""
    while frame is not None and is_installed_path(frame.f_code.co_filename):
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


# -- who is traced -------------------------------------------------------------------------------------------------

_DIGEST_SIZE: Final = 8
_SECRET_SIZE: Final = 2


class _Reads:
    """What one run has read so far."""

    __slots__ = ("_salt", "argv", "argv_before", "copiers", "left_out", "names", "set_by_user", "token", "written")

    def __init__(self) -> None:
        self._salt = b""
        self.names: dict[str, list[str | None]] = {}
        self.written: set[str] = set()
        self.set_by_user: dict[str, str | None] = {}  # what they were
        self.left_out: str | None = None  # where all was read: what does not count
        self.copiers: set[CodeType | None] = set()
        self.argv_before = list.copy(sys.argv)
        self.argv: str | None = None
        self.token: Token[tuple[_Reads, ...]] | None = None

    @property
    def salt(self) -> bytes:
        """What its digests begin with, from the system's entropy; most runs read nothing."""
        self._salt = self._salt or os.urandom(16)
        return self._salt

    def note(self, name: str, *values: str | None) -> None:
        """Count a name, which had one of these values, unless the run has set it itself."""
        if name not in self.names and name not in self.written:
            self.names[name] = [_digest(self.salt, name, value) for value in values]


_current: ContextVar[tuple[_Reads, ...]] = ContextVar("awaitly_nb_traces", default=())
_active: list[_Reads] = []
_lock = threading.Lock()


def _traced() -> Iterable[_Reads]:
    """Return the runs that the code here is a part of, the outermost first."""
    found = _current.get()
    if found or threading.current_thread() is threading.main_thread():
        return found
    # A thread that a run started has no context of its own: whatever is traced now may have started it.
    return tuple(_active)


def _digest(salt: bytes, name: str, value: str | None) -> str | None:
    if value is None:
        return None
    size = _SECRET_SIZE if is_secret_name(name) else _DIGEST_SIZE
    data = value.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=size, key=salt).hexdigest()


def _begin() -> _Reads:
    is_installed_path("")  # finds out where packages lie, for which the environment is read
    reads = _Reads()
    if not _hooked.is_set():
        _hooked.set()
        sys.addaudithook(_hook)
    with _lock:
        _active.append(reads)
        if len(_active) == 1:
            _watch()
    reads.token = _current.set((*_current.get(), reads))
    return reads


def _end(reads: _Reads) -> None:
    if reads.token is not None:
        with suppress(ValueError):  # ended in another context, as when a task is closed by the loop
            _current.reset(reads.token)
    with _lock:
        _active.remove(reads)
        if not _active:
            _unwatch()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# -- the environment -----------------------------------------------------------------------------------------------

_TERMINAL: Final = re.compile(
    r"COLUMNS|LINES|TERM|TERM_.*|COLORTERM|NO_COLOR|FORCE_COLOR|CLICOLOR.*|PYTHON_COLORS|LANG|LANGUAGE|LC_.*|PATH|TZDIR"
    r"|TMPDIR|TEMP|TMP|PYTHON_GIL|PYTHONBREAKPOINT|PYTHONWARNINGS|PYTHONASYNCIODEBUG|PYTHON_HISTORY"
)
_MACHINERY: Final = re.compile(
    r"HOME|USER|LOGNAME|USERNAME|USERPROFILE|APPDATA|LOCALAPPDATA|XDG_.*|DISPLAY|WAYLAND_.*|MPLBACKEND|MPLCONFIGDIR"
    r"|.*_NUM_THREADS|JOBLIB_.*|LOKY_.*|JPY_.*|JUPYTER.*|IPYTHON.*|IPY_.*|KERNEL_.*|PYDEVD_.*|VSCODE_.*|COLAB_.*"
    r"|PYTEST_.*|COV_.*|COVERAGE_.*|AWAITLY_.*|NUMEXPR_.*|KMP_.*|CI|GITHUB_ACTIONS|SPYDER.*|PYCHARM_.*"
)
_SESSION: Final = re.compile(
    r"_|PWD|OLDPWD|SHLVL|COLUMNS|LINES|TERM|TERM_.*|COLORTERM|WINDOWID|SSH_.*|TMUX.*|STY|DBUS_.*|XDG_.*|GPG_.*|INVOCATION_ID"
    r"|JOURNAL_STREAM|MPLBACKEND|JPY_.*|JUPYTER.*|KERNEL_.*|PYDEVD_.*|VSCODE_.*|PYTEST_.*|COV_.*|COVERAGE_.*|AWAITLY_.*"
    r"|PYTHONHASHSEED|CLICOLOR.*|FORCE_COLOR|GIT_PAGER|PAGER|PS1|PROMPT_COMMAND|LS_COLORS|DISPLAY|WAYLAND_.*"
)


class _WatchedEnviron(os._Environ[Any]):  # noqa: SLF001 - the class of `os.environ`, which has no other name
    """The class of `os.environ` while a run is traced."""

    def __getitem__(self, key: Any) -> Any:
        try:
            value = super().__getitem__(key)
        except KeyError:
            _name_read(_plain_name(self, key), None)
            raise
        _name_read(_plain_name(self, key), os.fsdecode(value))
        return value

    def __contains__(self, key: object) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[Any]:
        _all_read(sys._getframe(1))  # noqa: SLF001 - who reads
        return super().__iter__()

    def setdefault(self, key: Any, value: Any = None) -> Any:
        name = _plain_name(self, key)
        text = os.fsdecode(value) if isinstance(value, str | bytes) else None
        if text is not None and _value(name) in (None, text):  # what follows does not depend on which it is
            for reads in _traced():
                reads.note(name, None, text)
        return super().setdefault(key, value)

    def __setitem__(self, key: Any, value: Any) -> None:
        before = _value(_plain_name(self, key))
        super().__setitem__(key, value)
        _written(_plain_name(self, key), before)

    def __delitem__(self, key: Any) -> None:
        before = _value(_plain_name(self, key))
        super().__delitem__(key)
        _written(_plain_name(self, key), before)

    def __reduce__(self) -> Any:
        return dict, (dict(zip(*_raw_items(self), strict=True)),)


def _plain_name(environ: os._Environ[Any], key: Any) -> str:
    return os.fsdecode(environ.decodekey(environ.encodekey(key)))


def _raw_items(environ: os._Environ[Any]) -> tuple[list[Any], list[Any]]:
    keys = list(os._Environ.__iter__(environ))  # noqa: SLF001 - past the watching
    return keys, [os._Environ.__getitem__(environ, key) for key in keys]  # noqa: SLF001


def _value(name: str) -> str | None:
    environ: Mapping[str, str] = os.environ
    if not isinstance(environ, os._Environ):  # noqa: SLF001 - somebody put another mapping in its place
        return environ.get(name)
    try:
        value: str = os._Environ.__getitem__(environ, name)  # noqa: SLF001 - past the watching
    except KeyError:
        return None
    return value


_remembered: dict[str, Any] = {}


def remember_environment() -> None:
    """Remember the environment that a session begins with; harmless twice."""
    if not _remembered:
        _remembered.update(zip(*_plain_items(), strict=True))


def names_set_here() -> list[str]:
    """Return the names of the environment that were set or removed in this session since it was remembered."""
    now = dict(zip(*_plain_items(), strict=True))
    return sorted(name for name in {*now, *_remembered} if _remembered and now.get(name) != _remembered.get(name))


def _plain_items() -> tuple[list[Any], list[Any]]:
    return _raw_items(os.environ) if isinstance(os.environ, os._Environ) else ([], [])  # noqa: SLF001 - as above


def _name_read(name: str, value: str | None) -> None:
    reader: tuple[str | None, CodeType | None] | None = None
    for reads in _traced():
        if name in reads.names or name in reads.written:
            continue
        reader = reader or _reader(sys._getframe(2))  # noqa: SLF001 - who reads
        whose, code = reader
        if code in reads.copiers or not _counts(name, whose):
            continue
        reads.note(name, value)


def _counts(name: str, whose: str | None) -> bool:
    if whose is None:
        return False
    if whose != _USER and _TERMINAL.fullmatch(name):
        return False
    return whose != _PACKAGE or not _MACHINERY.fullmatch(name)


def _all_read(frame: FrameType) -> None:
    reader: tuple[str | None, CodeType | None] | None = None
    for reads in _traced():
        whose, code = reader = reader or _reader(frame)
        reads.copiers.add(code)  # that it asks for each name as well tells nothing more
        if whose in (_USER, _FOR_USER):
            _note_all(reads, "session")


def _note_all(reads: _Reads, left_out: str) -> None:
    if reads.left_out in ("session", left_out):
        return
    reads.left_out = left_out
    for name, value in zip(*_raw_items(os.environ), strict=True):
        if not _is_left_out(name, left_out):
            reads.note(name, value)


def _is_left_out(name: str, left_out: str) -> bool:
    patterns = (_SESSION,) if left_out == "session" else (_SESSION, _TERMINAL, _MACHINERY)
    return any(pattern.fullmatch(name) for pattern in patterns)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _active or event not in _STARTS or (event == "subprocess.Popen" and args[3] is not None):
        return
    with suppress(Exception):  # an exception here would make the user's call fail
        whose, _ = _reader(sys._getframe(1))  # noqa: SLF001 - who starts it
        for reads in _traced() if whose in (_USER, _FOR_USER) else ():
            _note_all(reads, "machine")


_STARTS: Final = frozenset({"subprocess.Popen", "os.system"})
_hooked = threading.Event()


def _written(name: str, before: str | None) -> None:
    for reads in _traced():
        reads.written.add(name)
        # What a package sets, as when it is imported, is its own affair.
        if name not in reads.set_by_user and _reader(sys._getframe(2))[0] in (_USER, _FOR_USER):  # noqa: SLF001 - who sets
            reads.set_by_user[name] = before


def environment_set(begun: list[tuple[Tracer, object]]) -> list[str]:
    """Return the names of the environment that a run's own code has set to another value, or removed.

    A name that it has set to what it was counts as read: elsewhere that would be a change. Comes before `end_traces`.

    Parameters
    ----------
    begun
        What `begin_traces` returned.
    """
    changed = []
    for reads in (state for tracer, state in begun if tracer.name == "environment" and isinstance(state, _Reads)):
        for name, before in reads.set_by_user.items():
            if _value(name) != before:
                changed.append(name)
            else:
                reads.names.setdefault(name, [_digest(reads.salt, name, before)])
    return sorted(changed)


class _Environment:
    """The tracer of names of the environment."""

    name = "environment"

    def begin(self) -> _Reads:
        return _begin()

    def end(self, begun: _Reads, /) -> Any:
        _end(begun)
        if not begun.names and begun.left_out is None:
            return None
        used: dict[str, Any] = {"salt": begun.salt.hex(), "names": begun.names}
        if begun.left_out is not None:
            # Names that the run found set by itself are no input, whether they are there or not.
            used["whole"] = sorted(begun.written - set(begun.names))
            used["left_out"] = begun.left_out
        return used

    def difference(self, used: Any, /) -> str | None:
        salt = bytes.fromhex(used["salt"])
        names: dict[str, list[str | None]] = used["names"]
        for name, allowed in names.items():
            if _digest(salt, name, _value(name)) not in allowed:
                return f"environment {name} differs"
        if "whole" in used:
            own, left_out = set(used["whole"]), used.get("left_out", "session")
            for name in _raw_items(os.environ)[0]:
                if name not in names and name not in own and not _is_left_out(name, left_out):
                    return f"environment {name} is new"
        return None

    def apply(self, used: Any, /) -> None:
        # Whatever runs around this hit depends on what the result was made of.
        for reads in _traced():
            for name in used["names"]:
                reads.note(name, _value(name))
            if "whole" in used:
                _note_all(reads, used.get("left_out", "session"))


# -- the arguments of the process ----------------------------------------------------------------------------------


class _WatchedList(list[Any]):  # noqa: PLW1641 - a list has no hash either
    """The list in `sys.argv` while a run is traced; pickles as a list."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        _argv_read()
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Any]:
        _argv_read()
        return super().__iter__()

    def __len__(self) -> int:
        _argv_read()
        return super().__len__()

    def __contains__(self, item: object) -> bool:
        _argv_read()
        return super().__contains__(item)

    def __eq__(self, other: object) -> bool:
        _argv_read()
        return super().__eq__(other)

    def __add__(self, other: Any) -> Any:
        _argv_read()
        return super().__add__(other)

    def __repr__(self) -> str:
        _argv_read()
        return super().__repr__()

    def copy(self) -> list[Any]:
        """Return a plain list."""
        _argv_read()
        return super().copy()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (super().copy(),)


_plain_argv: list[str] | None = None


def _argv_read() -> None:
    for reads in _traced():
        if reads.argv is None:
            now = _argv()
            # What the run has put there itself is no input.
            if now == _told_arguments(reads.argv_before) and _reader(sys._getframe(2))[0] is not None:  # noqa: SLF001
                reads.argv = _digest(reads.salt, "argv", "\0".join(now))


def _argv() -> list[str]:
    return _told_arguments(list.copy(sys.argv) if isinstance(sys.argv, list) else list(sys.argv))


def _told_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments without those by which a kernel is started, which are others in each session."""
    texts = [str(argument) for argument in arguments]
    if any(re.search(r"kernel[^/\\]*\.json$", text) for text in texts):
        return []
    return texts


class _Arguments:
    """The tracer of `sys.argv`; shares the reads of the tracer before it, which is begun first and ended last."""

    name = "argv"

    def begin(self) -> _Reads | None:
        found = _current.get()
        return found[-1] if found else None

    def end(self, begun: _Reads | None, /) -> Any:
        if begun is None or begun.argv is None:
            return None
        return {"salt": begun.salt.hex(), "digest": begun.argv}

    def difference(self, used: Any, /) -> str | None:
        now = _digest(bytes.fromhex(used["salt"]), "argv", "\0".join(_argv()))
        return None if now == used["digest"] else "sys.argv differs"

    def apply(self, used: Any, /) -> None:  # noqa: ARG002 - that it was used is all
        for reads in _traced():
            if reads.argv is None:
                reads.argv = _digest(reads.salt, "argv", "\0".join(_argv()))


def _watch() -> None:
    global _plain_argv  # noqa: PLW0603 - what stands in `sys.argv` is one for the process
    for environ in (os.environ, getattr(os, "environb", None)):
        if type(environ) is os._Environ:  # noqa: SLF001 - not one that somebody put in its place
            object.__setattr__(environ, "__class__", _WatchedEnviron)
    if type(sys.argv) is list:
        _plain_argv = sys.argv
        sys.argv = _WatchedList(sys.argv)


def _unwatch() -> None:
    global _plain_argv  # noqa: PLW0603 - as above
    for environ in (os.environ, getattr(os, "environb", None)):
        if environ is not None and type(environ) is _WatchedEnviron:
            object.__setattr__(environ, "__class__", os._Environ)  # noqa: SLF001
    if type(sys.argv) is _WatchedList and _plain_argv is not None:
        # The list that others may hold, with what the run did to it.
        if (now := list.copy(sys.argv)) != _plain_argv:
            _plain_argv[:] = now
        sys.argv = _plain_argv
    _plain_argv = None


register_tracer(_Environment())
register_tracer(_Arguments())
