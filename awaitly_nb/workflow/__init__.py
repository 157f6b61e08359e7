"""The public runtime objects: workflows, and steps outside of them."""

from __future__ import annotations

from awaitly_nb.engine.summary import RECENT, RunSummary, StepSummary
from awaitly_nb.workflow.create import Workflow, create_workflow
from awaitly_nb.workflow.decorator import StepFunction, step
from awaitly_nb.workflow.once import Outcome, run_once, run_once_async

__all__ = [
    "Outcome",
    "RunSummary",
    "StepFunction",
    "StepSummary",
    "Workflow",
    "create_workflow",
    "recent_runs",
    "run_once",
    "run_once_async",
    "step",
]


def recent_runs() -> list[RunSummary]:
    """Return what the latest runs of this process did, the latest last."""
    return RECENT.runs()
