"""How the shell shows resume states."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from awaitly_nb.cli.show import console, inert
from awaitly_nb.units import show_age, show_duration, show_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.cli.states import Details
    from awaitly_nb.states import Lease, SavedState

__all__ = ["removed", "state", "states"]


def states(found: Sequence[SavedState], where: str, *, limit: int) -> None:
    """Show the ids in a store."""
    out, now = console(), datetime.now(UTC)
    if not found:
        out.print(inert(f"no such state is kept in {where}"))
        return
    table = Table(title=inert(where))
    table.add_column("id", overflow="fold")
    table.add_column("saved", justify="right")
    for one in found:
        table.add_row(inert(one.id), show_age(one.updated_at, now))
    out.print(table)
    if len(found) == limit:
        out.print(f"these are the newest {limit:,}; more with --limit, or with --prefix")


def state(found: Details) -> None:
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


def removed(state_id: str, holder: Lease | None, *, dry_run: bool) -> None:
    """Show what was removed, or would be."""
    note = "" if holder is None else f", which is being run by {_holder(holder)}"
    console().print(inert(f"{'would remove' if dry_run else 'removed'} {state_id}{note}"))


def _holder(lease: Lease) -> str:
    return f"{lease.owner}, since {lease.since:%Y-%m-%d %H:%M:%S} UTC"
