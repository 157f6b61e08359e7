"""Stamps of files: what one is like, by size, times and content, to be compared later.

Of a stamp, size and times are compared first. Content is read only where they cannot decide: the size is the same and
a time is not, or the file had been written so shortly before that its times could not have told a second writing.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "FRESH_NS",
    "Stamp",
    "changed_files",
    "digest_of",
    "is_absent",
    "is_muted",
    "mode_of",
    "muted",
    "names_in",
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
FRESH_NS: Final = 2_000_000_000
_MOST_DIGESTS: Final = 4096


def changed_files(stamps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one line for each file, and each list of files, that is not as it was when stamped."""
    return [line for stamp in stamps if (line := _change(stamp))]


def _change(stamp: Mapping[str, Any]) -> str:
    if "pattern" in stamp:
        return "" if _names(stamp["pattern"]) == stamp["names"] else f"files {stamp['pattern']}: some came or went"
    path = stamp["path"]
    if "kind" in stamp:
        if is_absent(path):
            return f"{path} is gone"
        is_same = "inside" not in stamp or names_in(path) == stamp["inside"]
        return "" if is_same else f"folder {path} holds other files"
    if stamp.get("absent"):
        return "" if is_absent(path) else f"file {path} is there now"
    found = regular(path)
    if found is None:
        return f"file {path} is gone"
    if not same(stamp, found) or stamp.get("fresh"):
        digest = stamp["digest"]
        if found.st_size != stamp["size"] or not digest or digest_of(path, found) != digest:
            return f"file {path} changed"
    is_same = "mode" not in stamp or stat.S_IMODE(found.st_mode) == stamp["mode"]
    return "" if is_same else f"file {path} has another mode"


def mode_of(path: str) -> int:
    """Return the permissions of what lies at a path."""
    return stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116 - as `regular`


def names_in(path: str) -> str:
    """Return a digest of the names of all that a folder holds, at any depth."""
    import xxhash

    with muted():
        found = sorted(os.path.join(top, name) for top, *kinds in os.walk(path) for names in kinds for name in names)  # noqa: PTH118
    inside = (os.path.relpath(name, path) for name in found)
    return xxhash.xxh3_128_hexdigest("\0".join(inside).encode("utf-8", "surrogateescape"))


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
        # A file changed since it was read has no digest: the content that was read is gone.
        made["digest"] = digest_of(full, now)
    if time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) < FRESH_NS:
        made["fresh"] = True
    return made


def stamp_list(pattern: str) -> Stamp:
    """Return the stamp of the names that a glob pattern matches now; names that begin with a dot are left out."""
    return {"pattern": pattern, "names": _names(pattern)}


def _names(pattern: str) -> str:
    import glob

    import xxhash

    with muted():
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    return xxhash.xxh3_128_hexdigest("\0".join(found).encode("utf-8", "surrogateescape"))


_digests: dict[tuple[int, int, int, int, int], str] = {}


def digest_of(path: str, found: os.stat_result) -> str:
    """Return the digest of a file's content; empty where it is too large, or cannot be read."""
    if found.st_size > _DIGEST_LIMIT:
        return ""
    place = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) >= FRESH_NS
    if settled and place in _digests:
        return _digests[place]
    import xxhash

    hasher = xxhash.xxh3_128()
    try:
        with muted(), io.open(path, "rb", buffering=0) as stream:  # noqa: UP020 - the built-in may be wrapped
            while data := stream.read(1 << 20):
                hasher.update(data)
    except OSError:
        return ""
    if settled:
        if len(_digests) >= _MOST_DIGESTS:
            _digests.clear()
        _digests[place] = hasher.hexdigest()
    return hasher.hexdigest()


_quiet = threading.local()


class muted:  # noqa: N801 - reads as a function
    """What this thread opens inside is our own reading, and no step's."""

    def __enter__(self) -> None:
        self._before = is_muted()
        _quiet.on = True

    def __exit__(self, *_: object) -> None:
        _quiet.on = self._before


def is_muted() -> bool:
    """Tell whether what this thread opens now is our own reading."""
    return getattr(_quiet, "on", False)
