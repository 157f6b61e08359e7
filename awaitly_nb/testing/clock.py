"""A clock that moves only when it is told to. Imports nothing of the package."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """A stand-in for `time.time`: pass it wherever a `clock` is taken, and advance it instead of waiting.

    Parameters
    ----------
    at
        The first instant, in seconds since 1970 as `time.time` gives them.

    Examples
    --------
    >>> clock = FakeClock(at=100.0)
    >>> clock.advance(2.5)
    >>> clock()
    102.5
    """

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self._at = at

    def __call__(self) -> float:
        """Return the present instant, in seconds since 1970."""
        return self._at

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`; a negative number sets the clock back, as a time server may."""
        self._at += seconds

    def __repr__(self) -> str:
        return f"FakeClock(at={self._at!r})"
