"""Single flight across kernels: one byte range of one file per key, locked as a POSIX record lock.

Record locks belong to the process, so the system frees a dead holder's at once, and a forked child that lives on does
not keep them: that is why they are not `flock` locks. The same rule bites the other way: closing *any* descriptor of
the file drops all locks of the process on it. So there is one descriptor per file and process, and it stays open while
a lock is held.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from datetime import datetime
from hashlib import blake2b
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["KernelFlight", "RecordLocks"]

_FIRST: Final = 1 << 40  # locked bytes lie beyond any content: the start of the file holds the readable slots
_SLOTS: Final = 1024
_SLOT_BYTES: Final = 256
_LOOK_EVERY_S: Final = 1e-3  # how long a look at the path holds: of a thousand misses each would pay for a system call
_MOST_OPEN: Final = 32  # lock files of a process; of more, those without a lock are closed


_NUMBER: Final = blake2b(digest_size=6)


class RecordLocks:
    """The locks of one file. Safe to call from several threads; usable again after a fork.

    Parameters
    ----------
    path
        The lock file; it and its folder are made when first needed.
    clock
        Seconds since the epoch, for `holder`.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._text = os.fspath(self.path)
        self._clock = clock

    def flight(self, name: str) -> KernelFlight:
        """Return the right to compute `name`, not yet taken."""
        digest = _NUMBER.copy()
        digest.update(name.encode("utf-8"))
        return KernelFlight(self, int.from_bytes(digest.digest(), "little"))

    def try_lock(self, number: int, owner: object) -> bool:
        """Take lock `number` if nobody else has it, here or elsewhere; raise OSError if the file cannot be used.

        An interrupt at any moment leaves it to `owner`, or free: who may have been interrupted here unlocks it.
        """
        with _registry_lock:
            file = _file(self._text)
            if number in file.held:
                return file.held[number] is owner
            # First: what is locked and belongs to nobody would be held for as long as this process lives.
            file.held[number] = owner
            locked = False
            try:
                locked = _lock_range(file.descriptor, _FIRST + number)
            except OSError:
                del file.held[number]
                raise
            if not locked:
                del file.held[number]
                return False
        return True

    def note(self, number: int) -> None:
        """Write down for `holder` that this process has lock `number`, since now; raises OSError."""
        data = f'{{"n": {number}, "at": {int(self._clock())}, {_holder_text()}}}'.ljust(_SLOT_BYTES).encode("ascii")
        _write_at(_file(self._text).descriptor, data, number % _SLOTS * _SLOT_BYTES)

    def unlock(self, number: int, owner: object) -> None:
        """Give lock `number` back; harmless where it is not the owner's."""
        with _registry_lock:
            for file in _files.get(self._text, ()):
                if file.held.get(number) is owner:
                    _unlock_range(file.descriptor, _FIRST + number)
                    del file.held[number]

    def holder(self, number: int) -> str | None:
        """Return who took lock `number` last, as a reader wants to see it; None where nobody knows."""
        try:
            data = _read_at(_file(self._text).descriptor, _SLOT_BYTES, number % _SLOTS * _SLOT_BYTES)
            note = loads(data)
            if note["n"] != number:
                return None
            since = datetime.fromtimestamp(note["at"]).astimezone()
            program = f"{name} in " if isinstance(name := note.get("in"), str) else ""
            return f"{program}kernel {int(note['pid'])} on {note['host']}, since {since:%H:%M:%S}"
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _holder_text() -> str:
    """Return the members of a note that tell which process this is."""
    notebook = _notebook_name()
    if (known := _holders.get(notebook)) is None:
        note: dict[str, object] = {"pid": os.getpid(), "host": host_name()[:40]}
        note |= {"in": name} if (name := program_name()) else {}
        text = dumps(note).encode("ascii", "replace").decode("ascii")
        known = _holders[notebook] = text[1:-1]
    return known


_holders: dict[str | None, str] = {}
"""By the notebook's name, which a kernel is told and told anew; emptied in a forked child, which is another process."""


def _notebook_name() -> str | None:
    return os.environ.get("JPY_SESSION_NAME") if "ipykernel" in sys.modules else None


def program_name() -> str:
    """Return the name of the notebook or script that this process runs, as far as it is known, and not too long."""
    path = _notebook_name() or getattr(sys.modules.get("__main__"), "__file__", None) or ""
    name = os.path.basename(path).encode("ascii", "replace").decode()  # noqa: PTH119 - text, not a path of this system
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."


_NAME: Final = 60


def host_name() -> str:
    """Return this machine's name; the module `socket`, which knows it too, takes milliseconds to load."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "this machine")


class KernelFlight:
    """The right to compute one key, among all kernels that share a cache folder.

    A context manager too: `with flight:` waits until it is free.
    """

    __slots__ = ("_locks", "_noted", "_number", "_tried")

    def __init__(self, locks: RecordLocks, number: int) -> None:
        self._locks = locks
        self._number = number
        self._noted = True
        self._tried = False

    def try_acquire(self) -> bool:
        """Take the flight if nobody has it; a file that cannot be locked counts as free, for the work goes on."""
        self._tried = True
        try:
            locked = self._locks.try_lock(self._number, self)
            if locked and self._noted:
                self._locks.note(self._number)
        except OSError:  # also of a full disk, which takes the note: the lock holds all the same
            return True
        return locked

    def without_note(self) -> None:
        """Take it without a note of who has it, because nobody will wait for long enough to read one."""
        self._noted = False

    def release(self) -> None:
        """Give it back, also where an interrupt ended an attempt to take it or to release it; else harmless."""
        if self._tried:  # whoever must not be interrupted in between releases twice
            self._locks.unlock(self._number, self)
            self._tried = False

    def holder(self) -> str | None:
        """Return who computes this key, as in "kernel 4711 on host, since 12:03:10", or None where that is unknown."""
        return self._locks.holder(self._number)

    def __enter__(self) -> KernelFlight:
        pause = 0.001
        try:
            while not self.try_acquire():
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


_FLAGS: Final = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
)


class _File:
    """The one descriptor of a lock file in this process, and which of its locks are held."""

    __slots__ = ("descriptor", "held", "identity", "look_at")

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.descriptor = os.open(path, _FLAGS, 0o600)
        info = os.fstat(self.descriptor)
        if not stat.S_ISREG(info.st_mode):
            os.close(self.descriptor)
            raise OSError(f"{path} is no regular file")
        self.identity = (info.st_dev, info.st_ino)
        self.held: dict[int, object] = {}  # lock: whose it is
        self.look_at = 0.0  # from when on it may have been deleted since somebody looked


_registry_lock = threading.RLock()
_files: dict[str, list[_File]] = {}  # newest last; older ones are of a file that was deleted since


def _file(path: str) -> _File:
    with _registry_lock:
        known = _files.get(path)
        if known:
            file, now = known[-1], time.monotonic()
            if now < file.look_at:
                return file
            try:
                info = os.stat(path)  # noqa: PTH116 - on the road of a miss
                if (info.st_dev, info.st_ino) == file.identity:
                    file.look_at = now + _LOOK_EVERY_S
                    return file
            except OSError:
                pass  # deleted: made anew below
        known = _files.setdefault(path, [])
        known.append(_File(Path(path)))
        _close_unused(path)
        return known[-1]


def _close_unused(latest: str) -> None:
    """Close files without a lock, the oldest first, where there are many; the next use opens them."""
    for text in list(_files):
        if sum(map(len, _files.values())) <= _MOST_OPEN:
            return
        if text != latest and not any(file.held for file in _files[text]):
            for file in _files.pop(text):
                os.close(file.descriptor)


def _forget() -> None:
    # A forked child holds none of its parent's locks. Closing the inherited descriptors drops only the child's own.
    global _registry_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _registry_lock = threading.RLock()
    for files in _files.values():
        for file in files:
            os.close(file.descriptor)
    _files.clear()
    _holders.clear()


if sys.platform == "win32":  # pragma: no cover - exercised on Windows only
    import msvcrt

    def _lock_range(descriptor: int, offset: int) -> bool:
        os.lseek(descriptor, offset, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock_range(descriptor: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def _write_at(descriptor: int, data: bytes, offset: int) -> None:
        with _registry_lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            os.write(descriptor, data)

    def _read_at(descriptor: int, size: int, offset: int) -> bytes:
        with _registry_lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, size)

else:
    import fcntl

    def _lock_range(descriptor: int, offset: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):  # POSIX allows either for "somebody has it"
            return False
        return True

    def _unlock_range(descriptor: int, offset: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)

    def _write_at(descriptor: int, data: bytes, offset: int) -> None:
        os.pwrite(descriptor, data, offset)

    def _read_at(descriptor: int, size: int, offset: int) -> bytes:
        return os.pread(descriptor, size, offset)

    os.register_at_fork(after_in_child=_forget)
