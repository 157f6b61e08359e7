"""How Google's and Azure's storage are told what to write over; fsspec has no word for it.

Each also tells its time with a write, by which leases live.
"""

from __future__ import annotations

import io
import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import quote

from awaitly_nb.stores.objects.bucket import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

Ask: TypeAlias = "Callable[..., Any]"  # Any: fsspec has no types

__all__ = ["Azure", "Conditions", "Google", "conditions_of"]


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
