"""What a cell does to its session, as a hit restores it: variables, objects changed in place, placeholders."""

from __future__ import annotations

from awaitly_nb.notebook.session.live import CannotRestoreError
from awaitly_nb.notebook.session.namespace import (
    CELL,
    Left,
    Payload,
    Placeholder,
    PlaceholderError,
    Watched,
    make_placeholders,
    make_placeholders_before_cells,
    restore,
)

__all__ = [
    "CELL",
    "CannotRestoreError",
    "Left",
    "Payload",
    "Placeholder",
    "PlaceholderError",
    "Watched",
    "make_placeholders",
    "make_placeholders_before_cells",
    "restore",
]
