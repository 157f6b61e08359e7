"""The public runtime objects: workflows, and steps outside of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.workflow.context import AsyncContext as AsyncContext, Context as Context
    from awaitly_nb.workflow.decorator import (
        StepFunction as StepFunction,
        run_step as run_step,
        run_step_async as run_step_async,
        standing_run as standing_run,
        step as step,
    )
    from awaitly_nb.workflow.template import fill_for_cell as fill_for_cell
    from awaitly_nb.workflow.workflows import Workflow as Workflow, create_workflow as create_workflow
else:
    __getattr__ = door(
        __name__,
        {
            "context": "AsyncContext Context",
            "decorator": "StepFunction run_step run_step_async standing_run step",
            "template": "fill_for_cell",
            "workflows": "Workflow create_workflow",
        },
    )
