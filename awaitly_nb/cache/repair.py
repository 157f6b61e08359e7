"""Looking a folder over and repairing it: orphan files of dead writers, and a database that is damaged or gone.

A look changes nothing and decodes no value. A repair removes only what can never be served: files without a row, rows
without their file, entries that are damaged. Entries of a foreign secret stay, because they may be somebody's.

A damaged database is renamed, never deleted, and the new one is filled with every row of the old that can still be
read and with every value file, as far as they verify; those of a foreign secret or of a newer version stay for
whoever can read them. Only then does the new database say that it is whole: whoever opens one that does not goes on
where another process was stopped. Kernels that have the old file open see at their next look that another one is at its
place.

All of it happens under a lock that one process at a time can hold. Nothing is removed while a database is being filled:
a file that waits for its row looks like one that nobody needs.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from awaitly_nb.cache.entry import SEPARATOR, number_of
from awaitly_nb.cache.folder import PART, dead_writers, is_alive
from awaitly_nb.cache.sealed import is_part
from awaitly_nb.codec import EnvelopeError, check_buffers, default_keyring, open_envelope, read_head
from awaitly_nb.errors import CacheUnusableWarning, StoreError, warn
from awaitly_nb.stores import (
    ABSENT,
    DATABASE,
    DamagedDatabaseError,
    DamagedRecordError,
    UnfilledDatabaseError,
    is_made,
    is_network,
    readable_rows,
    sound,
    strays,
)
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.stores import Body, Stray

__all__ = [
    "Report",
    "examine",
    "fill",
    "rebuild",
    "remove_strays",
    "repairer",
    "set_aside",
    "settle",
    "tidy",
    "unfinished",
]

_REPAIR: Final = "repair"
_WAIT_S: Final = 120.0
_DAMAGED: Final = f"{DATABASE}.damaged-"
_REBUILDING: Final = f"{DATABASE}.rebuilding-"
_LOGS: Final = ("-wal", "-shm")


def settle(folder: Folder) -> None:
    """Do what an open finds to be done: fill a database that is not whole, remove the files of dead writers."""
    with contextlib.suppress(OSError):
        if os.name == "posix" and folder.directory.stat().st_mode & stat.S_IWOTH:
            warn(
                f"anybody on this machine can write to the cache {folder.directory}; what they put there is not used, "
                f"but they can remove what is cached: chmod 700 {folder.directory}",
                CacheUnusableWarning,
            )
    database = folder.store.database
    if not database.whole:
        try:
            fill(folder)
        except DamagedDatabaseError:
            raise
        except StoreError:
            # Not to be written, or another process takes its time: what is there is served, the next open tries again.
            database.whole = True
            return
    if dead := dead_writers(folder):
        with contextlib.suppress(StoreError, OSError), _alone(folder, wait_s=0):  # else it waits until the next open
            _sweep(folder)
            for note in dead:
                note.unlink(missing_ok=True)


def fill(folder: Folder) -> int:
    """Fill a database that does not say that it is whole; return how many entries were found again."""
    with _alone(folder):
        return _fill(folder)


def rebuild(folder: Folder, reason: str) -> None:
    """Set a damaged database aside and make a new one from what is left; raises StoreError where it cannot be done."""
    with _alone(folder):
        folder.store.close()
        if not sound(folder.directory / DATABASE):  # else another process was faster
            _set_aside(folder)
        _fill(folder, reason)


def tidy(folder: Folder) -> tuple[int, int]:
    """Give files their rows again, remove the rest of dead writers; return how many of either."""
    with _alone(folder):
        return _adopt(folder), len(_sweep(folder))


def remove_strays(folder: Folder, strays: Sequence[Stray]) -> int:
    """Remove rows that are not ours, unless others have their numbers by now. Their files stay: a row may name any."""
    sql = "DELETE FROM Cache WHERE rowid = ? AND coalesce(CAST(key AS BLOB), x'') = ?"
    with folder.store.database.transaction() as connection:
        return sum([connection.execute(sql, (number, name)).rowcount for number, name, _ in strays])


def unfinished(folder: Folder) -> list[Path]:
    """Return the databases that were set aside and not read to their end yet, oldest first."""
    return _databases(folder, _REBUILDING)


def set_aside(folder: Folder) -> list[Path]:
    """Return the damaged databases that were read to their end, oldest first."""
    return _databases(folder, _DAMAGED)


def _databases(folder: Folder, prefix: str) -> list[Path]:
    return sorted(path for path in folder.directory.glob(f"{prefix}*") if not path.name.endswith(_LOGS))


def repairer(folder: Folder) -> str | None:
    """Return who repairs the folder at this moment, or None."""
    lock = folder.locks.flight(_REPAIR)
    if not folder.locks.path.exists():
        return None  # nor is the file made by asking
    if lock.try_acquire():
        lock.release()
        return None
    return lock.holder() or "another kernel"


@contextlib.contextmanager
def _alone(folder: Folder, *, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Hold the lock for repairs; raises StoreError where somebody else keeps it for too long."""
    lock = folder.locks.flight(_REPAIR)
    until = time.monotonic() + wait_s
    while not lock.try_acquire():
        if time.monotonic() >= until:
            raise StoreError(f"{lock.holder() or 'another kernel'} is repairing the cache {folder.directory}")
        time.sleep(0.05)
    try:
        yield
    finally:
        lock.release()


def _fill(folder: Folder, reason: str | None = None) -> int:
    store = folder.store
    with contextlib.suppress(UnfilledDatabaseError):  # which is why we are here
        store.database.fresh()
    old = unfinished(folder)
    if store.database.look_whole() and not old:
        return 0  # Another process was faster.
    lost = not store.filenames() and next(store.files.paths(), None) is not None
    restored = sum([_salvage(folder, path) for path in old]) + _adopt(folder)
    names = [_finish(path) for path in old]
    store.database.mark_whole()
    if old:
        reason = reason or f"the database of the cache {folder.directory} was damaged"
        rescued = f"it was set aside as {', '.join(names)}, and {restored} entries were rescued into a new one"
        warn(f"{reason}; {rescued}", CacheUnusableWarning)
    elif lost:
        found = f"{restored} entries were found again in their files"
        warn(f"the database of the cache {folder.directory} was gone; {found}", CacheUnusableWarning)
    return restored


def _sweep(folder: Folder) -> list[str]:
    """Remove the files that have no row and whose writer is dead; return them."""
    files = folder.store.files
    # Files first, then who lives, then the rows: a dead writer adds no row, and one that lives is left alone.
    found = [(path, token) for path in files.paths() if (token := files.token_of(path)) is not None]
    alive = {token: is_alive(folder, token) for token in {token for _, token in found}}
    files.remove_empty()
    if all(alive.values()):
        return []
    named = folder.store.filenames(of_whole=True)
    orphans = [path for path, token in found if not alive[token] and path not in named]
    for path in orphans:
        files.remove(path)
    return orphans


def _set_aside(folder: Folder) -> None:
    """Rename the database with its write-ahead log, so that both stay together."""
    stamp = datetime.fromtimestamp(time.time()).astimezone().strftime("%Y%m%d-%H%M%S-%f")
    _rename(folder.directory / DATABASE, f"{_REBUILDING}{stamp}")


def _finish(path: Path) -> str:
    """Give a database that was read to its end the name that it keeps, and return that."""
    name = _DAMAGED + path.name.removeprefix(_REBUILDING)
    _rename(path, name)
    return name


def _rename(path: Path, name: str) -> None:
    try:
        # The database first: SQLite removes a log that it finds beside a database that is not there.
        path.rename(path.with_name(name))
    except OSError as exc:
        raise StoreError(f"the damaged database {path} cannot be renamed ({exc})") from exc
    for suffix in _LOGS:
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).rename(path.with_name(name + suffix))


def _salvage(folder: Folder, aside: Path) -> int:
    """Copy the small entries that can still be read, as they are, where there is none yet; return how many."""
    restored = 0
    for name, head, body, written_at in readable_rows(aside):
        if _worth_keeping(name, head, body):
            version = folder.store.swap(name, head, [body], expect=ABSENT, written_at=written_at)
            restored += version is not None
    return restored


class _Found(NamedTuple):
    """A value file that has no row. Of two with one name the greater stays: what verifies here, then the newer."""

    trusted: bool
    stored_at: float
    path: str
    size: int
    head: str


def _adopt(folder: Folder) -> int:
    """Give every value file that is worth it and has no row its row again; return how many."""
    store = folder.store
    named = store.filenames()
    best: dict[str, _Found] = {}
    for path in store.files.paths():
        if path in named:
            continue
        try:
            name, head, size = store.files.front(path)
            body, _ = store.files.read(path, size)
        except (StoreError, OSError):
            continue
        if verdict := _worth_keeping(name, head, body):
            found = _Found(verdict == "trusted", _stored_at(head), path, size, head)
            if name not in best or found[:2] > best[name][:2]:
                best[name] = found
    # A planted file gets a row as well, but only of a name that has none: a look-up verifies it, and tells of a miss.
    return sum(
        store.adopt(name, found.head, found.path, found.size, written_at=found.stored_at)
        for name, found in sorted(best.items(), key=lambda item: item[1].stored_at)
    )


def _stored_at(head: str) -> float:
    members = read_head(head) or {}
    return number_of(members.get("stored_at")) or number_of(members.get("created_at")) or 0.0


def _worth_keeping(name: str, head: str, body: Body) -> str | None:
    """Tell whether an entry is trusted here or may be of use to others, by a foreign secret or a newer version."""
    if name.startswith(PART):
        return "trusted" if is_part(name.removeprefix(PART), bytes(body)) else None
    try:
        open_envelope(name, head, body, default_keyring())
    except EnvelopeError as exc:
        return exc.reason if exc.reason in ("foreign", "newer", "outdated") else None
    return "trusted"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a cache folder; `fixed` says what was repaired.

    Attributes
    ----------
    directory
        The folder.
    entries, size_bytes
        How much is cached.
    healthy
        True when nothing has to be done.
    problems
        One line each, for people.
    fixed
        What was done about them, one line each.
    notes
        What is worth knowing, and is no fault.
    """

    directory: Path
    entries: int = 0
    size_bytes: int = 0
    problems: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def healthy(self) -> bool:
        """True when nothing has to be done."""
        return not self.problems or bool(self.fixed)

    def __str__(self) -> str:
        lines = [f"{self.directory}: {self.entries} entries, {show_size(self.size_bytes)}"]
        lines += [f"  problem: {line}" for line in self.problems]
        lines += [f"  fixed:   {line}" for line in self.fixed]
        lines += [f"  note:    {line}" for line in self.notes]
        if not self.problems:
            lines.append("  nothing is wrong")
        return "\n".join(lines)


def examine(folder: Folder, *, fix: bool) -> Report:
    """Look a cache folder over, and put it right if asked."""
    path = folder.directory
    if not path.is_dir():
        return Report(path, notes=("the folder does not exist yet",))
    problems: list[str] = []
    fixed: list[str] = []
    notes = _about_folder(path, problems, fixed, fix=fix)
    notes += [f"a damaged database was set aside earlier: {found.name}" for found in set_aside(folder)]
    if (path / DATABASE).exists() and not sound(path / DATABASE):
        problems.append("the database is damaged")
        if not fix:
            return Report(path, problems=tuple(problems), notes=tuple(notes))
        folder.store.close()
        rebuild(folder, "the database is damaged")
        fixed.append("the database was set aside and rebuilt")
    entries = size = 0
    try:
        _about_filling(folder, problems, fixed, notes, fix=fix)
        if fix or is_made(path / DATABASE):  # to open one that is not would be to make it
            entries, size = _about_entries(folder, problems, fixed, notes, fix=fix)
            entries += _about_files(folder, problems, fixed, fix=fix)
    except (StoreError, sqlite3.Error) as exc:
        problems.append(str(exc))
    return Report(path, entries, size, tuple(problems), tuple(fixed), tuple(notes))


def _about_folder(path: Path, problems: list[str], fixed: list[str], *, fix: bool) -> list[str]:
    notes = []
    mode = path.stat().st_mode
    if os.name == "posix" and mode & (stat.S_IWOTH | stat.S_IWGRP):
        problems.append(f"others can write to the folder (mode {stat.S_IMODE(mode):o})")
        if fix:
            path.chmod(0o700)
            fixed.append("the folder was made private")
    if is_network(path):
        notes.append("on a network file system: slower, and nothing is cached in memory")
    return notes


def _about_filling(folder: Folder, problems: list[str], fixed: list[str], notes: list[str], *, fix: bool) -> None:
    """Tell of a database that is gone, or was not read to its end when another was made in its place."""
    if (who := repairer(folder)) is not None and not fix:
        notes.append(f"{who} is repairing it")
        return
    old = unfinished(folder)
    if old:
        problems.append(f"a damaged database is not rescued to its end yet: {', '.join(path.name for path in old)}")
    elif not is_made(folder.directory / DATABASE) and (count := sum(1 for _ in folder.store.files.paths())):
        problems.append(f"the database is gone; {count} value files wait to be found again")
    if fix:
        restored = fill(folder)
        if old or restored:
            fixed.append(f"{restored} entries were found again")


def _about_entries(
    folder: Folder, problems: list[str], fixed: list[str], notes: list[str], *, fix: bool
) -> tuple[int, int]:
    store = folder.store
    planted = strays(folder.directory / DATABASE)
    bad: dict[str, str] = {}
    foreign = entries = size = 0
    for name, _, length in store.sizes():
        entries, size = entries + 1, size + length
        try:
            found = store.fetch(name)
            if found is None:
                continue
            # Head and body of one look: somebody may have replaced the entry since it was listed.
            check_buffers(open_envelope(name, found[0], found[1], folder.keyring))
        except EnvelopeError as exc:
            if exc.reason in ("foreign", "outdated"):
                foreign += 1
            elif exc.reason != "newer":
                bad[name] = str(exc)
        except (DamagedRecordError, sqlite3.Error) as exc:
            bad[name] = str(exc)
    problems += [f"{_key_of(name)!r} cannot be served: {why}" for name, why in bad.items()]
    problems += [f"{_key_of(name.decode(errors='replace'))!r} cannot be served: {why}" for _, name, why in planted]
    if bad and fix:
        fixed.append(f"{folder.delete(bad, for_good=False)} entries that cannot be served were removed")
        entries -= len(bad)
    if planted and fix:
        fixed.append(f"{remove_strays(folder, planted)} rows that awaitly_nb did not write were removed")
    if foreign:
        notes.append(f"{foreign} entries have a secret that is not trusted here, or an old format: `awaitly-nb trust`")
    return entries, size


def _about_files(folder: Folder, problems: list[str], fixed: list[str], *, fix: bool) -> int:
    """Tell of files that belong to no entry; return how many found theirs."""
    if repairer(folder) is not None:
        return 0  # they wait for their rows
    named = folder.store.filenames()
    orphans = [path for path in folder.store.files.paths() if path not in named and not _being_written(folder, path)]
    if orphans:
        problems.append(f"{len(orphans)} files belong to no entry")
    if not (orphans and fix):
        return 0
    restored, swept = tidy(folder)
    fixed.append(f"{swept} files that belong to no entry were removed, {restored} found their entry")
    return restored


def _key_of(name: str) -> str:
    return name.partition(SEPARATOR)[2] or name


def _being_written(folder: Folder, path: str) -> bool:
    token = folder.store.files.token_of(path)
    return token is not None and is_alive(folder, token)
