"""Notebook steps that are kept on disk: re-running resumes instead of recomputing, and says why.

>>> import awaitly_nb as aw
>>> workflow = aw.create_workflow("report", cache={})
>>> def body(ctx):
...     rows = ctx.step("load", lambda: [1, 2, 3], key="rows:v1")
...     return ctx.step("total", sum, rows, key="total:v1")
>>> workflow.run_sync(body)
Ok(value=6)

All public names are here, and in `awaitly_nb.testing` for authors of caches and stores. Importing this loads no
IPython, numpy, pandas or widget, and no event loop: what needs them is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from awaitly_nb.drawing import drawn_by
from awaitly_nb.errors import (
    AwaitlyError,
    AwaitlyWarning,
    CacheError,
    CacheUnusableWarning,
    CodeChangedWarning,
    DamagedEntryWarning,
    EncodeError,
    EvictedWarning,
    ForeignSecretWarning,
    InvalidOptionError,
    LeaseHeldError,
    ListenerWarning,
    MissingExtraError,
    MisuseError,
    NotCachedError,
    PersistWarning,
    RemoteError,
    SharedKeyWarning,
    StateError,
    StateRecoveredWarning,
    StateTooLargeError,
    StateVersionError,
    StepTimeoutError,
    StoreError,
    UncachedWarning,
    UnexpectedError,
    UnkeyableError,
    UnstableKeyWarning,
    UnverifiedEntryError,
    UnwrapError,
)
from awaitly_nb.result import Err, Ok, Result, err, ok

if TYPE_CHECKING:
    from awaitly_nb.cache import Entry, StepCache, Stored, create_disk_cache, create_memory_cache, create_shared_cache
    from awaitly_nb.config import configure
    from awaitly_nb.engine import Retry
    from awaitly_nb.events import (
        is_persist_error,
        is_step_cache_hit,
        is_step_cache_miss,
        is_step_complete,
        is_step_error,
        is_step_retry,
        is_step_start,
        is_step_success,
        is_step_waiting,
        is_workflow_cancelled,
        is_workflow_error,
        is_workflow_start,
        is_workflow_success,
    )
    from awaitly_nb.keys import file, register_key
    from awaitly_nb.notebook import load_ipython_extension, register_state, unload_ipython_extension
    from awaitly_nb.notebook.panel import panel
    from awaitly_nb.plans import plan
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
    from awaitly_nb.workflow import Workflow, create_workflow, recent_runs, step

__version__ = "0.1.0"

drawn_by("awaitly_nb.notebook.html")

# Where the names live that are loaded on first use.
_LAZY = {
    "Entry": "cache",
    "ResumeState": "states",
    "Retry": "engine",
    "StateStore": "states",
    "StepCache": "cache",
    "StepEntry": "states",
    "Stored": "cache",
    "Workflow": "workflow",
    "configure": "config",
    "create_disk_cache": "cache",
    "create_memory_cache": "cache",
    "create_resume_state_collector": "states",
    "create_shared_cache": "cache",
    "create_workflow": "workflow",
    "file": "keys",
    "is_persist_error": "events",
    "is_step_cache_hit": "events",
    "is_step_cache_miss": "events",
    "is_step_complete": "events",
    "is_step_error": "events",
    "is_step_retry": "events",
    "is_step_start": "events",
    "is_step_success": "events",
    "is_step_waiting": "events",
    "is_workflow_cancelled": "events",
    "is_workflow_error": "events",
    "is_workflow_start": "events",
    "is_workflow_success": "events",
    "libsql": "states",
    "load_ipython_extension": "notebook",
    "mongo": "states",
    "objects": "states",
    "open_store": "states",
    "panel": "notebook.panel",
    "plan": "plans",
    "postgres": "states",
    "recent_runs": "workflow",
    "redis": "states",
    "register_key": "keys",
    "register_state": "notebook",
    "sqlite": "states",
    "step": "workflow",
    "unload_ipython_extension": "notebook",
}

__all__ = [
    "AwaitlyError",
    "AwaitlyWarning",
    "CacheError",
    "CacheUnusableWarning",
    "CodeChangedWarning",
    "DamagedEntryWarning",
    "EncodeError",
    "Entry",
    "Err",
    "EvictedWarning",
    "ForeignSecretWarning",
    "InvalidOptionError",
    "LeaseHeldError",
    "ListenerWarning",
    "MissingExtraError",
    "MisuseError",
    "NotCachedError",
    "Ok",
    "PersistWarning",
    "RemoteError",
    "Result",
    "ResumeState",
    "Retry",
    "SharedKeyWarning",
    "StateError",
    "StateRecoveredWarning",
    "StateStore",
    "StateTooLargeError",
    "StateVersionError",
    "StepCache",
    "StepEntry",
    "StepTimeoutError",
    "StoreError",
    "Stored",
    "UncachedWarning",
    "UnexpectedError",
    "UnkeyableError",
    "UnstableKeyWarning",
    "UnverifiedEntryError",
    "UnwrapError",
    "Workflow",
    "configure",
    "create_disk_cache",
    "create_memory_cache",
    "create_resume_state_collector",
    "create_shared_cache",
    "create_workflow",
    "err",
    "file",
    "is_persist_error",
    "is_step_cache_hit",
    "is_step_cache_miss",
    "is_step_complete",
    "is_step_error",
    "is_step_retry",
    "is_step_start",
    "is_step_success",
    "is_step_waiting",
    "is_workflow_cancelled",
    "is_workflow_error",
    "is_workflow_start",
    "is_workflow_success",
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
    if name not in _LAZY:
        raise AttributeError(f"module 'awaitly_nb' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"awaitly_nb.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
