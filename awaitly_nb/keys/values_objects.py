"""Codes of objects: by class and state where they have state, by name where they have a name, else refused.

Plain objects, dataclasses, attrs, pydantic models, exceptions, estimators, and the containers of the standard library
all come through the one door that copying and pickling use, `__reduce_ex__`; nothing is pickled. What that door gets
wrong for keys is told apart before: enums, functions, loggers, paths, iterators.
"""

from __future__ import annotations

import copyreg
import functools
import io
import sys
import types
from typing import TYPE_CHECKING, Any

from awaitly_nb.keys.code_origin import functions_of, is_user_module
from awaitly_nb.keys.values_containers import add_items, add_set, show_key
from awaitly_nb.keys.values_scalars import encode_bytes, encode_int, encode_text
from awaitly_nb.keys.values_stdlib import BASES, BY_NAME, EXACT, is_derived
from awaitly_nb.keys.values_walk import WAY_OUT, Encoder, Refusal, Walk, node, seal
from awaitly_nb.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import blake2b

__all__ = ["by_stand_in", "by_state", "encoder_for"]

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
    if hasattr(cls, "__next__") and cls.__module__.partition(".")[0] in sys.stdlib_module_names:
        return "reading an iterator would use it up", "pass a list of its items"
    return None


_CACHE = ("what a cache holds comes and goes, and no key can name it", "pass key=, or read the cache elsewhere")
_REFUSED_BY_NAME = {
    ("awaitly_nb.cache.mapping", "MappingCache"): _CACHE,
    ("awaitly_nb.cache.memory", "MemoryCache"): _CACHE,
    ("awaitly_nb.cache.stored", "StoredCache"): _CACHE,
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
    parts = node("object")
    parts.update(walk.class_code(cls))
    parts.update(walk.part(make, ".__reduce_ex__()[0]"))
    args = tuple(args or ())
    if args and args[0] is cls:
        args = (None, *args[1:])
    add_items(walk, parts, args, lambda i: "" if len(args) <= 2 else f".__reduce_ex__()[1][{i}]")  # noqa: PLR2004
    _add_state(walk, parts, cls, state)
    if items is not None:
        add_items(walk, parts, items)
    parts.update(b";")
    if pairs is not None:
        pairs = list(pairs)
        parts.update(encode_int(len(pairs)))
        add_items(walk, parts, [key for key, _ in pairs], lambda i: f"<key {i}>")
        add_items(walk, parts, [item for _, item in pairs], lambda i: show_key(pairs[i][0]))
    return seal(parts)


def _add_state(walk: Walk, parts: blake2b, cls: type, state: Any) -> None:
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict:  # noqa: PLR2004 - object's own form: dict, slots
        parts.update(b"2")
        _add_state(walk, parts, cls, state[0])
        _add_state(walk, parts, cls, state[1])
    elif type(state) is list and hasattr(cls, "__dataclass_fields__") and len(state) == len(cls.__dataclass_fields__):
        parts.update(b"f")
        names = list(cls.__dataclass_fields__)
        add_items(walk, parts, state, lambda i: f".{names[i]}")
    elif type(state) is dict and all(type(key) is str for key in state):
        # attrs keeps an instance's own hash here, which differs from process to process.
        names = sorted(name for name in state if name != "_attrs_cached_hash" and not is_derived(cls, name))
        if not names and any(is_derived(cls, name) for name in state):
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


def _function(_walk: Walk, value: Any) -> bytes:
    parts = node("function")
    module = getattr(value, "__module__", None) or ""
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        parts.update(encode_text(f"{module}.{value.__qualname__}"))
    else:
        from awaitly_nb.keys.code import function_digest

        parts.update(encode_text(function_digest(value)))
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
        from awaitly_nb.keys.code import function_digest

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
    # Beside the options as they were given it keeps a tuple of them, whose order is that of a set.
    parts = node("object")
    given = getattr(value, "_original_options", value.options)
    parts.update(walk.class_code(type(value)) + walk.part(given, ".options"))
    return seal(parts)


_KNOWN_BY_NAME: dict[tuple[str, str], Encoder] = {
    ("attr.validators", "_InValidator"): _one_of,
    ("awaitly_nb.workflow.workflows", "Workflow"): _workflow,
    ("pickle", "PickleBuffer"): _buffer,
}
