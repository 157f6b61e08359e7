"""`awaitly-nb state`: what runs have finished, in any store, by its address.

Addresses hold passwords, so that no message of this module repeats one; `OpenStates.shown` is what may be shown.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from awaitly_nb.cli import show
from awaitly_nb.cli.options import CommandGroup, as_json
from awaitly_nb.errors import (
    AwaitlyError,
    InvalidOptionError,
    LeaseHeldError,
    MissingExtraError,
    MisuseError,
    NotCachedError,
    StoreError,
)
from awaitly_nb.states import databases, outline
from awaitly_nb.stores import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from awaitly_nb.states import Lease, SavedState, StateStore, StepOutline

__all__ = ["OpenStates", "StateDetails", "details", "open_states", "remove", "running_data", "state_group"]

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
    address, table = ctx.params.get("address"), ctx.params.get("table") or "awaitly"
    with suppress(AwaitlyError):
        if address:
            with open_states(address, table=table, timeout_s=_QUICK_S) as opened:
                return [found.id for found in opened.list(incomplete)]
    return []


@click.group("state", cls=CommandGroup)
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
    with open_states(address, table=table) as opened:
        found = opened.list(prefix, limit)
    if as_json:
        show.data([{"id": one.id, "updated_at": one.updated_at.isoformat()} for one in found])
    else:
        show.states(found, opened.shown, limit=limit)


@state_group.command("show")
@click.argument("state_id", metavar="ID", shell_complete=_complete_ids)
@_store_options
def state_show(*, address: str, table: str, state_id: str, as_json: bool) -> None:
    """Show the finished steps of one run, and who is running it now; decodes no value."""
    with open_states(address, table=table) as opened:
        found = details(opened, state_id)
    if as_json:
        show.data(found.to_dict())
    else:
        show.state(found)


@state_group.command("rm")
@click.argument("state_id", metavar="ID", shell_complete=_complete_ids)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--force", is_flag=True, help="Also where somebody is running it.")
@_store_options
def state_rm(*, address: str, table: str, state_id: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """Remove what a run has finished: the next one with this ID starts from the beginning."""
    with open_states(address, table=table) as opened:
        try:
            holder = remove(opened, state_id, force=force, dry_run=dry_run)
        except LeaseHeldError as exc:
            exc.args = (f"{state_id!r} is running: {exc}. To remove it all the same: --force",)
            raise
    if as_json:
        told = {"id": state_id, "removed": not dry_run, "dry_run": dry_run, "running": running_data(holder)}
        show.data(told)
    else:
        show.state_removed(state_id, holder, dry_run=dry_run)


# -- what the commands do ---------------------------------------------------------------------------------------------

_SERVERS: dict[str, Callable[..., StateStore]] = {
    "postgres": databases.postgres,
    "postgresql": databases.postgres,
    "mongodb": databases.mongo,
    "mongodb+srv": databases.mongo,
    "libsql": databases.libsql,
    "https": databases.libsql,
    "http": databases.libsql,
    "redis": databases.redis,
    "rediss": databases.redis,
    "unix": databases.redis,
    **dict.fromkeys(("s3", "s3a", "gcs", "gs", "az", "abfs"), databases.objects),
}


@dataclass(frozen=True, slots=True)
class OpenStates:
    """A store that is open.

    Attributes
    ----------
    store
        The store.
    shown
        Where it is, without secrets.
    """

    store: StateStore
    shown: str

    def list(self, prefix: str = "", limit: int | None = 100) -> list[SavedState]:
        """Return what is stored, the newest first."""
        return self.store.blocking.list(prefix, limit)


@contextmanager
def open_states(address: str, *, table: str = "awaitly", timeout_s: float = 10.0) -> Iterator[OpenStates]:
    """Open the store at `address`, and close it afterwards.

    Parameters
    ----------
    address
        The path of an SQLite file or of a folder of objects, `sqlite:///path`, or the URL of a server: `postgresql://`,
        `mongodb://`, `libsql://`, `redis://`, `s3://`.
    table
        Name of its table.
    timeout_s
        Seconds to wait for an answer.

    Raises
    ------
    MisuseError, InvalidOptionError
        It is no address of a store, or there is no such file.
    MissingExtraError
        The driver is not installed.
    """
    opened = _open(address, table, timeout_s)
    try:
        yield opened
    finally:
        opened.store.blocking.close()


def _open(address: str, table: str, timeout_s: float) -> OpenStates:
    scheme, separator, rest = address.partition("://")
    if not separator or scheme == "sqlite":
        # As in other URLs of SQLite: three slashes before a relative path, four before an absolute one.
        path = Path(rest.removeprefix("/") if separator else address.removeprefix("file:"))
        try:
            is_folder = (path.expanduser() / table).is_dir()
        except OSError as exc:  # a name that is too long, say
            raise MisuseError(f"there can be no {str(path)[:200]}: {exc.strerror}") from None
        if is_folder:
            return OpenStates(databases.objects(path, table=table, timeout=timeout_s), str(path))
        _refuse_no_states(path, table)
        return OpenStates(databases.sqlite(path, table=table, timeout=timeout_s), str(path))
    make = _SERVERS.get(scheme.lower())
    if make is None:
        known = ", ".join(f"{name}://" for name in ("postgresql", "mongodb", "libsql", "redis", "s3"))
        raise MisuseError(f"no store has addresses that begin with {scheme[:20]}://; give a path, or {known}")
    try:
        return OpenStates(make(address, table=table, timeout=timeout_s), Address(address).shown)
    except (MissingExtraError, InvalidOptionError):
        raise
    except (StoreError, ValueError):  # whatever cannot be parsed may be a part of the password
        raise InvalidOptionError(
            f"the address that begins with {scheme}:// cannot be read; are @, / and : in its password written as %40, "
            "%2F and %3A?"
        ) from None


def _refuse_no_states(path: Path, table: str) -> None:
    """Raise where opening the file would make one, or make a table in somebody else's."""
    if not path.expanduser().is_file():
        raise MisuseError(f"there is no file {path}, and no folder {path / table}")
    try:
        with closing(sqlite3.connect(f"{path.expanduser().absolute().as_uri()}?mode=rw", uri=True)) as connection:
            sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            found = connection.execute(sql, (table,)).fetchone()
    except sqlite3.Error as exc:
        raise StoreError(f"cannot read {path}: {exc}") from exc
    if found is None:
        raise MisuseError(f"{path} has no states: there is no table {table!r}; another one is named with --table")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDetails:
    """All that is known of one state.

    Attributes
    ----------
    id
        Its id.
    steps
        Its steps, in completion order.
    running
        The lease of whoever is running it now, or None.
    """

    id: str
    steps: list[StepOutline]
    running: Lease | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "id": self.id,
            "running": running_data(self.running),
            "steps": [
                {
                    "key": step.key,
                    "step_id": step.step_id,
                    "ok": step.ok,
                    "at": step.at and step.at.isoformat(),
                    "duration_s": step.duration_s,
                    "size_bytes": step.size_bytes,
                    "value" if step.ok else "error": step.shown,
                }
                for step in self.steps
            ],
        }


def running_data(lease: Lease | None) -> dict[str, str] | None:
    """Return who is running a state as plain JSON data."""
    if lease is None:
        return None
    return {"owner": lease.owner, "since": lease.since.isoformat(), "expires_at": lease.expires_at.isoformat()}


def details(opened: OpenStates, id: str) -> StateDetails:  # noqa: A002 - the API's name
    """Return what is known of the state stored under `id`; decodes no value.

    Raises
    ------
    NotCachedError
        There is none.
    """
    steps = outline(opened.store.records, id)
    if steps is None:
        raise _absent(opened, id)
    return StateDetails(id=id, steps=steps, running=opened.store.blocking.holder(id))


def remove(opened: OpenStates, id: str, *, force: bool = False, dry_run: bool = False) -> Lease | None:  # noqa: A002
    """Remove the state stored under `id`, readable or not; return the lease of whoever was running it all the same.

    Parameters
    ----------
    force
        Also where somebody is running it.
    dry_run
        Only look whether it could be done.

    Raises
    ------
    NotCachedError
        There is none.
    LeaseHeldError
        Somebody is running it.
    """
    states = opened.store.blocking
    if not any(found.id == id for found in states.list(id, None)):
        raise _absent(opened, id)
    holder = states.holder(id) if force or dry_run else None
    if holder is not None and not force:
        raise LeaseHeldError(holder.owner, holder.since)
    if dry_run:
        return holder
    if force:
        states.delete(id)
        return holder
    # With the lease in hand, so that nobody begins to run it meanwhile; that of a process which is gone is taken over.
    lease = states.acquire(id, 60.0, owner="awaitly-nb state rm")
    if lease is None:
        holder = states.holder(id)
        raise LeaseHeldError(holder.owner if holder else "another run", holder.since if holder else None)
    try:
        states.delete(id)
    finally:
        states.release(id, lease)
    return None


def _absent(opened: OpenStates, id: str) -> NotCachedError:  # noqa: A002
    return NotCachedError(f"no state {id!r} is stored in {opened.shown}; `awaitly-nb state list` lists what is")
