"""`@aw.step`: a function whose results are cached, keyed by its code and its arguments, in any cell or script."""

from __future__ import annotations

import functools
import os
import sys
import time
from contextvars import ContextVar
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from awaitly_nb.cache import as_step_cache, open_default
from awaitly_nb.config import generation, settings, stamp_of_folder
from awaitly_nb.engine import (
    RECENT,
    Emitter,
    Leave,
    Run,
    Serve,
    StepSpec,
    Why,
    explain_hit,
    explain_miss,
    look_up,
    parse_cache_errors,
    perform,
)
from awaitly_nb.errors import MisuseError, UncachedWarning, UnkeyableError, warn
from awaitly_nb.events import WorkflowCancelled
from awaitly_nb.executors import is_async_function
from awaitly_nb.keys import step_parts
from awaitly_nb.result import Err, Ok, mark_of
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from datetime import timedelta

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine import CacheErrors, Outcome
    from awaitly_nb.keys import Parts
    from awaitly_nb.result import Result

__all__ = ["StepFunction", "run_step", "run_step_async", "standing_run", "step"]

P = ParamSpec("P")
R = TypeVar("R")

_LOOK_EVERY_S = 0.25

_rebuilding: ContextVar[bool] = ContextVar("awaitly_nb_rebuilding", default=False)


class StepFunction(Generic[P, R]):
    """A function whose results are cached. Made by `step`; calling it returns what the function returns.

    Attributes
    ----------
    name
        The step's id, and the namespace of its keys.
    version
        What was given as `version=`.
    """

    # Slots, so that the dict holds what a function's would: what it wraps, and what was set on it from outside.
    __slots__ = (
        *("__dict__", "__weakref__", "_async", "_bound", "_boxed", "_fn", "_looked", "_options", "_run"),
        *("_stamp", "name", "version"),
    )

    def __init__(self, fn: Callable[P, R], options: dict[str, Any], bound: object = None) -> None:  # Any: see `step`
        self._fn = fn
        self._boxed = _Boxed(fn)
        self._options = options
        self._bound = () if bound is None else (bound,)
        self.name: str = options["name"] or _name_of(fn)
        self.version: object = options["version"]
        self._async = is_async_function(fn)
        self._run: Run | None = None
        self._stamp: tuple[object, ...] = ()
        self._looked = 0.0
        functools.update_wrapper(self, fn)
        if bound is not None:  # what is wrapped then takes no `self`, and holds the object
            self.__wrapped__ = MethodType(fn, bound)
        if self._async:
            import inspect

            if hasattr(inspect, "markcoroutinefunction"):
                inspect.markcoroutinefunction(self)

    def __repr__(self) -> str:
        return f"<step {self.name!r}>"

    def __get__(self, instance: object, owner: type | None = None) -> StepFunction[..., R]:
        if instance is None:
            return self
        return StepFunction(self._fn, self._options, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns for these arguments, from the cache on a hit."""
        __tracebackhide__ = True
        spec = self._spec_or_uncached(args, kwargs)
        if self._async:
            return self._call_async(spec)  # type: ignore[return-value]  # R is a coroutine then
        return _value(run_step(self._standing(), spec).result)  # type: ignore[no-any-return]

    async def _call_async(self, spec: StepSpec) -> Any:  # Any: the user's value
        __tracebackhide__ = True
        return _value(await self._result_async(spec))

    async def _result_async(self, spec: StepSpec) -> Result[Any, Any]:
        return (await run_step_async(standing_run(self.name, self._cache()), spec)).result

    def result(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # Any: a Result, or a coroutine of one
        """Call, but return the `Result` in place of the value; an exception is an `Err` with its cause."""
        spec = self._spec_or_uncached(args, kwargs)
        return self._result_async(spec) if self._async else run_step(self._standing(), spec).result

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call.

        Raises
        ------
        UnkeyableError
            An argument has no fingerprint; the message names the path to it.
        """
        key = self._spec(args, kwargs).key
        assert key is not None
        return key

    def is_cached(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Tell whether this call would be served without running the function."""
        return isinstance(look_up(self._standing(), self._spec(args, kwargs)), Serve)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the cached result of this call; return whether there was one."""
        return self._cache().delete(self.key(*args, **kwargs))

    def why(self, *args: P.args, **kwargs: P.kwargs) -> Why:
        """Return why this call would hit, or which part of its key is new since the nearest cached result.

        Raises
        ------
        UnkeyableError
            An argument has no fingerprint.
        """
        run, spec = self._standing(), self._spec(args, kwargs)
        decision = look_up(run, spec)
        if isinstance(decision, Serve):
            return explain_hit(spec, decision, run.now())
        return explain_miss(run, spec, decision)

    def __reduce__(self) -> Any:  # Any: what pickle takes
        module = sys.modules.get(self._fn.__module__)
        home: object = module
        for part in self._fn.__qualname__.split("."):
            home = getattr(home, part, None)
        if home is self and (self._fn.__module__ != "__main__" or _rebuilding.get()):
            return self._fn.__qualname__
        if self._bound:
            return getattr, (self._bound[0], self._fn.__name__)
        # A function of a notebook has no module that a worker could import, so it travels by value.
        from awaitly_nb.codec import is_travelling, to_bytes

        token = _rebuilding.set(True)  # a recursive function refers to this object again: by name, then
        try:
            return _rebuild, (to_bytes(self._fn, travels=is_travelling()), self._options)
        finally:
            _rebuilding.reset(token)

    def _cache(self) -> StepCache:
        cache = self._standing().cache
        assert cache is not None
        return cache

    def _standing(self) -> Run:
        # Finding the default folder takes some ten system calls; a hit costs less than that. So what was found holds
        # for a moment, unless what decides it is seen to change.
        stamp = (stamp_of_folder(), generation(), os.getpid())
        now = time.monotonic()
        if self._run is None or stamp != self._stamp or now > self._looked + _LOOK_EVERY_S:
            cache = self._options["cache"]
            found = open_default(self.name) if cache is None else as_step_cache(cache)
            if self._run is None or self._run.cache is not found:
                self._run = standing_run(self.name, found)
            self._stamp, self._looked = stamp, now
        return self._run

    def _spec_or_uncached(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepSpec:
        try:
            return self._spec(args, kwargs)
        except UnkeyableError as exc:
            warn(f"step {self.name!r} runs uncached: {exc}", UncachedWarning)
            return self._made((*self._bound, *args), kwargs)

    def _spec(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepSpec:
        args = (*self._bound, *args)
        if (template := self._options["key"]) is not None:
            return self._made(args, kwargs, self._filled(template, args, kwargs))
        parts = self._parts(args, kwargs)
        return self._made(args, kwargs, parts.key, parts)

    def _parts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Parts:
        options = self._options
        return step_parts(self._fn, args, kwargs, name=self.name, ignore=options["ignore"], version=options["version"])

    def _made(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None, parts: Parts | None = None
    ) -> StepSpec:
        options = self._options
        return StepSpec(
            self.name,
            self._boxed,
            args,
            kwargs,
            key,
            options["ttl_s"],
            cache_errors=options["cache_errors"],
            parts=parts,
            reread=None if parts is None else lambda: self._parts(args, kwargs),
        )

    def _filled(self, template: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        import inspect

        from awaitly_nb.workflow.template import fill

        bound = inspect.signature(self._fn).bind(*args, **kwargs)
        bound.apply_defaults()
        return fill(template, bound.arguments, step=self.name)


def _value(result: Result[Any, Any]) -> Any:  # Any: the user's value
    """Return what the function returned; raise what it raised."""
    __tracebackhide__ = True
    if isinstance(result, Ok):
        return result.value
    mark = mark_of(result)
    if mark is not None and mark.origin == "throw" and isinstance(result.cause, BaseException):
        raise result.cause
    return Err(result.error, result.cause)


class _Boxed:
    """The function, with an `Ok` that it returns as a value, so that the caller gets back what it returned."""

    __slots__ = ("__wrapped__",)

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.__wrapped__ = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        value = self.__wrapped__(*args, **kwargs)
        return Ok(value) if isinstance(value, Ok) else value


def _rebuild(fn: bytes, options: dict[str, Any]) -> StepFunction[..., Any]:
    from awaitly_nb.codec import from_bytes

    return StepFunction(from_bytes(fn), options)


def _name_of(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__qualname__", type(fn).__name__).replace("<locals>.", "")
    module = getattr(fn, "__module__", None)
    return name if module in (None, "__main__") else f"{module}.{name}"


@overload
def step(fn: Callable[P, R], /) -> StepFunction[P, R]: ...


@overload
def step(
    *,
    key: str | None = None,
    ttl: float | timedelta | str | None = None,
    ignore: str | tuple[str, ...] = (),
    version: object = None,
    name: str | None = None,
    cache: StepCache | MutableMapping[str, Any] | None = None,
    cache_errors: CacheErrors = "returned",
) -> Callable[[Callable[P, R]], StepFunction[P, R]]: ...


def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    key: str | None = None,
    ttl: float | timedelta | str | None = None,
    ignore: str | tuple[str, ...] = (),
    version: object = None,
    name: str | None = None,
    cache: StepCache | MutableMapping[str, Any] | None = None,
    cache_errors: CacheErrors = "returned",
) -> Any:  # Any: see the overloads
    """Cache what a function returns, by its code and its arguments.

    A raised exception goes to the caller unchanged and is not cached; a returned `Err` is. An argument without a
    fingerprint makes the call run uncached, with a warning that names it.

    Parameters
    ----------
    fn
        The function: plain, async, or a method.
    key
        A key of your own as a template over the arguments, such as "raw:{path}"; then code and arguments do not count.
    ttl
        How long a result may be served: seconds, a timedelta, or text such as "7d".
    ignore
        Name or names of arguments that make no difference to the result.
    version
        Counts into the key: raise it to compute everything anew.
    name
        The step's id and namespace; by default the function's qualified name.
    cache
        Where results are stored; by default the default disk cache, resolved at each call.
    cache_errors
        Which failures are replayed; exceptions never are.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> @aw.step(cache={})
    ... def square(x):
    ...     print("computing")
    ...     return x * x
    >>> square(3), square(3)
    computing
    (9, 9)
    """
    if key is not None:
        from awaitly_nb.workflow.template import check_template

        check_template(key)
    options = {
        "key": key,
        "ttl_s": None if ttl is None else parse_duration(ttl, name="ttl"),
        "ignore": (ignore,) if isinstance(ignore, str) else tuple(ignore),
        "version": version,
        "name": name,
        "cache": cache,
        "cache_errors": "none" if parse_cache_errors(cache_errors) == "none" else "returned",
    }
    return _checked(fn, options) if fn is not None else lambda function: _checked(function, options)


def _checked(fn: object, options: dict[str, Any]) -> StepFunction[..., Any]:
    if isinstance(fn, staticmethod | classmethod):
        kind = type(fn).__name__
        raise MisuseError(f"@aw.step was given a {kind}, which is no function yet; put @{kind} above @aw.step")
    if not callable(fn):
        raise MisuseError(f"@aw.step was given a {type(fn).__name__}; write @aw.step, or @aw.step(key=..., ttl=...)")
    made: StepFunction[..., Any] = StepFunction(fn, options)
    if options["key"] is not None:
        _check_key(fn, options["key"], made.name)
    if options["ignore"]:
        _check_ignored(fn, options["ignore"], made.name)
    return made


def _check_key(fn: Callable[..., Any], template: str, name: str) -> None:
    import inspect

    from awaitly_nb.workflow.template import check_template

    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):  # a builtin, of which nobody knows the arguments
        return
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        check_template(template, parameters, step=name)


def _check_ignored(fn: Callable[..., Any], ignore: tuple[str, ...], name: str) -> None:
    import inspect

    try:
        # A wrapper is called as what it wraps, and may have keyword-only arguments of its own beside.
        signatures = inspect.signature(fn), inspect.signature(fn, follow_wrapped=False)
    except (TypeError, ValueError):  # a builtin, of which nobody knows the arguments
        return
    known = {name: parameter for signature in signatures[::-1] for name, parameter in signature.parameters.items()}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signatures[0].parameters.values()):
        return
    unknown = [found for found in ignore if not isinstance(found, str) or found.lstrip("*") not in known]
    if unknown:
        shown = ", ".join(map(repr, unknown))
        raise MisuseError(
            f"ignore= of step {name!r} names {shown}, which is no argument; "
            f"there are: {', '.join(signatures[0].parameters) or 'none'}"
        )


def standing_run(name: str, cache: StepCache | None) -> Run:
    """Return a run for steps outside a workflow, under `name`.

    It has no body, no end and no memory of its own; the cache is its memory.
    """
    return Run(
        workflow=name,
        run_id=f"{name}@{os.getpid()}",
        cache=cache,
        emitter=Emitter([]),
        log=RECENT,
        remember=False,
        track_files=settings().track_files,
    )


def run_step(run: Run, spec: StepSpec) -> Outcome:
    """Carry out one step of a standing run, blocking, and return what it did.

    Raises
    ------
    NotCachedError
        Nothing is cached, and the step is `read_only`.
    """
    __tracebackhide__ = True
    try:
        return perform(run, spec)
    except (Exception, Leave):
        raise
    except BaseException as exc:
        _tell_of(run, exc)
        raise


async def run_step_async(run: Run, spec: StepSpec) -> Outcome:
    """Do as `run_step`, awaiting what the step's function returns."""
    from awaitly_nb.engine import perform_async

    try:
        return await perform_async(run, spec)
    except Leave:
        if run.interrupt is None:
            raise
        _tell_of(run, run.interrupt)
        raise run.interrupt from None
    except Exception:
        raise
    except BaseException as exc:
        _tell_of(run, exc)
        raise


def _tell_of(run: Run, exc: BaseException) -> None:
    """Tell that a step was cut short: a standing run has no end that would."""
    run.emit(WorkflowCancelled, last_step_key=run.last_step_key, error=None, reason=type(exc).__name__, duration_s=0.0)
