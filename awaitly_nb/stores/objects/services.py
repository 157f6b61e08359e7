"""Buckets over fsspec: S3 by its own verbs, Google's and Azure's with their conditions, and whatever else it reaches.

The file system of a URL is made on first use, once in each process, and never shared with others of the process: a
forked child gets a new one, because the parent's connections are the parent's, and fsspec's thread did not come along.
Where a service has no conditions, the last one wins of two that write one object at once, and the clock is this
machine's.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import threading
import time
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from urllib.parse import quote

from awaitly_nb.errors import InvalidOptionError, MissingExtraError
from awaitly_nb.stores.objects.bucket_store import ANYTHING, NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from awaitly_nb.stores.adapters import Address
    from awaitly_nb.stores.objects.bucket_store import Found

__all__ = ["FileSystem", "PlainBucket", "S3Bucket", "conditions_of"]

Ask: TypeAlias = "Callable[..., Any]"  # Any: fsspec has no types

SLOWEST_BYTES_PER_S: Final = 100_000
"""What takes longer than this to send or to fetch is not waited for."""

PROBE: Final = "probe-of-conditions"
"""Name of an object that is no record."""

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


class ServiceClock:
    """Tells a service's time: this machine's, moved as little as its answers ask for.

    Examples
    --------
    >>> clock = ServiceClock()
    >>> clock.learn(1000.0, before=900.2, after=900.4)  # it said 1000, so it was 1000 to 1001, some 100 s from here
    >>> 99.6 <= clock.offset_s <= 100.8
    True
    >>> clock.learn(1003.0, before=903.9, after=903.95)
    >>> 99.0 <= clock.offset_s <= 100.1
    True
    """

    def __init__(self) -> None:
        self.offset_s = 0.0
        self.is_set = False
        self._lock = threading.Lock()

    def learn(self, date_s: float, before: float, after: float) -> None:
        """Take in that between `before` and `after`, here, it was the second `date_s` there."""
        with self._lock:
            self.offset_s = min(max(self.offset_s, date_s - after), date_s + 1 - before)
            self.is_set = True

    def now(self) -> float:
        """Return the service's time, in seconds since 1970."""
        return time.time() + self.offset_s


def honours_conditions(put: Callable[[str, bytes, str], bool], no_tag: str) -> bool:
    """Tell whether a service honours conditions: some take them, and write all the same.

    Parameters
    ----------
    put
        Writes an object over the one with that tag.
    no_tag
        No object's tag.
    """
    refuses = not put(PROBE, b"", NOTHING) or not put(PROBE, b"", NOTHING)
    return refuses and not put(PROBE, b"", no_tag)


_AT_ONCE = 32
_MOST_DELETED = 1000
_TRIES = 3
_PAUSE_S = 0.1
_BUSY = {"InternalError", "ServiceUnavailable", "500", "503"}
_NOT_WRITTEN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
_NO_CONDITIONS = {"NotImplemented", "InvalidArgument", "InvalidRequest", "501"}


class S3Bucket:
    """A `Bucket` in S3.

    Parameters
    ----------
    files
        Its file system, and the path that all objects lie under.
    timeout_s
        Seconds to wait for a connection, and for one answer; longer for what takes long to send.
    """

    def __init__(self, files: FileSystem, *, timeout_s: float) -> None:
        given = files.options.get("config_kwargs") or {}
        limits = {"connect_timeout": timeout_s, "read_timeout": timeout_s, "max_pool_connections": _AT_ONCE}
        # botocore also tries again where nobody listens, and waits up to a second each time.
        files.options["config_kwargs"] = {**limits, "retries": {"total_max_attempts": 1}, **given}
        self._files = files
        self._timeout_s = timeout_s
        self._clock = ServiceClock()
        self._conditional: bool | None = None

    def conditional(self) -> bool:
        """Tell whether this service honours conditions."""
        if self._conditional is None:
            try:
                self._conditional = honours_conditions(self._put, no_tag='"0"')
            except OSError as exc:
                if _code(exc) not in _NO_CONDITIONS:
                    raise
                self._conditional = False
        return self._conditional

    def get(self, keys: Sequence[str], most: int | None = None) -> list[bytes | None]:
        """Return the objects, or the first bytes of each."""
        found: list[Found | None] = self._run(self._get_all, keys, most)
        return [None if one is None else one[0] for one in found]

    def look(self, key: str, most: int) -> Found | None:
        """Return the first bytes of an object, and its tag."""
        found: Found | None = self._run(self._get, key, most)
        return found

    def put(self, key: str, content: bytes, *, over: str) -> bool:
        """Write an object over the one with the tag `over`."""
        return self._put(key, content, over)

    def names(self, prefix: str) -> dict[str, str]:
        """Return the names of the objects that begin with `prefix`, and their tags."""
        names: dict[str, str] = self._run(self._names, prefix)
        return names

    def delete(self, keys: Sequence[str]) -> None:
        """Remove these objects."""
        self._run(self._delete, keys)

    def now(self) -> float:
        """Return the service's time, to the second; within it, this machine's."""
        if not self._clock.is_set:
            self._run(self._call, "list_objects_v2", None, Prefix=self._place()[1], MaxKeys=1)
        return self._clock.now()

    def close(self) -> None:
        """Close the connections."""
        fs = self._files.forget()
        if fs is not None and (client := getattr(fs, "_s3creator", None)) is not None:
            fs.close_session(fs.loop, client)

    def _put(self, key: str, content: bytes, over: str) -> bool:
        condition = {ANYTHING: {}, NOTHING: {"IfNoneMatch": "*"}}.get(over, {"IfMatch": over})
        try:
            self._run(self._call, "put_object", key, size=len(content), Body=content, **condition)
        except OSError as exc:
            if condition and _code(exc) in _NOT_WRITTEN:
                return False
            raise
        return True

    def _run(self, work: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any, **options: Any) -> Any:
        fs, _ = self._files.open()
        fs.retries = _TRIES  # where a connection breaks: the service was restarted, or closed what was idle
        return self._files.run(work, *arguments, **options)

    def _place(self) -> tuple[str, str]:
        fs, path = self._files.open()
        bucket, key, _ = fs.split_path(path)
        return bucket, f"{key}/"

    async def _call(self, verb: str, key: str | None, *, size: int = 0, **arguments: Any) -> Any:
        import asyncio

        bucket, place = self._place()
        if key is not None:
            arguments["Key"] = place + key
        fs, _ = self._files.open()
        await fs.set_session()  # takes long once, and asks nobody
        limit_s = self._timeout_s + size / SLOWEST_BYTES_PER_S
        before = time.time()
        try:
            answer = await asyncio.wait_for(self._try(verb, Bucket=bucket, **arguments), limit_s)
        except TimeoutError:
            raise TimeoutError(f"no answer within {limit_s:g} s") from None
        with suppress(KeyError, ValueError):
            date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            self._clock.learn(date.timestamp(), before, time.time())
        return answer

    async def _try(self, verb: str, **arguments: Any) -> Any:
        import asyncio

        fs, _ = self._files.open()
        number = 1
        while True:
            try:
                # fsspec's own way of calling from its event loop begins with an underscore.
                return await fs._call_s3(verb, **arguments)  # noqa: SLF001
            except OSError as exc:
                if _code(exc) not in _BUSY or number == _TRIES:
                    raise
            await asyncio.sleep(number * _PAUSE_S)
            number += 1

    async def _get_all(self, keys: Sequence[str], most: int | None) -> list[Found | None]:
        import asyncio

        some = asyncio.Semaphore(_AT_ONCE)

        async def get(key: str) -> Found | None:
            async with some:
                return await self._get(key, most)

        return await asyncio.gather(*map(get, keys))

    async def _get(self, key: str, most: int | None) -> Found | None:
        wanted: dict[str, Any] = {} if most is None else {"Range": f"bytes=0-{most - 1}"}
        try:
            answer = await self._call("get_object", key, **wanted)
        except FileNotFoundError as exc:
            if _code(exc) == "NoSuchBucket":
                raise
            return None
        try:
            return await answer["Body"].read(), answer["ETag"]
        finally:
            answer["Body"].close()

    async def _names(self, prefix: str) -> dict[str, str]:
        place = self._place()[1]
        names: dict[str, str] = {}
        more: dict[str, Any] = {}
        while True:
            page = await self._call("list_objects_v2", None, Prefix=place + prefix, **more)
            names.update((item["Key"][len(place) :], item.get("ETag", "")) for item in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return names
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def _delete(self, keys: Sequence[str]) -> None:
        place = self._place()[1]
        for start in range(0, len(keys), _MOST_DELETED):
            some = [{"Key": place + key} for key in keys[start : start + _MOST_DELETED]]
            answer = await self._call("delete_objects", None, Delete={"Objects": some, "Quiet": True})
            for failed in answer.get("Errors", ()):
                raise OSError(f"{failed.get('Code')}: {failed.get('Message')}")


def _code(exc: BaseException) -> str:
    """Return S3's own word for what went wrong; s3fs raises an exception of Python's for it."""
    answer = getattr(exc.__cause__, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


_FIRST_BYTES = 1_000_000
"""Read without asking for the size before: nearly every object ends before."""

_CLOCK_TRIES = 10
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
        self._clock = ServiceClock()
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
        for _ in range(_CLOCK_TRIES):
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


_BINARY = b"Content-Type: application/octet-stream\r\n\r\n"


class _Repeatable(io.BytesIO):
    """Bytes that can be sent again: who sends them closes them each time."""

    def close(self) -> None:
        self.seek(0)


class Conditions(Protocol):
    """What one service does in its own way. `ask` calls a verb of its file system `fs`, with a limit of time."""

    no_tag: str

    def tag(self, ask: Ask, path: str) -> str:
        """Return the tag of an object; FileNotFoundError if there is none."""

    def put(self, ask: Ask, fs: Any, path: str, content: bytes, over: str) -> float:  # Any: fsspec has no types
        """Write an object over the one with the tag `over`, and return when, by the service's clock to the second.

        Raises `FileExistsError` where that object is not there.
        """


def conditions_of(scheme: str) -> Conditions | None:
    """Return how to write under a condition in the file system of a URL, or None where that is unknown."""
    if scheme in {"gs", "gcs"}:
        return Google()
    return Azure() if scheme in {"az", "abfs", "abfss"} else None


class Google:
    """Conditions on the generation of an object."""

    no_tag = "1"

    def tag(self, ask: Ask, path: str) -> str:
        """Return the generation of an object."""
        return str(ask("info", path)["generation"])

    def put(self, ask: Ask, fs: Any, path: str, content: bytes, over: str) -> float:
        """Write an object over this generation of it."""
        bucket, key, _ = fs.split_path(path)
        where = f"{fs._location}/upload/storage/v1/b/{quote(bucket)}/o"  # noqa: SLF001 - fsspec's own verb knows less
        # In parts, as that verb sends it: the emulators of this service know conditions in no other form.
        mark = os.urandom(16).hex()
        about = f"--{mark}\r\nContent-Type: application/json\r\n\r\n{json.dumps({'name': key})}\r\n--{mark}\r\n"
        data = b"".join([about.encode(), _BINARY, content, f"\r\n--{mark}--".encode()])
        kind = {"Content-Type": f'multipart/related; boundary="{mark}"'}
        wanted = {"uploadType": "multipart", "ifGenerationMatch": over or "0"}
        answer = ask("call", "POST", where, headers=kind, data=_Repeatable(data), json_out=True, **wanted)
        return datetime.fromisoformat(answer["updated"]).timestamp() // 1


class Azure:
    """Conditions on the ETag of a blob."""

    no_tag = '"0x0"'

    def tag(self, ask: Ask, path: str) -> str:
        """Return the ETag of a blob."""
        return str(ask("info", path)["etag"])

    def put(self, ask: Ask, fs: Any, path: str, content: bytes, over: str) -> float:  # noqa: ARG002 - as for Google
        """Write a blob over the one with this ETag."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError

        condition = {"etag": over, "match_condition": MatchConditions.IfNotModified}
        try:
            answer = ask("pipe_file", path, content, **({"mode": "create"} if over == NOTHING else condition))
        except ResourceModifiedError as exc:
            raise FileExistsError(path) from exc
        return float(answer["date"].timestamp())
