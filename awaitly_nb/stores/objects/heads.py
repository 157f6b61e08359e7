"""What listings told before: an object whose tag is the same still has the head that was read of it.

A panel lists again and again; without this, each time would read the beginning of every object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awaitly_nb.stores.objects.frame import Frame

__all__ = ["Heads"]

_MOST = 20_000


class Heads:
    """Heads by name of the object and tag. Safe in several threads: each step is one of a dict's own."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Frame]] = {}

    def known(self, listed: Mapping[str, str]) -> dict[str, Frame]:
        """Return the heads of those objects whose tag, as listed now, is the one they were read with."""
        found = {}
        for name, tag in listed.items():
            kept = self._known.get(name)
            if tag and kept is not None and kept[0] == tag:
                found[name] = kept[1]
        return found

    def keep(self, name: str, tag: str, frame: Frame) -> None:
        """Remember what was read of an object after it was listed with this tag."""
        if tag:
            if len(self._known) >= _MOST:
                self._known = {}
            self._known[name] = (tag, frame)
