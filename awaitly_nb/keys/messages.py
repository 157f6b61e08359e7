"""What a run's messages depend on: the filters of the warnings it issues, and the loggers it asks.

While a run is traced, a filter that never matches stands before the ones that the run found, and is asked about each
warning that no filter of the run itself decides; lists of filters do not show it. A logger is noticed where it is asked
whether a message counts. Stored are each question and its answer; at a look-up the same question has to be answered
alike.
"""

from __future__ import annotations

import logging
import sys
import warnings
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypeAlias

from awaitly_nb.keys.traces import is_importing, register_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Any, throughout: entries of the list of filters, and plain JSON data.

_MOST: Final = 100

_State: TypeAlias = "tuple[int, tuple[Any, ...], bool, bool]"
"""A logger's level, what tells its handlers, whether it hands on, and whether it is disabled."""

_UNTOUCHED: Final[_State] = (logging.NOTSET, (), True, False)


class _AnyText:
    """Stands for a filter's patterns: matches everything, so that the category is asked for, and remembers what."""

    def __init__(self) -> None:
        self.asked = ""

    def match(self, text: str) -> bool:
        """Remember, and match."""
        self.asked = text
        return True


_message, _module = _AnyText(), _AnyText()


class _Asked(type):
    """Is asked for the category last, when text and module are known."""

    def __subclasscheck__(cls, subclass: type) -> bool:
        _warned(subclass, _message.asked, _module.asked)
        return False


_PROBE: Final[Any] = ("default", _message, _Asked("Asked", (Warning,), {}), _module, 0)


class _Filters(list[Any]):
    """The list of filters while a run is traced: the probe stands in it and does not show."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return (one for one in super().__iter__() if one is not _PROBE)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        if index == slice(None):
            return _Filters(super().__iter__())  # as `catch_warnings` copies it
        return list(self)[index]

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce_ex__(self, _: SupportsIndex) -> Any:
        return list, (list(self),)


def _action(category: type, text: str, module: str) -> str:
    """Return what the filters say of a warning."""
    for action, message, kind, place, line in warnings.filters:
        if _matches(message, text) and issubclass(category, kind) and _matches(place, module) and line == 0:
            return str(action)
    return str(getattr(warnings, "defaultaction", "default"))


def _matches(pattern: Any, text: str) -> bool:
    """Tell whether a filter's pattern matches; those that the interpreter begins with are plain text, or None."""
    if pattern is None or isinstance(pattern, str):
        return pattern is None or pattern == text
    return bool(pattern.match(text))


class _Heard:
    """What one run asked, and the loggers as it found them: what it sets itself before it logs is no input."""

    __slots__ = ("disabled_to", "logged", "loggers", "warned")

    def __init__(self) -> None:
        self.warned: dict[tuple[str, str, str, str], str] = {}
        self.logged: dict[str, dict[str, Any]] = {}
        self.loggers = {"root": _state(logging.root)}
        for name, one in logging.Logger.manager.loggerDict.items():
            if isinstance(one, logging.Logger) and (one.level or one.handlers or not one.propagate or one.disabled):
                self.loggers[name] = _state(one)
        self.disabled_to = logging.root.manager.disable

    def log(self, logger: logging.Logger, level: int) -> None:
        """Note that a logger was asked whether a message of that level counts."""
        if len(self.logged) < _MOST or logger.name in self.logged:
            asked = self.logged.setdefault(logger.name, {})
            if str(level) not in asked:
                asked[str(level)] = _reached(logger, level, self.found, self.disabled_to)

    def level(self, logger: logging.Logger) -> None:
        """Note that a logger was asked for its level."""
        self.logged.setdefault(logger.name, {})["level"] = _effective(logger, self.found)

    def found(self, logger: logging.Logger) -> _State:
        """Return a logger as the run found it; those that are as all begin are not noted."""
        return self.loggers.get(logger.name, _UNTOUCHED)


_runs: list[_Heard] = []


def _warned(category: type, text: str, module: str) -> None:
    key = (category.__module__, category.__qualname__, text, module)
    if all(key in run.warned or len(run.warned) >= _MOST for run in _runs) or is_importing(sys._getframe(1)):  # noqa: SLF001 - who warns
        return
    action = _action(category, text, module)
    for run in _runs:
        if len(run.warned) < _MOST:
            run.warned.setdefault(key, action)


def _is_enabled(logger: logging.Logger, level: int) -> bool:
    """Stand for `Logger.isEnabledFor` while a run is traced."""
    if not is_importing(sys._getframe(1)):  # noqa: SLF001 - who asks
        for run in _runs:
            run.log(logger, level)
    enabled: bool = _plain_is_enabled(logger, level)
    return enabled


def _effective_level(logger: logging.Logger) -> int:
    """Stand for `Logger.getEffectiveLevel` while a run is traced."""
    level: int = _plain_effective_level(logger)
    if sys._getframe(1).f_code is not _plain_is_enabled.__code__:  # noqa: SLF001 - who asks
        for run in _runs:
            run.level(logger)
    return level


_plain_is_enabled: Final[Any] = logging.Logger.isEnabledFor
_plain_effective_level: Final[Any] = logging.Logger.getEffectiveLevel


def _state(logger: logging.Logger) -> _State:
    return logger.level, tuple(_told(handler) for handler in logger.handlers), logger.propagate, logger.disabled


def _told(handler: Any) -> tuple[Any, ...]:
    formatter = handler.formatter
    stream = getattr(handler, "stream", None)
    place = next((name for name in ("stdout", "stderr") if getattr(sys, name) is stream), "")
    layout = None if formatter is None else (getattr(formatter, "_fmt", None), formatter.datefmt)
    return type(handler).__qualname__, handler.level, layout, place


def _effective(logger: logging.Logger | None, state_of: Callable[[logging.Logger], _State]) -> int:
    """Return the level that counts for a logger."""
    while logger is not None:
        if level := state_of(logger)[0]:
            return level
        logger = logger.parent
    return logging.NOTSET


def _reached(logger: logging.Logger, level: int, state_of: Callable[[logging.Logger], _State], disabled_to: int) -> str:
    """Return a digest of the handlers that a message would come to, or nothing where it does not count."""
    if state_of(logger)[3] or disabled_to >= level or level < _effective(logger, state_of):
        return ""
    told: list[Any] = []
    found: logging.Logger | None = logger
    while found is not None:
        _, handlers, propagate, _ = state_of(found)
        told += handlers
        found = found.parent if propagate else None
    return blake2b(repr(told).encode(), digest_size=8).hexdigest()


def _watch() -> None:
    global _original  # noqa: PLW0603 - the list of filters is one for the process
    _original = warnings.filters
    # The version of the filters stays: what was shown once is not to be shown again.
    warnings.filters = _Filters([_PROBE, *warnings.filters])
    logging.Logger.isEnabledFor = _is_enabled  # type: ignore[assignment,method-assign]
    logging.Logger.getEffectiveLevel = _effective_level  # type: ignore[assignment,method-assign]


def _unwatch() -> None:
    if isinstance(warnings.filters, _Filters):
        now = [one for one in list.__iter__(warnings.filters) if one is not _PROBE]
        if isinstance(_original, list):
            _original[:] = now  # the list that others may hold
            warnings.filters = _original
        else:
            warnings.filters = now
    logging.Logger.isEnabledFor = _plain_is_enabled  # type: ignore[method-assign]
    logging.Logger.getEffectiveLevel = _plain_effective_level  # type: ignore[method-assign]


_original: Any = None


class _Messages:
    """The tracer of warnings and of loggers."""

    name = "messages"

    def begin(self) -> _Heard:
        run = _Heard()
        _runs.append(run)
        if len(_runs) == 1:
            _watch()
        return run

    def end(self, begun: _Heard, /) -> Any:
        _runs.remove(begun)
        if not _runs:
            _unwatch()
        if not begun.warned and not begun.logged:
            return None
        return {"warned": [[*key, action] for key, action in begun.warned.items()], "logged": begun.logged}

    def difference(self, used: Any, /) -> str | None:
        for module, name, text, place, action in used["warned"]:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part, None)
            if not isinstance(found, type) or _action(found, text, place) != action:
                return f"the filters of warnings differ for {name}"
        for name, asked in used["logged"].items():
            logger = _nearest(name)
            for level, answer in asked.items():
                if level == "level":
                    now: Any = _effective(logger, _state)
                else:
                    now = _reached(logger, int(level), _state, logging.root.manager.disable)
                if now != answer:
                    return f"the level or the handlers of logger {name} differ"
        return None

    def apply(self, used: Any, /) -> None:
        for run in _runs:
            run.warned |= {tuple(key): action for *key, action in used["warned"]}
            for name, asked in used["logged"].items():
                for level in asked:
                    if level == "level":
                        run.level(_nearest(name))
                    else:
                        run.log(_nearest(name), int(level))


def _nearest(name: str) -> logging.Logger:
    """Return the logger of a name, or the one above it that is there, without making one."""
    known = logging.Logger.manager.loggerDict
    while name:
        found = logging.root if name == "root" else known.get(name)
        if isinstance(found, logging.Logger):
            return found
        name = name.rpartition(".")[0]
    return logging.root


register_tracer(_Messages())
