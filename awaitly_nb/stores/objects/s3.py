"""Objects in S3 and what speaks as it does, through s3fs: conditional writes, ranged reads, the service's own clock."""

from __future__ import annotations

import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from awaitly_nb.stores.objects.bucket import ANYTHING, NOTHING, SLOWEST_BYTES_PER_S, honours_conditions
from awaitly_nb.stores.objects.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from awaitly_nb.stores.objects.bucket import Found
    from awaitly_nb.stores.objects.filesystem import FileSystem

__all__ = ["S3Bucket"]

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
        self._clock = Clock()
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
