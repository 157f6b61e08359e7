"""Objects as files of a folder, which may be one that several machines mount.

A file is written beside its place, flushed, and renamed under a lock of the folder, so that what was seen is still
there when it is written over. The clock is this machine's.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from awaitly_nb.stores.objects.bucket_store import ANYTHING, NOTHING, TAG_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from awaitly_nb.stores.objects.bucket_store import Found

__all__ = ["FolderBucket"]

_STAGED = ".new"
_FORGOTTEN_S = 86_400.0
"""After so long nobody is still writing a file that was never put in its place."""

_POLL_S = 0.005


class FolderBucket:
    """A `Bucket` in a folder.

    Parameters
    ----------
    folder
        The folder, made on first use.
    timeout_s
        Seconds to wait for another process that is writing.
    """

    def __init__(self, folder: Path, *, timeout_s: float) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._swept = False

    def conditional(self) -> bool:
        """Tell that the lock makes conditions hold."""
        return True

    def get(self, keys: Sequence[str], most: int | None = None) -> list[bytes | None]:
        """Return the files, or the first bytes of each."""
        return [self._read(key, most) for key in keys]

    def look(self, key: str, most: int) -> Found | None:
        """Return the first bytes of a file, and its tag."""
        content = self._read(key, most)
        # An empty file is damage, and not NOTHING.
        return None if content is None else (content, f"v{content[:TAG_BYTES].hex()}")

    def put(self, key: str, content: bytes, *, over: str) -> bool:
        """Write a file over the one with the tag `over`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        staged = self._folder / f"{os.urandom(16).hex()}{_STAGED}"
        try:
            with staged.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with self._locked():
                if over != ANYTHING and self._tag(key) != over:
                    return False
                staged.replace(self._folder / key)
        finally:
            staged.unlink(missing_ok=True)
        _flush_names(self._folder)
        return True

    def names(self, prefix: str) -> dict[str, str]:
        """Return the names of the files that begin with `prefix`; reading a head is as cheap as asking for its tag."""
        try:
            return {name: "" for name in os.listdir(self._folder) if name.startswith(prefix)}  # noqa: PTH208 - of a str
        except FileNotFoundError:
            return {}

    def delete(self, keys: Sequence[str]) -> None:
        """Remove these files."""
        with self._locked():
            for key in keys:
                (self._folder / key).unlink(missing_ok=True)
        _flush_names(self._folder)

    def now(self) -> float:
        """Return this machine's time."""
        return time.time()

    def close(self) -> None:
        """Do nothing: nothing stays open."""

    def _read(self, key: str, most: int | None) -> bytes | None:
        try:
            with (self._folder / key).open("rb") as file:
                return file.read(-1 if most is None else most)
        except FileNotFoundError:
            return None

    def _tag(self, key: str) -> str:
        found = self.look(key, TAG_BYTES)
        return NOTHING if found is None else found[1]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Opened anew each time: such a lock belongs to the open file, so it keeps threads apart as well as processes,
        # and it is gone with whoever held it.
        deadline = time.monotonic() + self._timeout_s
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another process has been writing for more than {self._timeout_s:g} s")
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(lock)

    def _sweep(self) -> None:
        """Remove what writers left that were killed long ago."""
        if self._swept:
            return
        self._swept = True
        for staged in self._folder.glob(f"*{_STAGED}"):
            with suppress(OSError):
                if staged.stat().st_mtime < time.time() - _FORGOTTEN_S:
                    staged.unlink()


def _try_lock(lock: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _flush_names(folder: Path) -> None:
    """Have the folder's own entries on the disk, where a system can do that."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
