"""What every adapter of a server does: names of records and tables, addresses with passwords, ends of connections.

Also how another process opens a store that was opened here.
"""

from __future__ import annotations

import os
import re
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from awaitly_nb.errors import InvalidOptionError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "Address",
    "Reopen",
    "checked_table",
    "close_with",
    "from_micros",
    "name_bytes",
    "prefix_range",
    "reopenable",
]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_SECRET_FIELDS = re.compile(r"pass|secret|token|key|auth", re.IGNORECASE)
_DELIMITERS = re.compile(r"[/?#:@]")
_SHORTEST_SECRET = 2
_LONGEST_REASON = 400


def checked_table(table: str) -> str:
    """Return `table` if it is a plain identifier, safe in any statement of any database."""
    if not isinstance(table, str) or not _IDENTIFIER.fullmatch(table):
        raise InvalidOptionError(
            f"table={table!r} is no table name: use letters, digits and _, not beginning with a digit, at most 48"
        )
    return table


def name_bytes(name: str) -> bytes:
    """Return a record's name as UTF-8.

    Names are stored as bytes where a database allows it: no collation, no locale, and a NUL is a byte like any other.
    """
    try:
        return name.encode()
    except UnicodeEncodeError as exc:
        raise StoreError(f"a record's name must be text that UTF-8 can hold, not {name!r}") from exc


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """Return the bounds `low <= name < high` of all names that begin with `prefix`, literally."""
    low = name_bytes(prefix)
    return low, low + b"\xff"  # no UTF-8 text contains this byte


def from_micros(micros: float) -> datetime:
    """Return the aware UTC instant of microseconds since 1970."""
    seconds, rest = divmod(int(micros), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


class Address:
    """Where a server is: a URL to connect with, and the same without its secrets, to show.

    Examples
    --------
    >>> address = Address("postgresql://ada:hunter2@db.example:5432/runs?sslmode=require")
    >>> address.shown, address.scrub("no pg_hba entry for ada with hunter2")
    ('postgresql://db.example:5432/runs', 'no pg_hba entry for ada with ***')
    """

    __slots__ = ("_secrets", "shown", "url")

    def __init__(self, url: str, *, secrets: Iterable[str] = ()) -> None:
        self.url = url
        before, at, after = url.rpartition("@")
        scheme, _, credentials = before.partition("://")
        self.shown = (f"{scheme}://{after}" if at else url).partition("?")[0]
        password = credentials.partition(":")[2]
        # Its pieces too: of one with a delimiter left as it is, a driver takes a piece for the port, and quotes it.
        found = {credentials, password, *_DELIMITERS.split(password), *secrets}
        if url != self.shown:
            found.add(url)
        query = urlsplit(after if at else url).query or url.partition("?")[2]
        found.update(value for name, value in parse_qsl(query) if _SECRET_FIELDS.search(name))
        found |= {unquote(secret) for secret in found}
        self._secrets = sorted((s for s in found if len(s) > _SHORTEST_SECRET), key=len, reverse=True)

    def scrub(self, text: str) -> str:
        """Return `text` without any secret of this address."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def error(self, doing: str, exc: BaseException) -> StoreError:
        """Return the `StoreError` for what a driver raised.

        Raise it `from None`: the driver's own exception, shown above it, might tell a secret that this one does not.
        """
        text = self.scrub(str(exc))  # before it is cut: half a secret would not be found
        text = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
        return StoreError(f"cannot {doing} {self.shown}: {type(exc).__name__}: {text}")

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def close_with(owner: object, close: Callable[[], object]) -> None:
    """Call `close` when `owner` is collected or the interpreter ends, whichever comes first.

    Parameters
    ----------
    owner
        The store's connection holder.
    close
        Must not refer to `owner`; harmless twice.
    """
    weakref.finalize(owner, _close, close, os.getpid())


def _close(close: Callable[[], object], pid: int) -> None:
    if os.getpid() == pid:
        close()


class Reopen:
    """The call that opened a store. Its arguments may hold a password, so it shows nothing of them."""

    def __init__(self, make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._call = (make, args, kwargs)

    def __call__(self) -> Any:  # Any: whichever store it was
        """Open the store."""
        make, args, kwargs = self._call
        return reopenable(make, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reopen) and self._call == other._call

    def __hash__(self) -> int:
        return hash(self._call[1][:1])

    def __repr__(self) -> str:
        return "<how to open a store>"


def reopenable(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # Any: whichever store it is
    """Return `make(*args, **kwargs)`, a store that remembers how it was opened.

    What was made of a connection or client of the user's own cannot be opened in another process.
    """
    store = make(*args, **kwargs)
    if all(isinstance(arg, str | os.PathLike) for arg in args):
        store.reopen = Reopen(make, tuple(map(_absolute, args)), kwargs)
    return store


def _absolute(place: str | os.PathLike[str]) -> str | Path:
    """Return a path from the root, since another process may have another directory; a URL as it is."""
    if isinstance(place, str) and (":" in place[2:] or "=" in place):
        return place  # `host=localhost dbname=x` is an address of PostgreSQL's
    return Path(place).expanduser().absolute()
