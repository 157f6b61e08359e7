"""Calls by value: what a notebook defines has no module that another process could import.

These bytes travel inside a pickle of the process pool's or the cluster's own, between processes of one user; they never
come from a cache, and so are not signed.
"""

from __future__ import annotations

import pickle
from contextvars import ContextVar
from typing import Any

__all__ = ["Packed", "from_bytes", "is_travelling", "to_bytes"]

_travelling: ContextVar[bool] = ContextVar("awaitly_nb_travelling", default=False)


class Packed(bytes):
    """Packed bytes. They may hold an address with its password, so that no log and no dashboard shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} packed bytes>"


def to_bytes(value: object, *, travels: bool = True) -> Packed:
    """Return anything, functions with their code, closure and globals, for another process of this user.

    Parameters
    ----------
    value
        Any value.
    travels
        False for a part of what is kept: it comes back to where it was written, and finds its globals there.
    """
    from awaitly_nb.codec.by_value import dumps

    token = _travelling.set(travels)
    try:
        return Packed(dumps(value, pickle.HIGHEST_PROTOCOL))
    finally:
        _travelling.reset(token)


def is_travelling() -> bool:
    """Tell whether what is being pickled goes straight to another process of this user, and is not kept."""
    return _travelling.get()


def from_bytes(data: bytes) -> Any:  # Any: whatever was sent
    """Return what `to_bytes` was given in another process of this user."""
    return pickle.loads(data)  # noqa: S301 - see the module's docstring
