"""A step's function, called as often as its retry allows; whatever it does becomes a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awaitly_nb.engine.effects import TIMED_OUT, Invoke, Pause
from awaitly_nb.engine.elsewhere import Read
from awaitly_nb.engine.options import attempts
from awaitly_nb.engine.tracebacks import without_machinery
from awaitly_nb.errors import StepTimeoutError, UnexpectedError
from awaitly_nb.events import StepRetriesExhausted, StepRetry
from awaitly_nb.keys import note_files
from awaitly_nb.result import Err, Mark, Ok, with_mark

if TYPE_CHECKING:
    from awaitly_nb.engine.effects import Steps
    from awaitly_nb.engine.options import StepSpec
    from awaitly_nb.engine.run import Run
    from awaitly_nb.result import Result

__all__ = ["attempted", "unexpected"]


def attempted(run: Run, spec: StepSpec) -> Steps:
    """Call the function until it succeeds or its retry is used up."""
    if spec.retry is None or spec.retry.attempts == 1:
        return (yield from _attempt(spec))
    where = {"step_id": spec.step_id, "step_key": spec.key}

    def on_retry(attempt: int, delay_s: float, last: Result[Any, Any]) -> None:
        run.emit(
            StepRetry, attempt=attempt, delay_s=delay_s, error=last.error if isinstance(last, Err) else None, **where
        )

    schedule = attempts(spec.retry, on_retry=on_retry)
    answer: Result[Any, Any] | None = None
    made = 0
    while True:
        try:
            delay_s = schedule.send(answer)
        except StopIteration as stop:
            final: Result[Any, Any] = stop.value
            break
        if delay_s is None:
            made += 1
            answer = yield from _attempt(spec)
        else:
            yield Pause(delay_s)
            answer = None
    if isinstance(final, Err) and made == spec.retry.attempts:
        run.emit(StepRetriesExhausted, attempts=made, error=final.error, **where)
    return final


def _attempt(spec: StepSpec) -> Steps:
    """Call the function once; whatever it does becomes a result."""
    call = Invoke(spec)
    try:
        value = yield call
    except Exception as exc:  # noqa: BLE001 - the stranger is the user's step
        if spec.error is not None:
            return Err(spec.error, without_machinery(exc), _mark=_returned(call))
        return with_mark(unexpected(exc, step_id=spec.step_id, step_key=spec.key), _thrown(call))
    if value is TIMED_OUT:
        assert spec.timeout_s is not None
        return Err(
            StepTimeoutError(step_id=spec.step_id, step_key=spec.key, seconds=spec.timeout_s), _mark=_thrown(call)
        )
    if isinstance(value, Read):
        note_files(value.files, elsewhere=True)
        value = value.value
    if isinstance(value, Err):
        # A nested workflow that crashed hands its crash on as a value; it is still a crash.
        crashed = isinstance(value.error, UnexpectedError | StepTimeoutError)
        return with_mark(value, _thrown(call) if crashed else _returned(call))
    return with_mark(value, _returned(call)) if isinstance(value, Ok) else Ok(value, _mark=_returned(call))


def _returned(call: Invoke) -> Mark | None:
    return None if call.took_s is None else Mark(duration_s=call.took_s)


def _thrown(call: Invoke) -> Mark:
    return Mark(origin="throw", duration_s=call.took_s)


def unexpected(
    exc: Exception, *, step_id: str | None = None, step_key: str | None = None, who: str = ""
) -> Err[UnexpectedError]:
    """Return the failure that an undeclared exception becomes; `who` raised it where it was no step and no body."""
    cause_type, cause_message = type(exc).__name__, _message(exc)
    error = UnexpectedError(
        f"{who} raised {cause_type}: {cause_message}" if who else "",
        cause_type=cause_type,
        cause_message=cause_message,
        step_id=step_id,
        step_key=step_key,
    )
    return Err(error, without_machinery(exc), _mark=Mark(origin="throw"))


def _message(exc: Exception) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - the stranger is the exception's own __str__
        return "<its str raised>"
