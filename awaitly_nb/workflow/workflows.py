"""`create_workflow` and the object it makes: starts a run, hands the body its context, ends it with one result."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, TypeVar, Unpack, overload

from awaitly_nb.cache import as_step_cache, open_default
from awaitly_nb.config import settings
from awaitly_nb.drawing import show_panel
from awaitly_nb.engine import (
    RECENT,
    Emitter,
    KeyWatch,
    Leave,
    Run,
    parse_cache_errors,
    unexpected,
    without_machinery,
)
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
    Listener,
    PersistFailed,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowStart,
    WorkflowSuccess,
)
from awaitly_nb.executors import (
    in_private_loop,
    is_async_function,
    is_awaitable,
    is_generator_function,
    resolve,
)
from awaitly_nb.interrupts import uninterrupted
from awaitly_nb.result import Err, Ok
from awaitly_nb.states import Session, as_resume_state, create_resume_state_collector
from awaitly_nb.workflow.context import AsyncContext, Context, awaited

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine import CacheErrors, RunSummary
    from awaitly_nb.result import Result
    from awaitly_nb.states import ResumeState, StateStore

__all__ = ["Workflow", "create_workflow"]


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


ABSENT: Final[Any] = _Absent()  # Any: stands where any option may stand
"""An option that was not given; None is a value: "none of these"."""

AnyContext = TypeVar("AnyContext", bound="AsyncContext | Context")


class RunOptions(TypedDict, total=False):
    """What may differ from the workflow's own for one run; see `Workflow.run`."""

    cache: StepCache | Mapping[str, Any] | None
    resume_state: Any  # Any: a state, plain data, or a factory of either
    deps: Mapping[str, Callable[..., Any]]
    on_event: Listener | Iterable[Listener] | None
    cache_errors: CacheErrors | None
    executor: object
    run_id: str | None
    store: StateStore | None
    id: str | None
    on_persist_error: Literal["warn", "raise"] | None


_WATCHES: dict[tuple[str, Hashable], KeyWatch] = {}

T = TypeVar("T")
Body: TypeAlias = Callable[[Any], Any]  # Any: either context in, whatever the user returns out
_AsyncBody: TypeAlias = "Callable[[AsyncContext], Coroutine[Any, Any, T]]"
_PlainBody: TypeAlias = "Callable[[Context], T]"


class Workflow:
    """A named set of steps that can be run, and run again. Made by `create_workflow`.

    Attributes
    ----------
    name
        Its name, also the namespace of its keys in the default cache.
    """

    def __init__(
        self,
        name: str,
        deps: Mapping[str, Callable[..., Any]] | None,
        *,
        cache: Any,  # Any: absent, None, a StepCache or a mapping
        resume_state: Any,  # Any: a state, plain data, or a factory of either
        on_event: Listener | Iterable[Listener] | None,
        cache_errors: CacheErrors,
        executor: object,
    ) -> None:
        self.name = name
        self._last_run: Callable[[], RunSummary] | None = None
        self._deps = _checked_deps(deps)
        self._cache = cache
        self._resume_state = resume_state
        self._listeners = _listeners_of(on_event)
        self._cache_errors = parse_cache_errors(cache_errors)
        self._executor = executor
        self._watch = KeyWatch()
        resolve(executor)

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"

    @property
    def last_run(self) -> RunSummary | None:
        """What the last run did, without its values; None before the first."""
        return None if self._last_run is None else self._last_run()

    @overload
    async def run(self, body: _AsyncBody[Result[T, Any]], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    @overload
    async def run(self, body: _AsyncBody[T], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    @overload
    async def run(self, body: _PlainBody[Result[T, Any]], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    @overload
    async def run(self, body: _PlainBody[T], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    async def run(self, body: Body, **overrides: Unpack[RunOptions]) -> Result[Any, Any]:
        """Run `body` and return its result.

        Parameters
        ----------
        body
            An `async def` or plain function that takes the context. What it returns is the run's value; a `Result`
            that it returns is the run's result.
        **overrides
            For this run only: `cache`, `resume_state`, `deps` (merged by name), `on_event` (in addition),
            `cache_errors`, `executor`, `run_id`, `store` with `id`, and `on_persist_error` ("warn" or "raise").

        Returns
        -------
        Ok or Err
            The value, or the error of the failed step. An exception becomes `Err(UnexpectedError(...), cause=exc)`.

        Raises
        ------
        KeyboardInterrupt, SystemExit, asyncio.CancelledError
            The run was interrupted; what had finished is stored.

        Examples
        --------
        >>> import asyncio
        >>> import awaitly_nb as aw
        >>> workflow = aw.create_workflow("sums", cache={})
        >>> async def body(ctx):
        ...     return await ctx.step("add", lambda: 1 + 2, key="sum:1:2")
        >>> asyncio.run(workflow.run(body))
        Ok(value=3)
        """
        import asyncio

        from awaitly_nb.engine import blocking, end_tasks, in_thread, let_cancellation_in

        __tracebackhide__ = True
        running = _RunOf(self, body, overrides)
        loading = True
        try:
            state = running.load()
            if is_awaitable(state):
                state = await state
            loading = False
            if running.session is not None:
                try:
                    state = await in_thread(running.session.open)
                except BaseException:
                    await in_thread(running.session.close)  # cancelled, it may have taken the lease all the same
                    raise
            run = running.start(state)
        except Exception as exc:  # noqa: BLE001 - the user's factory and the store's server may raise anything
            return _refused(exc, loading=loading)
        run.main_task = asyncio.current_task()
        failure: BaseException | None = None
        value: Any = None  # Any: the user's value
        try:
            ctx = running.context(AsyncContext if is_async_function(body) else Context, run)
            value = blocking(body, ctx)
            if is_awaitable(value):
                value = await awaited(ctx, value)
            await let_cancellation_in(run)
        except BaseException as exc:  # noqa: BLE001 - sorted by `end`, which raises again what must leave the run
            failure = exc
        try:
            await end_tasks(run)
        except asyncio.CancelledError as exc:  # cancelled once more, while waiting for what was cancelled
            failure = exc
        try:
            if running.session is not None:
                await in_thread(running.close_session)
        except asyncio.CancelledError as exc:
            failure = exc
        return running.end(value, failure)

    @overload
    def run_sync(self, body: _AsyncBody[Result[T, Any]], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    @overload
    def run_sync(self, body: _AsyncBody[T], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    @overload
    def run_sync(self, body: _PlainBody[Result[T, Any]], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    @overload
    def run_sync(self, body: _PlainBody[T], **overrides: Unpack[RunOptions]) -> Result[T, Any]: ...

    def run_sync(self, body: Body, **overrides: Unpack[RunOptions]) -> Result[Any, Any]:
        """Do as `run`, from any code: a script, a thread, a cell. A plain body touches no event loop.

        Examples
        --------
        >>> import awaitly_nb as aw
        >>> workflow = aw.create_workflow("sums", cache={})
        >>> workflow.run_sync(lambda ctx: ctx.step("add", lambda: 1 + 2, key="sum:1:2")).unwrap()
        3
        """
        __tracebackhide__ = True
        if is_async_function(body):
            result: Result[Any, Any] = _run_to_end(lambda: self.run(body, **overrides))
            return result
        running = _RunOf(self, body, overrides)
        if running.session is None:
            return self._run_now(body, running)
        try:
            return self._run_now(body, running)
        finally:
            if not running.closing:
                running.session.close()  # interrupted on the way there, it may have taken the lease all the same

    def _run_now(self, body: Body, running: _RunOf) -> Result[Any, Any]:
        __tracebackhide__ = True
        loading = True
        try:
            state = running.load()
            if is_awaitable(state):
                state = in_private_loop(state, None)[0]
            loading = False
            if running.session is not None:
                state = running.session.open()
            run = running.start(state)
        except Exception as exc:  # noqa: BLE001 - the user's factory and the store's server may raise anything
            return _refused(exc, loading=loading)
        failure: BaseException | None = None
        value: Any = None  # Any: the user's value
        try:
            ctx = running.context(Context, run)
            value = body(ctx)
            if is_awaitable(value):
                value = in_private_loop(awaited(ctx, value), None)[0]
        except BaseException as exc:  # noqa: BLE001 - sorted by `end`, which raises again what must leave the run
            failure = exc
        if running.session is not None:
            uninterrupted(running.close_session)
        return running.end(value, failure)

    @overload
    async def run_with_state(
        self, body: _AsyncBody[Result[T, Any]], **overrides: Unpack[RunOptions]
    ) -> tuple[Result[T, Any], ResumeState]: ...

    @overload
    async def run_with_state(
        self, body: _AsyncBody[T], **overrides: Unpack[RunOptions]
    ) -> tuple[Result[T, Any], ResumeState]: ...

    @overload
    async def run_with_state(
        self, body: _PlainBody[Result[T, Any]], **overrides: Unpack[RunOptions]
    ) -> tuple[Result[T, Any], ResumeState]: ...

    @overload
    async def run_with_state(
        self, body: _PlainBody[T], **overrides: Unpack[RunOptions]
    ) -> tuple[Result[T, Any], ResumeState]: ...

    async def run_with_state(self, body: Body, **overrides: Unpack[RunOptions]) -> tuple[Result[Any, Any], ResumeState]:
        """Run `body`; return its result and the resume state of what finished, replayed steps included."""
        collector = create_resume_state_collector()
        overrides["on_event"] = [collector.handle_event, *_listeners_of(overrides.get("on_event"))]
        result = await self.run(body, **overrides)
        return result, collector.get_resume_state()

    def _watch_of(self, cache: StepCache | None) -> KeyWatch:
        # In a notebook the cell that makes the workflow is run again too; what stays is the folder of its keys.
        folder = None if cache is None else getattr(cache, "identity", None)
        return self._watch if folder is None else _WATCHES.setdefault((self.name, folder), self._watch)

    def panel(self) -> None:
        """Show the live panel of this workflow and its cache in a notebook."""
        show_panel(self.name, cache=None if self._cache is ABSENT else self._cache)


def create_workflow(
    name: str,
    deps: Mapping[str, Callable[..., Any]] | None = None,
    *,
    cache: StepCache | Mapping[str, Any] | None = ABSENT,
    resume_state: Any = None,
    on_event: Listener | Iterable[Listener] | None = None,
    cache_errors: CacheErrors = ABSENT,
    executor: object = ABSENT,
) -> Workflow:
    """Return a workflow called `name`.

    Parameters
    ----------
    name
        A non-empty string; the namespace of its keys in the default cache.
    deps
        Functions by name, which the body finds as `ctx.deps.NAME` and, with automatic keys, as `ctx.steps.NAME`.
    cache
        Where results are stored. Absent: the default disk cache. None: nowhere; a key still executes once in a run, and
        a value of more than 8 MB is shared then. Else a step cache, or a mutable mapping.
    resume_state
        A `ResumeState`, or a sync or async function that returns one or None; called once per run.
    on_event
        A listener, or several.
    cache_errors
        Which failures are replayed: "returned" (what steps returned or declared), "all", or "none".
    executor
        Where steps run: "inline", "thread", or an object with `submit`.

    Raises
    ------
    MisuseError
        The name, the dependencies or the cache cannot be what was meant.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.create_workflow("report", {"fetch_user": lambda user_id: {"id": user_id}}, cache={})
    <workflow 'report'>
    """
    if not isinstance(name, str) or not name:
        raise MisuseError(
            f'the workflow name is {name!r}, not a non-empty string: write create_workflow("report", ...)'
        )
    if cache is not ABSENT and cache is not None:
        as_step_cache(cache)
    if cache_errors is ABSENT or executor is ABSENT:
        defaults = settings()
        cache_errors = defaults.cache_errors if cache_errors is ABSENT else cache_errors
        executor = defaults.executor if executor is ABSENT else executor
    return Workflow(
        name,
        deps,
        cache=cache,
        resume_state=resume_state,
        on_event=on_event,
        cache_errors=cache_errors,
        executor=executor,
    )


def _new_run_id() -> str:
    import uuid

    return str(uuid.uuid4())


class _RunOf:
    """One run from its keywords to its end: what `run` and `run_sync` have in common."""

    def __init__(self, workflow: Workflow, body: object, overrides: Mapping[str, Any]) -> None:
        if not callable(body):
            if isinstance(body, CoroutineType):
                body.close()
            raise MisuseError(
                f"run() was given a {type(body).__name__}, not a function: pass the body uncalled, workflow.run(body)"
            )
        if is_generator_function(body):
            raise MisuseError(
                "run() was given a generator function, of which a call runs nothing: return a value in place of `yield`"
            )
        known = RunOptions.__annotations__
        if unknown := set(overrides) - set(known):
            raise MisuseError(f"run() knows no {', '.join(sorted(unknown))}; it takes {', '.join(known)}")
        self._workflow = workflow
        given = overrides.get
        self._run_id = given("run_id") or _new_run_id()
        self._cache = given("cache", workflow._cache)  # noqa: SLF001 - one package
        self._resume_state = given("resume_state", workflow._resume_state)  # noqa: SLF001
        self._deps = {**workflow._deps, **_checked_deps(given("deps"))}  # noqa: SLF001
        self._listeners = [*workflow._listeners, *_listeners_of(given("on_event"))]  # noqa: SLF001
        executor = given("executor", workflow._executor) or "inline"  # noqa: SLF001
        resolve(executor)
        self._cache_errors = parse_cache_errors(given("cache_errors", workflow._cache_errors) or "none")  # noqa: SLF001
        self._executor = executor
        self._raise_persist_errors = _parse_on_persist_error(given("on_persist_error") or "warn")
        self.closing = False
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
            emitter=Emitter(self._listeners),
            log=RECENT,
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
        """Save what is not saved yet, give the lease back, and tell what could not be saved."""
        assert self.session is not None
        self.closing = True
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


def _refused(exc: Exception, *, loading: bool) -> Err[Any]:  # Any: the error that prevented the start
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


def _checked_deps(deps: Mapping[str, Callable[..., Any]] | None) -> dict[str, Callable[..., Any]]:
    """Return dependencies by name; raises MisuseError."""
    if deps is None:
        return {}
    if not isinstance(deps, Mapping):
        raise MisuseError(f'deps is a {type(deps).__name__}, not a mapping: write {{"fetch_user": fetch_user}}')
    for name in deps:
        if not isinstance(name, str) or not name.isidentifier():
            raise MisuseError(f"the dependency name {name!r} is no identifier, so that ctx.deps could not show it")
    return dict(deps)


def _listeners_of(on_event: Listener | Iterable[Listener] | None) -> list[Listener]:
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


def _run_to_end(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:  # Any: the coroutine's value
    """Run a coroutine to its end from blocking code, whether or not a loop runs in this thread."""
    __tracebackhide__ = True
    try:
        return _run_in_loop(make)
    except BaseException as exc:  # noqa: BLE001 - the same exception, less the frames of the machinery
        raise without_machinery(exc)  # noqa: B904 - as above


def _run_in_loop(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:  # Any: the coroutine's value
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None:  # and not above, where all that comes would come from that error
        return asyncio.run(make())
    if _patched(loop):
        task = loop.create_task(make())
        try:
            return loop.run_until_complete(task)
        except BaseException:
            # Stop breaks out of the nested loop; the outer one would go on with the task in the background.
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            elif not task.cancelled():
                # It is raised here. A task that nobody asked for its exception logs it when it is collected: in the
                # middle of whatever runs then, as of the traceback that IPython is making of it.
                task.exception()
            raise
    return in_private_loop(make(), None)[0]


def _patched(loop: Any) -> bool:  # Any: an event loop of any make
    """Make a running loop re-entrant; False where that cannot be done, as with uvloop."""
    import nest_asyncio2

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns when nest_asyncio came first, which works all the same
            nest_asyncio2.apply(loop)
    except (ValueError, RuntimeError):
        return False
    return True
