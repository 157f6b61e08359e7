"""The public runtime objects: workflows, and steps outside of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door
from awaitly_nb.engine import RECENT, RunSummary

if TYPE_CHECKING:
    from awaitly_nb.workflow.create import (
        Workflow as Workflow,
    )
    from awaitly_nb.workflow.create import (
        create_workflow as create_workflow,
    )
    from awaitly_nb.workflow.decorator import (
        StepFunction as StepFunction,
    )
    from awaitly_nb.workflow.decorator import (
        step as step,
    )
    from awaitly_nb.workflow.once import (
        Outcome as Outcome,
    )
    from awaitly_nb.workflow.once import (
        run_once as run_once,
    )
    from awaitly_nb.workflow.once import (
        run_once_async as run_once_async,
    )
    from awaitly_nb.workflow.once import (
        standing_run as standing_run,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "Outcome": "once",
            "StepFunction": "decorator",
            "Workflow": "create",
            "create_workflow": "create",
            "run_once": "once",
            "run_once_async": "once",
            "standing_run": "once",
            "step": "decorator",
        },
    )


def recent_runs() -> list[RunSummary]:
    """Return what the latest runs of this process did, the latest last."""
    return RECENT.runs()
