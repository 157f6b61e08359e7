"""Why a step would hit or miss, told from the parts of its key and of the nearest kept one."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from awaitly_nb.drawing import html_of
from awaitly_nb.engine.lookup import FIRST_RUN
from awaitly_nb.engine.summary import error_line
from awaitly_nb.errors import StepTimeoutError, UnexpectedError
from awaitly_nb.frozen import Frozen
from awaitly_nb.keys import Parts, diff
from awaitly_nb.result import mark_of
from awaitly_nb.units import show_age, show_duration

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator
    from datetime import datetime

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine.lookup import Compute, Serve
    from awaitly_nb.engine.run import Run
    from awaitly_nb.engine.spec import StepSpec
    from awaitly_nb.keys import Change
    from awaitly_nb.result import Err

__all__ = [
    "Why",
    "explain_hit",
    "explain_miss",
    "failure_line",
    "forget_failure",
    "note_failure",
    "note_parts",
    "seen_parts",
]


class Why(Frozen):
    """Why a call hits or misses.

    Attributes
    ----------
    hit
        True when a kept result would be served.
    key
        The key.
    reason
        One line.
    changes
        What differs from the nearest kept result of the same step; each has `.part`, `.line` and `.detail`.
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
    """Return when the kept result was computed, and how long it took."""
    mark = mark_of(decision.result)
    told = []
    if mark is not None and mark.at is not None:
        told.append(f"computed {show_age(mark.at, now)}")
    if mark is not None and mark.duration_s is not None:
        told.append(f"in {show_duration(mark.duration_s)}")
    if decision.stale_code:
        told.append("(the code changed since)")
    assert spec.key is not None
    return Why(True, spec.key, " ".join(told) or "kept")  # noqa: FBT003 - the first field


def explain_miss(run: Run, spec: StepSpec, decision: Compute, *, cheaply: bool = False) -> Why:
    """Return which part of the key is new since the nearest kept result of the same step.

    Parameters
    ----------
    run, spec, decision
        The miss.
    cheaply
        Compare with what this process saw lately, and look into the cache only where it saw nothing: in a loop of ten
        thousand misses nobody wants ten thousand listings.
    """
    assert spec.key is not None
    changes: tuple[Change, ...] = ()
    if decision.reason == FIRST_RUN and (failed := _FAILED.get((run.scope, spec.key))) is not None:
        return Why(False, spec.key, failed)  # noqa: FBT003 - the first field
    if decision.reason == FIRST_RUN and spec.parts is not None and run.cache is not None:
        seen = _SEEN.get((run.scope, spec.step_id)) if cheaply else None
        changes = _nearest(_kept(run.cache, spec.step_id) if seen is None else seen, spec.parts)
    reason = "; ".join(change.line for change in changes) or decision.reason
    return Why(False, spec.key, reason, changes)  # noqa: FBT003 - the first field


_SEEN_STEPS, _SEEN_PARTS = 256, 8
_SEEN: OrderedDict[tuple[Hashable, str], deque[Parts]] = OrderedDict()


def note_parts(run: Run, spec: StepSpec) -> None:
    """Remember the parts of a key that was just computed, to compare the next miss with."""
    if spec.parts is None:
        return
    where = (run.scope, spec.step_id)
    _SEEN.setdefault(where, deque(maxlen=_SEEN_PARTS)).appendleft(spec.parts)
    _SEEN.move_to_end(where)
    if len(_SEEN) > _SEEN_STEPS:
        _SEEN.popitem(last=False)


_FAILED_KEYS = 10_000
_FAILED: OrderedDict[tuple[Hashable, str], str] = OrderedDict()


def note_failure(run: Run, spec: StepSpec, result: Err[Any]) -> None:
    """Remember that a key came to a failure that is not kept: to the cache it is as new as before."""
    assert spec.key is not None
    mark = mark_of(result)
    if isinstance(result.error, StepTimeoutError):
        why = "timed out last time; that is not kept"
    elif mark is not None and mark.origin == "throw":
        why = "failed last time; exceptions are not kept"
    else:
        why = "failed last time; that was not kept"
    _FAILED[run.scope, spec.key] = why
    if len(_FAILED) > _FAILED_KEYS:
        _FAILED.popitem(last=False)


def forget_failure(run: Run, spec: StepSpec) -> None:
    """Forget it, because the key is computed again and will come to something else, or to the same."""
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


def _kept(cache: StepCache, step_id: str) -> Iterator[Parts]:
    """Yield the parts of the kept results of a step, newest first."""
    if (marks := getattr(cache, "marks", None)) is None:
        return
    for mark in marks(step_id):
        if mark.parts is not None:
            yield Parts.from_data(dict(mark.parts))


def _nearest(candidates: Iterable[Parts], parts: Parts) -> tuple[Change, ...]:
    """Return the difference to the candidate that differs in the fewest parts, the first of equals."""
    differences = [changes for known in candidates if (changes := diff(known, parts))]
    return min(differences, key=len, default=())
