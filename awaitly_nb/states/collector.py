"""Gathers the finished steps of runs from their events. It listens; it decides nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from awaitly_nb.codec import copied
from awaitly_nb.events import is_step_cache_hit, is_step_complete, is_workflow_start
from awaitly_nb.result import mark_of
from awaitly_nb.states.state import Log, ResumeState, StepEntry, content_of, later_than, state_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from awaitly_nb.events import Event, StepCacheHit, StepComplete

__all__ = ["ResumeStateCollector", "create_resume_state_collector"]


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
        """Forget everything."""
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
