"""`ResumeState`: which steps of a run are finished, and their results.

Immutable, and cheap to make anew after every step: states share one append-only log of outcomes and differ in how far
they read it. The mapping `steps` is folded from the log when somebody asks for it. A store that remembers how far it
has saved a log writes only what came after (see `state_store`).

A collector listens to runs and gathers such a state from their events; it decides nothing. Imports no store; the JSON
form lives in `wire`.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from awaitly_nb.drawing import html_of
from awaitly_nb.errors import MisuseError
from awaitly_nb.events import is_step_cache_hit, is_step_complete, is_workflow_start
from awaitly_nb.result import Err, Mark, Ok, Result, mark_of, with_mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pandas as pd

    from awaitly_nb.events import Event, StepCacheHit, StepComplete

__all__ = [
    "Content",
    "Log",
    "ResumeState",
    "ResumeStateCollector",
    "StepEntry",
    "content_of",
    "create_resume_state_collector",
    "fold",
    "later_than",
    "state_of",
]

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class StepEntry:
    """One finished step, failed or not.

    Attributes
    ----------
    result
        Its result: `Ok` or `Err`.
    step_id
        The step's id, or None where nobody wrote it down.
    at
        When it finished, aware UTC, or None.
    duration_s
        Seconds it took, or None.
    extra
        Fields of its written form that this version does not know; they are written again.
    """

    result: Result[Any, Any]  # Any: the user's values and errors
    step_id: str | None = None
    at: datetime | None = None
    duration_s: float | None = None
    extra: Mapping[str, Any] | None = field(default=None, compare=False, repr=False, kw_only=True)  # Any: JSON data

    @property
    def ok(self) -> bool:
        """False for a failed step."""
        return self.result.ok

    def supersedes(self, other: StepEntry) -> bool:
        """Tell whether this is the later outcome of the two, or may be: without times the new one counts as later."""
        return self.at is None or other.at is None or self.at >= other.at


class Log(list["tuple[str, StepEntry]"]):
    """Outcomes as they came, only ever appended to; a class, because a plain list takes no weak reference."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class Content:
    """What a state consists of.

    Attributes
    ----------
    log, length
        The outcomes, and how many of them are this state's.
    removed
        Keys that were taken out, each with the time of the outcome that was.
    extra
        Fields of the written form that this version does not know.
    """

    log: Log
    length: int
    removed: Mapping[str, datetime | None] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # Any: plain JSON data


class ResumeState:
    """The finished steps of a run, in the order in which they finished.

    A value: it never changes, and `without` and `with_value` return new states. Equal states have equal entries under
    equal keys.

    Parameters
    ----------
    steps
        Entries by key, in completion order.

    Examples
    --------
    >>> from awaitly_nb.states import ResumeState
    >>> state = ResumeState().with_value("user:1", {"name": "Ada"})
    >>> state.is_complete("user:1"), list(state.steps), state.without("user:1").steps.get("user:1")
    (True, ['user:1'], None)
    """

    __slots__ = ("_content", "_steps")

    _content: Content
    _steps: Mapping[str, StepEntry] | None

    def __init__(self, steps: Mapping[str, StepEntry] | None = None) -> None:
        log = Log((steps or {}).items())
        self._content, self._steps = Content(log, len(log)), None

    @property
    def steps(self) -> Mapping[str, StepEntry]:
        """Entries by key, in completion order; read-only."""
        if self._steps is None:
            self._steps = MappingProxyType(fold(self._content.log[: self._content.length]))
        return self._steps

    def is_complete(self, key: str) -> bool:
        """Tell whether the step under `key` finished well."""
        entry = self.steps.get(key)
        return entry is not None and entry.ok

    def failed_keys(self) -> list[str]:
        """Return the keys whose step failed, in completion order."""
        return [key for key, entry in self.steps.items() if not entry.ok]

    def without(self, key: str) -> ResumeState:
        """Return this state without `key`, so that its step runs again; saving removes the key from the store too."""
        steps = dict(self.steps)
        removed = dict(self._content.removed)
        if (entry := steps.pop(key, None)) is not None:
            removed[key] = entry.at
        return state_of(Log(steps.items()), removed=removed, extra=self._content.extra)

    def with_value(self, key: str, value: object) -> ResumeState:
        """Return this state with `value` as the result of the step under `key`, as if it had just finished.

        Parameters
        ----------
        key
            The step's key.
        value
            The bare value, or an `Ok` or `Err`.
        """
        if not isinstance(key, str) or not key:
            raise MisuseError(f'a step key is a non-empty str, not {key!r}; write state.with_value("user:1", value)')
        steps = dict(self.steps)
        previous = steps.pop(key, None)
        at = later_than(datetime.now(UTC), previous.at if previous else self._content.removed.get(key))
        result: Result[Any, Any] = value if isinstance(value, Ok | Err) else Ok(value)
        steps[key] = StepEntry(with_mark(result, Mark(at=at)), at=at)
        removed = {k: t for k, t in self._content.removed.items() if k != key}
        return state_of(Log(steps.items()), removed=removed, extra=self._content.extra)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON data; `json.dumps` takes it, and `from_dict` gives an equal state back.

        Raises
        ------
        StateError
            A value cannot be written down; the message names its key.
        """
        from awaitly_nb.states.wire import state_to_data

        return state_to_data(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ResumeState:
        """Return the state that `to_dict` wrote; looser forms are read with a `StateRecoveredWarning`.

        Raises
        ------
        StateVersionError
            It was written by a newer version of this package.
        StateError
            It is no state; the message names the key at fault.
        """
        from awaitly_nb.states.wire import state_from_data

        return state_from_data(data)

    def to_json(self) -> str:
        """Return the state as JSON text without a newline at its end."""
        from awaitly_nb.states.wire import dump_json

        return dump_json(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> ResumeState:
        """Return the state that `to_json` wrote; errors as in `from_dict`."""
        from awaitly_nb.states.wire import load_json

        return cls.from_dict(load_json(text))

    def to_frame(self) -> pd.DataFrame:
        """Return the steps as a pandas DataFrame, one row per key, without their values."""
        import pandas as pd

        rows = [(key, e.step_id, e.ok, e.at, e.duration_s) for key, e in self.steps.items()]
        return pd.DataFrame(rows, columns=["key", "step_id", "ok", "at", "duration_s"]).set_index("key")

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        # A state without steps is still a state: `if saved:` must not read it as "nothing was stored".
        return True

    def __contains__(self, key: object) -> bool:
        return key in self.steps

    def __iter__(self) -> Iterator[str]:
        return iter(self.steps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResumeState):
            return NotImplemented
        if self.steps.keys() != other.steps.keys() or self._content.extra != other._content.extra:
            return False
        return all(_same(key, entry, other.steps[key]) for key, entry in self.steps.items())

    __hash__ = None  # type: ignore[assignment] # values need not be hashable

    def __repr__(self) -> str:
        failed = self.failed_keys()
        note = f", {len(failed)} failed" if failed else ""
        count = len(self.steps)
        return f"<ResumeState of {count} {'step' if count == 1 else 'steps'}{note}>"

    def _repr_html_(self) -> str | None:
        return html_of(self)


class ResumeStateCollector:
    """A listener that knows every finished step of the runs it hears.

    It begins with the resume state of the run it listens to, so what it returns holds every finished step of that state
    too, whether the run reached it again or not. Values are copied as they come, so that what the body does to them
    afterwards is not in the state, and is not done twice by a run that resumes. Safe to call from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._empty()

    def _empty(self) -> None:
        self._log = Log()
        self._latest: dict[str, StepEntry] = {}
        self._removed: Mapping[str, datetime | None] = {}
        self._extra: Mapping[str, Any] = {}

    def handle_event(self, event: Event) -> None:
        """Take one event of a run; give this to a workflow as `on_event`."""
        if is_step_complete(event):
            if event.step_key is not None:
                mark = mark_of(event.result)
                self._take(event.step_key, event, (mark and mark.at) or event.at, event.duration_s)
        elif is_step_cache_hit(event):
            if event.step_key is not None:
                self._take_hit(event.step_key, event)
        elif is_workflow_start(event) and isinstance(event.resumed, ResumeState):
            self._seed(event.resumed)

    def get_resume_state(self) -> ResumeState:
        """Return all finished steps so far. The state is independent of what this collector hears afterwards."""
        with self._lock:
            return state_of(self._log, len(self._log), removed=self._removed, extra=self._extra)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._empty()

    def _seed(self, resumed: ResumeState) -> None:
        with self._lock:
            for key, entry in resumed.steps.items():
                known = self._latest.get(key)
                if known is None or (known is not entry and entry.supersedes(known)):
                    self._append(key, entry)
            content = content_of(resumed)
            removed = {**self._removed, **content.removed}
            self._removed = {k: at for k, at in removed.items() if k not in self._latest}
            self._extra = {**self._extra, **content.extra}

    def _take(self, key: str, event: StepComplete | StepCacheHit, at: datetime, duration_s: float | None) -> None:
        from awaitly_nb.codec import copied

        with self._lock:
            known = self._latest.get(key)
            at = later_than(at, known.at if known else self._removed.get(key))
            self._append(key, StepEntry(copied(event.result), event.step_id, at, duration_s))
            if key in self._removed:
                self._removed = {k: t for k, t in self._removed.items() if k != key}

    def _take_hit(self, key: str, event: StepCacheHit) -> None:
        mark = mark_of(event.result)
        at = event.computed_at or (mark and mark.at) or event.at
        known = self._latest.get(key)
        # What this run or its resume state knew already is in here; only a cache brings something new.
        if known is None or (event.source == "cache" and known.at != at and known.result is not event.result):
            self._take(key, event, at, event.computed_s)

    def _append(self, key: str, entry: StepEntry) -> None:
        self._log.append((key, entry))
        self._latest[key] = entry


def create_resume_state_collector() -> ResumeStateCollector:
    """Return a collector whose `handle_event` listens to runs and whose `get_resume_state` is what to save.

    Examples
    --------
    >>> from awaitly_nb.states import create_resume_state_collector
    >>> collector = create_resume_state_collector()
    >>> len(collector.get_resume_state())
    0
    """
    return ResumeStateCollector()


def state_of(
    log: Log,
    length: int | None = None,
    *,
    removed: Mapping[str, datetime | None] | None = None,
    extra: Mapping[str, Any] | None = None,  # Any: plain JSON data
) -> ResumeState:
    """Return the state that reads `log` up to `length`, or all of it."""
    state = ResumeState()
    state._content = Content(log, len(log) if length is None else length, removed or {}, extra or {})  # noqa: SLF001 - its maker
    return state


def content_of(state: ResumeState) -> Content:
    """Return what `state` consists of, for those who store it."""
    return state._content  # noqa: SLF001 - the one reader of the field


def fold(outcomes: Iterable[tuple[str, StepEntry]]) -> dict[str, StepEntry]:
    """Return the last outcome of each key, ordered by when that outcome came."""
    steps: dict[str, StepEntry] = {}
    for key, entry in outcomes:
        steps.pop(key, None)
        steps[key] = entry
    return steps


def later_than(now: datetime, previous: datetime | None) -> datetime:
    """Return `now`, or an instant just after `previous` where a clock that was set back would put it before.

    Merging takes the later outcome of a key, so the order of one key's outcomes must not depend on the wall clock.
    """
    return now if previous is None or now > previous else previous + _TICK


def _same(key: str, one: StepEntry, other: StepEntry) -> bool:
    if one is other:
        return True
    if (one.step_id, one.at, one.duration_s) != (other.step_id, other.at, other.duration_s):
        return False
    with suppress(Exception):  # the value's own __eq__ may raise anything: that of an array has no truth value
        if one.result == other.result:
            return True
    # NaN differs from itself and arrays compare by element: what counts is whether they are written down alike.
    from awaitly_nb.states.wire import entry_to_data

    return entry_to_data(key, one) == entry_to_data(key, other)
