"""One line below the cell of long work: what is computed, how long that usually takes, how far a run is.

Where the panel is shown it says all that already, and this is silent; `progress = false` silences it for good. In a
terminal the line is plain text; where output is no terminal, nothing is written. A thread of its own draws, because a
step that blocks emits no events. The line of a cell or function goes away with the work; that of a run stays, as its
summary.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from contextvars import copy_context
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb import events as ev
from awaitly_nb.config import settings
from awaitly_nb.engine import recent_runs
from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    from contextvars import Context

    from awaitly_nb.notebook.shell import Shell

__all__ = ["Progress"]

_AFTER_S: Final = 2.0
_EVERY_S: Final = 1.0
_ENDS: Final = (ev.WorkflowSuccess, ev.WorkflowFailed, ev.WorkflowCancelled)


@dataclass(kw_only=True)
class _Line:
    """One line on the screen: of a run, or of a cell or function that is computed."""

    workflow: str
    context: Context = field(default_factory=copy_context)
    began: float = field(default_factory=time.monotonic)
    display_id: str = ""
    shown: bool = False
    ended: bool = False

    def text(self) -> str:
        raise NotImplementedError

    def share(self) -> tuple[int, int] | None:
        """Return how much is done of how much, where that is known."""
        return None


@dataclass(kw_only=True)
class _WorkLine(_Line):
    """A cell or a decorated function."""

    name: str
    usual_s: float | None = None
    asked: bool = False
    waits_for: str = ""

    def text(self) -> str:
        if self.ended:
            return ""
        if self.waits_for:
            return f"{self.name} waits for {self.waits_for}"
        if not self.asked:
            from awaitly_nb.manage import expected_s  # few lines are ever shown

            self.asked, self.usual_s = True, expected_s(self.workflow, self.name)
        usual = "" if self.usual_s is None else f", usually {show_duration(self.usual_s)}"
        return f"computing {self.name} for {show_duration(time.monotonic() - self.began)}{usual}"


@dataclass(kw_only=True)
class _RunLine(_Line):
    """A run of a workflow."""

    total: int | None
    done: set[tuple[str, str | None]] = field(default_factory=set)
    running: dict[tuple[str, str | None], float] = field(default_factory=dict)
    waiting: dict[tuple[str, str | None], str] = field(default_factory=dict)
    hits: int = 0
    saved_s: float = 0.0

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.StepCacheHit():
                if (event.step_id, event.step_key) not in self.done:
                    self.hits += 1
                    self.saved_s += max(0.0, event.computed_s or 0.0)
                self.done.add((event.step_id, event.step_key))
                self.waiting.pop((event.step_id, event.step_key), None)
            case ev.StepStart():
                self.running[event.step_id, event.step_key] = time.monotonic()
                self.waiting.pop((event.step_id, event.step_key), None)
            case ev.StepWaiting():
                self.waiting[event.step_id, event.step_key] = event.holder
            case ev.StepComplete() | ev.StepFailed():
                self.running.pop((event.step_id, event.step_key), None)
                self.done.add((event.step_id, event.step_key))

    def share(self) -> tuple[int, int] | None:
        return None if self.total is None or self.total < len(self.done) else (len(self.done), self.total)

    def text(self) -> str:
        now, running = time.monotonic(), list(self.running.items())
        told = ["1 step" if len(self.done) == 1 else f"{len(self.done)} steps"]
        if self.ended:
            told[0] += f" in {show_duration(now - self.began)}"
        elif (share := self.share()) is not None:
            told[0] = f"{share[0]} of {share[1]} steps"
        if running and not self.ended:
            (step_id, _), since = running[-1]
            more = f" and {len(running) - 1} more" if len(running) > 1 else ""
            told.append(f"{step_id}{more} running for {show_duration(now - since)}")
        if not self.ended:
            told += [f"{step_id} waits for {holder}" for (step_id, _), holder in list(self.waiting.items())[-1:]]
        if self.hits:
            told.append(f"{self.hits} from the cache")
        if self.saved_s >= 1:
            told.append(f"{show_duration(self.saved_s)} saved")
        return f"{self.workflow}: {', '.join(told)}"


class Progress:
    """A listener for everything that runs in the process, that shows what takes long.

    Parameters
    ----------
    shell
        Where to show.
    after_s, every_s
        Work is long after so many seconds, and its line is drawn anew so often.
    """

    def __init__(self, shell: Shell, *, after_s: float = _AFTER_S, every_s: float = _EVERY_S) -> None:
        self._shell = shell
        self._after_s = after_s
        self._every_s = every_s
        self._runs: dict[str, _RunLine] = {}
        self._work: dict[tuple[str, str, str | None], _WorkLine] = {}
        self._guard = threading.Lock()
        self._ticker: threading.Thread | None = None

    def handle_event(self, event: ev.Event) -> None:
        """Take one event in."""
        if isinstance(event, ev.WorkflowStart):
            before = [run for run in recent_runs() if run.workflow == event.workflow and run.status == "ok"]
            total = len(before[-1].steps) if before else None
            self._runs[event.run_id] = _RunLine(workflow=event.workflow, total=total)
            self._tick()
        elif (known := self._runs.get(event.run_id)) is not None:
            known.take(event)
            if isinstance(event, _ENDS):
                del self._runs[event.run_id]
                self._end(known)
        else:
            self._take_work(event)

    def _take_work(self, event: ev.Event) -> None:
        """Take in an event of a cell or a decorated function, which no run surrounds."""
        if isinstance(event, ev.WorkflowCancelled):
            for where in [where for where in self._work if where[0] == event.run_id]:
                self._end(self._work.pop(where))
            return
        where = (event.run_id, getattr(event, "step_id", ""), getattr(event, "step_key", None))
        match event:
            case ev.StepStart():
                if (waited := self._work.pop(where, None)) is not None:
                    self._end(waited)
                self._work[where] = _WorkLine(workflow=event.workflow, name=event.step_id)
                self._tick()
            case ev.StepWaiting():
                # It has waited for a second already; from now on each look shows it.
                began = time.monotonic() - self._after_s
                self._work[where] = _WorkLine(
                    workflow=event.workflow, name=event.step_id, waits_for=event.holder, began=began
                )
                self._tick()
            case ev.StepComplete() | ev.StepFailed() | ev.StepCacheHit():
                if (known := self._work.pop(where, None)) is not None:
                    self._end(known)

    def _tick(self) -> None:
        """Let the thread run that draws, as long as there is anything to draw."""
        with self._guard:
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._draw, name="awaitly-progress", daemon=True)
                self._ticker.start()

    def _draw(self) -> None:
        # It outlives a pause, so that a loop of short steps starts it once.
        idle = 0
        while idle < _IDLE_ROUNDS:
            time.sleep(min(self._every_s, self._after_s) if not idle else self._every_s)
            lines = self._long()
            idle = 0 if self._runs or self._work else idle + 1
            for line in lines:
                with self._guard:
                    # Looked at again under the lock: nothing is drawn after the last line.
                    if not line.ended and settings().progress and not _panel_covers(line.workflow):
                        line.context.copy().run(self._show, line)
        with self._guard:
            self._ticker = None
        if self._runs or self._work:  # begun between the last look and the line above
            self._tick()

    def _long(self) -> list[_Line]:
        """Return what is to be shown: the runs, or where there is none, the cell or function that began first."""
        since = time.monotonic() - self._after_s
        runs: list[_Line] = [run for run in list(self._runs.values()) if run.began <= since]
        if runs:
            return runs
        work = sorted((line for line in list(self._work.values()) if line.began <= since), key=lambda line: line.began)
        waiting: list[_Line] = [line for line in work if line.waits_for]
        return waiting[:1] or [*work[:1]]

    def _end(self, line: _Line) -> None:
        line.ended = True
        with self._guard:
            if line.shown:
                self._show(line)

    def _show(self, line: _Line) -> None:
        text = line.text()
        if getattr(self._shell, "kernel", None) is None:
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{text}\x1b[K" + ("\n" if line.ended and text else ""))
                sys.stderr.flush()
                line.shown = True
            return
        line.display_id = line.display_id or uuid.uuid4().hex  # most lines are never shown
        publisher = self._shell.display_pub
        bundle = {"text/plain": text, "text/html": _html(line, text) if text else _GONE}
        # The class's own method: a cell that is being recorded shadows it, and progress is no part of a recording.
        type(publisher).publish(publisher, bundle, {}, transient={"display_id": line.display_id}, update=line.shown)
        line.shown = True


_IDLE_ROUNDS: Final = 3
_GONE: Final = '<div class="awaitly-progress"></div>'


def _html(line: _Line, text: str) -> str:
    bar = ""
    if not line.ended:
        share = line.share()
        value = "" if share is None else f' value="{share[0]}" max="{share[1]}"'
        bar = f'<progress{value} style="width:14em;vertical-align:middle;margin-right:.8em"></progress>'
    quiet = "font-size:.8em;color:var(--jp-ui-font-color2,#757575)"
    return f'<div class="awaitly-progress" style="{quiet}">{bar}{escape(text)}</div>'


def _panel_covers(workflow: str) -> bool:
    shown: Any = sys.modules.get("awaitly_nb.notebook.panel")  # Any: a module, loaded only where a panel was asked for
    return shown is not None and bool(shown.covers(workflow))
