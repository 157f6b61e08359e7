"""One line below the cell of a long run: how far it is, what runs now, what was saved.

Where the panel is shown it says all that already, and this is silent. In a terminal the line is plain text; where
output is no terminal, nothing is written. A thread of its own draws, because a step that blocks emits no events.
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
from awaitly_nb.units import show_duration
from awaitly_nb.workflow import recent_runs

if TYPE_CHECKING:
    from contextvars import Context

    from awaitly_nb.notebook.shell import Shell

__all__ = ["Progress"]

_AFTER_S: Final = 2.0
_EVERY_S: Final = 1.0
_ENDS: Final = (ev.WorkflowSuccess, ev.WorkflowFailed, ev.WorkflowCancelled)


@dataclass
class _Run:
    """What is shown of one run."""

    workflow: str
    total: int | None
    context: Context
    began: float = field(default_factory=time.monotonic)
    display_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    done: set[tuple[str, str | None]] = field(default_factory=set)
    running: dict[tuple[str, str | None], float] = field(default_factory=dict)
    hits: int = 0
    saved_s: float = 0.0
    shown: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.StepCacheHit():
                if (event.step_id, event.step_key) not in self.done:
                    self.hits += 1
                    self.saved_s += max(0.0, event.computed_s or 0.0)
                self.done.add((event.step_id, event.step_key))
            case ev.StepStart():
                self.running[event.step_id, event.step_key] = time.monotonic()
            case ev.StepComplete() | ev.StepFailed():
                self.running.pop((event.step_id, event.step_key), None)
                self.done.add((event.step_id, event.step_key))

    def line(self) -> str:
        now, running = time.monotonic(), list(self.running.items())
        told = ["1 step" if len(self.done) == 1 else f"{len(self.done)} steps"]
        if self.ended.is_set():
            told[0] += f" in {show_duration(now - self.began)}"
        elif self.total is not None and self.total >= len(self.done):
            told[0] = f"{len(self.done)} of {self.total} steps"
        if running and not self.ended.is_set():
            (step_id, _), since = running[-1]
            more = f" and {len(running) - 1} more" if len(running) > 1 else ""
            told.append(f"{step_id}{more} running for {show_duration(now - since)}")
        if self.hits:
            told.append(f"{self.hits} from the cache")
        if self.saved_s >= 1:
            told.append(f"{show_duration(self.saved_s)} saved")
        return f"{self.workflow}: {', '.join(told)}"


class Progress:
    """A listener for every run of the process, that shows the long ones.

    Parameters
    ----------
    shell
        Where to show.
    after_s, every_s
        A run is long after so many seconds, and its line is drawn anew so often.
    """

    def __init__(self, shell: Shell, *, after_s: float = _AFTER_S, every_s: float = _EVERY_S) -> None:
        self._shell = shell
        self._after_s = after_s
        self._every_s = every_s
        self._runs: dict[str, _Run] = {}

    def handle_event(self, event: ev.Event) -> None:
        """Take one event in."""
        if isinstance(event, ev.WorkflowStart):
            before = [run for run in recent_runs() if run.workflow == event.workflow and run.status == "ok"]
            run = _Run(event.workflow, len(before[-1].steps) if before else None, copy_context())
            self._runs[event.run_id] = run
            threading.Thread(target=self._watch, args=(run,), name="awaitly-progress", daemon=True).start()
        elif (known := self._runs.get(event.run_id)) is not None:
            known.take(event)
            if isinstance(event, _ENDS):
                del self._runs[event.run_id]
                known.ended.set()
                with known.lock:
                    if known.shown:
                        self._show(known)

    def _watch(self, run: _Run) -> None:
        wait_s = self._after_s
        while not run.ended.wait(wait_s):
            wait_s = self._every_s
            with run.lock:
                # Looked at again under the lock: nothing is drawn after the last line.
                if not run.ended.is_set() and not _panel_covers(run.workflow):
                    run.context.copy().run(self._show, run)

    def _show(self, run: _Run) -> None:
        text = run.line()
        if getattr(self._shell, "kernel", None) is None:
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{text}\x1b[K" + ("\n" if run.ended.is_set() else ""))
                sys.stderr.flush()
                run.shown = True
            return
        publisher = self._shell.display_pub
        bundle = {"text/plain": text, "text/html": _html(run, text)}
        # The class's own method: a cell that is being recorded shadows it, and progress is no part of a recording.
        type(publisher).publish(publisher, bundle, {}, transient={"display_id": run.display_id}, update=run.shown)
        run.shown = True


def _html(run: _Run, text: str) -> str:
    bar = ""
    if not run.ended.is_set():
        known = run.total is not None and run.total >= len(run.done)
        value = f' value="{len(run.done)}" max="{run.total}"' if known else ""
        bar = f'<progress{value} style="width:14em;vertical-align:middle;margin-right:.8em"></progress>'
    quiet = "font-size:.8em;color:var(--jp-ui-font-color2,#757575)"
    return f'<div class="awaitly-progress" style="{quiet}">{bar}{escape(text)}</div>'


def _panel_covers(workflow: str) -> bool:
    shown: Any = sys.modules.get("awaitly_nb.notebook.panel")  # Any: a module, loaded only where a panel was asked for
    return shown is not None and bool(shown.covers(workflow))
