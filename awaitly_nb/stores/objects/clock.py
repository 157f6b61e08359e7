"""A service's clock as its answers tell it: to the second, and made finer by this machine's."""

from __future__ import annotations

import threading
import time

__all__ = ["Clock"]


class Clock:
    """Tells a service's time: this machine's, moved as little as its answers ask for.

    Examples
    --------
    >>> clock = Clock()
    >>> clock.learn(1000.0, before=900.2, after=900.4)  # it said 1000, so it was 1000 to 1001, some 100 s from here
    >>> 99.6 <= clock.offset_s <= 100.8
    True
    >>> clock.learn(1003.0, before=903.9, after=903.95)
    >>> 99.0 <= clock.offset_s <= 100.1
    True
    """

    def __init__(self) -> None:
        self.offset_s = 0.0
        self.is_set = False
        self._lock = threading.Lock()

    def learn(self, date_s: float, before: float, after: float) -> None:
        """Take in that between `before` and `after`, here, it was the second `date_s` there."""
        with self._lock:
            self.offset_s = min(max(self.offset_s, date_s - after), date_s + 1 - before)
            self.is_set = True

    def now(self) -> float:
        """Return the service's time, in seconds since 1970."""
        return time.time() + self.offset_s
