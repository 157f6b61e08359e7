"""How many cells automatic mode served, computed and left alone: in the whole session, and in one *Run All*.

Nobody tells a kernel that it was asked for all cells. Cells that follow each other without a pause are taken for such a
run, and once nothing has followed the last of them for a moment, its totals are shown below it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Tally", "Totals"]

_PAUSE_S = 1.0
_FEWEST = 3
_SMALL_S = 0.1


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of some cells.

    Attributes
    ----------
    hits, computed, live
        How many were served from the cache, computed by automatic mode, and run as ever.
    took_s, would_s
        Seconds they took, and would have taken without a cache.

    Examples
    --------
    >>> str(Totals(hits=12, computed=3, live=21, took_s=4.0, would_s=360.0))
    '12 from cache, 3 computed, 21 live: 4 s instead of 6 min'
    """

    hits: int = 0
    computed: int = 0
    live: int = 0
    took_s: float = 0.0
    would_s: float = 0.0

    @property
    def cells(self) -> int:
        """How many cells there were."""
        return self.hits + self.computed + self.live

    def plus(self, other: Totals) -> Totals:
        """Return both together."""
        return Totals(
            self.hits + other.hits,
            self.computed + other.computed,
            self.live + other.live,
            self.took_s + other.took_s,
            self.would_s + other.would_s,
        )

    def __str__(self) -> str:
        text = f"{self.hits} from cache, {self.computed} computed, {self.live} live"
        if self.took_s:
            text += f": {show_duration(self.took_s)}"
            if self.would_s - self.took_s > _SMALL_S:
                text += f" instead of {show_duration(self.would_s)}"
        return text


class Tally:
    """Counts cells as they end.

    Parameters
    ----------
    show
        Is called with the totals of a *Run All* once it has ended.

    Attributes
    ----------
    session
        Totals of the whole session.
    """

    def __init__(self, show: Callable[[Totals], None]) -> None:
        self.session = Totals()
        self._show = show
        self._group = Totals()
        self._cell: Totals | None = None
        self._began = self._ended = time.perf_counter()
        self._number = 0

    def begin(self) -> None:
        """Note that a cell begins."""
        self._number += 1
        self._began = time.perf_counter()
        self._cell = None
        if self._began - self._ended > _PAUSE_S:
            self._group = Totals()

    @property
    def is_live(self) -> bool:
        """Whether the cell that runs is not looked after."""
        return self._cell is None

    @property
    def took_s(self) -> float:
        """Seconds since the cell began."""
        return time.perf_counter() - self._began

    def looked_after(self, *, hit: bool, took_s: float, would_s: float) -> None:
        """Note that the cell which runs is looked after, and what that came to."""
        self._cell = Totals(hits=int(hit), computed=int(not hit), would_s=would_s - took_s)

    def end(self) -> None:
        """Count the cell; unless another one follows, its *Run All* has ended a moment later."""
        took_s = self.took_s
        cell = self._cell or Totals(live=1)
        cell = replace(cell, took_s=took_s, would_s=cell.would_s + took_s)
        self.session, self._group = self.session.plus(cell), self._group.plus(cell)
        self._ended = time.perf_counter()
        # The callback runs in the context of this cell, so that what it shows comes to stand below it.
        try:
            asyncio.get_running_loop().call_later(_PAUSE_S, self._settle, self._number)
        except RuntimeError:
            return  # no kernel, so nobody waits

    def _settle(self, number: int) -> None:
        group = self._group
        if number == self._number and group.cells >= _FEWEST and group.hits + group.computed:
            self._group = Totals()
            self._show(group)
