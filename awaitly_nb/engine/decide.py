"""The rules: may a kept result be served, and may a fresh one be kept? Pure functions, no effects, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from awaitly_nb.errors import InvalidOptionError, MisuseError, StepTimeoutError, UnexpectedError
from awaitly_nb.result import Err, Ok, mark_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.cache import Missed
    from awaitly_nb.result import Result

__all__ = ["FIRST_RUN", "CacheErrors", "Compute", "Serve", "Source", "decide", "may_keep", "parse_cache_errors"]

CacheErrors: TypeAlias = Literal["returned", "all", "none"]
Source: TypeAlias = Literal["run", "resumed", "cache"]

# These tell of the moment (a full disk, a missing package, a slow network), or of how the step was called, and not of
# the step's inputs.
_OF_THE_MOMENT = (OSError, ImportError, MemoryError, MisuseError, InvalidOptionError)


@dataclass(frozen=True, slots=True)
class Serve:
    """Serve the kept result. `stale_code`: the step's code has changed since it was computed."""

    result: Result[Any, Any]
    source: Source
    stale_code: bool = False


@dataclass(frozen=True, slots=True)
class Compute:
    """Compute the step; `reason` says why, in one line."""

    reason: str


def parse_cache_errors(value: object) -> CacheErrors:
    """Return `value` as a policy for failures.

    Raises
    ------
    InvalidOptionError
        It is none of "returned", "all", "none".
    """
    match value:
        case "returned" | "all" | "none":
            return value
    raise InvalidOptionError(f'cache_errors={value!r} is unknown; use "returned", "all" or "none"')


def decide(
    found: Result[Any, Any] | Missed,
    *,
    source: Source,
    policy: CacheErrors,
    code: str | None,
    automatic: bool,
    changed_files: Sequence[str] = (),
) -> Serve | Compute:
    """Decide whether what was found may be served.

    Parameters
    ----------
    found
        What the look-up came to.
    source
        Where it was found. Within one run a key is computed at most once, whatever it came to.
    policy
        Which failures may be replayed.
    code
        The code mark of the step's function now; None where there is none to compare.
    automatic
        True when the key was made from code and arguments, so that files the step read must be unchanged too.
    changed_files
        One line per file that changed since.
    """
    if not isinstance(found, Ok | Err):
        return Compute(found.detail or _MISSED[found.reason])
    if source == "run":
        return Serve(found, source)
    mark = mark_of(found)
    stale_code = mark is not None and mark.code is not None and code is not None and mark.code != code
    if isinstance(found, Err):
        if not may_keep(found, policy=policy):
            return Compute("was a failure that is not replayed")
        if stale_code:
            return Compute("was a failure and the code changed")
    if automatic and changed_files:
        return Compute("; ".join(changed_files))
    return Serve(found, source, stale_code and not automatic)


FIRST_RUN = "first run"
"""Why a key that was never kept is computed."""

_MISSED = {
    "absent": FIRST_RUN,
    "expired": "expired",
    "damaged": "the kept entry is damaged",
    "unverified": "the kept entry could not be verified",
    "undecodable": "the kept entry could not be decoded",
    "unusable": "the cache could not be used",
}


def may_keep(result: Result[Any, Any], *, policy: CacheErrors) -> bool:
    """Tell whether `result` may be kept and served again: every success, and the failures that `policy` allows."""
    if isinstance(result, Ok):
        return True
    if policy == "none" or isinstance(result.error, StepTimeoutError):
        return False
    mark = mark_of(result)
    thrown = (mark is not None and mark.origin == "throw") or isinstance(result.error, UnexpectedError)
    if not thrown:
        return True
    if policy != "all" or isinstance(result.cause, _OF_THE_MOMENT):
        return False
    return result.cause is None or isinstance(result.cause, Exception)
