"""What a step asks of its driver, and how its function is called: as often as its retry allows, here or on a worker.

Handles among the arguments become values where the function runs, and a lazy result may stay there: with a cluster and
a shared cache the worker stores it itself, signed with its own user's secret, and sends back where it lies. The secrets
stay where they are; the notebook tells the public names of those it trusts. Tracebacks are cut where an exception is
caught, so that they look as the user's code makes them, and a step that ends well pays nothing for it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from awaitly_nb.cache import Recipe, Stored, holds_handles, loaded, recipe_of
from awaitly_nb.codec import default_keyring
from awaitly_nb.errors import (
    AwaitlyError,
    CacheUnusableWarning,
    ForeignSecretWarning,
    InvalidOptionError,
    StepTimeoutError,
    UnexpectedError,
)
from awaitly_nb.events import StepRetriesExhausted, StepRetry
from awaitly_nb.executors import is_awaitable, resolve, tells_no_files
from awaitly_nb.frozen import Frozen, replace
from awaitly_nb.keys import joined, note_files, track_files, tracked_from
from awaitly_nb.result import Err, Mark, Ok, fresh_ok, mark_of, with_mark

if TYPE_CHECKING:
    from concurrent.futures import Future

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine.lookup import Outcome
    from awaitly_nb.engine.run import Run, StepSpec
    from awaitly_nb.keys import FileTracker
    from awaitly_nb.result import Result

__all__ = [
    "TIMED_OUT",
    "Effect",
    "Invoke",
    "Pause",
    "Results",
    "Retry",
    "Save",
    "Steps",
    "Wait",
    "arrived",
    "as_called",
    "attempted",
    "call_of",
    "unexpected",
    "without_machinery",
]


class _TimedOut:
    __slots__ = ()


TIMED_OUT = _TimedOut()
"""What a driver answers to `Invoke` when the step's time is up."""


class Invoke:
    """Call the step's function where its executor says, for at most its time-out; answer its value or `TIMED_OUT`.

    The driver notes in `took_s` how long the call itself took, where the executor knows better than a clock outside.
    """

    __slots__ = ("spec", "took_s")

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec
        self.took_s: float | None = None


class Pause(NamedTuple):
    """Wait some seconds."""

    seconds: float


class Wait(NamedTuple):
    """Wait until `future` is done."""

    future: Future[None]


class Save(NamedTuple):
    """Write something, and let no interrupt cut it short. `is_heavy` tells whether it would hold up an event loop."""

    fn: Callable[[], object]
    is_heavy: Callable[[], bool]


Effect: TypeAlias = "Invoke | Pause | Wait | Save"
Steps: TypeAlias = Generator[Effect, Any, "Outcome"]  # Any: each effect has its own answer
Results: TypeAlias = Generator[Effect, Any, "Result[Any, Any]"]  # Any: as above


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


def attempted(run: Run, spec: StepSpec) -> Results:
    """Call the function until it succeeds or its retry is used up."""
    if spec.retry is None or spec.retry.attempts == 1:
        return _attempt(spec)
    return _retried(run, spec, spec.retry)


def _retried(run: Run, spec: StepSpec, retry: Retry) -> Results:
    where = {"step_id": spec.step_id, "step_key": spec.key}

    def on_retry(attempt: int, delay_s: float, last: Result[Any, Any]) -> None:
        run.emit(
            StepRetry, attempt=attempt, delay_s=delay_s, error=last.error if isinstance(last, Err) else None, **where
        )

    schedule = _schedule(retry, on_retry=on_retry)
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
    if isinstance(final, Err) and made == retry.attempts:
        run.emit(StepRetriesExhausted, attempts=made, error=final.error, **where)
    return final


def _schedule(
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


def _attempt(spec: StepSpec) -> Results:
    """Call the function once; whatever it does becomes a result."""
    call = Invoke(spec)
    try:
        value = yield call
    except Exception as exc:  # noqa: BLE001 - the user's step may raise anything
        if spec.error is not None:
            return Err(spec.error, without_machinery(exc), _mark=_returned(call))
        return with_mark(unexpected(exc, step_id=spec.step_id, step_key=spec.key), _thrown(call))
    if value is TIMED_OUT:
        assert spec.timeout_s is not None
        return Err(
            StepTimeoutError(step_id=spec.step_id, step_key=spec.key, seconds=spec.timeout_s), _mark=_thrown(call)
        )
    if isinstance(value, WithFiles):
        note_files(value.files, elsewhere=True)
        value = value.value
    if isinstance(value, Err):
        # A nested workflow that crashed hands its crash on as a value; it is still a crash.
        crashed = isinstance(value.error, UnexpectedError | StepTimeoutError)
        return with_mark(value, _thrown(call) if crashed else _returned(call))
    return with_mark(value, _returned(call)) if isinstance(value, Ok) else fresh_ok(value, _returned(call))


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
    except Exception:  # noqa: BLE001 - the exception's own __str__ may raise anything
        return "<its str raised>"


class _Ticket(Frozen):
    """What a worker needs to store one result."""

    key: str
    ttl_s: float | None
    mark: Mark


class StoredThere(Frozen):
    """What a worker answers that has stored its result."""

    size_bytes: int | None
    digest: str
    mark: Mark


class SentBack(Frozen):
    """What a worker answers whose signature would not be trusted here, or that could not write."""

    value: Any  # Any: the user's value
    why: str
    foreign: bool = False


class Loading:
    """A step's function that loads the handles among its arguments."""

    def __init__(self, func: Callable[..., Any]) -> None:  # Any: the user's function
        self.func = func
        self.__name__ = getattr(func, "__name__", "step")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # Any: of the user's function
        """Call the function with values in place of handles."""
        return self.func(*map(loaded, args), **{name: loaded(value) for name, value in kwargs.items()})


class OnWorker(Loading):
    """The same, on a worker that stores the result itself."""

    def __init__(self, func: Callable[..., Any], recipe: Recipe) -> None:  # Any: the user's function
        super().__init__(func)
        self.recipe = recipe
        self.trusted = default_keyring().ids()

    def __call__(self, ticket: _Ticket, /, *args: Any, **kwargs: Any) -> Any:  # Any: of the user's function
        """Call the function, store what it returns, and return where it lies."""
        started = time.perf_counter()
        home = tracked_from()
        tracker = None if home is None else track_files(home=home)
        with tracker or nullcontext():
            value = super().__call__(*args, **kwargs)
        if is_awaitable(value):
            return self._awaited(ticket, value, started, tracker)
        return self._stored(ticket, value, time.perf_counter() - started, tracker)

    async def _awaited(
        self, ticket: _Ticket, value: Any, started: float, tracker: FileTracker | None
    ) -> Any:  # Any: of the user's function
        with tracker or nullcontext():
            value = await value
        return self._stored(ticket, value, time.perf_counter() - started, tracker)

    def _stored(
        self, ticket: _Ticket, value: Any, duration_s: float, tracker: FileTracker | None
    ) -> Any:  # Any: of the user's function
        if isinstance(value, Err):
            return value
        secret = default_keyring().own.id
        if secret not in self.trusted:
            return SentBack(
                value,
                f"a worker signs with a secret that is not trusted here ({secret}): set AWAITLY_NB_SECRET to the same "
                "text here and on the workers, or trust theirs with `awaitly-nb trust`",
                foreign=True,
            )
        files = ticket.mark.files if tracker is None else joined(ticket.mark.files, tracker.stamps())
        began_at = datetime.now(UTC) - timedelta(seconds=duration_s)
        mark = replace(ticket.mark, at=began_at, duration_s=duration_s, files=files)
        try:
            cache = self.recipe.cache()
            cache.set(ticket.key, Ok(value.value if isinstance(value, Ok) else value, _mark=mark), ttl=ticket.ttl_s)
            head = cache.head_of(ticket.key)
        except Exception as exc:  # noqa: BLE001 - any store's server may raise anything; the notebook tries, and tells
            head, why = None, f"{type(exc).__name__}: {exc}"
        else:
            why = "it is not there after the write"
        if head is None:
            return SentBack(value, f"a worker could not store a result in the shared cache ({why})")
        return StoredThere(head.get("size_bytes"), str(head.get("signature", "")), mark)


class WithFiles(Frozen):
    """What a call in another process answers: what it returned, and the files that it read."""

    value: Any  # Any: the user's value
    files: tuple[Any, ...]  # Any: plain JSON data


class TellsFiles:
    """A step's function for an executor of the user's own, which tells of the files it reads in another process."""

    def __init__(self, func: Callable[..., Any], home: str) -> None:  # Any: the user's function
        self.func = func
        self.home = home
        self.process = os.getpid()
        self.__name__ = getattr(func, "__name__", "step")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # Any: of the user's function
        """Call the function."""
        if os.getpid() == self.process:
            return self.func(*args, **kwargs)
        with track_files(home=self.home) as tracker:
            value = self.func(*args, **kwargs)
        return WithFiles(value, tracker.stamps())


def call_of(spec: StepSpec, cache: StepCache | None) -> Loading:
    """Return what is called in place of the step's function where it runs in another process."""
    if spec.lazy and getattr(resolve(spec.executor), "is_cluster", False) and (recipe := recipe_of(cache)) is not None:
        return OnWorker(spec.fn, recipe)
    return Loading(spec.fn)


def as_called(spec: StepSpec, cache: StepCache | None, mark: Callable[[], Mark] | None) -> StepSpec:
    """Return the step as it is to be called; `mark` makes the mark of a lazy result that a worker stores."""
    if mark is not None and spec.key is not None:
        call = spec.call or call_of(spec, cache)
        if isinstance(call, OnWorker):
            ticket = _Ticket(spec.key, spec.ttl_s, mark())
            return spec.but(fn=call, args=(ticket, *spec.args))
    if holds_handles(spec.args, spec.kwargs.values()):
        spec = spec.but(fn=Loading(spec.fn))
    if spec.executor != "inline" and tells_no_files(resolve(spec.executor)) and (home := tracked_from()) is not None:
        spec = spec.but(fn=TellsFiles(spec.fn, home))
    return spec


def arrived(run: Run, spec: StepSpec, result: Result[Any, Any]) -> tuple[Result[Any, Any], bool]:
    """Return the result of a call, with a handle where a worker has stored it; and True then."""
    if not isinstance(result, Ok):
        return result, False
    answer = result.value
    if isinstance(answer, StoredThere):
        assert spec.key is not None
        stored = Stored(spec.key, answer.size_bytes, answer.digest, run.cache)
        return Ok(stored, _mark=answer.mark), True
    if isinstance(answer, SentBack):
        category = ForeignSecretWarning if answer.foreign else CacheUnusableWarning
        run.warn_once(f"lazy results pass through this process: {answer.why}", category)
        value = answer.value
        return Ok(value.value if isinstance(value, Ok) else value, _mark=mark_of(result)), False
    return result, False


E = TypeVar("E", bound=BaseException)

_OURS = "awaitly_nb."
_BELOW_OURS = frozenset({"asyncio", "concurrent", "contextlib", "nest_asyncio2", "threading"})
"""What calls the user's code on our behalf."""


def without_machinery(exc: E) -> E:
    """Return the same exception, and its causes, with the frames of the user's code only."""
    waiting: list[BaseException | None] = [exc]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        # Our own errors and interrupts say all without the line that raised them. Another error would be a bug of ours.
        is_bug = isinstance(one, Exception) and not isinstance(one, AwaitlyError)
        one.__traceback__ = _cut(one.__traceback__, whole_end=is_bug)
        waiting += (one.__cause__, one.__context__)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
    return exc


def _cut(traceback: TracebackType | None, *, whole_end: bool) -> TracebackType | None:
    """Return a traceback without our frames; those at its end stay if asked."""
    own: list[TracebackType] = []
    last: list[TracebackType] = []
    below, found = True, traceback  # what was caught inside the event loop begins there
    while found is not None:
        name = found.tb_frame.f_globals.get("__name__", "")
        if name.startswith(_OURS):
            below = True
        elif not (below and name.partition(".")[0] in _BELOW_OURS):
            below = False
        if below:
            last.append(found)
        else:
            own.append(found)
            last = []
        found = found.tb_next
    made: TracebackType | None = None
    for one in reversed([*own, *last] if whole_end else own):
        # None: an interrupt fell on an instruction of no line; -1 has the line looked up anew.
        line = -1 if one.tb_lineno is None else one.tb_lineno
        made = TracebackType(made, one.tb_frame, one.tb_lasti, line)
    return made
