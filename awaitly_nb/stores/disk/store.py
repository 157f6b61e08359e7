"""Records in a folder on disk: rows of diskcache's database, and large bodies in value files beside it.

Writing is file first, row second, commit, then the old file is removed: a kill between any two of them leaves an
orphan file, never a dangling row. Names are plain text; a row whose name or head is anything else was not written by
this class and is passed over, undecoded.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from awaitly_nb.errors import StoreError
from awaitly_nb.stores import ABSENT, ANY, DamagedRecordError, Record
from awaitly_nb.stores.disk.database import Database, UnfilledDatabaseError, is_whole, make_folder
from awaitly_nb.stores.disk.files import ValueFiles
from awaitly_nb.stores.disk.reader import fetch_again, fetch_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from awaitly_nb.stores import Body, Expect, Version
    from awaitly_nb.stores.disk.files import Stamp

__all__ = ["FILE_FROM", "DiskStore", "Fetched", "process_token"]

FILE_FROM: Final = 2**15
"""Bodies of this size and more go into a file, as diskcache does it."""

_RAW, _BINARY = 1, 2  # diskcache's modes of a value
_BATCH: Final = 500
_SURROGATES: Final = range(0xD800, 0xE000)  # no characters, in the middle of them

_SELECT = "SELECT tag, access_time, store_time, size, filename, value, rowid FROM Cache WHERE key = ? AND raw = 1"
_SELECT_NEXT = (
    "SELECT key, tag, access_time, store_time, value, rowid FROM Cache"
    " WHERE rowid > ? AND rowid <= ? AND raw = 1 AND filename IS NULL"
)
_SELECT_OLD = "SELECT rowid, access_time, filename FROM Cache WHERE key = ? AND raw = 1"
_INSERT = (
    "INSERT OR IGNORE INTO Cache (key, raw, store_time, access_time, access_count, tag, size, mode, filename, value)"
    " VALUES (?, 1, ?, ?, 0, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE Cache SET store_time = ?, expire_time = NULL, access_time = ?, access_count = 0, tag = ?, size = ?,"
    " mode = ?, filename = ?, value = ? WHERE rowid = ?"
)
_NO_SYSTEM: Final = "NOT (+key >= char(30) AND +key < char(31))"
"""Names that begin with U+001E belong to no cache, and are listed only where they are asked for."""
_EXPIRES: Final = "CASE WHEN instr(tag, ',\"expires_at\":') THEN tag END"

_process_token = os.urandom(8).hex()


def process_token() -> str:
    """Return the sixteen hexadecimal digits that name this process in the files it writes."""
    return _process_token


def _new_token() -> None:
    global _process_token  # noqa: PLW0603 - a forked child is another process
    _process_token = os.urandom(8).hex()
    _drawn.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_token)


Fetched: TypeAlias = "tuple[str, Body, Version, float, Stamp | None, int]"
"""Head, body, version, time of writing, stamp of the file that the body is, and number of a record."""


class DiskStore:
    """A `Store` in a folder, for many processes and threads at once.

    Parameters
    ----------
    directory
        The folder; made when something is first read or written.
    mmap
        Whether large bodies may be read through private maps.
    clock
        Seconds since the epoch.
    """

    def __init__(self, directory: str | Path, *, mmap: bool = True, clock: Callable[[], float] = time.time) -> None:
        self.directory = Path(directory).expanduser().absolute()
        self.database = Database(self.directory)
        self.before_unlink: Callable[[], None] | None = None
        """Called before the commit after which a file that has lost its row is removed."""
        self._clock = clock
        self._mapped = mmap

    @property
    def files(self) -> ValueFiles:
        """The folder's value files."""
        return ValueFiles(self.directory, token=_process_token, mapped=self._mapped and not self.database.on_network)

    def read(self, name: str) -> Record | None:
        """Return the record called `name` with its body, or None."""
        found = self.fetch(name)
        return None if found is None else Record(name, *found[:3], _instant(found[3]), found[4])

    def fetch(self, name: str) -> Fetched | None:
        """Return the record called `name`, or None: `read` on the road of a hit."""
        while True:
            if (row := self.database.row(_SELECT, (name,))) is None:
                return None
            head, version, written, size, filename, value, rowid = row
            if type(value) is bytes:
                return head if type(head) is str else "", value, _version(version), written, None, rowid
            try:
                body, stamp = self._body(filename, size)
            except FileNotFoundError:
                # Replaced or deleted since the row was read, or a row that lost its file.
                if self.version(name) == _version(version):
                    raise DamagedRecordError(f"value file {filename} is gone") from None
                continue
            return _plain(head), body, _version(version), written, stamp, rowid

    def fetch_next(self, rowid: int, count: int) -> dict[str, Fetched]:
        """Return, by name, which of the `count` records that were first written after another have no file."""
        rows = self.database.rows(_SELECT_NEXT, (rowid, rowid + count))
        return {
            name: (_plain(head), value, _version(version), written, None, found)
            for name, head, version, written, value, found in rows
            if type(value) is bytes
        }

    def _body(self, filename: object, size: object) -> tuple[Body, Stamp | None]:
        if filename is None:
            return b"", None
        if not (isinstance(filename, str) and isinstance(size, int)):
            raise DamagedRecordError(f"a row names {filename!r}, which is no value file of this folder")
        return self.files.read(filename, size)

    def version(self, name: str) -> Version | None:
        """Return the version of a record without reading it, or None."""
        row = self.database.row(_SELECT_OLD, (name,))
        return None if row is None else _version(row[1])

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        """Yield the records whose names begin with `prefix`, literally, in the order of their first writing."""
        sql = "SELECT key, tag, access_time, store_time, size, filename" + (", value" if bodies else "")
        where, values = _named(prefix)
        with self.database.explained():
            reader = self.database.reader()
            try:
                for name, head, version, written, size, filename, *value in reader.walk(
                    f"{sql} FROM Cache WHERE {where} ORDER BY rowid",
                    values,
                ):
                    if type(name) is not str:  # no text that this class has written
                        continue
                    body: Body | None = None
                    if bodies:
                        body = value[0] if type(value[0]) is bytes else self._body(filename, size)[0]
                    yield Record(name, _plain(head), body, _version(version), _instant(written))
            finally:
                reader.close()

    def names(self, prefix: str = "", *, containing: str = "") -> list[str]:
        """Return the names that begin with `prefix` and contain a text, oldest first."""
        return [name for name, _ in self._rows("key, NULL", prefix, containing)]

    def dated(self, prefix: str = "") -> list[tuple[str, str | None]]:
        """Return the names that begin with `prefix`, oldest first, with the heads of those that tell of an expiry."""
        return self._rows(f"key, {_EXPIRES}", prefix)

    def _rows(self, columns: str, prefix: str, containing: str = "") -> list[Any]:
        with self.database.lock, self.database.explained():
            connection = self.database.connection()
            where, values = _named(prefix, scan=_are_most(prefix, connection))
            if containing:
                where, values["containing"] = where + " AND instr(key, :containing)", containing
            sql = f"SELECT {columns} FROM Cache WHERE {where} ORDER BY rowid"  # noqa: S608 - made of constants
            try:
                return connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError as exc:
                return [row for row in fetch_again(exc, connection, sql, values) if type(row[0]) is str]

    def head(self, name: str) -> str | None:
        """Return the head of a record, or None."""
        row = self.database.row("SELECT tag FROM Cache WHERE key = ? AND raw = 1", (name,))
        return None if row is None else _plain(row[0])

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits of the records whose names begin with `prefix`, oldest first."""
        with self.database.explained(), self.database.reader() as reader:
            where, values = _named(prefix, scan=_are_most(prefix, reader))
            sql = f"SELECT key, tag, access_count FROM Cache WHERE {where} ORDER BY rowid"  # noqa: S608 - constants
            return _listed(reader, sql, values)

    def heads_of(self, prefixes: Iterable[str]) -> list[tuple[str, str, int]]:
        """Return as `heads` the records of several prefixes, each with few of all; over one connection."""
        where, _ = _named("")
        sql = f"SELECT key, tag, access_count FROM Cache WHERE {where} ORDER BY rowid"  # noqa: S608 - constants
        with self.database.explained(), self.database.reader() as reader:
            return [row for prefix in prefixes for row in _listed(reader, sql, _named(prefix)[1])]

    def sizes(self) -> list[tuple[str, str, int]]:
        """Return name, head and bytes on disk of every record, oldest first."""
        where, values = _named("", scan=True)
        columns = "key, tag, size + coalesce(length(value), 0) + length(tag)"
        sql = f"SELECT {columns} FROM Cache WHERE {where} ORDER BY rowid"  # noqa: S608 - made of constants
        with self.database.explained(), self.database.reader() as reader:
            return _listed(reader, sql, values)

    def volume(self) -> int:
        """Return how many bytes the folder takes, without reading any record."""
        pages, page, files = (
            self.database.row(sql, ())[0]
            for sql in ("PRAGMA page_count", "PRAGMA page_size", "SELECT value FROM Settings WHERE key = 'size'")
        )
        return int(pages) * int(page) + int(files)

    def filenames(self, *, of_whole: bool = False) -> set[str]:
        """Return the value files that rows name; StoreError from a database that should be whole, and is not."""
        sql = "SELECT filename FROM Cache WHERE filename IS NOT NULL"
        with self.database.explained(), self.database.reader() as reader:
            if of_whole and not is_whole(reader):
                raise UnfilledDatabaseError(f"the database {self.database.path} is not filled yet")
            return {name for (name,) in fetch_all(reader, sql) if type(name) is str}

    def adopt(self, name: str, head: str, filename: str, size: int, *, written_at: float) -> bool:
        """Give a value file its row again; return False where the name has a row already."""
        version = _new_version()
        with self.database.transaction() as connection:
            columns = (written_at, version, head, size, _BINARY, filename, None)
            return connection.execute(_INSERT, (name, *columns)).rowcount == 1

    def count_hits(self, hits: Mapping[str, int]) -> None:
        """Add to the numbers of hits."""
        with self.database.transaction() as connection:
            connection.executemany(
                "UPDATE Cache SET access_count = access_count + ? WHERE key = ? AND raw = 1",
                [(count, name) for name, count in hits.items()],
            )

    def swap(
        self,
        name: str,
        head: str,
        body: Sequence[Body],
        *,
        expect: Expect = ANY,
        written_at: float | None = None,
    ) -> Version | None:
        """Write a record as one transaction, and return its new version, or None where `expect` does not hold."""
        size = sum([len(part) if type(part) is bytes else memoryview(part).nbytes for part in body])
        filename, value, mode = None, None, _RAW
        if size < FILE_FROM:
            value, size = b"".join(body), 0  # diskcache counts files only
        else:
            make_folder(self.directory)  # first, or it would be made as a mere parent of the file, open to all
            try:
                filename, size = self.files.write(name, head, body)
            except OSError as exc:
                raise StoreError(f"cannot write a value file in {self.directory} ({exc})") from exc
            mode = _BINARY
        version = _new_version()
        columns = (
            self._clock() if written_at is None else written_at,
            version,
            head,
            size,
            mode,
            filename,
            value,
        )
        try:
            # Most names are new, and then nothing else is needed: one statement, which is a transaction by itself.
            if expect in (ANY, ABSENT) and self.database.insert(_INSERT, (name, *columns)):
                return _version(version)
            held, old_filename = self._replace(name, columns, expect)
        except BaseException:
            if filename is not None:
                self.files.remove(filename)
            raise
        stale = old_filename if held else filename
        # The row may name the new file already: whoever was filling the database found it before it had its row.
        if isinstance(stale, str) and old_filename != filename:
            self.files.remove(stale)
        return _version(version) if held else None

    def _replace(self, name: str, columns: tuple[Any, ...], expect: Expect) -> tuple[bool, Any]:  # Any: of unsure rows
        """Write a row where `expect` holds; return whether it did, and the value file that was named there."""
        with self.database.transaction() as connection:
            if expect in (ANY, ABSENT) and connection.execute(_INSERT, (name, *columns)).rowcount == 1:
                return True, None  # removed since it was there
            old = next(iter(fetch_all(connection, _SELECT_OLD, (name,))), None)
            if old is None or (expect is not ANY and _version(old[1]) != expect):
                return False, None if old is None else old[2]
            connection.execute(_UPDATE, (*columns, old[0]))
            if old[2] is not None and self.before_unlink is not None:
                self.before_unlink()
            return True, old[2]

    def delete(self, names: Iterable[str], *, version: Version | None = None) -> int:
        """Remove these records, only where they have `version` if one is given; return how many there were."""
        wanted = list(names)
        stale: list[str | None] = []
        with self.database.transaction() as connection:
            for start in range(0, len(wanted), _BATCH):
                batch = wanted[start : start + _BATCH]
                marks = ",".join("?" * len(batch))
                sql = f"SELECT rowid, access_time, filename FROM Cache WHERE raw = 1 AND key IN ({marks})"  # noqa: S608
                rows = fetch_all(connection, sql, batch)
                if version is not None:
                    rows = [row for row in rows if _version(row[1]) == version]
                connection.executemany("DELETE FROM Cache WHERE rowid = ?", [(row[0],) for row in rows])
                stale += [row[2] for row in rows]
            if self.before_unlink is not None and any(filename is not None for filename in stale):
                self.before_unlink()
        files = self.files
        for filename in stale:
            if isinstance(filename, str):
                files.remove(filename)
        return len(stale)

    def now(self) -> datetime:
        """Return the clock's time, aware UTC."""
        return _instant(self._clock())

    def close(self) -> None:
        """Close the connection; harmless twice, and the next use opens a new one."""
        self.database.close()


def _listed(reader: sqlite3.Connection, sql: str, values: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return name, head and number of the rows that have a name; a head that cannot be read comes empty."""
    try:
        return reader.execute(sql, values).fetchall()
    except sqlite3.OperationalError as exc:
        rows = fetch_again(exc, reader, sql, values)
    return [(name, _plain(head), number) for name, head, number in rows if type(name) is str]


def _plain(head: object) -> str:
    return head if type(head) is str else ""


_drawn: list[int] = []
"""Versions for the next writes: the system is asked for many at once. A forked child draws its own."""


def _new_version() -> int:
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            drawn = memoryview(os.urandom(8 * 64)).cast("Q")
            _drawn.extend(number & 0xFFFF_FFFF_FFFF for number in drawn)


def _version(access_time: Any) -> Version:  # Any: whatever a planted row holds
    if type(access_time) is float or type(access_time) is int:
        return f"{int(access_time):012x}"
    return repr(access_time)


def _instant(seconds: Any) -> datetime:  # Any: whatever a planted row holds
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _named(prefix: str, *, scan: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the condition for plain rows whose name begins with `prefix`, with its values."""
    # Texts sort before all blobs and after all else, so these bounds are also the test for a text. The plus keeps
    # SQLite from using the index.
    bounds = {"low": prefix, "high": _after_all(prefix)}
    key = "+key" if scan else "key"
    where = f"raw = 1 AND {key} >= :low AND {key} < :high AND tag >= '' AND tag < x''"
    return where if prefix else f"{where} AND {_NO_SYSTEM}", bounds


def _after_all(prefix: str) -> str | bytes:
    """Return what sorts right after all texts that begin with `prefix`."""
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return b""  # the first of the blobs
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def _are_most(prefix: str, connection: sqlite3.Connection) -> bool:
    """Tell whether so many rows begin with `prefix` that walking the table beats the index, a jump for each row."""
    if not prefix:
        return True
    _, bounds = _named(prefix)
    all_rows = "(SELECT value FROM Settings WHERE key = 'count')"
    sql = f"SELECT 4 * count(*) > {all_rows} FROM Cache WHERE key >= :low AND key < :high"  # noqa: S608 - constants
    return bool(connection.execute(sql, bounds).fetchone()[0])
