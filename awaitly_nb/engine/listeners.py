"""Who is told what a run does: its listeners, and the summary that `last_run`, `%awaitly status` and the panel show.

The one rule of delivery: a listener never breaks a run. A summary holds no values.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from awaitly_nb import events as ev
from awaitly_nb.drawing import html_of
from awaitly_nb.errors import ListenerWarning, logger, warn
from awaitly_nb.frozen import Frozen, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from awaitly_nb.events import Event, Listener

__all__ = [
    "RECENT",
    "SOURCES",
    "Emitter",
    "RunSummary",
    "StepNote",
    "StepSummary",
    "Summariser",
    "error_line",
    "observe",
    "recent_runs",
]

_observers: dict[Listener, frozenset[type[Event]]] = {}


def observe(listener: Listener, *, without: Iterable[type[Event]] = ()) -> Callable[[], None]:
    """Call `listener` with every event of every run in this process, as the panel does; return what ends that.

    Parameters
    ----------
    without
        Kinds of events that it does not want: one that nobody wants is not made.
    """
    _observers[listener] = frozenset(without)

    def stop() -> None:
        _observers.pop(listener, None)

    return stop


class Emitter:
    """Delivers the events of one run, until it is closed.

    A listener that raises is reported once and then left out: it watches the run, it is no part of it.
    """

    __slots__ = ("_closed", "_listeners")

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = list(listeners)
        self._closed = False

    @property
    def idle(self) -> bool:
        """True when nobody listens, so that events need not be made."""
        return self._closed or not (self._listeners or _observers)

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether anybody listens to events of this kind."""
        observed = any(kind not in left for left in tuple(_observers.values()))
        return not self._closed and (observed or bool(self._listeners))

    @property
    def observed(self) -> bool:
        """True when somebody watches every run of the process, as a notebook does."""
        return bool(_observers)

    def emit(self, event: Event) -> None:
        """Give `event` to every listener; do nothing once closed."""
        if self._closed:
            return
        wanting = [listener for listener, left in tuple(_observers.items()) if type(event) not in left]
        for listener in (*self._listeners, *wanting):
            try:
                listener(event)
            except Exception as exc:  # noqa: BLE001 - the user's listener may raise anything
                _observers.pop(listener, None)
                if listener in self._listeners:
                    self._listeners.remove(listener)
                _report(
                    f"listener {listener!r} raised {type(exc).__name__}: {exc} on {event.type}; "
                    "it is not called again, and the run goes on"
                )

    def close(self) -> None:
        """Deliver nothing from now on."""
        self._closed = True


def _report(message: str) -> None:
    try:
        warn(message, ListenerWarning)
    except ListenerWarning:  # where warnings are errors, a listener still does not break the run
        logger(__name__).warning(message)


StepState: TypeAlias = Literal["running", "waiting", "hit", "computed", "failed", "replayed failure", "interrupted"]
RunStatus: TypeAlias = Literal["running", "ok", "failed", "cancelled"]


SOURCES = {"run": "from this run", "resumed": "from the resume state", "cache": "from the cache"}
"""How a reader is told where a hit came from."""


class StepSummary(Frozen, kw_only=True):
    """What one step of a run did; of several calls with one id and key, the last.

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
    stored
        Whether a cache has the result that was computed; None where nothing was computed.
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
    stored: bool | None = None
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


_Hit: TypeAlias = "tuple[float, float, float | None, int | None, str, bool, bool, str]"
"""When it was told, in seconds since the epoch; the seconds of its look-up and of computing it once, its size, its
source, whether its code changed, whether it is a success, and its error in one line."""


class StepNote:
    """What is known so far of a step that runs or ran, made into a summary when somebody asks.

    Attributes
    ----------
    state, at, reason, duration_s, size_bytes, stored, error_text
        As in its summary; `reason` may be what gives the text when somebody asks.
    """

    __slots__ = ("at", "duration_s", "error_text", "reason", "size_bytes", "state", "stored")

    def __init__(self, state: StepState, at: datetime, reason: object) -> None:
        self.state = state
        self.at = at
        self.reason = reason
        self.duration_s: float | None = None
        self.size_bytes: int | None = None
        self.stored: bool | None = None
        self.error_text = ""

    def end(self, duration_s: float, error_text: str, *, ok: bool) -> None:
        """Note how the step ended."""
        self.state = "computed" if ok else "failed"
        self.duration_s, self.error_text = duration_s, error_text

    def summary(self, step_id: str, step_key: str | None) -> StepSummary:
        """Return it as a summary."""
        return StepSummary(
            step_id=step_id,
            step_key=step_key,
            state=self.state,
            at=self.at,
            duration_s=self.duration_s or 0.0,
            computed_s=self.duration_s if self.state in ("computed", "failed") else None,
            size_bytes=self.size_bytes,
            stored=self.stored,
            reason=str(self.reason),
            error_text=self.error_text,
        )


class _Recording:
    __slots__ = ("base", "reasons", "standing", "steps")

    def __init__(self, kind: type[ev.Event], run_id: str, workflow: str, at: datetime) -> None:
        # Steps of a standing run (decorated functions, cells) come without a workflow_start, and it never ends; a
        # workflow_cancelled tells that its step was cut short.
        self.standing = kind is not ev.WorkflowStart
        status: RunStatus = "ok" if self.standing else "running"
        self.base = RunSummary(run_id=run_id, workflow=workflow, status=status, started_at=at)
        self.reasons: dict[tuple[str, str | None], object] = {}
        # A hit is noted as the bare facts, and made into a summary when somebody asks.
        # Where the oldest are dropped it is found at once in an `OrderedDict`, and no longer in a dict after thousands.
        self.steps: dict[tuple[str, str | None], StepNote | _Hit] = OrderedDict() if self.standing else {}

    def begin(self, where: tuple[str, str | None], step: StepNote) -> None:
        self.steps[where] = step
        self.make_room()

    def make_room(self) -> None:
        """Drop the oldest of too many: a function or a cell has no end. Of a run of a workflow all are remembered."""
        if isinstance(self.steps, OrderedDict) and len(self.steps) > _MOST_KEYS:
            self.steps.popitem(last=False)

    def computed(self, where: tuple[str, str | None]) -> StepNote | None:
        """Return what is known of a step that runs or ran here; None of a hit."""
        found = self.steps.get(where)
        return found if type(found) is StepNote else None

    def summary(self) -> RunSummary:
        steps = tuple(
            step.summary(*where) if isinstance(step, StepNote) else _hit(*where, step)
            for where, step in tuple(self.steps.items())
        )
        return replace(self.base, steps=steps)


class Summariser:
    """Summarises the latest runs, from what the engine notes of them or, as a listener, from their events.

    Parameters
    ----------
    limit
        Of how many runs of one workflow; a cell and a decorated function have one each.
    """

    def __init__(self, limit: int = 50) -> None:
        self._limit = limit
        self._runs: OrderedDict[str, _Recording] = OrderedDict()

    def handle_event(self, event: ev.Event) -> None:
        """Take one event in."""
        fields = {name: getattr(event, name) for name in event._fields}
        self.note(type(event), event.run_id, event.workflow, event.at, fields)

    def hit(self, run_id: str, workflow: str, step_id: str, step_key: str, facts: _Hit) -> None:
        """Note a hit: the common case, without an event."""
        recording = self._runs.get(run_id)
        if recording is None:
            recording = self._begin(ev.StepCacheHit, run_id, workflow, datetime.fromtimestamp(facts[0], UTC))
        recording.steps[step_id, step_key] = facts
        if recording.standing:
            recording.make_room()

    def begin(self, run_id: str, workflow: str, step_id: str, step_key: str | None, step: StepNote) -> None:
        """Note that a step is computed; what becomes of it is told to `step`."""
        recording = self._runs.get(run_id)
        if recording is None:
            recording = self._begin(ev.StepStart, run_id, workflow, step.at)
        recording.steps[step_id, step_key] = step
        if recording.standing:
            recording.make_room()

    def note(
        self,
        kind: type[ev.Event],
        run_id: str,
        workflow: str,
        at: datetime,
        fields: Mapping[str, Any],  # Any: each field of an event has its own type
    ) -> None:
        """Note what an event of this kind with these fields tells."""
        recording = self._runs.get(run_id)
        if recording is None or kind is ev.WorkflowStart:
            recording = self._begin(kind, run_id, workflow, at)
        if "step_id" not in fields:
            if kind in _ENDS:
                if not recording.standing:
                    recording.base = _ended(recording.base, kind, fields)
                _leave_unfinished(recording, at)
            return
        where = (fields["step_id"], fields["step_key"])
        if kind is ev.StepCacheMiss:
            recording.reasons[where] = fields["reason"]
        elif kind is ev.StepStart:
            reason = recording.reasons.pop(where, "" if where[1] else "no key")
            recording.begin(where, StepNote("running", at, reason))
        elif kind is ev.StepSuccess or kind is ev.StepFailed:
            step = recording.computed(where)
            ended = recording.steps[where] = StepNote("computed", step.at if step else at, step.reason if step else "")
            result = fields["result"]
            ended.end(fields["duration_s"], "" if result.ok else error_line(result.error), ok=result.ok)
        elif kind is ev.StepComplete:
            if (step := recording.computed(where)) is not None:
                step.size_bytes, step.stored = fields["size_bytes"], fields["stored"]
        elif kind is ev.StepWaiting:
            recording.steps[where] = StepNote("waiting", at, f"for {fields['holder']}")
        elif kind is ev.StepCacheHit:
            recording.steps[where] = _facts(at, fields)

    def _begin(self, kind: type[ev.Event], run_id: str, workflow: str, at: datetime) -> _Recording:
        recording = self._runs[run_id] = _Recording(kind, run_id, workflow, at)
        # Of one workflow: neither a loop of runs nor many names push out another name's last state.
        same = [known for known, one in self._runs.items() if one.base.workflow == workflow]
        for known in same[: -self._limit]:
            del self._runs[known]
        while len(self._runs) > _MOST_RUNS:
            self._runs.popitem(last=False)
        return recording

    def runs(self) -> list[RunSummary]:
        """Return the latest runs, the last one last."""
        return [summary for run_id in tuple(self._runs) if (summary := self.get(run_id)) is not None]

    def get(self, run_id: str) -> RunSummary | None:
        """Return the summary of one run, or None if it is not known any more."""
        later = self.later(run_id)
        return None if later is None else later()

    def reason(self, run_id: str, step_id: str, step_key: str | None) -> str:
        """Return why a step of a run is or was computed; "" where that is not known any more."""
        recording = self._runs.get(run_id)
        step = None if recording is None else recording.computed((step_id, step_key))
        return "" if step is None else str(step.reason)

    def later(self, run_id: str) -> Callable[[], RunSummary] | None:
        """Return what makes the summary of one run when somebody asks, or None if the run is not known any more."""
        recording = self._runs.get(run_id)
        return None if recording is None else recording.summary


def _ended(run: RunSummary, kind: type[ev.Event], fields: Mapping[str, Any]) -> RunSummary:
    duration_s = fields["duration_s"]
    if kind is ev.WorkflowSuccess:
        return replace(run, status="ok", duration_s=duration_s)
    if kind is ev.WorkflowFailed:
        return replace(run, status="failed", duration_s=duration_s, error_text=error_line(fields["error"]))
    told = _CANCELLED.get(fields["reason"], fields["reason"])
    return replace(run, status="cancelled", duration_s=duration_s, error_text=told)


def _leave_unfinished(recording: _Recording, at: datetime) -> None:
    """Mark what had begun and not ended: after the end of its run nothing will be heard of it any more."""
    for step in tuple(recording.steps.values()):
        if isinstance(step, StepNote) and step.state in {"running", "waiting"}:
            step.state, step.duration_s = "interrupted", max(0.0, (at - step.at).total_seconds())


def _facts(at: datetime, fields: Mapping[str, Any]) -> _Hit:
    result = fields["result"]
    error_text = "" if result.ok else error_line(result.error)
    taken = (fields[name] for name in ("duration_s", "computed_s", "size_bytes", "source", "stale_code"))
    return (at.timestamp(), *taken, result.ok, error_text)


def _hit(step_id: str, step_key: str | None, note: _Hit) -> StepSummary:
    at_s, duration_s, computed_s, size_bytes, source, stale_code, ok, error_text = note
    wasteful = source == "cache" and computed_s is not None and computed_s < duration_s >= _NOTICEABLE_S
    return StepSummary(
        step_id=step_id,
        step_key=step_key,
        state="hit" if ok else "replayed failure",
        at=datetime.fromtimestamp(at_s, UTC) - timedelta(seconds=duration_s),  # it is told when it has been loaded
        duration_s=duration_s,
        computed_s=computed_s,
        saved_s=0.0 if computed_s is None else max(0.0, computed_s - duration_s),
        size_bytes=size_bytes,
        reason=SOURCES[source]
        + (", code changed since" if stale_code else "")
        + (", cheaper to run than to load" if wasteful else ""),
        error_text=error_text,
    )


_ENDS = frozenset({ev.WorkflowSuccess, ev.WorkflowFailed, ev.WorkflowCancelled})
_NOTICEABLE_S = 1e-3
_MOST_KEYS = 2_000  # of one cell or function
_MOST_RUNS = 5_000  # of all workflows, cells and functions together
_CANCELLED = {"KeyboardInterrupt": "interrupted by you", "CancelledError": "cancelled"}


def error_line(error: object) -> str:
    """Return an error in one line, with its type where it is not a text."""
    try:
        return error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the user's error may raise anything
        return type(error).__name__


RECENT = Summariser()
"""What this process ran, for `%awaitly status`."""


def recent_runs() -> list[RunSummary]:
    """Return what the latest runs of this process did, the latest last."""
    return RECENT.runs()
