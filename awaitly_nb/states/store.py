"""`StateStore`: states in a database, as coroutines. It decides nothing; `BlockingStates` does the work.

The calls go through one worker thread for each store, so they block no event loop, keep their order, and serve several
loops at once. `store.blocking` has the same verbs for plain code.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from awaitly_nb.states.blocking import BlockingStates, SavedState
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from datetime import timedelta
    from types import TracebackType

    from awaitly_nb.states.leases import Lease
    from awaitly_nb.states.state import ResumeState
    from awaitly_nb.stores import Store

__all__ = ["StateStore"]

T = TypeVar("T")


class StateStore:
    """Resume states by id, in a database.

    Parameters
    ----------
    records
        Where the records lie: any `Store`.
    prefix
        Begins every id, so that several applications can share one database without seeing each other's.
    size_limit
        Largest state to accept, in bytes or as text such as "50 MB"; None means none.
    lease_ttl
        Seconds, or text such as "5m", after which a run that has vanished, or that was stopped, no longer has its id,
        so that another one may take it over.

    Attributes
    ----------
    blocking
        The same verbs as plain calls, for code without an event loop.
    records
        The store underneath; a shared step cache can lie in it too.
    lease_ttl_s
        As given, in seconds.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> import awaitly_nb as aw
    >>> async def main(folder):
    ...     async with aw.sqlite(f"{folder}/runs.db") as store:
    ...         await store.save("wf-123", aw.ResumeState().with_value("user:1", "Ada"))
    ...         return await store.load("wf-123"), await store.load("wf-124")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(main(folder))
    (<ResumeState of 1 step>, None)
    """

    def __init__(
        self,
        records: Store,
        *,
        prefix: str = "",
        size_limit: int | str | None = None,
        lease_ttl: float | timedelta | str = 60.0,
    ) -> None:
        self.records = records
        self.lease_ttl_s = parse_duration(lease_ttl, name="lease_ttl")
        self.blocking = BlockingStates(records, prefix=prefix, size_limit=size_limit)
        self._worker: ThreadPoolExecutor | None = None
        self._worker_pid = 0
        self._worker_lock = threading.Lock()

    async def save(self, id: str, state: ResumeState, *, replace: bool = False) -> None:  # noqa: A002 - the API's name
        """Keep `state` under `id`.

        It is merged with what is there, key by key: of two outcomes of a key the later one stays, and what `without`
        took out is forgotten. A state that grew by one step costs one step.

        Parameters
        ----------
        id
            Any text up to 500 characters, without control characters.
        state
            The state.
        replace
            Make the stored state exactly this one.

        Raises
        ------
        StateError
            A value cannot be written down; the message names its key.
        StateTooLargeError
            The state is larger than the store's `size_limit`; nothing was written.
        StoreError
            The database could not do it; what was stored before is still there.
        """
        await self._call(self.blocking.save, id, state, replace=replace)

    async def load(self, id: str) -> ResumeState | None:  # noqa: A002
        """Return the state kept under `id`, or None.

        Raises
        ------
        StoreError
            The database could not do it, or the record is unreadable; it is left as it is.
        StateVersionError
            A newer version of this package wrote it.
        """
        return await self._call(self.blocking.load, id)

    async def delete(self, id: str) -> bool:  # noqa: A002
        """Forget `id`; return whether there was something to forget."""
        return await self._call(self.blocking.delete, id)

    async def list(self, prefix: str = "", limit: int | None = 100) -> list[SavedState]:
        """Return what is stored under ids that begin with `prefix`, literally, the newest first.

        Parameters
        ----------
        prefix
            The beginning, without any pattern.
        limit
            How many at most; None for all.
        """
        return await self._call(self.blocking.list, prefix, limit)

    async def acquire(
        self,
        id: str,  # noqa: A002
        ttl: float | timedelta | str = 60.0,
        *,
        owner: str | None = None,
    ) -> Lease | None:
        """Take the lease of `id` for `ttl`, by the database's clock, or return None where somebody holds it.

        A lease whose process ran on this machine and is gone is taken over at once.
        """
        return await self._call(self.blocking.acquire, id, ttl, owner=owner)

    async def renew(self, id: str, token: str | Lease, ttl: float | timedelta | str = 60.0) -> bool:  # noqa: A002
        """Hold the lease for another `ttl` from now; False where it is no longer this owner's."""
        return await self._call(self.blocking.renew, id, token, ttl)

    async def release(self, id: str, token: str | Lease) -> bool:  # noqa: A002
        """Give the lease back; do nothing and return False where it is not this owner's."""
        return await self._call(self.blocking.release, id, token)

    async def holder(self, id: str) -> Lease | None:  # noqa: A002
        """Return the lease of `id` as it stands, without its token, or None where nobody holds it."""
        return await self._call(self.blocking.holder, id)

    async def close(self) -> None:
        """Release the connection; harmless twice. A pool or client that the user gave stays open."""
        await self._call(self.blocking.close)
        with self._worker_lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False)

    async def __aenter__(self) -> StateStore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # Any: handed on as they are
        import asyncio
        from functools import partial

        return await asyncio.wrap_future(self._thread().submit(partial(fn, *args, **kwargs)))

    def _thread(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._worker_lock:
            # A fork copies the pool without its thread.
            if self._worker is None or self._worker_pid != os.getpid():
                self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="awaitly-store")
                self._worker_pid = os.getpid()
            return self._worker

    def __repr__(self) -> str:
        return f"StateStore({self.records!r})"
