"""The databases, and the object storage, that resume states and shared caches can lie in, each as one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.states.store import StateStore
from awaitly_nb.stores import reopenable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg_pool import ConnectionPool
    from pymongo import MongoClient
    from redis import Redis

__all__ = ["libsql", "mongo", "objects", "postgres", "redis", "sqlite"]


def sqlite(
    path: str | Path,
    *,
    prefix: str = "",
    table: str = "awaitly",
    timeout: float = 30.0,
    size_limit: int | str | None = None,
) -> StateStore:
    """Return a store in the SQLite file at `path`: the embedded default, on the standard library alone.

    A save is on the disk when it returns. Several processes may use one file.

    Parameters
    ----------
    path
        The file; it and its folder are made on first use.
    prefix
        Begins every id, so that several applications can share a file.
    table
        Name of the table.
    timeout
        Seconds to wait for another process that is writing.
    size_limit
        Largest state to accept, in bytes or as text; None means none.
    """
    from awaitly_nb.stores import sqlite_store

    # Absolute, since another process may have another directory.
    records = reopenable(sqlite_store, Path(path).expanduser().absolute(), table=table, timeout_s=timeout)
    return StateStore(records, prefix=prefix, size_limit=size_limit)


def postgres(
    server: str | ConnectionPool,
    *,
    prefix: str = "",
    table: str = "awaitly",
    timeout: float = 10.0,
    size_limit: int | str | None = None,
) -> StateStore:
    """Return a store in a PostgreSQL database, opened on first use. Needs `awaitly-nb[postgres]`.

    Parameters
    ----------
    server
        `postgresql://user:password@host/database`, or a `psycopg_pool.ConnectionPool` of your own (in autocommit mode),
        which `close` leaves open.
    prefix
        Begins every id, so that several applications can share a database.
    table
        Name of the table, made on first use.
    timeout
        Seconds to wait for a connection, and for one statement.
    size_limit
        Largest state to accept, in bytes or as text; None means none.
    """
    from awaitly_nb.stores import postgres_store

    records = reopenable(postgres_store, server, table=table, timeout_s=timeout)
    return StateStore(records, prefix=prefix, size_limit=size_limit)


def mongo(
    server: str | MongoClient[Any],  # Any: the type of its documents
    *,
    database: str | None = None,
    prefix: str = "",
    table: str = "awaitly",
    timeout: float = 10.0,
    size_limit: int | str | None = None,
) -> StateStore:
    """Return a store in a MongoDB database, opened on first use. Needs `awaitly-nb[mongo]`.

    Parameters
    ----------
    server
        `mongodb://user:password@host/database`, or a `pymongo.MongoClient` of your own, which `close` leaves open.
    database
        Name of the database; None means the one in the URL, else "awaitly".
    prefix
        Begins every id, so that several applications can share a database.
    table
        Name of the collection, made on first use.
    timeout
        Seconds to wait for a server, and for one answer.
    size_limit
        Largest state to accept, in bytes or as text; None means none.
    """
    from awaitly_nb.stores import MongoStore

    records = reopenable(MongoStore, server, database=database, table=table, timeout_s=timeout)
    return StateStore(records, prefix=prefix, size_limit=size_limit)


def libsql(
    database: str | Path,
    *,
    auth_token: str | None = None,
    prefix: str = "",
    table: str = "awaitly",
    timeout: float = 10.0,
    size_limit: int | str | None = None,
) -> StateStore:
    """Return a store in a libSQL database: a server, or a local file, which needs `awaitly-nb[libsql]`.

    Parameters
    ----------
    database
        `libsql://`, `https://` or `http://` and the server, or the path of a file.
    auth_token
        The token that the server asks for; it may also be in the URL, as `?authToken=`.
    prefix
        Begins every id, so that several applications can share a database.
    table
        Name of the table, made on first use.
    timeout
        Seconds to wait for one answer, or for another process that is writing.
    size_limit
        Largest state to accept, in bytes or as text; None means none.
    """
    from awaitly_nb.stores import libsql_store

    records = reopenable(libsql_store, database, auth_token=auth_token, table=table, timeout_s=timeout)
    return StateStore(records, prefix=prefix, size_limit=size_limit)


def redis(
    server: str | Redis,
    *,
    prefix: str = "",
    table: str = "awaitly",
    timeout: float = 10.0,
    size_limit: int | str | None = None,
) -> StateStore:
    """Return a store in a Redis server, opened on first use. Needs `awaitly-nb[redis]`.

    How durable a save is, the server decides: run it with `appendonly yes`, and without eviction.

    Parameters
    ----------
    server
        `redis://user:password@host:6379/0`, or a `redis.Redis` of your own (without `decode_responses`), which `close`
        leaves open.
    prefix
        Begins every id, so that several applications can share a server.
    table
        Begins every key of the server.
    timeout
        Seconds to wait for a connection, and for one answer.
    size_limit
        Largest state to accept, in bytes or as text; None means none.
    """
    from awaitly_nb.stores import RedisStore

    records = reopenable(RedisStore, server, table=table, timeout_s=timeout)
    return StateStore(records, prefix=prefix, size_limit=size_limit)


def objects(
    url: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,  # Any: each file system has its own
    prefix: str = "",
    table: str = "awaitly",
    timeout: float = 10.0,
    size_limit: int | str | None = None,
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
    prefix
        Begins every id, so that several applications can share a place.
    table
        Name of the folder below `url` that holds the records.
    timeout
        Seconds to wait for one answer, longer for what takes long to send, or for another process that is writing.
    size_limit
        Largest state to accept, in bytes or as text; None means none.

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

    records = reopenable(object_store, url, storage_options=storage_options, table=table, timeout_s=timeout)
    return StateStore(records, prefix=prefix, size_limit=size_limit)
