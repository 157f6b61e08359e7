"""One step: decide, look up, lock, call, record, emit. The only place that emits step events.

`decide` holds the rules, `step` the course of one step as a generator of effects, `drive` and `drive_async` carry the
effects out, `run` is the state that the steps of one run share. Knows nothing of notebooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.engine.async_driver import (
        blocking as blocking,
    )
    from awaitly_nb.engine.async_driver import (
        drive_async as drive_async,
    )
    from awaitly_nb.engine.async_driver import (
        end_tasks as end_tasks,
    )
    from awaitly_nb.engine.async_driver import (
        in_thread as in_thread,
    )
    from awaitly_nb.engine.async_driver import (
        let_cancellation_in as let_cancellation_in,
    )
    from awaitly_nb.engine.attempt import (
        unexpected as unexpected,
    )
    from awaitly_nb.engine.decide import (
        CacheErrors as CacheErrors,
    )
    from awaitly_nb.engine.decide import (
        Serve as Serve,
    )
    from awaitly_nb.engine.decide import (
        parse_cache_errors as parse_cache_errors,
    )
    from awaitly_nb.engine.elsewhere import (
        call_of as call_of,
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
    from awaitly_nb.engine.options import (
        Retry as Retry,
    )
    from awaitly_nb.engine.options import (
        StepSpec as StepSpec,
    )
    from awaitly_nb.engine.options import (
        check_step as check_step,
    )
    from awaitly_nb.engine.run import (
        Leave as Leave,
    )
    from awaitly_nb.engine.run import (
        Run as Run,
    )
    from awaitly_nb.engine.run import (
        look_up as look_up,
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
    from awaitly_nb.engine.sync_driver import (
        drive as drive,
    )
    from awaitly_nb.engine.tracebacks import (
        without_machinery as without_machinery,
    )
    from awaitly_nb.engine.unstable import (
        KeyWatch as KeyWatch,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "CacheErrors": "decide",
            "KeyWatch": "unstable",
            "Leave": "run",
            "RECENT": "summary",
            "Retry": "options",
            "Run": "run",
            "RunSummary": "summary",
            "Serve": "decide",
            "StepSpec": "options",
            "StepSummary": "summary",
            "Summariser": "summary",
            "Why": "explain",
            "blocking": "async_driver",
            "call_of": "elsewhere",
            "check_step": "options",
            "drive": "sync_driver",
            "drive_async": "async_driver",
            "end_tasks": "async_driver",
            "explain_hit": "explain",
            "explain_miss": "explain",
            "failure_line": "explain",
            "in_thread": "async_driver",
            "interruptible": "interrupts",
            "let_cancellation_in": "async_driver",
            "look_up": "run",
            "parse_cache_errors": "decide",
            "seen_parts": "explain",
            "unexpected": "attempt",
            "uninterrupted": "interrupts",
            "without_machinery": "tracebacks",
        },
    )
