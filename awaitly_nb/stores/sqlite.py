"""Records in an SQLite file: the embedded default, on the standard library alone.

Durable: write-ahead log with `synchronous=FULL`, so a commit is on the disk when `swap` returns. Several processes may
use one file. The clock is this machine's.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import StoreError
from awaitly_nb.stores.adapters import close_with
from awaitly_nb.stores.sql import Dialect, SqlStore

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

__all__ = ["sqlite_store"]

_left_to_parent: list[sqlite3.Connection] = []
"""Connections that a fork copied here: never used and never closed, since they are the parent's."""


def sqlite_store(
    path: str | Path, *, table: str = "awaitly", timeout_s: float = 30.0, clock: Callable[[], float] = time.time
) -> SqlStore:
    """Return a store in the SQLite file at `path`, which is made on first use, readable by its owner only.

    Parameters
    ----------
    path
        The file.
    table
        Name of the table.
    timeout_s
        Seconds to wait for another process that is writing.
    clock
        Tells the time, as `time.time` does.
    """
    return SqlStore(_Sqlite(Path(path), timeout_s, clock), table=table)


class _Sqlite:
    dialect = Dialect("INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB", "awaitly_now()")

    def __init__(self, path: Path, timeout_s: float, clock: Callable[[], float]) -> None:
        self._path = path.expanduser().absolute()  # the notebook may change its directory later
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._pid = 0
        self._inode: int | None = None

    def execute(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        import sqlite3

        with self._lock:
            try:
                cursor = self._connection().execute(sql, parameters)
                return cursor.fetchall(), cursor.rowcount
            except (sqlite3.Error, OverflowError, OSError) as exc:
                if "user-defined function raised" in str(exc):  # the clock, which nothing but Ctrl-C breaks off
                    raise KeyboardInterrupt from exc
                raise StoreError(f"cannot use {self._path}: {type(exc).__name__}: {exc}") from exc

    def execute_or_create(self, sql: str, parameters: Sequence[Any], create: str) -> tuple[list[Any], int]:
        try:
            return self.execute(sql, parameters)
        except StoreError as exc:
            if "no such table" not in str(exc):
                raise
        self.execute(create, ())
        return self.execute(sql, parameters)

    def close(self) -> None:
        with self._lock:
            if self._open is not None and self._pid == os.getpid():
                self._open.close()
            self._open = None

    def _connection(self) -> sqlite3.Connection:
        import sqlite3

        if self._open is not None:
            if self._pid != os.getpid():
                _left_to_parent.append(self._open)
            elif self._inode == _inode(self._path):
                return self._open
            else:  # the file was deleted or replaced: what is written to the old one would be lost
                self._open.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        opened = sqlite3.connect(
            self._path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False, cached_statements=32
        )
        close_with(self, opened.close)
        clock = self._clock
        opened.create_function("awaitly_now", 0, lambda: int(clock() * 1_000_000))
        self._use_wal(opened)
        opened.execute("PRAGMA synchronous = FULL")
        self._open, self._pid, self._inode = opened, os.getpid(), _inode(self._path)
        return opened

    def _use_wal(self, opened: sqlite3.Connection) -> None:
        import sqlite3

        # Changing the journal mode does not wait for others as statements do, and processes that open one new file at
        # the same moment all change it.
        deadline = time.monotonic() + self._timeout_s
        while opened.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                opened.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def __repr__(self) -> str:
        return f"sqlite, {self._path}"


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
