"""Whether files and folders are there, where a run's own code asked: `Path.exists`, `os.path.isfile` and the like.

`os.stat`, by which all of them ask, is wrapped while a run is traced. What the run itself made or removed afterwards is
an effect of it, and its answer does not count.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.installed import is_installed_path, is_own_path, is_standard_path
from awaitly_nb.keys.traces import register_tracer

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["has_looked_at"]

_MOST: Final = 1000
_ASKERS: Final = ("genericpath", "pathlib", "posixpath", "ntpath")
_plain_stat: Final[Any] = os.stat
_runs: list[dict[str, str]] = []
_looks: list[set[str]] = []
"""Of each run, the full paths that were looked at: by the user's code, or by a package in its own way."""


def _kind(path: str) -> str:
    try:
        mode = _plain_stat(path).st_mode
    except (OSError, ValueError):
        return ""
    return "folder" if stat.S_ISDIR(mode) else "file"


def _telling_stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:  # Any: what `os.stat` takes
    if isinstance(path, str | os.PathLike) and not kwargs.get("dir_fd"):
        asks, by_users = _who_asks(sys._getframe(1))  # noqa: SLF001 - who asks
        name = os.fspath(path)
        for run in _runs if asks and by_users and isinstance(name, str) else ():
            if name not in run and len(run) < _MOST:
                run[name] = _kind(name)
        if by_users is not None and isinstance(name, str):
            for looks in _looks[-1:]:
                looks.add(os.path.abspath(name))  # noqa: PTH100 - text, of many questions
    found: os.stat_result = _plain_stat(path, *args, **kwargs)
    return found


def _who_asks(frame: FrameType | None) -> tuple[bool, bool | None]:
    """Tell whether a function that answers yes or no asks, and whether on behalf of the user's own code.

    The second is None where the standard library, or this package, asks for itself.
    """
    asks = False
    while frame is not None and any(asker in frame.f_code.co_filename for asker in _ASKERS):
        asks, frame = True, frame.f_back
    if frame is None:
        return asks, None
    name = frame.f_code.co_filename
    if is_own_path(name) or is_standard_path(name):
        return asks, None
    return asks, not is_installed_path(name)


def has_looked_at(full: str) -> bool:
    """Tell whether a run has asked what lies at this path, or whether something does."""
    return any(full in looks for looks in _looks)


class _Presence:
    """The tracer of these questions."""

    name = "presence"

    def begin(self) -> dict[str, str]:
        run: dict[str, str] = {}
        _runs.append(run)
        _looks.append(set())
        os.stat = _telling_stat
        return run

    def end(self, begun: dict[str, str], /) -> Any:  # Any: plain JSON data, here and below
        number = next((number for number, run in enumerate(_runs) if run is begun), None)
        if number is not None:
            del _runs[number]
            looked = _looks.pop(number)
            if _looks:  # the run around this one has looked at all of that
                _looks[-1] |= looked
        if not _runs:
            os.stat = _plain_stat
        return {name: kind for name, kind in begun.items() if _kind(name) == kind} or None

    def difference(self, used: Any, /) -> str | None:
        for name, kind in used.items():
            if (now := _kind(name)) != kind:
                return (
                    f"{kind or 'file'} {name} is {'gone' if not now else 'there now' if not kind else f'a {now} now'}"
                )
        return None

    def apply(self, used: Any, /) -> None:
        for run in _runs:
            for name, kind in used.items():
                run.setdefault(name, kind)
        for looks in _looks[-1:]:
            looks.update(map(os.path.abspath, used))


register_tracer(_Presence())
