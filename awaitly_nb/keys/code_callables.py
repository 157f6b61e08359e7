"""What a callable is beside the code that it leads to: what it wraps, and whether it holds a state that counts."""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, MappingProxyType, MethodType, MethodWrapperType
from typing import TYPE_CHECKING, Final

from awaitly_nb.keys.code_graph import is_code
from awaitly_nb.keys.code_origin import awaitly_object, is_user_class

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["attributes", "has_state", "wrapped_function", "wrapped_name"]

_WRAPPED: Final = ("__wrapped__", "py_func")


def attributes(value: object) -> Mapping[str, object]:
    """Return the attributes that `value` itself holds, whatever its class answers for others."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return held if isinstance(held, dict | MappingProxyType) else {}


def wrapped_name(value: object) -> str | None:
    """Return the attribute in which a decorator keeps what it wrapped (`functools.wraps`, a numba dispatcher)."""
    held = attributes(value)
    for name in _WRAPPED:
        if name in held:
            return name
    ours = (type(value).__module__ or "").partition(".")[0] == "awaitly_nb"
    return _WRAPPED[0] if ours and hasattr(value, _WRAPPED[0]) else None


def wrapped_function(value: object) -> object:
    """Return what a decorator wrapped into `value` (`functools.wraps`, `lru_cache`, a numba dispatcher), or None."""
    name = wrapped_name(value)
    return None if name is None else getattr(value, name, None)


def has_state(value: object) -> bool:
    """Tell whether a callable is more than the code that it leads to, so that it counts as a value beside it.

    That is an object with fields, and a method of an object. A function is its code; what a decorator of an installed
    package holds is that package's own affair.
    """
    if isinstance(value, MethodType):
        return True
    if isinstance(value, BuiltinFunctionType | MethodWrapperType):
        return not is_code(value)
    if is_code(value) or not callable(value):
        return False
    if awaitly_object(value):
        return False
    if wrapped_name(value) is not None:
        return is_user_class(type(value))
    return not _is_named(value)


def _is_named(value: object) -> bool:
    # A ufunc, but none of `np.frompyfunc`, and a method taken of a builtin class: their names say all.
    if hasattr(value, "__objclass__"):
        return True
    if type(value).__name__ != "ufunc":
        return False
    name = getattr(value, "__name__", "")
    return any(getattr(sys.modules.get(home), name, None) is value for home in ("numpy", "scipy.special"))
