"""A `dask.distributed` client as an executor, synchronous or asynchronous.

The scheduler does what it is good at: it places calls, and runs them again when a worker dies. Keys, look-ups, locks
and events stay in the notebook's process.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from awaitly_nb.codec import to_bytes
from awaitly_nb.executors.remote import RelayFuture, interrupt_here, relay, work

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["ClusterExecutor"]


class ClusterExecutor:
    """Runs each call on a cluster.

    Parameters
    ----------
    client
        A `distributed.Client`.
    """

    def __init__(self, client: Any) -> None:  # Any: of a package that may not be installed
        self._client = client

    @property
    def concurrency(self) -> int:
        """How many calls to hand to the scheduler at once: enough to keep every thread of every worker busy."""
        workers = self._client.scheduler_info()["workers"].values()
        threads: int = sum(worker["nthreads"] for worker in workers)
        return max(4, 4 * threads)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start `fn(*args, **kwargs)` on the cluster, and return its future; cancelling it interrupts the worker."""
        token = uuid.uuid4().hex
        name = getattr(fn, "__name__", "step").strip("<>")
        call = to_bytes((fn, args, kwargs))
        future = RelayFuture(lambda: self._interrupt(token, inner))
        take = relay(future)
        inner = self._client.submit(work, call, token, key=f"{name}-{token}", pure=False)
        inner.add_done_callback(lambda done: take(lambda: self._reply(done)))
        return future

    def _reply(self, done: Any) -> bytes:  # Any: a dask future
        reply = done.result()
        if hasattr(type(reply), "__await__"):
            import asyncio

            reply = asyncio.run_coroutine_threadsafe(_awaited(reply), self._client.loop.asyncio_loop).result()
        data: bytes = reply
        return data

    def _interrupt(self, token: str, inner: Any) -> None:  # Any: a dask future
        for asked in (inner.cancel(), self._client.run(_interrupt_there, token, wait=False)):
            if hasattr(type(asked), "__await__"):
                import asyncio

                asyncio.run_coroutine_threadsafe(_awaited(asked), self._client.loop.asyncio_loop)


async def _interrupt_there(token: str) -> None:
    interrupt_here(token)  # a coroutine, because dask waits for the answer of a plain function


async def _awaited(value: Any) -> Any:  # Any: whatever it comes to
    return await value
