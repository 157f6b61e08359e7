"""Small immutable values as text, so that a key of numbers and short strings costs no hashing of its own.

Tokens are kept on disk beside the result and may be shown; text that looks like a secret has none, and is hashed.

A token says the type and the value exactly; no two values share one. What is larger, mutable or of another type has
none, and goes through `values.fingerprint`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TEXT_LIMIT", "is_secret_name", "masked", "named_token", "plain_token"]

TEXT_LIMIT: Final = 200
_BITS_LIMIT: Final = 640


def _text(value: str) -> str | None:
    if len(value) > TEXT_LIMIT or ("@" in value and "://" in value):  # a connection string may hold a password
        return None
    return f"str {value!r}"


def _data(value: bytes) -> str | None:
    return f"bytes {value!r}" if len(value) <= TEXT_LIMIT else None


def _integer(value: int) -> str | None:
    # Beyond a few hundred digits `str` of an int gets slow, and from 4300 on Python refuses it.
    return f"int {value}" if value.bit_length() < _BITS_LIMIT else None


def _tuple(value: tuple[object, ...]) -> str | None:
    if len(value) > 16:  # noqa: PLR2004 - a handful of column names, not data
        return None
    items = []
    for item in value:
        token = plain_token(item)
        if token is None:
            return None
        items.append(token)
    return f"tuple {len(items)} ({', '.join(items)})"


_WRITERS: Final[dict[type, Callable[..., str | None]]] = {
    int: _integer,
    str: _text,
    bool: "bool {}".format,
    float: "float {!r}".format,
    type(None): "None".format,
    bytes: _data,
    tuple: _tuple,
}


_SECRET: Final = re.compile(r"passw|passphrase|secret|token|api_?key|credential|private_?key", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"(://[^\s:/@]*:)[^\s@]+(@)")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether text under this name is not for showing, as in `api_key`.

    Examples
    --------
    >>> is_secret_name("api_key"), is_secret_name("key")
    (True, False)
    """
    return _SECRET.search(name) is not None


def named_token(name: str, value: object) -> str | None:
    """Return the token of a value under a name, or None where it has none or would tell a secret."""
    writer = _WRITERS.get(type(value))
    if writer is None or (writer is _text and is_secret_name(name)):
        return None
    return writer(value)


def masked(name: str, value: object) -> object:
    """Return what may be shown of a value: text under a secret name, and passwords in addresses, are blotted out.

    Examples
    --------
    >>> masked("url", "postgres://me:pass@host/db"), masked("password", "pass")
    ('postgres://me:***@host/db', '***')
    """
    if type(value) is not str:
        return value
    return "***" if is_secret_name(name) else _PASSWORD.sub(r"\1***\2", value)


def plain_token(value: object) -> str | None:
    """Return the exact text for a small value of a plain type, or None for every other value.

    Examples
    --------
    >>> plain_token(1), plain_token(True), plain_token(1.0), plain_token([1])
    ('int 1', 'bool True', 'float 1.0', None)
    """
    writer = _WRITERS.get(type(value))
    return writer(value) if writer is not None else None
