"""When to draw: soon after something happened, never more often than the eye needs, and never on the run's own time.

Hides the one background thread of the panels. It exists only while there is something to draw.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pace"]

_log = logging.getLogger(__name__)

INTERVAL_S = 0.1


class Pace:
    """Calls `draw` on a thread of its own, at most once per `interval_s`, after `poke` was called. Thread-safe.

    Parameters
    ----------
    draw
        Called without arguments. What it raises is logged; it is tried again after the next `poke`.
    interval_s
        The shortest time between two calls.
    """

    def __init__(self, draw: Callable[[], None], *, interval_s: float = INTERVAL_S) -> None:
        self._draw = draw
        self._interval_s = interval_s
        self._wanted = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def poke(self) -> None:
        """Ask for a drawing; returns at once."""
        self._wanted.set()
        if self._thread is None and not self._closed.is_set():
            with self._guard:
                if self._thread is None:
                    # A daemon: an interpreter that ends does not wait for a drawing.
                    self._thread = threading.Thread(target=self._work, name="awaitly-panel", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Draw no more."""
        self._closed.set()
        self._wanted.set()

    def _work(self) -> None:
        # The thread outlives a pause of a few intervals, so that a run of many short steps starts it once.
        while self._wanted.wait(timeout=20 * self._interval_s) and not self._closed.is_set():
            self._wanted.clear()
            began = time.perf_counter()
            try:
                self._draw()
            except Exception:  # noqa: BLE001 - the strangers are the widget's transport and the user's cache
                _log.exception("the panel could not be drawn")
            # A drawing that takes long is done less often: a tenth of the time at most, whatever there is to draw.
            self._closed.wait(max(self._interval_s, 9 * (time.perf_counter() - began)))
        with self._guard:
            self._thread = None
        if self._wanted.is_set():  # poked between the last wait and the line above
            self.poke()
