"""What may be wrong with this installation or with this folder's cache; changes nothing unless asked to mend."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from awaitly_nb import config
from awaitly_nb.cache import doctor
from awaitly_nb.cli.kept import find
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Finding", "examine"]

_LITTLE_SPACE_BYTES = 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what
        The thing.
    ok
        False where something should be done.
    state
        How it is, and what to do.
    """

    what: str
    ok: bool
    state: str


def examine(*, mend: bool = False) -> list[Finding]:
    """Return what was looked at and how it is; `mend` puts right what can be put right in the cache folder."""
    return [*_installation(), *_settings(), *_folder(mend=mend)]


def _installation() -> Iterator[Finding]:
    yield Finding("python", ok=True, state=f"{platform.python_version()} at {sys.executable}")
    for name in ("awaitly-nb", "diskcache", "ipywidgets", "anywidget", "pandas"):
        found = _version(name)
        yield Finding(name, ok=found is not None, state=found or "not installed; run: pip install awaitly-nb")
    for name in ("jupyterlab", "ipykernel", "nbclient"):
        # A notebook server may live in another environment, so that these are no fault.
        yield Finding(name, ok=True, state=_version(name) or "not in this environment: pip install 'awaitly-nb[lab]'")


def _settings() -> Iterator[Finding]:
    for setting in config.explain():
        if setting.source != "default":
            yield Finding(f"setting {setting.name}", ok=True, state=f"{setting.value}, from {setting.source}")
    verify = config.settings().verify
    yield Finding("verification", ok=verify != "off", state=verify + (_OFF if verify == "off" else ""))
    yield _secret(config.secret_path())


_OFF = ": whoever can write to the cache folder can run code as you"


def _secret(path: Path) -> Finding:
    if os.environ.get("AWAITLY_NB_SECRET"):
        return Finding("secret", ok=True, state="from AWAITLY_NB_SECRET")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return Finding("secret", ok=True, state=f"none yet; the first result that is kept makes one at {path}")
    if os.name == "posix" and mode & 0o077:
        return Finding("secret", ok=False, state=f"others can read it; run: chmod 600 {path}")
    return Finding("secret", ok=True, state=str(path))


def _folder(*, mend: bool) -> Iterator[Finding]:
    folder = config.cache_directory()
    if not folder.is_dir():
        yield Finding("cache folder", ok=True, state=f"none yet; it will be {folder}")
        return
    writable = os.access(folder, os.W_OK)
    yield Finding("cache folder", ok=writable, state=f"{folder}{'' if writable else ' cannot be written'}")
    report = doctor(folder, mend=mend)
    for problem in report.problems:
        yield Finding("problem", ok=bool(report.mended), state=problem)
    for done in report.mended:
        yield Finding("mended", ok=True, state=done)
    for note in report.notes:
        yield Finding("note", ok=True, state=note)
    free = shutil.disk_usage(folder).free
    yield Finding("free space", ok=free > _LITTLE_SPACE_BYTES, state=show_size(free))
    entries = find()
    size = show_size(sum(entry.size_bytes or 0 for entry in entries))
    yield Finding("kept", ok=True, state=f"{len(entries):,} keys, {size}")
    if failed := sum(not entry.ok for entry in entries):
        yield Finding(
            "failures", ok=True, state=f"{failed:,} are replayed; to run them again: awaitly-nb rm '*' --errors"
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
