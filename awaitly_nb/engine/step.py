"""One step, from call to disk: look up, wait, lock, call, store, emit. `perform` returns its `Outcome`.

The course of a step is one generator that yields *effects*: call this function, wait for that, write those bytes. Two
drivers carry the effects out, `perform` blocking and `perform_async` awaiting, and share every rule by construction.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from awaitly_nb.cache import handle_of
from awaitly_nb.codec import copied_if_light, is_heavy, is_used_up, refuse_used_up
from awaitly_nb.engine.calls import TIMED_OUT, Effect, Invoke, Pause, Save, Wait, arrived, as_called, attempted
from awaitly_nb.engine.explain import Miss, failed_before, forget_failure, note_failure
from awaitly_nb.engine.lookup import (
    FIRST_RUN,
    Compute,
    Outcome,
    Serve,
    as_wanted,
    look_up_to_serve,
    may_store,
    outcome_of,
    serve,
)
from awaitly_nb.engine.run import Course, Leave
from awaitly_nb.errors import (
    ChangedInputError,
    LeaseHeldError,
    MisuseError,
    NotCachedError,
    PersistWarning,
    UncachedWarning,
    UnkeyableError,
    UnstableKeyWarning,
    logger,
    warn,
)
from awaitly_nb.events import PersistFailed, StepWaiting
from awaitly_nb.executors import check_may_block, is_awaitable, resolve
from awaitly_nb.interrupts import uninterrupted
from awaitly_nb.keys import begin_traces, end_traces, environment_set, literal_files, track_files
from awaitly_nb.locks import FLIGHTS, Flight, led
from awaitly_nb.result import Err, Mark, Ok, mark_of, with_mark

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from awaitly_nb.engine.calls import Steps
    from awaitly_nb.engine.run import Run, StepSpec
    from awaitly_nb.keys import FileTracker
    from awaitly_nb.result import Result
    from awaitly_nb.states import Session

__all__ = ["begin", "perform"]

_FIRST_POLL_S, _LAST_POLL_S = 0.002, 0.05
# A step that computes inside another one holds its lock while it waits; two kernels doing that to each other would wait
# for ever. Past this bound the step is computed without the lock: twice, perhaps, but never not at all.
_WAIT_WHILE_LEADING_S = 10.0
_TELL_AFTER_S = 1.0
_PARTS_OF_S = 1e7  # so much of the clock's sixteen digits; every entry has them in its head
_INFO, _WARNING = 20, 30  # levels of logging, which is loaded when there is something to log
_ALWAYS = lambda: True  # noqa: E731
_AS_ASKED = Compute("recomputed, as asked")


def perform(run: Run, spec: StepSpec) -> Outcome:
    """Carry out one step of `run`, blocking, and return what it did. Touches no event loop.

    Parameters
    ----------
    run
        The run that the step belongs to.
    spec
        What to call, under which key.

    Raises
    ------
    MisuseError
        The run is over, or the step waits for itself.
    NotCachedError
        Nothing is cached, and the step is `read_only`.
    """
    steps = begin(run, spec)
    if type(steps) is Outcome:
        return steps
    try:
        effect = next(steps)  # type: ignore[arg-type]  # the other half of the union
        while True:
            try:
                answer = _carry_out(effect)
            except BaseException as exc:  # noqa: BLE001 - handed to the step, which decides; nothing is swallowed here
                effect = steps.throw(exc)  # type: ignore[union-attr]
            else:
                effect = steps.send(answer)  # type: ignore[union-attr]
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
    finally:
        steps.close()  # type: ignore[union-attr]  # interrupted between two effects, it gives back what it holds


def begin(run: Run, spec: StepSpec) -> Outcome | Steps:
    """Begin one step of `run`: return its outcome if it is a plain hit, else the effects that lead to one."""
    if run.over:
        raise MisuseError(f"step {spec.step_id!r} was called after its run had ended; await every step in the body")
    if run.failure is not None or run.interrupt is not None:
        raise run.left()
    started = time.perf_counter()
    if spec.key is None:
        if spec.lazy:
            raise MisuseError(
                f"step {spec.step_id!r} is lazy, and what is not stored cannot be loaded later: give it a key="
            )
        return _compute(run, spec, reason=None)
    if run.remember:
        run.note_key(spec)
    decision = _AS_ASKED if spec.force else look_up_to_serve(run, spec)
    if isinstance(decision, Serve):
        # The common case needs no effects, and a generator would cost as much again.
        if run.session is None:
            return serve(run, spec, decision, started)
        return _served(run, spec, decision, started)
    if spec.read_only:
        raise NotCachedError(f"{spec.step_id!r} is not in the cache under {spec.key!r}, and was not to be computed")
    return _missed(run, spec, decision, started)


def _served(run: Run, spec: StepSpec, decision: Serve, started: float) -> Steps:
    outcome = serve(run, spec, decision, started)
    if run.session is not None and decision.source == "cache":
        yield from _checkpoint(run, spec, outcome.result)
    return outcome


def _missed(run: Run, spec: StepSpec, decision: Compute, started: float) -> Steps:
    """Compute a key alone among all who want it now, or take the result of the one who does."""
    leading = led.get()
    mine: list[Flight] = []
    token = None
    try:
        flight: Flight | Serve | None
        flight, leads = FLIGHTS.join((run.scope, spec.key), mine)
        if not leads:
            flight = yield from _board(run, spec, leading, mine, flight)
        if flight is None:
            reason = "its key is being computed by a step that waits for this"
            return (yield from _compute(run, spec, reason=reason, lookup_s=time.perf_counter() - started))
        if isinstance(flight, Serve):
            return (yield from _served(run, spec, flight, started))
        token = led.set((*leading, flight))
        outcome = yield from _lead(run, spec, decision, leading, started)
        flight.landed = outcome.result
        return outcome
    finally:
        try:
            _abandon(mine)
        finally:
            if mine and not mine[-1].is_over:  # interrupted
                _abandon(mine)  # as in `_lead`: who waits for a flight that nobody leads waits for ever
        if token is not None:
            led.reset(token)


def _abandon(flights: list[Flight]) -> None:
    for flight in flights:
        if not flight.is_over:
            FLIGHTS.abandon(flight)


def _board(
    run: Run, spec: StepSpec, leading: tuple[Flight, ...], mine: list[Flight], flight: Flight
) -> Generator[Effect, Any, Flight | Serve | None]:
    """Wait for a flight until this step leads its key, or another has landed it; None where waiting would never end."""
    while True:
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
            decision = look_up_to_serve(run, spec)
            if isinstance(decision, Serve):
                return decision
            landed = as_wanted(run, spec, flight.landed)
            if isinstance(landed, Ok | Err) and not is_used_up(landed):
                return Serve(landed, "run")
        flight, leads = FLIGHTS.join((run.scope, spec.key), mine)
        if leads:
            return flight


def _lead(run: Run, spec: StepSpec, missed: Compute, leading: tuple[Flight, ...], started: float) -> Steps:
    """Compute a key on behalf of all who wait for it, unless it was finished in between."""
    lock = _lock_for(run, spec)
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
                    # Whoever listens shows it in its own way: a notebook as a quiet line that goes away.
                    level = _INFO if run.observed else _WARNING
                    logger(__name__).log(
                        level, "step %r waits for %s, which is computing %r", spec.step_id, holder, spec.key
                    )
                yield Pause(delay)
                # A worker may finish what a kernel that died had asked for, long before its lock runs out.
                if spec.lazy and not spec.force and int(waited + delay) > int(waited):
                    seen = look_up_to_serve(run, spec)
                    if isinstance(seen, Serve):
                        return (yield from _served(run, spec, seen, started))
                waited += delay
                delay = min(delay * 1.5, _LAST_POLL_S)
        # Between the first look and this lead another run or kernel may have finished the key.
        if not spec.force and not _is_unwritten(run, spec, missed):
            decision = look_up_to_serve(run, spec)
            if type(decision) is Serve:
                return (yield from _served(run, spec, decision, started))
        lookup_s = time.perf_counter() - started
        reason = _told(run, spec, missed)
        return (yield from _compute(run, spec, reason=reason, lookup_s=lookup_s, lock=lock))
    finally:
        if lock is not None:
            try:
                lock.release()
            finally:
                lock.release()  # an interrupt may have ended the first before it began; this one is harmless then


def _lock_for(run: Run, spec: StepSpec) -> Any:  # Any: of whichever cache; None where it has none
    """Return the lock of a step's key among all kernels, not yet taken."""
    if run.cache is None or (single_flight := getattr(run.cache, "single_flight", None)) is None:
        return None
    lock = single_flight(spec.key)
    if spec.step_id in run.brief and (without_note := getattr(lock, "without_note", None)) is not None:
        without_note()  # it takes a tenth of what a small step does
    return lock


def _is_unwritten(run: Run, spec: StepSpec, missed: Compute) -> bool:
    """Tell whether nothing can have come to the run or to its cache since these were looked into."""
    if missed.moment is None or spec.key in run.results:
        return False
    unwritten_since = getattr(run.cache, "unwritten_since", None)
    return unwritten_since is not None and unwritten_since(missed.moment)


def _told(run: Run, spec: StepSpec, decision: Compute) -> object:
    """Return why a step is computed: a text, or what works it out when somebody asks."""
    if decision.reason != FIRST_RUN or spec.parts is not None or failed_before(run, spec):
        miss = Miss(run, spec, decision)
        forget_failure(run, spec)
        return miss
    if run.watch is not None and run.watch.missed(run.run_id, spec):
        warn(
            f"step {spec.step_id!r}: its key was new three runs in a row, now {spec.key!r}, with code and arguments "
            "unchanged, so it never hits; take what changes by itself (time, random numbers, ids) out of the key",
            UnstableKeyWarning,
        )
    return FIRST_RUN


def _compute(run: Run, spec: StepSpec, *, reason: object, lookup_s: float = 0.0, lock: Any = None) -> Steps:
    if run.session is not None and run.session.is_due:
        yield from _check_lease(run, run.session)
    at = run.now()
    note = run.begin_step(spec, at, reason)
    code = run.code_of(spec) if spec.key is not None else None
    # Before the call: it may change its arguments, and their outline is to show what it was given.
    parts = None if spec.parts is None else spec.parts.to_data()
    with Course(run, _tracking(run, spec)) as course:
        begun = None if spec.parts is None or spec.parts.is_isolated else begin_traces()
        started = time.perf_counter()
        try:
            mark_there = partial(_mark_of, run, spec, code, parts, course.tracker) if spec.lazy else None
            called = as_called(spec, run.cache, mark_there)
            answer = yield from attempted(run, called)
            run_s = int((time.perf_counter() - started) * _PARTS_OF_S + 0.5) / _PARTS_OF_S  # `round` takes half a us
            result, there = arrived(run, spec, answer)
            course.end()
        except Leave:
            # A step inside this one failed, and the run ends with that; this one has no result of its own, also where
            # a bare `except` made it go on to one.
            if run.failure is not None:
                run.end_step(note, spec, run.failure, time.perf_counter() - started)
            raise
        finally:
            names_set = [] if begun is None or spec.reread is None else environment_set(begun)
            traces = None if begun is None else end_traces(begun)
    origin = mark_of(result)
    if origin is not None and origin.duration_s is not None and spec.retry is None:
        run_s = origin.duration_s  # without its wait for a worker
    storing = time.perf_counter()
    wanted = _is_wanted(spec, result, run_s)
    made = spec.made() if wanted and spec.made is not None and result.ok else None
    mark = _mark_of(
        run, spec, code, parts, course.tracker, at, run_s, "returned" if origin is None else origin.origin, traces, made
    )
    result = with_mark(result, mark)
    run.end_step(note, spec, result, run_s)
    stored, error = False, None
    if spec.key is not None:
        stored, error = yield from _store(run, spec, result, there=there, lock=lock, wanted=wanted, names_set=names_set)
        if isinstance(result, Err) and not stored:
            note_failure(run, spec, result)
        if spec.lazy and isinstance(result, Ok):
            result = handle_of(run.cache, spec.key, result, in_cache=stored)
            if run.remember:
                run.results[spec.key] = result
        if run.session is not None:
            yield from _checkpoint(run, spec, result)
    size_of = getattr(run.cache, "size_of", None) if stored else None
    size_bytes = None if size_of is None else size_of(spec.key)
    run.complete_step(note, spec, result, stored=stored, size_bytes=size_bytes)
    return outcome_of(
        (
            result,
            False,
            reason or "",
            spec.key,
            spec.parts,
            None,
            stored,
            error,
            size_bytes,
            spec.key_s,
            lookup_s,
            run_s,
            time.perf_counter() - storing,
        )
    )


def _mark_of(  # noqa: PLR0917 - every miss makes one
    run: Run,
    spec: StepSpec,
    code: str | None,
    parts: Mapping[str, Any] | None,
    tracker: FileTracker | None,
    at: datetime | None = None,
    duration_s: float | None = None,
    origin: Literal["returned", "throw"] = "returned",
    traces: Mapping[str, Any] | None = None,
    made: Mapping[str, Any] | None = None,
) -> Mark:
    call = None
    if spec.parts is not None:
        from awaitly_nb.keys import call_text  # by way of all that has an outline, which no hit needs

        call = call_text(spec.parts)
    return Mark(
        step_id=spec.step_id,
        workflow=run.workflow,
        at=at,
        duration_s=duration_s,
        ttl_s=spec.ttl_s,
        code=code,
        origin=origin,
        parts=parts,
        files=() if tracker is None else tracker.stamps(),
        traces=traces,
        made=made,
        call=call,
    )


def _tracking(run: Run, spec: StepSpec) -> AbstractContextManager[FileTracker] | None:
    """Return what takes notice of the files a step reads, where its key is made of what it depends on."""
    if spec.parts is None or not run.track_files:
        return None
    named = literal_files(getattr(spec.fn, "__wrapped__", spec.fn), (spec.args, dict(spec.kwargs)))
    return track_files((*spec.known_files, *named))


def _store(
    run: Run, spec: StepSpec, result: Result[Any, Any], *, there: bool, lock: Any, wanted: bool, names_set: list[str]
) -> Generator[Effect, Any, tuple[bool, Exception | None]]:
    """Store a finished result in the run and in the cache, where a worker may have; tell whether the cache has it.

    What cannot be stored stops nobody: the second half of the answer is the error that prevented it.
    """
    key, cache = spec.key, run.cache
    assert key is not None
    run.last_step_key = key
    if run.remember:
        run.results[key] = result
    try:
        if cache is None:
            if run.remember:
                _remember(run, key, result)
            return False, None
        if not wanted:
            return False, None
        _check_input(spec, names_set)
        if not there:
            # A cache with leases is on a server, and sees for itself that the lease still holds.
            yield Save(
                lambda: cache.set(key, result, ttl=spec.ttl_s), lambda: hasattr(lock, "check_lease") or is_heavy(result)
            )
    except Exception as exc:  # noqa: BLE001 - any adapter's disk, and any value's pickling, may raise anything
        run.emit(PersistFailed, step_id=spec.step_id, step_key=key, error=exc)
        if not spec.quiet:
            _warn_of_storing(run, spec, result, exc)
        if is_used_up(result):
            run.results.pop(key, None)
        return False, exc
    if run.remember:
        run.stored.add(key)
    return True, None


def _is_wanted(spec: StepSpec, result: Result[Any, Any], run_s: float) -> bool:
    """Tell whether a result is to be stored at all."""
    return (spec.worth is None or spec.worth(run_s)) and may_store(result, policy=spec.cache_errors)


def _warn_of_storing(run: Run, spec: StepSpec, result: Result[Any, Any], exc: Exception) -> None:
    if isinstance(exc, ChangedInputError):
        run.warn_once(str(exc), UncachedWarning)
        return
    what = f"a {type(result.value).__name__}" if isinstance(result, Ok) else "a failure"
    warn(
        f"step {spec.step_id!r} is done, but its result under {spec.key!r} ({what}) was not stored "
        f"and will be recomputed: {type(exc).__name__}: {exc}",
        UncachedWarning,
    )


def _check_input(spec: StepSpec, names_set: list[str]) -> None:
    """Raise ChangedInputError if the step changed an argument, a global of its key, or the environment."""
    if names_set:
        raise ChangedInputError(
            f"step {spec.step_id!r} set {', '.join(names_set)} in the environment, so its result is not stored: a hit "
            "would not set it. Set it before the step is called, or restore it in the step",
            names=tuple(f"environment {name}" for name in names_set),
        )
    if spec.reread is None or spec.parts is None or spec.parts.is_isolated:
        return
    try:
        after = spec.reread()
    except UnkeyableError as exc:
        names = [exc.path or "an argument"]
    else:
        if after.key == spec.key:
            return
        before = {(part.kind, part.name): part.digest for part in spec.parts.parts}
        names = [f"{p.kind} {p.name}" for p in after.parts if before.get((p.kind, p.name)) != p.digest]
    named = ", ".join(names) or "what it reads"
    raise ChangedInputError(
        f"step {spec.step_id!r} changed {named}, so its result is not stored: a hit would not change it. "
        "Return the changed value from the step, or change a copy of it in the step",
        names=tuple(names),
    )


def _remember(run: Run, key: str, result: Result[Any, Any]) -> None:
    """Store a result for the run alone, as a cache would: what the body does to its value shows nowhere else."""
    own = copied_if_light(result)
    if own is result:
        refuse_used_up(result)
    run.results[key] = own


def _checkpoint(run: Run, spec: StepSpec, result: Result[Any, Any]) -> Generator[Effect, Any, None]:
    """Save one finished step in the run's store, before the next one begins."""
    assert run.session is not None
    assert spec.key is not None
    from awaitly_nb.states import StepEntry

    key, session, mark = spec.key, run.session, mark_of(result)
    entry = StepEntry(
        result=result,
        step_id=spec.step_id,
        at=mark.at if mark and mark.at else run.now(),
        duration_s=mark.duration_s if mark and mark.duration_s is not None else 0.0,
    )
    try:
        yield Save(lambda: session.record(key, entry), _ALWAYS)  # a server may take its time
    except LeaseHeldError as exc:  # another run does the same steps: this one must not go on
        raise run.fail(Err(exc, exc)) from None
    except Exception as exc:
        # The store's server may raise anything. The session has what was not saved, and saves it with the next step.
        run.emit(PersistFailed, step_id=spec.step_id, step_key=key, error=exc)
        if run.raise_persist_errors:
            raise
        warn(f"the checkpoint after step {spec.step_id!r} was not saved, and is tried again: {exc}", PersistWarning)


def _check_lease(run: Run, session: Session) -> Generator[Effect, Any, None]:
    """Renew the lease of the run's id, before a step starts; without it the run ends here."""
    try:
        yield Save(session.check_lease, _ALWAYS)
    except LeaseHeldError as exc:
        raise run.fail(Err(exc, exc)) from None


def _carry_out(effect: Effect) -> Any:  # Any: each effect has its own answer
    kind = type(effect)  # a `match` takes each apart first
    if kind is Invoke:
        return _invoke(effect)  # type: ignore[arg-type]
    if kind is Save:
        return uninterrupted(effect.fn)  # type: ignore[union-attr]
    if kind is Pause:
        return time.sleep(effect.seconds)  # type: ignore[union-attr]
    from concurrent.futures import wait

    wait([effect.future])  # type: ignore[union-attr]
    return None


def _invoke(call: Invoke) -> Any:  # Any: the user's value
    spec = call.spec
    executor = resolve(spec.executor)
    if executor is None and spec.timeout_s is None:
        value = spec.fn(*spec.args, **spec.kwargs)
        return _in_private_loop(value, None)[0] if is_awaitable(value) else value
    from concurrent.futures import wait

    from awaitly_nb.executors import THREAD

    check_may_block(executor)
    started = time.monotonic()
    future = (executor or THREAD).submit(spec.fn, *spec.args, **spec.kwargs)
    try:
        wait([future], timeout=spec.timeout_s)
        if not future.done():
            return TIMED_OUT
        value = future.result()
    finally:
        future.cancel()
        call.took_s = getattr(future, "took_s", None)
    if not is_awaitable(value):
        return value
    left = None if spec.timeout_s is None else max(0.0, spec.timeout_s - (time.monotonic() - started))
    value, timed_out = _in_private_loop(value, left)
    return TIMED_OUT if timed_out else value


def _in_private_loop(value: Any, timeout_s: float | None) -> tuple[Any, bool]:  # Any: the user's awaitable and value
    from awaitly_nb.executors import in_private_loop

    return in_private_loop(value, timeout_s)
