"""How another process opens a store that was opened here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Again", "reopenable"]


class Again:
    """The call that opened a store. Its arguments may hold a password, so it shows nothing of them."""

    def __init__(self, make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._call = (make, args, kwargs)

    def __call__(self) -> Any:  # Any: whichever store it was
        """Open the store."""
        make, args, kwargs = self._call
        return reopenable(make, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Again) and self._call == other._call

    def __hash__(self) -> int:
        return hash(self._call[1][:1])

    def __repr__(self) -> str:
        return "<how to open a store>"


def reopenable(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # Any: whichever store it is
    """Return `make(*args, **kwargs)`, a store that remembers how it was opened.

    What was made of a connection or client of the user's own cannot be opened again elsewhere, and does not.
    """
    store = make(*args, **kwargs)
    if all(isinstance(arg, str | os.PathLike) for arg in args):
        store.again = Again(make, tuple(map(_absolute, args)), kwargs)
    return store


def _absolute(place: str | os.PathLike[str]) -> str | Path:
    """Return a path from the root, since another process may have another directory; a URL as it is."""
    if isinstance(place, str) and (":" in place[2:] or "=" in place):
        return place  # `host=localhost dbname=x` is an address of PostgreSQL's
    return Path(place).expanduser().absolute()
