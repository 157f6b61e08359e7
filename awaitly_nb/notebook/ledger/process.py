"""Watched states of the interpreter and the standard library."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # in C, and without the enumerations of `signal`, which cost
import gc
import importlib
import logging
import os
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec import describe_handler
from awaitly_nb.errors import EncodeError
from awaitly_nb.keys import is_user_class, is_user_function, is_user_module
from awaitly_nb.notebook.ledger.settings import ListedEntries, NamedValues, Values, digest_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import FrameType, ModuleType

__all__ = ["PROCESS", "LoadedModules", "environment", "limits_in_force", "running_beside"]


def environment() -> dict[str, str]:
    """Return the environment, without its being noticed as read by the cell that runs."""
    raw = os.environ._data  # type: ignore[attr-defined] # noqa: SLF001 - the mapping itself is watched
    return {_decoded(name): _decoded(value) for name, value in raw.items()}


_decoded = lru_cache(2000)(os.fsdecode)


def _set_environment(values: Values, gone: list[str]) -> None:
    os.environ.update(values)
    for name in gone:
        os.environ.pop(name, None)
    if "TZ" in values or "TZ" in gone:
        time.tzset()


@dataclass(frozen=True, slots=True)
class WorkingFolder:
    """The working directory; a folder below the one before is entered from wherever the session is."""

    name: str = "working directory"
    library: str | None = None
    first: bool = True

    def snapshot(self) -> str:
        """Return it."""
        return str(Path.cwd())

    def told(self) -> Values:
        """Return it."""
        return {"folder": self.snapshot()}

    def difference(self, before: str) -> str | None:
        """Return where it is now, seen from where it was if it is below."""
        now = Path.cwd()
        if str(now) == before:
            return None
        return str(now.relative_to(before)) if now.is_relative_to(before) else str(now)

    def apply(self, data: str) -> None:
        """Go there."""
        os.chdir(data)

    def requirement(self, before: str, changed: str | None, words: frozenset[str]) -> str | None:
        """Require the folder of before where the code may have gone to where it was."""
        if words & _FOLDER_USED:
            return before
        return before if changed is None and words & {"chdir", "cd", "pushd", "popd"} else None

    def refusal(self, data: str) -> str | None:
        """Refuse a folder that is not there."""
        return None if Path(data).is_dir() else f"{data} is no folder"


_FOLDER_USED = frozenset({"getcwd", "getcwdb", "cwd", "resolve", "absolute", "abspath", "realpath"})


def _warnings_changed() -> None:
    # Leaving this context is the public way to say that the filters are others now.
    with warnings.catch_warnings():
        pass


def _locales() -> Values:
    import locale

    return {name: locale.setlocale(getattr(locale, name), None) for name in _CATEGORIES if hasattr(locale, name)}


def _set_locales(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - a category is never gone
    import locale

    for name, value in values.items():
        locale.setlocale(getattr(locale, name), value)


def _limits() -> Values:
    return {"recursion limit": sys.getrecursionlimit(), "digits of a number": sys.get_int_max_str_digits()}


_FIRST_LIMITS = _limits()


def limits_in_force() -> Values:
    """Return the limits that code may run into without naming them, as far as they were set in this session."""
    return {name: value for name, value in _limits().items() if value != _FIRST_LIMITS[name]}


def _interpreter() -> Values:
    values: Values = {
        "recursionlimit": sys.getrecursionlimit(),
        "switchinterval": sys.getswitchinterval(),
        "int_max_str_digits": sys.get_int_max_str_digits(),
        "gc enabled": gc.isenabled(),
        "gc threshold": gc.get_threshold(),
    }
    if (socket := sys.modules.get("socket")) is not None:
        values["defaulttimeout"] = socket.getdefaulttimeout()
    return values


def _set_interpreter(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - as above
    for name, value in values.items():
        match name:
            case "gc enabled":
                (gc.enable if value else gc.disable)()
            case "gc threshold":
                gc.set_threshold(*value)
            case "defaulttimeout":
                importlib.import_module("socket").setdefaulttimeout(value)
            case _:
                getattr(sys, f"set{name}" if name != "int_max_str_digits" else "set_int_max_str_digits")(value)


def _signals() -> Values:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {name: _signal.getsignal(number) for name, number in _signal_numbers()}


@cache
def _signal_numbers() -> tuple[tuple[str, int], ...]:
    import signal

    # The interrupt is the kernel's and this package's own.
    numbers = [number for number in signal.valid_signals() if isinstance(number, signal.Signals)]
    return tuple((number.name, int(number)) for number in numbers if number != signal.SIGINT)


def _set_signals(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - a signal is never gone
    import signal

    for name, handler in values.items():
        signal.signal(signal.Signals[name], handler)


def _level_names() -> Values:
    return dict(logging._levelToName)  # noqa: SLF001 - there is no public way on 3.11 to see both directions


def _set_level_names(values: Values, gone: list[int]) -> None:  # noqa: ARG001 - a name is never gone
    for level, name in values.items():
        logging.addLevelName(level, name)


class LoadedModules:
    """The modules that are loaded: a cell that takes one out, to import it a second time, is not stored."""

    name = "loaded modules"
    library: str | None = None
    first = False

    def __init__(self, words: frozenset[str]) -> None:
        self._words = words

    def snapshot(self) -> dict[str, ModuleType]:
        """Return them where the words of the cell may take some out."""
        return dict(sys.modules) if "modules" in self._words else {}

    def told(self) -> Values:
        """Return nothing."""
        return {}

    def difference(self, before: dict[str, ModuleType]) -> None:
        """Raise where one is gone, or another in its place."""
        if gone := [name for name, module in before.items() if sys.modules.get(name) is not module]:
            raise EncodeError(f"it takes {gone[0]} out of the loaded modules")

    def apply(self, data: object) -> None:
        """Do nothing: never stored."""

    def requirement(self, before: object, changed: None, words: frozenset[str]) -> None:
        """Require nothing."""

    def refusal(self, data: object) -> None:
        """Refuse nothing."""


class Logging:
    """Levels and handlers of loggers; a handler that no words can tell is an obstacle.

    A new handler goes into the pickle of the cell as it is, so that a variable that holds it goes on holding it.
    """

    name = "logging"
    library: str | None = None
    first = False

    def snapshot(self) -> dict[str, tuple[Any, ...]]:
        """Return each logger's settings as they are, cheaply: handlers are described where they differ."""
        manager = logging.Logger.manager
        found = {"": _logger_state(logging.root)}
        inner = _inner_state(logging.root)
        for name, logger in list(manager.loggerDict.items()):
            if isinstance(logger, logging.Logger):
                found[name] = _logger_state(logger)
                if logger.handlers or logger.filters:
                    inner |= _inner_state(logger)
        return {**found, "\0": (manager.disable, inner, next(reversed(sys.modules)))}

    def told(self) -> Values:
        """Return what differs from a fresh logger."""
        states = {name: state for name, state in self.snapshot().items() if name != "\0" and state != _FRESH}
        return {
            name or "root": [*state[:-1], [describe_handler(one, lenient=True) for one in state[-1]]]
            for name, state in states.items()
        }

    def difference(self, before: dict[str, tuple[Any, ...]]) -> Values | None:
        """Return the loggers that differ, and the handlers that came and are gone."""
        now = self.snapshot()
        data = {}
        for name, state in now.items():
            was = before.get(name, _FRESH)
            if state == was:
                continue
            if name == "\0":
                _check_inner(was[1], state[1])
                if state[0] != was[0]:
                    data[name] = {"disable": state[0]}
                continue
            came = [one for one in state[-1] if one not in was[-1]]
            if came and name not in before and name.partition(".")[0] in _packages_since(before["\0"][2]):
                came = []  # a package adds its handlers when it is imported, which a hit does too
            gone = [one for one in was[-1] if one not in state[-1]]
            if state[:-1] == was[:-1] and not came and not gone:
                continue
            data[name] = {
                "fields": {field: new for field, new, old in zip(_FIELDS, state, was, strict=False) if new != old},
                "came": [one for one in came if describe_handler(one)],  # or it raises
                "gone": [describe_handler(one) for one in gone],
                "before": [describe_handler(one, lenient=True) for one in was[-1]],
            }
        return data or None

    def apply(self, data: Values) -> None:
        """Set levels, add and remove handlers."""
        for name, change in data.items():
            if name == "\0":
                logging.disable(change["disable"])
                continue
            logger = logging.getLogger(name) if name else logging.root
            for field, value in change["fields"].items():
                (logger.setLevel if field == "level" else _setter(logger, field))(value)
            for described in change["gone"]:
                found = (one for one in logger.handlers if describe_handler(one, lenient=True) == described)
                if (handler := next(found, None)) is not None:
                    logger.removeHandler(handler)
            for handler in change["came"]:
                logger.addHandler(handler)

    def requirement(
        self, before: dict[str, tuple[Any, ...]], changed: Values | None, words: frozenset[str]
    ) -> str | None:
        """Require what the root logger, and each that the words name, was: `basicConfig` does nothing a second time."""
        if not words & {"basicConfig", "getLogger", "dictConfig", "fileConfig", "addHandler", "setLevel"}:
            return None
        named = {"", *(name for name in before if name and name.rpartition(".")[2] in words)} - set(changed or ())
        told = []
        for name in sorted(named):
            *fields, handlers = state = before.get(name, _FRESH)
            if name and state == _FRESH:
                continue  # there or not: asking for a logger makes it, and so does loading what holds it
            told.append([name, *fields, [describe_handler(one, lenient=True) for one in handlers]])
        return digest_of(told) if told else None

    def refusal(self, data: Values) -> str | None:
        """Refuse where a logger has other handlers than it had: adding one might make two."""
        for name, change in data.items():
            if name == "\0" or not change["came"] + change["gone"]:
                continue
            logger = logging.getLogger(name) if name else logging.root
            if [describe_handler(one, lenient=True) for one in logger.handlers] != change["before"]:
                return f"the handlers of {name or 'the root logger'} differ from when it ran"
        return None


def _packages_since(last: str) -> set[str]:
    """Return the packages of which something was imported after the module `last` was."""
    names = list(sys.modules)
    since = names[names.index(last) + 1 :] if last in sys.modules else names
    return {name.partition(".")[0] for name in since}


def _inner_state(logger: logging.Logger) -> dict[int, Any]:  # Any: what is compared with itself later
    """Return what cannot be set again: the filters of a logger, and what its handlers are made of."""
    handlers = {
        id(handler): (handler.filters[:], describe_handler(handler, lenient=True)) for handler in logger.handlers
    }
    return {id(logger): logger.filters[:], **handlers}


def _check_inner(before: dict[int, Any], now: dict[int, Any]) -> None:  # Any: as above
    new = [value for key, value in now.items() if key not in before and isinstance(value, list)]
    if any(now[key] != before[key] for key in now.keys() & before.keys()) or any(new):
        raise EncodeError("the cell changes a handler or the filters of a logger")


_FIELDS = ("level", "propagate", "disabled")
_FRESH: tuple[Any, ...] = (logging.NOTSET, True, False, ())


def _logger_state(logger: logging.Logger) -> tuple[Any, ...]:
    return (logger.level, logger.propagate, logger.disabled, tuple(logger.handlers))


def _setter(logger: logging.Logger, field: str) -> Any:  # Any: a setter of whatever type the field has
    return lambda value: setattr(logger, field, value)


_CATEGORIES = ("LC_CTYPE", "LC_COLLATE", "LC_TIME", "LC_MONETARY", "LC_MESSAGES", "LC_NUMERIC")
_ANY_ENVIRONMENT = frozenset({"environ", "putenv", "setenv", "env", "set_env", "load_dotenv"})

PROCESS = (
    NamedValues("environment", environment, _set_environment, first=True, hints=_ANY_ENVIRONMENT, always=False),
    WorkingFolder(),
    ListedEntries(
        "sys.path",
        lambda: sys.path,
        importlib.invalidate_caches,
        first=True,
        hints=frozenset({"path", "sys", "addsitedir"}),
    ),
    ListedEntries(
        "warnings filters",
        lambda: warnings.filters,  # type: ignore[arg-type,return-value] # typeshed has a Sequence
        _warnings_changed,
        moves=True,
        hints=frozenset({"filterwarnings", "simplefilter", "resetwarnings", "captureWarnings"}),
    ),
    NamedValues(
        "locale",
        _locales,
        _set_locales,
        hints=frozenset({"setlocale"}),
        used=frozenset({"locale.", "strftime", "strptime", "strcoll", "strxfrm"}),
    ),
    NamedValues(
        "time zone",
        lambda: {"TZ": (time.timezone, *time.tzname)},
        lambda values, gone: None,  # noqa: ARG005 - it comes with the environment
        used=frozenset({"localtime", "mktime", "strftime", "ctime", "asctime", "fromtimestamp", "astimezone"}),
    ),
    ListedEntries("callbacks of the collector", lambda: gc.callbacks, lambda: None, hints=frozenset({"callbacks"})),
    NamedValues("signals", _signals, _set_signals, hints=frozenset({"signal"})),
    NamedValues("names of levels", _level_names, _set_level_names, hints=frozenset({"addLevelName"})),
    NamedValues(
        "interpreter",
        _interpreter,
        _set_interpreter,
        hints=frozenset(
            {"setrecursionlimit", "setswitchinterval", "set_int_max_str_digits", "setdefaulttimeout", "gc"}
        ),
        used=frozenset({"getrecursionlimit", "getswitchinterval", "get_int_max_str_digits", "getdefaulttimeout"}),
    ),
    Logging(),
)
"""The watchers of this module, in the order in which they are applied."""


# Threads that run code of the user's beside the cells: what they do, and when, is no part of any cell. A cell that
# starts one and does not wait for its end would not start it on a hit. While it runs, any cell may see what it has done
# so far, or wait for it by the clock, so none is stored, and none is served. Threads of libraries (a pool's workers,
# progress bars, the kernel's own) wait for work, and are none of these until they run code of the user's.


def running_beside(before: Collection[threading.Thread] | None = None) -> str:
    """Return why a cell cannot be told apart from what runs beside it, a thread or a tracer; empty where nothing does.

    Parameters
    ----------
    before
        The threads that there were when the cell began; None where it begins now.
    """
    for tracer in (sys.gettrace(), sys.getprofile()):
        if isinstance(tracer, FunctionType) and is_user_function(tracer):
            return f"{tracer.__name__} sees all that it calls"
    here = threading.current_thread()
    for thread in threading.enumerate():
        if thread is here or thread is threading.main_thread():
            continue
        # No variable holds all frames: this one is among them, and would hold itself, and what the cell lets go.
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the only way to tell who is busy
        if _is_users(thread, frame, is_new=before is not None and thread not in before):
            return f"the thread {thread.name} runs beside it"
    return ""


def _is_users(thread: threading.Thread, frame: FrameType | None, *, is_new: bool) -> bool:
    kind, target = type(thread), getattr(thread, "_target", None) or getattr(thread, "function", None)
    if isinstance(target, MethodType):
        target = target.__func__
    if _is_ours(str(getattr(target, "__module__", ""))):
        return False
    if kind is threading.Timer or (isinstance(target, FunctionType) and is_user_function(target)):
        return True
    if kind is threading.Thread:
        if getattr(target, "__module__", None) == _POOLS:
            return _is_busy(thread)
        # `Thread(target=server.run)` is the user's. What a library starts for its own sake has a class of its own, or
        # calls what nobody else would.
        if is_new and not _is_inner(target):
            return True
    elif is_user_class(kind) and not _is_ours(kind.__module__):
        return True
    while frame is not None:
        if _is_of_user(str(frame.f_globals.get("__name__"))):
            return True
        frame = frame.f_back
    return False


def _is_inner(target: object) -> bool:
    """Tell whether what a thread calls is a library's own: a private function, or one inside another."""
    return any(part.startswith(("_", "<")) for part in str(getattr(target, "__qualname__", "")).split("."))


def _is_busy(worker: threading.Thread) -> bool:
    """Tell whether a worker of a pool has something to do: it waits for that in its own function."""
    for _ in range(_LOOKS):
        frame = sys._current_frames().get(worker.ident or 0)  # noqa: SLF001 - as above
        is_waiting = frame is None or frame.f_code.co_name == "_worker"
        if is_waiting and not any(hasattr(one, "qsize") and one.qsize() > 0 for one in getattr(worker, "_args", ())):
            return False
        time.sleep(0.001)  # who has just given a result is about to wait
    return True


_LOOKS: Final = 4
_POOLS: Final = "concurrent.futures.thread"


def _is_of_user(name: str) -> bool:
    if name == "__main__":
        return True
    module = sys.modules.get(name)
    return module is not None and not _is_ours(name) and is_user_module(module)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in _OURS


_OURS: Final = frozenset(
    {__name__.partition(".")[0], "ipykernel", "IPython", "jupyter_client", "tornado", "zmq", "asyncio"}
)
"""What sees to a session, wherever it is installed: a folder on the search path would be the user's."""
