"""The databases, and the object storage, that resume states and shared caches can lie in: a call each, one for all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from awaitly_nb.states.state_store import StateStore
from awaitly_nb.stores import at_address, reopenable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from psycopg_pool import ConnectionPool
    from pymongo import MongoClient
    from redis import Redis

__all__ = ["StoreOptions", "libsql", "mongo", "objects", "open_store", "postgres", "redis", "sqlite"]


class StoreOptions(TypedDict, total=False):
    """What every store takes.

    Attributes
    ----------
    prefix
        Begins every id, so that several applications can share one place.
    table
        Name of the table, collection, key or folder that holds the records; "awaitly" unless given.
    timeout
        Seconds to wait for an answer, or for another process that is writing.
    size_limit
        Largest state to accept, in bytes or as text such as "50 MB"; None means none.
    lease_ttl
        Seconds, or text such as "5m", after which a run that has vanished, or that was stopped, no longer has its id.
    """

    prefix: str
    table: str
    timeout: float
    size_limit: int | str | None
    lease_ttl: float | timedelta | str


def open_store(url: str | Path, **options: Unpack[StoreOptions]) -> StateStore:
    """Return the store at `url`, whichever kind it is. It is opened on first use.

    Parameters
    ----------
    url
        The path of an SQLite file, or of a folder of objects; `sqlite:///path`, `file:///folder`, `postgresql://`,
        `mongodb://`, `libsql://`, `https://` or `http://` (libSQL too), `redis://`, `s3://`, `gs://`, `az://`.
    **options
        As `StoreOptions` says: `prefix`, `table`, `timeout`, `size_limit`, `lease_ttl`.

    Returns
    -------
    StateStore
        What `sqlite`, `postgres`, `mongo`, `libsql`, `redis` or `objects` returns; these take more options.

    Raises
    ------
    MisuseError, InvalidOptionError
        It is no address of a store. No message repeats a password.
    MissingExtraError
        The driver is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import awaitly_nb as aw
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = aw.open_store(f"{folder}/runs.db")
    ...     store.blocking.save("wf-123", aw.ResumeState().with_value("user:1", "Ada"))
    ...     saved = aw.open_store(f"sqlite:///{folder}/runs.db").blocking.load("wf-123")
    ...     store.blocking.close()
    >>> saved
    <ResumeState of 1 step>
    """
    return at_address(
        url,
        {
            "sqlite": lambda place: sqlite(place, **options),
            "postgres": lambda place: postgres(str(place), **options),
            "mongo": lambda place: mongo(str(place), **options),
            "libsql": lambda place: libsql(place, **options),
            "redis": lambda place: redis(str(place), **options),
            "objects": lambda place: objects(place, **options),
        },
    )


def sqlite(path: str | Path, **options: Unpack[StoreOptions]) -> StateStore:
    """Return a store in the SQLite file at `path`: the embedded default, on the standard library alone.

    A save is on the disk when it returns. Several processes may use one file.

    Parameters
    ----------
    path
        The file; it and its folder are made on first use.
    **options
        As for `open_store`; `timeout` is 30 s unless given.

    Returns
    -------
    StateStore
        Opened on first use.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.sqlite("runs.db", prefix="billing:")  # doctest: +ELLIPSIS
    StateStore(SqlStore(sqlite, .../runs.db))
    """
    from awaitly_nb.stores import sqlite_store

    # Absolute, since another process may have another directory.
    return _store(sqlite_store, Path(path).expanduser().absolute(), options={"timeout": 30.0, **options})


def postgres(server: str | ConnectionPool, **options: Unpack[StoreOptions]) -> StateStore:
    """Return a store in a PostgreSQL database, opened on first use. Needs `awaitly-nb[postgres]`.

    Parameters
    ----------
    server
        `postgresql://user:password@host/database`, or a `psycopg_pool.ConnectionPool` of your own (in autocommit mode),
        which `close` leaves open.
    **options
        As for `open_store`.

    Returns
    -------
    StateStore
        Opened on first use.

    Raises
    ------
    MissingExtraError
        psycopg is not installed.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.postgres("postgresql://ada:secret@db.example/runs")
    StateStore(SqlStore(postgresql://db.example:5432/runs))
    """
    from awaitly_nb.stores import postgres_store

    return _store(postgres_store, server, options=options)


def mongo(
    server: str | MongoClient[Any],  # Any: the type of its documents
    *,
    database: str | None = None,
    **options: Unpack[StoreOptions],
) -> StateStore:
    """Return a store in a MongoDB database, opened on first use. Needs `awaitly-nb[mongo]`.

    Parameters
    ----------
    server
        `mongodb://user:password@host/database`, or a `pymongo.MongoClient` of your own, which `close` leaves open.
    database
        Name of the database; None means the one in the URL, else "awaitly".
    **options
        As for `open_store`.

    Returns
    -------
    StateStore
        Opened on first use.

    Raises
    ------
    MissingExtraError
        pymongo is not installed.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.mongo("mongodb://ada:secret@db.example/runs")
    StateStore(MongoStore(mongodb://db.example/runs))
    """
    from awaitly_nb.stores import MongoStore

    return _store(MongoStore, server, database=database, options=options)


def libsql(database: str | Path, *, auth_token: str | None = None, **options: Unpack[StoreOptions]) -> StateStore:
    """Return a store in a libSQL database: a server, or a local file, which needs `awaitly-nb[libsql]`.

    Parameters
    ----------
    database
        `libsql://`, `https://` or `http://` and the server, or the path of a file.
    auth_token
        The token that the server asks for; it may also be in the URL, as `?authToken=`.
    **options
        As for `open_store`.

    Returns
    -------
    StateStore
        Opened on first use.

    Raises
    ------
    MissingExtraError
        It is a file, and the driver is not installed.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.libsql("libsql://runs-ada.example", auth_token="secret")
    StateStore(SqlStore(libsql://runs-ada.example))
    """
    from awaitly_nb.stores import libsql_store

    return _store(libsql_store, database, auth_token=auth_token, options=options)


def redis(server: str | Redis, **options: Unpack[StoreOptions]) -> StateStore:
    """Return a store in a Redis server, opened on first use. Needs `awaitly-nb[redis]`.

    How durable a save is, the server decides: run it with `appendonly yes`, and without eviction.

    Parameters
    ----------
    server
        `redis://user:password@host:6379/0`, or a `redis.Redis` of your own (without `decode_responses`), which `close`
        leaves open.
    **options
        As for `open_store`.

    Returns
    -------
    StateStore
        Opened on first use.

    Raises
    ------
    MissingExtraError
        redis is not installed.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.redis("redis://:secret@cache.example:6379/0")
    StateStore(RedisStore(redis://cache.example:6379/0))
    """
    from awaitly_nb.stores import RedisStore

    return _store(RedisStore, server, options=options)


def objects(
    url: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,  # Any: each file system has its own
    **options: Unpack[StoreOptions],
) -> StateStore:
    """Return a store in object storage, or in a folder: the place of a cache that a team shares.

    S3 needs `awaitly-nb[objects]`, Google's storage `awaitly-nb[gcs]`, Azure's `awaitly-nb[azure]`; a folder needs
    nothing. They can be told what to write over, and so they take states as well; each is asked, with the first write,
    whether it really can. Whatever else fsspec reaches, or cannot, serves a shared cache, in which the last writer of a
    key wins; a run with `store=` is refused there.

    Records are ordered by time: by the service's clock to the second, and always after what their writer had read.

    Parameters
    ----------
    url
        `s3://bucket/prefix`, `gcs://`, `az://`, another URL of fsspec's, or a folder. The bucket must be there already.
    storage_options
        As in pandas: what the file system takes, `{"endpoint_url": ..., "key": ..., "secret": ...}` for S3. Without it
        the usual places are asked: the environment, `~/.aws`, the machine's role.
    **options
        As for `open_store`; `timeout` is longer for what takes long to send.

    Returns
    -------
    StateStore
        Opened on first use.

    Raises
    ------
    InvalidOptionError
        The URL names no bucket, or nothing that can be reached.
    MissingExtraError
        The file system of this URL is not installed.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = aw.create_shared_cache(aw.objects(folder))
    ...     cache.set("user:1", aw.Ok("Ada"))
    ...     aw.create_shared_cache(aw.objects(folder)).get("user:1")
    Ok(value='Ada')
    """
    from awaitly_nb.stores import object_store

    return _store(object_store, url, storage_options=storage_options, options=options)


def _store(make: Callable[..., Any], place: object, *, options: StoreOptions, **own: Any) -> StateStore:
    """Return the states in what `make` opens."""
    rest: dict[str, Any] = dict(options)  # Any: as `StoreOptions` says
    table, timeout_s = rest.pop("table", "awaitly"), rest.pop("timeout", 10.0)
    return StateStore(reopenable(make, place, table=table, timeout_s=timeout_s, **own), **rest)
