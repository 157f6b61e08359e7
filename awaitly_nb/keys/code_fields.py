"""What the fields of a class are made with: defaults and their factories, converters, validators, and what they name.

Dataclasses, attrs and pydantic keep an object for each field, and what stands in its slots may be code of the user that
no method of the class mentions. A class that is named by an annotation alone is made all the same, by pydantic or by
whoever reads the annotations. Nothing is imported here: a field is known by where its class keeps it.
"""

from __future__ import annotations

import builtins
import re
import weakref
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_origin

from awaitly_nb.keys.code_graph import ABSENT
from awaitly_nb.keys.code_imports import attribute_of
from awaitly_nb.keys.code_names import names_of
from awaitly_nb.keys.code_origin import is_user_class
from awaitly_nb.keys.tokens import plain_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Inside", "Member", "classes_named", "field_members", "named_in", "shown_field", "shown_type"]

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
