"""The contract of step caches: `StepCache`, what it tells of an entry, and why a look-up found nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from awaitly_nb.errors import MisuseError
from awaitly_nb.result import Err, Ok

if TYPE_CHECKING:
    from datetime import timedelta

    import pandas as pd

    from awaitly_nb.result import Mark, Result

__all__ = ["Entry", "Missed", "StepCache", "check_result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a kept result without decoding it.

    Attributes
    ----------
    key, namespace
        The plain key, and the namespace it lies in.
    step_id, workflow
        Who computed it.
    ok
        False for a kept failure.
    size_bytes
        Size on disk or in memory.
    created_at
        When it was computed, aware UTC.
    duration_s
        Seconds it took.
    expires_at
        When it stops being served, or None.
    hits
        How often it was served, as far as was counted.
    call
        Of an automatic key, the call as people read it, with a digest of its arguments; else None.
    """

    key: str
    namespace: str = ""
    step_id: str | None = None
    workflow: str | None = None
    ok: bool = True
    size_bytes: int | None = None
    created_at: datetime | None = None
    duration_s: float | None = None
    expires_at: datetime | None = None
    hits: int = 0
    call: str | None = None

    @property
    def age_s(self) -> float | None:
        """Seconds since it was computed; None where nobody wrote that down."""
        return None if self.created_at is None else (datetime.now(UTC) - self.created_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Missed:
    """Why a look-up found nothing to serve.

    Attributes
    ----------
    reason
        One word for the rule that decided.
    detail
        One line for the reader, as in "expired 2 h ago".
    mark
        What is known of the entry that could not be served, if there was one.
    """

    reason: Literal["absent", "expired", "damaged", "unverified", "undecodable", "unusable"] = "absent"
    detail: str = ""
    mark: Mark | None = None


def check_result(key: str, result: object) -> None:
    """Raise MisuseError if `result` is a bare value."""
    if not isinstance(result, Ok | Err):
        raise MisuseError(
            f"set({key!r}, ...) was given a {type(result).__name__}, and caches keep results: give aw.Ok(value)"
        )


class StepCache(Protocol):
    """Kept results by key. A user's own cache needs these methods; `lookup` and `single_flight` are optional.

    `lookup(key) -> Result | Missed` is `get` with the reason, and `single_flight(key)` a context manager that is held
    while the key is computed, across kernels.
    """

    def get(self, key: str) -> Result[Any, Any] | None:
        """Return the result kept under `key`, or None if absent, expired or unverifiable."""

    def set(self, key: str, result: Result[Any, Any], *, ttl: float | timedelta | str | None = None) -> None:
        """Keep `result` under `key` for `ttl`: seconds, a timedelta or text such as "7d"; None is the cache's own."""

    def has(self, key: str) -> bool:
        """Tell whether `get` would find something, without decoding it."""

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether there was something to remove."""

    def clear(self) -> None:
        """Remove every key of this cache's namespace."""

    def keys(self) -> list[str]:
        """Return the live keys, oldest first."""

    def entries(self, pattern: str = "*") -> list[Entry]:
        """Return what is known of the live keys that match the glob `pattern`, oldest first; decodes no value."""

    def to_frame(self) -> pd.DataFrame:
        """Return the entries as a pandas DataFrame, one row per key."""
