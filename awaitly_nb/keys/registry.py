"""How a type that is not known here gets a key (`register_key`, `__awaitly_key__`), and a file by its content (`file`).

A registration by name costs nothing until a value of that type turns up, and never imports the library.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import xxhash

from awaitly_nb.errors import MisuseError, UnkeyableError

__all__ = ["File", "StandIn", "file", "file_digest", "generation", "register_key", "stand_in_of"]

StandIn: TypeAlias = Callable[[Any], object]  # Any: each function knows its own type
"""Maps a value to something that can be keyed in its place."""

_by_type: dict[type, StandIn] = {}
_by_name: dict[str, StandIn] = {}
_generation = 0


def register_key(type_or_qualname: type | str, fn: StandIn) -> None:
    """Key values of a type, and of its subclasses, by what `fn(value)` returns.

    Parameters
    ----------
    type_or_qualname
        The class, or its full name such as `"shapely.geometry.Point"`, which is then not imported.
    fn
        Returns a stand-in made of values that can be keyed, as a tuple of the parts that matter. The class counts
        beside it. A later registration of the same type replaces an earlier one.

    Examples
    --------
    >>> class Model:
    ...     def __init__(self, weights): self.weights, self.log = weights, open
    >>> register_key(Model, lambda model: model.weights)
    """
    global _generation  # noqa: PLW0603 - stamps the memo of resolved encoders
    if not callable(fn):
        raise MisuseError(
            f"register_key needs a function of the value, not {fn!r}: register_key(Type, lambda v: (v.a, v.b))"
        )
    if isinstance(type_or_qualname, str):
        if not type_or_qualname.strip("."):
            raise MisuseError("register_key needs a class or its full name, such as 'shapely.geometry.Point'")
        _by_name[type_or_qualname] = fn
    elif isinstance(type_or_qualname, type):
        _by_type[type_or_qualname] = fn
    else:
        raise MisuseError(f"register_key needs a class or its full name, not {type_or_qualname!r}")
    _generation += 1


def generation() -> int:
    """Return a number that changes with every registration."""
    return _generation


def stand_in_of(cls: type) -> StandIn | None:
    """Return how values of `cls` are to be keyed in its own way, the nearest class of its MRO deciding, or None."""
    for base in cls.__mro__:
        found = _by_type.get(base) or _by_name.get(f"{base.__module__}.{base.__qualname__}") or _by_alias(base)
        if found is not None:
            return found
        method = base.__dict__.get("__awaitly_key__")
        if method is not None:
            return _own_key
    return None


def _by_alias(cls: type) -> StandIn | None:
    # Libraries show a class under a shorter name than the module that defines it, as in `shapely.geometry.Point`.
    for name, fn in _by_name.items():
        module, _, attribute = name.rpartition(".")
        if getattr(sys.modules.get(module), attribute, None) is cls:
            return fn
    return None


def _own_key(value: Any) -> object:  # Any: whatever defines the method
    # Looked up on the class, as Python does for special methods: proxies and mocks answer any instance attribute.
    return type(value).__awaitly_key__(value)


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a folder with all that is in it, that is keyed by its content. Made by `file`; opens like a path.

    Attributes
    ----------
    path
        Where it is. Not part of the key, but for its suffix, from which readers infer a format or a compression.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __awaitly_key__(self) -> object:
        return self.path.suffix, self.digest()

    def digest(self) -> str:
        """Return the digest of the content, read again only when size, inode or time of change differ."""
        return file_digest(self.path)


def file(path: str | os.PathLike[str]) -> File:
    """Return `path` as a file that is keyed by its content, where a `Path` is keyed by its name.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [Path(folder, name) for name in ("a.csv", "b.csv")]
    ...     _ = [path.write_text("x,y") for path in paths]
    ...     file(paths[0]).digest() == file(paths[1]).digest()
    True
    """
    if isinstance(path, File):
        return path
    if not isinstance(path, (str, os.PathLike)):
        raise MisuseError(f"aw.file needs a path, not {path!r}")
    return File(Path(path))


_SLICE = 1 << 20
_SETTLED_S = 2.0
"""A file younger than this may change again without a new time stamp (FAT counts in 2 s), so its digest is not kept."""

_digests: dict[str, tuple[tuple[int, ...], str]] = {}


def file_digest(path: Path, *, clock: Callable[[], float] = time.time) -> str:
    """Return the digest of a file's bytes, or of a folder's names and files.

    Raises
    ------
    UnkeyableError
        If it is not there or cannot be read.
    """
    try:
        if path.is_dir():
            return _folder_digest(path, clock)
        found = path.stat()
        stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
        name = str(path.absolute())
        kept = _digests.get(name)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        bulk = xxhash.xxh3_128()
        with path.open("rb", buffering=0) as stream:
            while data := stream.read(_SLICE):
                bulk.update(data)
        digest = bulk.hexdigest()
        if clock() - max(found.st_mtime, found.st_ctime) > _SETTLED_S:
            _digests[name] = (stamp, digest)
    except OSError as exc:
        raise UnkeyableError(
            f"cannot key the file {path}: {exc.strerror or exc}; check the path", path=str(path)
        ) from exc
    return digest


def _folder_digest(path: Path, clock: Callable[[], float]) -> str:
    bulk = xxhash.xxh3_128()
    for found in sorted(path.rglob("*")):
        if found.is_file():
            name = found.relative_to(path).as_posix().encode("utf-8", "surrogateescape")
            bulk.update(b"%d:" % len(name) + name + file_digest(found, clock=clock).encode())
    return "folder:" + bulk.hexdigest()
