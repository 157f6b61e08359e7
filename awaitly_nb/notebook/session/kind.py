"""What `live` asks of each kind of object; and the error of what cannot be restored."""

from __future__ import annotations

from typing import Any, Protocol

from awaitly_nb.errors import AwaitlyError

__all__ = ["CannotRestoreError", "Kind", "type_name"]


class CannotRestoreError(AwaitlyError):
    """What a cell left cannot be stored so that a hit restores it, or not restored here; the message says why."""


class Kind(Protocol):
    """How objects of some types are walked, compared and changed."""

    def children(self, value: Any, /) -> list[object]:  # Any: an object of this kind, here and below
        """Return what it reaches that may change or be shared, in an order that is the same in every session."""

    def state(self, value: Any, /) -> Any:
        """Return what it holds, to compare with later."""

    def same(self, value: Any, state: Any, /) -> bool:
        """Tell whether it still holds that."""

    def contents(self, value: Any, state: Any, /) -> Any:
        """Return what it holds now, in a form that can be stored."""

    def change(self, value: Any, contents: Any, /) -> None:
        """Let it hold these contents."""


def type_name(cls: type) -> str:
    """Return the name of a type, with its module unless it is built in."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
