"""What a run did, as frozen records.

A run is told as `workflow_start`, then its steps, then exactly one of `workflow_success`, `workflow_error` and
`workflow_cancelled`. A fresh keyed step is `step_cache_miss`, `step_start`, `step_success` or `step_error`,
`step_complete`; a hit is a single `step_cache_hit`. Only `engine` emits. Imports only `result`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias, TypeGuard

from awaitly_nb.frozen import Frozen
from awaitly_nb.result import Err, Ok, Result

__all__ = [
    "Event",
    "Listener",
    "PersistFailed",
    "StepCacheHit",
    "StepCacheMiss",
    "StepComplete",
    "StepFailed",
    "StepRetriesExhausted",
    "StepRetry",
    "StepStart",
    "StepSuccess",
    "StepWaiting",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowStart",
    "WorkflowSuccess",
    "is_persist_error",
    "is_step_cache_hit",
    "is_step_cache_miss",
    "is_step_complete",
    "is_step_error",
    "is_step_retry",
    "is_step_start",
    "is_step_success",
    "is_step_waiting",
    "is_workflow_cancelled",
    "is_workflow_error",
    "is_workflow_start",
    "is_workflow_success",
]

AnyResult: TypeAlias = Result[Any, Any]  # Any: results of the user's steps


class Event(Frozen, kw_only=True):
    """Something that happened in a run.

    Attributes
    ----------
    run_id, workflow
        Which run of which workflow.
    at
        When, aware UTC.
    """

    type: ClassVar[str] = "event"
    run_id: str
    workflow: str
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON data; what JSON cannot hold is shown by its repr, so that this never fails."""
        data: dict[str, Any] = {"type": self.type}
        for name in self._fields:
            data[name] = _plain(getattr(self, name), 0)
        return data


class WorkflowStart(Event, kw_only=True):
    """A run began; `resumed` is the resume state in force, or None."""

    type: ClassVar[str] = "workflow_start"
    resumed: Any = None  # Any: a ResumeState, which lives in a layer above


class WorkflowSuccess(Event, kw_only=True):
    """A run ended well."""

    type: ClassVar[str] = "workflow_success"
    duration_s: float


class WorkflowFailed(Event, kw_only=True):
    """A run ended with an error."""

    type: ClassVar[str] = "workflow_error"
    error: Any  # Any: the user's error
    cause: object = None
    duration_s: float


class WorkflowCancelled(Event, kw_only=True):
    """A run was interrupted or cancelled.

    Attributes
    ----------
    last_step_key
        Key of the last keyed step that finished, or None.
    error
        The step error that was on its way out, if any.
    reason
        Name of the exception that ended the run; or, for a run inside another one, that the other failed.
    """

    type: ClassVar[str] = "workflow_cancelled"
    last_step_key: str | None = None
    error: Any = None  # Any: the user's error
    reason: str = "CancelledError"
    duration_s: float


class _StepEvent(Event, kw_only=True):
    step_id: str
    step_key: str | None = None


class StepCacheHit(_StepEvent, kw_only=True):
    """A step's result was at hand, and its function was not called.

    Attributes
    ----------
    result
        The cached result.
    source
        `"run"` (earlier in this run), `"resumed"`, or `"cache"`.
    computed_at, computed_s
        When the result was computed, and the seconds it took then; None where nobody wrote it down.
    size_bytes
        Size of the stored value, where known.
    stale_code
        True when the step's code has changed since.
    duration_s
        Seconds that looking it up took.
    """

    type: ClassVar[str] = "step_cache_hit"
    result: AnyResult
    source: Literal["run", "resumed", "cache"]
    computed_at: datetime | None = None
    computed_s: float | None = None
    size_bytes: int | None = None
    stale_code: bool = False
    duration_s: float = 0.0
    replayed: ClassVar[bool] = True


class StepCacheMiss(_StepEvent, kw_only=True):
    """A step's result was not at hand; `reason` says why, in one line."""

    type: ClassVar[str] = "step_cache_miss"
    reason: str = "first run"


class StepWaiting(_StepEvent, kw_only=True):
    """Another kernel is computing the step's key; `holder` says who, and since when."""

    type: ClassVar[str] = "step_waiting"
    holder: str = ""


class StepStart(_StepEvent, kw_only=True):
    """A step's function is about to be called."""

    type: ClassVar[str] = "step_start"


class _StepEnd(_StepEvent, kw_only=True):
    result: AnyResult
    duration_s: float
    replayed: ClassVar[bool] = False


class StepSuccess(_StepEnd, kw_only=True):
    """A step's function returned."""

    type: ClassVar[str] = "step_success"
    result: Ok[Any]


class StepFailed(_StepEnd, kw_only=True):
    """A step failed, after its last attempt."""

    type: ClassVar[str] = "step_error"
    result: Err[Any]

    @property
    def error(self) -> Any:  # Any: the user's error
        """The error itself."""
        return self.result.error


class StepComplete(_StepEnd, kw_only=True):
    """A step is done, its result is stored where it is to be stored.

    Attributes
    ----------
    stored
        True when a cache has stored the result.
    size_bytes
        Size of the stored value, where known.
    """

    type: ClassVar[str] = "step_complete"
    stored: bool = False
    size_bytes: int | None = None


class StepRetry(_StepEvent, kw_only=True):
    """A step failed and will be tried again; `attempt` is the number of the next attempt, from 2."""

    type: ClassVar[str] = "step_retry"
    attempt: int
    delay_s: float
    error: Any = None  # Any: the user's error


class StepRetriesExhausted(_StepEvent, kw_only=True):
    """The last of several attempts failed."""

    type: ClassVar[str] = "step_retries_exhausted"
    attempts: int
    error: Any = None  # Any: the user's error


class PersistFailed(_StepEvent, kw_only=True):
    """A result could not be stored; the run has it all the same."""

    type: ClassVar[str] = "persist_error"
    error: BaseException


Listener: TypeAlias = Callable[[Any], object]  # Any: narrowed by the guards below


def _guard(kind: type[Event], event: object) -> bool:
    return isinstance(event, kind)


def is_workflow_start(event: object) -> TypeGuard[WorkflowStart]:
    """Tell whether `event` begins a run."""
    return _guard(WorkflowStart, event)


def is_workflow_success(event: object) -> TypeGuard[WorkflowSuccess]:
    """Tell whether `event` ends a run well."""
    return _guard(WorkflowSuccess, event)


def is_workflow_error(event: object) -> TypeGuard[WorkflowFailed]:
    """Tell whether `event` ends a run with an error."""
    return _guard(WorkflowFailed, event)


def is_workflow_cancelled(event: object) -> TypeGuard[WorkflowCancelled]:
    """Tell whether `event` ends a run that was interrupted."""
    return _guard(WorkflowCancelled, event)


def is_step_cache_hit(event: object) -> TypeGuard[StepCacheHit]:
    """Tell whether `event` is a hit."""
    return _guard(StepCacheHit, event)


def is_step_cache_miss(event: object) -> TypeGuard[StepCacheMiss]:
    """Tell whether `event` says that nothing was cached."""
    return _guard(StepCacheMiss, event)


def is_step_start(event: object) -> TypeGuard[StepStart]:
    """Tell whether `event` is the start of a step's function."""
    return _guard(StepStart, event)


def is_step_success(event: object) -> TypeGuard[StepSuccess]:
    """Tell whether `event` is a step's success."""
    return _guard(StepSuccess, event)


def is_step_error(event: object) -> TypeGuard[StepFailed]:
    """Tell whether `event` is a step's failure."""
    return _guard(StepFailed, event)


def is_step_complete(event: object) -> TypeGuard[StepComplete]:
    """Tell whether `event` is the end of a step that ran."""
    return _guard(StepComplete, event)


def is_step_retry(event: object) -> TypeGuard[StepRetry]:
    """Tell whether `event` announces another attempt."""
    return _guard(StepRetry, event)


def is_step_waiting(event: object) -> TypeGuard[StepWaiting]:
    """Tell whether `event` says that another kernel is computing the step."""
    return _guard(StepWaiting, event)


def is_persist_error(event: object) -> TypeGuard[PersistFailed]:
    """Tell whether `event` is a result that could not be stored."""
    return _guard(PersistFailed, event)


_DEEPEST = 20  # a list that contains itself ends here too
_LARGEST = 2**53  # what a browser's numbers hold exactly


def _plain(value: object, depth: int) -> Any:  # Any: JSON data
    match value:
        case None | bool() | str():
            return value
        case int() if abs(value) <= _LARGEST:
            return value
        case float() if math.isfinite(value):
            return value
        case datetime():
            return value.isoformat()
        case Ok(v) if depth < _DEEPEST:
            return {"ok": True, "value": _plain(v, depth + 1)}
        case Err(e) if depth < _DEEPEST:
            return {"ok": False, "error": _plain(e, depth + 1), "cause": _plain(value.cause, depth + 1)}
        case dict() if depth < _DEEPEST and all(isinstance(k, str) for k in value):
            return {k: _plain(v, depth + 1) for k, v in value.items()}
        case list() | tuple() if depth < _DEEPEST:
            return [_plain(v, depth + 1) for v in value]
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - the user's __repr__ may raise anything
        return f"<{type(value).__name__} whose repr raised {type(exc).__name__}>"
