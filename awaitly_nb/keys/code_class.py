"""A class as code: its methods' own trees, its fields and plain attributes, whatever order they stand in."""

from __future__ import annotations

import functools
from enum import EnumType
from hashlib import blake2b
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, NamedTuple

from awaitly_nb.keys.code_callables import attributes, has_state
from awaitly_nb.keys.code_fields import Member, field_members, named_in, shown_field, shown_type
from awaitly_nb.keys.code_origin import awaitly_object, is_user_class
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
        Its data attributes, and what its fields are made with.
    named, texts
        Classes of the user that its annotations name, and annotations that are text.
    """

    digest: str
    text: str
    functions: tuple[tuple[str, FunctionType], ...]
    values: tuple[Member, ...]
    named: tuple[type, ...]
    texts: tuple[str, ...]


_COUNTED_DUNDERS: Final = frozenset({"__slots__", "__match_args__"})
_SKIPPED: Final = frozenset({"_abc_impl"})
_GENERATED: Final = ("<string>", "<attrs generated")
_GENERATORS: Final = ("dataclasses", "attr._make")
_DATACLASS_PARAMS: Final = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_DESCRIPTORS: Final = (GetSetDescriptorType, MemberDescriptorType)


def members(cls: type, *, defaults: bool = True) -> Members:
    """Return what `cls` itself consists of; its bases are classes of their own.

    `defaults=False` leaves the defaults of methods out of the digest, for a caller that counts their values.
    """
    functions: list[tuple[str, FunctionType]] = []
    values: list[Member] = []
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
        if (
            (found and not _holds_more(value))
            or name in _SKIPPED
            or isinstance(value, _DESCRIPTORS)
            or type(value).__name__ == "_tuplegetter"
        ):
            continue
        if name == "__annotations__":
            facts.extend(f"field {field} {shown_type(kind)}" for field, kind in value.items())
        elif name in _COUNTED_DUNDERS:
            facts.append(f"{name} {_listed(cls, value)}")
        elif isinstance(cls, EnumType):
            continue
        elif not (name.startswith("__") and name.endswith("__")) or _holds_more(value):
            values.append(Member(name, (name,), value))
    if isinstance(cls, EnumType):
        members_of = vars(cls)["_member_map_"].items()
        values.extend(Member(name, ("_member_map_", name, "_value_"), item._value_) for name, item in members_of)
    facts.extend(_fields(cls))
    annotated = list(named_in(cls))
    values.extend([*field_members(cls), *(found for found in annotated if isinstance(found, Member))])
    named = dict.fromkeys(found for found in annotated if isinstance(found, type))
    texts = dict.fromkeys(found for found in annotated if isinstance(found, str))
    digest = blake2b("\n".join(facts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Members(digest, text, tuple(functions), tuple(values), tuple(named), tuple(texts))


def _functions(value: object) -> list[FunctionType]:
    own = [value] if isinstance(value, FunctionType) else []
    return [*own, *(function for part in _wrapped(value) for function in _functions(part))]


def _wrapped(value: object) -> list[object]:
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [part for part in (value.fget, value.fset, value.fdel) if part is not None]
    if isinstance(value, functools.cached_property | functools.partialmethod):
        return [value.func]
    inner = attributes(value).get("__wrapped__") if not isinstance(value, type) else None
    return [] if inner is None else [inner]


def _holds_more(value: object) -> bool:
    """Tell whether a member is more than the functions in it: by a decorator of the user's, or bound arguments."""
    parts = _wrapped(value)
    if type(value) in _TRANSPARENT:
        return any(_holds_more(part) for part in parts)
    if not parts or isinstance(value, functools.partialmethod):
        return has_state(value) or isinstance(value, functools.partial | functools.partialmethod)
    return is_user_class(type(value)) or awaitly_object(value) or any(_holds_more(part) for part in parts)


_TRANSPARENT: Final = (FunctionType, staticmethod, classmethod, property, functools.cached_property)


def _is_generated(function: FunctionType) -> bool:
    return function.__code__.co_filename.startswith(_GENERATED) or function.__globals__.get("__name__") in _GENERATORS


def _listed(cls: type, names: object) -> str:
    if isinstance(names, str | tuple | list | dict):
        return repr(names)
    # A set has another order in each process, and an iterator is used up; the slots that they made are there.
    return repr(sorted(name for name, value in vars(cls).items() if isinstance(value, MemberDescriptorType)))


def _fields(cls: type) -> list[str]:
    facts: list[str] = []
    params = vars(cls).get("__dataclass_params__")
    if params is not None:
        # Those that every Python records; its repr names more on some.
        facts.append(" ".join(f"{name}={getattr(params, name)}" for name in _DATACLASS_PARAMS))
        for name, field in vars(cls).get("__dataclass_fields__", {}).items():
            facts.append(
                f"dataclass {name} {shown_type(field.type)} {field.init} {field.repr} {field.hash} {field.compare} "
                f"{field.kw_only} {_default(field.default)} {_default(field.default_factory)}"
            )
    for name, field in vars(cls).get("__pydantic_fields__", {}).items():
        facts.append(f"pydantic {name} {shown_field(field)}")
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
