"""Iterators of Python's own containers: what they go over, and how far they have come.

These tell it without being used up, and go on from any place: another one is moved there. Of one over what never
changes only counts how much is left. One that goes over a list looks into the list that lives, so it comes last, when
the list holds what it is to hold; and once it is spent it has let go of that.
"""

from __future__ import annotations

from collections import deque
from itertools import count, islice
from operator import length_hint
from typing import Any, Final

from awaitly_nb.keys import count_place
from awaitly_nb.notebook.session.kind import CannotRestoreError, Kind

__all__ = ["ITERATORS", "is_iterator"]


class _Over:
    """One that goes over a container that never changes."""

    def children(self, value: Any) -> list[object]:  # Any: an iterator, and how far it is; here and below
        return list(value.__reduce__()[1])

    def state(self, value: Any) -> Any:
        return length_hint(value)

    def same(self, value: Any, state: Any) -> bool:
        return bool(self.state(value) == state)

    def contents(self, value: Any, state: Any) -> Any:
        left = self.state(value)
        if left > state:
            raise CannotRestoreError(f"it sets a {type(value).__name__} back")
        return left

    def change(self, value: Any, contents: Any) -> None:
        deque(islice(value, length_hint(value) - contents), 0)


class _OverList(_Over):
    """One that goes over a list."""

    def state(self, value: Any) -> Any:
        _, _, *place = value.__reduce__()
        return place[0] if place else None

    def contents(self, value: Any, _state: Any) -> Any:
        return self.state(value)

    def change(self, value: Any, contents: Any) -> None:
        if contents is None:
            deque(value, 0)
        else:
            value.__setstate__(contents)


class _Counts:
    """`itertools.count`, which tells where it is by its text alone: it is moved there step by step."""

    def children(self, _value: Any) -> list[object]:
        return []

    def state(self, value: Any) -> Any:
        return repr(value)

    def same(self, value: Any, state: Any) -> bool:
        return bool(repr(value) == state)

    def contents(self, value: Any, state: Any) -> Any:
        was, now = count_place(state), count_place(repr(value))
        if was is None or now is None or was[1] != now[1]:
            raise CannotRestoreError("it counts on by something else than whole numbers")
        return (now[0] - was[0]) // now[1] if now[1] else 0

    def change(self, value: Any, contents: Any) -> None:
        deque(islice(value, contents), 0)


ITERATORS: Final[dict[type, Kind]] = {
    **dict.fromkeys([type(iter(())), type(iter("")), type(iter("\u00e9")), type(iter(b""))], _Over()),
    **dict.fromkeys([type(iter(range(0))), type(iter(range(1 << 70)))], _Over()),
    type(iter([])): _OverList(),
    type(reversed([])): _OverList(),
    count: _Counts(),
}


def is_iterator(kind: Kind) -> bool:
    """Tell whether objects of this kind are iterators, which are moved when what they go over is as it is to be."""
    return isinstance(kind, _Over)
