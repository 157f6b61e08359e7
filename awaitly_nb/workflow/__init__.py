"""The public runtime objects: workflows, and steps outside of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door
from awaitly_nb.engine import RECENT, RunSummary

if TYPE_CHECKING:
    from awaitly_nb.workflow.decorator import (
        StepFunction as StepFunction,
    )
    from awaitly_nb.workflow.decorator import (
        run_step as run_step,
    )
    from awaitly_nb.workflow.decorator import (
        run_step_async as run_step_async,
    )
    from awaitly_nb.workflow.decorator import (
        standing_run as standing_run,
    )
    from awaitly_nb.workflow.decorator import (
        step as step,
    )
    from awaitly_nb.workflow.workflows import (
        Workflow as Workflow,
    )
    from awaitly_nb.workflow.workflows import (
        create_workflow as create_workflow,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "StepFunction": "decorator",
            "Workflow": "workflows",
            "create_workflow": "workflows",
            "run_step": "decorator",
            "run_step_async": "decorator",
            "standing_run": "decorator",
            "step": "decorator",
        },
    )


def recent_runs() -> list[RunSummary]:
    """Return what the latest runs of this process did, the latest last."""
    return RECENT.runs()
