"""Handlers of loggers in words: those of the standard library, with what they write to and how."""

from __future__ import annotations

import logging
import sys
from typing import Any

from awaitly_nb.errors import EncodeError
from awaitly_nb.installed import is_installed_path

__all__ = ["all_handlers", "describe_handler", "handlers_of", "make_handler"]


def describe_handler(handler: logging.Handler, *, lenient: bool = False) -> dict[str, Any]:
    """Return what a handler is made of.

    Parameters
    ----------
    lenient
        Whether the description only has to tell it apart, and nobody makes one of it.

    Raises
    ------
    EncodeError
        Words cannot tell it.
    """
    told: dict[str, Any] = {"kind": type(handler).__name__, "level": handler.level, "name": handler.name}
    formatter = handler.formatter
    if formatter is not None:
        style = type(getattr(formatter, "_style", None)).__name__
        told["format"] = (getattr(formatter, "_fmt", None), formatter.datefmt, _STYLES.get(style))
        plain = type(formatter) is logging.Formatter and style in _STYLES
    else:
        plain = True
    plain = plain and not handler.filters
    match type(handler):
        case logging.StreamHandler:
            stream = handler.stream  # type: ignore[attr-defined] # mypy does not narrow by a class pattern of `type`
            told["stream"] = next((name for name in ("stdout", "stderr") if getattr(sys, name) is stream), None)
            plain = plain and told["stream"] is not None
        case logging.FileHandler:
            told.update(file=handler.baseFilename, encoding=handler.encoding)  # type: ignore[attr-defined] # as above
        case logging.NullHandler:
            pass
        case _:
            plain = False
    if not plain and not lenient:
        raise EncodeError(f"the cell adds a {type(handler).__name__} to a logger, which cannot be told in words")
    return told


def make_handler(told: dict[str, Any]) -> logging.Handler:
    """Return a handler of which `describe_handler` told."""
    handler: logging.Handler
    match told["kind"]:
        case "StreamHandler":
            handler = logging.StreamHandler(getattr(sys, told["stream"]))
        case "FileHandler":
            handler = logging.FileHandler(told["file"], encoding=told["encoding"], delay=True)
        case _:
            handler = logging.NullHandler()
    handler.setLevel(told["level"])
    handler.name = told["name"]
    if "format" in told:
        handler.setFormatter(logging.Formatter(*told["format"]))
    return handler


_STYLES = {"PercentStyle": "%", "StrFormatStyle": "{", "StringTemplateStyle": "$"}


def handlers_of(logger: Any) -> list[object]:  # Any: a logger, or what behaves like one
    """Return the handlers that a logger calls, those of the loggers above it too."""
    found: list[object] = []
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found


def all_handlers() -> list[object]:
    """Return the root logger and the handlers of all others, without those of libraries that do nothing.

    Of these each session has others.
    """
    found: list[object] = [logging.root]
    for name, logger in sorted(logging.Logger.manager.loggerDict.items()):
        file = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
        idle = name.partition(".")[0] not in sys.stdlib_module_names and file is not None and is_installed_path(file)
        handlers = getattr(logger, "handlers", ())
        found += [one for one in handlers if not (idle and type(one) is logging.NullHandler)]
    return found
