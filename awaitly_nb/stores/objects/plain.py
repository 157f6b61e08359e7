"""Objects in any file system that fsspec knows, with the verbs that all of them have, and so without conditions.

Of two that write one object at once the last one wins, whole, where the service replaces objects at once, as Google's
and Azure's do. How long to wait for an answer is an option of the file system. The clock is this machine's.
"""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.stores.objects.bucket import Found
    from awaitly_nb.stores.objects.filesystem import FileSystem

__all__ = ["PlainBucket"]


class PlainBucket:
    """A `Bucket` over the common verbs of fsspec.

    Parameters
    ----------
    files
        The file system.
    """

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    def conditional(self) -> bool:
        """Tell that no write takes a condition."""
        return False

    def get(self, keys: Sequence[str], most: int | None = None) -> list[Found | None]:
        """Return the objects, or the first bytes of each."""
        fs, path = self._files.open()
        found = fs.cat_ranges([f"{path}/{key}" for key in keys], 0, most, on_error="return")
        contents = [None if isinstance(one, FileNotFoundError) else one for one in found]
        for one in contents:
            if isinstance(one, BaseException):
                raise one
        return [None if one is None else (bytes(one), "") for one in contents]

    def put(self, key: str, content: bytes, *, over: str) -> bool:  # noqa: ARG002 - there are no conditions
        """Write an object, whatever is there."""
        fs, path = self._files.open()
        try:
            fs.pipe_file(f"{path}/{key}", content)
        except FileNotFoundError:  # this one has folders
            fs.makedirs(path, exist_ok=True)
            fs.pipe_file(f"{path}/{key}", content)
        return True

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects that begin with `prefix`."""
        fs, path = self._files.open()
        fs.invalidate_cache()  # what others wrote since counts
        # Services of objects list by prefix themselves; the others list the folder.
        find = getattr(fs, "_find", fs.find)
        options = {"prefix": prefix} if "prefix" in inspect.signature(find).parameters else {}
        with suppress(FileNotFoundError):
            names = (name.rpartition("/")[2] for name in fs.find(path, **options))
            return [name for name in names if name.startswith(prefix)]
        return []

    def delete(self, keys: Sequence[str]) -> None:
        """Remove these objects."""
        fs, path = self._files.open()
        try:
            fs.rm([f"{path}/{key}" for key in keys])
        except FileNotFoundError:  # somebody was faster with one of them
            for key in keys:
                with suppress(FileNotFoundError):
                    fs.rm_file(f"{path}/{key}")

    def now(self) -> float:
        """Return this machine's time."""
        return time.time()

    def close(self) -> None:
        """Leave the file system; it closes its connections when it is collected."""
        self._files.forget()
