"""One step: look up, lock, call, store, emit. The only place that emits step events.

`perform` and `perform_async` carry out one `StepSpec` of a `Run`, and return its `Outcome`. `lookup` has the rules and
ends a hit, `step` is the course of a miss as a generator of effects, `run` the state that the steps of one run share.
Knows nothing of notebooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.engine.calls import (
        call_of as call_of,
    )
    from awaitly_nb.engine.calls import (
        unexpected as unexpected,
    )
    from awaitly_nb.engine.calls import (
        without_machinery as without_machinery,
    )
    from awaitly_nb.engine.drive_async import (
        blocking as blocking,
    )
    from awaitly_nb.engine.drive_async import (
        end_tasks as end_tasks,
    )
    from awaitly_nb.engine.drive_async import (
        in_thread as in_thread,
    )
    from awaitly_nb.engine.drive_async import (
        let_cancellation_in as let_cancellation_in,
    )
    from awaitly_nb.engine.drive_async import (
        perform_async as perform_async,
    )
    from awaitly_nb.engine.explain import (
        Why as Why,
    )
    from awaitly_nb.engine.explain import (
        explain_hit as explain_hit,
    )
    from awaitly_nb.engine.explain import (
        explain_miss as explain_miss,
    )
    from awaitly_nb.engine.explain import (
        failure_line as failure_line,
    )
    from awaitly_nb.engine.explain import (
        seen_parts as seen_parts,
    )
    from awaitly_nb.engine.interrupts import (
        interruptible as interruptible,
    )
    from awaitly_nb.engine.interrupts import (
        uninterrupted as uninterrupted,
    )
    from awaitly_nb.engine.lookup import (
        Outcome as Outcome,
    )
    from awaitly_nb.engine.lookup import (
        Serve as Serve,
    )
    from awaitly_nb.engine.lookup import (
        look_up as look_up,
    )
    from awaitly_nb.engine.run import (
        KeyWatch as KeyWatch,
    )
    from awaitly_nb.engine.run import (
        Leave as Leave,
    )
    from awaitly_nb.engine.run import (
        Run as Run,
    )
    from awaitly_nb.engine.spec import (
        CacheErrors as CacheErrors,
    )
    from awaitly_nb.engine.spec import (
        Retry as Retry,
    )
    from awaitly_nb.engine.spec import (
        StepSpec as StepSpec,
    )
    from awaitly_nb.engine.spec import (
        check_step as check_step,
    )
    from awaitly_nb.engine.spec import (
        parse_cache_errors as parse_cache_errors,
    )
    from awaitly_nb.engine.step import (
        perform as perform,
    )
    from awaitly_nb.engine.summary import (
        RECENT as RECENT,
    )
    from awaitly_nb.engine.summary import (
        RunSummary as RunSummary,
    )
    from awaitly_nb.engine.summary import (
        StepSummary as StepSummary,
    )
    from awaitly_nb.engine.summary import (
        Summariser as Summariser,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "CacheErrors": "spec",
            "KeyWatch": "run",
            "Leave": "run",
            "Outcome": "lookup",
            "RECENT": "summary",
            "Retry": "spec",
            "Run": "run",
            "RunSummary": "summary",
            "Serve": "lookup",
            "StepSpec": "spec",
            "StepSummary": "summary",
            "Summariser": "summary",
            "Why": "explain",
            "blocking": "drive_async",
            "call_of": "calls",
            "check_step": "spec",
            "end_tasks": "drive_async",
            "explain_hit": "explain",
            "explain_miss": "explain",
            "failure_line": "explain",
            "in_thread": "drive_async",
            "interruptible": "interrupts",
            "let_cancellation_in": "drive_async",
            "look_up": "lookup",
            "parse_cache_errors": "spec",
            "perform": "step",
            "perform_async": "drive_async",
            "seen_parts": "explain",
            "unexpected": "calls",
            "uninterrupted": "interrupts",
            "without_machinery": "calls",
        },
    )
