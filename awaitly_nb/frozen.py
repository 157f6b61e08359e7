"""Frozen records without generated code: what `@dataclass(frozen=True, slots=True)` gives, for a light start.

The standard library's dataclasses import `inspect`, and compile several methods for each class: a third of the time
that a script needed from `import awaitly_nb` to its first hit. A `Frozen` class has the same faces (keywords, defaults,
equality, hash, repr, `match`, pickling, `replace`), by methods that all of them share. Imports only the stdlib.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, dataclass_transform

__all__ = ["Frozen", "replace"]

R = TypeVar("R", bound="Frozen")


class _FrozenType(type):
    """Turns the annotations of a class into slots, and their defaults into those of `__init__`."""

    _fields: tuple[str, ...]
    _defaults: dict[str, Any]  # Any: each field has its own type

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        kw_only: bool = False,
    ) -> _FrozenType:
        own = [field for field, kind in namespace.get("__annotations__", {}).items() if "ClassVar" not in str(kind)]
        inherited = next((base for base in bases if isinstance(base, _FrozenType)), None)
        defaults = {} if inherited is None else dict(inherited._defaults)  # noqa: SLF001 - of its own kind
        fields = () if inherited is None else inherited._fields
        for field in own:
            if field in namespace:
                defaults[field] = namespace.pop(field)
        added = tuple(field for field in own if field not in fields)
        namespace["__slots__"] = (*added, *namespace.pop("__slots__", ()))
        namespace["_fields"] = (*fields, *added)
        namespace["_defaults"] = defaults
        namespace["_kw_only"] = kw_only
        namespace.setdefault("__match_args__", () if kw_only else namespace["_fields"])
        return super().__new__(mcs, name, bases, namespace)


@dataclass_transform(frozen_default=True)
class _Base(metaclass=_FrozenType):
    __slots__ = ()


class Frozen(_Base):
    """Base of frozen records: the annotated attributes of a subclass are its fields.

    Examples
    --------
    >>> class Point(Frozen):
    ...     x: int
    ...     y: int = 0
    >>> Point(1), replace(Point(1), y=2) == Point(1, 2)
    (Point(x=1, y=0), True)
    """

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, Any]]
    _kw_only: ClassVar[bool]

    def __init__(self, *args: Any, **given: Any) -> None:  # Any: each field has its own type
        cls = type(self)
        fields, set_field = cls._fields, object.__setattr__
        if args:
            if cls._kw_only or len(args) > len(fields):
                raise TypeError(f"{cls.__name__}() takes {0 if cls._kw_only else len(fields)} positional arguments")
            for name, value in zip(fields, args, strict=False):
                if name in given:
                    raise TypeError(f"{cls.__name__}() got two values for {name!r}")
                set_field(self, name, value)
            fields = fields[len(args) :]
        defaults = cls._defaults
        for name in fields:
            if name in given:
                set_field(self, name, given.pop(name))
            elif name in defaults:
                set_field(self, name, defaults[name])
            else:
                raise TypeError(f"{cls.__name__}() misses the argument {name!r}")
        if given:
            raise TypeError(f"{cls.__name__}() got an unexpected argument {next(iter(given))!r}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields; called at the end of `__init__`."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}: a {type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete field {name!r}: a {type(self).__name__} is frozen")

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._fields])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__qualname__}({shown})"

    def __getstate__(self) -> list[Any]:
        return list(self._values())

    def __setstate__(self, state: list[Any]) -> None:
        for name, value in zip(self._fields, state, strict=True):
            object.__setattr__(self, name, value)

    def __replace__(self: R, /, **changes: Any) -> R:
        for name in self._fields:
            changes.setdefault(name, getattr(self, name))
        return type(self)(**changes)


def replace(record: R, **changes: Any) -> R:  # Any: each field has its own type
    """Return a record like `record` with some fields changed."""
    return record.__replace__(**changes)
