"""What a step was asked to do, checked once at the call; and retry schedules, which are tenacity's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from awaitly_nb.errors import InvalidOptionError, MisuseError
from awaitly_nb.executors import resolve
from awaitly_nb.frozen import Frozen
from awaitly_nb.result import Err
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from datetime import timedelta

    from awaitly_nb.keys import Parts
    from awaitly_nb.result import Result

__all__ = ["CacheErrors", "Retry", "StepSpec", "attempts", "check_step", "parse_cache_errors"]

CacheErrors: TypeAlias = Literal["returned", "all", "none"]


class Retry(Frozen):
    """How often to try a step, and how long to wait between.

    The waits grow from `delay_s` by `factor` up to `max_delay_s`, each with up to `jitter_s` added at random.

    Parameters
    ----------
    attempts
        How often at the most, the first try included.
    delay_s, factor, max_delay_s, jitter_s
        The waits, in seconds.
    on
        Which exceptions are tried again; a returned `Err` always is.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.Retry(3, delay_s=0.5, on=(ConnectionError,)).attempts
    3
    """

    attempts: int
    delay_s: float = 0.1
    factor: float = 2.0
    max_delay_s: float = 30.0
    jitter_s: float = 0.0
    on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise InvalidOptionError(f"retry: attempts={self.attempts!r} is no whole number of 1 or more")
        for name in ("delay_s", "factor", "max_delay_s", "jitter_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:  # refuses NaN too
                raise InvalidOptionError(f"retry: {name}={value!r} is no number of zero or more; waits are in seconds")
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise InvalidOptionError(
                f"retry: on={self.on!r} is no exception type, and no tuple of them: write on=(ConnectionError,)"
            )


# Written out, because every hit makes one: a frozen record would take five times as long to make.
class StepSpec:
    """One call of a step, checked; nobody changes it.

    Attributes
    ----------
    step_id, fn, args, kwargs
        What to call.
    key
        Under which key; None runs every time and stores nothing.
    parts
        The named parts when the key is automatic, else None.
    ttl_s, timeout_s
        Seconds; None means for ever.
    retry
        None means one attempt.
    error
        What a raised exception becomes; None means `UnexpectedError`.
    cache_errors
        The policy for this step.
    executor
        Where the function runs.
    force
        Compute even if a result is cached, and replace it.
    read_only
        Never compute.
    known_files
        Stamps of files the key already names (see `keys.files`).
    lazy
        Return a handle (`Stored`) in place of the value.
    call
        What to call in another process in place of `fn`, where that is prepared for many steps at once.
    quiet
        Do not warn where the result cannot be stored: who made the step tells of it, from the `Outcome`.
    reread
        Makes the parts of the key once more, from what the arguments and globals are after the step.
    key_s
        Seconds that making the key took, for the `Outcome`.
    made
        Tells what the step left, as plain data, once it has run (see `Mark.made`).
    worth
        Tells, from the seconds that running took, whether the result is to be stored; None stores it.
    accept
        Is given a cached value before it is served, and says why that cannot be; None where it can.
    """

    __slots__ = (
        "accept",
        "args",
        "cache_errors",
        "call",
        "error",
        "executor",
        "fn",
        "force",
        "key",
        "key_s",
        "known_files",
        "kwargs",
        "lazy",
        "made",
        "parts",
        "quiet",
        "read_only",
        "reread",
        "retry",
        "step_id",
        "timeout_s",
        "ttl_s",
        "worth",
    )

    def __init__(
        self,
        *,
        step_id: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any],
        key: str | None = None,
        parts: Parts | None = None,
        ttl_s: float | None = None,
        timeout_s: float | None = None,
        retry: Retry | None = None,
        error: object = None,
        cache_errors: CacheErrors = "returned",
        executor: object = "inline",
        force: bool = False,
        read_only: bool = False,
        known_files: tuple[Any, ...] = (),
        lazy: bool = False,
        call: Callable[..., Any] | None = None,
        quiet: bool = False,
        reread: Callable[[], Parts] | None = None,
        key_s: float = 0.0,
        made: Callable[[], Mapping[str, Any] | None] | None = None,
        worth: Callable[[float], bool] | None = None,
        accept: Callable[[Any], str | None] | None = None,
    ) -> None:
        self.step_id = step_id
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.key = key
        self.parts = parts
        self.ttl_s = ttl_s
        self.timeout_s = timeout_s
        self.retry = retry
        self.error = error
        self.cache_errors = cache_errors
        self.executor = executor
        self.force = force
        self.read_only = read_only
        self.known_files = known_files
        self.lazy = lazy
        self.call = call
        self.quiet = quiet
        self.reread = reread
        self.key_s = key_s
        self.made = made
        self.worth = worth
        self.accept = accept

    def but(self, **changes: Any) -> StepSpec:  # Any: each field has its own type
        """Return a spec like this one with some fields changed."""
        for name in self.__slots__:
            changes.setdefault(name, getattr(self, name))
        return StepSpec(**changes)


def check_step(
    step_id: object,
    fn: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    key: object,
    ttl: float | timedelta | str | None,
    retry: int | Retry | None,
    timeout: float | timedelta | str | None,
    error: object,
    cache_errors: object,
    executor: object,
    lazy: bool = False,
) -> StepSpec:
    """Return the call as a `StepSpec`.

    Raises
    ------
    MisuseError
        The id, the key or the callable cannot be what was meant; a coroutine given by mistake is closed.
    InvalidOptionError
        A TTL, time-out or retry out of range, or an executor that is none.
    """
    if not isinstance(step_id, str) or not step_id:
        _close(fn)
        raise MisuseError(
            f"the step id is {_shown(step_id)}, not a non-empty string: "
            'write ctx.step("fetch_user", fetch_user, "1", key="user:1")'
        )
    if not callable(fn):
        raise MisuseError(_not_callable(step_id, fn))
    if key is not None and (not isinstance(key, str) or not key):
        raise MisuseError(
            f"step {step_id!r}: the key is {_shown(key)}, not a non-empty string: "
            'write key=f"user:{user_id}", or leave key out to run every time'
        )
    if executor != "inline":
        resolve(executor)
    return StepSpec(
        step_id=step_id,
        fn=fn,
        args=args,
        kwargs=kwargs,
        key=key,
        ttl_s=None if ttl is None else parse_duration(ttl, name="ttl"),
        timeout_s=None if timeout is None else parse_duration(timeout, name="timeout"),
        retry=retry if retry is None or isinstance(retry, Retry) else Retry(retry),
        error=error,
        cache_errors=parse_cache_errors(cache_errors),
        executor=executor,
        lazy=lazy,
    )


def parse_cache_errors(value: object) -> CacheErrors:
    """Return `value` as a policy for failures.

    Raises
    ------
    InvalidOptionError
        It is none of "returned", "all", "none".
    """
    match value:
        case "returned" | "all" | "none":
            return value
    raise InvalidOptionError(f'cache_errors={value!r} is unknown; use "returned", "all" or "none"')


def _not_callable(step_id: str, fn: object) -> str:
    fix = f'pass the function itself: ctx.step("{step_id}", fetch, arg), or ctx.step("{step_id}", lambda: fetch(arg))'
    if _close(fn):
        return f"step {step_id!r} was given a coroutine, which is a call already made; {fix}"
    return f"step {step_id!r} was given {_shown(fn)}, a value already computed; {fix}"


def _close(value: object) -> bool:
    """Close `value` if it is a coroutine, so that Python does not warn that it was never awaited."""
    close = getattr(value, "close", None)
    if hasattr(value, "cr_frame") and callable(close):
        close()
        return True
    return False


def _shown(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    return f"a {kind}"


def attempts(
    retry: Retry, *, on_retry: Callable[[int, float, Result[Any, Any]], None]
) -> Generator[float | None, Result[Any, Any] | None, Result[Any, Any]]:
    """Run a retry schedule: yields None to ask for the next result, or seconds to wait; returns the last result.

    tenacity decides; this only lets the caller do the calling and the waiting, so that both drivers share the schedule.
    """
    import tenacity

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(retry.attempts),
        wait=tenacity.wait_exponential(multiplier=retry.delay_s, max=retry.max_delay_s, exp_base=retry.factor)
        + tenacity.wait_random(0, retry.jitter_s),
        retry=tenacity.retry_if_result(lambda result: _again(result, retry)),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    retrying.begin()
    state = tenacity.RetryCallState(retry_object=retrying, fn=None, args=(), kwargs={})
    last: Any = None  # Any: narrowed by tenacity to what was set
    while True:
        do = retrying.iter(retry_state=state)
        if isinstance(do, tenacity.DoAttempt):
            try:
                last = yield None
            except BaseException:  # told to tenacity, and raised again
                state.set_exception(sys.exc_info())  # type: ignore[arg-type]
                raise
            state.set_result(last)
        elif isinstance(do, tenacity.DoSleep):
            on_retry(state.attempt_number + 1, float(do), last)
            state.prepare_for_next_attempt()
            yield float(do)
        else:
            return do  # type: ignore[no-any-return]


def _again(result: object, retry: Retry) -> bool:
    if not isinstance(result, Err):
        return False
    return not isinstance(result.cause, BaseException) or isinstance(result.cause, retry.on)
