"""What lets a run go on where another one stopped: the state of finished steps, and the stores that hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.states.databases import (
        libsql as libsql,
    )
    from awaitly_nb.states.databases import (
        mongo as mongo,
    )
    from awaitly_nb.states.databases import (
        objects as objects,
    )
    from awaitly_nb.states.databases import (
        open_store as open_store,
    )
    from awaitly_nb.states.databases import (
        postgres as postgres,
    )
    from awaitly_nb.states.databases import (
        redis as redis,
    )
    from awaitly_nb.states.databases import (
        sqlite as sqlite,
    )
    from awaitly_nb.states.leases import (
        Lease as Lease,
    )
    from awaitly_nb.states.log import (
        StepOutline as StepOutline,
    )
    from awaitly_nb.states.resume_state import (
        ResumeState as ResumeState,
    )
    from awaitly_nb.states.resume_state import (
        ResumeStateCollector as ResumeStateCollector,
    )
    from awaitly_nb.states.resume_state import (
        StepEntry as StepEntry,
    )
    from awaitly_nb.states.resume_state import (
        create_resume_state_collector as create_resume_state_collector,
    )
    from awaitly_nb.states.session import (
        Session as Session,
    )
    from awaitly_nb.states.state_store import (
        SavedState as SavedState,
    )
    from awaitly_nb.states.state_store import (
        StateStore as StateStore,
    )
    from awaitly_nb.states.state_store import (
        outline as outline,
    )
    from awaitly_nb.states.wire import (
        as_resume_state as as_resume_state,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "Lease": "leases",
            "ResumeState": "resume_state",
            "ResumeStateCollector": "resume_state",
            "SavedState": "state_store",
            "Session": "session",
            "StateStore": "state_store",
            "StepEntry": "resume_state",
            "StepOutline": "log",
            "as_resume_state": "wire",
            "create_resume_state_collector": "resume_state",
            "libsql": "databases",
            "mongo": "databases",
            "objects": "databases",
            "open_store": "databases",
            "outline": "state_store",
            "postgres": "databases",
            "redis": "databases",
            "sqlite": "databases",
        },
    )
