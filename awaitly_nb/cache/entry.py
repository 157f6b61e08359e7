"""The contract of step caches: `StepCache`, what is known of an entry, and why a look-up found nothing.

What heads tell is not believed: anybody may have written one, and listings show them all. When an entry expires is
decided in one place, `is_alive`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, final

from awaitly_nb.codec import read_head
from awaitly_nb.errors import MisuseError
from awaitly_nb.frozen import Frozen
from awaitly_nb.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import timedelta

    import pandas as pd

    from awaitly_nb.result import Mark, Result

__all__ = [
    "SEPARATOR",
    "Entry",
    "Missed",
    "StepCache",
    "alive_names",
    "check_key",
    "check_result",
    "entries_for",
    "entry_of",
    "expired_since",
    "frame_of",
    "is_alive",
    "key_begun_by",
    "literal_of",
    "live_heads",
    "matcher_of",
    "number_of",
]

_set = object.__setattr__

SEPARATOR: Final = "\x1f"
"""Between namespace and key in a record's name."""

_LONGEST_KEY: Final = 1 << 16


class Entry(Frozen, kw_only=True):
    """What is known of a cached result without decoding it.

    Attributes
    ----------
    key, namespace
        The plain key, and the namespace it lies in.
    step_id, workflow
        Who computed it.
    ok
        False for a cached failure.
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
    came
        Of what was computed elsewhere: under which name its signer is trusted, and the versions of Python and of
        packages there; each with its name. Empty for what was computed here.
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
    came: tuple[tuple[str, str], ...] = ()

    # Written out, because a listing makes a hundred thousand.
    def __init__(
        self,
        *,
        key: str,
        namespace: str = "",
        step_id: str | None = None,
        workflow: str | None = None,
        ok: bool = True,
        size_bytes: int | None = None,
        created_at: datetime | None = None,
        duration_s: float | None = None,
        expires_at: datetime | None = None,
        hits: int = 0,
        call: str | None = None,
        came: tuple[tuple[str, str], ...] = (),
    ) -> None:
        _set(self, "key", key)
        _set(self, "namespace", namespace)
        _set(self, "step_id", step_id)
        _set(self, "workflow", workflow)
        _set(self, "ok", ok)
        _set(self, "size_bytes", size_bytes)
        _set(self, "created_at", created_at)
        _set(self, "duration_s", duration_s)
        _set(self, "expires_at", expires_at)
        _set(self, "hits", hits)
        _set(self, "call", call)
        _set(self, "came", came)

    @property
    def age_s(self) -> float | None:
        """Seconds since it was computed; None where nobody wrote that down."""
        return None if self.created_at is None else (datetime.now(UTC) - self.created_at).total_seconds()


# A tuple because each miss makes some, and a record takes five times as long to make.
@final
class Missed(NamedTuple):
    """Why a look-up found nothing to serve.

    Attributes
    ----------
    reason
        One word for the rule that decided.
    detail
        One line for the reader, as in "expired 2 h ago".
    mark
        What is known of the entry that could not be served, if there was one.
    moment
        What the cache's `unwritten_since` is to be asked, so that nobody looks again where nothing can have come.
    """

    reason: Literal["absent", "expired", "damaged", "unverified", "undecodable", "unusable"] = "absent"
    detail: str = ""
    mark: Mark | None = None
    moment: object = None


def check_result(key: str, result: object) -> None:
    """Raise MisuseError if `result` is a bare value."""
    if not isinstance(result, Ok | Err):
        raise MisuseError(
            f"set({key!r}, ...) was given a {type(result).__name__}, and caches keep results: give aw.Ok(value)"
        )


def check_key(key: str) -> None:
    """Raise MisuseError if `key` is no text, empty, longer than 64 kB, or nothing that UTF-8 can hold."""
    if type(key) is str and key.isascii() and 0 < len(key) <= _LONGEST_KEY:
        return  # as nearly all
    if type(key) is not str or not key:
        raise MisuseError(f'{key!r:.200} is no key: use a text that is not empty, as in key=f"user:{{id}}"')
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise MisuseError(f"{key!r:.200} is no key: it holds half of a character, which no store can hold") from None
    if size > _LONGEST_KEY:
        raise MisuseError(f"a key of {size:,} bytes, which begins {key[:40]!r}, is too long: use at most 65,536 bytes")


class StepCache(Protocol):
    """Cached results by key. A user's own cache needs these methods; `lookup` and `single_flight` are optional.

    `lookup(key) -> Result | Missed` is `get` with the reason, and `single_flight(key)` a context manager that is held
    while the key is computed, across kernels.
    """

    def get(self, key: str) -> Result[Any, Any] | None:
        """Return the result cached under `key`, or None if absent, expired or unverifiable."""

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


_TOO_LARGE: Final = 2**63


def number_of(value: object) -> float | None:
    """Return a number that a head holds, or None where it holds none, or one beyond what a float can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def is_alive(stored_at: float | None, expires_at: float | None, now: float) -> bool:
    """Tell whether an entry may be served at `now`; a clock set back by more than the whole TTL ends it too."""
    if expires_at is None or stored_at is None:
        return True
    return 2 * stored_at - expires_at <= now <= expires_at


def _head_is_alive(head: dict[str, Any], now: float) -> bool:
    return is_alive(number_of(head.get("stored_at")), number_of(head.get("expires_at")), now)


def expired_since(expires_at: float, now: float) -> str:
    """Return when an entry expired, for people."""
    from awaitly_nb.units import show_age

    return f"expired {show_age(datetime.fromtimestamp(expires_at, UTC), datetime.fromtimestamp(now, UTC))}"


def matcher_of(pattern: str) -> Callable[[str], object] | None:
    """Return what tells whether a key matches the glob, case-sensitively; None where every key does."""
    return None if pattern == "*" else re.compile(translate(pattern)).match


def literal_of(pattern: str) -> str:
    """Return what every text that matches the glob begins with."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0]


def live_heads(rows: Iterable[tuple[str, str, int]], now: float) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield name, head and hits of the entries that may be served at `now`."""
    for name, text, hits in rows:
        head = read_head(text)
        if head is not None and ("expires_at" not in head or _head_is_alive(head, now)):
            yield name, head, hits


def alive_names(rows: Iterable[tuple[str, str | None]], now: float) -> list[str]:
    """Return the names of the entries that may be served at `now`, of rows whose head is None where none expires."""
    return [
        name
        for name, text in rows
        if text is None or ((head := read_head(text)) is not None and _head_is_alive(head, now))
    ]


def entry_of(name: str, head: dict[str, Any], hits: int = 0) -> Entry:
    """Return what a head tells, without believing it: it is shown to people, and nothing else is done with it."""
    namespace, _, key = name.partition(SEPARATOR)
    get = head.get
    step_id, workflow, size = get("step_id"), get("workflow"), get("size_bytes")
    return Entry(
        key=key,
        namespace=namespace,
        step_id=step_id if type(step_id) is str else None,
        workflow=workflow if type(workflow) is str else None,
        ok=get("ok", True) is True,
        size_bytes=size if type(size) is int and 0 <= size < _TOO_LARGE else None,
        created_at=_instant(get("created_at")),
        duration_s=number_of(get("duration_s")),
        expires_at=_instant(get("expires_at")) if "expires_at" in head else None,
        hits=hits,
        call=call if type(call := get("call")) is str else None,
        came=_came(head["came"]) if "came" in head else (),
    )


def _came(told: Any) -> tuple[tuple[str, str], ...]:  # Any: anybody may have written it
    if not isinstance(told, dict) or type(told.get("signer")) is not str:
        return ()
    packages = told.get("packages")
    versions = {"python": told.get("python"), **(packages if isinstance(packages, dict) else {})}
    return (("signer", told["signer"]), *((name, text) for name, text in versions.items() if type(text) is str))


def _instant(value: Any) -> datetime | None:  # Any: anybody may have written it
    try:
        return datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def frame_of(entries: list[Entry]) -> pd.DataFrame:
    """Return entries as a DataFrame."""
    import pandas as pd

    columns = [*Entry._fields, "age_s"]
    return pd.DataFrame([[getattr(entry, column) for column in columns] for entry in entries], columns=columns)


_GLOB = frozenset("*?[")
_SHORTEST = 8
"""So much of a key has to be typed; what removes should not guess from less."""


def entries_for(word: str, find: Callable[[str], list[Entry]]) -> list[Entry]:
    """Return what a glob finds; where a plain word is no key, the keys that have it in them, or that its workflow has.

    Parameters
    ----------
    word
        What was typed.
    find
        Returns the entries whose whole key matches a glob.
    """
    found = find(word)
    if found or not word or _GLOB.intersection(word):
        return found
    return [entry for entry in find("*") if word == entry.namespace or word in entry.key]


def key_begun_by(word: str, keys: Collection[str]) -> str | None:
    """Return the one key that `word` is or begins, or None.

    Raises
    ------
    MisuseError
        It begins several.
    """
    if word in keys:
        return word
    begun = {key for key in keys if key.startswith(word)} if len(word) >= _SHORTEST else set()
    if len(begun) > 1:
        raise MisuseError(f"{len(begun)} keys begin with {word!r}; give more of the one you mean")
    return begun.pop() if begun else None
