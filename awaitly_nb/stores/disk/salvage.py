"""Reading what can still be read of a damaged database, and which rows of any are not ours.

Reads plain text and bytes only, and never writes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from awaitly_nb.stores.disk.database import foreign_object

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["Salvaged", "Stray", "is_made", "readable_rows", "sound", "strays"]

Salvaged: TypeAlias = "tuple[str, str, bytes, float]"
"""Name, head, body, and when it was written."""

Stray: TypeAlias = "tuple[int, bytes, str]"
"""Row number, name and what is wrong of a row that no `DiskStore` can have written."""

_STEP = 64
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def sound(path: str | os.PathLike[str], *, wait_s: float = 5) -> bool:
    """Tell whether the database at `path` is undamaged and holds what we make: one that is busy or still empty does."""
    try:
        with contextlib.closing(_open(path, wait_s)) as connection:
            if foreign_object(connection) is not None:
                return False
            return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error as exc:
        # Locked, or not to be opened: that is no reason to set a database aside which others are using.
        return (getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF not in _DAMAGE


def is_made(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a database at `path` that has its tables, without making any."""
    try:
        with contextlib.closing(_open(path)) as connection:
            return _has_table(connection)
    except sqlite3.Error:
        return False


def readable_rows(path: str | os.PathLike[str]) -> Iterator[Salvaged]:
    """Yield the small records of a damaged database, stepping over the pages that cannot be read."""
    try:
        connection = _open(path)
    except sqlite3.Error:
        return
    with contextlib.closing(connection):
        if not _has_table(connection):
            return  # nor is a view read that somebody put in its place: it may have no end
        for low in range(0, _last_row(connection) + 1, _STEP):
            yield from _range(connection, low, low + _STEP)


def strays(path: str | os.PathLike[str]) -> list[Stray]:
    """Return the rows of a sound database whose name or head is no plain text; raises sqlite3.Error."""
    sql = "SELECT rowid, CAST(key AS BLOB), CAST(tag AS BLOB), raw, typeof(key), typeof(tag) FROM Cache ORDER BY rowid"
    with contextlib.closing(_open(path)) as connection:
        found = ((number, name or b"", _wrong(name, *rest)) for number, name, *rest in connection.execute(sql))
        return [(number, name, wrong) for number, name, wrong in found if wrong is not None]


def _wrong(name: bytes | None, head: bytes | None, raw: object, name_type: str, head_type: str) -> str | None:
    if raw != 1 or name_type != "text":
        return "its name is no plain text"
    if head_type != "text":
        return "its head is no text"
    try:
        str(name or b"", "utf-8"), str(head or b"", "utf-8")
    except UnicodeDecodeError:
        return "its name or head is no UTF-8"
    return None


def _open(path: str | os.PathLike[str], wait_s: float = 5) -> sqlite3.Connection:
    uri = Path(path).absolute().as_uri() + "?mode=rw"  # rw: the write-ahead log is read too; nothing is created
    return sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None)


def _last_row(connection: sqlite3.Connection) -> int:
    try:
        return int(connection.execute("SELECT max(rowid) FROM Cache").fetchone()[0] or 0)
    except sqlite3.Error:
        return 100_000 if _has_table(connection) else -1  # the way to the end is broken: try a good many


def _has_table(connection: sqlite3.Connection) -> bool:
    try:
        return (
            connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'Cache' AND type = 'table'").fetchone()
            is not None
        )
    except sqlite3.Error:
        return False


def _range(connection: sqlite3.Connection, low: int, high: int) -> Iterator[Salvaged]:
    sql = (
        "SELECT key, tag, value, store_time FROM Cache NOT INDEXED WHERE rowid >= ? AND rowid < ?"
        " AND raw = 1 AND filename IS NULL AND typeof(key) = 'text' AND typeof(tag) = 'text' AND typeof(value) = 'blob'"
    )
    try:
        rows = connection.execute(sql, (low, high)).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        if high - low > 1:  # halve it, until the damage is passed by
            middle = (low + high) // 2
            yield from _range(connection, low, middle)
            yield from _range(connection, middle, high)
        return
    for name, head, value, written in rows:
        yield name, head, value, float(written) if isinstance(written, int | float) else 0.0
