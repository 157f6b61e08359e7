"""A room's door: its `__init__` names what other rooms may use, and loads each module when a name of it is first used.

Other rooms import from the door only, so modules inside a room can be merged, split and renamed freely; and a light
import stays light, because a door loads nothing by itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["door"]


def door(room: str, modules: Mapping[str, str]) -> Callable[[str], Any]:  # Any: whatever a module defines
    """Return the `__getattr__` of the package `room`.

    Parameters
    ----------
    room
        The package's own `__name__`.
    modules
        The public names that each module inside the room defines, with spaces between.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:  # Any: as above
        if (home := homes.get(name)) is None:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        found = getattr(import_module(f"{room}.{home}"), name)
        setattr(sys.modules[room], name, found)  # so that this is asked once
        return found

    return get
