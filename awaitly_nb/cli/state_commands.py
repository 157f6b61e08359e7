"""`awaitly-nb state`: what runs have finished, in any store."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from awaitly_nb.cli import show, show_states
from awaitly_nb.cli.options import as_json
from awaitly_nb.errors import AwaitlyError, LeaseHeldError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["state_group"]

_QUICK_S = 2.0
"""So long somebody who pressed the tabulator waits for a server."""


def _store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    store = click.option(
        "--store",
        "address",
        metavar="ADDRESS",
        envvar="AWAITLY_NB_STORE",
        required=True,
        is_eager=True,  # before the id, whose completion asks it
        help="Path of an SQLite file, or postgresql://, mongodb://, libsql://, redis://, s3://. Others on this machine "
        "can see what is typed here: better give an address that holds a password as AWAITLY_NB_STORE.",
    )
    table = click.option("--table", default="awaitly", show_default=True, is_eager=True, help="Name of its table.")
    return store(table(as_json(command)))


def _complete_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    from awaitly_nb.cli.states import open_states

    address, table = ctx.params.get("address"), ctx.params.get("table") or "awaitly"
    with suppress(AwaitlyError):
        if address:
            with open_states(address, table=table, timeout_s=_QUICK_S) as opened:
                return [found.id for found in opened.list(incomplete)]
    return []


@click.group("state")
def state_group() -> None:
    """Look at what runs have finished, in the stores they resume from.

    Exit codes: 0 done; 1 there is no such state, or the store cannot be used; 4 somebody is running it.
    """


@state_group.command("list")
@click.option("--prefix", default="", help="Only ids that begin so.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="How many at most.")
@_store_options
def state_list(*, address: str, table: str, prefix: str, limit: int, as_json: bool) -> None:
    """List the ids in a store, the newest first."""
    from awaitly_nb.cli.states import open_states

    with open_states(address, table=table) as opened:
        found = opened.list(prefix, limit)
    if as_json:
        show.data([{"id": one.id, "updated_at": one.updated_at.isoformat()} for one in found])
    else:
        show_states.states(found, opened.shown, limit=limit)


@state_group.command("show")
@click.argument("state_id", metavar="ID", shell_complete=_complete_ids)
@_store_options
def state_show(*, address: str, table: str, state_id: str, as_json: bool) -> None:
    """Show the finished steps of one run, and who is running it now; decodes no value."""
    from awaitly_nb.cli import states

    with states.open_states(address, table=table) as opened:
        found = states.details(opened, state_id)
    if as_json:
        show.data(found.to_dict())
    else:
        show_states.state(found)


@state_group.command("rm")
@click.argument("state_id", metavar="ID", shell_complete=_complete_ids)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--force", is_flag=True, help="Also where somebody is running it.")
@_store_options
def state_rm(*, address: str, table: str, state_id: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """Forget what a run has finished: the next one with this ID begins anew."""
    from awaitly_nb.cli import states

    with states.open_states(address, table=table) as opened:
        try:
            holder = states.remove(opened, state_id, force=force, dry_run=dry_run)
        except LeaseHeldError as exc:
            exc.args = (f"{state_id!r} is running: {exc}. To remove it all the same: --force",)
            raise
    if as_json:
        told = {"id": state_id, "removed": not dry_run, "dry_run": dry_run, "running": states.running_data(holder)}
        show.data(told)
    else:
        show_states.removed(state_id, holder, dry_run=dry_run)
