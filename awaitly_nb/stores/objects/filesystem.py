"""fsspec's file system of a URL: made on first use, once in each process, and never shared with others of the process.

A forked child gets a new one: the parent's connections are the parent's, and fsspec's thread did not come along.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import InvalidOptionError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awaitly_nb.stores.names import Address

__all__ = ["FileSystem"]

_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "objects")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gcs")),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), ("adlfs", "azure")),
}

_left_to_parent: list[Any] = []
"""File systems that a fork copied here: never used and never closed, since their connections are the parent's."""


class FileSystem:
    """The file system of a URL, and the path in it.

    Parameters
    ----------
    url
        Where.
    options
        What fsspec passes on.
    address
        Tells of it without its secrets.
    """

    def __init__(self, url: str, options: Mapping[str, Any], address: Address) -> None:
        scheme = url.partition("://")[0]
        try:
            import fsspec

            fsspec.get_filesystem_class(scheme)
        except ImportError as exc:
            raise MissingExtraError(*_EXTRAS.get(scheme, ("fsspec", "objects"))) from exc
        except ValueError:
            raise InvalidOptionError(f"{address.shown!r}: fsspec knows no {scheme!r}; use s3://, or a folder") from None
        self._url = url
        self.options = dict(options)
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None
        self._pid = 0

    def open(self) -> tuple[Any, str]:  # Any: fsspec has no types
        """Return the file system and the path."""
        with self._lock:
            if self._opened is None or self._pid != os.getpid():
                import fsspec

                self._leave_to_parent()
                options = {**self.options, "skip_instance_cache": True}
                self._opened, self._pid = fsspec.core.url_to_fs(self._url, **options), os.getpid()
            return self._opened

    def run(self, work: Callable[..., Any], *arguments: Any, limit_s: float | None = None, **options: Any) -> Any:
        """Run a coroutine function in the file system's event loop, and return what it returns.

        Raises
        ------
        TimeoutError
            It took longer than `limit_s`, and was given up.
        """
        from fsspec.asyn import FSTimeoutError, sync

        fs, _ = self.open()
        try:
            return sync(fs.loop, work, *arguments, timeout=limit_s, **options)
        except FSTimeoutError as exc:  # its own text is empty
            told = str(exc.__cause__ or "") or f"no answer within {limit_s or 0:g} s"
            raise TimeoutError(told) from None

    def ask(self, verb: str, *arguments: Any, limit_s: float, **options: Any) -> Any:
        """Call a verb of the file system; the limit holds for those that have an event loop."""
        fs, _ = self.open()
        if not getattr(fs, "async_impl", False):
            return getattr(fs, verb)(*arguments, **options)
        return self.run(getattr(fs, f"_{verb}"), *arguments, limit_s=limit_s, **options)

    def forget(self) -> Any | None:  # Any: fsspec has no types
        """Return the file system if there is one to close, and make a new one when it is next asked for."""
        with self._lock:
            self._leave_to_parent()
            opened, self._opened = self._opened, None
            return None if opened is None else opened[0]

    def _leave_to_parent(self) -> None:
        if self._opened is not None and self._pid != os.getpid():
            _left_to_parent.append(self._opened)
            self._opened = None
