"""One step outside a workflow: what a decorated function and a notebook cell have in common.

Such a step belongs to a *standing run*, which has no body, no end and no memory of its own; the cache is its memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awaitly_nb.config import settings
from awaitly_nb.engine import RECENT, Leave, Run, drive
from awaitly_nb.events import Emitter, StepCacheHit, StepCacheMiss, WorkflowCancelled

if TYPE_CHECKING:
    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine import StepSpec
    from awaitly_nb.result import Result

__all__ = ["Outcome", "answer", "answer_async", "run_once", "run_once_async", "standing_run"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step came to.

    Attributes
    ----------
    result
        Its result; `mark_of(result)` tells when it was computed, how long that took and how large it is.
    hit
        True when the function was not called.
    reason
        Why it was computed, or where the hit came from.
    key
        The key; None when it ran uncached.
    """

    result: Result[Any, Any]
    hit: bool
    reason: str
    key: str | None


def standing_run(name: str, cache: StepCache | None, *, heard: _Heard | None = None) -> Run:
    """Return a run for steps called outside a workflow, under `name`."""
    return Run(
        workflow=name,
        run_id=f"{name}@{os.getpid()}",
        cache=cache,
        emitter=Emitter([RECENT.handle_event] if heard is None else [RECENT.handle_event, heard.handle_event]),
        remember=False,
        track_files=settings().track_files,
    )


class _Heard:
    """Listens for how one step was answered."""

    def __init__(self) -> None:
        self.hit = False
        self.reason = ""

    def handle_event(self, event: object) -> None:
        if isinstance(event, StepCacheHit):
            self.hit, self.reason = True, "from the cache"
        elif isinstance(event, StepCacheMiss):
            self.reason = event.reason


def run_once(spec: StepSpec, cache: StepCache | None) -> Outcome:
    """Run one step, or serve what is kept under its key.

    Parameters
    ----------
    spec
        What to call, under which key; exceptions become the result's error and cause.
    cache
        Where results are kept.

    Raises
    ------
    NotCachedError
        Nothing is kept, and the step is `read_only`.
    """
    heard = _Heard()
    result = answer(standing_run(spec.step_id, cache, heard=heard), spec)
    return Outcome(result, heard.hit, heard.reason, spec.key)


async def run_once_async(spec: StepSpec, cache: StepCache | None) -> Outcome:
    """Do as `run_once`, awaiting what the step's function returns."""
    heard = _Heard()
    result = await answer_async(standing_run(spec.step_id, cache, heard=heard), spec)
    return Outcome(result, heard.hit, heard.reason, spec.key)


def answer(run: Run, spec: StepSpec) -> Result[Any, Any]:
    """Drive one step of a standing run."""
    try:
        return drive(run, spec)
    except (Exception, Leave):
        raise
    except BaseException as exc:
        _tell_of(run, exc)
        raise


async def answer_async(run: Run, spec: StepSpec) -> Result[Any, Any]:
    """Drive one step of a standing run, awaiting what its function returns."""
    from awaitly_nb.engine import drive_async

    try:
        return await drive_async(run, spec)
    except Leave:
        if run.interrupt is None:
            raise
        _tell_of(run, run.interrupt)
        raise run.interrupt from None
    except Exception:
        raise
    except BaseException as exc:
        _tell_of(run, exc)
        raise


def _tell_of(run: Run, exc: BaseException) -> None:
    """Tell that a step was cut short: a standing run has no end that would."""
    run.emit(WorkflowCancelled, last_step_key=run.last_step_key, error=None, reason=type(exc).__name__, duration_s=0.0)
