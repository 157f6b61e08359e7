"""Records as objects: in S3, in a folder, or wherever else fsspec reaches. One object is one record, head first.

`store` keeps the contract over a `bucket`; `frame` says how a record becomes bytes. Whether a write may happen ("only
where nothing is", "only over this one") is the service's to decide: S3, Google's and Azure's do so by themselves, a
folder under a lock, and what has no such conditions serves a shared cache, where the last writer wins, and no leases.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import InvalidOptionError
from awaitly_nb.stores.adapters import Address, checked_table
from awaitly_nb.stores.objects.bucket_store import ObjectStore
from awaitly_nb.stores.objects.services import FileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ObjectStore", "object_store"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Two letters at least: one is a drive of Windows."""


def object_store(
    url: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,  # Any: each file system has its own
    table: str = "awaitly",
    timeout_s: float = 10.0,
) -> ObjectStore:
    """Return a store in object storage, or in a folder.

    Parameters
    ----------
    url
        `s3://bucket/prefix`, the URL of another file system that fsspec knows, or a folder.
    storage_options
        What the file system takes: credentials, an endpoint.
    table
        Name of the folder below `url` that holds the records.
    timeout_s
        Seconds to wait for one answer, or for another process that writes to the folder.
    """
    table, options = checked_table(table), dict(storage_options or {})
    text = str(url)
    scheme, separator, rest = text.partition("://")
    try:
        address = Address(text, secrets=_secrets(options))
    except ValueError:
        raise InvalidOptionError("the URL of the objects cannot be read; write s3://bucket/prefix") from None
    if "::" in text:
        raise InvalidOptionError(f"{address.shown!r} is a chain of file systems, which may keep what others replaced")
    if not separator and _SCHEME.match(text):
        raise InvalidOptionError(f"{address.shown!r} is neither a URL nor a folder; write s3://bucket/prefix")
    if not separator or scheme == "file":
        from awaitly_nb.stores.objects.folder import FolderBucket

        if options:
            raise InvalidOptionError("a folder takes no storage_options; leave them out")
        folder = _folder_of(text) if separator else Path(url)
        # Absolute, since the notebook may change its directory later.
        return ObjectStore(FolderBucket(folder.expanduser().absolute() / table, timeout_s=timeout_s), address)
    if not rest.partition("/")[0]:
        raise InvalidOptionError(f"{address.shown!r} names no bucket; write s3://bucket/prefix")
    if "?" in rest:
        raise InvalidOptionError(f"{address.shown!r}: options go into storage_options, not into the URL")
    files = FileSystem(f"{text.rstrip('/')}/{table}", options, address)
    if scheme in {"s3", "s3a"}:
        from awaitly_nb.stores.objects.services import S3Bucket

        return ObjectStore(S3Bucket(files, timeout_s=timeout_s), address)
    from awaitly_nb.stores.objects.services import PlainBucket, conditions_of

    return ObjectStore(PlainBucket(files, conditions_of(scheme), timeout_s=timeout_s), address)


def _folder_of(url: str) -> Path:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path:
        raise InvalidOptionError(f"{url!r} is no folder of this machine; write file:///folder, with three slashes")
    return Path(url2pathname(parts.path))


def _secrets(options: object, name: str = "") -> Iterator[str]:
    """Yield every text of the options that an error must not show: all of them, but where the service is."""
    if isinstance(options, dict):
        for key, value in options.items():
            yield from _secrets(value, str(key))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _secrets(value, name)
    elif isinstance(options, str) and name != "endpoint_url":
        yield options
