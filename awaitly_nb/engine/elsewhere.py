"""How a step is called: handles among its arguments become values where it runs, and a lazy result may stay there.

With a cluster and a shared cache the worker writes a lazy result itself, signed with its own user's secret, and sends
back where it lies. The secrets stay where they are; the notebook tells the public names of those it trusts.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import Recipe, Stored, holds_handles, loaded, recipe_of
from awaitly_nb.codec import default_keyring
from awaitly_nb.errors import CacheUnusableWarning, ForeignSecretWarning
from awaitly_nb.executors import is_awaitable, resolve, tells_no_files
from awaitly_nb.keys import joined, track_files, tracked_from
from awaitly_nb.result import Err, Mark, Ok, mark_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine.options import StepSpec
    from awaitly_nb.engine.run import Run
    from awaitly_nb.keys import FileTracker
    from awaitly_nb.result import Result

__all__ = ["Kept", "Loading", "Read", "Returned", "There", "arrived", "as_called", "call_of"]


@dataclass(frozen=True, slots=True)
class _Ticket:
    """What a worker needs to keep one result."""

    key: str
    ttl_s: float | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Kept:
    """What a worker answers that has kept its result."""

    size_bytes: int | None
    digest: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Returned:
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


class There(Loading):
    """The same, on a worker that keeps the result itself."""

    def __init__(self, func: Callable[..., Any], recipe: Recipe) -> None:  # Any: the user's function
        super().__init__(func)
        self.recipe = recipe
        self.trusted = default_keyring().ids()

    def __call__(self, ticket: _Ticket, /, *args: Any, **kwargs: Any) -> Any:  # Any: of the user's function
        """Call the function, keep what it returns, and return where it lies."""
        started = time.perf_counter()
        home = tracked_from()
        tracker = None if home is None else track_files(home=home)
        with tracker or nullcontext():
            value = super().__call__(*args, **kwargs)
        if is_awaitable(value):
            return self._awaited(ticket, value, started, tracker)
        return self._kept(ticket, value, time.perf_counter() - started, tracker)

    async def _awaited(
        self, ticket: _Ticket, value: Any, started: float, tracker: FileTracker | None
    ) -> Any:  # Any: of the user's function
        with tracker or nullcontext():
            value = await value
        return self._kept(ticket, value, time.perf_counter() - started, tracker)

    def _kept(
        self, ticket: _Ticket, value: Any, duration_s: float, tracker: FileTracker | None
    ) -> Any:  # Any: of the user's function
        if isinstance(value, Err):
            return value
        secret = default_keyring().own.id
        if secret not in self.trusted:
            return Returned(
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
        except Exception as exc:  # noqa: BLE001 - the stranger is any store's server; the notebook tries, and tells
            head, why = None, f"{type(exc).__name__}: {exc}"
        else:
            why = "it is not there after the write"
        if head is None:
            return Returned(value, f"a worker could not keep a result in the shared cache ({why})")
        return Kept(head.get("size_bytes"), str(head.get("signature", "")), mark)


@dataclass(frozen=True, slots=True)
class Read:
    """What a call in another process answers: what it returned, and the files that it read."""

    value: Any  # Any: the user's value
    files: tuple[Any, ...]  # Any: plain JSON data


class Watched:
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
        return Read(value, tracker.stamps())


def call_of(spec: StepSpec, cache: StepCache | None) -> Loading:
    """Return what is called in place of the step's function where it runs in another process."""
    if spec.lazy and getattr(resolve(spec.executor), "is_cluster", False) and (recipe := recipe_of(cache)) is not None:
        return There(spec.fn, recipe)
    return Loading(spec.fn)


def as_called(spec: StepSpec, cache: StepCache | None, mark: Callable[[], Mark]) -> StepSpec:
    """Return the step as it is to be called."""
    if spec.lazy and spec.key is not None:
        call = spec.call or call_of(spec, cache)
        if isinstance(call, There):
            ticket = _Ticket(spec.key, spec.ttl_s, mark())
            return replace(spec, fn=call, args=(ticket, *spec.args))
    if holds_handles(spec.args, spec.kwargs.values()):
        spec = replace(spec, fn=Loading(spec.fn))
    if tells_no_files(resolve(spec.executor)) and (home := tracked_from()) is not None:
        spec = replace(spec, fn=Watched(spec.fn, home))
    return spec


def arrived(run: Run, spec: StepSpec, result: Result[Any, Any]) -> tuple[Result[Any, Any], bool]:
    """Return what a call came to, with a handle where a worker has kept it; and True then."""
    if not isinstance(result, Ok):
        return result, False
    answer = result.value
    if isinstance(answer, Kept):
        assert spec.key is not None
        stored = Stored(spec.key, answer.size_bytes, answer.digest, run.cache)
        return Ok(stored, _mark=answer.mark), True
    if isinstance(answer, Returned):
        category = ForeignSecretWarning if answer.foreign else CacheUnusableWarning
        run.warn_once(f"lazy results pass through this process: {answer.why}", category)
        value = answer.value
        return Ok(value.value if isinstance(value, Ok) else value, _mark=mark_of(result)), False
    return result, False
