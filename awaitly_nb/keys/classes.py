"""A class as code: its methods' own trees, its fields and plain attributes, whatever order they stand in.

Dataclasses, attrs and pydantic hold an object for each field, and what stands in its slots (a default, a factory, a
converter, a validator) may be code of the user that no method of the class mentions. A class that is named by an
annotation alone is made all the same, by pydantic or by whoever reads the annotations. Nothing is imported here: a
field is known by where its class has it.
"""

from __future__ import annotations

import builtins
import functools
import re
import weakref
from enum import EnumType
from hashlib import blake2b
from types import FunctionType, GetSetDescriptorType, MappingProxyType, MemberDescriptorType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_origin

from awaitly_nb.keys.code import attribute_of, class_source, names_of, own_tree
from awaitly_nb.keys.graph import ABSENT, attributes, has_state
from awaitly_nb.keys.origin import awaitly_object, is_user_class
from awaitly_nb.keys.parts import plain_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Inside", "Members", "classes_named", "members"]


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
    return Members(digest, text or class_source(cls), tuple(functions), tuple(values), tuple(named), tuple(texts))


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


# -- the fields of a class ---------------------------------------------------------------------------------------------

_FIELDS: Final = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__", "__private_attributes__")
_TYPES: Final = ("type", "annotation")
_ABSENT: Final = frozenset({"_MISSING_TYPE", "_Nothing", "PydanticUndefinedType"})
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


class Member(NamedTuple):
    """Something that stands inside a class, under a name for the reader and the path on which `Inside` finds it."""

    name: str
    path: tuple[object, ...]
    value: object


class Inside:
    """What stands inside a class, by path, without keeping the class alive."""

    __slots__ = ("_cls",)

    def __init__(self, cls: type) -> None:
        self._cls = weakref.ref(cls)

    def get(self, key: tuple[object, ...], default: object, /) -> object:
        """Return what stands at the end of the path `key`, or `default`."""
        cls = self._cls()
        if cls is None:
            return default
        value: Any = vars(cls)  # Any: whatever the path leads through
        try:
            for step in key:
                by_item = isinstance(step, int) or isinstance(value, dict | MappingProxyType)
                value = value[step] if by_item else getattr(value, str(step))
        except (AttributeError, IndexError, KeyError):
            return default
        return value


def field_members(cls: type) -> Iterator[Member]:
    """Yield what the fields of `cls` itself are made with, but for what `shown_field` says in full."""
    for place in _FIELDS:
        for step, field in _fields_at(cls, place):
            if _is_inherited(cls, place, step, field):
                continue
            name = getattr(field, "name", step)
            for slot in getattr(type(field), "__slots__", ()):
                if slot.startswith("_") or slot in _TYPES:
                    continue
                value: Any = getattr(field, slot, None)  # Any: whatever the user gave
                path: tuple[object, ...] = (place, step, slot)
                if type(value).__module__ == "attr._make" and type(value).__name__ == "Factory":
                    path, value = (*path, "factory"), value.factory
                if not _says_all(value) and (slot != "metadata" or value):
                    yield Member(f"{name}.{slot}", path, value)
    if vars(cls).get("__pydantic_complete__") is False:  # until then, nobody knows all that its annotations name
        yield Member("complete", ("__pydantic_complete__",), value=False)


def _fields_at(cls: type, place: str) -> list[tuple[Any, Any]]:
    fields = vars(cls).get(place, ())
    return list(fields.items()) if isinstance(fields, dict) else list(enumerate(fields))


def _is_inherited(cls: type, place: str, step: object, field: object) -> bool:
    # The base that it comes from is a class of its own.
    if getattr(field, "inherited", False):
        return True
    return any(Inside(base).get((place, step), None) is field for base in cls.__mro__[1:])


def _says_all(value: object) -> bool:
    """Tell whether the text of a field says of `value` all that there is to say."""
    if plain_token(value) is not None or type(value).__name__ in _ABSENT:
        return True
    return isinstance(value, type) and value.__module__ == "builtins"


def named_in(cls: type) -> Iterator[type | str | Member]:
    """Yield what the annotations of `cls` name: classes of the user, text to be read, what `Annotated` was given."""
    known: set[str] = set()
    for place in _FIELDS:
        for step, field in _fields_at(cls, place):
            name = getattr(field, "name", step)
            known.add(name)
            if not _is_inherited(cls, place, step, field):
                for slot in _TYPES:
                    yield from _named(getattr(field, slot, None), name, (place, step, slot))
    own = vars(cls).get("__annotations__")
    for name, kind in own.items() if isinstance(own, dict) else ():  # of a metaclass it may be a descriptor
        if name not in known:
            yield from _named(kind, name, ("__annotations__", name))


def classes_named(text: str, home: Mapping[str, Any]) -> Iterator[tuple[str, list[type]]]:
    """Yield the names in an annotation that is text: of classes of the user, and those that stand for nothing yet.

    A name in `home` may also be a module, or an alias as in `Rows = list[Row]`.
    """
    for name, *path in names_of(text):
        value = home.get(name, ABSENT)
        for attribute in path:
            value = attribute_of(value, attribute) if isinstance(value, ModuleType) else ABSENT
        found = [kind for kind in _named(value, "", ()) if isinstance(kind, type)]
        if found or (name not in home and not hasattr(builtins, name)):
            yield name, found


def _named(
    kind: object, name: str, path: tuple[object, ...], around: tuple[object, ...] = ()
) -> Iterator[type | str | Member]:
    if isinstance(kind, str):
        yield kind
        return
    if isinstance(kind, type):
        if is_user_class(kind):
            yield kind
        return
    if isinstance(text := getattr(kind, "__forward_arg__", None), str):
        yield text
        return
    if kind is None or get_origin(kind) is Literal or any(kind is outer for outer in around):
        return  # `type Tree = list[Tree]` names itself
    around = (*around, kind)
    for index, item in enumerate(getattr(kind, "__metadata__", ())):
        if plain_token(item) is None:
            yield Member(f"{name}.metadata[{index}]", (*path, "__metadata__", index), item)
    # What a name made by `type X = ...` or `NewType` stands for, and the class that `Box[int]` is made of.
    for step in ("__value__", "__supertype__", "__origin__"):
        yield from _named(getattr(kind, step, None), name, (*path, step), around)
    for index, inner in enumerate(() if hasattr(kind, "__metadata__") else getattr(kind, "__args__", ())):
        yield from _named(inner, name, (*path, "__args__", index), around)


def shown_type(kind: Any) -> str:  # Any: whatever stands in an annotation
    """Return an annotation as text that is the same in every process; what `Annotated` was given counts by itself."""
    if isinstance(kind, str):
        return kind
    if isinstance(kind, type) and not hasattr(kind, "__args__"):
        return kind.__qualname__
    if not any(isinstance(found, Member) for found in _named(kind, "", ())):
        return _ADDRESS.sub("", repr(kind))
    if hasattr(kind, "__metadata__"):
        given = [plain_token(item) or type(item).__qualname__ for item in kind.__metadata__]
        return f"Annotated[{', '.join([shown_type(kind.__origin__), *given])}]"
    return f"{get_origin(kind)}[{', '.join(map(shown_type, getattr(kind, '__args__', ())))}]"


def shown_field(field: Any) -> str:  # Any: pydantic's FieldInfo
    """Return a field of pydantic as text that is the same in every process; what has no exact text counts by itself."""
    shown = []
    for name, value in field.__repr_args__():
        if name == "annotation":
            text = shown_type(field.annotation) if "Annotated[" in str(value) else _ADDRESS.sub("", str(value))
        elif _says_all(value) or type(value).__name__ == "PlainRepr":
            text = repr(value)
        else:
            text = type(value).__qualname__
        shown.append(f"{name}={text}")
    return f"FieldInfo({', '.join(shown)})"
