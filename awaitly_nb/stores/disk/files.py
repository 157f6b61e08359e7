"""Value files: large bodies beside the database, each beginning with a copy of its record's name and head.

    magic | lengths of name and head | name | head | zeros up to 64 | body

A file is written whole under a name nobody has, then named by a row; it is never changed afterwards, and its mode says
so: nobody may write to it. Only such a file of our own is read through a map, because what is written into a mapped
file shows in the arrays that users hold, and one cut short ends the process. Its name carries the token of the process
that wrote it, so that a file without a row can be told from one that is being written. Paths are checked against one
pattern and opened without following links or waiting for a pipe: a planted row, link or pipe leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import struct
import sys
import weakref
from typing import TYPE_CHECKING, Final, TypeAlias

from awaitly_nb.stores import DamagedRecordError

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from awaitly_nb.stores import Body

__all__ = ["ValueFiles"]

_MAGIC: Final = b"awaitly1"
_LENGTHS: Final = struct.Struct("<II")
_ALIGNMENT: Final = 64
_PATTERN: Final = re.compile(r"[0-9a-f]{2}/([0-9a-f]{16})-[0-9a-f]{16}\.val")
_SHARD: Final = re.compile(r"[0-9a-f]{2}")
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_READABLE: Final = 0o600 if sys.platform == "win32" else 0o400  # there, a file that is read-only cannot be removed
_WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_RESERVE_FROM: Final = 1 << 20
_NAMES: Final = 100
_CHUNK: Final = 1 << 30  # some systems refuse single writes of 2 GB and more
_JOINED: Final = 1 << 20

MAP_FROM: Final = 8 * 1024 * 1024
"""From this size a file is mapped instead of read."""

MAX_MAPS: Final = 64
"""Live maps; beyond it files are read, because systems bound the maps of a process."""

Stamp: TypeAlias = "tuple[int, ...]"

_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


class ValueFiles:
    """The value files of one cache folder.

    Parameters
    ----------
    directory
        The cache folder.
    token
        Sixteen hexadecimal digits that name this process.
    mapped
        Whether large files may be mapped.
    """

    def __init__(self, directory: Path, *, token: str, mapped: bool = True) -> None:
        self._directory = directory
        self._token = token
        self._mapped = mapped

    def write(self, name: str, head: str, body: Sequence[Body]) -> tuple[str, int]:
        """Write a new file and return its path inside the folder, and its size. A failed write leaves no file."""
        relative = self._new_name()
        path = self._directory / relative
        name_bytes, head_bytes = name.encode("utf-8"), head.encode("utf-8")
        front = _MAGIC + _LENGTHS.pack(len(name_bytes), len(head_bytes)) + name_bytes + head_bytes
        front += bytes(-len(front) % _ALIGNMENT)
        descriptor = self._create(path)
        try:
            try:
                self._reserve(descriptor, len(front) + sum(memoryview(part).nbytes for part in body))
                size = _write_all(descriptor, [front, *body])
            finally:
                os.close(descriptor)
        except BaseException:
            self.remove(relative)
            raise
        return relative, size

    def _new_name(self) -> str:
        """Return a path that no file has, in a folder that is no link: a cloned repository may have brought some."""
        for _ in range(_NAMES):
            random = os.urandom(9).hex()
            if not self._leaves(random[:2]):
                return f"{random[:2]}/{self._token}-{random[2:]}.val"
        raise OSError(f"{self._directory / random[:2]} is a link, and nothing is written behind one: remove it")

    def _reserve(self, descriptor: int, size: int) -> None:
        """Claim the blocks of a large file at once: a third faster than one by one, and a full disk says so first."""
        if self._mapped and size >= _RESERVE_FROM and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(descriptor, 0, size)
            except OSError as exc:
                if exc.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # of a file system that cannot
                    raise

    @staticmethod
    def _create(path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0)
        for _ in range(10):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Another process may remove the folder between the two lines, when it deletes the last file in it.
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, flags, _READABLE)
        raise FileNotFoundError(f"{path.parent} is removed again and again")

    def read(self, relative: str, size: int) -> tuple[memoryview, Stamp]:
        """Return the body of the file that a row names, writable and private to the caller, and the file's stamp.

        The stamp is another one when somebody has written to the file, or put another in its place.

        Raises
        ------
        FileNotFoundError
            It is gone.
        DamagedRecordError
            It is no value file, or not of the size the row tells.
        """
        descriptor = self._open(relative)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise DamagedRecordError(f"value file {relative} is no regular file")
            # Checked before it is mapped: a page beyond the end would kill the process.
            if info.st_size != size:
                raise DamagedRecordError(f"value file {relative} has {info.st_size} bytes where {size} were written")
            data: bytearray | mmap.mmap
            # Loaded only for what is large: a fresh process that hits needs few modules.
            if self._mapped and size >= MAP_FROM and len(_maps) < MAX_MAPS and _is_unchanging(info):
                import mmap

                data = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
                _maps.add(data)
            else:
                data = _read_all(descriptor, size)
        finally:
            os.close(descriptor)
        view = memoryview(data)
        _, _, start = _parse(view, relative)
        return view[start:], (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)

    def front(self, relative: str) -> tuple[str, str, int]:
        """Return name and head that a value file begins with, and the file's size; DamagedRecordError if it is none."""
        descriptor = self._open(relative)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise DamagedRecordError(f"value file {relative} is no regular file")
            size = info.st_size
            data = os.read(descriptor, 1 << 16)
            if data.startswith(_MAGIC) and len(data) >= len(_MAGIC) + _LENGTHS.size:
                wanted = sum(_LENGTHS.unpack_from(data, len(_MAGIC))) + 2 * _ALIGNMENT
                while len(data) < min(wanted, size) and (more := os.read(descriptor, wanted - len(data))):
                    data += more
        finally:
            os.close(descriptor)
        name, head, _ = _parse(memoryview(data), relative)
        return name, head, size

    def remove(self, relative: str) -> None:
        """Remove a file and its folder when that is empty then; harmless where it is gone."""
        if _PATTERN.fullmatch(relative) is None or self._leaves(relative):
            return
        path = self._directory / relative
        with contextlib.suppress(OSError):
            path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def paths(self) -> Iterator[str]:
        """Yield the value files of the folder, as paths inside it."""
        for folder in _listed(self._directory, os.DirEntry.is_dir):
            if _SHARD.fullmatch(folder):
                for name in _listed(self._directory / folder, os.DirEntry.is_file):
                    if _PATTERN.fullmatch(f"{folder}/{name}"):
                        yield f"{folder}/{name}"

    def remove_empty(self) -> None:
        """Remove folders without a file, as a killed writer may leave one; who is about to write makes it again."""
        for folder in _listed(self._directory, os.DirEntry.is_dir):
            if _SHARD.fullmatch(folder):
                with contextlib.suppress(OSError):
                    (self._directory / folder).rmdir()

    @staticmethod
    def token_of(relative: str) -> str | None:
        """Return the token of the process that wrote a file, or None where the path is no value file's."""
        match = _PATTERN.fullmatch(relative)
        return match[1] if match else None

    def _open(self, relative: str) -> int:
        if not isinstance(relative, str) or _PATTERN.fullmatch(relative) is None:
            raise DamagedRecordError(f"a row names {relative!r}, which is no value file of this folder")
        if self._leaves(relative):
            raise DamagedRecordError(f"value file {relative} lies behind a link that leads out of the folder")
        try:
            return os.open(self._directory / relative, os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise DamagedRecordError(f"value file {relative} cannot be opened ({exc})") from exc

    def _leaves(self, relative: str) -> bool:
        return (self._directory / relative[:2]).is_symlink()


def _is_unchanging(info: os.stat_result) -> bool:
    """Tell whether nobody but its owner, who is the user, could make a file writable."""
    return hasattr(os, "geteuid") and info.st_uid == os.geteuid() and not info.st_mode & _WRITABLE


def _listed(folder: Path, wanted: Callable[..., bool]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if wanted(entry, follow_symlinks=False))
    except OSError:
        return []


def _write_all(descriptor: int, parts: Sequence[Body]) -> int:
    size = waiting = 0
    small: list[memoryview] = []
    for part in parts:
        view = memoryview(part).cast("B")
        size += view.nbytes
        # Joined by the megabyte: thousands of small arrays in one piece took as long to gather as to write.
        if small and waiting + view.nbytes > _JOINED:
            _write_part(descriptor, memoryview(b"".join(small)))
            small.clear()
            waiting = 0
        if view.nbytes < _JOINED:
            small.append(view)
            waiting += view.nbytes
        else:
            _write_part(descriptor, view)
    _write_part(descriptor, memoryview(b"".join(small)))
    return size


def _write_part(descriptor: int, view: memoryview) -> None:
    while view.nbytes:
        view = view[os.write(descriptor, view[:_CHUNK]) :]


def _read_all(descriptor: int, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        while done < size:
            if not (count := file.readinto(view[done : done + _CHUNK])):
                raise DamagedRecordError(f"a value file ended after {done} of {size} bytes")
            done += count
    return data


def _parse(view: memoryview, relative: str) -> tuple[str, str, int]:
    """Return name, head and where the body starts."""
    fixed = len(_MAGIC) + _LENGTHS.size
    if len(view) < fixed or bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise DamagedRecordError(f"value file {relative} does not begin as one")
    name_size, head_size = _LENGTHS.unpack_from(view, len(_MAGIC))
    end = fixed + name_size + head_size
    if end > len(view):
        raise DamagedRecordError(f"value file {relative} is cut short")
    try:
        name = str(view[fixed : fixed + name_size], "utf-8")
        head = str(view[fixed + name_size : end], "utf-8")
    except UnicodeDecodeError:
        raise DamagedRecordError(f"value file {relative} has an unreadable head") from None
    return name, head, end + -end % _ALIGNMENT
