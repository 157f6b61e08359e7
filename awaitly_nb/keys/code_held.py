"""The code that an object brings along: the class of a user's object, and the functions that it, or a table, holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.keys.code_graph import Held, Items, is_code
from awaitly_nb.keys.code_origin import is_user_class

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from awaitly_nb.keys.code_graph import Lookup

__all__ = ["held_code"]

_MOST: Final = 64
"""A table with more than this is data. The closure of a thunk is looked at on every call, so this is kept small."""


def held_code(value: object) -> Iterator[tuple[Lookup, Any, object]]:  # Any: a key of the user's
    """Yield what `value` holds that is code or brings code along: where it is found, under which key, and what it is.

    Of a dict, a list or a tuple its items, of an object of the user's its attributes.
    """
    lookup: Lookup
    items: Collection[tuple[Any, object]]
    if type(value) is dict:
        lookup, items = value, value.items()
    elif type(value) is list or type(value) is tuple:
        if len(value) > _MOST:
            return
        lookup, items = Items(tuple(value)), list(enumerate(value))
    elif is_user_class(type(value)):
        lookup, items = Held(value), getattr(value, "__dict__", {}).items()
    else:
        return
    if len(items) > _MOST:
        return
    for key, item in list(items):
        if is_code(item) or type(item) in (dict, list, tuple) or is_user_class(type(item)):
            yield lookup, key, item
