"""Whether a cached result may be served: the rules, the look-up that applies them, and the `Outcome` of a step.

The rules (`decide`, `may_store`) are pure functions: no effects, no clock. A hit ends here, in `serve`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from awaitly_nb.cache import Missed, Stored, glance, handle_of
from awaitly_nb.codec import copied, copied_if_light
from awaitly_nb.engine.listeners import SOURCES, error_line
from awaitly_nb.errors import (
    CodeChangedWarning,
    InvalidOptionError,
    MisuseError,
    NotCachedError,
    StepTimeoutError,
    UnexpectedError,
    UnverifiedEntryError,
    logger,
    warn,
)
from awaitly_nb.events import StepCacheHit
from awaitly_nb.keys import apply_traces, changed_files, changed_traces, note_files
from awaitly_nb.result import Err, Mark, Ok, mark_of
from awaitly_nb.units import show_age

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awaitly_nb.engine.run import CacheErrors, Run, StepSpec
    from awaitly_nb.keys import Parts
    from awaitly_nb.result import Result

__all__ = [
    "FIRST_RUN",
    "Compute",
    "Outcome",
    "Serve",
    "Source",
    "as_wanted",
    "decide",
    "look_up",
    "look_up_to_serve",
    "may_store",
    "outcome_of",
    "serve",
]

Source: TypeAlias = Literal["run", "resumed", "cache"]


# A tuple because each hit makes one, and a frozen dataclass takes five times as long to make.
class Outcome(NamedTuple):
    """What one step did: all that its caller, its badge and its events tell of it.

    Attributes
    ----------
    result
        Its result; `mark_of(result)` tells when it was computed and how long that took.
    hit
        True when the function was not called.
    told
        Why it was computed, or where the hit came from: a text, or what gives it when `reason` is asked for.
    key
        Its key; None where it has none.
    parts
        The parts of an automatic key.
    source
        Where a hit was found.
    stored
        True when the cache has the result now.
    error
        The error that prevented a result from being stored.
    size_bytes
        Size of the stored value, where known.
    key_s, lookup_s, run_s, store_s
        Seconds for making the key, for finding and loading the result, for the call, and for storing.
    """

    result: Result[Any, Any]  # Any: the user's value and error
    hit: bool
    told: object
    key: str | None
    parts: Parts | None = None
    source: Source | None = None
    stored: bool = False
    error: Exception | None = None
    size_bytes: int | None = None
    key_s: float = 0.0
    lookup_s: float = 0.0
    run_s: float = 0.0
    store_s: float = 0.0

    @property
    def reason(self) -> str:
        """Why it was computed, or where the hit came from; in one line."""
        return str(self.told)


outcome_of: Callable[[tuple[Any, ...]], Outcome] = partial(tuple.__new__, Outcome)
"""Makes one of all its fields, in order. A call of the class takes three times as long, and each hit makes one."""


class Serve(NamedTuple):
    """Serve the cached result. `stale_code`: the step's code has changed since it was computed."""

    result: Result[Any, Any]
    source: Source
    stale_code: bool = False


_serve_of: Callable[[tuple[Any, ...]], Serve] = partial(tuple.__new__, Serve)


class Compute(NamedTuple):
    """Compute the step; `reason` says why, in one line. `moment`: when the cache was asked, for `unwritten_since`."""

    reason: str
    moment: object = None


# These tell of the moment (a full disk, a missing package, a slow network), or of how the step was called, and not of
# the step's inputs.
_OF_THE_MOMENT = (OSError, ImportError, MemoryError, MisuseError, InvalidOptionError)


def decide(
    found: Result[Any, Any] | Missed,
    *,
    source: Source,
    policy: CacheErrors,
    code: str | None,
    automatic: bool,
    changed: Sequence[str] = (),
) -> Serve | Compute:
    """Decide whether what was found may be served.

    Parameters
    ----------
    found
        What the look-up found.
    source
        Where it was found. Within one run a key is computed at most once, whatever its result.
    policy
        Which failures may be replayed.
    code
        The code mark of the step's function now; None where there is none to compare.
    automatic
        True when the key was made from code and arguments, so that what the step used beside them (files, environment)
        must be unchanged too.
    changed
        One line for each of those things that changed since.
    """
    if isinstance(found, Missed):
        return Compute(found.detail or _MISSED[found.reason], found.moment)
    if source == "run":
        return Serve(found, source)
    mark = mark_of(found)
    stale_code = code is not None and mark is not None and mark.code is not None and mark.code != code
    if isinstance(found, Err):
        if not may_store(found, policy=policy):
            return Compute("was a failure that is not replayed")
        if stale_code:
            return Compute("was a failure and the code changed")
    if automatic and changed:
        return Compute("; ".join(changed))
    return _serve_of((found, source, stale_code and not automatic))


FIRST_RUN = "first run"
"""Why a key that was never stored is computed."""

_MISSED = {
    "absent": FIRST_RUN,
    "expired": "expired",
    "damaged": "the cached entry is damaged",
    "unverified": "the cached entry could not be verified",
    "undecodable": "the cached entry could not be decoded",
    "unusable": "the cache could not be used",
}


def may_store(result: Result[Any, Any], *, policy: CacheErrors) -> bool:
    """Tell whether `result` may be stored and served: every success, and the failures that `policy` allows."""
    if isinstance(result, Ok):
        return True
    if policy == "none" or isinstance(result.error, StepTimeoutError):
        return False
    mark = mark_of(result)
    thrown = (mark is not None and mark.origin == "throw") or isinstance(result.error, UnexpectedError)
    if not thrown:
        return True
    if policy != "all" or isinstance(result.cause, _OF_THE_MOMENT):
        return False
    return result.cause is None or isinstance(result.cause, Exception)


_NO_MARK = Mark()


def look_up(run: Run, spec: StepSpec) -> Serve | Compute:
    """Look for a result: in this run, in its resume state, in the cache; and decide whether it may be served."""
    key, policy, automatic = spec.key, spec.cache_errors, spec.parts is not None
    assert key is not None
    known = run.results.get(key) if run.remember else None
    if known is not None or key in run.stored:
        # A fresh copy where there is one, so that what the body did to the first one does not show.
        found: Result[Any, Any] | Missed = _find(run, spec) if key in run.stored else Missed()
        if known is not None and isinstance(found, Missed):
            found = known
            if key not in run.stored and not (isinstance(known, Ok) and type(known.value) is Stored):
                found = copied_if_light(known) if run.cache is None else copied(known)
        return decide(as_wanted(run, spec, found), source="run", policy=policy, code=None, automatic=automatic)
    if run.resumed is not None and (resumed := run.resumed.steps.get(key)) is not None:
        code = run.code_of(spec)
        found = _in_time(run, spec, as_wanted(run, spec, resumed.result))
        changed = _changed(run, found) if automatic else ()
        decision = decide(found, source="resumed", policy=policy, code=code, automatic=automatic, changed=changed)
        if isinstance(decision, Serve):
            return decision
    if run.cache is None:
        return Compute("no cache")
    found = _find(run, spec)
    if spec.ttl_s is not None:
        found = _in_time(run, spec, found)
    changed, code = (), None
    if type(found) is not Missed:
        changed, code = (_changed(run, found), None) if automatic else ((), run.code_of(spec))
    return decide(found, source="cache", policy=policy, code=code, automatic=automatic, changed=changed)


def _in_time(run: Run, spec: StepSpec, found: Result[Any, Any] | Missed) -> Result[Any, Any] | Missed:
    """Return a result unless it is older than the step lets it become, whatever TTL it was stored with."""
    if spec.ttl_s is None or isinstance(found, Missed):
        return found
    mark = mark_of(found) or _NO_MARK
    if mark.at is None:
        return found
    now, ended_at = run.now(), mark.at + timedelta(seconds=mark.duration_s or 0.0)
    late_s = (now - ended_at).total_seconds() - spec.ttl_s
    if late_s <= 0:
        return found
    return Missed("expired", f"expired {show_age(now - timedelta(seconds=late_s), now)}", mark)


def _changed(run: Run, found: Result[Any, Any] | Missed) -> Sequence[str]:
    """Return one line for each thing beside its key that the result was made of and that changed since."""
    mark = None if isinstance(found, Missed) else mark_of(found)
    if mark is None:
        return ()
    changed = changed_files(mark.files) if mark.files and run.track_files else ()
    if not changed and mark.traces and (reason := changed_traces(mark.traces)) is not None:
        return (reason,)
    return changed


def look_up_to_serve(run: Run, spec: StepSpec) -> Serve | Compute:
    """Do as `look_up`, and leave the process as the step would have left it where its result is to be served."""
    decision = look_up(run, spec)
    if type(decision) is not Serve:
        return decision
    if spec.accept is not None and isinstance(decision.result, Ok):
        why = spec.accept(decision.result.value)
        if why is not None:
            return Compute(why)
    if spec.parts is None or decision.source == "run":
        return decision
    mark = mark_of(decision.result)
    if mark is not None and mark.traces:
        try:
            apply_traces(mark.traces)
        except Exception as exc:  # noqa: BLE001 - a registered tracer may raise anything; then the step runs
            return Compute(f"what it did to the process cannot be repeated ({type(exc).__name__}: {exc})")
    return decision


def as_wanted(run: Run, spec: StepSpec, known: Result[Any, Any] | Missed) -> Result[Any, Any] | Missed:
    """Return a result of this run, or of a resume state, as the step wants it: with its value, or with a handle."""
    assert spec.key is not None
    if not isinstance(known, Ok) or (type(known.value) is not Stored and not spec.lazy):
        return known
    handle = handle_of(run.cache, spec.key, known, in_cache=type(known.value) is Stored or spec.key in run.stored)
    try:
        return handle if spec.lazy and handle.value.is_there() else Ok(handle.value.load(), _mark=mark_of(known))
    except NotCachedError as exc:
        return Missed("absent", str(exc))


def _find(run: Run, spec: StepSpec) -> Result[Any, Any] | Missed:
    """Ask any cache; one that fails is bypassed."""
    key, look_up = spec.key, run.look_up
    assert look_up is not None
    assert key is not None
    try:
        if spec.lazy:
            return _find_handle(run, key, look_up)
        return look_up(key)
    except (UnverifiedEntryError, MisuseError):
        raise  # verify="strict" asks for the one; the other is the caller's
    except Exception as exc:  # noqa: BLE001 - any adapter's disk or server may raise anything
        run.warn_unusable(exc)
        return Missed("unusable", f"the cache could not be read ({type(exc).__name__}: {exc})")


def _find_handle(run: Run, key: str, look_up: Callable[[str], Result[Any, Any] | Missed]) -> Result[Any, Any] | Missed:
    assert run.cache is not None
    if (seen := glance(run.cache, key)) is not None:
        return seen
    found = look_up(key)
    return handle_of(run.cache, key, found, in_cache=True) if isinstance(found, Ok) else found


def serve(run: Run, spec: StepSpec, decision: Serve, started: float) -> Outcome:
    """Return the outcome of a hit, and tell of it; `started` is when its look-up began."""
    key, (result, source, stale_code) = spec.key, decision
    assert key is not None
    mark = mark_of(result) or _NO_MARK
    if mark.files:
        note_files(mark.files)  # a step around this one depends on what the cached result was made of
    if source != "run" and run.remember:
        if source == "cache":
            run.stored.add(key)  # and no more: the values of ten thousand hits would stay until the run ends
        else:
            run.results[key] = result
            if not spec.lazy:
                result = copied(result)
        if run.watch is not None:
            run.watch.hit(spec.step_id)
    error_text = ""
    if isinstance(result, Ok):
        run.last_step_key = key
        if stale_code:
            made = f"by {mark.workflow}/{mark.step_id}" if mark.step_id else "earlier"
            when = f", {show_age(mark.at, run.now())}" if mark.at else ""
            warn(
                f"step {spec.step_id!r}: the code has changed since {key!r} was computed ({made}{when}); "
                "the cached value is served, because an explicit key is your word for what it is. "
                f"To recompute it: %awaitly rm {key}",
                CodeChangedWarning,
            )
    else:
        error_text = error_line(result.error)
        if source != "run":
            logger(__name__).warning(
                "step %r was not run: it failed %s with %r, which %s. To run it again: %%awaitly retry %s",
                spec.step_id,
                show_age(mark.at, run.now()) if mark.at else "earlier",
                result.error,
                "is in its resume state" if source == "resumed" else "is cached",
                key if spec.parts is None else key[:-20],  # enough of the digits for `retry`
            )
    lookup_s = time.perf_counter() - started
    at_s = run.clock()
    if run.log is not None:
        facts = (at_s, lookup_s, mark.duration_s, mark.size_bytes, source, stale_code, result.ok, error_text)
        run.log.hit(run.run_id, run.workflow, spec.step_id, key, facts)
    if run.listened:
        run.deliver(
            StepCacheHit,
            datetime.fromtimestamp(at_s, UTC),
            step_id=spec.step_id,
            step_key=key,
            result=result,
            source=source,
            computed_at=mark.at,
            computed_s=mark.duration_s,
            size_bytes=mark.size_bytes,
            stale_code=stale_code,
            duration_s=lookup_s,
        )
    return outcome_of(
        (
            result,
            True,
            SOURCES[source],
            key,
            spec.parts,
            source,
            source == "cache" or key in run.stored,
            None,
            mark.size_bytes,
            spec.key_s,
            lookup_s,
            0.0,
            0.0,
        )
    )
