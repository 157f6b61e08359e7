"""What is wrong with a cache folder, and putting it right.

A look changes nothing and decodes no value. Mending removes only what can never be served: files without a row, rows
without their file, entries that are damaged; a damaged database is set aside and rebuilt. Entries of a foreign secret
stay, because they may be somebody's.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from awaitly_nb.cache.held import SEPARATOR
from awaitly_nb.cache.repair import fill, rebuild, remove_strays, repairer, set_aside, tidy, unfinished
from awaitly_nb.cache.writers import is_alive
from awaitly_nb.codec import EnvelopeError, check_buffers, open_envelope
from awaitly_nb.errors import StoreError
from awaitly_nb.stores import DATABASE, DamagedRecordError, is_made, is_network, sound, strays
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from pathlib import Path

    from awaitly_nb.cache.folder import Folder

__all__ = ["Report", "examine"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a cache folder; what `mended` says was put right.

    Attributes
    ----------
    directory
        The folder.
    entries, size_bytes
        How much is kept.
    healthy
        True when nothing has to be done.
    problems
        One line each, for people.
    mended
        What was done about them, one line each.
    notes
        What is worth knowing, and is no fault.
    """

    directory: Path
    entries: int = 0
    size_bytes: int = 0
    problems: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def healthy(self) -> bool:
        """True when nothing has to be done."""
        return not self.problems or bool(self.mended)

    def __str__(self) -> str:
        lines = [f"{self.directory}: {self.entries} entries, {show_size(self.size_bytes)}"]
        lines += [f"  problem: {line}" for line in self.problems]
        lines += [f"  mended:  {line}" for line in self.mended]
        lines += [f"  note:    {line}" for line in self.notes]
        if not self.problems:
            lines.append("  nothing is wrong")
        return "\n".join(lines)


def examine(folder: Folder, *, mend: bool) -> Report:
    """Look a cache folder over, and put it right if asked."""
    path = folder.directory
    if not path.is_dir():
        return Report(path, notes=("the folder does not exist yet",))
    problems: list[str] = []
    mended: list[str] = []
    notes = _about_folder(path, problems, mended, mend=mend)
    notes += [f"a damaged database was set aside earlier: {found.name}" for found in set_aside(folder)]
    if (path / DATABASE).exists() and not sound(path / DATABASE):
        problems.append("the database is damaged")
        if not mend:
            return Report(path, problems=tuple(problems), notes=tuple(notes))
        folder.store.close()
        rebuild(folder, "the database is damaged")
        mended.append("the database was set aside and rebuilt")
    entries = size = 0
    try:
        _about_filling(folder, problems, mended, notes, mend=mend)
        if mend or is_made(path / DATABASE):  # to open one that is not would be to make it
            entries, size = _about_entries(folder, problems, mended, notes, mend=mend)
            entries += _about_files(folder, problems, mended, mend=mend)
    except (StoreError, sqlite3.Error) as exc:
        problems.append(str(exc))
    return Report(path, entries, size, tuple(problems), tuple(mended), tuple(notes))


def _about_folder(path: Path, problems: list[str], mended: list[str], *, mend: bool) -> list[str]:
    notes = []
    mode = path.stat().st_mode
    if os.name == "posix" and mode & (stat.S_IWOTH | stat.S_IWGRP):
        problems.append(f"others can write to the folder (mode {stat.S_IMODE(mode):o})")
        if mend:
            path.chmod(0o700)
            mended.append("the folder was made private")
    if is_network(path):
        notes.append("on a network file system: slower, and nothing is kept in memory")
    return notes


def _about_filling(folder: Folder, problems: list[str], mended: list[str], notes: list[str], *, mend: bool) -> None:
    """Tell of a database that is gone, or was not read to its end when another was made in its place."""
    if (who := repairer(folder)) is not None and not mend:
        notes.append(f"{who} is repairing it")
        return
    old = unfinished(folder)
    if old:
        problems.append(f"a damaged database is not rescued to its end yet: {', '.join(path.name for path in old)}")
    elif not is_made(folder.directory / DATABASE) and (count := sum(1 for _ in folder.store.files.paths())):
        problems.append(f"the database is gone; {count} value files wait to be found again")
    if mend:
        kept = fill(folder)
        if old or kept:
            mended.append(f"{kept} entries were found again")


def _about_entries(
    folder: Folder, problems: list[str], mended: list[str], notes: list[str], *, mend: bool
) -> tuple[int, int]:
    store = folder.store
    planted = strays(folder.directory / DATABASE)
    bad: dict[str, str] = {}
    foreign = entries = size = 0
    for name, _, length in store.sizes():
        entries, size = entries + 1, size + length
        try:
            found = store.fetch(name)
            if found is None:
                continue
            # Head and body of one look: somebody may have replaced the entry since it was listed.
            check_buffers(open_envelope(name, found[0], found[1], folder.keyring))
        except EnvelopeError as exc:
            if exc.reason in ("foreign", "outdated"):
                foreign += 1
            elif exc.reason != "newer":
                bad[name] = str(exc)
        except (DamagedRecordError, sqlite3.Error) as exc:
            bad[name] = str(exc)
    problems += [f"{_key_of(name)!r} cannot be served: {why}" for name, why in bad.items()]
    problems += [f"{_key_of(name.decode(errors='replace'))!r} cannot be served: {why}" for _, name, why in planted]
    if bad and mend:
        mended.append(f"{folder.delete(bad)} entries that cannot be served were removed")
        entries -= len(bad)
    if planted and mend:
        mended.append(f"{remove_strays(folder, planted)} rows that awaitly_nb did not write were removed")
    if foreign:
        notes.append(f"{foreign} entries have a secret that is not trusted here, or an old format: `awaitly-nb trust`")
    return entries, size


def _about_files(folder: Folder, problems: list[str], mended: list[str], *, mend: bool) -> int:
    """Tell of files that belong to no entry; return how many found theirs."""
    if repairer(folder) is not None:
        return 0  # they wait for their rows
    named = folder.store.filenames()
    orphans = [path for path in folder.store.files.paths() if path not in named and not _being_written(folder, path)]
    if orphans:
        problems.append(f"{len(orphans)} files belong to no entry")
    if not (orphans and mend):
        return 0
    kept, swept = tidy(folder)
    mended.append(f"{swept} files that belong to no entry were removed, {kept} found their entry")
    return kept


def _key_of(name: str) -> str:
    return name.partition(SEPARATOR)[2] or name


def _being_written(folder: Folder, path: str) -> bool:
    token = folder.store.files.token_of(path)
    return token is not None and is_alive(folder, token)
