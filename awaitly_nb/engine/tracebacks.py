"""Tracebacks as the user's code makes them: without the frames of this package, and of the event loop below them.

They are cut where an exception is caught, so that a step that ends well pays nothing for it.
"""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from awaitly_nb.errors import AwaitlyError

__all__ = ["without_machinery"]

E = TypeVar("E", bound=BaseException)

_OURS = "awaitly_nb."
_BELOW_OURS = frozenset({"asyncio", "concurrent", "contextlib", "nest_asyncio2", "threading"})
"""What calls the user's code on our behalf."""


def without_machinery(exc: E) -> E:
    """Return the same exception, and those it came from, with the frames of the user's code only."""
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
    kept: list[TracebackType] = []
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
            kept.append(found)
            last = []
        found = found.tb_next
    made: TracebackType | None = None
    for one in reversed([*kept, *last] if whole_end else kept):
        made = TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return made
