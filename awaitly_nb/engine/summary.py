"""What runs did, without their values: the listener behind `workflow.last_run`, `%awaitly status` and the panel."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from awaitly_nb import events as ev
from awaitly_nb.drawing import html_of
from awaitly_nb.engine.lookup import SOURCES
from awaitly_nb.frozen import Frozen, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["RECENT", "RunSummary", "StepSummary", "Summariser", "error_line"]

StepState: TypeAlias = Literal["running", "waiting", "hit", "computed", "failed", "replayed failure", "interrupted"]
RunStatus: TypeAlias = Literal["running", "ok", "failed", "cancelled"]


class StepSummary(Frozen, kw_only=True):
    """What one step of a run came to; of several calls with one id and key, the last.

    Attributes
    ----------
    step_id, step_key
        The step.
    state
        How it stands; "interrupted" when its run ended before it did.
    at
        When it began, aware UTC.
    duration_s
        Seconds that it took in this run; of an interrupted one, until the run ended.
    computed_s
        Seconds that computing it took, now or when it was first computed; None where not known.
    saved_s
        Seconds saved by not computing it again.
    size_bytes
        Size of its stored value, where known.
    reason
        Why it was computed, or where a hit came from.
    error_text
        The error of a failed step.
    """

    step_id: str
    step_key: str | None
    state: StepState
    at: datetime
    duration_s: float = 0.0
    computed_s: float | None = None
    saved_s: float = 0.0
    size_bytes: int | None = None
    reason: str = ""
    error_text: str = ""


class RunSummary(Frozen, kw_only=True):
    """What one run did.

    Attributes
    ----------
    run_id, workflow
        Which run of which workflow.
    status
        How it stands.
    started_at, duration_s
        When it began (aware UTC), and the seconds it took; 0 while it runs.
    steps
        Its steps, in the order in which they began.
    error_text
        The error of a failed run, or what ended a cancelled one: "interrupted by you" for the Stop button.
    """

    run_id: str
    workflow: str
    status: RunStatus
    started_at: datetime
    duration_s: float = 0.0
    steps: tuple[StepSummary, ...] = ()
    error_text: str = ""

    @property
    def saved_s(self) -> float:
        """Seconds that this run saved."""
        return sum(step.saved_s for step in self.steps)

    def _repr_html_(self) -> str | None:
        return html_of(self)


_Hit: TypeAlias = "tuple[datetime, float, float | None, int | None, str, bool, bool, str]"


class _Recording:
    __slots__ = ("base", "reasons", "standing", "steps")

    def __init__(self, event: ev.Event) -> None:
        # Steps of a standing run (decorated functions, cells) come without a workflow_start, and it never ends; a
        # workflow_cancelled tells that its step was cut short.
        self.standing = not isinstance(event, ev.WorkflowStart)
        status: RunStatus = "ok" if self.standing else "running"
        self.base = RunSummary(run_id=event.run_id, workflow=event.workflow, status=status, started_at=event.at)
        self.reasons: dict[tuple[str, str | None], str] = {}
        # A hit is noted as the bare facts, and made into a summary when somebody asks.
        self.steps: dict[tuple[str, str | None], StepSummary | _Hit] = {}

    def summary(self) -> RunSummary:
        steps = tuple(
            step if isinstance(step, StepSummary) else _hit(*where, step) for where, step in tuple(self.steps.items())
        )
        return replace(self.base, steps=steps)


class Summariser:
    """A listener that keeps the summaries of the latest runs.

    Parameters
    ----------
    limit
        How many runs to keep.
    """

    def __init__(self, limit: int = 50) -> None:
        self._limit = limit
        self._runs: OrderedDict[str, _Recording] = OrderedDict()

    def handle_event(self, event: ev.Event) -> None:
        """Take one event in."""
        recording = self._runs.get(event.run_id)
        if recording is None or isinstance(event, ev.WorkflowStart):
            recording = self._runs[event.run_id] = _Recording(event)
            while len(self._runs) > self._limit:
                self._runs.popitem(last=False)
        match event:
            case ev.StepCacheHit():
                recording.steps[event.step_id, event.step_key] = _note(event)
            case ev.StepCacheMiss():
                recording.reasons[event.step_id, event.step_key] = event.reason
            case ev.StepStart():
                where = (event.step_id, event.step_key)
                self._step(
                    recording,
                    event,
                    StepSummary(
                        step_id=event.step_id,
                        step_key=event.step_key,
                        state="running",
                        at=event.at,
                        reason=recording.reasons.pop(where, "" if event.step_key else "no key"),
                    ),
                )
            case ev.StepWaiting():
                waiting = StepSummary(
                    step_id=event.step_id,
                    step_key=event.step_key,
                    state="waiting",
                    at=event.at,
                    reason=f"for {event.holder}",
                )
                recording.steps[event.step_id, event.step_key] = waiting
            case ev.StepSuccess() | ev.StepFailed():
                self._end(recording, event)
            case ev.StepComplete() if event.size_bytes is not None:
                where = (event.step_id, event.step_key)
                if isinstance(step := recording.steps.get(where), StepSummary):
                    recording.steps[where] = replace(step, size_bytes=event.size_bytes)
            case ev.WorkflowSuccess() | ev.WorkflowFailed() | ev.WorkflowCancelled():
                if not recording.standing:
                    recording.base = _ended(recording.base, event)
                _leave_unfinished(recording, event)

    def runs(self) -> list[RunSummary]:
        """Return the kept runs, the latest last."""
        return [summary for run_id in tuple(self._runs) if (summary := self.get(run_id)) is not None]

    def get(self, run_id: str) -> RunSummary | None:
        """Return the summary of one run, or None if it is not kept."""
        later = self.later(run_id)
        return None if later is None else later()

    def later(self, run_id: str) -> Callable[[], RunSummary] | None:
        """Return what makes the summary of one run when somebody asks, or None if the run is not kept."""
        recording = self._runs.get(run_id)
        return None if recording is None else recording.summary

    @staticmethod
    def _step(
        recording: _Recording, event: ev.StepCacheHit | ev.StepStart | ev.StepSuccess | ev.StepFailed, step: StepSummary
    ) -> None:
        recording.steps[event.step_id, event.step_key] = step

    def _end(self, recording: _Recording, event: ev.StepSuccess | ev.StepFailed) -> None:
        found = recording.steps.get((event.step_id, event.step_key))
        begun = found if isinstance(found, StepSummary) else None
        self._step(
            recording,
            event,
            StepSummary(
                step_id=event.step_id,
                step_key=event.step_key,
                state="computed" if event.result.ok else "failed",
                at=begun.at if begun else event.at,
                duration_s=event.duration_s,
                computed_s=event.duration_s,
                reason=begun.reason if begun else "",
                error_text="" if isinstance(event, ev.StepSuccess) else error_line(event.error),
            ),
        )


def _ended(run: RunSummary, event: ev.WorkflowSuccess | ev.WorkflowFailed | ev.WorkflowCancelled) -> RunSummary:
    match event:
        case ev.WorkflowSuccess():
            return replace(run, status="ok", duration_s=event.duration_s)
        case ev.WorkflowFailed():
            return replace(run, status="failed", duration_s=event.duration_s, error_text=error_line(event.error))
        case ev.WorkflowCancelled():
            told = _CANCELLED.get(event.reason, event.reason)
            return replace(run, status="cancelled", duration_s=event.duration_s, error_text=told)


def _leave_unfinished(recording: _Recording, event: ev.Event) -> None:
    """Mark what had begun and not ended: after the end of its run nothing will be heard of it any more."""
    for where, step in tuple(recording.steps.items()):
        if isinstance(step, StepSummary) and step.state in {"running", "waiting"}:
            spent_s = max(0.0, (event.at - step.at).total_seconds())
            recording.steps[where] = replace(step, state="interrupted", duration_s=spent_s)


def _note(event: ev.StepCacheHit) -> _Hit:
    result = event.result
    error_text = "" if result.ok else error_line(result.error)
    return (
        event.at,
        event.duration_s,
        event.computed_s,
        event.size_bytes,
        event.source,
        event.stale_code,
        result.ok,
        error_text,
    )


def _hit(step_id: str, step_key: str | None, note: _Hit) -> StepSummary:
    at, duration_s, computed_s, size_bytes, source, stale_code, ok, error_text = note
    wasteful = source == "cache" and computed_s is not None and computed_s < duration_s >= _NOTICEABLE_S
    return StepSummary(
        step_id=step_id,
        step_key=step_key,
        state="hit" if ok else "replayed failure",
        at=at - timedelta(seconds=duration_s),  # it is told when it has been loaded
        duration_s=duration_s,
        computed_s=computed_s,
        saved_s=0.0 if computed_s is None else max(0.0, computed_s - duration_s),
        size_bytes=size_bytes,
        reason=SOURCES[source]
        + (", code changed since" if stale_code else "")
        + (", cheaper to run than to load" if wasteful else ""),
        error_text=error_text,
    )


_NOTICEABLE_S = 1e-3
_CANCELLED = {"KeyboardInterrupt": "interrupted by you", "CancelledError": "cancelled"}


def error_line(error: object) -> str:
    """Return an error in one line, with its type where it is not a text."""
    try:
        return error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the stranger is the user's error
        return type(error).__name__


RECENT = Summariser()
"""What this process ran, for `%awaitly status`."""
