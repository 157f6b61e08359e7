"""A class as code: its methods' own trees, its fields and plain attributes, whatever order they stand in."""

from __future__ import annotations

import functools
import re
from enum import EnumType
from hashlib import blake2b
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, NamedTuple

from awaitly_nb.keys.code_tree import own_tree
from awaitly_nb.keys.tokens import plain_token

__all__ = ["Members", "members"]


class Members(NamedTuple):
    """What a class consists of.

    Attributes
    ----------
    digest, text
        Of its own code; the source is "" where none could be found.
    functions
        Its methods by attribute name, wrappers such as `property` taken off.
    values
        Its data attributes.
    """

    digest: str
    text: str
    functions: tuple[tuple[str, FunctionType], ...]
    values: tuple[tuple[str, object], ...]


_COUNTED_DUNDERS: Final = frozenset({"__slots__", "__match_args__"})
_SKIPPED: Final = frozenset({"_abc_impl"})
_GENERATED: Final = ("<string>", "<attrs generated")
_GENERATORS: Final = ("dataclasses", "attr._make")
_DATACLASS_PARAMS: Final = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_DESCRIPTORS: Final = (GetSetDescriptorType, MemberDescriptorType)


def members(cls: type, *, defaults: bool = True) -> Members:
    """Return what `cls` itself consists of; its bases are classes of their own.

    `defaults=False` leaves the defaults of methods out of the digest, for a caller that counts their values.
    """
    functions: list[tuple[str, FunctionType]] = []
    values: list[tuple[str, object]] = []
    facts: list[str] = [f"class {cls.__qualname__}"]
    text = ""
    for name, value in sorted(vars(cls).items(), key=lambda item: item[0]):
        found = list(_functions(value))
        if any(_is_generated(function) for function in found):
            continue  # by `dataclass` or `attrs`, from the fields that count below, and otherwise on each Python
        for function in found:
            tree = own_tree(function.__code__, function.__globals__)
            if not text and tree.class_text and function.__qualname__ == f"{cls.__qualname__}.{function.__name__}":
                text = tree.class_text
                facts.extend(tree.class_facts)
            facts.append(f"{name} {type(value).__name__} {tree.digest if defaults else tree.body_digest}")
            functions.append((name, function))
        if found or name in _SKIPPED or isinstance(value, _DESCRIPTORS) or type(value).__name__ == "_tuplegetter":
            continue
        if name == "__annotations__":
            facts.extend(f"field {field} {_shown_type(kind)}" for field, kind in value.items())
        elif name in _COUNTED_DUNDERS:
            facts.append(f"{name} {value!r}")
        elif not (name.startswith("__") and name.endswith("__")) and not isinstance(cls, EnumType):
            values.append((name, value))
    if isinstance(cls, EnumType):
        values.extend((member.name, member._value_) for member in cls.__members__.values())  # type: ignore[var-annotated]
    facts.extend(_fields(cls))
    for name, field in vars(cls).get("__dataclass_fields__", {}).items():
        if isinstance(field.default_factory, FunctionType):
            functions.append((f"{name}()", field.default_factory))
    digest = blake2b("\n".join(facts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Members(digest, text, tuple(functions), tuple(values))


def _functions(value: object) -> list[FunctionType]:
    if isinstance(value, FunctionType):
        inner = vars(value).get("__wrapped__")
        return [value, *_functions(inner)] if inner is not None else [value]
    if isinstance(value, staticmethod | classmethod):
        return _functions(value.__func__)
    if isinstance(value, property):
        return [f for part in (value.fget, value.fset, value.fdel) if part is not None for f in _functions(part)]
    if isinstance(value, functools.cached_property):
        return _functions(value.func)
    if isinstance(value, functools.partialmethod):
        return _functions(value.func)
    wrapped = getattr(value, "__dict__", {}).get("__wrapped__") if not isinstance(value, type) else None
    return _functions(wrapped) if wrapped is not None else []


def _is_generated(function: FunctionType) -> bool:
    return function.__code__.co_filename.startswith(_GENERATED) or function.__globals__.get("__name__") in _GENERATORS


def _shown_type(kind: object) -> str:
    if isinstance(kind, str):
        return kind
    if isinstance(kind, type) and not hasattr(kind, "__args__"):
        return kind.__qualname__
    return repr(kind)


def _fields(cls: type) -> list[str]:
    facts: list[str] = []
    params = vars(cls).get("__dataclass_params__")
    if params is not None:
        # Those that every Python records; its repr names more on some.
        facts.append(" ".join(f"{name}={getattr(params, name)}" for name in _DATACLASS_PARAMS))
        for name, field in vars(cls).get("__dataclass_fields__", {}).items():
            facts.append(
                f"dataclass {name} {_shown_type(field.type)} {field.init} {field.repr} {field.hash} {field.compare} "
                f"{field.kw_only} {_default(field.default)} {_default(field.default_factory)}"
            )
    for name, field in vars(cls).get("__pydantic_fields__", {}).items():
        facts.append(f"pydantic {name} {_ADDRESS.sub('', repr(field))}")
    facts.extend(
        f"attrs {field.name} {field.init} {field.eq} {_default(field.default)}"
        for field in vars(cls).get("__attrs_attrs__", ())
    )
    return facts


def _default(value: Any) -> str:  # Any: whatever a field's default is
    token = plain_token(value)
    if token is not None:
        return token
    if isinstance(value, FunctionType):
        return own_tree(value.__code__, value.__globals__).digest
    return str(getattr(value, "__qualname__", type(value).__qualname__))
