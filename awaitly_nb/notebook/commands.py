"""What `%awaitly` can do, as functions: each looks at the default folder or at this process, and returns what to show.

>>> from awaitly_nb.notebook import commands
>>> commands.rm("no such key*").removed
0
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import escape
from typing import TYPE_CHECKING, Any

from awaitly_nb import config as settings
from awaitly_nb.cache import doctor as examine_folder
from awaitly_nb.cache import entries_for, folder_delete, folder_entries, key_begun_by, open_default
from awaitly_nb.engine import Why
from awaitly_nb.errors import MisuseError
from awaitly_nb.keys import Parts, diff, nearest
from awaitly_nb.notebook.html_elements import document, heading, table
from awaitly_nb.notebook.words import STATES, WORDS, show_took
from awaitly_nb.units import show_age, show_duration, show_size
from awaitly_nb.workflow import recent_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.cache import Entry
    from awaitly_nb.result import Mark

__all__ = ["Listing", "Removed", "config", "doctor", "keys", "retry", "rm", "status", "why"]

_ABSENT = "-"
_NOTHING_YET = "nothing has run in this kernel yet: begin a cell with %%awaitly NAME; %awaitly? tells the rest"


@dataclass(frozen=True, slots=True)
class Listing:
    """A table that knows how to show itself.

    Attributes
    ----------
    title
        One line above it.
    columns
        Names of the columns.
    rows
        Their texts.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        if not self.rows:
            return self.title
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            [
                self.title,
                *(
                    "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
                    for line in lines
                ),
            ]
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's own signature; Any: its printer
        printer.text("..." if cycle else str(self))

    def _repr_html_(self) -> str:
        shown = [table([(column, "") for column in self.columns], self.rows)] if self.rows else []
        return document(heading(self.title), *shown, css="awaitly-listing")


@dataclass(frozen=True, slots=True)
class Removed:
    """How many keys a command removed.

    Attributes
    ----------
    removed
        The number.
    what
        Which ones they were.
    nothing
        What to say where there were none.
    """

    removed: int
    what: str
    nothing: str = ""

    def __repr__(self) -> str:
        if not self.removed and self.nothing:
            return self.nothing
        return f"removed {_count(self.removed, 'key')} {self.what}"


def status() -> Listing:
    """Return what the steps of the latest runs in this process came to, the latest last."""
    runs = recent_runs()
    rows = [
        (
            WORDS[STATES.get(step.state, step.state)],
            step.step_id if run.workflow == step.step_id else f"{run.workflow} / {step.step_id}",
            show_took(step.duration_s) if step.state != "running" else _ABSENT,
            _ABSENT if step.size_bytes is None else show_size(step.size_bytes),
            show_duration(step.saved_s) if step.saved_s else _ABSENT,
            step.error_text or step.reason,
        )
        for run in runs
        for step in run.steps
    ]
    saved_s = sum(run.saved_s for run in runs)
    saved = f", {show_duration(saved_s)} saved" if saved_s else ""
    title = f"{_count(len(rows), 'step')}{saved}" if rows else _NOTHING_YET
    return Listing(title, ("state", "step", "took", "size", "saved", "why"), tuple(rows))


def keys(pattern: str = "*") -> Listing:
    """Return the kept keys of the default folder that match a glob, oldest first; case counts.

    A word without `*` and `?` that is no key stands for all keys of the workflow, function or cell of that name, and
    for those that have it in them.
    """
    now = datetime.now(UTC)
    entries = entries_for(pattern, folder_entries)
    rows = tuple(_entry_row(entry, now) for entry in entries)
    size = sum(entry.size_bytes or 0 for entry in entries)
    title = f"{_count(len(rows), 'key')}, {show_size(size)}" if rows else f"no key matches {pattern!r}"
    return Listing(title, ("key", "in", "result", "size", "took", "age", "hits"), rows)


def why(name: str) -> Why:
    """Return why a cell, a step or a decorated function was last computed, or that it hit.

    Raises
    ------
    MisuseError
        Nothing of that name has run here or is kept.
    """
    ran = [(run.workflow, step) for run in recent_runs() for step in run.steps if step.step_id == name]
    namespace, step = ran[-1] if ran else (name, None)
    marks = _marks(namespace, name)
    if step is None:
        if not marks:
            raise MisuseError(
                f"nothing called {name!r} has run in this kernel or is kept in {settings.cache_directory()}"
            )
        return Why(hit=True, key="", reason=f"not run in this kernel yet; {_computed(marks, None)}")
    if step.state in {"hit", "replayed failure"}:
        return Why(hit=True, key=step.step_key or "", reason=_computed(marks, step.step_key))
    kept = [Parts.from_data(mark.parts) for mark in reversed(marks) if mark.parts is not None]
    mine = next((parts for parts in kept if parts.key == step.step_key), None)
    before = None if mine is None else nearest(mine, [parts for parts in kept if parts.key != step.step_key])
    changes = () if mine is None or before is None else diff(before, mine)
    failed = f"it failed: {step.error_text.removeprefix('UnexpectedError: ')}" if step.error_text else ""
    reason = "; ".join(part for part in (step.reason, failed) if part)
    return Why(hit=False, key=step.step_key or "", reason=reason, changes=changes)


def rm(pattern: str) -> Removed:
    """Remove the kept keys that match a glob, in every namespace of the default folder; they are computed again.

    Where none does, the first letters of one key will do, if there are at least eight and no other key begins so.
    """
    removed = folder_delete(pattern)
    if not removed and (key := key_begun_by(pattern, {entry.key for entry in folder_entries("*")})) is not None:
        return Removed(folder_delete(escape(key)), f"that match {key!r}")
    return Removed(removed, f"that match {pattern!r}")


def retry(key: str | None = None) -> Removed:
    """Remove kept failures, or one failed key (first letters will do, as for `rm`), so that their steps run again."""
    failed = [entry for entry in folder_entries("*") if not entry.ok]
    if key is not None:
        key = key_begun_by(key, {entry.key for entry in failed}) or key
        failed = [entry for entry in failed if entry.key == key]
    removed = sum(open_default(entry.namespace).delete(entry.key) for entry in failed)
    under = "" if key is None else f" under {key!r}"
    return Removed(removed, f"that failed{under}", nothing=f"no failure is kept{under}")


def config() -> Listing:
    """Return each setting, its value and where it came from."""
    rows = tuple((setting.name, str(setting.value), setting.source) for setting in settings.explain())
    return Listing(f"settings; the cache is in {settings.cache_directory()}", ("setting", "value", "from"), rows)


def doctor() -> Listing:
    """Return what may matter when something does not work: versions, the cache folder, the secret."""
    folder, secret = settings.cache_directory(), settings.secret_path()
    entries = folder_entries("*")
    rows = [
        ("python", platform.python_version(), sys.executable),
        *((name, *_version(name)) for name in ("IPython", "ipykernel", "ipywidgets", "anywidget", "matplotlib")),
        ("cache folder", "there" if folder.is_dir() else "not yet made", str(folder)),
        ("entries", str(len(entries)), show_size(sum(entry.size_bytes or 0 for entry in entries))),
        ("failures kept", str(sum(not entry.ok for entry in entries)), "%awaitly retry runs them again"),
        ("secret", "there" if secret.is_file() else "not yet made", str(secret)),
    ]
    if folder.is_dir():
        report = examine_folder()
        rows += [("problem", "awaitly-nb doctor --mend", problem) for problem in report.problems]
        rows += [("note", _ABSENT, note) for note in report.notes]
    return Listing("awaitly_nb here", ("what", "state", "detail"), tuple(rows))


def _entry_row(entry: Entry, now: datetime) -> tuple[str, ...]:
    return (
        entry.key,
        entry.namespace or _ABSENT,
        "ok" if entry.ok else "failed",
        _ABSENT if entry.size_bytes is None else show_size(entry.size_bytes),
        _ABSENT if entry.duration_s is None else show_took(entry.duration_s),
        _ABSENT if entry.created_at is None else show_age(entry.created_at, now),
        str(entry.hits),
    )


def _marks(namespace: str, step_id: str) -> Sequence[Mark]:
    marks = getattr(open_default(namespace), "marks", None)
    return [] if marks is None else list(marks(step_id))


def _computed(marks: Sequence[Mark], key: str | None) -> str:
    """Say when the newest of these was computed, or the one of an automatic `key`."""
    of_key = [mark for mark in marks if mark.parts is not None and Parts.from_data(mark.parts).key == key]
    for mark in (*of_key, *marks):
        if mark.at is not None and mark.duration_s is not None:
            return f"computed {show_age(mark.at, datetime.now(UTC))} in {show_duration(mark.duration_s)}"
    return "from the cache"


def _version(name: str) -> tuple[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name), ""
    except PackageNotFoundError:
        return "not installed", "pip install 'awaitly-nb[lab]'"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
