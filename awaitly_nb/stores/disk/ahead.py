"""Rows read before they are asked for: a notebook that is run again asks for its steps in the order they were stored.

A statement of its own costs SQLite several microseconds, a further row of the same statement less than one. So after
some rows that were asked for in their order, the next ones come along. They are good for as long as nobody writes.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from awaitly_nb.errors import StoreError

if TYPE_CHECKING:
    from awaitly_nb.stores.disk.database import Database

__all__ = ["COLUMNS", "ReadAhead"]

COLUMNS: Final = "rowid, tag, access_time, store_time, size, filename, value"
_NEXT: Final = f"SELECT key, {COLUMNS} FROM Cache WHERE rowid > ? AND raw = 1 ORDER BY rowid LIMIT 64"  # noqa: S608
_IN_ORDER: Final = 4  # so many rows in their order are no accident

Row: TypeAlias = tuple[Any, ...]  # Any: columns as a stranger may have written them
_NOTHING: Final[tuple[tuple[int, int], dict[str, Row]]] = ((0, 0), {})


class ReadAhead:
    """The next rows of a folder, while they are asked for one after the other."""

    __slots__ = ("_database", "_in_order", "_last", "_read")

    def __init__(self, database: Database) -> None:
        self._database = database
        # In one tuple, because another thread may read on between two looks at it.
        self._read: tuple[tuple[int, int], dict[str, Row]] = _NOTHING
        self._last = -1
        self._in_order = 0

    def take(self, name: str) -> Row | None:
        """Return the row called `name` if it was read ahead and nobody has written since."""
        stamp, rows = self._read
        row = rows.pop(name, None)
        if row is None:
            return None
        if (self._database.version(), self._database.writes) != stamp:
            self._read = _NOTHING
            return None
        self._last = row[0]
        return row

    def asked(self, rowid: int) -> None:
        """Take notice of a row that had to be asked for, and read on where they come in their order."""
        self._in_order = self._in_order + 1 if rowid == self._last + 1 else 0
        self._last = rowid
        database = self._database
        if self._in_order < _IN_ORDER or database.on_network:
            return
        try:
            stamp = (database.version(), database.writes)
            with database.lock:
                rows = database.looked().execute(_NEXT, (rowid,)).fetchall()
        except (StoreError, sqlite3.Error):
            self._read, self._in_order = _NOTHING, 0  # whoever asks for the row at fault is told
            return
        self._read = stamp, {row[0]: row[1:] for row in rows}
