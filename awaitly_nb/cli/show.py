"""How the shell shows things: rich tables on a terminal, plain lines in a file or pipe, JSON on demand.

User text (keys, step ids, errors) goes through `inert`, so that nothing in it is taken for markup or moves the cursor.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from awaitly_nb.manage import came_from, shown_key, shown_text
from awaitly_nb.units import (
    counted,
    fit_width,
    in_one_line,
    middle_cut,
    show_age,
    show_duration,
    show_size,
    show_took,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from awaitly_nb.cache import Entry
    from awaitly_nb.cli.demo import Demo, DemoRow
    from awaitly_nb.cli.headless import RunReport
    from awaitly_nb.cli.remote import Moved
    from awaitly_nb.cli.state import StateDetails
    from awaitly_nb.cli.travel import Contents
    from awaitly_nb.codec import PublicKey
    from awaitly_nb.config import Setting
    from awaitly_nb.manage import EntryDetails, Explanation, Finding, NameStatus, Removal, Trusted, Vouched
    from awaitly_nb.plans import Plan
    from awaitly_nb.share import Package
    from awaitly_nb.states import Lease, SavedState

__all__ = [
    "RunProgress",
    "console",
    "contents",
    "data",
    "demo",
    "details",
    "entries",
    "explanation",
    "findings",
    "inert",
    "moved",
    "package",
    "plan",
    "progress",
    "removal",
    "report",
    "settings",
    "state",
    "state_removed",
    "states",
    "statuses",
    "trust_about",
    "trust_advice",
    "trusted",
    "trusted_keys",
    "vouched",
]

_STYLES = {"hit": "green", "computed": "yellow", "failed": "red", "interrupted": "red", "would compute": "yellow"}


def inert(text: str, style: str = "") -> Text:
    """Return a user's text as it is, with control characters written out."""
    return Text(visible(text), style=style)


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
        else "The first run reached no step."
    )
    out.print(
        f"With the start of a kernel, imports and plots, the two took {show_duration(done.first.seconds)} "
        f"and {show_duration(done.second.seconds)}."
    )
    for which, one in (("first", done.first), ("second", done.second)):
        if one.error:
            out.print(f"The {which} run failed:", Text.from_ansi(one.error))
    if not done.resumed:
        out.print("[red]That is not what this demonstration promises: please report it.[/red]")
    out.print("\nTo see it with your own eyes, open the same notebook with the same cache:")
    out.print(Text(f"  {open_command(done.folder / done.first.notebook.name)}"), soft_wrap=True)


def _outcome(row: DemoRow) -> Text:
    if not row.computed:
        return Text("hit" if row.calls == 1 else f"{row.calls} hits", style="green")
    computed = "computed" if row.calls == 1 else f"{row.computed} computed, {row.calls - row.computed} hits"
    return Text(computed, style="yellow")


def report(one: RunReport) -> None:
    """Show the outcome of a headless run."""
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
    out.print(f"{one.ending}: {one.total}")
    if one.error:
        out.print(Text.from_ansi(one.error))


_MOST_ROWS = 50
_MOST_NAMES = 1_000  # a terminal takes a tenth of a millisecond for each


def entries(found: Sequence[Entry], *, everything: bool = False) -> None:
    """Show entries, the newest first; of many the first fifty, unless all are asked for."""
    out = console()
    if not found:
        out.print("no such key is cached")
        return
    now = datetime.now(UTC)
    newest = list(reversed(found))
    shown = newest if everything else newest[:_MOST_ROWS]
    columns = ("key", "in", "result", "size", "took", "age", "hits")
    rows = [
        (
            in_one_line(entry.key if everything else shown_key(entry)),
            in_one_line(entry.namespace),
            "ok" if entry.ok else "failed",
            "" if entry.size_bytes is None else show_size(entry.size_bytes),
            "" if entry.duration_s is None else show_took(entry.duration_s),
            "" if entry.created_at is None else show_age(entry.created_at, now),
            str(entry.hits),
        )
        for entry in shown
    ]
    _lines(columns, rows, flexible=(0, 1), styles={"ok": "green", "failed": "red"})
    more = f"; {counted(len(found) - len(shown), 'key')} more with --all" if len(shown) < len(found) else ""
    out.print(f"{counted(len(found), 'key')}, {show_size(sum(entry.size_bytes or 0 for entry in found))}{more}")


def _lines(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    flexible: Sequence[int],
    styles: dict[str, str] | None = None,
) -> None:
    """Print a table as lines as wide as the terminal; only columns that are `flexible` are cut, in their middle."""
    out, styles = console(), styles or {}
    widths = fit_width(columns, rows, flexible, out.width)
    right = [place for place, title in enumerate(columns) if title in _NUMBERS]
    for number, row in enumerate((columns, *rows)):
        line = Text()
        for place, (text, width) in enumerate(zip(row, widths, strict=True)):
            cut = middle_cut(text, width) if place in flexible else text
            padded = cut.rjust(width) if place in right else cut.ljust(width)
            line.append(("  " if place else "") + padded, style="bold" if not number else styles.get(text, ""))
        line.rstrip()
        out.print(line, soft_wrap=True)


_NUMBERS = frozenset({"size", "took", "age", "hits", "saved", "keys"})


def details(found: Sequence[EntryDetails]) -> None:
    """Show all that is known of a key."""
    out = console()
    for one in found:
        entries([one.entry], everything=True)
        for kind, name, shown in one.parts:
            out.print(inert(f"{kind} {name}: {_first_line(shown)}"))
        for path in one.files:
            out.print(inert(f"file {path}"))
        if told := came_from(one.entry):
            out.print(inert(told))
        seen = one.preview
        if seen.facts:
            out.print(inert(", ".join(seen.facts), style="dim"))
        out.print(inert(shown_text(seen)))


def _first_line(text: str) -> str:
    first, _, rest = text.strip().partition("\n")
    return f"{first} ..." if rest else first


def removal(done: Removal, *, dry_run: bool = False) -> None:
    """Show what was removed, or would be."""
    out = console()
    if not done.entries:
        out.print(inert(done.nothing))
    elif dry_run:
        entries(done.entries)
        out.print(f"would remove {counted(len(done.entries), 'key')}")
    else:
        out.print(inert(str(done)))


def statuses(found: Sequence[NameStatus]) -> None:
    """Show one line for each name, of very many the latest thousand."""
    out = console()
    if not found:
        out.print("nothing is cached yet: begin a cell with %%awaitly NAME, or decorate a function with @aw.step")
        return
    now = datetime.now(UTC)
    shown = found[-_MOST_NAMES:]
    rows = [
        (
            one.state,
            in_one_line(one.name),
            "" if one.duration_s is None else show_took(one.duration_s),
            "" if one.size_bytes is None else show_size(one.size_bytes),
            show_duration(one.saved_s) if one.saved_s else "",
            f"{one.keys:,}",
            "" if one.at is None else show_age(one.at, now),
        )
        for one in shown
    ]
    columns = ("state", "step", "took", "size", "saved", "keys", "age")
    _lines(columns, rows, flexible=(1,), styles={"failed": "red", "stored": "green"})
    saved_s, size = sum(one.saved_s for one in found), sum(one.size_bytes or 0 for one in found)
    keys = sum(one.keys for one in found)
    more = f"; {counted(len(found) - len(shown), 'name')} more with --json" if len(shown) < len(found) else ""
    saved = f"{show_duration(saved_s)} saved{more}"
    out.print(f"{counted(len(found), 'name')}, {counted(keys, 'key')}, {show_size(size)}, {saved}")


def plan(found: Plan) -> None:
    """Show a plan: one line for each cell that is looked after, and the totals."""
    out = console()
    rows = [
        (
            one.state,
            in_one_line(one.name),
            "" if one.seconds is None else show_duration(one.seconds),
            show_size(one.size_bytes) if one.size_bytes else "",
            in_one_line(one.reason),
        )
        for one in found.cells
        if one.state != "live"
    ]
    if rows:
        columns = ("state", "cell", "takes", "reads", "why")
        styles = {"hit": "green", "run": "yellow", "new": "blue", "unknown": "magenta"}
        _lines(columns, rows, flexible=(1, 4), styles=styles)
    live = sum(one.state == "live" for one in found.cells)
    out.print(f"{counted(live, 'cell')} always run" if live else "", str(found.total), sep="\n" if live else "")


def explanation(found: Explanation) -> None:
    """Show why something was computed, with the difference of the source in colour."""
    out = console()
    out.print(inert(f"{found.name}: {found.line}"), soft_wrap=True)
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for change in found.changes:
        for line in change.detail.splitlines():
            out.print(inert(line, style=styles.get(line[:1], "")), soft_wrap=True)


def settings(found: Sequence[Setting]) -> None:
    """Show each setting with its value and where it came from."""
    rows = [(one.name, in_one_line(str(one.value)), in_one_line(one.source)) for one in found]
    _lines(("setting", "value", "from"), rows, flexible=(1, 2))


def findings(found: Sequence[Finding]) -> None:
    """Show what was looked at."""
    table = Table(show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for one in found:
        mark = Text("ok", style="green") if one.ok else Text("look", style="red")
        table.add_row(mark, inert(one.what), inert(one.state))
    console().print(table)


# -- resume states ----------------------------------------------------------------------------------------------------


def states(found: Sequence[SavedState], where: str, *, limit: int) -> None:
    """Show the ids in a store."""
    out, now = console(), datetime.now(UTC)
    if not found:
        out.print(inert(f"no such state is stored in {where}"))
        return
    table = Table(title=inert(where))
    table.add_column("id", overflow="fold")
    table.add_column("saved", justify="right")
    for one in found:
        table.add_row(inert(one.id), show_age(one.updated_at, now))
    out.print(table)
    if len(found) == limit:
        out.print(f"these are the newest {limit:,}; more with --limit, or with --prefix")


def state(found: StateDetails) -> None:
    """Show the steps of one state."""
    now = datetime.now(UTC)
    table = Table(title=inert(found.id))
    for name in ("key", "step", "result", "value"):
        table.add_column(name, overflow="fold")
    for name in ("size", "took", "age"):
        table.add_column(name, justify="right")
    for step in found.steps:
        table.add_row(
            inert(step.key),
            inert(step.step_id or ""),
            Text("ok", style="green") if step.ok else Text("failed", style="red"),
            inert(step.shown),
            show_size(step.size_bytes),
            "" if step.duration_s is None else show_duration(step.duration_s),
            "" if step.at is None else show_age(step.at, now),
        )
    out = console()
    out.print(table)
    failed = sum(not step.ok for step in found.steps)
    size = show_size(sum(step.size_bytes for step in found.steps))
    count = len(found.steps)
    out.print(f"{count:,} step{'' if count == 1 else 's'}, {failed:,} failed, {size}")
    if found.running is not None:
        out.print(inert(f"running now: {_holder(found.running)}"))


def state_removed(state_id: str, holder: Lease | None, *, dry_run: bool) -> None:
    """Show what was removed, or would be."""
    note = "" if holder is None else f", which is being run by {_holder(holder)}"
    console().print(inert(f"{'would remove' if dry_run else 'removed'} {state_id}{note}"))


def _holder(lease: Lease) -> str:
    return f"{lease.owner}, since {lease.since:%Y-%m-%d %H:%M:%S} UTC"


# -- trust ------------------------------------------------------------------------------------------------------------


def trusted(found: Sequence[Trusted]) -> None:
    """Show trusted secrets."""
    table = Table("id", "whose")
    for one in found:
        table.add_row(one.id, inert(one.note))
    console().print(table)


def trust_about(found: Vouched) -> None:
    """Show whose entries in a folder are not trusted here."""
    now, out = datetime.now(UTC), console()
    table = Table(title=inert(str(found.folder)))
    table.add_column("secret", overflow="fold")
    for name in ("entries", "size", "newest", "oldest"):
        table.add_column(name, justify="right")
    for one in found.secrets:
        ages = [show_age(datetime.fromtimestamp(at, UTC), now) for at in (one.newest_at, one.oldest_at)]
        table.add_row(inert(one.secret), f"{one.entries:,}", show_size(one.size_bytes), *ages)
    out.print(table)
    if found.owner:
        out.print(inert(f"the folder belongs to {found.owner}, {found.mode}"))


def trust_advice(found: Vouched) -> None:
    """Show what can be done about a folder's entries that are not trusted here."""
    out = console()
    if not found.secrets:
        out.print(inert(f"nothing in {found.folder} was signed with a secret that is not trusted here"))
        return
    trust_about(found)
    out.print("These entries stay, and are not served. If their secret still exists (another machine, somebody else):")
    out.print("  there: awaitly-nb trust export    here: awaitly-nb trust add")
    out.print("If it is lost (a container whose home is gone while its cache stayed), vouch for them yourself:")
    out.print(inert(f"  awaitly-nb trust folder {quote(str(found.folder))}"), soft_wrap=True)


def vouched(found: Vouched) -> None:
    """Show what came of signing a folder's entries anew."""
    out = console()
    if not found.secrets:
        trust_advice(found)
        return
    for key, why in found.refused:
        out.print(inert(f"not signed, and not served: {key!r}: {why}"))
    out.print(f"{found.signed:,} of {found.entries:,} entries are signed with your secret now, and served again")


def trusted_keys(found: Mapping[str, PublicKey]) -> None:
    """Show the public keys that are trusted."""
    table = Table("name", "words", "key")
    for name, key in found.items():
        table.add_row(inert(name), key.words, str(key))
    console().print(table)


# -- pack and open ----------------------------------------------------------------------------------------------------


def contents(found: Contents) -> None:
    """Show what is about to leave, and what perhaps should not."""
    out = console()
    total = sum(size for _, size in found.entries)
    out.print(inert(f"{found.notebook} and {counted(len(found.entries), 'cached result')}, {show_size(total)}"))
    if found.entries:
        _lines(("cell", "size"), [(in_one_line(name), show_size(size)) for name, size in found.entries], flexible=(0,))
    for cell in found.left_out:
        out.print(
            inert(f"not in it: {in_one_line(cell.name)} ({cell.state}: {in_one_line(cell.reason)})"), soft_wrap=True
        )
    for one in found.exposed:
        out.print(
            inert(f"warning: {in_one_line(one.what)} in {in_one_line(one.where)}: {in_one_line(one.sample)}", "yellow")
        )
    if found.entries:
        out.print("The values themselves were not looked into; it is for you to know what is in them.")


def package(found: Package, there: Plan, *, differing: Sequence[tuple[str, str, str]]) -> None:
    """Show who signed a bundle, what is in it, and what its notebook would do here."""
    out = console()
    out.print(inert(f"signed by {found.signer} ({found.key.words}); every byte is as it was signed"))
    number = counted(len(found.entries), "cached result")
    out.print(inert(f"{found.notebook_name} and {number}, {show_size(found.size_bytes)}"))
    if found.entries:
        rows = [(in_one_line(one.name), show_size(one.size_bytes)) for one in found.entries]
        _lines(("cell", "size"), rows, flexible=(0,))
    for name, version, here in differing:
        out.print(inert(f"{in_one_line(name)}: {in_one_line(version)} there, {here} here"))
    plan(there)


def moved(found: Moved) -> None:
    """Show what a push or a pull moved, and what it did not and why."""
    out = console()
    total = sum(size for _, size in found.entries)
    already = f", {found.already:,} already there" if found.already else ""
    told = f"{found.verb} {counted(len(found.entries), 'cached result')}, {show_size(total)}{already}; {found.remote}"
    out.print(inert(told), soft_wrap=True)
    for one in found.skipped:
        out.print(
            inert(f"skipped {in_one_line(one.name)}: {in_one_line(one.why)}", "red" if one.failed else ""),
            soft_wrap=True,
        )
    for exposed in found.exposed:
        told = f"warning: {in_one_line(exposed.what)} in {in_one_line(exposed.where)}: {in_one_line(exposed.sample)}"
        out.print(inert(told, "yellow"), soft_wrap=True)


# -- progress ---------------------------------------------------------------------------------------------------------


class RunProgress:
    """What is going on in a headless run: steps done of all, the one that runs, and how long it all takes. Thread-safe.

    Parameters
    ----------
    say
        Called with a line that is worth keeping: a step that is done, a kernel that was killed.
    total
        How many steps there are, where that is known.
    clock
        Seconds; the time that has passed is told.
    """

    def __init__(
        self, say: Callable[[str], None], *, total: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._total = total
        self._clock = clock
        self._began = clock()
        self._run = ""
        self._done = 0
        self._running: dict[tuple[str, str | None], float] = {}

    def run_event(self, event: dict[str, Any], kill: Callable[[], None]) -> None:  # noqa: ARG002 - the runner's callback
        """Take in an event of a headless run."""
        self._take(event)

    def demo_event(self, which: str, event: dict[str, Any]) -> None:
        """Take in an event of the demonstration."""
        if self._run != which:
            self._run, self._done, self._running, self._began = which, 0, {}, self._clock()
        self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        step = (event.get("step_id", ""), event.get("step_key"))
        match event["type"]:
            case "step_start":
                self._running[step] = self._clock()
            case "step_waiting":
                self._say(f"{step[0]} waits for {event.get('holder') or 'another kernel'}")
            case "step_cache_hit" | "step_complete":
                self._done += 1
                self._running.pop(step, None)
                told = "from cache" if event["type"] == "step_cache_hit" else "computed"
                self._say(f"{self.line()}: {step[0]} {told} in {show_took(event.get('duration_s') or 0.0)}")
            case "killed":
                since = [began for (step_id, _), began in self._running.items() if step_id == step[0]]
                spent = f", which had run for {show_duration(self._clock() - since[-1])}" if since else ""
                self._say(f"{self.line()}: kernel killed with SIGKILL in the middle of {step[0]}{spent}")
                self._running.clear()

    def line(self) -> str:
        """Return how far it is."""
        run = f"{self._run} run, " if self._run else ""
        return f"{run}{show_duration(self._clock() - self._began)}, {self._done}{self._of()} steps done"

    def status(self) -> str:
        """Return how far it is, and what runs now."""
        if not self._running:
            return self.line() if self._done else f"{self._run or 'a'} run: starting a kernel, {self.line()}"
        (step_id, _), since = next(reversed(self._running.items()))
        return f"{self.line()}, {step_id} running for {show_duration(self._clock() - since)}"

    def _of(self) -> str:
        return "" if self._total is None or self._done > self._total else f" of {self._total}"


@contextmanager
def progress(*, quiet: bool, total: int | None = None) -> Iterator[RunProgress]:
    """Show what is done as lines; what runs as one line that changes on a terminal, as further lines elsewhere."""
    err = Console(stderr=True)
    if quiet:
        yield RunProgress(lambda _: None)
        return
    shown = RunProgress(lambda text: err.print(inert(text)), total=total)
    ended = threading.Event()
    with err.status("starting a kernel") if err.is_terminal else nullcontext() as status:

        def tick() -> None:
            began = time.monotonic()
            # A log needs no line for each second of an hour; whoever watches one waits for the first.
            while not ended.wait(
                _TICK_S if status is not None or time.monotonic() - began < _WATCHED_S else _UNWATCHED_TICK_S
            ):
                if status is not None:
                    status.update(inert(shown.status()))
                else:
                    err.print(inert(shown.status()))

        ticker = threading.Thread(target=tick, name="awaitly-progress", daemon=True)
        ticker.start()
        try:
            yield shown
        finally:
            ended.set()
            ticker.join()


_TICK_S = 1.0
_WATCHED_S, _UNWATCHED_TICK_S = 600.0, 10.0
