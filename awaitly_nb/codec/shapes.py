"""The shape of a user's class: what a pickled instance depends on, beside its data. Imports nothing of the package.

A pickle names a class and holds an instance's state. Methods may change freely; but where fields, slots, bases or enum
members have changed, old state in the new class would be a lie, and the entry is refused with a reason.
"""

from __future__ import annotations

import sys
from functools import cache
from hashlib import blake2b
from typing import Any, TypeAlias

__all__ = ["Shape", "changed_shape", "is_user_class", "shape_of"]

Shape: TypeAlias = "tuple[str, str, str]"
"""Module, qualified name and digest."""

_known: dict[str, bool] = {}


@cache
def _library() -> tuple[str, ...]:
    import sysconfig

    paths = sysconfig.get_paths()
    return tuple({paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths})


def is_user_class(cls: type) -> bool:
    """Tell whether `cls` was written by the user: neither installed nor part of Python."""
    name = cls.__module__
    if name == "__main__":
        return True
    if (known := _known.get(name)) is None:
        file = getattr(sys.modules.get(name), "__file__", None)
        known = _known[name] = file is not None and not file.startswith(_library())
    return known


def shape_of(cls: type) -> Shape:
    """Return the shape of `cls`."""
    return cls.__module__, cls.__qualname__, _digest(cls)


def changed_shape(shape: Shape) -> str | None:
    """Return why instances of the class cannot be rebuilt here, or None if they can."""
    module, qualname, digest = shape
    if module not in sys.modules:
        try:
            __import__(module)
        except Exception as exc:  # noqa: BLE001 - the stranger is the user's module
            return f"module {module} cannot be imported ({type(exc).__name__}: {exc})"
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        where = "this notebook; run the cell that defines it" if module == "__main__" else f"module {module}"
        return f"class {qualname} is not defined in {where}"
    if _digest(found) != digest:
        return f"class {qualname} has changed since"
    return None


def _digest(cls: type) -> str:
    # Any: class attributes of every kind.
    names = dict(vars(cls))
    members = names.get("_member_map_")
    shape = (
        [base.__qualname__ for base in cls.__mro__[1:]],
        [list(vars(base).get("__annotations__", ())) for base in cls.__mro__ if is_user_class(base)],
        [str(vars(base).get("__slots__", "")) for base in cls.__mro__ if is_user_class(base)],
        list(names.get("_fields", ())),
        [(name, repr(member.value)) for name, member in members.items()] if members else [],
    )
    return blake2b(repr(shape).encode(), digest_size=8).hexdigest()
