"""Codes of numpy arrays and scalars, and of scipy's sparse matrices.

An array is its dtype, byte order, shape, and contents by raw bits, whatever the memory layout. A contiguous array is
hashed where it lies; any other is gathered through a small buffer. Bytes that are no content never count: the padding
in structured and long double elements. A `memmap` is the array that it maps. A sparse matrix is its format, shape, and
the stored entries in their stored order; flags that scipy remembers about it come and go, and do not count.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import xxhash

from awaitly_nb.keys.untouched import LARGE_BYTES, known_digest, note_digest
from awaitly_nb.keys.values import Encoder, Refusal, Walk, add_items, encode_int, encode_text, node, seal
from awaitly_nb.keys.values_objects import by_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import blake2b

    import numpy as np

__all__ = ["add_array", "add_dtype", "numpy_encoder", "raw_digest", "scipy_encoder"]

_GATHER = 1 << 16
"""Elements gathered at once from an array that is not contiguous."""


def numpy_encoder(base: type, cls: type) -> Encoder | None:
    """Return how instances of `cls`, which derives from numpy's `base`, are read; None leaves it to class and state."""
    np = sys.modules.get("numpy")
    if np is None:
        return None
    if base is np.ma.MaskedArray:
        return _masked
    if base is np.ndarray:
        return _array if cls in (np.ndarray, np.memmap) else _array_subclass
    if base is np.memmap and cls is np.memmap:
        return _array
    if base is np.generic and cls.__module__.partition(".")[0] == "numpy":
        return _scalar
    if base is np.dtype:
        return _dtype
    if base is np.ufunc:
        return _ufunc
    if cls is base and base.__name__ == "RandomState":
        return _random_state
    return None


def add_array(walk: Walk, parts: blake2b, array: np.ndarray[Any, Any]) -> None:
    """Add the dtype, the shape and the contents of an array to a node."""
    add_dtype(walk, parts, array.dtype)
    parts.update(encode_text(",".join(map(str, array.shape))))
    _add_contents(walk, parts, array)


def add_dtype(walk: Walk, parts: blake2b, dtype: np.dtype[Any]) -> None:
    """Add a dtype to a node."""
    if dtype.names is not None:
        parts.update(
            b"(" + encode_text(dtype.type.__name__) + encode_int(dtype.itemsize) + encode_int(len(dtype.names))
        )
        for name in dtype.names:
            field, offset = dtype.fields[name][:2]  # type: ignore[index]  # it has names, so it has fields
            parts.update(encode_text(name) + encode_int(offset))
            add_dtype(walk, parts, field)
    elif dtype.subdtype is not None:
        parts.update(b"[" + encode_text(str(dtype.shape)))
        add_dtype(walk, parts, dtype.base)
    elif dtype.kind == "T":
        parts.update(b"T" + encode_text(str(dtype)))
        parts.update(walk.encode(getattr(dtype, "na_object", None)))
    else:
        parts.update(b"=" + encode_text(dtype.str))
        if dtype.type.__module__.partition(".")[0] != "numpy":  # bfloat16 and its like are all "void" to `str`
            parts.update(encode_text(f"{dtype.type.__module__}.{dtype.type.__qualname__}"))


def raw_digest(array: np.ndarray[Any, Any]) -> bytes:
    """Return the digest of the bytes of a plain array in C order."""
    import numpy as np

    bulk = xxhash.xxh3_128()
    if array.size == 0 or array.dtype.itemsize == 0:
        return bulk.digest()
    if array.flags.c_contiguous:
        place = array.__array_interface__["data"][0], array.nbytes
        known = known_digest(*place) if array.nbytes >= LARGE_BYTES else None
        if known is None:
            # A view as bytes, because datetime64 and others do not offer the buffer protocol.
            bulk.update(np.asarray(array).reshape(-1).view(np.uint8).data)
            known = bulk.digest()
        if array.nbytes >= LARGE_BYTES:
            note_digest(*place, known)
        return known
    for piece in _gather(np.asarray(array)):
        bulk.update(piece.view(np.uint8).data)
    return bulk.digest()


def _gather(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the elements in C order in contiguous pieces, each a view where it can be one, else a small copy."""
    import numpy as np

    rows = array.shape[0]
    width = array.size // rows
    if width > _GATHER and array.ndim > 1:
        for row in array:
            yield from _gather(row)
        return
    step = max(1, _GATHER // width)
    for start in range(0, rows, step):
        yield np.ascontiguousarray(array[start : start + step]).reshape(-1)


def _add_contents(walk: Walk, parts: blake2b, array: np.ndarray[Any, Any]) -> None:
    import numpy as np

    dtype = array.dtype
    if dtype.names is not None:
        for name in dtype.names:
            _add_contents(walk, parts, np.asarray(array)[name])
    elif dtype.kind in "OT":
        shape = array.shape
        add_items(walk, parts, np.asarray(array).flat, lambda i: _position(i, shape))
    elif dtype.char in "gG" and np.finfo(dtype).nmant == 63 and dtype.itemsize in (16, 32):  # noqa: PLR2004 - x87
        # 80 bits in 128: the rest is whatever the memory held before.
        bulk = xxhash.xxh3_128()
        for piece in _gather(array.reshape(1) if array.ndim == 0 else array) if array.size else ():
            bulk.update(np.ascontiguousarray(piece.view(np.uint8).reshape(-1, 16)[:, :10]).data)
        parts.update(bulk.digest())
    else:
        parts.update(raw_digest(array))


def _position(index: int, shape: tuple[int, ...]) -> str:
    place: list[int] = []
    for length in reversed(shape):
        index, at = divmod(index, length)
        place.append(at)
    return f"[{', '.join(map(str, reversed(place)))}]"


def _array(walk: Walk, value: np.ndarray[Any, Any]) -> bytes:
    parts = node("ndarray")
    add_array(walk, parts, value)
    return seal(parts)


def _array_subclass(walk: Walk, value: np.ndarray[Any, Any]) -> bytes:
    import numpy as np

    parts = node("ndarray subclass")
    parts.update(walk.class_code(type(value), known="numpy"))
    add_array(walk, parts, value.view(np.ndarray))
    parts.update(walk.part(getattr(value, "__dict__", None), ".__dict__"))
    return seal(parts)


def _masked(walk: Walk, value: np.ma.MaskedArray[Any, Any]) -> bytes:
    import numpy as np

    parts = node("masked")
    parts.update(walk.class_code(type(value), known="numpy"))
    data = np.ma.getdata(value)
    add_array(walk, parts, data)  # what lies under the mask counts: `.data` shows it
    add_array(walk, parts, np.ma.getmaskarray(value))
    fill = value._fill_value  # type: ignore[attr-defined]  # noqa: SLF001 - the property would set it
    if fill is None:  # as pickling fills it in
        fill = np.ma.default_fill_value(value)
    parts.update(walk.part(np.array(fill, data.dtype), ".fill_value"))
    parts.update(b"h" if value.hardmask else b"s")
    return seal(parts)


def _scalar(walk: Walk, value: np.generic) -> bytes:
    begun = _begun_scalars().get(type(value))
    if begun is None:
        return _scalar_as_array(walk, value)
    walk.scalars = {**walk.scalars, type(value): partial(_plain_scalar, begun)}
    return _plain_scalar(begun, value)


def _plain_scalar(begun: blake2b, value: np.generic) -> bytes:
    """Return the code of one of the `_ONE_DTYPE`, which leads nowhere."""
    if value != value:  # noqa: PLR0124 - only a NaN differs from itself
        return _scalar_as_array(Walk(), value)
    parts = begun.copy()
    parts.update(xxhash.xxh3_128_digest(value.tobytes()))
    return seal(parts)


def _scalar_as_array(walk: Walk, value: np.generic) -> bytes:
    import numpy as np

    parts = node("numpy scalar")
    array = np.asarray(value)
    if array.dtype.kind in "fc" and np.isnan(array):
        if array.dtype.kind == "f":
            array = np.full((), np.nan, array.dtype)
        else:
            real, imag = (np.nan if np.isnan(part) else part for part in (value.real, value.imag))
            array = np.array(complex(real, imag), array.dtype)
    add_array(walk, parts, array)
    return seal(parts)


_ONE_DTYPE = "?bBhHiIlLqQefdFD"
"""Scalars whose type says all of their dtype, and whose bytes are all content."""


@cache
def _begun_scalars() -> dict[type, blake2b]:
    """Return the nodes of such scalars, but for their bytes: lists of numbers out of arrays are long."""
    import numpy as np

    found = {}
    for dtype in map(np.dtype, _ONE_DTYPE):
        parts = found[dtype.type] = node("numpy scalar")
        add_dtype(Walk(), parts, dtype)
        parts.update(encode_text(""))
    return found


def _dtype(walk: Walk, value: np.dtype[Any]) -> bytes:
    parts = node("dtype")
    add_dtype(walk, parts, value)
    return seal(parts)


def _ufunc(_walk: Walk, value: np.ufunc) -> bytes:
    import numpy as np

    if getattr(np, value.__name__, None) is not value:
        return _foreign_ufunc(value)
    parts = node("ufunc")
    parts.update(encode_text(value.__name__))
    return seal(parts)


def _random_state(walk: Walk, value: np.random.RandomState) -> bytes:
    import numpy as np

    # The one behind `np.random.rand` is a place, as `np.random` itself: it moves with every number drawn anywhere, and
    # scipy's distributions hold on to it.
    if value is np.random.mtrand._rand:  # noqa: SLF001 - numpy has no other name for it
        parts = node("random state of numpy")
        return seal(parts)
    return by_state(walk, value)


def _foreign_ufunc(value: np.ufunc) -> bytes:
    special = sys.modules.get("scipy.special")
    if special is not None and getattr(special, value.__name__, None) is value:
        parts = node("ufunc")
        parts.update(encode_text(f"scipy.special.{value.__name__}"))
        return seal(parts)
    raise Refusal("a ufunc made at run time does not say what it computes", "pass the Python function it was made from")


# -- sparse matrices of scipy ------------------------------------------------------------------------------------------

_SPARSE_PARTS = {
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "csc": ("data", "indices", "indptr"),
    "csr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "lil": ("data", "rows"),
}


def scipy_encoder(base: type, cls: type) -> Encoder | None:
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
    for name in _SPARSE_PARTS[value.format]:
        _add_part(walk, parts, getattr(value, name))
    return seal(parts)


def _add_part(walk: Walk, parts: blake2b, part: Any) -> None:
    for array in part if isinstance(part, tuple) else (part,):
        add_array(walk, parts, array)
