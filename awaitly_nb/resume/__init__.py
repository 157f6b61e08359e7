"""What lets a run go on where another one stopped: the state of finished steps, and the stores that keep it."""

from __future__ import annotations

from awaitly_nb.resume.blocking import SavedState
from awaitly_nb.resume.collector import ResumeStateCollector, create_resume_state_collector
from awaitly_nb.resume.databases import libsql, mongo, objects, postgres, redis, sqlite
from awaitly_nb.resume.leases import Lease
from awaitly_nb.resume.session import Session
from awaitly_nb.resume.state import ResumeState, StepEntry
from awaitly_nb.resume.store import StateStore
from awaitly_nb.resume.wire import as_resume_state

__all__ = [
    "Lease",
    "ResumeState",
    "ResumeStateCollector",
    "SavedState",
    "Session",
    "StateStore",
    "StepEntry",
    "as_resume_state",
    "create_resume_state_collector",
    "libsql",
    "mongo",
    "objects",
    "postgres",
    "redis",
    "sqlite",
]
