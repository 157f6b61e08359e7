"""How caches are made and found: on disk, in memory, over a server, over a mapping; and the folder as a whole."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, cast

from awaitly_nb.cache.entry import SEPARATOR, entry_of, literal_of, live_heads, matcher_of
from awaitly_nb.cache.folder import SizeLimit, open_folder
from awaitly_nb.cache.stepcache import StoredCache, Verify
from awaitly_nb.codec import default_keyring
from awaitly_nb.errors import CacheUnusableWarning, InvalidOptionError, MissingExtraError, MisuseError, warn
from awaitly_nb.units import parse_size

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from awaitly_nb.cache.entry import Entry, StepCache
    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.cache.published import Published
    from awaitly_nb.cache.remote import Source
    from awaitly_nb.cache.repair import Report
    from awaitly_nb.config import Settings
    from awaitly_nb.result import Mark
    from awaitly_nb.stores import Store

__all__ = [
    "as_step_cache",
    "create_disk_cache",
    "create_memory_cache",
    "create_shared_cache",
    "doctor",
    "folder_delete",
    "folder_entries",
    "open_default",
    "open_remote",
]

_VERBS = ("get", "set", "has", "delete", "clear", "keys", "entries")


def create_disk_cache(
    directory: str | os.PathLike[str] | None = None,
    *,
    namespace: str = "",
    ttl: float | timedelta | str | None = None,
    size_limit: int | str | None = None,
    verify: Verify = "on",
    clock: Callable[[], float] = time.time,
) -> StepCache:
    """Return a cache in a folder on disk, that any number of kernels may share.

    Parameters
    ----------
    directory
        The folder; None means the project's own (`.awaitly`), see `aw.configure`.
    namespace
        Keys of different namespaces do not see each other.
    ttl
        How long results are served: seconds, a timedelta or text such as "7d". None means for ever.
    size_limit
        SizeLimit on the folder: bytes or text such as "20GB". None means nothing is ever evicted.
    verify
        `"on"`: an entry whose signature does not fit counts as absent, with a warning. `"strict"`: it raises. `"off"`:
        signatures are not looked at; only for folders that nobody else can write to.
    clock
        Seconds since the epoch.
    """
    from awaitly_nb.config import cache_directory, settings

    folder = open_folder(cache_directory() if directory is None else directory, mmap=settings().mmap)
    return StoredCache(
        # What was not verified must not be served to a cache that verifies, so "off" has no part in the tier.
        folder if verify == "off" else folder.tier,
        namespace=namespace,
        ttl=ttl,
        verify=verify,
        clock=clock,
        keyring=folder.secrets,
        bound=None if size_limit is None else SizeLimit(folder, parse_size(size_limit, name="size_limit")),
    )


def create_memory_cache(
    max_size: int | None = None,
    ttl: float | timedelta | str | None = None,
    clock: Callable[[], float] = time.time,
) -> StepCache:
    """Return a cache in this process's memory.

    Parameters
    ----------
    max_size
        How many entries it keeps at most; the least recently used goes first. None means no bound.
    ttl
        How long results are served: seconds, a timedelta or text such as "7d". None means for ever.
    clock
        Seconds since the epoch.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> cache = create_memory_cache(max_size=2)
    >>> for key in "abc":
    ...     cache.set(key, aw.Ok(key))
    >>> cache.keys()
    ['b', 'c']
    """
    from awaitly_nb.cache.memory import DictStore

    return StoredCache(DictStore(max_size, clock), ttl=ttl, clock=clock)


def create_shared_cache(
    store: object,
    *,
    namespace: str = "",
    ttl: float | timedelta | str | None = None,
    verify: Verify = "on",
    clock: Callable[[], float] = time.time,
) -> StepCache:
    """Return a cache over a server, or a bucket, that several machines share.

    They verify each other's entries by a common secret: set `AWAITLY_NB_SECRET` to the same text on each.

    While the server is away, steps are computed. It is asked again after ten times as long as it took to see that, a
    minute at most; a value that took longer to compute than a try takes is offered to it in any case.

    Parameters
    ----------
    store
        What `aw.postgres`, `aw.mongo`, `aw.redis`, `aw.libsql` or `aw.objects` returned.
    namespace, ttl, verify, clock
        As for `create_disk_cache`.
    """
    from awaitly_nb.cache.shared import Share

    # What `aw.postgres` and its like return keeps resume states; the records beneath serve both.
    records = cast("Store", getattr(store, "records", store))
    return StoredCache(Share(records), namespace=namespace, ttl=ttl, verify=verify, clock=clock)


def as_step_cache(cache: object) -> StepCache:
    """Return `cache` as a step cache: itself where it is one, a wrapper around a plain mutable mapping.

    Raises
    ------
    MisuseError
        It is neither.
    """
    if isinstance(cache, MutableMapping):
        from awaitly_nb.cache.memory import MappingCache

        return MappingCache(cache)
    if all(callable(getattr(cache, verb, None)) for verb in _VERBS) and not isinstance(cache, type):
        return cache  # type: ignore[return-value]
    raise MisuseError(
        f"{type(cache).__name__} is no cache: "
        "give aw.create_disk_cache(...), aw.create_memory_cache(...), a dict or None"
    )


def open_default(namespace: str, *, later: Callable[[Callable[[], None]], object] | None = None) -> StepCache:
    """Return the default disk cache, in `namespace`.

    Parameters
    ----------
    later
        Is given what authenticates the buffers of a large entry, in place of doing so at its hit; it raises CacheError.
    """
    from awaitly_nb.config import cache_directory, settings

    # A decorated function asks at every call, so that a change of settings shows at once; the answer is remembered.
    chosen, directory = settings(), cache_directory()
    key = (namespace, directory, chosen, default_keyring().own.id)
    if (cache := _defaults.get(key)) is None:
        cache = _defaults[key] = create_disk_cache(
            directory, namespace=namespace, ttl=chosen.ttl, size_limit=chosen.size_limit, verify=chosen.verify
        )
        if chosen.remote is not None and isinstance(cache, StoredCache):
            _put_remote_behind(cache, open_folder(directory, mmap=chosen.mmap), chosen)
    return cache.checking_later(later) if later is not None and isinstance(cache, StoredCache) else cache


_defaults: dict[object, StepCache] = {}
_sources: dict[str, Source | None] = {}


def _put_remote_behind(cache: StoredCache, folder: Folder, chosen: Settings) -> None:
    from awaitly_nb.cache.remote import Remote
    from awaitly_nb.codec import own_identity

    if chosen.remote is not None and (source := _source_at(chosen.remote, chosen.remote_wait)) is not None:
        cache.store = Remote(
            cache.store,
            folder,
            source,
            always=chosen.remote_write == "always",
            size_limit=chosen.size_limit,
            identity=own_identity,
        )


def _source_at(url: str, wait_s: float) -> Source | None:
    """Return the remote at an address, the same one for all caches of a process; None where it cannot be opened."""
    from awaitly_nb.cache.remote import Source

    if url not in _sources:
        try:
            _sources[url] = Source(open_remote(url), wait_s=wait_s)
        except (MissingExtraError, MisuseError, InvalidOptionError) as exc:
            _sources[url] = None
            warn(f"the remote of the settings cannot be used, so steps are computed: {exc}", CacheUnusableWarning)
    return _sources[url]


def open_remote(url: str) -> Published:
    """Return what is published at an address; raises as `stores.at_address`.

    Its signers are trusted as the user's own list says.
    """
    from awaitly_nb.cache.published import Published
    from awaitly_nb.codec import signer_name
    from awaitly_nb.stores import store_at

    return Published(store_at(url), signer_name)


def folder_entries(pattern: str = "*") -> list[Entry]:
    """Return what is known of the live keys in all namespaces of the default folder that match the glob `pattern`."""
    matches = matcher_of(pattern)
    rows = [row for row in _default_folder().heads() if matches is None or matches(row[0].partition(SEPARATOR)[2])]
    return [entry_of(*found) for found in live_heads(rows, time.time())]


def folder_delete(pattern: str) -> int:
    """Remove the keys in all namespaces of the default folder that match the glob `pattern`; return how many."""
    folder = _default_folder()
    matches = matcher_of(pattern)
    names = folder.names(containing=SEPARATOR + literal_of(pattern))
    return folder.delete([name for name in names if matches is None or matches(name.partition(SEPARATOR)[2])])


def recorded(directory: str | os.PathLike[str], *namespaces: str) -> Iterator[tuple[str, str, Mark, int]]:
    """Yield namespace, key, mark and size in bytes of the live successes that verify, oldest first of each namespace.

    Decodes no value.
    """
    from awaitly_nb.config import settings

    cache = create_disk_cache(directory)
    rows = open_folder(directory, mmap=settings().mmap).heads_of([space + SEPARATOR for space in namespaces])
    for name, mark, size_bytes in cache.recorded(rows) if isinstance(cache, StoredCache) else ():
        namespace, _, key = name.partition(SEPARATOR)
        yield namespace, key, mark, size_bytes


def doctor(directory: str | os.PathLike[str] | None = None, *, fix: bool = False) -> Report:
    """Look a cache folder over, and put it right if asked.

    Parameters
    ----------
    directory
        The folder; None means the default one.
    fix
        Whether to repair what is found: orphan files and entries that can never be served are removed, a damaged
        database is set aside and rebuilt, a folder that others can write to is made private.
    """
    from awaitly_nb.cache.repair import examine

    return examine(_default_folder() if directory is None else open_folder(directory), fix=fix)


def _default_folder() -> Folder:
    from awaitly_nb.config import cache_directory, settings

    return open_folder(cache_directory(), mmap=settings().mmap)
