"""One run from its keywords to its end: what a blocking and an awaiting run have in common."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awaitly_nb.cache import as_step_cache, open_default
from awaitly_nb.config import settings
from awaitly_nb.engine import RECENT, Leave, Run, parse_cache_errors, unexpected, without_machinery
from awaitly_nb.errors import (
    AwaitlyError,
    InvalidOptionError,
    LeaseHeldError,
    MisuseError,
    PersistWarning,
    StateError,
    StoreError,
    warn,
)
from awaitly_nb.events import (
    Emitter,
    Listener,
    PersistFailed,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowStart,
    WorkflowSuccess,
)
from awaitly_nb.executors import is_async_function, is_generator_function, resolve
from awaitly_nb.result import Err, Ok
from awaitly_nb.states import Session, as_resume_state

if TYPE_CHECKING:
    from awaitly_nb.result import Result
    from awaitly_nb.states import ResumeState, StateStore
    from awaitly_nb.workflow.context import AsyncContext, Context
    from awaitly_nb.workflow.create import Workflow

__all__ = ["ABSENT", "Opened", "checked_deps", "listeners_of", "refused"]


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


ABSENT: Final[Any] = _Absent()  # Any: stands where any option may stand
"""An option that was not given; None is a value: "none of these"."""

AnyContext = TypeVar("AnyContext", bound="AsyncContext | Context")

_OVERRIDES = (
    "cache",
    "resume_state",
    "deps",
    "on_event",
    "cache_errors",
    "executor",
    "run_id",
    "store",
    "id",
    "on_persist_error",
)


class Opened:
    """One run from its keywords to its end: what `run` and `run_sync` have in common."""

    def __init__(self, workflow: Workflow, body: object, overrides: Mapping[str, Any]) -> None:
        if not callable(body):
            if inspect.iscoroutine(body):
                body.close()
            raise MisuseError(
                f"run() was given a {type(body).__name__}, not a function: pass the body uncalled, workflow.run(body)"
            )
        if is_generator_function(body):
            raise MisuseError(
                "run() was given a generator function, of which a call runs nothing: return a value in place of `yield`"
            )
        if unknown := set(overrides) - set(_OVERRIDES):
            raise MisuseError(f"run() knows no {', '.join(sorted(unknown))}; it takes {', '.join(_OVERRIDES)}")
        self._workflow = workflow
        given = overrides.get
        self._run_id = given("run_id") or str(uuid.uuid4())
        self._cache = given("cache", workflow._cache)  # noqa: SLF001 - one package
        self._resume_state = given("resume_state", workflow._resume_state)  # noqa: SLF001
        self._deps = {**workflow._deps, **checked_deps(given("deps"))}  # noqa: SLF001
        self._listeners = [*workflow._listeners, *listeners_of(given("on_event"))]  # noqa: SLF001
        executor = given("executor", workflow._executor) or "inline"  # noqa: SLF001
        resolve(executor)
        self._cache_errors = parse_cache_errors(given("cache_errors", workflow._cache_errors) or "none")  # noqa: SLF001
        self._executor = executor
        self._raise_persist_errors = _parse_on_persist_error(given("on_persist_error") or "warn")
        self.session = self._open_session(given("store"), given("id"), resume_given="resume_state" in overrides)
        self._started = time.perf_counter()

    def _open_session(self, store: StateStore | None, state_id: str | None, *, resume_given: bool) -> Session | None:
        if store is None:
            if state_id is not None:
                raise MisuseError("run() was given id= without store=: write run(body, store=store, id=...)")
            return None
        if not isinstance(state_id, str) or not state_id:
            raise MisuseError('run() was given store= without id=: write run(body, store=store, id="wf-123")')
        if resume_given:
            raise MisuseError("run() was given both store= and resume_state=; the store loads the state itself")
        return Session(store, state_id)

    def load(self) -> Any:  # Any: a state, plain data, or an awaitable of either
        """Return the resume state as it was given, calling a factory once."""
        if self.session is not None:
            return None
        state = self._resume_state
        return state() if callable(state) else state

    def start(self, state: Any) -> Run:  # Any: whatever a factory came up with
        """Begin the run."""
        try:
            return self._start(as_resume_state(state))
        except BaseException:
            if self.session is not None:
                self.session.close()
            raise

    def _start(self, resumed: ResumeState | None) -> Run:
        cache = self._cache
        if cache is ABSENT:
            cache = open_default(self._workflow.name)
        step_cache = None if cache is None else as_step_cache(cache)
        self.run = Run(
            workflow=self._workflow.name,
            run_id=self._run_id,
            cache=step_cache,
            emitter=Emitter([RECENT.handle_event, *self._listeners]),
            resumed=resumed,
            session=self.session,
            deps=self._deps,
            watch=self._workflow._watch_of(step_cache),  # noqa: SLF001 - one package
            raise_persist_errors=self._raise_persist_errors,
            track_files=settings().track_files,
        )
        self.run.emit(WorkflowStart, resumed=resumed)
        return self.run

    def close_session(self) -> None:
        """Keep what is not kept yet, give the lease back, and tell what could not be kept."""
        assert self.session is not None
        try:
            self.session.close()
        except AwaitlyError as exc:
            lost = self.session.pending
            self.run.emit(PersistFailed, step_id=self._workflow.name, step_key=lost[0] if lost else None, error=exc)
            if self._raise_persist_errors or isinstance(exc, LeaseHeldError):
                self.run.fail(Err(exc, exc))
                return
            warn(f"the results of {', '.join(lost) or 'the run'} were not saved in the store: {exc}", PersistWarning)

    def context(self, kind: type[AnyContext], run: Run) -> AnyContext:
        """Return what the body is given."""
        return kind(run, cache_errors=self._cache_errors, executor=self._executor)

    def end(self, value: Any, failure: BaseException | None) -> Result[Any, Any]:  # Any: the user's value
        """Emit how the run ended, once, and return its result or raise what must leave it."""
        __tracebackhide__ = True
        run = self.run
        duration_s = time.perf_counter() - self._started
        try:
            if (leaving := _interrupt(run, failure)) is not None:
                run.emit(
                    WorkflowCancelled,
                    last_step_key=run.last_step_key,
                    error=None if run.failure is None else run.failure.error,
                    reason="the run around it failed" if isinstance(leaving, Leave) else type(leaving).__name__,
                    duration_s=duration_s,
                )
                raise without_machinery(leaving)
            result = _result(run, value, failure)
            if isinstance(result, Ok):
                run.emit(WorkflowSuccess, duration_s=duration_s)
            else:
                run.emit(WorkflowFailed, error=result.error, cause=result.cause, duration_s=duration_s)
            return result
        finally:
            run.close()
            self._workflow._last_run = RECENT.later(run.run_id)  # noqa: SLF001 - one package


def refused(exc: Exception, *, loading: bool) -> Err[Any]:  # Any: the error that kept the run from starting
    """Return the failure of a run that could not start: no state to go on from, or somebody else holds the id.

    `loading`: it was still asking for its resume state.
    """
    if isinstance(exc, StateError | StoreError):
        return Err(exc, exc)
    return unexpected(exc, who="the resume_state factory" if loading else "the workflow, before its body began,")


def _interrupt(run: Run, failure: BaseException | None) -> BaseException | None:
    """Return what must leave the run as an exception, or None."""
    if run.interrupt is not None:
        return run.interrupt
    if failure is None or isinstance(failure, Exception):
        return None
    if isinstance(failure, BaseExceptionGroup):
        leaving = failure.subgroup(lambda exc: not isinstance(exc, Leave | Exception))
        if leaving is None and run.failure is None:
            return Leave()  # of the run around this one, out of a task group
        return None if run.failure is not None else leaving  # else a task group around the step that failed
    # A run that did not fail is left because of a run around it, whose step failed in this one's body.
    return None if isinstance(failure, Leave) and run.failure is not None else failure


def _result(run: Run, value: Any, failure: BaseException | None) -> Result[Any, Any]:  # Any: the user's value
    if run.failure is not None:
        return run.failure
    if failure is None:
        return value if isinstance(value, Ok | Err) else Ok(value)
    assert isinstance(failure, Exception), failure
    return unexpected(failure)


def checked_deps(deps: Mapping[str, Callable[..., Any]] | None) -> dict[str, Callable[..., Any]]:
    """Return dependencies by name; raises MisuseError."""
    if deps is None:
        return {}
    if not isinstance(deps, Mapping):
        raise MisuseError(f'deps is a {type(deps).__name__}, not a mapping: write {{"fetch_user": fetch_user}}')
    for name in deps:
        if not isinstance(name, str) or not name.isidentifier():
            raise MisuseError(f"the dependency name {name!r} is no identifier, so that ctx.deps could not show it")
    return dict(deps)


def listeners_of(on_event: Listener | Iterable[Listener] | None) -> list[Listener]:
    """Return one listener, or several, as a list; raises MisuseError."""
    if on_event is None:
        return []
    if not callable(on_event) and not isinstance(on_event, Iterable):
        raise MisuseError(f"on_event is a {type(on_event).__name__}, not a function of one event, or several")
    listeners = [on_event] if callable(on_event) else list(on_event)
    for listener in listeners:
        if not callable(listener):
            raise MisuseError(f"on_event holds a {type(listener).__name__}, not a function of one event")
        if is_async_function(listener) or is_generator_function(listener):
            raise MisuseError(
                f"the listener {listener!r} is an `async def` or a generator function, of which a call runs nothing: "
                "write it as a plain function of one event"
            )
    return listeners


def _parse_on_persist_error(value: object) -> bool:
    if value not in ("warn", "raise"):
        raise InvalidOptionError(f'on_persist_error={value!r} is unknown; use "warn" or "raise"')
    return value == "raise"
