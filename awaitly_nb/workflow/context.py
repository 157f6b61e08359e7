"""What a body is given: `ctx.step`, `ctx.attempt`, `ctx.steps`, `ctx.deps`, `ctx.run_id`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from awaitly_nb.engine import Retry, StepSpec, check_step, perform
from awaitly_nb.errors import MisuseError, UncachedWarning, UnkeyableError, warn
from awaitly_nb.keys import step_parts
from awaitly_nb.result import Err, Ok
from awaitly_nb.workflow.fan_out import ItemKey, OnError, check_on_error, map_blocking, map_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from datetime import timedelta

    from awaitly_nb.cache import Stored
    from awaitly_nb.engine import CacheErrors, Run
    from awaitly_nb.result import Result

__all__ = ["AsyncContext", "Context", "Deps", "awaited"]

T = TypeVar("T")
Duration: TypeAlias = "float | timedelta | str | None"
_Later: TypeAlias = "Coroutine[Any, Any, T]"
_Tells: TypeAlias = "Callable[..., Coroutine[Any, Any, Result[T, Any]] | Result[T, Any]]"
_Awaits: TypeAlias = "Callable[..., Coroutine[Any, Any, T]]"
_Gives: TypeAlias = "Callable[..., T]"


class Deps:
    """A workflow's dependencies, as attributes."""

    def __init__(self, deps: Mapping[str, Callable[..., Any]]) -> None:  # Any: the user's functions
        self.__dict__.update(deps)

    @property
    def _deps(self) -> dict[str, Any]:  # Any: the user's functions
        # Where the code of a step is followed, as in that of a workflow.
        return self.__dict__

    def __getattr__(self, name: str) -> Any:  # Any: the user's function
        known = ", ".join(sorted(self.__dict__)) or "none"
        raise AttributeError(f"no dependency is called {name!r}; create_workflow was given: {known}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"dependencies are fixed for a run; give deps={{{name!r}: ...}} to run() instead")

    def __repr__(self) -> str:
        return f"Deps({', '.join(self.__dict__)})"


class _SpecMaker:
    """What both contexts share: the run, and how a call becomes a checked `StepSpec`."""

    def __init__(self, run: Run, *, cache_errors: CacheErrors, executor: object) -> None:
        self._run = run
        self._cache_errors: CacheErrors = cache_errors
        self._executor = executor
        self.deps: Any = Deps(run.deps)  # Any: attributes are the user's functions
        self.steps: Any = _Steps(self)  # Any: attributes are the user's functions, as steps

    @property
    def run_id(self) -> str:
        """The name of this run."""
        return self._run.run_id

    def _check(self, step_id: object, fn: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepSpec:
        options = {name: kwargs.pop(name, default) for name, default in _OPTIONS.items()}
        return check_step(step_id, fn, args, kwargs, **self._with_defaults(options))

    def _with_defaults(self, options: dict[str, Any]) -> dict[str, Any]:  # Any: each option has its own type
        options["cache_errors"] = options["cache_errors"] or self._cache_errors
        options["executor"] = options["executor"] or self._executor
        return options

    def _automatic(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepSpec:
        """Return a dependency's call as a step whose key is made from its code and arguments."""
        if name not in self._run.deps:
            getattr(self.deps, name)  # raises, and names what there is
        spec = check_step(name, self._run.deps[name], args, kwargs, **self._with_defaults(dict(_OPTIONS)))
        try:
            parts = step_parts(spec.fn, args, kwargs, name=name)
        except UnkeyableError as exc:
            warn(f"step {name!r} runs uncached: {exc}", UncachedWarning)
            return spec
        return spec.but(key=parts.key, parts=parts, reread=lambda: step_parts(spec.fn, args, kwargs, name=name))


_OPTIONS: dict[str, Any] = {  # Any: each option has its own type
    "key": None,
    "ttl": None,
    "retry": None,
    "timeout": None,
    "error": None,
    "cache_errors": None,
    "executor": None,
    "lazy": False,
}


class Context(_SpecMaker):
    """What a plain body is given. Its steps block and return; it may be used from several threads."""

    @overload
    def step(
        self, id: str, fn: Callable[..., Any], /, *args: Any, lazy: Literal[True], **kwargs: Any,
    ) -> Stored: ...  # fmt: skip

    @overload
    def step(
        self, id: str, fn: _Tells[T], /, *args: Any, key: str | None = ..., ttl: Duration = ...,
        retry: int | Retry | None = ..., timeout: Duration = ..., error: object = ...,
        cache_errors: CacheErrors | None = ..., executor: object = ..., lazy: Literal[False] = ..., **kwargs: Any,
    ) -> T: ...  # fmt: skip

    @overload
    def step(
        self, id: str, fn: _Awaits[T], /, *args: Any, key: str | None = ..., ttl: Duration = ...,
        retry: int | Retry | None = ..., timeout: Duration = ..., error: object = ...,
        cache_errors: CacheErrors | None = ..., executor: object = ..., lazy: Literal[False] = ..., **kwargs: Any,
    ) -> T: ...  # fmt: skip

    @overload
    def step(
        self, id: str, fn: _Gives[T], /, *args: Any, key: str | None = ..., ttl: Duration = ...,
        retry: int | Retry | None = ..., timeout: Duration = ..., error: object = ...,
        cache_errors: CacheErrors | None = ..., executor: object = ..., lazy: Literal[False] = ..., **kwargs: Any,
    ) -> T: ...  # fmt: skip

    def step(
        self,
        id: str,  # noqa: A002 - the name of the design
        fn: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        ttl: float | timedelta | str | None = None,
        retry: int | Retry | None = None,
        timeout: float | timedelta | str | None = None,
        error: object = None,
        cache_errors: CacheErrors | None = None,
        executor: object = None,
        lazy: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run `fn(*args, **kwargs)` as a step; return its bare value, or leave the workflow with its error.

        Parameters
        ----------
        id
            The step's name, for people.
        fn
            Any callable. A plain return value counts as `Ok`.
        *args, **kwargs
            Its arguments.
        key
            Under which the result is stored; without one the step runs every time.
        ttl
            How long the cached result may be served: seconds, a timedelta, or text such as "7d".
        retry
            How often to try, or a `Retry`. Only the last outcome is stored.
        timeout
            Limit for each attempt, as `ttl`. A blocking function then runs in a thread, left behind when time is up.
        error
            What a raised exception becomes; the exception stays its cause.
        cache_errors
            Which failures are replayed: "returned", "all" or "none".
        executor
            Where `fn` runs: "inline", "thread", "process", a dask client, or an object with `submit`.
        lazy
            Return a `Stored` in place of the value: a handle that loads it from the cache when it is needed. On dask,
            with a shared cache, the worker stores the result itself, and the value does not come here at all.

        Raises
        ------
        MisuseError
            The id, the key or the callable cannot be what was meant.
        """
        spec = check_step(
            id, fn, args, kwargs, key, ttl, retry, timeout, error,
            cache_errors or self._cache_errors, executor or self._executor, lazy,
        )  # fmt: skip
        return self._run_step(spec)

    @overload
    def attempt(
        self, id: str, fn: Callable[..., Any], /, *args: Any, lazy: Literal[True], **kwargs: Any
    ) -> Result[Stored, Any]: ...  # fmt: skip

    @overload
    def attempt(self, id: str, fn: _Tells[T], /, *args: Any, **kwargs: Any) -> Result[T, Any]: ...

    @overload
    def attempt(self, id: str, fn: _Awaits[T], /, *args: Any, **kwargs: Any) -> Result[T, Any]: ...

    @overload
    def attempt(self, id: str, fn: _Gives[T], /, *args: Any, **kwargs: Any) -> Result[T, Any]: ...

    def attempt(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Result[Any, Any]:  # noqa: A002
        """Do as `step`, with the same arguments, but return the `Result` and stay in the workflow."""
        return self._attempt(self._check(id, fn, args, kwargs))

    @overload
    def map(
        self, id: str, fn: Callable[..., Any], items: Iterable[Any], /, *args: Any, lazy: Literal[True], **kwargs: Any
    ) -> list[Any]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Tells[T], items: Iterable[Any], /, *args: Any, on_error: Literal["collect"], **kwargs: Any
    ) -> list[Result[T, Any]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Awaits[T], items: Iterable[Any], /, *args: Any, on_error: Literal["collect"], **kwargs: Any
    ) -> list[Result[T, Any]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Gives[T], items: Iterable[Any], /, *args: Any, on_error: Literal["collect"], **kwargs: Any
    ) -> list[Result[T, Any]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Tells[T], items: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> list[T]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Awaits[T], items: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> list[T]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Gives[T], items: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> list[T]: ...  # fmt: skip

    def map(
        self,
        id: str,  # noqa: A002 - the name of the design
        fn: Callable[..., Any],
        items: Iterable[Any],
        /,
        *args: Any,
        key: ItemKey = None,
        concurrency: int | None = None,
        on_error: OnError = "stop",
        **kwargs: Any,
    ) -> list[Any]:
        """Run `fn(item, *args, **kwargs)` as one step per item, and return the values in the order of the items.

        Each item is stored and collected by itself, so that running again computes only what is missing or failed.

        Parameters
        ----------
        id
            The name of all these steps.
        fn, items, *args, **kwargs
            What to call, for what. Keywords that `step` knows (`ttl`, `retry`, `timeout`, `executor`, ...) are its own.
        key
            A template such as "fold:{item}" or "row:{index}", or a function of the item; by default an automatic key.
        concurrency
            How many items are under way at once; by default as many as the executor can use, and one if inline.
        on_error
            "stop": the first failure ends the workflow, and what finished is stored. "collect": return a `Result` each.

        Examples
        --------
        >>> import awaitly_nb as aw
        >>> workflow = aw.create_workflow("squares", cache={})
        >>> workflow.run_sync(lambda ctx: ctx.map("square", lambda x: x * x, [1, 2, 3], key="square:{item}"))
        Ok(value=[1, 4, 9])
        """
        spec = self._check(id, fn, args, kwargs)
        on_error = check_on_error(on_error)
        return map_blocking(self._run, spec, items, key, concurrency=concurrency, on_error=on_error)

    def _attempt(self, spec: StepSpec) -> Result[Any, Any]:
        return perform(self._run, spec).result

    def _run_step(self, spec: StepSpec) -> Any:  # Any: the user's value
        result = perform(self._run, spec).result
        if isinstance(result, Ok):
            return result.value
        raise self._run.fail(result)


class AsyncContext(_SpecMaker):
    """What an `async def` body is given. Its steps are awaited; misuse is told at the call."""

    @overload
    def step(
        self, id: str, fn: Callable[..., Any], /, *args: Any, lazy: Literal[True], **kwargs: Any,
    ) -> _Later[Stored]: ...  # fmt: skip

    @overload
    def step(
        self, id: str, fn: _Tells[T], /, *args: Any, key: str | None = ..., ttl: Duration = ...,
        retry: int | Retry | None = ..., timeout: Duration = ..., error: object = ...,
        cache_errors: CacheErrors | None = ..., executor: object = ..., lazy: Literal[False] = ..., **kwargs: Any,
    ) -> _Later[T]: ...  # fmt: skip

    @overload
    def step(
        self, id: str, fn: _Awaits[T], /, *args: Any, key: str | None = ..., ttl: Duration = ...,
        retry: int | Retry | None = ..., timeout: Duration = ..., error: object = ...,
        cache_errors: CacheErrors | None = ..., executor: object = ..., lazy: Literal[False] = ..., **kwargs: Any,
    ) -> _Later[T]: ...  # fmt: skip

    @overload
    def step(
        self, id: str, fn: _Gives[T], /, *args: Any, key: str | None = ..., ttl: Duration = ...,
        retry: int | Retry | None = ..., timeout: Duration = ..., error: object = ...,
        cache_errors: CacheErrors | None = ..., executor: object = ..., lazy: Literal[False] = ..., **kwargs: Any,
    ) -> _Later[T]: ...  # fmt: skip

    def step(
        self,
        id: str,  # noqa: A002 - the name of the design
        fn: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        ttl: float | timedelta | str | None = None,
        retry: int | Retry | None = None,
        timeout: float | timedelta | str | None = None,
        error: object = None,
        cache_errors: CacheErrors | None = None,
        executor: object = None,
        lazy: bool = False,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Run `fn(*args, **kwargs)` as a step, and await it. Parameters and errors are those of `Context.step`."""
        spec = check_step(
            id, fn, args, kwargs, key=key, ttl=ttl, retry=retry, timeout=timeout, error=error,
            cache_errors=cache_errors or self._cache_errors, executor=executor or self._executor,
            lazy=lazy,
        )  # fmt: skip
        return self._run_step(spec)

    @overload
    def attempt(
        self, id: str, fn: Callable[..., Any], /, *args: Any, lazy: Literal[True], **kwargs: Any
    ) -> _Later[Result[Stored, Any]]: ...  # fmt: skip

    @overload
    def attempt(self, id: str, fn: _Tells[T], /, *args: Any, **kwargs: Any) -> _Later[Result[T, Any]]: ...

    @overload
    def attempt(
        self, id: str, fn: _Awaits[T], /, *args: Any, **kwargs: Any
    ) -> _Later[Result[T, Any]]: ...  # fmt: skip

    @overload
    def attempt(self, id: str, fn: _Gives[T], /, *args: Any, **kwargs: Any) -> _Later[Result[T, Any]]: ...

    def attempt(
        self,
        id: str,  # noqa: A002 - the name of the design
        fn: Callable[..., Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Result[Any, Any]]:
        """Do as `step`, with the same arguments, but come to the `Result` and stay in the workflow."""
        return self._attempt(self._check(id, fn, args, kwargs))

    @overload
    def map(
        self, id: str, fn: Callable[..., Any], items: Iterable[Any], /, *args: Any, lazy: Literal[True], **kwargs: Any
    ) -> _Later[list[Any]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Tells[T], items: Iterable[Any], /, *args: Any, on_error: Literal["collect"], **kwargs: Any
    ) -> _Later[list[Result[T, Any]]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Awaits[T], items: Iterable[Any], /, *args: Any, on_error: Literal["collect"], **kwargs: Any
    ) -> _Later[list[Result[T, Any]]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Gives[T], items: Iterable[Any], /, *args: Any, on_error: Literal["collect"], **kwargs: Any
    ) -> _Later[list[Result[T, Any]]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Tells[T], items: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> _Later[list[T]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Awaits[T], items: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> _Later[list[T]]: ...  # fmt: skip

    @overload
    def map(
        self, id: str, fn: _Gives[T], items: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> _Later[list[T]]: ...  # fmt: skip

    def map(
        self,
        id: str,  # noqa: A002 - the name of the design
        fn: Callable[..., Any],
        items: Iterable[Any],
        /,
        *args: Any,
        key: ItemKey = None,
        concurrency: int | None = None,
        on_error: OnError = "stop",
        **kwargs: Any,
    ) -> Coroutine[Any, Any, list[Any]]:
        """Run one step per item. Parameters and errors are those of `Context.map`; by default eight are under way."""
        spec = self._check(id, fn, args, kwargs)
        on_error = check_on_error(on_error)
        return map_tasks(self._run, spec, items, key, concurrency=concurrency, on_error=on_error)

    async def _attempt(self, spec: StepSpec) -> Result[Any, Any]:
        from awaitly_nb.engine import perform_async

        return (await perform_async(self._run, spec)).result

    async def _run_step(self, spec: StepSpec) -> Any:  # Any: the user's value
        result = await self._attempt(spec)
        if isinstance(result, Err):
            raise self._run.fail(result)
        return result.value


async def awaited(ctx: Context | AsyncContext, value: Any) -> Any:  # Any: the user's value
    """Await what a body returned; its steps are awaited from here on.

    `lambda ctx: body(ctx)` looks like a plain body until it has returned the coroutine of an `async def` one, which has
    not begun by then. Both contexts have the same attributes, so that the one the coroutine holds becomes the other.
    """
    if type(ctx) is Context:
        ctx.__class__ = AsyncContext  # type: ignore[assignment]
    return await value


class _Steps:
    """The dependencies as steps with automatic keys."""

    def __init__(self, ctx: Any) -> None:  # Any: either context
        self._ctx = ctx

    def __getattr__(self, name: str) -> Callable[..., Any]:
        ctx = self._ctx
        if name not in ctx._run.deps:  # noqa: SLF001 - one module
            raise MisuseError(f"ctx.steps.{name}: no dependency is called {name!r}; give it to create_workflow")

        def call(*args: Any, **kwargs: Any) -> Any:
            return ctx._run_step(ctx._automatic(name, args, kwargs))  # noqa: SLF001 - one module

        return call
