"""Why a step would hit or miss, told from the parts of its key and of the nearest cached one."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from awaitly_nb.drawing import html_of
from awaitly_nb.engine.listeners import error_line
from awaitly_nb.engine.lookup import FIRST_RUN
from awaitly_nb.errors import StepTimeoutError, UnexpectedError
from awaitly_nb.frozen import Frozen
from awaitly_nb.keys import Parts
from awaitly_nb.result import mark_of
from awaitly_nb.units import show_age, show_duration

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator
    from datetime import datetime

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine.lookup import Compute, Serve
    from awaitly_nb.engine.run import Run, StepSpec
    from awaitly_nb.keys import Change
    from awaitly_nb.result import Err

__all__ = [
    "Miss",
    "Why",
    "explain_hit",
    "explain_miss",
    "failed_before",
    "failure_line",
    "forget_failure",
    "note_failure",
    "seen_parts",
]


class Why(Frozen):
    """Why a call hits or misses.

    Attributes
    ----------
    hit
        True when a cached result would be served.
    key
        The key.
    reason
        One line.
    changes
        What differs from the nearest cached result of the same step; each has `.part`, `.line` and `.detail`.
    """

    hit: bool
    key: str
    reason: str
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        return f"{'hit' if self.hit else 'miss'}: {self.reason}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's own; Any: its printer
        printer.text("..." if cycle else str(self))

    def _repr_html_(self) -> str | None:
        return html_of(self)


def explain_hit(spec: StepSpec, decision: Serve, now: datetime) -> Why:
    """Return when the cached result was computed, and how long it took."""
    mark = mark_of(decision.result)
    told = []
    if mark is not None and mark.at is not None:
        told.append(f"computed {show_age(mark.at, now)}")
    if mark is not None and mark.duration_s is not None:
        told.append(f"in {show_duration(mark.duration_s)}")
    if decision.stale_code:
        told.append("(the code changed since)")
    assert spec.key is not None
    return Why(True, spec.key, " ".join(told) or "cached")  # noqa: FBT003 - the first field


def explain_miss(run: Run, spec: StepSpec, decision: Compute) -> Why:
    """Return which part of the key is new since the nearest cached result of the same step."""
    assert spec.key is not None
    if decision.reason == FIRST_RUN and (failed := _FAILED.get((run.scope, spec.key))) is not None:
        return Why(False, spec.key, failed)  # noqa: FBT003 - the first field
    if decision.reason == FIRST_RUN and spec.parts is not None and run.cache is not None:
        changes = _nearest(_cached(run.cache, spec.step_id), spec.parts)
        return Why(False, spec.key, _line(changes) or decision.reason, changes)  # noqa: FBT003
    return Why(False, spec.key, decision.reason)  # noqa: FBT003


def _line(changes: Iterable[Change]) -> str:
    return "; ".join(change.line for change in changes)


class Miss:
    """Why a step is computed; its text is worked out when somebody asks, from what was known at the miss.

    A key is compared with those that this process saw lately, and with the cache only where it saw none: in a loop of
    ten thousand misses nobody wants ten thousand listings.
    """

    __slots__ = ("_at", "_cache", "_parts", "_seen", "_step_id", "_text")

    def __init__(self, run: Run, spec: StepSpec, decision: Compute) -> None:
        self._text: str | None = decision.reason
        self._step_id, self._cache, self._parts = spec.step_id, run.cache, spec.parts
        self._seen: tuple[Parts, ...] = ()
        self._at = run.now()
        if decision.reason != FIRST_RUN:
            return
        assert spec.key is not None
        if (failed := _FAILED.get((run.scope, spec.key))) is not None:
            self._text = failed
        elif spec.parts is not None and run.cache is not None:
            self._text = None
            self._seen = tuple(_SEEN.get((run.scope, spec.step_id), ()))
            _LATEST.append(self)
            if len(_LATEST) > _LATEST_MISSES:
                str(_LATEST.popleft())  # and what it is made of can go
        if spec.parts is not None:
            _note_parts(run, spec.step_id, spec.parts)

    def __str__(self) -> str:
        if self._text is None:
            assert self._parts is not None
            assert self._cache is not None
            changes = _nearest(self._seen or _cached(self._cache, self._step_id, before=self._at), self._parts)
            self._text = _line(changes) or FIRST_RUN
            self._seen, self._parts, self._cache = (), None, None
        return self._text


_LATEST_MISSES = 4096
_LATEST: deque[Miss] = deque()
_SEEN_STEPS, _SEEN_PARTS = 256, 8
_SEEN: OrderedDict[tuple[Hashable, str], deque[Parts]] = OrderedDict()


def _note_parts(run: Run, step_id: str, parts: Parts) -> None:
    """Remember the parts of a key that is computed now, to compare the next miss with."""
    where = (run.scope, step_id)
    _SEEN.setdefault(where, deque(maxlen=_SEEN_PARTS)).appendleft(parts)
    _SEEN.move_to_end(where)
    if len(_SEEN) > _SEEN_STEPS:
        _SEEN.popitem(last=False)


_FAILED_KEYS = 10_000
_FAILED: OrderedDict[tuple[Hashable, str], str] = OrderedDict()


def note_failure(run: Run, spec: StepSpec, result: Err[Any]) -> None:
    """Remember that a key failed, and that this is not cached: to the cache it is as new as before."""
    assert spec.key is not None
    mark = mark_of(result)
    if isinstance(result.error, StepTimeoutError):
        why = "timed out last time; that is not cached"
    elif mark is not None and mark.origin == "throw":
        why = "failed last time; exceptions are not cached"
    else:
        why = "failed last time; that was not cached"
    _FAILED[run.scope, spec.key] = why
    if len(_FAILED) > _FAILED_KEYS:
        _FAILED.popitem(last=False)


def failed_before(run: Run, spec: StepSpec) -> bool:
    """Tell whether it was noted that the key failed."""
    return bool(_FAILED) and (run.scope, spec.key) in _FAILED


def forget_failure(run: Run, spec: StepSpec) -> None:
    """Drop the note: the key is computed again."""
    if _FAILED:
        _FAILED.pop((run.scope, spec.key or ""), None)


def failure_line(error: object) -> str:
    """Return the error of a failed step as a reader knows it: an exception by its own name."""
    if isinstance(error, UnexpectedError):
        return f"{error.cause_type}: {error.cause_message}"
    return error_line(error)


def seen_parts(step_id: str) -> list[Parts]:
    """Return the parts of the keys that a step was lately computed under in this process, newest first."""
    return [parts for (_, seen_id), seen in list(_SEEN.items()) if seen_id == step_id for parts in list(seen)]


def _cached(cache: StepCache, step_id: str, before: datetime | None = None) -> Iterator[Parts]:
    """Yield the parts of the cached results of a step, newest first; those computed before an instant."""
    if (marks := getattr(cache, "marks", None)) is None:
        return
    for mark in marks(step_id, before=before):  # not its own, which may be there by now, and large
        if mark.parts is not None:
            yield Parts.from_data(dict(mark.parts))


def _nearest(candidates: Iterable[Parts], parts: Parts) -> tuple[Change, ...]:
    """Return the difference to the candidate that differs in the fewest parts, the first of equals."""
    from awaitly_nb.keys import diff  # by way of all that has an outline

    mine = _digests(parts)
    others = [(len(mine ^ _digests(known)), known) for known in candidates if known != parts]
    nearest = min(others, key=lambda other: other[0], default=None)
    return () if nearest is None else diff(nearest[1], parts)


def _digests(parts: Parts) -> set[tuple[str, str, str]]:
    return {(part.kind, part.name, part.digest) for part in parts.parts}
