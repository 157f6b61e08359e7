"""One SQLite connection to diskcache's database for each folder and process.

It is new after a fork, and when the file is replaced. What lies in the file is looked at before anything is read: the
tables, indexes and triggers are those that diskcache makes, or the database is not used.

The folder is an ordinary diskcache folder: `diskcache.Cache` makes it, and can read, count and check it. Rows are read
and written here all the same, for three reasons. Listing through diskcache unpickles keys. It keeps a connection per
thread, and only a single one tells by SQLite's `data_version` that *somebody else* has written. And its writes leave a
transaction open where the disk was full at the commit.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import threading
import time
import weakref
from pathlib import Path
from time import monotonic as _monotonic
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.errors import StoreError
from awaitly_nb.stores.disk import forks
from awaitly_nb.stores.disk.reader import Reader, fetch_again, fetch_all

fcntl: Any = None  # Any: a module
with contextlib.suppress(ImportError):  # Windows
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

__all__ = ["DATABASE", "DamagedDatabaseError", "Database", "UnfilledDatabaseError", "foreign_object"]

DATABASE: Final = "cache.db"

# The folder remembers the settings of whoever opened it last, so they are compared at every open: a cache that evicts
# by itself would lose finished steps.
_SETTINGS: Final[dict[str, Any]] = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 2**15,
    "sqlite_journal_mode": "wal",
    "sqlite_synchronous": 1,
    # No map: a page of it that is gone, because a backup was copied over the file, kills the process. A long listing
    # takes a fifth longer without; a look-up does not.
    "sqlite_mmap_size": 0,
    "sqlite_cache_size": 2**13,
}
_NETWORK_SETTINGS: Final = {**_SETTINGS, "sqlite_journal_mode": "delete"}
_NETWORKS: Final = (
    "nfs",
    "cifs",
    "smb",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "glusterfs",
    "9p",
    "fuse.sshfs",
    "fuse.rclone",
)
_NOT_WRITABLE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_BUSY_S: Final = 60.0
_LOOK_EVERY_S: Final = 5e-4  # how long a look at the path holds: a hit in a tight loop must not pay for a system call
_WATCHED_FROM: Final = 16  # so many questions to SQLite pay for mapping what answers them; a short script asks fewer
_MOST_OPEN: Final = 32  # connections of a process; each has up to six descriptors
_IDLE_S: Final = 5.0  # after so long without a use a connection is closed when another one is opened
_SCHEMA: Final = frozenset(
    {
        "CREATE TABLE Settings ( key TEXT NOT NULL UNIQUE, value)",
        "CREATE TABLE Cache ( rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL,"
        " access_time REAL, access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0,"
        " filename TEXT, value BLOB)",
        "CREATE UNIQUE INDEX Cache_key_raw ON Cache(key, raw)",
        "CREATE INDEX Cache_expire_time ON Cache (expire_time)",
        # For who opens it with another policy than ours.
        "CREATE INDEX Cache_store_time ON Cache (store_time)",
        "CREATE INDEX Cache_access_time ON Cache (access_time)",
        "CREATE INDEX Cache_access_count ON Cache (access_count)",
        "CREATE INDEX Cache_tag_rowid ON Cache(tag, rowid)",
        "CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value + 1 WHERE key = "count"; END',
        "CREATE TRIGGER Settings_count_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value - 1 WHERE key = "count"; END',
        "CREATE TRIGGER Settings_size_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value + NEW.size WHERE key = "size"; END',
        "CREATE TRIGGER Settings_size_update AFTER UPDATE ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value + NEW.size - OLD.size WHERE key = "size"; END',
        "CREATE TRIGGER Settings_size_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value - OLD.size WHERE key = "size"; END',
    }
)
"""What diskcache 5.6 makes. Of another version's it is asked itself, which takes longer."""
_ITS_OWN: Final = frozenset(
    {
        ("index", "sqlite_autoindex_Settings_1", None),
        ("table", "sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"),
    }
)
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")  # of the files that SQLite makes
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WHOLE: Final = 1  # the `user_version` of a database that lacks nothing; diskcache leaves it at 0
_TURNS: Final = 300
_QUEUE_FLAGS: Final = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)
_let_others_run = getattr(os, "sched_yield", lambda: time.sleep(0))
_HEADER_BYTES: Final = 96
_FORMAT: Final = 3007000  # the only version of the file's format that there has been
_DESCRIPTORS: Final = "/dev/fd"
_MARKS: Final = {
    ".gitignore": "# Made by awaitly_nb.\n*\n",
    "CACHEDIR.TAG": (
        "Signature: 8a477f597d28d172789f06886806bc55\n"
        "# This file marks a cache folder of awaitly_nb. See https://bford.info/cachedir/\n"
    ),
}


class DamagedDatabaseError(StoreError):
    """The database file is no sound SQLite database."""


class UnfilledDatabaseError(StoreError):
    """Another database is at the path than before, and it is not known to hold what can be found again."""


class Database:
    """The connection to the database of one folder, opened when first needed.

    Hold `lock` around whatever takes more than one statement.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = os.fspath(directory / DATABASE)
        self.lock = threading.RLock()
        self.queue = WriterQueue(f"{self.path}-queue")
        self._connection: sqlite3.Connection | None = None
        self.used_at = 0.0
        """When it was used last, to half a millisecond."""
        self._identity: tuple[int, int] | None = None
        self._ask: Callable[..., Any]
        self._epoch = 0  # grows with every new connection, so that what was remembered of an older one is not trusted
        self._settings = _SETTINGS
        self._how = "rwc"
        self._read_only = False
        self._frozen: tuple[Any, ...] | None = None  # what the files were like, for a connection that does not look
        self._look_at = 0.0  # so without a connection
        self._header: Any = NOTHING
        self._known: bytes | None = None
        self._asked = 0
        self.writes = 0
        """How many transactions were begun here; `version` tells only of those of others."""
        self.seen = 0
        """The version as it was read last; 0 before that and after a fork."""
        self.whole = False
        """Whether the open database holds all that could be found again, as it says itself or nobody can help."""
        self.only_whole = False
        """Whether a new database at the path that is not whole raises UnfilledDatabaseError, once."""
        forks.watch(self)

    def connection(self) -> sqlite3.Connection:
        """Return the open connection, opening it first where needed; raises StoreError."""
        return self._connection or self._open()

    def fresh(self) -> sqlite3.Connection:
        """Return a connection to the file that is at the path *now*: it may have been deleted or replaced."""
        if self._connection is not None and not self.is_current():
            self.close()
        if self._connection is None:
            self._open()
            if self.only_whole and not self.whole:
                raise UnfilledDatabaseError(f"the database {self.path} is new, and not filled yet")
        return self._connection or self._open()

    def writable(self) -> sqlite3.Connection:
        """Return a connection as `fresh` does, opened anew where it was opened while it could only read."""
        if self._read_only and self._connection is not None and _may_write(self.directory, self.path):
            self.close()
        return self.fresh()

    def is_current(self) -> bool:
        """Tell whether the open connection's file is still the one at the path."""
        try:
            info = os.stat(self.path)  # noqa: PTH116 - Path.stat costs three times as much, and this is on every road
        except OSError:
            return False
        if (info.st_dev, info.st_ino) != self._identity:
            return False
        return self._frozen is None or self._frozen == _stamps(self.path)

    def looked(self) -> sqlite3.Connection:
        """Return a connection to the file that was at the path a moment ago at most; hold `lock`."""
        if _monotonic() > self._look_at:
            connection = self.fresh()
            self.used_at = _monotonic()
            self._look_at = self.used_at + _LOOK_EVERY_S
            return connection
        return self._connection or self._open()

    def version(self) -> int:
        """Return a number that changes when anybody else has written, and that no later connection returns again."""
        try:
            with self.lock:  # the one connection in two threads at once is a crash of the interpreter, not an exception
                if _monotonic() > self._look_at:
                    self.looked()
                # Read before SQLite is asked: what is committed between the two makes the next call ask again.
                header = self._header.raw
                if header == self._known:
                    return self.seen
                self._asked += 1
                if self._asked == _WATCHED_FROM:
                    self._header = map_header(self.path)
                version: int = self._epoch + self._ask("PRAGMA data_version").fetchone()[0]
                self.seen = version
                self._known = header or None
                return version
        except sqlite3.Error as exc:
            raise self.explain(exc) from exc

    @property
    def header(self) -> bytes:
        """Bytes that change when anybody commits, this process too; none where only SQLite can tell."""
        header: bytes = self._header.raw
        return header

    def unwritten_since(self, header: bytes) -> bool:
        """Tell whether nobody has committed since `header` was that; False where only SQLite can tell."""
        with self.lock:
            if _monotonic() > self._look_at:
                self.looked()
            return header != b"" and header == self._header.raw

    def row(
        self, sql: str, values: tuple[Any, ...]
    ) -> Any:  # Any: columns not verified, so anybody may have written them
        """Return the one row of a query, or None."""
        try:
            with self.lock:
                if _monotonic() > self._look_at:
                    self.looked()
                try:
                    return self._ask(sql, values).fetchone()
                except sqlite3.OperationalError as exc:
                    return next(iter(fetch_again(exc, self.looked(), sql, values)), None)
        except sqlite3.Error as exc:
            raise self.explain(exc) from exc

    def rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:  # Any: as of `row`
        """Return the rows of a query that reads few."""
        with self.lock, self.explained():
            return fetch_all(self.looked(), sql, values)

    def insert(self, sql: str, values: tuple[Any, ...]) -> bool:
        """Carry out one statement, which SQLite begins and commits by itself; tell whether it wrote a row."""
        with self.lock:
            try:
                self.writable()
                if not self.on_network:
                    self.queue.enter()
                try:
                    self.writes += 1
                    inserted: bool = self._ask(sql, values).rowcount == 1
                    return inserted
                finally:
                    self.queue.leave()
            except sqlite3.Error as exc:
                raise self.explain(exc) from exc
            except UnicodeEncodeError as exc:
                raise _unkeepable(exc) from exc

    def transaction(self) -> Transaction:
        """Return a context that writes: on the file that is there now, all or nothing."""
        return Transaction(self)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's errors into the store's."""
        try:
            yield
        except sqlite3.Error as exc:
            raise self.explain(exc) from exc
        except UnicodeEncodeError as exc:
            raise _unkeepable(exc) from exc

    def explain(self, exc: sqlite3.Error) -> StoreError:
        """Return the store's error for one of SQLite's."""
        if (getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF in _DAMAGE:
            return DamagedDatabaseError(f"the database {self.path} is damaged ({exc})")
        return StoreError(f"the database {self.path} cannot be used ({exc})")

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        with self.lock:
            connection, self._connection = self._connection, None
            _open_ones.discard(self)
            self._look_at = 0.0
            self._header = NOTHING
            self.queue.close()
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def __del__(self) -> None:
        # Python 3.13 warns of a connection that goes without being closed. A forked child has left it already.
        if self._connection is not None:
            self.close()

    def look_whole(self) -> bool:
        """Ask the database itself whether it is whole: another process may have seen to that."""
        with self.lock, self.explained():
            self.whole = is_whole(self.connection())
        return self.whole

    def mark_whole(self) -> None:
        """Write into the database that it holds all that could be found again."""
        with self.transaction() as connection:
            connection.execute(f"PRAGMA user_version = {_WHOLE}")
        self.whole = True

    def reader(self) -> Reader:
        """Return a connection of its own for a long listing, so that it blocks nobody; the caller closes it."""
        self.connection()
        return Reader(self.path, lambda: self._plain(self._how))

    def after_fork(self, *, at_rest: bool) -> None:
        """Begin anew in the child of a fork."""
        self.lock = threading.RLock()
        # Let go first: the page belongs to a file that closing may remove.
        self._header, self._known = NOTHING, None
        self._look_at = 0.0
        self.seen = 0
        connection, self._connection = self._connection, None
        if connection is not None:
            if at_rest and not connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            else:
                forks.abandon(connection, self.path)

    @property
    def on_network(self) -> bool:
        """Whether the folder lies on a network file system, where neither maps nor `data_version` can be relied on."""
        return self._settings is _NETWORK_SETTINGS

    def _open(self) -> sqlite3.Connection:
        with self.lock, self.explained():
            if self._connection is not None:
                return self._connection
            if forks.is_abandoned(self.path):
                raise StoreError(
                    f"the database {self.path} cannot be used in this process, which was forked while another thread "
                    "was busy with it; start processes before such threads, or by spawning"
                )
            make_folder(self.directory)
            self._refuse_what_is_no_file()
            connection = self._connect()
            try:
                info = Path(self.path).stat()
            except OSError as exc:
                connection.close()
                raise StoreError(f"the database {self.path} vanished while it was opened") from exc
            self._identity = (info.st_dev, info.st_ino)
            self._epoch += 1 << 40
            self._header, self._known, self._asked = NOTHING, None, 0
            self.seen = 0
            self._connection = connection
            self._ask = connection.cursor().execute  # one cursor for all: making one costs a tenth of asking
            self.used_at = _monotonic()
            _close_idle(self)
            return connection

    def _refuse_what_is_no_file(self) -> None:
        # Whoever could put a file here, as a cloned repository may, could have us write to a database of another place,
        # or wait for ever at a pipe. The folder itself may be a link: its owner made that.
        for suffix in _SUFFIXES:
            try:
                mode = os.lstat(path := self.path + suffix).st_mode
            except OSError:
                continue
            if not stat.S_ISREG(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "no regular file"
                raise StoreError(f"{path} is {kind}, and nothing is stored behind one: remove it")

    def close_if_idle(self, since: float) -> None:
        """Close the connection if it was not used after `since` and nobody is using it."""
        if self.lock.acquire(blocking=False):
            try:
                if self.used_at <= since and self._connection is not None and not self._connection.in_transaction:
                    self.close()
            finally:
                self.lock.release()

    def _connect(self) -> sqlite3.Connection:
        self._settings = _NETWORK_SETTINGS if is_network(self.directory) else _SETTINGS
        self._frozen = None
        try:
            return self._connect_as("rwc")
        except sqlite3.OperationalError as exc:
            if os.access(self.directory, os.W_OK) or exc.sqlite_errorcode & 0xFF not in _NOT_WRITABLE:
                raise
        # A folder that can only be read. Immutable is the last resort: it looks at no write-ahead log.
        try:
            return self._connect_as("ro")
        except sqlite3.OperationalError:
            self._frozen = _stamps(self.path)
            return self._connect_as("ro&immutable=1")

    def _connect_as(self, how: str) -> sqlite3.Connection:
        connection = self._plain(how)
        try:
            self._refuse_foreign_objects(connection)
            if not _settings_hold(connection, self._settings) and how == "rwc":
                self._settle()
            for pragma in ("synchronous", "mmap_size", "cache_size"):
                connection.execute(f"PRAGMA {pragma} = {self._settings['sqlite_' + pragma]}")
        except BaseException:
            connection.close()
            raise
        self._how = how
        # SQLite says nothing when it opens a file only to read it.
        self._read_only = how != "rwc" or not _may_write(self.path)
        self.whole = self._read_only or is_whole(connection)
        return connection

    def _refuse_foreign_objects(self, connection: sqlite3.Connection) -> None:
        if (found := foreign_object(connection)) is not None:
            raise DamagedDatabaseError(f"the database {self.path} holds {found}, which awaitly_nb did not make")

    def _plain(self, how: str) -> sqlite3.Connection:
        # As a plain path where that is enough: making a URI loads modules that nothing else here needs.
        place = self.path if how == "rwc" else f"{Path(self.path).as_uri()}?mode={how}"
        return sqlite3.connect(place, uri=how != "rwc", timeout=_BUSY_S, isolation_level=None, check_same_thread=False)

    def _settle(self) -> None:
        """Have diskcache make the tables, and set what it remembers."""
        import diskcache

        try:
            diskcache.Cache(os.fspath(self.directory), timeout=_BUSY_S, **self._settings).close()
        except diskcache.Timeout as exc:
            raise StoreError(f"the database {self.path} is locked by somebody else") from exc


class Transaction:
    """`with database.transaction() as connection`; a class, because a generator would take as long as a statement."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database.lock.acquire()
        try:
            self._connection = self._database.writable()
            if not self._database.on_network:
                self._database.queue.enter()
            self._database.writes += 1
            self._connection.execute("BEGIN IMMEDIATE")
        except BaseException as exc:
            self._database.queue.leave()
            self._database.lock.release()
            if isinstance(exc, sqlite3.Error):
                raise self._database.explain(exc) from exc
            raise
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection = self._connection
        try:
            if exc is None:
                connection.execute("COMMIT")
        except sqlite3.Error as failed:
            exc = failed
        finally:
            # A commit on a full disk fails and may leave the transaction open.
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            self._database.queue.leave()
            self._database.lock.release()
        if isinstance(exc, sqlite3.Error):
            raise self._database.explain(exc) from exc
        if isinstance(exc, UnicodeEncodeError):
            raise _unkeepable(exc) from exc


def _may_write(*paths: str | Path) -> bool:
    return all(os.access(path, os.W_OK) for path in paths)


def _stamps(path: str) -> tuple[Any, ...]:
    """Return what changes when somebody writes to the database at `path`, without looking into it."""
    found: list[tuple[int, ...]] = []
    for suffix in ("", "-wal"):
        try:
            info = os.stat(path + suffix)  # noqa: PTH116 - on the road of a hit
        except OSError:
            found.append(())
        else:
            found.append((info.st_ino, info.st_size, info.st_mtime_ns))
    return tuple(found)


def _unkeepable(exc: UnicodeEncodeError) -> StoreError:
    return StoreError(f"a name holds what UTF-8 cannot ({exc})")


def is_whole(connection: sqlite3.Connection) -> bool:
    """Tell whether a database says that it holds all that could be found again."""
    return bool(connection.execute("PRAGMA user_version").fetchone()[0])


def foreign_object(connection: sqlite3.Connection) -> str | None:
    """Return what lies in a database that diskcache does not make, as in "a view Cache"; None where all is its own.

    A view in the place of a table may never end, and a trigger does what its author wanted.
    """
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    odd = [row for row in rows if _written(row[2]) not in _SCHEMA and row not in _ITS_OWN]
    if odd:
        known = _schema_of_diskcache()
        odd = [row for row in odd if _written(row[2]) not in known]
    return f"a {odd[0][0]} {odd[0][1]!r:.60}" if odd else None


def _written(sql: object) -> str:
    return " ".join(sql.split()) if isinstance(sql, str) else ""


def _schema_of_diskcache() -> frozenset[str]:
    """Return what the version that is installed makes."""
    import tempfile

    import diskcache

    with tempfile.TemporaryDirectory() as folder, diskcache.Cache(folder, **_SETTINGS) as made:
        return frozenset(_written(sql) for (sql,) in made._sql("SELECT sql FROM sqlite_master").fetchall() if sql)  # noqa: SLF001


_open_ones: weakref.WeakSet[Database] = weakref.WeakSet()


def _close_idle(latest: Database) -> None:
    """Close the connections that nobody uses: a process may have seen hundreds of folders, and has few descriptors."""
    _open_ones.add(latest)
    others = sorted((one for one in list(_open_ones) if one is not latest), key=lambda one: one.used_at)
    idle_since = _monotonic() - _IDLE_S
    for position, one in enumerate(others):
        crowded = len(others) - position >= _MOST_OPEN
        if crowded or one.used_at < idle_since:
            one.close_if_idle(one.used_at)


def _settings_hold(connection: sqlite3.Connection, settings: dict[str, Any]) -> bool:
    """Tell whether the folder has all of its tables, and our settings."""
    try:
        rows = connection.execute("SELECT key, value FROM Settings").fetchall()
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # no such table
            return False
        raise
    # Another process may be making them at this moment, each in a transaction of its own; this is the last.
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'Settings_size_delete'").fetchone() is None:
        return False
    found = dict(rows)
    return all(found.get(key) == value for key, value in settings.items())


def make_folder(directory: Path) -> None:
    """Make a cache folder that only its owner can enter, that git ignores and backups skip; raises StoreError."""
    if directory.is_dir():
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in _MARKS.items():
            with contextlib.suppress(FileExistsError), (directory / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as exc:
        raise StoreError(f"the cache folder {directory} cannot be made ({exc})") from exc


def is_network(directory: Path, mounts: str = "/proc/self/mounts") -> bool:
    """Tell whether a folder lies on a network file system, as far as the system tells."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False  # not Linux
    place, best, kind = os.path.realpath(directory), -1, ""
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if len(point) >= best and (place + "/").startswith(point.rstrip("/") + "/"):
            best, kind = len(point), found
    return kind.startswith(_NETWORKS)


class WriterQueue:
    """Whose turn it is to write: a record lock on a file of its own; the system takes it from a process that dies.

    A hint between processes, so that they need not wait for each other as SQLite does: its own waiting sleeps for 1, 2,
    5, 10 and more milliseconds, and a write takes a twentieth of one. Nothing depends on this lock: SQLite's keeps the
    writers apart, and who has waited here for a millisecond or two goes on to it.

    Parameters
    ----------
    path
        The file, made when first needed; where that cannot be, nobody waits here.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def enter(self) -> None:
        """Wait a moment while another process is writing."""
        if fcntl is None:
            return
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, _QUEUE_FLAGS, 0o600)
            for _ in range(_TURNS):
                try:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    _let_others_run()
                else:
                    return
        except OSError:
            return  # a folder that cannot be written, a file system without locks, a link: nobody waits here

    def leave(self) -> None:
        """Let the next one write."""
        if self._descriptor is not None:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            except OSError:
                return  # as above

    def close(self) -> None:
        """Close the file; the next `enter` opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class _Nothing:
    """Stands for the header where it cannot be mapped; its bytes never count as known."""

    __slots__ = ()
    raw: Final = b""


NOTHING: Final[Any] = _Nothing()


def map_header(database: str) -> Any:  # Any: an array of ctypes
    """Return an object whose `raw` is the header of the write-ahead index at that moment, or `NOTHING`.

    In write-ahead mode every commit changes the first 96 bytes of `cache.db-shm`: two copies of a header with a
    counter, salts and a checksum (https://www.sqlite.org/walformat.html, section 2.1). SQLite compares them when a
    transaction begins and takes three microseconds; this takes a tenth of one. Nothing is opened here, so nothing is
    closed: closing any descriptor of that file would take away the locks that SQLite holds on it
    (https://www.sqlite.org/howtocorrupt.html, section 2.2), so the page is mapped through the descriptor that it has.

    Parameters
    ----------
    database
        Path of a database to which this process has a connection that has read from it.
    """
    try:
        header = _map(_descriptor_of(f"{database}-shm"))
    except (ImportError, OSError, AttributeError):  # Windows; no write-ahead mode; a folder that can only be read
        return NOTHING
    return header if int.from_bytes(header.raw[:4], sys.byteorder) == _FORMAT and header.raw[12] == 1 else NOTHING


def _descriptor_of(path: str) -> int:
    """Return the descriptor of this file that is open in this process; raises OSError."""
    wanted = os.stat(path)  # noqa: PTH116 - with fstat below
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names, not paths
        try:
            if os.path.samestat(os.fstat(int(name)), wanted):
                return int(name)
        except OSError:
            continue  # closed meanwhile
    raise FileNotFoundError(path)


def _map(descriptor: int) -> Any:  # Any: an array of ctypes
    """Return the header in shared memory, unmapped when nobody holds it any more; raises OSError."""
    # By `ctypes`, because `mmap.mmap` makes and closes a descriptor of its own.
    import ctypes
    import mmap

    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    address = library.mmap(None, _HEADER_BYTES, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    header = (ctypes.c_char * _HEADER_BYTES).from_address(address)
    weakref.finalize(header, library.munmap, address, _HEADER_BYTES).atexit = False
    return header
