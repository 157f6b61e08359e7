"""Codes of the values of the standard library whose own pickled form differs between processes or Python versions."""

from __future__ import annotations

import datetime
import enum
import functools
import logging
import pathlib
import re
from typing import TYPE_CHECKING, Any

from awaitly_nb.keys.values_scalars import encode_int, encode_text
from awaitly_nb.keys.values_walk import Refusal, node, seal

if TYPE_CHECKING:
    from awaitly_nb.keys.values_walk import Encoder, Walk

__all__ = ["BASES", "BY_NAME", "EXACT", "is_derived"]


def is_derived(cls: type, name: str) -> bool:
    """Tell whether an attribute of an instance of `cls` is what a `cached_property` has kept of the others."""
    for base in cls.__mro__:
        if name in base.__dict__:
            return isinstance(base.__dict__[name], functools.cached_property)
    return False


def _enum(walk: Walk, value: enum.Enum) -> bytes:
    parts = node("enum")
    parts.update(walk.class_code(type(value)) + encode_text(value.name or ""))
    # A bare object() is a mark, and its name says which one.
    parts.update(encode_text("object") if type(value.value) is object else walk.part(value.value, ".value"))
    return seal(parts)


def _path(_walk: Walk, value: pathlib.PurePath) -> bytes:
    parts = node("path")
    # By bare class name: Python 3.13 moved the classes to `pathlib._local`.
    parts.update(encode_text(type(value).__name__) + encode_text(str(value)))
    return seal(parts)


def _pattern(walk: Walk, value: re.Pattern[Any]) -> bytes:
    parts = node("pattern")
    parts.update(walk.encode(value.pattern) + encode_int(int(value.flags)))
    return seal(parts)


def _logger(_walk: Walk, value: logging.Logger) -> bytes:
    parts = node("logger")
    parts.update(encode_text(value.name))
    return seal(parts)


def _date(_walk: Walk, value: datetime.date) -> bytes:
    parts = node("date")
    parts.update(b"".join(map(encode_int, (value.year, value.month, value.day))))
    return seal(parts)


def _datetime(walk: Walk, value: datetime.datetime) -> bytes:
    parts = node("datetime")
    numbers = (
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.fold,
    )
    parts.update(b"".join(map(encode_int, numbers)) + walk.part(value.tzinfo, ".tzinfo"))
    return seal(parts)


def _time(walk: Walk, value: datetime.time) -> bytes:
    parts = node("time")
    numbers = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    parts.update(b"".join(map(encode_int, numbers)) + walk.part(value.tzinfo, ".tzinfo"))
    return seal(parts)


def _timedelta(_walk: Walk, value: datetime.timedelta) -> bytes:
    parts = node("timedelta")
    parts.update(b"".join(map(encode_int, (value.days, value.seconds, value.microseconds))))
    return seal(parts)


def _zone(_walk: Walk, value: Any) -> bytes:  # Any: zoneinfo is not imported here
    if value.key is None:
        raise Refusal("a time zone read from a file has no name", "use zoneinfo.ZoneInfo(name)")
    parts = node("zone")
    parts.update(encode_text(value.key))
    return seal(parts)


EXACT: dict[type, Encoder] = {
    datetime.date: _date,
    datetime.datetime: _datetime,
    datetime.time: _time,
    datetime.timedelta: _timedelta,
    pathlib.PosixPath: _path,
    pathlib.PurePosixPath: _path,
    pathlib.PureWindowsPath: _path,
    pathlib.WindowsPath: _path,
    re.Pattern: _pattern,
}
"""By exact type: a subclass may carry more, and is read by class and state."""

BASES: dict[type, Encoder] = {enum.Enum: _enum, logging.Logger: _logger}
"""For a type and its subclasses."""

BY_NAME: dict[tuple[str, str], Encoder] = {("zoneinfo", "ZoneInfo"): _zone}
"""By module and name, for types whose module need not be loaded."""
