"""Single flight within one process: of all who ask for a key at once, one computes and the others take its result.

Waiting goes through `concurrent.futures.Future`, so that several event loops and plain threads can wait for one leader.
A leader that is cancelled hands over: its waiters race to join again, and one of them leads. Whoever leads a flight
while waiting for another is written down, so that two who wait for each other are seen before they wait for ever.
"""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable
    from concurrent.futures import Future

    from awaitly_nb.result import Result

__all__ = ["FLIGHTS", "Flight", "Flights", "led"]

led: ContextVar[tuple[Flight, ...]] = ContextVar("awaitly_nb_led", default=())
"""The flights that the current chain of calls leads, outermost first."""


class Flight:
    """One computation under way.

    Attributes
    ----------
    name
        What is being computed.
    landed
        Its result, once there is one; None when the leader gave up.
    future
        Done as soon as the leader landed or gave up.
    is_over
        True when it has ended and its waiters are awake.
    """

    __slots__ = ("_finished", "_future", "future_lock", "is_over", "landed", "name")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.landed: Result[Any, Any] | None = None
        self.is_over = False
        self._finished = False
        self._future: Future[None] | None = None
        self.future_lock = threading.Lock()

    @property
    def future(self) -> Future[None]:
        """What a waiter waits for."""
        # Made only when somebody waits: a flight without waiters, the common case, costs no condition variable.
        with self.future_lock:
            if self._future is None:
                from concurrent.futures import Future

                self._future = Future()
                if self._finished:
                    self._future.set_result(None)
            return self._future

    def finish(self) -> None:
        """Wake the waiters."""
        with self.future_lock:
            self._finished, future = True, self._future
        if future is not None and not future.done():
            future.set_result(None)
        self.is_over = True  # last: whoever was interrupted before finishes it once more


class Flights:
    """The computations under way in this process, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Flight] = {}
        self._waits: dict[Flight, set[Flight]] = {}

    def join(self, name: Hashable, mine: list[Flight]) -> tuple[Flight, bool]:
        """Return the flight called `name`, and True when the caller leads it and must land or abandon it.

        A flight to lead is put into `mine` before anybody can see it: an interrupt at any moment from then on finds it
        there, so that it is abandoned and nobody waits for it for ever.
        """
        with self._lock:
            flight = self._flights.get(name)
            if flight is not None:
                return flight, False
            flight = Flight(name)
            mine.append(flight)
            self._flights[name] = flight
            return flight, True

    def land(self, flight: Flight, result: Result[Any, Any]) -> None:
        """End `flight` with `result`, and give it to all who wait."""
        flight.landed = result
        self.abandon(flight)

    def abandon(self, flight: Flight) -> None:
        """End `flight` without a result: whoever waits for it joins again. Harmless after `land`."""
        with self._lock:
            if self._flights.get(flight.name) is flight:
                del self._flights[flight.name]
            self._waits.pop(flight, None)
        flight.finish()

    def may_wait(self, flight: Flight, leading: tuple[Flight, ...]) -> bool:
        """Write down that the leader of `leading` waits for `flight`; False when that would be waiting for itself."""
        with self._lock:
            seen: set[Flight] = set()
            front = {flight}
            while front:
                if not front.isdisjoint(leading):
                    return False
                seen |= front
                front = {further for f in front for further in self._waits.get(f, ())} - seen
            for mine in leading:
                self._waits.setdefault(mine, set()).add(flight)
            return True

    def stop_waiting(self, flight: Flight, leading: tuple[Flight, ...]) -> None:
        """Drop the note that the leader of `leading` waits for `flight`."""
        with self._lock:
            for mine in leading:
                self._waits.get(mine, set()).discard(flight)

    def forget(self) -> None:
        """Drop everything: after a fork the leaders are in another process."""
        self._lock = threading.Lock()
        self._flights.clear()
        self._waits.clear()


FLIGHTS = Flights()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FLIGHTS.forget)
