"""What a person types for keys, where it is not a whole one: a glob, a workflow, a part or the beginning of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from awaitly_nb.cache.entry import Entry

__all__ = ["entries_for", "key_begun_by"]

_GLOB = frozenset("*?[")
_SHORTEST = 8
"""So much of a key has to be typed; what removes should not guess from less."""


def entries_for(word: str, find: Callable[[str], list[Entry]]) -> list[Entry]:
    """Return what a glob finds; where a plain word is no key, the keys that have it in them, or that its workflow has.

    Parameters
    ----------
    word
        What was typed.
    find
        Returns the entries whose whole key matches a glob.
    """
    found = find(word)
    if found or not word or _GLOB.intersection(word):
        return found
    return [entry for entry in find("*") if word == entry.namespace or word in entry.key]


def key_begun_by(word: str, keys: Collection[str]) -> str | None:
    """Return the one key that `word` is or begins, or None.

    Raises
    ------
    MisuseError
        It begins several.
    """
    if word in keys:
        return word
    begun = {key for key in keys if key.startswith(word)} if len(word) >= _SHORTEST else set()
    if len(begun) > 1:
        raise MisuseError(f"{len(begun)} keys begin with {word!r}; give more of the one you mean")
    return begun.pop() if begun else None
