"""Threads that run code of the user's beside the cells: what they do, and when, is no part of any cell.

A cell that starts one and does not wait for its end would not start it on a hit. While it runs, any cell may see what
it has done so far, or wait for it by the clock, so none is stored, and none is served. Threads of libraries (a pool's
workers, progress bars, the kernel's own) wait for work, and are none of these until they run code of the user's.
"""

from __future__ import annotations

import sys
import threading
import time
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Final

from awaitly_nb.keys import is_user_class, is_user_function, is_user_module

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import FrameType

__all__ = ["running_beside"]


def running_beside(before: Collection[threading.Thread] | None = None) -> str:
    """Return why a cell cannot be told apart from a thread that runs beside it; empty where none does.

    Parameters
    ----------
    before
        The threads that there were when the cell began; None where it begins now.
    """
    here = threading.current_thread()
    for thread in threading.enumerate():
        if thread is here or thread is threading.main_thread():
            continue
        # No variable holds all frames: this one is among them, and would hold itself, and what the cell lets go.
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the only way to tell who is busy
        if _is_users(thread, frame, is_new=before is not None and thread not in before):
            return f"the thread {thread.name} runs beside it"
    return ""


def _is_users(thread: threading.Thread, frame: FrameType | None, *, is_new: bool) -> bool:
    kind, target = type(thread), getattr(thread, "_target", None) or getattr(thread, "function", None)
    if isinstance(target, MethodType):
        target = target.__func__
    if _is_ours(str(getattr(target, "__module__", ""))):
        return False
    if kind is threading.Timer or (isinstance(target, FunctionType) and is_user_function(target)):
        return True
    if kind is threading.Thread:
        if getattr(target, "__module__", None) == _POOLS:
            return _is_busy(thread)
        # `Thread(target=server.run)` is the user's. What a library starts for its own sake has a class of its own, or
        # calls what nobody else would.
        if is_new and not _is_inner(target):
            return True
    elif is_user_class(kind) and not _is_ours(kind.__module__):
        return True
    while frame is not None:
        if _is_of_user(str(frame.f_globals.get("__name__"))):
            return True
        frame = frame.f_back
    return False


def _is_inner(target: object) -> bool:
    """Tell whether what a thread calls is a library's own: a private function, or one inside another."""
    return any(part.startswith(("_", "<")) for part in str(getattr(target, "__qualname__", "")).split("."))


def _is_busy(worker: threading.Thread) -> bool:
    """Tell whether a worker of a pool has something to do: it waits for that in its own function."""
    for _ in range(_LOOKS):
        frame = sys._current_frames().get(worker.ident or 0)  # noqa: SLF001 - as above
        is_waiting = frame is None or frame.f_code.co_name == "_worker"
        if is_waiting and not any(hasattr(one, "qsize") and one.qsize() > 0 for one in getattr(worker, "_args", ())):
            return False
        time.sleep(0.001)  # who has just given a result is about to wait
    return True


_LOOKS: Final = 4
_POOLS: Final = "concurrent.futures.thread"


def _is_of_user(name: str) -> bool:
    if name == "__main__":
        return True
    module = sys.modules.get(name)
    return module is not None and not _is_ours(name) and is_user_module(module)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in _OURS


_OURS: Final = frozenset(
    {__name__.partition(".")[0], "ipykernel", "IPython", "jupyter_client", "tornado", "zmq", "asyncio"}
)
"""What sees to a session, wherever it is installed: a folder on the search path would be the user's."""
