"""Notebook steps that are cached on disk: re-running resumes instead of recomputing, and says why.

>>> import awaitly_nb as aw
>>> workflow = aw.create_workflow("report", cache={})
>>> def body(ctx):
...     rows = ctx.step("load", lambda: [1, 2, 3], key="rows:v1")
...     return ctx.step("total", sum, rows, key="total:v1")
>>> workflow.run_sync(body)
Ok(value=6)

What people type is here; every event class is in `aw.events`, every error and warning in `aw.errors`, and what authors
of caches and stores need in `awaitly_nb.testing`. Importing this loads no IPython, numpy, pandas or widget, and no
event loop: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from awaitly_nb.drawing import drawn_by

if TYPE_CHECKING:
    from awaitly_nb import errors, events
    from awaitly_nb.cache import Entry, StepCache, Stored, create_disk_cache, create_memory_cache, create_shared_cache
    from awaitly_nb.config import configure
    from awaitly_nb.engine import Retry, recent_runs
    from awaitly_nb.errors import (
        AwaitlyError,
        AwaitlyWarning,
        LeaseHeldError,
        MisuseError,
        StepTimeoutError,
        UnexpectedError,
        UnkeyableError,
    )
    from awaitly_nb.events import is_step_complete
    from awaitly_nb.keys import file, register_key
    from awaitly_nb.notebook import load_ipython_extension, register_state, unload_ipython_extension
    from awaitly_nb.notebook.panel import panel
    from awaitly_nb.plans import plan
    from awaitly_nb.result import Err, Ok, Result, err, ok
    from awaitly_nb.states import (
        ResumeState,
        StateStore,
        StepEntry,
        create_resume_state_collector,
        libsql,
        mongo,
        objects,
        open_store,
        postgres,
        redis,
        sqlite,
    )
    from awaitly_nb.workflow import Workflow, create_workflow, step

__version__ = "0.1.0"

drawn_by("awaitly_nb.notebook.html")

# Where each name lives; a name without a home is a module itself.
_NAMES = {
    "": "errors events",
    "cache": "Entry StepCache Stored create_disk_cache create_memory_cache create_shared_cache",
    "config": "configure",
    "engine": "Retry recent_runs",
    "errors": "AwaitlyError AwaitlyWarning LeaseHeldError MisuseError StepTimeoutError UnexpectedError UnkeyableError",
    "events": "is_step_complete",
    "keys": "file register_key",
    "notebook": "load_ipython_extension register_state unload_ipython_extension",
    "notebook.panel": "panel",
    "plans": "plan",
    "result": "Err Ok Result err ok",
    "states": (
        "ResumeState StateStore StepEntry create_resume_state_collector libsql mongo "
        "objects open_store postgres redis sqlite"
    ),
    "workflow": "Workflow create_workflow step",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = [
    "AwaitlyError",
    "AwaitlyWarning",
    "Entry",
    "Err",
    "LeaseHeldError",
    "MisuseError",
    "Ok",
    "Result",
    "ResumeState",
    "Retry",
    "StateStore",
    "StepCache",
    "StepEntry",
    "StepTimeoutError",
    "Stored",
    "UnexpectedError",
    "UnkeyableError",
    "Workflow",
    "configure",
    "create_disk_cache",
    "create_memory_cache",
    "create_resume_state_collector",
    "create_shared_cache",
    "create_workflow",
    "err",
    "errors",
    "events",
    "file",
    "is_step_complete",
    "libsql",
    "load_ipython_extension",
    "mongo",
    "objects",
    "ok",
    "open_store",
    "panel",
    "plan",
    "postgres",
    "recent_runs",
    "redis",
    "register_key",
    "register_state",
    "sqlite",
    "step",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:  # Any: any public object
    if name not in _HOMES:
        hint = "; it is in awaitly_nb.errors" if name.endswith(("Error", "Warning")) else ""
        raise AttributeError(f"module 'awaitly_nb' has no attribute {name!r}{hint}")
    home = _HOMES[name]
    value = importlib.import_module(f"awaitly_nb.{home or name}")
    if home:
        value = getattr(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
