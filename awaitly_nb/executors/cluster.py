"""A `dask.distributed` client as an executor, synchronous or asynchronous; many calls of one function go in chunks.

The scheduler does what it is good at: it places calls, and runs them again when a worker dies. Keys, look-ups, locks
and events stay in the notebook's process.

A chunk lasts about a tenth of a second. The first ones hold one call each. As long as calls turn out to be short the
chunks grow, and they shrink at once when calls turn out to be long. Each call has a future of its own: it ends, fails
and is stored by itself.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec import to_bytes
from awaitly_nb.errors import MisuseError
from awaitly_nb.executors.chunks import stop_chunks, take_back, work_on
from awaitly_nb.executors.workers import RelayFuture

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from concurrent.futures import Future

    from awaitly_nb.executors.chunks import Replies

__all__ = ["Batch", "ClusterExecutor"]


class ClusterExecutor:
    """Runs each call on a cluster.

    Parameters
    ----------
    client
        A `distributed.Client`.
    """

    is_cluster = True
    tells_files = True

    def __init__(self, client: Any) -> None:  # Any: of a package that may not be installed
        self.client = client

    def threads(self) -> int:
        """Return how many calls the cluster can run at once, at least 1."""
        info = self.client.scheduler_info()
        workers = info["workers"].values()
        # An asynchronous client knows the total alone, older versions of dask the workers alone.
        threads: int = info.get("total_threads") or sum(worker["nthreads"] for worker in workers)
        return max(1, threads)

    def check_may_block(self) -> None:
        """Raise MisuseError where waiting for the cluster in this thread would be waiting for ever."""
        import asyncio

        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        if running is self.client.loop.asyncio_loop:
            raise MisuseError(
                "a plain body would block the event loop that its asynchronous dask client runs on; "
                "write the body as `async def` and await its steps, or give a synchronous client"
            )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start `fn(*args, **kwargs)` on the cluster, and return its future; cancelling it interrupts the worker."""
        return self.batch(fn, args, kwargs).submit(fn, *args, **kwargs)

    def batch(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """Return an executor for many calls of one function, which travels once and not with each call.

        Parameters
        ----------
        args, kwargs
            The arguments that all calls have in common, the last ones.
        """
        return Batch(self, fn, args, kwargs)

    def result(self, done: Any) -> Any:  # Any: a dask future, and what it holds
        """Return what a finished task returned; for use in dask's callbacks."""
        reply = done.result()
        return self.soon(reply).result() if hasattr(type(reply), "__await__") else reply

    def interrupt(self, tasks: Mapping[str, Any]) -> None:  # Any: dask futures
        """Have tasks, by the names of their chunks, not started, or interrupted where they run."""
        for asked in (
            self.client.run(stop_chunks, list(tasks), wait=False),
            self.client.cancel(list(tasks.values())),
        ):
            if hasattr(type(asked), "__await__"):
                self.soon(asked)

    def soon(self, awaitable: Awaitable[Any]) -> Future[Any]:  # Any: whatever it comes to
        """Have something awaited on the client's own event loop."""
        import asyncio

        async def awaited() -> Any:  # Any: whatever it comes to
            return await awaitable

        return asyncio.run_coroutine_threadsafe(awaited(), self.client.loop.asyncio_loop)


_CHUNK_S: Final = 0.1
_BUDGET_S: Final = 0.4
_LATE_S: Final = 1.0
_LOOK_S: Final = 5.0
_MOST: Final = 64
_MOST_UNDER_WAY: Final = 2048
_LARGE_BYTES: Final = 100_000


class _BatchCall(RelayFuture):
    """One call; `chunk` names the chunk that it travels in, and `alone` says that it must not share one.

    dask blames every call that a lost worker had before it, so one that was blamed is tried once more `by_itself`.
    """

    def __init__(self, batch: Batch, first: bytes) -> None:
        super().__init__(batch.interrupt)
        self.first = first
        self.chunk = ""
        self.alone = False
        self.by_itself = False


@dataclass(slots=True)
class _Sent:
    calls: list[_BatchCall]
    task: Any = None  # Any: a dask future


class Batch:
    """An executor for calls that differ in their first arguments only.

    Parameters
    ----------
    cluster
        Where they run.
    fn, args, kwargs
        What they have in common.
    """

    is_cluster = True
    tells_files = True

    def __init__(
        self, cluster: ClusterExecutor, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._cluster = cluster
        self._common = len(args)
        self._name = getattr(fn, "__name__", "step").strip("<>")
        self._whole: Any = (fn, args, dict(kwargs))  # Any: the user's
        self._packed: Any = None  # Any: bytes, or a dask future of them
        self._threads = 1
        self._looked_at = -_LOOK_S
        self._size = 1
        self._waiting: deque[_BatchCall] = deque()
        self._blamed: deque[_BatchCall] = deque()
        self._chunks: dict[str, _Sent] = {}
        self._watched = False
        self._over = False
        self._lock = threading.RLock()

    @property
    def concurrency(self) -> int:
        """How many calls to hand over at once: two chunks for every thread of the cluster, and as many in stock."""
        return max(4, 4 * self._threads * self._size)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ARG002 - known
        """Start a call, soon, and return its future; cancelling it interrupts the worker."""
        call = _BatchCall(self, to_bytes(args[: len(args) - self._common]))
        with self._lock:
            if self._packed is None:
                self._pack()
            self._waiting.append(call)
            # Else the next chunk that ends takes it along.
            if len(self._waiting) >= self._size or not self._chunks:
                self._send(self._size)
        return call

    def _pack(self) -> None:
        # At the first call, and not before: a map that is all hits asks nothing of the function and of the cluster.
        packed = to_bytes(self._whole)
        # A task's arguments go through the scheduler, its dependencies once from worker to worker.
        self._packed = packed if len(packed) < _LARGE_BYTES else self._cluster.client.submit(bytes, packed, pure=False)
        self._look()

    def _look(self) -> None:
        """Notice workers that came or went."""
        if time.monotonic() > self._looked_at + _LOOK_S:
            self._threads = self._cluster.threads()
            self._looked_at = time.monotonic()

    def interrupt(self) -> None:
        """Have nothing more begun, and what runs interrupted: who cancels one call of a map cancels all of them."""
        with self._lock:
            if self._over:
                return
            self._over = True
            calls = [*self._waiting, *self._blamed, *(call for sent in self._chunks.values() for call in sent.calls)]
            self._waiting.clear()
            self._blamed.clear()
            self._cluster.interrupt({token: sent.task for token, sent in self._chunks.items()})
        for call in calls:
            call.take(lambda: _raise(CancelledError()))

    def _send(self, size: int) -> None:
        while self._waiting and len(self._chunks) < 2 * self._threads:
            calls = [self._waiting.popleft()]
            while len(calls) < size and self._waiting and not (calls[0].alone or self._waiting[0].alone):
                calls.append(self._waiting.popleft())
            self._send_chunk(calls)
        if self._blamed and not self._waiting and not self._chunks:
            self._send_chunk([self._blamed.popleft()])

    def _send_chunk(self, calls: list[_BatchCall]) -> None:
        token = uuid.uuid4().hex
        sent = self._chunks[token] = _Sent(calls)
        for call in calls:
            call.chunk = token
        sent.task = self._cluster.client.submit(
            work_on,
            self._packed,
            [call.first for call in calls],
            token,
            _BUDGET_S,
            next((call.home for call in calls if call.home is not None), None),
            key=f"{self._name}-{token}",
            pure=False,
        )
        sent.task.add_done_callback(lambda done: self._ended(token, done))
        if len(calls) > 1 and not self._watched:
            self._watched = True
            self._cluster.soon(self._take_back_late())

    def _ended(self, token: str, done: Any) -> None:  # Any: a dask future
        lost: BaseException | None = None
        replies: Replies = []
        try:
            replies = self._cluster.result(done)
        except BaseException as exc:  # noqa: BLE001 - a lost worker or cluster; told by each call's future
            lost = exc
        else:
            self._look()
        with self._lock:
            calls = self._chunks.pop(token).calls
            if self._over:
                return
            known = {index for index, _ in replies}
            left = [i for i, call in enumerate(calls) if i not in known and call.chunk == token and not call.done()]
            again = lost is None or (len(calls) > 1 and done.status == "error")
            for index in left:
                # One call of the chunk may be what kills workers. It must not take the others along.
                calls[index].alone = lost is not None
            if again:
                self._take_up([calls[index] for index in left])
            elif left and done.status == "error" and not calls[left[0]].by_itself:
                calls[left[0]].by_itself = again = True
                self._blamed.append(calls[left[0]])
            # What waits is shared out, so that at the end no worker sits idle.
            self._send(max(1, min(self._size, -(-len(self._waiting) // self._threads))))
        self._relay(calls, replies)
        if lost is not None and not again:
            for index in left:
                calls[index].take(lambda: _raise(lost))

    def _take_up(self, calls: list[_BatchCall]) -> None:
        self._waiting.extendleft(reversed(calls))

    def _relay(self, calls: list[_BatchCall], replies: Replies) -> None:
        for index, reply in replies:
            calls[index].take(lambda reply=reply: reply)  # type: ignore[misc]
        took = [calls[index].took_s or 0.0 for index, _ in replies]
        if took:
            fits = int(_CHUNK_S * len(took) / max(sum(took), 1e-6))
            self._size = max(1, min(fits, 2 * self._size, _MOST, _MOST_UNDER_WAY // (4 * self._threads)))

    async def _take_back_late(self) -> None:
        """While chunks of several calls are under way: take back what one long call keeps from its neighbours."""
        import asyncio

        while True:
            with self._lock:
                before = [token for token, sent in self._chunks.items() if len(sent.calls) > 1]
                if not before or self._over:
                    self._watched = False
                    return
            await asyncio.sleep(_LATE_S)
            if late := [token for token in before if token in self._chunks]:
                found = await self._cluster.client.run(take_back, late, on_error="ignore")
                await asyncio.to_thread(self._taken_back, [chunk for worker in found.values() for chunk in worker])

    def _taken_back(self, found: list[tuple[str, Replies, list[int]]]) -> None:
        for token, replies, left in found:
            with self._lock:
                if self._over or (sent := self._chunks.get(token)) is None:
                    continue
                self._size = 1
                calls = [sent.calls[index] for index in left if sent.calls[index].chunk == token]
                for call in calls:
                    call.chunk = ""
                self._take_up(calls)
                self._send(1)
            self._relay(sent.calls, replies)


def _raise(exc: BaseException) -> bytes:
    raise exc
