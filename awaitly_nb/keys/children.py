"""The files that the command of a child process names: what it may read, and what it may write.

Nobody can watch another process. But a command says which files it is about, in its words, after `>`, in patterns, and
in the text of a script that it runs; what a program works out by itself stays unknown.
"""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["named_in_command"]

_WORD: Final = re.compile(r"""(>>?)?\s*("[^"\n]*"|'[^'\n]*'|[^\s;|&<>()"'=,`]+)""")
_QUOTED: Final = re.compile(r"""["']([^"'\n]{1,400})["']""")
_IMPORTED: Final = re.compile(r"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)
_SCRIPTS: Final = (".py", ".sh", ".bash", ".R", ".r", ".jl", ".pl", ".rb", ".js", ".sql", ".mk", "Makefile")
_LISTERS: Final = frozenset({"ls", "find", "du", "tree", "dir"})
_LARGEST: Final = 200_000
_MOST: Final = 1000
_DEPTH: Final = 4


def named_in_command(command: str | Sequence[object], folder: str) -> Iterator[tuple[str, str]]:
    """Yield the paths that a command names, each with what may be done to it: "read", "written" or "listed".

    Parameters
    ----------
    command
        As a shell reads it, or word by word.
    folder
        Where the child begins.

    Examples
    --------
    >>> list(named_in_command("sort > sorted.txt", "."))
    [('sorted.txt', 'written')]
    """
    seen: set[str] = set()
    for path, use in _named(command, folder, _DEPTH):
        if path not in seen:
            seen.add(path)
            yield path, use
            if len(seen) >= _MOST:
                return


def _named(command: str | Sequence[object], folder: str, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(command, str):
        words = [os.fsdecode(word) for word in command if isinstance(word, str | bytes | os.PathLike)]
        if words and os.path.basename(words[0]) in _LISTERS and len(words) == 1:  # noqa: PTH119 - text, not a path of this system
            yield "*", "listed"
        for word in words[1:]:
            yield from _word(word, folder, depth)
            if any(mark in word for mark in " \n;|&>"):
                yield from _named(word, folder, depth)
        return
    lists = False
    for arrow, word in _WORD.findall(command):
        if arrow:
            yield word.strip("\"'"), "written"
            continue
        lists = lists or word in _LISTERS
        yield from _word(word.strip("\"'"), folder, depth)
        if word[0] in "\"'":
            yield from ((name, "read") for name in _QUOTED.findall(word[1:-1]) if _is_file(name, folder))
    if lists:
        yield "*", "listed"


def _word(word: str, folder: str, depth: int) -> Iterator[tuple[str, str]]:
    if not word or "\0" in word or len(word) > _MOST or word == sys.executable:
        return
    if any(mark in word for mark in "*?["):
        yield word, "listed"
        return
    full = os.path.join(folder, word)  # noqa: PTH118 - runs for each word
    if os.path.isdir(full):  # noqa: PTH112
        if word not in {".", "..", "/"}:
            yield os.path.join(word, "*"), "listed"  # noqa: PTH118
    elif _is_file(word, folder):
        yield word, "read"
        if depth and word.endswith(_SCRIPTS):
            yield from _in_script(word, folder, depth - 1)
    elif "." in word.strip("."):
        yield word, "made"


def _in_script(path: str, folder: str, depth: int) -> Iterator[tuple[str, str]]:
    try:
        with io.open(os.path.join(folder, path), encoding="utf-8", errors="replace") as file:  # noqa: PTH118, UP020 - the built-in may be wrapped
            text = file.read(_LARGEST)
    except OSError:
        return
    if not path.endswith(".py"):
        yield from _named(text, folder, depth)
        return
    for name in _QUOTED.findall(text):
        yield from _word(name, folder, depth)
    beside = os.path.dirname(path)  # noqa: PTH120
    for module in _IMPORTED.findall(text):
        name = os.path.join(beside, f"{module}.py")  # noqa: PTH118
        if _is_file(name, folder):
            yield from _word(name, folder, depth)


def _is_file(path: str, folder: str) -> bool:
    return len(path) <= _MOST and os.path.isfile(os.path.join(folder, path))  # noqa: PTH113, PTH118
