"""Codes of objects: by class and state where they have state, by name where they have a name, else refused.

Plain objects, dataclasses, attrs, pydantic models, exceptions, estimators, and the containers of the standard library
all come through the one door that copying and pickling use, `__reduce_ex__`; nothing is pickled. What that door gets
wrong for keys is told apart before: enums, functions, loggers, paths, iterators. A type that is registered
(`register_key`, `__awaitly_key__`) goes its own way; a registration by name costs nothing until a value of that type
turns up, and never imports the library.
"""

from __future__ import annotations

import copyreg
import datetime
import enum
import functools
import io
import itertools
import os
import pathlib
import re
import sys
import time
import types
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import xxhash

from awaitly_nb.errors import MisuseError, UnkeyableError
from awaitly_nb.frozen import Frozen
from awaitly_nb.keys.origin import functions_of, is_user_module
from awaitly_nb.keys.values import (
    COLUMN_FROM,
    SCALARS,
    WAY_OUT,
    Encoder,
    Refusal,
    Walk,
    add_items,
    add_mapping,
    add_set,
    encode_bytes,
    encode_int,
    encode_text,
    encoders,
    node,
    packed_types,
    seal,
    show_key,
)
from awaitly_nb.result import Err, Ok

if TYPE_CHECKING:
    from hashlib import blake2b

__all__ = [
    "BASES",
    "File",
    "StandIn",
    "by_stand_in",
    "by_state",
    "count_place",
    "encoder_for",
    "file",
    "is_derived",
    "register_key",
    "stand_in_of",
]

_PROTOCOL = 5  # with it, objects hand over large buffers without a copy


def encoder_for(cls: type) -> Encoder:
    """Return how instances of `cls` are read: the nearest known base, else by class and state."""
    if (why := _refused(cls)) is not None:
        return _refuse(*why)
    if (encoder := EXACT.get(cls)) is not None:
        return encoder
    for base in cls.__mro__:
        key = (base.__module__, base.__qualname__)
        if (encoder := _KNOWN.get(base) or BASES.get(base) or BY_NAME.get(key) or _KNOWN_BY_NAME.get(key)) is not None:
            return encoder
        if (reasons := _REFUSED_BY_NAME.get(key)) is not None:
            return _refuse(*reasons)
    return by_state


def by_stand_in(stand_in: Callable[[Any], object]) -> Encoder:
    """Return an encoder that reads what `stand_in` returns in place of the value."""

    def encode(walk: Walk, value: Any) -> bytes:
        parts = node("stand-in")
        parts.update(walk.class_code(type(value)))
        parts.update(walk.part(stand_in(value), ".__awaitly_key__()"))
        return seal(parts)

    return encode


def _refused(cls: type) -> tuple[str, str] | None:
    if cls is object:
        return "a bare object() has no content to tell it from another", "use an enum member or a string as the marker"
    if issubclass(cls, io.IOBase):
        if issubclass(cls, (io.BytesIO, io.StringIO)):
            return None
        return "an open file has a position, not a content", "pass the path, or aw.file(path) for its content"
    if issubclass(cls, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)):
        return "reading it would use it up", "pass a list of its items"
    if cls in _TELLING or cls is itertools.count:
        return None
    if hasattr(cls, "__next__") and str(cls.__module__).partition(".")[0] in sys.stdlib_module_names:
        return "reading an iterator would use it up", "pass a list of its items"
    return None


_TELLING: frozenset[type] = frozenset(
    [
        *(type(iter([])), type(iter(())), type(iter("")), type(iter("\u00e9")), type(iter(b""))),
        *(type(iter(range(0))), type(iter(range(1 << 70))), type(reversed([])), zip, map, filter),
    ]
)
"""Iterators that tell what they go over, and how far they are, without being used up."""
_CACHE = ("what a cache holds comes and goes, and no key can name it", "pass key=, or read the cache elsewhere")
_REFUSED_BY_NAME = {
    ("awaitly_nb.cache.memory", "MappingCache"): _CACHE,
    ("awaitly_nb.cache.stepcache", "StoredCache"): _CACHE,
    ("pyarrow._dataset", "Dataset"): ("it is a plan, and does not hold what it will read", "pass aw.file(path)"),
    ("matplotlib.artist", "Artist"): ("a figure is drawn on, and has no content to compare", "pass the data it shows"),
    ("ipywidgets.widgets.widget", "Widget"): ("a widget lives in the browser too", "pass its .value"),
    ("sqlalchemy.engine.base", "Engine"): ("a connection has no content", "pass the URL, or leave it out with ignore="),
    ("sqlalchemy.engine.base", "Connection"): (
        "a connection has no content",
        "pass the URL, or leave it out with ignore=",
    ),
    ("sqlite3", "Connection"): ("a connection has no content", "pass the path, or leave it out with ignore="),
}


def _refuse(why: str, way_out: str = WAY_OUT) -> Encoder:
    def encode(_walk: Walk, _value: Any) -> bytes:
        raise Refusal(why, way_out)

    return encode


def by_state(walk: Walk, value: Any) -> bytes:  # Any: whatever nothing nearer is known of
    """Return the code of an object by its class and the state that it would be pickled with."""
    cls = type(value)
    walk.by_state[cls] = None
    # dask registers a way for exceptions that takes their tracebacks along, with its import; the key must not see that.
    reducer = None if isinstance(value, BaseException) else copyreg.dispatch_table.get(cls)
    try:
        reduced = reducer(value) if reducer is not None else value.__reduce_ex__(_PROTOCOL)
    except Refusal:
        raise
    except Exception as exc:
        raise Refusal(f"it has no state that can be read ({exc})") from exc
    if isinstance(reduced, str):
        return _by_name(walk, value, reduced)
    if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 6:  # noqa: PLR2004 - pickle's own rule
        raise Refusal(f"its __reduce_ex__ returned {type(reduced).__name__}, not a tuple of 2 to 6 parts")
    make, args, state, items, pairs, _setter = (*reduced, None, None, None, None)[:6]
    parts = walk.begun("object", cls, make, ".__reduce_ex__()[0]")
    if len(reduced) == 2 and not isinstance(value, BaseException) and (code := _of_scalars(args)) is not None:  # noqa: PLR2004 - no state
        if cls in _ATOMIC and make is cls and reducer is None:
            walk.scalars = {**walk.scalars, cls: functools.partial(_atomic, parts.copy())}
        parts.update(code)
        return seal(parts)
    args = tuple(args or ())
    if args and args[0] is cls:
        args = (None, *args[1:])
    add_items(walk, parts, args, lambda i: "" if len(args) <= 2 else f".__reduce_ex__()[1][{i}]")  # noqa: PLR2004
    _add_state(walk, parts, cls, state)
    if isinstance(value, BaseException) and (value.__cause__ or value.__context__) is not None:
        parts.update(b"e" + walk.part(value.__cause__, ".__cause__") + walk.part(value.__context__, ".__context__"))
    if items is not None:
        add_items(walk, parts, items)
    parts.update(b";")
    if pairs is not None:
        pairs = list(pairs)
        parts.update(encode_int(len(pairs)))
        add_items(walk, parts, [key for key, _ in pairs], lambda i: f"<key {i}>")
        add_items(walk, parts, [item for _, item in pairs], lambda i: show_key(pairs[i][0]))
    return seal(parts)


_ATOMIC = frozenset({Decimal, Fraction})
"""Of these nothing leads anywhere, so that a walk need not note where it stands: thousands are read as scalars are."""


def _atomic(begun: blake2b, value: Any) -> bytes:
    """Return what `by_state` does for one more of the `_ATOMIC`."""
    parts = begun.copy()
    parts.update(_of_scalars(value.__reduce_ex__(_PROTOCOL)[1]) or b"")
    return seal(parts)


def _of_scalars(args: Any) -> bytes | None:
    """Return what `by_state` writes for a few scalars as arguments and no state, as numbers and dates have."""
    if type(args) is not tuple or not 0 < len(args) < COLUMN_FROM:
        return None
    codes = []
    for arg in args:
        if (scalar := SCALARS.get(type(arg))) is None:
            return None
        codes.append(scalar(arg))
    return b"*%d:%bsN;" % (len(codes), b"".join(codes))


def _add_state(walk: Walk, parts: blake2b, cls: type, state: Any) -> None:
    if type(state) is dict and not state:
        state = None  # an object that was once asked for its attributes has an empty dictionary of them
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict:  # noqa: PLR2004 - object's own form: dict, slots
        parts.update(b"2")
        _add_state(walk, parts, cls, state[0])
        _add_state(walk, parts, cls, state[1])
    elif type(state) is list and hasattr(cls, "__dataclass_fields__") and len(state) == len(cls.__dataclass_fields__):
        parts.update(b"f")
        names = list(cls.__dataclass_fields__)
        add_items(walk, parts, state, lambda i: f".{names[i]}")
    elif type(state) is dict and all(type(key) is str for key in state):
        # attrs stores an instance's own hash here, which differs from process to process.
        names = sorted(name for name in state if name != "_attrs_cached_hash" and not is_derived(cls, name))
        if not names:
            parts.update(b"s" + walk.encode(None))  # as an object says that has no attributes
            return
        parts.update(b"a" + encode_int(len(names)) + b"".join(map(encode_text, names)))
        for name in names:
            if name == "__dict__" and type(state[name]) is dict:
                _add_state(walk, parts, cls, state[name])
            else:
                parts.update(walk.part(state[name], f".{name}"))
    else:
        parts.update(b"s" + walk.part(state, ".__getstate__()"))


def _by_name(walk: Walk, value: Any, name: str) -> bytes:
    if callable(value) and hasattr(value, "__wrapped__"):
        return _function(walk, value)
    parts = node("global")
    parts.update(walk.class_code(type(value)))
    module = getattr(value, "__module__", None) or type(value).__module__
    parts.update(encode_text(f"{module}.{name}"))
    return seal(parts)


def _function(walk: Walk, value: Any) -> bytes:
    parts = node("function")
    module = getattr(value, "__module__", None) or ""
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        parts.update(encode_text(f"{module}.{value.__qualname__}"))
    else:
        from awaitly_nb.keys.graph import function_digest

        parts.update(encode_text(function_digest(value)))
        # Nobody knows here what is read of it. What a decorator noted (`__wrapped__`) is in the digest.
        for name, attribute in sorted(getattr(value, "__dict__", {}).items()):
            if type(value) is types.FunctionType and not name.startswith("__"):
                parts.update(encode_text(name) + walk.part(attribute, f".{name}"))
    return seal(parts)


def _method(walk: Walk, value: types.MethodType) -> bytes:
    parts = node("method")
    parts.update(walk.part(value.__func__, ".__func__") + walk.part(value.__self__, ".__self__"))
    return seal(parts)


def _builtin(walk: Walk, value: Any) -> bytes:
    parts = node("builtin")
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        parts.update(encode_text(f"{value.__module__}.{value.__qualname__}"))
    else:
        parts.update(encode_text(value.__name__) + walk.part(owner, ".__self__"))
    return seal(parts)


def _descriptor(walk: Walk, value: Any) -> bytes:
    parts = node("descriptor")
    parts.update(walk.class_code(value.__objclass__) + encode_text(value.__name__))
    return seal(parts)


def _class(walk: Walk, value: type) -> bytes:
    parts = node("class")
    parts.update(walk.class_code(value))
    return seal(parts)


def _partial(walk: Walk, value: functools.partial[Any]) -> bytes:
    parts = node("partial")
    parts.update(walk.class_code(type(value)))
    parts.update(
        walk.part(value.func, ".func") + walk.part(value.args, ".args") + walk.part(value.keywords, ".keywords")
    )
    return seal(parts)


def _wrapper(walk: Walk, value: Any) -> bytes:
    parts = node(type(value).__name__)
    parts.update(walk.part(value.__func__, ".__func__"))
    return seal(parts)


def _result(walk: Walk, value: Ok[Any] | Err[Any]) -> bytes:
    # Without the mark: when and where a result was computed is no part of what it is.
    parts = node(type(value).__name__)
    if isinstance(value, Ok):
        parts.update(walk.part(value.value, ".value"))
    else:
        parts.update(walk.part(value.error, ".error") + walk.part(value.cause, ".cause"))
    return seal(parts)


def _property(walk: Walk, value: property) -> bytes:
    parts = node("property")
    for name in ("fget", "fset", "fdel"):
        parts.update(walk.part(getattr(value, name), f".{name}"))
    return seal(parts)


def _module(_walk: Walk, value: types.ModuleType) -> bytes:
    parts = node("module")
    if is_user_module(value):
        from awaitly_nb.keys.graph import function_digest

        parts.update(encode_text(function_digest(value)))
        return seal(parts)
    parts.update(encode_text(value.__name__) + encode_text(_version_of(value.__name__.partition(".")[0])))
    return seal(parts)


def _version_of(package: str) -> str:
    if package in sys.stdlib_module_names:
        return ""
    version = getattr(sys.modules.get(package), "__version__", "")
    return ".".join(version.split(".")[:2]) if isinstance(version, str) else ""


def _subclass_of_set(walk: Walk, value: Any) -> bytes:
    parts = node("object")
    parts.update(walk.class_code(type(value)))
    add_set(walk, parts, value)
    _add_state(walk, parts, type(value), getattr(value, "__dict__", None))
    return seal(parts)


def _named_tuple_or_state(walk: Walk, value: Any) -> bytes:
    cls = type(value)
    fields = getattr(cls, "_fields", None)
    if not isinstance(fields, tuple) or len(fields) != len(value):
        return by_state(walk, value)
    parts = node("namedtuple")
    parts.update(walk.class_code(cls))
    add_items(walk, parts, tuple.__iter__(value), lambda i: f".{fields[i]}")
    _add_state(walk, parts, cls, getattr(value, "__dict__", None))
    return seal(parts)


def _buffer(_walk: Walk, value: Any) -> bytes:
    parts = node("buffer")
    parts.update(encode_bytes(value.raw()))
    return seal(parts)


_KNOWN: dict[type, Encoder] = {
    types.FunctionType: _function,
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    types.MethodWrapperType: _builtin,
    types.WrapperDescriptorType: _descriptor,
    types.MethodDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    types.ModuleType: _module,
    functools.partial: _partial,
    Ok: _result,
    Err: _result,
    staticmethod: _wrapper,
    classmethod: _wrapper,
    property: _property,
    type: _class,
    set: _subclass_of_set,
    frozenset: _subclass_of_set,
    tuple: _named_tuple_or_state,
}


def _workflow(walk: Walk, value: Any) -> bytes:
    parts = node("workflow")
    parts.update(encode_text(value.name) + walk.part(functions_of(value), ".deps"))
    return seal(parts)


def _one_of(walk: Walk, value: Any) -> bytes:
    # Beside the options as they were given it has a tuple of them, whose order is that of a set.
    parts = node("object")
    given = getattr(value, "_original_options", value.options)
    parts.update(walk.class_code(type(value)) + walk.part(given, ".options"))
    return seal(parts)


def _bunch(walk: Walk, value: Any) -> bytes:
    # Beside its items it has attributes of its own, which its `__setstate__` leaves out on purpose.
    parts = node("object")
    parts.update(walk.class_code(type(value)))
    add_mapping(walk, parts, value)
    return seal(parts)


def _tree_of_points(walk: Walk, value: Any) -> bytes:
    # Its state is memory with addresses in it.
    parts = node("object")
    parts.update(walk.class_code(type(value)) + walk.part(value.data, ".data") + walk.part(value.indices, ".indices"))
    parts.update(encode_int(value.leafsize) + walk.part(value.boxsize, ".boxsize"))
    return seal(parts)


def _callbacks(walk: Walk, value: Any) -> bytes:
    # Who listens to a norm or a figure is no part of it, nor pickled; its counter moves when it is asked for a state.
    parts = node("object")
    parts.update(walk.class_code(type(value)))
    return seal(parts)


def _markup(walk: Walk, value: Any) -> bytes:
    """Return the code of a part of a parsed page: the page as text, and where in it the part stands."""
    parts = node("markup")
    parts.update(walk.class_code(type(value)))
    parent = value.parent
    if parent is None:
        builder = type(getattr(value, "builder", None))
        parts.update(encode_text(value.decode() if hasattr(value, "decode") else str(value)))
        parts.update(encode_text(f"{builder.__module__}.{builder.__qualname__}"))
        return seal(parts)
    place: list[int] = []
    while parent is not None:
        # A part that was loaded by itself has a page around it in which a copy of it stands.
        found = [i for i, child in enumerate(parent.contents) if child is value]
        place.append(found[0] if found else next(i for i, child in enumerate(parent.contents) if child == value))
        value, parent = parent, parent.parent
    parts.update(walk.part(value, ".root") + walk.part(place[::-1], ".place"))
    return seal(parts)


def _plotly(walk: Walk, value: Any) -> bytes:
    # Its dictionaries say the same in whatever order, and come back from a pickle in another.
    parts = node("object")
    parts.update(walk.class_code(type(value)) + walk.part(_ordered(value.to_dict()), ".to_dict()"))
    return seal(parts)


def _ordered(value: Any) -> Any:
    if type(value) is dict:
        return {name: _ordered(value[name]) for name in sorted(value, key=str)}
    return [_ordered(item) for item in value] if type(value) in (list, tuple) else value


_KNOWN_BY_NAME: dict[tuple[str, str], Encoder] = {
    ("bs4.element", "PageElement"): _markup,
    ("matplotlib.cbook", "CallbackRegistry"): _callbacks,
    ("plotly.basedatatypes", "BaseFigure"): _plotly,
    ("scipy.spatial._ckdtree", "cKDTree"): _tree_of_points,
    ("sklearn.utils._bunch", "Bunch"): _bunch,
    ("attr.validators", "_InValidator"): _one_of,
    ("awaitly_nb.workflow.workflows", "Workflow"): _workflow,
    ("pickle", "PickleBuffer"): _buffer,
}


# -- types of the standard library -------------------------------------------------------------------------------------


def is_derived(cls: type, name: str) -> bool:
    """Tell whether an attribute of an instance of `cls` is what a `cached_property` has stored of the others."""
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


def _match(walk: Walk, value: re.Match[Any]) -> bytes:
    parts = node("match")
    for part in (value.re, value.string, value.pos, value.endpos, value.regs, value.lastindex):
        parts.update(walk.part(part, ""))
    return seal(parts)


def _count(walk: Walk, value: Any) -> bytes:  # Any: an itertools.count
    """Read one of whole numbers by its text, which uses nothing up; that of others leaves something out."""
    place = count_place(repr(value))
    if place is None:
        raise Refusal("reading an iterator would use it up", "pass a list of its items")
    parts = node("count")
    parts.update(walk.part(place, ""))
    return seal(parts)


def count_place(text: str) -> tuple[int, int] | None:
    """Return the next number and the step of an `itertools.count`, by its text; None where these are not whole."""
    told = _COUNT.fullmatch(text)
    return None if told is None else (int(told[1]), int(told[2] or 1))


_COUNT = re.compile(r"count\((-?\d+)(?:, (-?\d+))?\)")


def _pattern(walk: Walk, value: re.Pattern[Any]) -> bytes:
    parts = node("pattern")
    parts.update(walk.encode(value.pattern) + encode_int(int(value.flags)))
    return seal(parts)


def _logger(_walk: Walk, value: Any) -> bytes:
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
    re.Match: _match,
    itertools.count: _count,
}
"""By exact type: a subclass may carry more, and is read by class and state."""

BASES: dict[type, Encoder] = {enum.Enum: _enum}
"""For a type and its subclasses."""

BY_NAME: dict[tuple[str, str], Encoder] = {("zoneinfo", "ZoneInfo"): _zone, ("logging", "Logger"): _logger}
"""By module and name, for types whose module need not be loaded."""


# -- types that are registered, and files by content -------------------------------------------------------------------

StandIn: TypeAlias = Callable[[Any], object]  # Any: each function knows its own type
"""Maps a value to something that can be keyed in its place."""

_registered_by_type: dict[type, StandIn] = {}
_registered_by_name: dict[str, StandIn] = {}


def register_key(type_or_qualname: type | str, fn: StandIn) -> None:
    """Key values of a type, and of its subclasses, by what `fn(value)` returns.

    Parameters
    ----------
    type_or_qualname
        The class, or its full name such as `"shapely.geometry.Point"`, which is then not imported.
    fn
        Returns a stand-in made of values that can be keyed, as a tuple of the parts that matter. The class counts
        beside it. A later registration of the same type replaces an earlier one.

    Examples
    --------
    >>> class Model:
    ...     def __init__(self, weights): self.weights, self.log = weights, open
    >>> register_key(Model, lambda model: model.weights)
    """
    if not callable(fn):
        raise MisuseError(
            f"register_key needs a function of the value, not {fn!r}: register_key(Type, lambda v: (v.a, v.b))"
        )
    if isinstance(type_or_qualname, str):
        if not type_or_qualname.strip("."):
            raise MisuseError("register_key needs a class or its full name, such as 'shapely.geometry.Point'")
        _registered_by_name[type_or_qualname] = fn
    elif isinstance(type_or_qualname, type):
        _registered_by_type[type_or_qualname] = fn
        packed_types.discard(type_or_qualname)
    else:
        raise MisuseError(f"register_key needs a class or its full name, not {type_or_qualname!r}")
    encoders.clear()


def stand_in_of(cls: type) -> StandIn | None:
    """Return how values of `cls` are to be keyed in its own way, the nearest class of its MRO deciding, or None."""
    for base in cls.__mro__:
        found = (
            _registered_by_type.get(base)
            or _registered_by_name.get(f"{base.__module__}.{base.__qualname__}")
            or _by_alias(base)
        )
        if found is not None:
            return found
        method = base.__dict__.get("__awaitly_key__")
        if method is not None:
            return _own_key
    return None


def _by_alias(cls: type) -> StandIn | None:
    # Libraries show a class under a shorter name than the module that defines it, as in `shapely.geometry.Point`.
    for name, fn in _registered_by_name.items():
        module, _, attribute = name.rpartition(".")
        if getattr(sys.modules.get(module), attribute, None) is cls:
            return fn
    return None


def _own_key(value: Any) -> object:  # Any: whatever defines the method
    # Looked up on the class, as Python does for special methods: proxies and mocks answer any instance attribute.
    return type(value).__awaitly_key__(value)


class File(Frozen):
    """A file, or a folder with all that is in it, that is keyed by its content. Made by `file`; opens like a path.

    Attributes
    ----------
    path
        Where it is. Not part of the key, but for its suffix, from which readers infer a format or a compression.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __awaitly_key__(self) -> object:
        return self.path.suffix, self.digest()

    def digest(self) -> str:
        """Return the digest of the content, read again only when size, inode or time of change differ."""
        return file_digest(self.path)


def file(path: str | os.PathLike[str]) -> File:
    """Return `path` as a file that is keyed by its content, where a `Path` is keyed by its name.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [Path(folder, name) for name in ("a.csv", "b.csv")]
    ...     _ = [path.write_text("x,y") for path in paths]
    ...     file(paths[0]).digest() == file(paths[1]).digest()
    True
    """
    if isinstance(path, File):
        return path
    if not isinstance(path, (str, os.PathLike)):
        raise MisuseError(f"aw.file needs a path, not {path!r}")
    return File(Path(path))


_FILE_SLICE = 1 << 20
_SETTLED_S = 2.0
"""A file younger than this may change again without a new time stamp (FAT counts in 2 s), so it is read again."""

_digests: dict[str, tuple[tuple[int, ...], str]] = {}


def file_digest(path: Path, *, clock: Callable[[], float] = time.time) -> str:
    """Return the digest of a file's bytes, or of a folder's names and files.

    Raises
    ------
    UnkeyableError
        If it is not there or cannot be read.
    """
    try:
        if path.is_dir():
            return _folder_digest(path, clock)
        found = path.stat()
        stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
        name = str(path.absolute())
        known = _digests.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        bulk = xxhash.xxh3_128()
        with path.open("rb", buffering=0) as stream:
            while data := stream.read(_FILE_SLICE):
                bulk.update(data)
        digest = bulk.hexdigest()
        if clock() - max(found.st_mtime, found.st_ctime) > _SETTLED_S:
            _digests[name] = (stamp, digest)
    except OSError as exc:
        raise UnkeyableError(
            f"cannot key the file {path}: {exc.strerror or exc}; check the path", path=str(path)
        ) from exc
    return digest


def _folder_digest(path: Path, clock: Callable[[], float]) -> str:
    bulk = xxhash.xxh3_128()
    for found in sorted(path.rglob("*")):
        if found.is_file():
            name = found.relative_to(path).as_posix().encode("utf-8", "surrogateescape")
            bulk.update(b"%d:" % len(name) + name + file_digest(found, clock=clock).encode())
    return "folder:" + bulk.hexdigest()
