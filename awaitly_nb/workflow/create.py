"""`create_workflow` and the object it makes: opens a run, hands the body its context, closes it with one result."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import as_step_cache
from awaitly_nb.config import settings
from awaitly_nb.drawing import show_panel
from awaitly_nb.engine import KeyWatch, parse_cache_errors, uninterrupted
from awaitly_nb.errors import MisuseError
from awaitly_nb.executors import in_private_loop, is_async_function, is_awaitable, resolve
from awaitly_nb.states import create_resume_state_collector
from awaitly_nb.workflow.context import AsyncContext, Context
from awaitly_nb.workflow.opened import ABSENT, Opened, checked_deps, listeners_of, refused

if TYPE_CHECKING:
    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine import CacheErrors, RunSummary
    from awaitly_nb.events import Listener
    from awaitly_nb.result import Result
    from awaitly_nb.states import ResumeState

__all__ = ["Workflow", "create_workflow"]

_WATCHES: dict[tuple[str, Hashable], KeyWatch] = {}

Body = Callable[[Any], Any]  # Any: either context in, whatever the user returns out


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
        self._deps = checked_deps(deps)
        self._cache = cache
        self._resume_state = resume_state
        self._listeners = listeners_of(on_event)
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

    async def run(self, body: Body, **overrides: Any) -> Result[Any, Any]:
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
            The run was interrupted; what had finished is kept.

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
        opened = Opened(self, body, overrides)
        loading = True
        try:
            state = opened.load()
            if is_awaitable(state):
                state = await state
            loading = False
            if opened.session is not None:
                try:
                    state = await in_thread(opened.session.open)
                except BaseException:
                    await in_thread(opened.session.close)  # cancelled, it may have taken the lease all the same
                    raise
            run = opened.start(state)
        except Exception as exc:  # noqa: BLE001 - the stranger is the user's factory, or the store's server
            return refused(exc, loading=loading)
        run.main_task = asyncio.current_task()
        failure: BaseException | None = None
        value: Any = None  # Any: the user's value
        try:
            made = blocking(body, opened.context(AsyncContext if is_async_function(body) else Context, run))
            value = await made if is_awaitable(made) else made
            await let_cancellation_in(run)
        except BaseException as exc:  # noqa: BLE001 - sorted by `end`, which raises again what must leave the run
            failure = exc
        try:
            await end_tasks(run)
        except asyncio.CancelledError as exc:  # cancelled once more, while waiting for what was cancelled
            failure = exc
        try:
            if opened.session is not None:
                await in_thread(opened.close_session)
        except asyncio.CancelledError as exc:
            failure = exc
        return opened.end(value, failure)

    def run_sync(self, body: Body, **overrides: Any) -> Result[Any, Any]:
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
            from awaitly_nb.workflow.nested import run_nested

            result: Result[Any, Any] = run_nested(lambda: self.run(body, **overrides))
            return result
        opened = Opened(self, body, overrides)
        loading = True
        try:
            state = opened.load()
            if is_awaitable(state):
                state = in_private_loop(state, None)[0]
            loading = False
            if opened.session is not None:
                try:
                    state = opened.session.open()
                except BaseException:
                    with uninterrupted():
                        opened.session.close()  # interrupted, it may have taken the lease all the same
                    raise
            run = opened.start(state)
        except Exception as exc:  # noqa: BLE001 - the stranger is the user's factory, or the store's server
            return refused(exc, loading=loading)
        failure: BaseException | None = None
        value: Any = None  # Any: the user's value
        try:
            value = body(opened.context(Context, run))
            if is_awaitable(value):
                value = in_private_loop(value, None)[0]
        except BaseException as exc:  # noqa: BLE001 - sorted by `end`, which raises again what must leave the run
            failure = exc
        if opened.session is not None:
            with uninterrupted():
                opened.close_session()
        return opened.end(value, failure)

    async def run_with_state(self, body: Body, **overrides: Any) -> tuple[Result[Any, Any], ResumeState]:
        """Run `body`; return its result and the resume state of what finished, replayed steps included."""
        collector = create_resume_state_collector()
        overrides["on_event"] = [collector.handle_event, *listeners_of(overrides.get("on_event"))]
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
        Where results are kept. Absent: the default disk cache. None: nowhere; a key still executes once in a run, and
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
