"""How the shell shows things: rich tables on a terminal, plain lines elsewhere, JSON on demand.

User text (keys, step ids, errors) goes through `inert`, so that nothing in it is taken for markup or moves the cursor.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from awaitly_nb.units import show_age, show_duration, show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from awaitly_nb.cache import Entry
    from awaitly_nb.cli.demo import Demo, Row
    from awaitly_nb.cli.doctor import Finding
    from awaitly_nb.cli.headless import Report
    from awaitly_nb.cli.kept import Details, Statistics

__all__ = [
    "Progress",
    "console",
    "data",
    "demo",
    "details",
    "entries",
    "findings",
    "inert",
    "progress",
    "removed",
    "report",
    "statistics",
]

_STYLES = {"hit": "green", "computed": "yellow", "failed": "red", "interrupted": "red", "would compute": "yellow"}


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What moves the cursor of a terminal, rings its bell, or turns the reading direction; tabs and new lines stay."""


def inert(text: str, style: str = "") -> Text:
    """Return a user's text as it is, with control characters written out."""
    return Text(_CONTROL.sub(lambda found: ascii(found[0])[1:-1], text), style=style)


def console() -> Console:
    """Return the console of standard output; wide enough for whole keys where that is no terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=160)


def data(value: object) -> None:
    """Show plain data as JSON."""
    click.echo(json.dumps(value, indent=1))


def demo(done: Demo) -> None:
    """Show both runs of the demonstration, and where to go on."""
    from awaitly_nb.cli.demo import open_command

    table = Table(title="The same notebook, killed and run again")
    table.add_column("step")
    for name in ("first run", "second run"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_column("saved", justify="right")
    for row in done.rows:
        first = f"killed after {show_duration(row.first_s)}" if row.killed else show_duration(row.first_s)
        name = f"{row.step} (x{row.calls})" if row.calls > 1 else row.step
        table.add_row(inert(name), first, show_duration(row.second_s), _outcome(row), show_duration(row.saved_s))
    out = console()
    out.print(table)
    first_s, second_s = done.first.step_seconds, done.second.step_seconds
    hits = sum(step.state == "hit" for step in done.second.steps)
    out.print(
        f"The first kernel was killed with SIGKILL after {show_duration(first_s)} of steps. "
        f"The second one took {hits} of {len(done.second.steps)} steps from disk and needed {show_duration(second_s)}, "
        f"{second_s / first_s:.1%} of that."
        if first_s
        else "The first run came to no step."
    )
    out.print(
        f"With the start of a kernel, imports and plots, the two took {show_duration(done.first.seconds)} "
        f"and {show_duration(done.second.seconds)}."
    )
    for which, one in (("first", done.first), ("second", done.second)):
        if one.error:
            out.print(f"The {which} run failed:", Text.from_ansi(one.error))
    if not done.kept:
        out.print("[red]That is not what this demonstration promises: please report it.[/red]")
    out.print("\nTo see it with your own eyes, open the same notebook with the same cache:")
    out.print(Text(f"  {open_command(done.folder / done.first.notebook.name)}"), soft_wrap=True)


def _outcome(row: Row) -> Text:
    if not row.computed:
        return Text("hit" if row.calls == 1 else f"{row.calls} hits", style="green")
    computed = "computed" if row.calls == 1 else f"{row.computed} computed, {row.calls - row.computed} hits"
    return Text(computed, style="yellow")


def report(one: Report) -> None:
    """Show what a headless run came to."""
    table = Table(title=Text(str(one.notebook)))
    for name in ("step", "key", "", "why"):
        table.add_column(name, overflow="fold")
    for name in ("took", "saved"):
        table.add_column(name, justify="right")
    for step in one.steps:
        table.add_row(
            inert(step.step_id),
            inert(step.step_key or ""),
            Text(step.state, style=_STYLES.get(step.state, "")),
            inert(step.error_text or step.reason),
            show_duration(step.duration_s),
            show_duration(step.saved_s),
        )
    out = console()
    out.print(table)
    saved = sum(step.saved_s for step in one.steps)
    out.print(f"{one.ending}, {show_duration(one.seconds)}; {show_duration(saved)} saved")
    if one.error:
        out.print(Text.from_ansi(one.error))


def entries(found: Sequence[Entry]) -> None:
    """Show kept keys."""
    out = console()
    if not found:
        out.print("no such key is kept")
        return
    now = datetime.now(UTC)
    table = Table()
    table.add_column("key", overflow="fold")
    table.add_column("in")
    table.add_column("result")
    for name in ("size", "took", "age", "hits"):
        table.add_column(name, justify="right")
    for entry in found:
        table.add_row(
            inert(entry.key),
            inert(entry.namespace),
            Text("ok", style="green") if entry.ok else Text("failed", style="red"),
            "" if entry.size_bytes is None else show_size(entry.size_bytes),
            "" if entry.duration_s is None else show_duration(entry.duration_s),
            "" if entry.created_at is None else show_age(entry.created_at, now),
            str(entry.hits),
        )
    out.print(table)
    out.print(f"{_count(found)}, {show_size(sum(entry.size_bytes or 0 for entry in found))}")


def details(found: Sequence[Details]) -> None:
    """Show all that is known of a key."""
    out = console()
    for one in found:
        entries([one.entry])
        for kind, name, shown in one.parts:
            out.print(inert(f"{kind} {name}: {_first_line(shown)}"))
        for path in one.files:
            out.print(inert(f"file {path}"))
        out.print(inert(one.preview))


def _first_line(text: str) -> str:
    first, _, rest = text.strip().partition("\n")
    return f"{first} ..." if rest else first


def removed(found: Sequence[Entry], count: int | None) -> None:
    """Show what was removed, or would be where `count` is None."""
    if count is None:
        entries(found)
    console().print(f"would remove {_count(found)}" if count is None else f"removed {_count(found[:count])}")


def _count(found: Sequence[Entry]) -> str:
    return f"{len(found):,} key{'' if len(found) == 1 else 's'}"


def statistics(found: Sequence[Statistics]) -> None:
    """Show what is kept, by namespace."""
    table = Table()
    table.add_column("in")
    for name in ("keys", "failures", "size", "computed in", "saved"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            Text("all", style="bold") if one.namespace is None else inert(one.namespace),
            f"{one.keys:,}",
            f"{one.failures:,}",
            show_size(one.size_bytes),
            show_duration(one.computed_s),
            show_duration(one.saved_s),
        )
    console().print(table)


def findings(found: Sequence[Finding]) -> None:
    """Show what was looked at."""
    table = Table(show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for one in found:
        mark = Text("ok", style="green") if one.ok else Text("look", style="red")
        table.add_row(mark, inert(one.what), inert(one.state))
    console().print(table)


class Progress:
    """One line about what is going on."""

    def __init__(self, say: Callable[[str], None] | None) -> None:
        self._say = say
        self._steps = 0
        self._run = ""

    def run_event(self, event: dict[str, Any], kill: Callable[[], None]) -> None:  # noqa: ARG002 - the runner's callback
        """Take in an event of a headless run."""
        self._take(event)

    def demo_event(self, which: str, event: dict[str, Any]) -> None:
        """Take in an event of the demonstration."""
        if self._run != which:
            self._run, self._steps = which, 0
        self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        where = f"{self._run} run, " if self._run else ""
        if event["type"] in {"step_cache_hit", "step_complete"}:
            self._steps += 1
        elif event["type"] == "step_start" and self._say is not None:
            self._say(f"{where}{self._steps} steps done, now {event['step_id']}")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Show one changing line on a terminal, a line per step elsewhere, nothing where it is to be quiet."""
    err = Console(stderr=True)
    if quiet:
        yield Progress(None)
    elif err.is_terminal:
        with err.status("starting a kernel") as status:
            yield Progress(lambda text: status.update(inert(text)))
    else:
        yield Progress(lambda text: err.print(inert(text)))
