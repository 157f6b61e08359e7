"""Which kind of store an address leads to, and a store opened by its address alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from awaitly_nb.errors import InvalidOptionError, MissingExtraError, MisuseError, StoreError
from awaitly_nb.stores.adapters import reopenable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awaitly_nb.stores import Store

__all__ = ["Kind", "at_address", "store_at"]

Kind: TypeAlias = Literal["sqlite", "postgres", "mongo", "libsql", "redis", "objects"]

T = TypeVar("T")

_SCHEMES: dict[str, Kind] = {
    **dict.fromkeys(("postgres", "postgresql"), "postgres"),
    **dict.fromkeys(("mongodb", "mongodb+srv"), "mongo"),
    **dict.fromkeys(("libsql", "https", "http"), "libsql"),
    **dict.fromkeys(("redis", "rediss", "unix"), "redis"),
    **dict.fromkeys(("s3", "s3a", "gcs", "gs", "az", "abfs", "file"), "objects"),
}


def at_address(url: str | Path, makers: Mapping[Kind, Callable[[str | Path], T]]) -> T:
    """Return what the maker of this kind of address makes of it; a path is an SQLite file, or a folder of objects.

    Raises
    ------
    MisuseError, InvalidOptionError
        It is no address of a store. No message repeats a password.
    MissingExtraError
        The driver is not installed.
    """
    scheme, separator, rest = str(url).partition("://")
    if not separator or scheme == "sqlite":
        # As SQLAlchemy writes it: three slashes before a relative path, four before an absolute one.
        path = Path(rest.removeprefix("/") if separator else url).expanduser()
        return makers["objects" if path.is_dir() else "sqlite"](path)
    kind = _SCHEMES.get(scheme.lower())
    if kind is None:
        known = ", ".join(f"{name}://" for name in ("postgresql", "mongodb", "libsql", "redis", "s3"))
        raise MisuseError(f"no store has addresses that begin with {scheme[:20]!r}; give a path, or {known}")
    try:
        return makers[kind](str(url))
    except (MissingExtraError, InvalidOptionError):
        raise
    except (StoreError, ValueError):  # whatever cannot be parsed may be a part of the password
        raise InvalidOptionError(
            f"the address that begins with {scheme}:// cannot be read; are @, / and : in its password written as %40, "
            "%2F and %3A?"
        ) from None


def store_at(url: str, *, table: str = "awaitly", timeout_s: float = 10.0) -> Store:
    """Return the store at an address, opened on first use; raises as `at_address`.

    Parameters
    ----------
    url
        A path, or a URL such as `s3://bucket/prefix`.
    table
        Name of the table, collection, key or folder that holds the records.
    timeout_s
        Seconds to wait for an answer.
    """
    from awaitly_nb import stores

    def opened(make: Callable[..., Any]) -> Callable[[str | Path], Store]:  # Any: whichever store it is
        return lambda place: cast("Store", reopenable(make, place, table=table, timeout_s=timeout_s))

    return at_address(
        url,
        {
            "sqlite": opened(stores.sqlite_store),
            "postgres": opened(stores.postgres_store),
            "mongo": opened(stores.MongoStore),
            "libsql": opened(stores.libsql_store),
            "redis": opened(stores.RedisStore),
            "objects": opened(stores.object_store),
        },
    )
