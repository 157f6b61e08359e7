"""Paths that code and arguments mention: text literals and `Path`s that name files which exist."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.keys.code import function_graph
from awaitly_nb.keys.code_graph import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from awaitly_nb.keys.code_graph import Graph

__all__ = ["named_paths"]

_LONGEST: Final = 1000
_MOST: Final = 1000
_MOST_FOLDERS: Final = 8
_DEPTH: Final = 4


def named_paths(fn_or_source: object, args: object, namespace: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
    """Return the regular files named in code or arguments, and the patterns, each once, in the order of first mention.

    A folder that is named joins with the relative names beside it, because that is how paths are put together:
    `DATA / "prices.parquet"`.
    """
    texts = dict.fromkeys([*_in_value(args, _DEPTH), *_in_code(fn_or_source, namespace)])
    candidates = [text for text in texts if _plausible(text)][:_MOST]
    folders = [text for text in candidates if os.path.isdir(text)][:_MOST_FOLDERS]  # noqa: PTH112 - many, on each miss
    files: dict[str, None] = {}
    joined: set[str] = set()
    for text in candidates:
        if os.path.isfile(text):  # noqa: PTH113
            files[text] = None
            continue
        for folder in folders:
            path = os.path.join(folder, text.lstrip(os.sep))  # noqa: PTH118 - `f"{DATA}/prices.parquet"` begins with one
            if os.path.isfile(path):  # noqa: PTH113
                files[path] = None
                joined.add(folder)
    patterns: dict[str, None] = {}
    for text in candidates:
        beside = [] if os.path.isabs(text) else [os.path.join(folder, text) for folder in folders]  # noqa: PTH117, PTH118
        for path in (text, *beside):
            pattern = path if _PATTERN.search(text) else _data_folder(path) if path not in joined else None
            if pattern is not None and (matched := _matches(pattern)):
                patterns[pattern] = None
                files.update(dict.fromkeys(matched))
    return list(files), list(patterns)


_PATTERN: Final = re.compile(r"^[^*?]*[*?][^*?]*\.\w+$|/[^/]*\*")
_PARTS: Final = (".parquet", ".arrow", ".feather")


def _data_folder(path: str) -> str | None:
    """Return the pattern of the data files in a folder that a reader takes as one table, or None."""
    if os.path.normpath(path) in (".", "..", os.sep):
        return None
    try:
        with os.scandir(path) as entries:
            for entry in itertools.islice(entries, _MOST):
                suffix = os.path.splitext(entry.name)[1]  # noqa: PTH122
                if suffix in _PARTS:
                    return os.path.join(path, f"*{suffix}")  # noqa: PTH118
                if "=" in entry.name and entry.is_dir():  # partitioned, as in `year=2024/part-0.parquet`
                    return os.path.join(path, "**", "*.parquet")  # noqa: PTH118
    except (OSError, ValueError):
        return None
    return None


def _matches(pattern: str) -> list[str]:
    import glob

    found = itertools.islice(glob.iglob(pattern, recursive=True), _MOST)  # noqa: PTH207 - a pattern may be absolute
    return [path for path in found if os.path.isfile(path)]  # noqa: PTH113


def _plausible(text: str) -> bool:
    return 0 < len(text) < _LONGEST and "\n" not in text and "\0" not in text


def _in_code(fn_or_source: object, namespace: Mapping[str, Any] | None) -> Iterator[str]:
    if isinstance(fn_or_source, str):
        from awaitly_nb.keys.recipe import read_names

        graph = read_names(fn_or_source, namespace or {})
    elif callable(fn_or_source):
        graph = function_graph(fn_or_source)
    else:
        return
    yield from graph.texts
    yield from _in_slots(graph)


def _in_slots(graph: Graph) -> Iterator[str]:
    for slot in graph.slots:
        value = slot.lookup.get(slot.key, ABSENT)
        yield from _in_value(value, _DEPTH)


def _in_value(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, PurePath):
        yield str(value)
    elif depth and isinstance(value, dict):
        for item in list(value.values())[:_MOST]:
            yield from _in_value(item, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for item in list(value)[:_MOST]:
            yield from _in_value(item, depth - 1)
