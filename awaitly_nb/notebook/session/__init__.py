"""What a cell does to its session, as a hit restores it: variables, objects changed in place, placeholders."""

from __future__ import annotations

from awaitly_nb.notebook.session.live import CannotRestoreError
from awaitly_nb.notebook.session.namespace import (
    CELL,
    Left,
    Payload,
    Watched,
    restore,
)
from awaitly_nb.notebook.session.placeholders import (
    Placeholder,
    PlaceholderError,
    Unstored,
    before_cells,
    make_placeholders,
)
from awaitly_nb.notebook.session.unread import located, noted_digests, read_unread, remember_located, unread

__all__ = [
    "CELL",
    "CannotRestoreError",
    "Left",
    "Payload",
    "Placeholder",
    "PlaceholderError",
    "Unstored",
    "Watched",
    "before_cells",
    "located",
    "make_placeholders",
    "noted_digests",
    "read_unread",
    "remember_located",
    "restore",
    "unread",
]
