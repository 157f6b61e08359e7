"""Objects in any file system that fsspec knows, with the verbs that all of them have, and conditions where we know how.

Without conditions the last one wins of two that write one object at once, and the clock is this machine's.
"""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from awaitly_nb.stores.objects.bucket import ANYTHING, PROBE, SLOWEST_BYTES_PER_S, honours_conditions
from awaitly_nb.stores.objects.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.stores.objects.bucket import Found
    from awaitly_nb.stores.objects.conditions import Conditions
    from awaitly_nb.stores.objects.filesystem import FileSystem

__all__ = ["PlainBucket"]

_FIRST_BYTES = 1_000_000
"""Read without asking for the size before: nearly every object ends before."""

_TRIES = 10
_EACH_S = 0.1
"""How much longer to wait for each of many objects."""


class PlainBucket:
    """A `Bucket` over the common verbs of fsspec.

    Parameters
    ----------
    files
        The file system.
    conditions
        How it is told what to write over; None where that is unknown.
    timeout_s
        Seconds to wait for one answer; longer for what takes long to send or to fetch.
    """

    def __init__(self, files: FileSystem, conditions: Conditions | None, *, timeout_s: float) -> None:
        self._files = files
        self._conditions = conditions
        self._timeout_s = timeout_s
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
        contents = self._ranges(keys, _FIRST_BYTES if most is None else most)
        for at, content in enumerate(contents):
            if most is None and content is not None and len(content) == _FIRST_BYTES:
                with suppress(FileNotFoundError):
                    size = self._ask("info", self._path(keys[at]))["size"]
                    (contents[at],) = self._ranges([keys[at]], None, extra_s=size / SLOWEST_BYTES_PER_S)
        return contents

    def look(self, key: str, most: int) -> Found | None:
        """Return the first bytes of an object, and its tag."""
        tag = ANYTHING
        if self._conditional and self._conditions is not None:
            self._files.open()[0].invalidate_cache()
            try:
                # The tag first: where somebody writes in between, it is too old to write over anything.
                tag = self._conditions.tag(self._ask, self._path(key))
            except FileNotFoundError:
                return None
        (content,) = self._ranges([key], most)
        return None if content is None else (content, tag)

    def put(self, key: str, content: bytes, *, over: str) -> bool:
        """Write an object over the one with the tag `over`."""
        return self._put(key, content, over)

    def names(self, prefix: str) -> dict[str, str]:
        """Return the names of the objects that begin with `prefix`, and their tags."""
        fs, path = self._files.open()
        fs.invalidate_cache()  # what others wrote since counts
        # Services of objects list by prefix themselves; the others list the folder.
        find = getattr(fs, "_find", fs.find)
        options: dict[str, Any] = {"prefix": prefix} if "prefix" in inspect.signature(find).parameters else {}
        found: dict[str, str] = {}
        with suppress(FileNotFoundError):
            for where, told in self._ask("find", path, detail=True, **options).items():
                if (name := where.rpartition("/")[2]).startswith(prefix):
                    found[name] = str(told.get("etag") or told.get("generation") or "")
        return found

    def delete(self, keys: Sequence[str]) -> None:
        """Remove these objects."""
        try:
            self._ask("rm", [self._path(key) for key in keys], extra_s=len(keys) * _EACH_S)
        except FileNotFoundError:  # somebody was faster with one of them
            for key in keys:
                with suppress(FileNotFoundError):
                    self._ask("rm_file", self._path(key))

    def now(self) -> float:
        """Return the service's time, to the second, where it tells; else this machine's."""
        for _ in range(_TRIES):
            if self._clock.is_set or not self.conditional() or self._conditions is None:
                break
            # Only a write is answered with the time. It fails where another process does the same at this moment.
            self._put(PROBE, b"", self._conditions.tag(self._ask, self._path(PROBE)))
        return self._clock.now()

    def close(self) -> None:
        """Leave the file system; it closes its connections when it is collected."""
        self._files.forget()

    def _put(self, key: str, content: bytes, over: str) -> bool:
        fs, folder = self._files.open()
        path, before = self._path(key), time.time()
        ask = partial(self._ask, extra_s=len(content) / SLOWEST_BYTES_PER_S)
        if over != ANYTHING and self._conditions is not None:
            try:
                written_at = self._conditions.put(ask, fs, path, content, over)
            except FileExistsError:
                return False
            self._clock.learn(written_at, before, time.time())
            return True
        try:
            ask("pipe_file", path, content)
        except FileNotFoundError:  # this one has folders
            self._ask("makedirs", folder, exist_ok=True)
            ask("pipe_file", path, content)
        return True

    def _ranges(self, keys: Sequence[str], most: int | None, *, extra_s: float = 0.0) -> list[bytes | None]:
        count, extra_s = len(keys), extra_s + len(keys) * _EACH_S
        paths = [self._path(key) for key in keys]
        found = self._ask("cat_ranges", paths, [0] * count, [most] * count, on_error="return", extra_s=extra_s)
        contents = [None if isinstance(one, FileNotFoundError) else one for one in found]
        for one in contents:
            if isinstance(one, BaseException):
                raise one
        return [None if one is None else bytes(one) for one in contents]

    def _path(self, key: str) -> str:
        return f"{self._files.open()[1]}/{key}"

    def _ask(self, verb: str, *arguments: Any, extra_s: float = 0.0, **options: Any) -> Any:  # Any: fsspec has no types
        return self._files.ask(verb, *arguments, limit_s=self._timeout_s + extra_s, **options)
