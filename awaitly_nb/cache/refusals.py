"""What a cache says of entries that it does not serve: once each, and never in the way of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awaitly_nb.cache.entry import Missed
from awaitly_nb.cache.held import SEPARATOR
from awaitly_nb.codec import EnvelopeError
from awaitly_nb.errors import (
    CacheUnusableWarning,
    DamagedEntryWarning,
    ForeignSecretWarning,
    StoreError,
    UnverifiedEntryError,
    warn,
)
from awaitly_nb.stores import DamagedRecordError

if TYPE_CHECKING:
    from awaitly_nb.errors import AwaitlyWarning

__all__ = ["Refusals"]

_MOST_DAMAGE_TOLD: Final = 20


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
            raise UnverifiedEntryError(f"{_key(name)!r} was not served: {exc}") from exc
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
                "outdated", f"entries of {self._where} are not served, {_key(name)!r} first: {exc}", DamagedEntryWarning
            )
        else:
            self._tell_damage(name, exc)
        return Missed("damaged" if reason == "damaged" else "unverified", str(exc))

    def _tell_damage(self, name: str, exc: Exception) -> None:
        if sum(isinstance(what, _Damage) for what in self._told) < _MOST_DAMAGE_TOLD:
            self._tell(_Damage((name, str(exc))), f"{_key(name)!r} counts as absent: {exc}", DamagedEntryWarning)
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


def _key(name: str) -> str:
    return name.partition(SEPARATOR)[2]
