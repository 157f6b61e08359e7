"""A finished result on its way to the cache, and into the run's resume state; what cannot be kept stops nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awaitly_nb.codec import copied_if_light, is_heavy, is_used_up, refuse_used_up
from awaitly_nb.engine.decide import may_keep
from awaitly_nb.engine.effects import Effect, Save
from awaitly_nb.errors import LeaseHeldError, PersistWarning, UncachedWarning, warn
from awaitly_nb.events import PersistFailed
from awaitly_nb.result import Err, Ok, mark_of
from awaitly_nb.states import StepEntry

if TYPE_CHECKING:
    from collections.abc import Generator

    from awaitly_nb.engine.options import StepSpec
    from awaitly_nb.engine.run import Run
    from awaitly_nb.result import Result

__all__ = ["checkpoint", "hold_lease", "keep"]


def keep(run: Run, spec: StepSpec, result: Result[Any, Any], *, there: bool) -> Generator[Effect, Any, bool]:
    """Keep a finished result, in the run and in the cache, where a worker may have; tell whether the cache has it."""
    key, cache = spec.key, run.cache
    assert key is not None
    run.last_step_key = key
    if run.remember:
        run.results[key] = result
    try:
        if cache is None:
            if run.remember:
                _remember(run, key, result)
            return False
        if not may_keep(result, policy=spec.cache_errors):
            return False
        if not there:
            yield Save(lambda: cache.set(key, result, ttl=spec.ttl_s), heavy=is_heavy(result))
    except Exception as exc:  # noqa: BLE001 - the stranger is any adapter's disk, and any value's pickling
        run.emit(PersistFailed, step_id=spec.step_id, step_key=key, error=exc)
        what = f"a {type(result.value).__name__}" if isinstance(result, Ok) else "a failure"
        warn(
            f"step {spec.step_id!r} is done, but its result under {key!r} ({what}) was not kept "
            f"and will be computed again: {type(exc).__name__}: {exc}",
            UncachedWarning,
        )
        if is_used_up(result):
            run.results.pop(key, None)
        return False
    if run.remember:
        run.stored.add(key)
    return True


def _remember(run: Run, key: str, result: Result[Any, Any]) -> None:
    """Keep a result for the run alone, as a cache would: what the body does to its value shows nowhere else."""
    own = copied_if_light(result)
    if own is result:
        refuse_used_up(result)
    run.results[key] = own


def checkpoint(run: Run, spec: StepSpec, result: Result[Any, Any]) -> Generator[Effect, Any, None]:
    """Save one finished step in the run's store, before the next one begins."""
    assert run.session is not None
    assert spec.key is not None
    key, session, mark = spec.key, run.session, mark_of(result)
    entry = StepEntry(
        result=result,
        step_id=spec.step_id,
        at=mark.at if mark and mark.at else run.now(),
        duration_s=mark.duration_s if mark and mark.duration_s is not None else 0.0,
    )
    try:
        yield Save(lambda: session.record(key, entry), heavy=True)  # a server may take its time
    except LeaseHeldError as exc:  # another run does the same steps: this one must not go on
        raise run.fail(Err(exc, exc)) from None
    except Exception as exc:
        # The stranger is the store's server. The session keeps what was not saved, and saves it with the next step.
        run.emit(PersistFailed, step_id=spec.step_id, step_key=key, error=exc)
        if run.raise_persist_errors:
            raise
        warn(f"the checkpoint after step {spec.step_id!r} was not saved, and is tried again: {exc}", PersistWarning)


def hold_lease(run: Run) -> Generator[Effect, Any, None]:
    """Renew the lease of the run's id where it is due, before a step starts; without it the run ends here."""
    if run.session is None or not run.session.is_due:
        return
    try:
        yield Save(run.session.check_lease, heavy=True)
    except LeaseHeldError as exc:
        raise run.fail(Err(exc, exc)) from None
