"""What functions behind `functools.cache` remember, and how often they were asked: `f.cache_info()` tells both.

Python has no way to set the counts. So as many calls are made: hits of an entry that is put there for it, and misses by
a call that the function cannot take, of which nothing runs.
"""

from __future__ import annotations

import gc
import inspect
from contextlib import suppress
from types import FunctionType
from typing import Any, Final

from awaitly_nb.notebook.session.kind import CannotRestoreError

__all__ = ["count_again", "counts_of", "memo_of"]

# Any, throughout: a function behind a cache, and what it remembers.

_MOST_HITS: Final = 2_000_000
_MOST_MISSES: Final = 200_000
_NOBODY_TAKES: Final = "an argument that no function takes"


def memo_of(value: Any) -> dict[Any, Any] | None:
    """Return the dict of results; None where it also holds their order, or is hidden."""
    if value.cache_parameters()["maxsize"] is not None:
        return None
    held = [part for part in gc.get_referents(value) if type(part) is dict and part is not value.__dict__]
    return held[0] if len(held) == 1 and len(held[0]) == value.cache_info().currsize else None


def counts_of(value: Any) -> tuple[int, int]:
    """Return how often it knew an answer, and how often it did not.

    Raises
    ------
    CannotRestoreError
        No other can be brought to the same counts.
    """
    info = value.cache_info()
    wrapped = value.__wrapped__
    if info.misses and _call_it_refuses(wrapped) is None:
        raise CannotRestoreError(f"it calls {getattr(wrapped, '__name__', wrapped)}, whose cache counts its calls")
    if info.hits > _MOST_HITS or info.misses > _MOST_MISSES:
        raise CannotRestoreError(f"it calls {wrapped.__name__} so often that its cache cannot be restored")
    return info.hits, info.misses


def count_again(value: Any, counts: tuple[int, int]) -> None:
    """Empty a cache, and bring it to these counts; raises nothing for those that `counts_of` gave."""
    hits, misses = counts
    value.cache_clear()
    memo = memo_of(value)
    assert memo is not None
    key = (_NOBODY_TAKES, str) if value.cache_parameters()["typed"] else _NOBODY_TAKES
    memo[key] = None
    for _ in range(hits):
        value(_NOBODY_TAKES)
    args, kwargs = (_call_it_refuses(value.__wrapped__) if misses else None) or ((), {})
    for _ in range(misses):
        with suppress(TypeError):
            value(*args, **kwargs)
    memo.clear()


def _call_it_refuses(function: object) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return arguments that a function of Python cannot take; None where it takes all, or is something else."""
    if not isinstance(function, FunctionType):
        return None
    code = function.__code__
    if not code.co_flags & inspect.CO_VARKEYWORDS:
        return (), {_NOBODY_TAKES: None}
    return None if code.co_flags & inspect.CO_VARARGS else ((None,) * (code.co_argcount + 1), {})
