"""Calls by value: what a notebook defines has no module that another process could import.

These bytes travel inside a pickle of the process pool's or the cluster's own, between processes of one user; they never
come from a cache, and so are not signed.
"""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["from_bytes", "to_bytes"]


def to_bytes(value: object) -> bytes:
    """Return anything, functions with their code, closure and globals, for another process of this user."""
    from awaitly_nb.codec.by_value import dumps

    return dumps(value, pickle.HIGHEST_PROTOCOL)


def from_bytes(data: bytes) -> Any:  # Any: whatever was sent
    """Return what `to_bytes` was given in another process of this user."""
    return pickle.loads(data)  # noqa: S301 - see the module's docstring
