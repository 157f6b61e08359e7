"""`StepCache` over any store: expiry, namespaces, verification, entries. A folder on disk adds its in-memory tier.

A record's name is the namespace, a separator and the key, so that caches of several workflows lie in one store and each
sees plain keys.
"""

from __future__ import annotations

import heapq
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from awaitly_nb.cache.bounds import evict, refuse_if_too_large
from awaitly_nb.cache.entry import Entry, Missed, check_result
from awaitly_nb.cache.folder import FILE_FROM
from awaitly_nb.cache.heads import entry_of, frame_of, live_heads, matcher_of, number_of
from awaitly_nb.cache.held import SEPARATOR, Held, fresh_ok, hold, open_held, seal_held
from awaitly_nb.cache.refusals import Refusals
from awaitly_nb.cache.tier import MAX_ENTRY_BYTES
from awaitly_nb.codec import EnvelopeError, UndecodableError, decode_plain, default_keyring
from awaitly_nb.drawing import html_of
from awaitly_nb.errors import CacheError, InvalidOptionError, MisuseError, StoreError
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta

    import pandas as pd

    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.codec import Keyring
    from awaitly_nb.locks import KernelFlight, LeasedFlight
    from awaitly_nb.result import Mark, Result
    from awaitly_nb.stores import Body, Store

__all__ = ["StoredCache", "Verify"]

Verify = Literal["on", "strict", "off"]


class StoredCache:
    """Kept results in a store. Made by `create_disk_cache` and `create_shared_cache`."""

    def __init__(
        self,
        store: Store | Folder,
        *,
        namespace: str = "",
        ttl: float | timedelta | str | None = None,
        verify: Verify = "on",
        clock: Callable[[], float] = time.time,
        folder: Folder | None = None,
        keyring: Callable[[], Keyring] = default_keyring,
        size_limit: int | None = None,
    ) -> None:
        if SEPARATOR in namespace:
            raise InvalidOptionError(f"namespace={namespace!r} holds the separator U+001F; leave it out")
        if not _is_text(namespace):
            raise InvalidOptionError(f"namespace={namespace!r} holds half of a character, which no store can keep")
        if verify not in ("on", "strict", "off"):
            raise InvalidOptionError(f"verify={verify!r} is unknown; use 'on', 'strict' or 'off'")
        self.namespace = namespace
        self._store = store
        self._folder = folder
        self._prefix = namespace + SEPARATOR
        self._ttl_s = None if ttl is None else parse_duration(ttl, name="ttl")
        self._verify = verify
        self._clock = clock
        self._keyring = keyring
        self._size_limit = size_limit
        self._refusals = Refusals(repr(self), set() if folder is None else folder.told, strict=verify == "strict")
        self._held: Mapping[str, Held] = {}
        if folder is not None and verify != "off":
            # What was not verified must not be served to a cache that verifies, so "off" has no part in the tier.
            self._held = folder.tier.entries
            self._stamp = folder.store.database.version

    def __repr__(self) -> str:
        where = self._folder.directory if self._folder is not None else type(self._store).__name__
        return f"<cache {self.namespace!r} in {where}>"

    @property
    def identity(self) -> tuple[str, str] | None:
        """What all handles of one namespace of one folder have in common; None over a server."""
        return None if self._folder is None else (str(self._folder.directory), self.namespace)

    # Looking up

    def get(self, key: str) -> Result[Any, Any] | None:
        """Return the result kept under `key`, or None if absent, expired or unverifiable."""
        try:
            # The first lines of `lookup` once more: a call costs a tenth of what this road may cost.
            held = self._held.get(self._prefix + key)
            if held is not None and held.timeless and held.stamp == self._stamp():
                held.hits += 1
                return fresh_ok(decode_plain(held.stream), held.mark)
        except Exception:  # noqa: BLE001, S110 - the strangers are SQLite and the value's own unpickling; below they are asked again
            pass
        found = self._look_up_by_row(key)
        return None if isinstance(found, Missed) else found

    def lookup(self, key: str) -> Result[Any, Any] | Missed:
        """Return the result kept under `key`, or why there is none.

        Raises
        ------
        UnverifiedEntryError
            The entry does not verify, and the cache was made with `verify="strict"`.
        """
        try:
            # The first lines of `get` once more, for the engine.
            held = self._held.get(self._prefix + key)
            if held is not None and held.timeless and held.stamp == self._stamp():
                held.hits += 1
                return fresh_ok(decode_plain(held.stream), held.mark)
        except Exception:  # noqa: BLE001, S110 - the strangers are SQLite and the value's own unpickling; below they are asked again
            pass
        return self._look_up_by_row(key)

    def _look_up_by_row(self, key: str) -> Result[Any, Any] | Missed:
        name = self._name(key)
        try:
            if self._folder is None:
                return self._look_up(name)
            held = self._held.get(name)
            # The stamp of a timeless one has just been compared, by whoever called this.
            if held is not None and not held.timeless and held.stamp == self._folder.stamp():
                return self._serve(held)
            return self._look_up_in(self._folder, name, held)
        except (StoreError, EnvelopeError) as exc:
            return self._refusals.miss(exc, name)

    def _look_up(self, name: str) -> Result[Any, Any] | Missed:
        record = self._store.read(name)
        if record is None:
            return Missed()
        body = memoryview(record.body or b"")
        held = open_held(name, record.head, body, self._keyring(), verify=self._verify != "off")
        return self._serve(held, once=not body.readonly)

    def _look_up_in(self, folder: Folder, name: str, known: Held | None) -> Result[Any, Any] | Missed:
        # Both are read before the row: what this process or another writes meanwhile makes the entry stale, not wrong.
        writes, stamp = folder.tier.writes, folder.seen_stamp()
        if known is not None and known.size_bytes >= FILE_FROM and known.version == folder.version(name):
            known.stamp = stamp
            return self._serve(known)
        found = folder.fetch(name)
        if found is None:
            return Missed("absent", "removed from the cache" if name in folder.removed else "")
        head, body, version, _, file_stamp = found
        if known is not None and known.version == version:
            known.stamp = stamp  # Somebody has written something, but not to this entry: it is not verified again.
            return self._serve(known)
        verify = self._verify != "off"
        held = open_held(
            name,
            head,
            body,
            folder.keyring,
            verify=verify,
            checked=file_stamp is not None and folder.checked.get(version) == file_stamp,
        )
        if held.buffers and verify:
            folder.checked[version] = file_stamp
        if not verify or not _suits_tier(held, folder):
            folder.tier.count(name)
            return self._serve(held, once=type(body) is not bytes)
        held.own_bytes()
        held.stamp, held.version = stamp, version
        folder.tier.put(name, held, writes=writes)
        return self._serve(held)

    def _serve(self, held: Held, *, once: bool = False) -> Result[Any, Any] | Missed:
        if held.expires_at is not None and not held.alive(now := self._clock()):
            return Missed("expired", _expired(held, now), held.mark)
        held.hits += 1
        try:
            return held.result(once=once)
        except UndecodableError as exc:
            return Missed("undecodable", str(exc), held.mark)

    def has(self, key: str) -> bool:
        """Tell whether `get` would find something, without decoding it."""
        name = self._name(key)
        if self._folder is not None:
            try:
                return name in self._folder.names(name, alive_at=self._clock())
            except StoreError as exc:
                self._refusals.miss(exc)
                return False
        return any(found == name for found, _, _ in self._heads(name))

    def head_of(self, key: str) -> dict[str, Any] | None:
        """Return the head of a live entry that is signed with a secret trusted here, or None; reads no body."""
        name = self._name(key)
        try:
            head = next((head for found, head, _ in self._heads(name) if found == name), None)
        except StoreError:
            return None  # the look-up that follows says why
        trusted = self._verify == "off" or (head and self._keyring().find(str(head.get("secret"))))
        return head if trusted else None

    # Writing

    def set(self, key: str, result: Result[Any, Any], *, ttl: float | timedelta | str | None = None) -> None:
        """Keep `result` under `key` for `ttl` (seconds, a timedelta, or text such as "7d"); None means the cache's own.

        Raises
        ------
        EncodeError
            Its value cannot be turned into bytes.
        CacheError
            It could not be written; nothing of it is left behind.
        """
        name = self._name(key)
        check_result(key, result)
        ttl_s = self._ttl_s if ttl is None else parse_duration(ttl, name="ttl")
        keyring = self._keyring() if self._folder is None else self._folder.keyring
        held, encoded = hold(result, now=self._clock(), ttl_s=ttl_s, keyring=keyring)
        head, body = seal_held(name, held, encoded, keyring)
        if self._size_limit is not None:
            refuse_if_too_large(key, encoded.size_bytes + len(head), self._size_limit)
        try:
            if self._folder is None:
                self._store.swap(name, head, body)
            else:
                self._write(self._folder, name, held, head, body)
                if self._size_limit is not None:
                    evict(self._folder, self._size_limit, spare=name)
        except StoreError as exc:
            raise CacheError(f"could not keep {key!r}: {exc}") from exc

    @staticmethod
    def _write(folder: Folder, name: str, held: Held, head: str, body: Sequence[Body]) -> None:
        folder.removed.discard(name)
        writes = folder.tier.drop(name)
        held.stamp = folder.seen_stamp()
        version = folder.swap(name, head, body, written_at=held.stored_at, expires_at=held.expires_at)
        held.version = version or ""
        if not _suits_tier(held, folder):
            folder.tier.drop(name)
        else:
            held.own_bytes()
            folder.tier.replace(name, held, writes=writes)

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether there was something to remove."""
        try:
            return self._store.delete([self._name(key)]) > 0
        except StoreError as exc:
            raise CacheError(f"could not delete {key!r}: {exc}") from exc

    def clear(self) -> None:
        """Remove every key of this cache's namespace."""
        try:
            if self._folder is not None:
                self._folder.delete(self._folder.names(self._prefix))
            else:
                self._store.delete([record.name for record in self._store.scan(self._prefix)])
        except StoreError as exc:
            raise CacheError(f"could not clear namespace {self.namespace!r}: {exc}") from exc

    def single_flight(self, key: str) -> KernelFlight | LeasedFlight:
        """Return the right to compute `key` among all kernels that use this folder, or this server."""
        if self._folder is not None:
            return self._folder.locks.flight(self._name(key))
        from awaitly_nb.locks import LeasedFlight

        return LeasedFlight(self._store, self._name(key))

    # Listing

    def keys(self) -> list[str]:
        """Return the live keys, oldest first."""
        try:
            if self._folder is not None:
                return self._folder.names(self._prefix, alive_at=self._clock(), bare=True)
            return [name[len(self._prefix) :] for name, _, _ in self._heads(self._prefix)]
        except StoreError as exc:
            self._refusals.miss(exc)
            return []

    def entries(self, pattern: str = "*") -> list[Entry]:
        """Return what is known of the live keys that match the glob `pattern`, oldest first; decodes no value."""
        try:
            matches, skip = matcher_of(pattern), len(self._prefix)
            return [
                entry_of(*found) for found in self._heads(self._prefix) if matches is None or matches(found[0][skip:])
            ]
        except StoreError as exc:
            self._refusals.miss(exc)
            return []

    def marks(self, step_id: str, *, limit: int = 20) -> Iterator[Mark]:
        """Yield the marks of the kept results of a step, newest first; decodes no value."""
        try:
            dated = [
                (number_of(head.get("created_at")) or 0.0, name)
                for name, head, _ in self._heads(self._prefix)
                if head.get("step_id") == step_id
            ]
            for _, name in heapq.nlargest(limit, dated):
                if (record := self._store.read(name)) is not None:
                    yield open_held(
                        name, record.head, record.body or b"", self._keyring(), verify=True, checked=True
                    ).mark
        except (StoreError, EnvelopeError):
            return  # no more is known; whoever serves the entry tells why

    def recorded(self) -> Iterator[tuple[str, Mark, int]]:
        """Yield key, mark and size in bytes of the live successes that verify here; decodes no value."""
        for name, head, _ in self._heads(self._prefix):
            if head.get("ok", True) is not True:
                continue
            try:
                record = self._store.read(name)
                if record is not None:
                    body = record.body or b""
                    mark = open_held(name, record.head, body, self._keyring(), verify=True, checked=True).mark
                    yield name[len(self._prefix) :], mark, mark.size_bytes or len(body)
            except (StoreError, EnvelopeError):
                continue  # who serves the entry tells why it cannot be

    def size_of(self, key: str) -> int | None:
        """Return the size of the kept value in bytes, or None where nothing is kept."""
        held = self._held.get(self._prefix + key)
        return None if held is None else held.size_bytes

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the entries as a pandas DataFrame, one row per key."""
        return frame_of(self.entries())

    # Details

    def _name(self, key: str) -> str:
        if type(key) is not str or not key:
            raise MisuseError(f'{key!r} is no key: use a text that is not empty, as in key=f"user:{{id}}"')
        if not _is_text(key):
            raise MisuseError(f"{key!r} is no key: it holds half of a character, which no store can keep")
        return self._prefix + key

    def _heads(self, prefix: str) -> Iterator[tuple[str, dict[str, Any], int]]:
        if self._folder is not None:
            rows = self._folder.heads(prefix)
        else:
            rows = [(record.name, record.head, 0) for record in self._store.scan(prefix)]
        return live_heads(rows, self._clock())


def _is_text(text: str) -> bool:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def _suits_tier(held: Held, folder: Folder) -> bool:
    return held.size_bytes <= MAX_ENTRY_BYTES and not folder.store.database.on_network


def _expired(held: Held, now: float) -> str:
    from awaitly_nb.units import show_age

    assert held.expires_at is not None
    return f"expired {show_age(datetime.fromtimestamp(held.expires_at, UTC), datetime.fromtimestamp(now, UTC))}"
