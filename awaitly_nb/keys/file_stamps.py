"""What is kept of a file or of a list of files, and whether it is still so.

Size and times are compared first. Content is read only where they cannot decide: the size is the same and a time is
not, or the file had been written so shortly before that its times could not have told a second writing.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Stamp",
    "changed_files",
    "is_absent",
    "is_muted",
    "regular",
    "same",
    "stamp_absent",
    "stamp_file",
    "stamp_list",
    "stamp_seen",
    "unchanged",
]

Stamp: TypeAlias = "dict[str, Any]"
"""Plain JSON data.

Of a file: `path`, `size`, `mtime_ns`, `ctime_ns`, `digest`, and `fresh` if it had just been written, or `absent` if it
was not there. Of a list of files: `pattern`, and the digest of the `names` that it matches.
"""

_DIGEST_LIMIT: Final = 1 << 31
_FRESH_NS: Final = 2_000_000_000
_KEPT: Final = 4096


def changed_files(stamps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one line for each file, and each list of files, that is not as it was when stamped."""
    lines = []
    for stamp in stamps:
        if "pattern" in stamp:
            if _names(stamp["pattern"]) != stamp["names"]:
                lines.append(f"files {stamp['pattern']}: some came or went")
            continue
        if stamp.get("absent"):
            if not is_absent(stamp["path"]):
                lines.append(f"file {stamp['path']} is there now")
            continue
        found = regular(stamp["path"])
        if found is None:
            lines.append(f"file {stamp['path']} is gone")
        elif not same(stamp, found) or stamp.get("fresh"):
            digest = stamp["digest"]
            if found.st_size != stamp["size"] or not digest or _digest(stamp["path"], found) != digest:
                lines.append(f"file {stamp['path']} changed")
    return lines


def regular(path: str) -> os.stat_result | None:
    """Return the status of a regular file, or None where none is."""
    try:
        found = os.stat(path)  # noqa: PTH116 - runs on every hit
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def is_absent(path: str) -> bool:
    """Tell whether there is nothing at `path`, of whatever kind."""
    try:
        os.stat(path)  # noqa: PTH116 - runs on every hit
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return False


def unchanged(before: os.stat_result, now: os.stat_result) -> bool:
    """Tell whether size and times are the same at two looks."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (now.st_size, now.st_mtime_ns, now.st_ctime_ns)


def same(stamp: Mapping[str, Any], found: os.stat_result) -> bool:
    """Tell whether size and times are those of `stamp`."""
    return bool(
        found.st_size == stamp["size"]
        and found.st_mtime_ns == stamp["mtime_ns"]
        and found.st_ctime_ns == stamp["ctime_ns"]  # a copy may carry the old time of modification over
    )


def stamp_file(path: str) -> Stamp | None:
    """Return the stamp of a regular file, or None where none is."""
    found = regular(path)
    return None if found is None else stamp_seen(path, path, found)


def stamp_absent(path: str) -> Stamp:
    """Return the stamp of a file that is not there."""
    # With the fields of one that is, which every version compares; no file has such a size.
    return {"path": path, "size": -1, "mtime_ns": 0, "ctime_ns": 0, "digest": "", "absent": True}


def stamp_seen(path: str, full: str, before: os.stat_result) -> Stamp:
    """Return the stamp of a file that was in the state `before` when it was read."""
    made: Stamp = {
        "path": path,
        "size": before.st_size,
        "mtime_ns": before.st_mtime_ns,
        "ctime_ns": before.st_ctime_ns,
        "digest": "",
    }
    now = regular(full)
    if now is not None and same(made, now):
        # A file changed since it was read keeps no digest: the content that was read is not there to be digested.
        made["digest"] = _digest(full, now)
    if time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) < _FRESH_NS:
        made["fresh"] = True
    return made


def stamp_list(pattern: str) -> Stamp:
    """Return the stamp of the names that a glob pattern matches now; names that begin with a dot are left out."""
    return {"pattern": pattern, "names": _names(pattern)}


def _names(pattern: str) -> str:
    import glob

    import xxhash

    with _muted():
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    return xxhash.xxh3_128_hexdigest("\0".join(found).encode("utf-8", "surrogateescape"))


_digests: dict[tuple[int, int, int, int, int], str] = {}


def _digest(path: str, found: os.stat_result) -> str:
    if found.st_size > _DIGEST_LIMIT:
        return ""
    place = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) >= _FRESH_NS
    if settled and place in _digests:
        return _digests[place]
    import xxhash

    hasher = xxhash.xxh3_128()
    try:
        with _muted(), open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - pathlib adds frames
            while data := stream.read(1 << 20):
                hasher.update(data)
    except OSError:
        return ""
    if settled:
        if len(_digests) >= _KEPT:
            _digests.clear()
        _digests[place] = hasher.hexdigest()
    return hasher.hexdigest()


_quiet = threading.local()


class _muted:  # noqa: N801 - reads as a function
    """What this thread opens inside is our own reading, and no step's."""

    def __enter__(self) -> None:
        _quiet.on = True

    def __exit__(self, *_: object) -> None:
        _quiet.on = False


def is_muted() -> bool:
    """Tell whether what this thread opens now is our own reading."""
    return getattr(_quiet, "on", False)
