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

__all__: list[str] = []

_MOST: Final = 1000
_ASKERS: Final = ("genericpath", "pathlib", "posixpath", "ntpath")
_plain_stat: Final[Any] = os.stat
_runs: list[dict[str, str]] = []


def _kind(path: str) -> str:
    try:
        mode = _plain_stat(path).st_mode
    except (OSError, ValueError):
        return ""
    return "folder" if stat.S_ISDIR(mode) else "file"


def _telling_stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:  # Any: what `os.stat` takes
    if isinstance(path, str | os.PathLike) and not kwargs.get("dir_fd") and _is_users_question(sys._getframe(1)):  # noqa: SLF001 - who asks
        name = os.fspath(path)
        for run in _runs:
            if isinstance(name, str) and name not in run and len(run) < _MOST:
                run[name] = _kind(name)
    found: os.stat_result = _plain_stat(path, *args, **kwargs)
    return found


def _is_users_question(frame: FrameType | None) -> bool:
    """Tell whether the user's own code asks, through a function of the standard library that answers yes or no."""
    if frame is None or not any(asker in frame.f_code.co_filename for asker in _ASKERS):
        return False
    while frame is not None and any(asker in frame.f_code.co_filename for asker in _ASKERS):
        frame = frame.f_back
    if frame is None:
        return False
    name = frame.f_code.co_filename
    return not (is_standard_path(name) or is_installed_path(name) or is_own_path(name))


class _Presence:
    """The tracer of these questions."""

    name = "presence"

    def begin(self) -> dict[str, str]:
        run: dict[str, str] = {}
        _runs.append(run)
        os.stat = _telling_stat
        return run

    def end(self, begun: dict[str, str], /) -> Any:  # Any: plain JSON data, here and below
        _runs[:] = [run for run in _runs if run is not begun]
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


register_tracer(_Presence())
