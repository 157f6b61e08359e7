"""`awaitly-nb init`: a project whose notebooks need no line, or one, for automatic mode."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from awaitly_nb.errors import MisuseError

__all__ = ["set_auto", "set_startup"]

_TABLE = "[tool.awaitly_nb]"
_HEADER = re.compile(r"^[ \t]*\[tool\.awaitly_nb\][ \t]*(?:#.*)?$", re.MULTILINE)
_AUTO = re.compile(r"^[ \t]*auto[ \t]*=.*$", re.MULTILINE)
_NEXT = re.compile(r"^[ \t]*\[", re.MULTILINE)
_STARTUP = """# Written by `awaitly-nb init --ipython`; without this file notebooks need `%load_ext awaitly_nb` again.
try:
    get_ipython().run_line_magic("load_ext", "awaitly_nb")
except ImportError:  # this environment has no awaitly-nb
    pass
"""


def set_auto(folder: Path) -> Path:
    """Write `auto = true` into the nearest `pyproject.toml` at or above a folder, or into a new one there.

    Raises
    ------
    MisuseError
        The file is no TOML, or spells the table in a way that this does not change.
    """
    home = next((one for one in (folder, *folder.parents) if (one / "pyproject.toml").is_file()), folder)
    path = home / "pyproject.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    changed = _with_auto(text)
    try:
        done = tomllib.loads(changed)["tool"]["awaitly_nb"]["auto"] is True
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        done = False
    if not done:
        raise MisuseError(f"{path} is not as expected; write auto = true below {_TABLE} in it")
    if changed != text:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(changed, encoding="utf-8")
        temporary.replace(path)
    return path


def _with_auto(text: str) -> str:
    header = _HEADER.search(text)
    if header is None:
        gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}{_TABLE}\nauto = true\n"
    following = _NEXT.search(text, header.end())
    end = len(text) if following is None else following.start()
    found = _AUTO.search(text, header.end(), end)
    if found is None:
        return f"{text[: header.end()]}\nauto = true{text[header.end() :]}"
    return f"{text[: found.start()]}auto = true{text[found.end() :]}"


def set_startup() -> Path:
    """Let every IPython session of this user load the extension, and return the file that does so."""
    ipython = Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser()
    path = ipython / "profile_default" / "startup" / "50-awaitly-nb.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_STARTUP, encoding="utf-8")
    return path
