"""Whether a hit used what the notebook's own order would give: cells run in any order, and values decide of a hit.

A page tells which cells there are, in which order, and the kernel knows which ran. Where another cell has set a
variable than the one that would have, from top to bottom, the badge says so. A cell that hits on the key which it had
when it was in order is in order again, whatever ran in between: its inputs are the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from awaitly_nb.plans import code_digest, parsed, read_statics, without_magics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Order"]

_MAGIC = "%%awaitly"
_MOST_KEYS = 10_000


class Order:
    """The order in which the cells of a page ran, beside the one in which they stand."""

    def __init__(self) -> None:
        self._ran: list[str] = []
        self._in_order: dict[str, None] = {}
        self._waiting: list[tuple[str, tuple[str, ...], str, int]] = []  # until a page tells where they stand

    def ran(self, source: str) -> None:
        """Note that a cell of this text has run."""
        self._ran.append(source)

    def told(self, cells: Sequence[tuple[str, str]], cell_id: str, names: Iterable[str], key: str) -> str:
        """Return what a cell used that the order of the notebook would not give, in a few words; "" for nothing.

        Parameters
        ----------
        cells
            The ids and texts of the notebook's cells, in order.
        cell_id
            The cell that runs now.
        names
            The variables that it reads.
        key
            Its key, which is made of their values; "" for one that is not.
        """
        place_of = {name: place for place, (name, _) in enumerate(cells)}
        texts = [text for _, text in cells]
        if cell_id not in place_of:  # *Run All* is quicker than the page, which tells when the kernel listens again
            if key:
                self._waiting.append((cell_id, tuple(names), key, len(self._ran)))
            return ""
        waited, self._waiting = self._waiting, []
        for name, read, made, before in waited:
            if name in place_of:
                self._told(texts, place_of[name], read, made, self._ran[:before])
        return self._told(texts, place_of[cell_id], names, key, self._ran)

    def _told(self, texts: Sequence[str], place: int, names: Iterable[str], key: str, ran: Sequence[str]) -> str:
        if key in self._in_order:
            return ""
        found = [(name, why) for name in names if (why := _why(name, texts, place, ran))]
        if found:
            return ", ".join(f"{name} {why}" for name, why in found)
        if len(self._in_order) >= _MOST_KEYS:
            self._in_order.clear()
        if key:
            self._in_order[key] = None
        return ""


def _why(name: str, texts: Sequence[str], place: int, ran: Sequence[str]) -> str:
    setter = next((text for text in reversed(ran) if name in _sets(text)), None)
    if setter is None:
        return ""  # set by nothing that is known here
    wanted = next((text for text in reversed(texts[:place]) if name in _sets(text)), None)
    if wanted is not None and _digest(wanted) == _digest(setter):
        return ""
    above, below = ({_digest(text) for text in part} for part in (texts[:place], texts[place:]))
    if _digest(setter) in above:
        return "from a cell above, and not the last that sets it"
    return "from a cell below" if _digest(setter) in below else "from a cell that was edited or removed since"


def _body(source: str) -> str:
    return source.partition("\n")[2] if source.startswith(_MAGIC) else source


def _digest(source: str) -> str:
    return code_digest(without_magics(_body(source))[0])


@lru_cache(maxsize=2048)
def _sets(source: str) -> frozenset[str]:
    """Return the variables that a cell may bind, or change in place."""
    python, _ = without_magics(_body(source))
    tree = parsed(python)
    if tree is None:
        return frozenset()
    statics = read_statics(tree, "")
    return frozenset(statics.bound) | frozenset(statics.changed)
