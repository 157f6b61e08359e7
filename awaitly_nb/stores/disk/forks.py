"""What becomes of SQLite's connections when the process forks: each is at rest then, and the child closes its copy.

SQLite keeps one account of the locks for each file and process, and a child inherits the account without the locks.
Whatever it opened beside an inherited connection would hold no lock that another process can see: the next one to close
the database would take itself for the last, and remove the write-ahead log that the child is writing to. So the child
closes what it inherited before it opens anything, and that asks for a moment in which nobody is inside SQLite.

Closing there takes nothing from the parent, as long as no transaction is open: record locks are not inherited, so the
child can drop none of the parent's, and the system refuses it the lock that it would need to tidy up after the last.
(https://www.sqlite.org/howtocorrupt.html, section 2.6, says never to do it; it says so of connections in any state.)

A module that another thread is importing at the fork stays locked in the child for ever, so whatever the child may need
is imported before: that waits for the other thread, and afterwards no thread imports it any more.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Forkable", "abandon", "is_abandoned", "watch"]

_PACKAGE: Final = __name__.partition(".")[0]
_ROOMS: Final = frozenset(
    f"{_PACKAGE}.{room}"
    for room in ("codec", "stores.disk", "keys", "locks", "cache", "states", "executors", "engine", "workflow")
)
_LIBRARIES: Final = ("diskcache", "concurrent.futures.thread", "traceback", "xxhash")  # what rooms import when needed
_LARGER: Final = ("cryptography.hazmat.primitives.ciphers.aead", "cloudpickle")  # only where somebody uses them
_PAIRED: Final = {"logging": "_lock", "concurrent.futures.thread": "_global_shutdown_lock"}
"""Modules of Python's that take a lock before each fork and release it in the parent, with the lock."""
_PATIENCE_S: Final = 5.0  # a fork never takes longer than that, whatever other threads are doing


class Forkable(Protocol):
    """Holds a connection that is used under `lock` only."""

    lock: Any  # Any: threading.RLock is a function to the type checker

    def after_fork(self, *, at_rest: bool) -> None:
        """Begin anew in the child; where it was not `at_rest`, the connection must not be touched."""


_live: dict[int, weakref.ref[Forkable]] = {}  # by age, so that two threads that fork take the locks in one order
_numbers = itertools.count()
_registering: Any = threading.RLock()  # held during a fork: what is not known yet has no connection either
_abandoned: list[tuple[sqlite3.Connection, str]] = []


class _Taken(threading.local):
    """The locks that this thread has taken for the fork it is about to do."""

    def __init__(self) -> None:
        self.registering = False
        self.held: list[tuple[Forkable, Any]] = []


_taken = _Taken()


def watch(handle: Forkable) -> None:
    """Have `handle` told of forks, until it is gone; to be called before it opens its connection."""
    number = next(_numbers)
    with _registering:
        _live[number] = weakref.ref(handle, lambda _: _live.pop(number, None))


def abandon(connection: sqlite3.Connection, path: str) -> None:
    """Never close this connection to the database at `path`, not with its last reference either."""
    _abandoned.append((connection, path))


def is_abandoned(path: str) -> bool:
    """Tell whether this process inherited a connection that it cannot close: beside it, it can lock nothing."""
    return any(known == path for _, known in _abandoned)


def _handles() -> list[Forkable]:
    return [handle for handle in [known() for known in list(_live.values())] if handle is not None]


def import_for_child() -> None:
    """Import what a child of this process may need, each module once; nothing where no folder is in use."""
    if not _live:
        return
    import pkgutil

    wanted = [*_LIBRARIES, *(name for name in _LARGER if name.partition(".")[0] in sys.modules)]
    for room in _ROOMS & sys.modules.keys():
        wanted += [f"{room}.{found.name}" for found in pkgutil.iter_modules(sys.modules[room].__path__)]
    late = [name for name in _PAIRED if not _is_imported(name)]
    for name in wanted:
        if name not in _imported:
            with contextlib.suppress(ImportError):  # an extra that is not installed: the child cannot need it
                import_module(name)
            _imported.add(name)
    for name in late:
        if name in sys.modules:
            # It asked too late to be told of this fork, and releases its lock afterwards all the same.
            getattr(sys.modules[name], _PAIRED[name]).acquire()


def _is_imported(name: str) -> bool:
    module = sys.modules.get(name)
    return module is not None and not getattr(module.__spec__, "_initializing", False)


_imported: set[str] = set()


def _before() -> None:
    # Before any lock is taken: the thread that is importing may need one.
    import_for_child()
    until = time.monotonic() + _PATIENCE_S

    def take(lock: Any) -> bool:
        return bool(lock.acquire(timeout=max(0.0, until - time.monotonic())))

    _taken.registering = take(_registering)
    for handle in _handles():
        lock = handle.lock
        if take(lock):
            _taken.held.append((handle, lock))


def _after_in_parent() -> None:
    while _taken.held:
        _taken.held.pop()[1].release()
    if _taken.registering:
        _taken.registering = False
        _registering.release()


def _after_in_child() -> None:
    global _registering  # noqa: PLW0603 - another thread of the parent may have held it
    _registering = threading.RLock()
    resting = [handle for handle, _ in _taken.held]
    _taken.held.clear()
    _taken.registering = False
    for handle in _handles():
        handle.after_fork(at_rest=any(handle is known for known in resting))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
