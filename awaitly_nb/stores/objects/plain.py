"""Objects in any file system that fsspec knows, with the verbs that all of them have, and conditions where we know how.

Without conditions the last one wins of two that write one object at once, and the clock is this machine's. How long to
wait for an answer is an option of the file system.
"""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from awaitly_nb.stores.objects.bucket import ANYTHING, honours_conditions
from awaitly_nb.stores.objects.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.stores.objects.bucket import Found
    from awaitly_nb.stores.objects.conditions import Conditions
    from awaitly_nb.stores.objects.filesystem import FileSystem

__all__ = ["PlainBucket"]


class PlainBucket:
    """A `Bucket` over the common verbs of fsspec.

    Parameters
    ----------
    files
        The file system.
    conditions
        How it is told what to write over; None where that is unknown.
    """

    def __init__(self, files: FileSystem, conditions: Conditions | None) -> None:
        self._files = files
        self._conditions = conditions
        self._clock = Clock()
        self._conditional: bool | None = None

    def conditional(self) -> bool:
        """Tell whether writes take conditions here."""
        if self._conditional is None:
            known = self._conditions
            self._conditional = known is not None and honours_conditions(self._put, no_tag=known.no_tag)
        return self._conditional

    def get(self, keys: Sequence[str], most: int | None = None) -> list[bytes | None]:
        """Return the objects, or the first bytes of each."""
        fs, path = self._files.open()
        found = fs.cat_ranges([f"{path}/{key}" for key in keys], 0, most, on_error="return")
        contents = [None if isinstance(one, FileNotFoundError) else one for one in found]
        for one in contents:
            if isinstance(one, BaseException):
                raise one
        return [None if one is None else bytes(one) for one in contents]

    def look(self, key: str, most: int) -> Found | None:
        """Return the first bytes of an object, and its tag."""
        fs, path = self._files.open()
        tag = ANYTHING
        if self._conditional and self._conditions is not None:
            fs.invalidate_cache()
            try:
                # The tag first: where somebody writes in between, it is too old to write over anything.
                tag = self._conditions.tag(fs, f"{path}/{key}")
            except FileNotFoundError:
                return None
        (content,) = self.get([key], most)
        return None if content is None else (content, tag)

    def put(self, key: str, content: bytes, *, over: str) -> bool:
        """Write an object over the one with the tag `over`."""
        return self._put(key, content, over)

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
        """Return the service's time, to the second, where it tells; else this machine's."""
        self.conditional()
        return self._clock.now()

    def close(self) -> None:
        """Leave the file system; it closes its connections when it is collected."""
        self._files.forget()

    def _put(self, key: str, content: bytes, over: str) -> bool:
        fs, path = self._files.open()
        where, before = f"{path}/{key}", time.time()
        if over != ANYTHING and self._conditions is not None:
            try:
                self._clock.learn(self._conditions.put(fs, where, content, over), before, time.time())
            except FileExistsError:
                return False
            return True
        try:
            fs.pipe_file(where, content)
        except FileNotFoundError:  # this one has folders
            fs.makedirs(path, exist_ok=True)
            fs.pipe_file(where, content)
        return True
