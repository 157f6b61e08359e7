"""What a step asks of whoever drives it: call this function, wait for that, write those bytes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from concurrent.futures import Future

    from awaitly_nb.engine.lookup import Outcome
    from awaitly_nb.engine.run import StepSpec
    from awaitly_nb.result import Result

__all__ = ["TIMED_OUT", "Effect", "Invoke", "Pause", "Results", "Save", "Steps", "Wait"]


class _TimedOut:
    __slots__ = ()


TIMED_OUT = _TimedOut()
"""What a driver answers to `Invoke` when the step's time is up."""


class Invoke:
    """Call the step's function where its executor says, for at most its time-out; answer its value or `TIMED_OUT`.

    The driver notes in `took_s` how long the call itself took, where the executor knows better than a clock outside.
    """

    __slots__ = ("spec", "took_s")

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec
        self.took_s: float | None = None


class Pause(NamedTuple):
    """Wait some seconds."""

    seconds: float


class Wait(NamedTuple):
    """Wait until `future` is done."""

    future: Future[None]


class Save(NamedTuple):
    """Write something, and let no interrupt cut it short. `is_heavy` tells whether it would hold up an event loop."""

    fn: Callable[[], object]
    is_heavy: Callable[[], bool]


Effect: TypeAlias = "Invoke | Pause | Wait | Save"
Steps: TypeAlias = Generator[Effect, Any, "Outcome"]  # Any: each effect has its own answer
Results: TypeAlias = Generator[Effect, Any, "Result[Any, Any]"]  # Any: as above
