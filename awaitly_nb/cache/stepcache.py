"""`StepCache`, written once over any store: what is looked up, verified, decoded; and what is said when it cannot be.

A folder, a server and a dictionary are all a `Backend`: a store that can also open an entry (a folder has in memory
what it opened), and list heads. Results are found by namespace and key.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from awaitly_nb.cache.entry import (
    SEPARATOR,
    Missed,
    alive_names,
    check_key,
    check_result,
    entry_of,
    expired_since,
    frame_of,
    live_heads,
    matcher_of,
    number_of,
)
from awaitly_nb.cache.sealed import Sealed, hold, open_sealed, seal_result
from awaitly_nb.codec import EnvelopeError, UndecodableError, default_keyring
from awaitly_nb.drawing import html_of
from awaitly_nb.errors import (
    CacheError,
    CacheUnusableWarning,
    DamagedEntryWarning,
    ForeignSecretWarning,
    InvalidOptionError,
    LeaseHeldError,
    StoreError,
    UnverifiedEntryError,
    warn,
)
from awaitly_nb.stores import DamagedRecordError
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime, timedelta

    import pandas as pd

    from awaitly_nb.cache.entry import Entry
    from awaitly_nb.cache.folder import SizeLimit
    from awaitly_nb.codec import Keyring
    from awaitly_nb.errors import AwaitlyWarning
    from awaitly_nb.result import Mark, Result
    from awaitly_nb.stores import Body, Version

__all__ = ["Backend", "Make", "Seal", "StoredCache", "Verify"]

Verify = Literal["on", "strict", "off"]

Make: TypeAlias = "Callable[[str, str, Body, Version, object], Sealed]"
"""Opens an entry: name, head, body, version, and the stamp of the file that the body is, if it is one."""

Seal: TypeAlias = "Callable[[], tuple[str, list[Body]]]"
"""Returns head and body of an entry."""


_MOST_DAMAGE_TOLD: Final = 20


class Turn(Protocol):
    """The right to compute one key, among all who use a store."""

    def try_acquire(self) -> bool:
        """Take it if nobody has it."""

    def release(self) -> None:
        """Give it back."""


class Backend(Protocol):
    """What a cache needs of the store beneath it.

    Attributes
    ----------
    told
        What was warned of already, so that it is said once for the store.
    checked
        Of records whose buffers were authenticated: the stamps of their files, by version.
    """

    told: set[object]
    checked: dict[str, object]

    @property
    def entries(self) -> Mapping[str, Sealed]:
        """What is in memory, by name."""

    def open(self, name: str, make: Make) -> Sealed | Missed:
        """Return the entry called `name` as `make` opened it, now or before, or why there is none."""

    def peek(self, name: str, make: Make) -> Sealed | None:
        """Return the entry, or None, for a reader who is not served: it counts as no hit."""

    def put(self, name: str, sealed: Sealed, seal: Seal) -> None:
        """Write an entry."""

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records; return how many there were."""

    def head(self, name: str) -> str | None:
        """Return the head of a record, or None; reads no body."""

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits of the records whose names begin with `prefix`, oldest first."""

    def dated(self, prefix: str = "") -> list[tuple[str, str | None]]:
        """Return the names that begin with `prefix`, oldest first, with the heads of those that may expire."""

    def flight(self, name: str) -> Turn:
        """Return the right to compute `name`."""

    def share(self, text: bytes) -> str | None:
        """Return the digest of a part of keys that is stored once for all; None where it is not."""

    def shared(self, digest: str) -> bytes | None:
        """Return the part that a digest stands for, or None."""

    def unwritten_since(self, moment: object) -> bool:
        """Tell whether nobody, here or elsewhere, has written since the moment of a miss; False where nobody knows."""


class StoredCache:
    """Cached results in a store. Made by `create_disk_cache`, `create_memory_cache` and `create_shared_cache`."""

    def __init__(
        self,
        store: Backend,
        *,
        namespace: str = "",
        ttl: float | timedelta | str | None = None,
        verify: Verify = "on",
        clock: Callable[[], float] = time.time,
        keyring: Callable[[], Keyring] = default_keyring,
        bound: SizeLimit | None = None,
    ) -> None:
        if SEPARATOR in namespace or namespace.startswith("\x1e"):
            raise InvalidOptionError(f"namespace={namespace!r} holds a separator (U+001F, U+001E); leave it out")
        if not _is_text(namespace):
            raise InvalidOptionError(f"namespace={namespace!r} holds half of a character, which no store can hold")
        if verify not in ("on", "strict", "off"):
            raise InvalidOptionError(f"verify={verify!r} is unknown; use 'on', 'strict' or 'off'")
        self.namespace = namespace
        self.store = store
        directory = getattr(store, "directory", None)
        self.identity: tuple[str, str] | None = None if directory is None else (str(directory), namespace)
        """What all handles of one namespace of one folder have in common; None over a server."""
        self.ttl_s = None if ttl is None else parse_duration(ttl, name="ttl")
        self.verify = verify
        self._prefix = namespace + SEPARATOR
        self._clock = clock
        self._keyring = keyring
        self._bound = bound
        self._refusals = Refusals(repr(self), store.told, strict=verify == "strict")
        self._later: Callable[[Callable[[], None]], object] | None = None

    def __repr__(self) -> str:
        return f"<cache {self.namespace!r} in {self.store!r}>"

    def checking_later(self, later: Callable[[Callable[[], None]], object]) -> StoredCache:
        """Return this cache for a reader who authenticates the buffers of mapped entries when somebody reads them.

        Parameters
        ----------
        later
            Is given what does so for each of them; it raises CacheError.
        """
        from copy import copy

        found = copy(self)
        found._later = later  # noqa: SLF001 - its own class
        return found

    # Looking up

    def get(self, key: str) -> Result[Any, Any] | None:
        """Return the result cached under `key`, or None if absent, expired or unverifiable."""
        found = self.lookup(key)
        return None if type(found) is Missed else found

    def lookup(self, key: str) -> Result[Any, Any] | Missed:
        """Return the result cached under `key`, or why there is none.

        Raises
        ------
        UnverifiedEntryError
            The entry does not verify, and the cache was made with `verify="strict"`.
        """
        check_key(key)
        name = self._prefix + key
        try:
            sealed = self.store.open(name, self._open)
        except (StoreError, EnvelopeError) as exc:
            return self._refusals.miss(exc, name)
        if type(sealed) is Missed:
            return sealed
        if sealed.expires_at is not None and not sealed.alive(now := self._clock()):
            return Missed("expired", expired_since(sealed.expires_at, now), sealed.mark)
        try:
            return sealed.result(None if sealed.ok else self._keyring())
        except UndecodableError as exc:
            return Missed("undecodable", str(exc), sealed.mark)

    def _open(self, name: str, head: str, body: Body, version: Version, stamp: object) -> Sealed:
        store, verify = self.store, self.verify != "off"
        if stamp is None:  # no file: the body is signed as a whole
            return open_sealed(name, head, body, self._keyring(), verify=verify, home=store)
        known = store.checked.get(version) == stamp
        later = self._later if self._later is not None and _is_mapped(body) else None
        sealed = open_sealed(name, head, body, self._keyring(), verify=verify, checked=known, home=store, later=later)
        if verify and later is None:
            store.checked[version] = stamp
        return sealed

    def _glance(self, name: str, head: str, body: Body, version: Version, stamp: object) -> Sealed:
        """Open an entry for its mark; its buffers are not authenticated, and must not be used."""
        del version, stamp
        return open_sealed(name, head, body, self._keyring(), verify=True, checked=True, home=self.store)

    def has(self, key: str) -> bool:
        """Tell whether `get` would find something, without decoding it."""
        return self._live_head(key) is not None

    def head_of(self, key: str) -> dict[str, Any] | None:
        """Return the head of a live entry that is signed with a secret trusted here, or None; reads no body."""
        head = self._live_head(key)
        trusted = self.verify == "off" or (head and self._keyring().find(str(head.get("secret"))))
        return head if trusted else None

    def _live_head(self, key: str) -> dict[str, Any] | None:
        check_key(key)
        name = self._prefix + key
        try:
            text = self.store.head(name)
        except StoreError as exc:
            self._refusals.miss(exc)
            return None
        found = () if text is None else live_heads([(name, text, 0)], self._clock())
        return next((head for _, head, _ in found), None)

    # Writing

    def set(self, key: str, result: Result[Any, Any], *, ttl: float | timedelta | str | None = None) -> None:
        """Cache `result` under `key` for `ttl` (seconds, a timedelta, or text such as "7d"); None: the cache's own.

        Raises
        ------
        EncodeError
            Its value cannot be turned into bytes.
        LeaseHeldError
            It was computed under a lease on a server, which another has taken over; nothing was written.
        CacheError
            It could not be written; nothing of it is left behind.
        """
        check_key(key)
        check_result(key, result)
        name, keyring = self._prefix + key, self._keyring()
        ttl_s = self.ttl_s if ttl is None else parse_duration(ttl, name="ttl")
        sealed, encoded = hold(result, now=self._clock(), ttl_s=ttl_s, keyring=keyring)
        if self._bound is not None:
            self._bound.refuse(key, encoded.size_bytes)
        try:
            self.store.put(name, sealed, lambda: seal_result(name, sealed, encoded, keyring, self.store))
            if self._bound is not None:
                self._bound.enforce(spare={name})
        except LeaseHeldError:
            raise
        except StoreError as exc:
            raise CacheError(f"could not store {key!r}: {exc}") from exc

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether there was something to remove."""
        check_key(key)
        try:
            return self.store.delete([self._prefix + key]) > 0
        except StoreError as exc:
            raise CacheError(f"could not delete {key!r}: {exc}") from exc

    def clear(self) -> None:
        """Remove every key of this cache's namespace."""
        try:
            self.store.delete([name for name, _ in self.store.dated(self._prefix)])
        except StoreError as exc:
            raise CacheError(f"could not clear namespace {self.namespace!r}: {exc}") from exc

    def unwritten_since(self, moment: object) -> bool:
        """Tell whether nobody has written to the store since a look-up of that moment; False where nobody knows."""
        return moment is not None and self.store.unwritten_since(moment)

    def single_flight(self, key: str) -> Turn:
        """Return the right to compute `key` among all who use this folder, or this server."""
        check_key(key)
        return self.store.flight(self._prefix + key)

    # Listing

    def keys(self) -> list[str]:
        """Return the live keys, oldest first."""
        try:
            skip = len(self._prefix)
            return [name[skip:] for name in alive_names(self.store.dated(self._prefix), self._clock())]
        except StoreError as exc:
            self._refusals.miss(exc)
            return []

    def entries(self, pattern: str = "*") -> list[Entry]:
        """Return what is known of the live keys that match the glob `pattern`, oldest first; decodes no value."""
        try:
            matches, skip = matcher_of(pattern), len(self._prefix)
            rows = self.store.heads(self._prefix)
        except StoreError as exc:
            self._refusals.miss(exc)
            return []
        rows = rows if matches is None else [row for row in rows if matches(row[0][skip:])]
        return [entry_of(*found) for found in live_heads(rows, self._clock())]

    def marks(self, step_id: str, *, limit: int = 20, before: datetime | None = None) -> Iterator[Mark]:
        """Yield the marks of the cached results of a step, newest first, of those computed before an instant.

        Decodes no value, and still reads each entry whole, to verify it.
        """
        import heapq

        end = float("inf") if before is None else before.timestamp()
        try:
            dated = [
                (number_of(head.get("created_at")) or 0.0, name)
                for name, head, _ in live_heads(self.store.heads(self._prefix), self._clock())
                if head.get("step_id") == step_id
            ]
            for _, name in heapq.nlargest(limit, [one for one in dated if one[0] < end]):
                if (sealed := self.store.peek(name, self._glance)) is not None:
                    yield sealed.mark
        except (StoreError, EnvelopeError):
            return  # no more is known; whoever serves the entry tells why

    def recorded(self, rows: Iterable[tuple[str, str, int]]) -> Iterator[tuple[str, Mark, int]]:
        """Yield name, mark and size in bytes of those of these heads that are live successes and verify here.

        Decodes no value.
        """
        for name, head, _ in live_heads(rows, self._clock()):
            if head.get("ok", True) is not True:
                continue
            try:
                sealed = self.store.peek(name, self._glance)
            except (StoreError, EnvelopeError):
                continue  # who serves the entry tells why it cannot be
            if sealed is not None:
                yield name, sealed.mark, sealed.mark.size_bytes or sealed.size_bytes

    def size_of(self, key: str) -> int | None:
        """Return the size of the cached value in bytes, or None where that is not known without asking."""
        sealed = self.store.entries.get(self._prefix + key)
        return None if sealed is None else sealed.mark.size_bytes

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the entries as a pandas DataFrame, one row per key."""
        return frame_of(self.entries())


def _is_mapped(body: Body) -> bool:
    import mmap

    return isinstance(memoryview(body).obj, mmap.mmap)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Refusals:
    """Turns what went wrong in a look-up into a miss and a warning.

    Parameters
    ----------
    where
        The cache, as it is called in messages.
    told
        What was warned of already; may be shared by several caches.
    strict
        Whether an entry that does not verify is an error.
    """

    def __init__(self, where: str, told: set[object], *, strict: bool) -> None:
        self._where = where
        self._told = told
        self._strict = strict

    def miss(self, exc: EnvelopeError | StoreError, name: str = "") -> Missed:
        """Return why there is nothing called `name`; raises UnverifiedEntryError where verification is strict."""
        if isinstance(exc, StoreError) and not isinstance(exc, DamagedRecordError):
            self._tell("unusable", f"{self._where} cannot be used, so steps are computed: {exc}", CacheUnusableWarning)
            return Missed("unusable", str(exc))
        if self._strict:
            raise UnverifiedEntryError(f"{name.partition(SEPARATOR)[2]!r} was not served: {exc}") from exc
        reason = exc.reason if isinstance(exc, EnvelopeError) else "damaged"
        if isinstance(exc, EnvelopeError) and reason == "foreign":
            self._tell(
                ("foreign", exc.secret),
                f"entries of {self._where} were signed with a secret that is not trusted here ({exc.secret}); "
                "they stay, and are computed again when needed. If they are yours: `awaitly-nb trust`",
                ForeignSecretWarning,
            )
        elif reason == "outdated":
            self._tell(
                "outdated",
                f"entries of {self._where} are not served, {name.partition(SEPARATOR)[2]!r} first: {exc}",
                DamagedEntryWarning,
            )
        else:
            self._tell_damage(name, exc)
        return Missed("damaged" if reason == "damaged" else "unverified", str(exc))

    def _tell_damage(self, name: str, exc: Exception) -> None:
        if sum(isinstance(what, _Damage) for what in self._told) < _MOST_DAMAGE_TOLD:
            self._tell(
                _Damage((name, str(exc))),
                f"{name.partition(SEPARATOR)[2]!r} counts as absent: {exc}",
                DamagedEntryWarning,
            )
        else:
            more = "they are not named here, `%awaitly doctor` lists them"
            self._tell("damage", f"more entries of {self._where} count as absent; {more}", DamagedEntryWarning)

    def _tell(self, what: object, message: str, category: type[AwaitlyWarning]) -> None:
        if what not in self._told:
            self._told.add(what)
            warn(message, category)


class _Damage(tuple[str, str]):
    """A damaged entry that was told of: its name, and what is wrong."""

    __slots__ = ()
