"""Where a step's function runs: in the calling thread, in another one, or wherever something with `submit` runs it.

An executor only runs a function. The key, the look-up, the lock and the events stay with the engine.
"""

from __future__ import annotations

from types import CodeType, CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from awaitly_nb.doors import door
from awaitly_nb.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from awaitly_nb.executors.thread import THREAD as THREAD, in_private_loop as in_private_loop
else:
    __getattr__ = door(__name__, {"thread": "THREAD in_private_loop"})

__all__ = [
    "THREAD",
    "Executor",
    "check_may_block",
    "in_private_loop",
    "is_async_function",
    "is_awaitable",
    "is_generator_function",
    "resolve",
    "tells_no_files",
]


class Executor(Protocol):
    """Something that runs functions elsewhere, such as a `concurrent.futures.Executor`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start `fn(*args, **kwargs)`, and return its future."""


def resolve(executor: object) -> Executor | None:
    """Return the executor that was named; None for the calling thread itself.

    Raises
    ------
    InvalidOptionError
        It is neither a known name nor something with `submit`.
    """
    match executor:
        case "inline":
            return None
        case "thread":
            from awaitly_nb.executors.thread import THREAD

            return THREAD
        case "process":
            from awaitly_nb.executors.workers import PROCESS

            return PROCESS
    if _is_client(executor):
        from awaitly_nb.executors.cluster import ClusterExecutor

        return ClusterExecutor(executor)
    if callable(getattr(executor, "submit", None)):
        return cast(Executor, executor)
    raise InvalidOptionError(
        f'executor={executor!r} is unknown; use "inline", "thread", "process", a dask client, or what has submit()'
    )


def tells_no_files(executor: Executor | None) -> bool:
    """Tell whether this is an executor of the user's own, which knows nothing of the files that a call reads."""
    return executor is not None and not getattr(executor, "tells_files", False)


def check_may_block(executor: Executor | None) -> None:
    """Raise MisuseError where waiting for `executor` in this thread would be waiting for ever."""
    if (check := getattr(executor, "check_may_block", None)) is not None:
        check()


def _is_client(value: object) -> bool:
    """Tell whether `value` is a dask client, without importing dask."""
    return any(cls.__module__ == "distributed.client" and cls.__name__ == "Client" for cls in type(value).__mro__)


def is_awaitable(value: object) -> bool:
    """Tell whether `value` is to be awaited."""
    kind = type(value)
    return kind not in _PLAIN and (kind is CoroutineType or hasattr(kind, "__await__"))


_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, set, dict})
"""What is told without asking for an attribute that is not there, which takes longer."""


# Flags of code objects, as `inspect` has them, which would be loaded for nothing else.
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200


def is_async_function(fn: object) -> bool:
    """Tell whether calling `fn` makes a coroutine, as far as can be seen without calling it."""
    return _is_flagged(fn, _COROUTINE) or getattr(fn, "_is_coroutine_marker", None) is not None


def is_generator_function(fn: object) -> bool:
    """Tell whether calling `fn` makes a generator, plain or asynchronous, as far as can be seen without calling it."""
    return _is_flagged(fn, _GENERATOR | _ASYNC_GENERATOR)


def _is_flagged(fn: object, flags: int) -> bool:
    while (inner := getattr(fn, "func", None)) is not None and callable(inner):
        fn = inner  # functools.partial
    call = vars(type(fn)).get("__call__")  # of an object with `async def __call__`
    return any(_flags_of(one) & flags for one in (fn, call) if one is not None)


def _flags_of(fn: object) -> int:
    fn = getattr(fn, "__func__", fn)
    code = getattr(fn, "__code__", None) if isinstance(fn, FunctionType) or callable(fn) else None
    return code.co_flags if isinstance(code, CodeType) else 0
