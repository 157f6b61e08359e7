"""What may be wrong with this installation or with this folder's cache, and each setting with where it comes from."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from awaitly_nb import cache, config as configuration
from awaitly_nb.errors import AwaitlyError
from awaitly_nb.manage.entries import came_from, find
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Finding", "config", "doctor"]

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


def config() -> list[configuration.Setting]:
    """Return each setting, its value and where it came from; last the folder that the cache is in."""
    return [*configuration.explain(), configuration.Setting("(the cache is in)", configuration.cache_directory(), "")]


def doctor(*, fix: bool = False) -> list[Finding]:
    """Return what was looked at and how it is; changes nothing unless asked to.

    Parameters
    ----------
    fix
        Repair what can be repaired in the cache folder: orphan files, damaged entries, a damaged database.
    """
    return [*_installation(), *_settings(), *_folder(fix=fix), *_remote()]


def _installation() -> Iterator[Finding]:
    yield Finding("python", ok=True, state=f"{platform.python_version()} at {sys.executable}")
    for name in ("awaitly-nb", "diskcache", "ipywidgets", "anywidget", "pandas"):
        found = _version(name)
        yield Finding(name, ok=found is not None, state=found or "not installed; run: pip install awaitly-nb")
    for name in ("jupyterlab", "ipython", "ipykernel", "nbclient", "matplotlib"):
        # A notebook server may live in another environment, so that these are no fault.
        yield Finding(name, ok=True, state=_version(name) or "not in this environment: pip install 'awaitly-nb[lab]'")


def _settings() -> Iterator[Finding]:
    for setting in configuration.explain():
        if setting.source != "default":
            yield Finding(f"setting {setting.name}", ok=True, state=f"{setting.value}, from {setting.source}")
    verify = configuration.settings().verify
    yield Finding("verification", ok=verify != "off", state=verify + (_OFF if verify == "off" else ""))
    yield _secret(configuration.secret_path())


_OFF = ": whoever can write to the cache folder can run code as you"


def _secret(path: Path) -> Finding:
    if os.environ.get("AWAITLY_NB_SECRET"):
        return Finding("secret", ok=True, state="from AWAITLY_NB_SECRET")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return Finding("secret", ok=True, state=f"none yet; the first result that is stored makes one at {path}")
    if os.name == "posix" and mode & 0o077:
        return Finding("secret", ok=False, state=f"others can read it; run: chmod 600 {path}")
    return Finding("secret", ok=True, state=str(path))


def _folder(*, fix: bool) -> Iterator[Finding]:
    folder = configuration.cache_directory()
    if not folder.is_dir():
        yield Finding("cache folder", ok=True, state=f"none yet; it will be {folder}")
        return
    writable = os.access(folder, os.W_OK)
    yield Finding("cache folder", ok=writable, state=f"{folder}{'' if writable else ' cannot be written'}")
    report = cache.doctor(folder, fix=fix)
    for problem in report.problems:
        yield Finding("problem", ok=bool(report.fixed), state=problem)
    for done in report.fixed:
        yield Finding("fixed", ok=True, state=done)
    if report.problems and not fix:
        yield Finding("to fix them", ok=True, state="awaitly-nb doctor --fix, or %awaitly doctor --fix")
    for note in report.notes:
        yield Finding("note", ok=True, state=note)
    free = shutil.disk_usage(folder).free
    yield Finding("free space", ok=free > _LITTLE_SPACE_BYTES, state=show_size(free))
    entries = find()
    size = show_size(sum(entry.size_bytes or 0 for entry in entries))
    yield Finding("cached", ok=True, state=f"{len(entries):,} keys, {size}")
    yield from _came(entries)
    if failed := sum(not entry.ok for entry in entries):
        yield Finding("failures", ok=True, state=f"{failed:,} are replayed; retry runs them again")


def _came(entries: list[cache.Entry]) -> Iterator[Finding]:
    """Say what came from whom, and what it was computed with that is another version here."""
    for told, count in Counter(came_from(entry) for entry in entries if entry.came).most_common():
        yield Finding("from others", ok=True, state=f"{count:,} of the keys: {told}")


def _remote() -> Iterator[Finding]:
    """Ask the remote of the settings whose entries it has; a person waits for that."""
    address = configuration.settings().remote
    if address is None:
        return
    shown = next(str(setting.value) for setting in configuration.explain() if setting.name == "remote")
    try:
        signers = cache.open_remote(address).signers()
    except AwaitlyError as exc:
        yield Finding("remote", ok=False, state=f"{shown} cannot be used: {exc}")
        return
    yield Finding("remote", ok=True, state=f"{shown}, {sum(one.entries for one in signers):,} entries")
    for one in signers:
        count = _entries(one.entries)
        if one.name is not None:
            yield Finding("remote", ok=True, state=f"{count} signed by {one.name}")
        else:
            todo = f'compare these words with their owner, then: awaitly-nb trust add "{one.key}" --name NAME'
            yield Finding("remote", ok=False, state=f"{count} signed by {one.key.words}, whom you do not trust: {todo}")


def _entries(number: int) -> str:
    return "1 entry is" if number == 1 else f"{number:,} entries are"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
