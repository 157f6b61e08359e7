"""Codes of scipy's sparse matrices and arrays: format, shape, and the stored entries in their stored order.

Flags that scipy remembers about an object (sorted, canonical) come and go as it is used, and do not count.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from awaitly_nb.keys.values_numpy import add_array
from awaitly_nb.keys.values_scalars import encode_text
from awaitly_nb.keys.values_walk import Encoder, Walk, node, seal

if TYPE_CHECKING:
    from hashlib import blake2b

__all__ = ["encoder_for"]

_PARTS = {
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "csc": ("data", "indices", "indptr"),
    "csr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "lil": ("data", "rows"),
}


def encoder_for(base: type, cls: type) -> Encoder | None:
    """Return how sparse matrices are read; None leaves what scipy's `base` is to class and state."""
    sparse = sys.modules.get("scipy.sparse")
    if sparse is None or not issubclass(cls, (sparse.spmatrix, sparse.sparray)) or base.__name__ == "object":
        return None
    return _sparse


def _sparse(walk: Walk, value: Any) -> bytes:  # Any: scipy has no stubs
    parts = node("sparse")
    parts.update(
        walk.class_code(type(value), known="scipy") + encode_text(f"{value.format} {value.dtype.str} {value.shape}")
    )
    if value.format == "dok":
        parts.update(walk.encode(dict(value.items())))
        return seal(parts)
    for name in _PARTS[value.format]:
        _add_part(walk, parts, getattr(value, name))
    return seal(parts)


def _add_part(walk: Walk, parts: blake2b, part: Any) -> None:
    for array in part if isinstance(part, tuple) else (part,):
        add_array(walk, parts, array)
