"""All keys as the page takes them: about a megabyte for 100,000, made in a tenth of a second.

Two deflated buffers. The first is text: what is told once (the places that keys lie in, the steps that computed them)
as JSON, and then every key, each behind a separator. The second is numbers: 32 bits each, column by column, and of each
column first all lowest bytes, then all second ones, and so on. The upper ones hardly differ, and deflate to nothing.

The page knows a size or a duration to three digits, which is what it shows; `static/columns.js` reads what this writes.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from array import array
from operator import sub
from typing import TYPE_CHECKING, Final

from awaitly_nb.cache import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awaitly_nb.cache import Listing

__all__ = ["key_columns", "short_key"]

_END: Final = "\x1e"  # of each text
_SHORTEN: Final = re.compile(r":([0-9a-f]{10})[0-9a-f]{22}(?=\x1e|\Z)")
_UPPER_HALF: Final = bytes(byte & 0xF0 for byte in range(256))


def key_columns(listing: Listing, numbers: Sequence[int]) -> list[bytes]:
    """Return the rows of a listing as two deflated buffers.

    Parameters
    ----------
    numbers
        What stands for each row in messages.
    """
    spaces: dict[str, int] = {}
    steps: dict[str | None, int] = {}
    keys, space_of = [], []
    for name in listing.names:
        space, _, key = name.partition(SEPARATOR)
        space_of.append(spaces.setdefault(space, len(spaces)))
        keys.append(key)
    columns = (
        _signed(_steps(numbers)),
        _signed(_steps(listing.created)),
        _signed(space_of),
        _signed([steps.setdefault(step, len(steps)) for step in listing.step_ids]),
        _signed(listing.hits),
        _floats(listing.sizes),
        _floats(listing.durations),
    )
    told = {
        "rows": len(keys),
        "namespaces": list(spaces),
        "steps": [step or "" for step in steps],
        "bytes": sum(listing.sizes) + listing.sizes.count(-1),
    }
    text = _END.join([json.dumps(told), _shortened(keys)])
    return [
        zlib.compress(text.encode("utf-8", "replace"), 1),
        zlib.compress(b"".join([*columns, bytes(listing.ok)]), 1),
    ]


def _shortened(keys: list[str]) -> str:
    """Return all keys in one text, automatic ones cut as `short_key` does."""
    text = _END.join(keys)
    if text.count(_END) >= max(len(keys), 1):  # it is part of a key, where nobody could see it
        text = _END.join([key.replace(_END, "\N{REPLACEMENT CHARACTER}") for key in keys])
    around = _SHORTEN.split(text)  # and not `sub`, which expands its template in Python before 3.12
    around[1::2] = [f":{digits}…" for digits in around[1::2]]
    return "".join(around)


def short_key(key: str) -> str:
    """Return a key as people read it: of an automatic one, the first ten of its 32 digits.

    Examples
    --------
    >>> short_key("features:0123456789abcdef0123456789abcdef"), short_key("user:1")
    ('features:0123456789…', 'user:1')
    """
    return key if key[-33:-32] != ":" else _SHORTEN.sub(r":\1…", key)


def _steps(values: Sequence[int]) -> Iterable[int]:
    """Return the first value, and how far it is from each to the next: small numbers, as rows lie in order of time."""
    return (*values[:1], *map(sub, values[1:], values[:-1]))


def _signed(values: Iterable[int]) -> bytes:
    return b"".join(_planes(array("i", values)))


def _floats(values: Iterable[float]) -> bytes:
    """Return non-negative numbers to eleven bits, and what is not known as a negative one."""
    lowest, second, *upper = _planes(array("f", values))
    return b"".join([bytes(len(lowest)), second.translate(_UPPER_HALF), *upper])


def _planes(column: array[int] | array[float]) -> list[bytes]:
    if sys.byteorder == "big":
        column.byteswap()
    raw = column.tobytes()
    return [raw[place::4] for place in range(4)]
