"""A `dask.distributed` client as an executor, synchronous or asynchronous.

The scheduler does what it is good at: it places calls, and runs them again when a worker dies. Keys, look-ups, locks
and events stay in the notebook's process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import MisuseError
from awaitly_nb.executors.batch import Batch
from awaitly_nb.executors.chunks import stop_chunks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from concurrent.futures import Future

__all__ = ["ClusterExecutor"]


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
