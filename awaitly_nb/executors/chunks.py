"""A cluster worker's side: short calls come several at a time, and a long one among them holds up none of the others.

A scheduler spends a millisecond or two on each task, so calls shorter than that travel together. A chunk ends early
when it takes longer than thought; and while one of its calls runs long, the replies of those before it and the calls
behind it can be taken back.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, TypeAlias

from awaitly_nb.codec import from_bytes
from awaitly_nb.executors.workers import answer, interrupt_here, interruptible

__all__ = ["Replies", "stop_chunks", "take_back", "work_on"]

Replies: TypeAlias = list[tuple[int, bytes]]
"""Which call of the chunk, and its reply."""


class _Chunk:
    def __init__(self, calls: list[bytes]) -> None:
        # Ends of a deque may be taken by two threads; whoever takes a call answers for it.
        self.left = deque(enumerate(calls))
        self.replies: Replies = []


_running: dict[str, _Chunk] = {}
_stopped: deque[str] = deque(maxlen=4096)


def work_on(function: bytes, calls: list[bytes], token: str, budget_s: float, home: str | None = None) -> Replies:
    """Run packed calls of one function, and return the replies of those that were begun.

    Parameters
    ----------
    function
        `to_bytes((fn, args, kwargs))`: what the calls have in common.
    calls
        For each call `to_bytes(first)`, the positional arguments before the common ones.
    token
        Names this chunk.
    budget_s
        Seconds after which no further call is begun.
    home
        As for `answer`.
    """
    chunk = _running[token] = _Chunk(calls)
    if token in _stopped:
        chunk.left.clear()
    started = time.perf_counter()

    def made() -> Any:  # Any: whatever the user's function returns
        # Anew for each call: what one does to a generator or a list that they share must not depend on who came before.
        fn, args, kwargs = from_bytes(function)
        return fn(*from_bytes(first), *args, **kwargs)

    try:
        with interruptible(token):
            while chunk.left:
                try:
                    index, first = chunk.left.popleft()
                except IndexError:
                    break  # taken back in this moment
                chunk.replies.append((index, answer(made, home)))
                if time.perf_counter() - started > budget_s:
                    break
    except KeyboardInterrupt:
        pass  # it hit between two calls; what has ended is told all the same
    finally:
        _running.pop(token, None)
    return chunk.replies


async def stop_chunks(tokens: list[str]) -> None:
    """Interrupt the running calls of these chunks, and begin none of those behind them."""
    # A coroutine, as the next one, because dask waits for the answer of a plain function.
    for token in tokens:
        if (chunk := _running.get(token)) is not None:
            chunk.left.clear()
            interrupt_here(token)
        else:
            _stopped.append(token)  # it may be on its way, and a task that has begun is not cancelled by dask


async def take_back(tokens: list[str]) -> list[tuple[str, Replies, list[int]]]:
    """Return, of the chunks that run here, the replies so far and the calls that were not begun, and are not begun now.

    The replies are told once more at the chunk's end, so that an answer of this that gets lost costs nothing.
    """
    found = []
    for token in tokens:
        if (chunk := _running.get(token)) is not None:
            left = []
            while chunk.left:
                left.append(chunk.left.pop()[0])
            found.append((token, list(chunk.replies), left[::-1]))
    return found
