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
        Retry as Retry,
        call_of as call_of,
        unexpected as unexpected,
        without_machinery as without_machinery,
    )
    from awaitly_nb.engine.drive_async import (
        blocking as blocking,
        end_tasks as end_tasks,
        in_thread as in_thread,
        let_cancellation_in as let_cancellation_in,
        perform_async as perform_async,
    )
    from awaitly_nb.engine.explain import (
        Why as Why,
        explain_hit as explain_hit,
        explain_miss as explain_miss,
        failure_line as failure_line,
        seen_parts as seen_parts,
    )
    from awaitly_nb.engine.listeners import (
        RECENT as RECENT,
        Emitter as Emitter,
        RunSummary as RunSummary,
        StepSummary as StepSummary,
        Summariser as Summariser,
        observe as observe,
        recent_runs as recent_runs,
    )
    from awaitly_nb.engine.lookup import Outcome as Outcome, Serve as Serve, look_up as look_up
    from awaitly_nb.engine.run import (
        CacheErrors as CacheErrors,
        KeyWatch as KeyWatch,
        Leave as Leave,
        Run as Run,
        StepSpec as StepSpec,
        check_step as check_step,
        parse_cache_errors as parse_cache_errors,
    )
    from awaitly_nb.engine.step import perform as perform
else:
    __getattr__ = door(
        __name__,
        {
            "calls": "Retry call_of unexpected without_machinery",
            "drive_async": "blocking end_tasks in_thread let_cancellation_in perform_async",
            "explain": "Why explain_hit explain_miss failure_line seen_parts",
            "listeners": "Emitter RECENT RunSummary StepSummary Summariser observe recent_runs",
            "lookup": "Outcome Serve look_up",
            "run": "CacheErrors KeyWatch Leave Run StepSpec check_step parse_cache_errors",
            "step": "perform",
        },
    )
