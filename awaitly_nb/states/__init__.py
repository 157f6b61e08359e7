"""What lets a run go on where another one stopped: the state of finished steps, and the stores that hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.states.databases import (
        libsql as libsql,
        mongo as mongo,
        objects as objects,
        open_store as open_store,
        postgres as postgres,
        redis as redis,
        sqlite as sqlite,
    )
    from awaitly_nb.states.leases import Lease as Lease
    from awaitly_nb.states.log import StepOutline as StepOutline
    from awaitly_nb.states.resume_state import (
        ResumeState as ResumeState,
        ResumeStateCollector as ResumeStateCollector,
        StepEntry as StepEntry,
        create_resume_state_collector as create_resume_state_collector,
    )
    from awaitly_nb.states.session import Session as Session
    from awaitly_nb.states.state_store import SavedState as SavedState, StateStore as StateStore, outline as outline
    from awaitly_nb.states.wire import as_resume_state as as_resume_state
else:
    __getattr__ = door(
        __name__,
        {
            "databases": "libsql mongo objects open_store postgres redis sqlite",
            "leases": "Lease",
            "log": "StepOutline",
            "resume_state": "ResumeState ResumeStateCollector StepEntry create_resume_state_collector",
            "session": "Session",
            "state_store": "SavedState StateStore outline",
            "wire": "as_resume_state",
        },
    )
