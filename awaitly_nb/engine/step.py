"""One step, from call to disk: decide, look up, wait, lock, call, record, emit.

The whole of it is one generator that yields *effects*: call this function, wait for that, write those bytes. The two
drivers (`drive`, `drive_async`) carry the effects out, blocking or awaiting, and share every rule by construction.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import handle_of
from awaitly_nb.codec import is_used_up
from awaitly_nb.engine.attempt import attempted
from awaitly_nb.engine.decide import FIRST_RUN, Compute, Serve
from awaitly_nb.engine.effects import Pause, Wait
from awaitly_nb.engine.elsewhere import arrived, as_called
from awaitly_nb.engine.explain import explain_miss, forget_failure, note_failure, note_parts
from awaitly_nb.engine.keep import checkpoint, hold_lease, keep
from awaitly_nb.engine.run import Course, Leave, as_wanted, look_up
from awaitly_nb.errors import MisuseError, NotCachedError, UnstableKeyWarning, warn
from awaitly_nb.events import StepCacheMiss, StepComplete, StepFailed, StepStart, StepSuccess, StepWaiting
from awaitly_nb.keys import literal_files, track_files
from awaitly_nb.locks import FLIGHTS, Flight, led
from awaitly_nb.result import Err, Mark, Ok, mark_of, with_mark

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from awaitly_nb.engine.effects import Effect, Steps
    from awaitly_nb.engine.options import StepSpec
    from awaitly_nb.engine.run import Run
    from awaitly_nb.keys import FileTracker
    from awaitly_nb.result import Result

__all__ = ["perform"]

_log = logging.getLogger(__name__)

_FIRST_POLL_S, _LAST_POLL_S = 0.002, 0.05
# A step that computes inside another one holds its lock while it waits; two kernels doing that to each other would wait
# for ever. Past this bound the step is computed without the lock: twice, perhaps, but never not at all.
_WAIT_WHILE_LEADING_S = 10.0
_TELL_AFTER_S = 1.0
_AS_ASKED = Compute("computed anew, as asked")


def perform(run: Run, spec: StepSpec) -> Steps | Result[Any, Any]:
    """Begin one step of `run`: return the result that is kept, or the effects by which it comes to one."""
    if run.over:
        raise MisuseError(f"step {spec.step_id!r} was called after its run had ended; await every step in the body")
    run.raise_if_leaving()
    started = time.perf_counter()
    if spec.key is None:
        if spec.lazy:
            raise MisuseError(
                f"step {spec.step_id!r} is lazy, and what is not kept cannot be loaded later: give it a key="
            )
        return _compute(run, spec, reason=None)
    run.note_key(spec)
    decision = _AS_ASKED if spec.force else look_up(run, spec)
    if isinstance(decision, Serve):
        # The common case needs no effects, and a generator would cost as much again.
        return run.serve(spec, decision, started) if run.session is None else _served(run, spec, decision, started)
    if spec.read_only:
        raise NotCachedError(f"{spec.step_id!r} is not in the cache under {spec.key!r}, and was not to be computed")
    return _missed(run, spec, decision, started)


def _missed(run: Run, spec: StepSpec, decision: Compute, started: float) -> Steps:
    """Compute a key alone among all who want it now, or take what the one who does comes to."""
    leading = led.get()
    mine: list[Flight] = []
    token = None
    try:
        flight = yield from _board(run, spec, leading, mine)
        if flight is None:
            return (yield from _compute(run, spec, reason="its key is being computed by a step that waits for this"))
        if isinstance(flight, Serve):
            return (yield from _served(run, spec, flight, started))
        token = led.set((*leading, flight))
        result = yield from _lead(run, spec, decision, leading, started)
        FLIGHTS.land(flight, result)
        return result
    finally:
        for flight in mine:
            FLIGHTS.abandon(flight)
        if token is not None:
            led.reset(token)


def _board(
    run: Run, spec: StepSpec, leading: tuple[Flight, ...], mine: list[Flight]
) -> Generator[Effect, Any, Flight | Serve | None]:
    """Wait until this step leads its key's flight, or another has landed it; None where waiting would never end."""
    while True:
        flight, leads = FLIGHTS.join((run.scope, spec.key), mine)
        if leads:
            return flight
        if flight in leading:
            raise MisuseError(
                f"step {spec.step_id!r} waits for itself: it is called with the key {spec.key!r} from inside the step "
                "of that key; give the inner one a key of its own"
            )
        if not FLIGHTS.may_wait(flight, leading):
            return None  # Two steps wait for each other's keys: computing twice beats waiting for ever.
        try:
            yield Wait(flight.future)
        finally:
            FLIGHTS.stop_waiting(flight, leading)
        if flight.landed is not None and not spec.force:
            decision = look_up(run, spec)
            if isinstance(decision, Serve):
                return decision
            landed = as_wanted(run, spec, flight.landed)
            if isinstance(landed, Ok | Err) and not is_used_up(landed):
                return Serve(landed, "run")


def _lead(run: Run, spec: StepSpec, missed: Compute, leading: tuple[Flight, ...], started: float) -> Steps:
    """Compute a key on behalf of all who wait for it, unless it was finished in between."""
    lock = None
    if run.cache is not None and (single_flight := getattr(run.cache, "single_flight", None)) is not None:
        lock = single_flight(spec.key)
    waited = 0.0
    try:
        if lock is not None:
            delay = _FIRST_POLL_S
            while not lock.try_acquire():
                if leading and waited > _WAIT_WHILE_LEADING_S:
                    lock = None
                    break
                if waited < _TELL_AFTER_S <= waited + delay:
                    holder = lock.holder() or "another kernel"
                    run.emit(StepWaiting, step_id=spec.step_id, step_key=spec.key, holder=holder)
                    _log.warning("step %r waits for %s, which is computing %r", spec.step_id, holder, spec.key)
                yield Pause(delay)
                # A worker may finish what a kernel that died had asked for, long before its lock runs out.
                if spec.lazy and not spec.force and int(waited + delay) > int(waited):
                    seen = look_up(run, spec)
                    if isinstance(seen, Serve):
                        return (yield from _served(run, spec, seen, started))
                waited += delay
                delay = min(delay * 1.5, _LAST_POLL_S)
        # Between the first look and this lead another run or kernel may have finished the key.
        if not spec.force and isinstance(decision := look_up(run, spec), Serve):
            return (yield from _served(run, spec, decision, started))
        return (yield from _compute(run, spec, reason=_reason(run, spec, missed)))
    finally:
        if lock is not None:
            lock.release()


def _reason(run: Run, spec: StepSpec, decision: Compute) -> str:
    """Say in one line why a step is computed: the rule that decided, or the part of its key that is new."""
    why = explain_miss(run, spec, decision, cheaply=True)
    forget_failure(run, spec)
    if decision.reason == FIRST_RUN and spec.parts is not None:
        note_parts(run, spec)
        return why.reason
    if decision.reason == FIRST_RUN and run.watch is not None and run.watch.missed(run.run_id, spec):
        warn(
            f"step {spec.step_id!r}: its key was new three runs in a row, now {spec.key!r}, with code and arguments "
            "unchanged, so it never hits; take what changes by itself (time, random numbers, ids) out of the key",
            UnstableKeyWarning,
        )
    return why.reason


def _served(run: Run, spec: StepSpec, decision: Serve, started: float) -> Steps:
    result = run.serve(spec, decision, started)
    if run.session is not None and decision.source == "cache":
        yield from checkpoint(run, spec, result)
    return result


def _compute(run: Run, spec: StepSpec, *, reason: str | None) -> Steps:
    where = {"step_id": spec.step_id, "step_key": spec.key}
    yield from hold_lease(run)
    if reason is not None and run.cache is not None:
        run.emit(StepCacheMiss, reason=reason, **where)
    run.emit(StepStart, **where)
    at, started = run.now(), time.perf_counter()
    code = run.code_of(spec) if spec.key is not None else None
    # Before the call: it may change its arguments, and their outline is to show what it was given.
    parts = None if spec.parts is None else spec.parts.to_data()
    with _tracked(run, spec) as tracker, Course(run) as course:
        try:
            called = as_called(spec, run.cache, lambda: _mark_of(run, spec, code, parts, tracker))
            result, there = arrived(run, spec, (yield from attempted(run, called)))
            course.end()
        except Leave:
            # A step inside this one failed, and the run ends with that; this one did not come to an answer of its own,
            # also where a bare `except` made it go on to one.
            if run.failure is not None:
                run.emit(StepFailed, result=run.failure, duration_s=time.perf_counter() - started, **where)
            raise
    origin = mark_of(result)
    duration_s = time.perf_counter() - started
    if origin is not None and origin.duration_s is not None and spec.retry is None:
        duration_s = origin.duration_s  # without its wait for a worker
    mark = _mark_of(run, spec, code, parts, tracker)
    result = with_mark(
        result, replace(mark, at=at, duration_s=duration_s, origin="returned" if origin is None else origin.origin)
    )
    run.emit(StepSuccess if result.ok else StepFailed, result=result, duration_s=duration_s, **where)
    stored = False
    if spec.key is not None:
        stored = yield from keep(run, spec, result, there=there)
        if isinstance(result, Err) and not stored:
            note_failure(run, spec, result)
        if spec.lazy and isinstance(result, Ok):
            result = handle_of(run.cache, spec.key, result, kept=stored)
            if run.remember:
                run.results[spec.key] = result
        if run.session is not None:
            yield from checkpoint(run, spec, result)
    size_of = getattr(run.cache, "size_of", None) if stored else None
    size_bytes = None if size_of is None else size_of(spec.key)
    run.emit(StepComplete, result=result, duration_s=duration_s, stored=stored, size_bytes=size_bytes, **where)
    return result


def _mark_of(
    run: Run, spec: StepSpec, code: str | None, parts: Mapping[str, Any] | None, tracker: FileTracker | None
) -> Mark:
    return Mark(
        step_id=spec.step_id,
        workflow=run.workflow,
        ttl_s=spec.ttl_s,
        code=code,
        parts=parts,
        files=() if tracker is None else tracker.stamps(),
    )


def _tracked(run: Run, spec: StepSpec) -> AbstractContextManager[FileTracker | None]:
    """Take notice of the files a step reads, where its key is made of what it depends on."""
    if spec.parts is None or not run.track_files:
        return nullcontext()
    named = literal_files(getattr(spec.fn, "__wrapped__", spec.fn), (spec.args, dict(spec.kwargs)))
    return track_files((*spec.known_files, *named))
