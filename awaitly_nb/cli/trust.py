"""`awaitly-nb trust`: whose entries are served."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from awaitly_nb import manage
from awaitly_nb.cli import show
from awaitly_nb.cli.options import CommandGroup, as_json
from awaitly_nb.errors import AwaitlyError

if TYPE_CHECKING:
    from awaitly_nb.manage import Vouched

__all__ = ["trust_group"]


def _complete_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    return [one.id for one in manage.trusted()[1:] if one.id.startswith(incomplete)]


def _complete_foreign(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    with suppress(AwaitlyError):
        return [
            one.secret
            for one in manage.untrusted(ctx.params.get("folder")).secrets
            if one.secret.startswith(incomplete)
        ]
    return []


@click.group("trust", cls=CommandGroup, invoke_without_command=True)
@as_json
@click.pass_context
def trust_group(ctx: click.Context, *, as_json: bool) -> None:
    """Manage whose entries are served: those signed with your secret, and with others that you trust.

    Without a command: say which entries of the cache are not trusted, and what can be done.
    """
    if ctx.invoked_subcommand is not None:
        return
    found = manage.untrusted()
    if as_json:
        show.data(found.to_dict())
    else:
        show.trust_advice(found)


@trust_group.command("list")
@as_json
def trust_list(*, as_json: bool) -> None:
    """List the secrets that are trusted, by their public ids."""
    found = manage.trusted()
    if as_json:
        show.data([asdict(one) for one in found])
    else:
        show.trusted(found)


@trust_group.command("export")
@as_json
def trust_export(*, as_json: bool) -> None:
    """Print your own secret, to be added on another machine. Show it to nobody: it can sign what you decode."""
    secret = manage.export_secret()
    if as_json:
        show.data({"secret": secret})
    else:
        click.echo(secret)


@trust_group.command("add")
@click.option("--note", default="", help="Whose it is.")
@click.argument("file", type=click.File("r"), default="-")
@as_json
def trust_add(*, file: Any, note: str, as_json: bool) -> None:  # Any: the open file that click makes
    """Trust the secret in FILE, or on standard input, where no shell history keeps it."""
    added = manage.trust_secret(file.read(), note)
    if as_json:
        show.data(asdict(added))
    else:
        click.echo(f"trusted {added.id}")


@trust_group.command("rm")
@click.argument("secret_id", metavar="ID", shell_complete=_complete_ids)
@as_json
def trust_rm(*, secret_id: str, as_json: bool) -> None:
    """Trust the secret with this ID no longer."""
    manage.distrust(secret_id)
    if as_json:
        show.data({"removed": secret_id})
    else:
        click.echo(f"no longer trusted: {secret_id}")


@trust_group.command("folder")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--secret",
    "secrets",
    metavar="ID",
    multiple=True,
    shell_complete=_complete_foreign,
    help="Only entries of this secret; needed where there are several.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be signed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def trust_folder(*, folder: Path | None, secrets: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Vouch for the entries of FOLDER whose secret is lost, and sign them anew with yours.

    Without the secret nobody can tell any more whether an entry is what was stored: reading one that somebody else put
    there runs their code. So this asks, it refuses a folder that others can write to, and it leaves what is not whole.
    Whatever it was doing when it was interrupted, the next call goes on with.
    """

    def confirm(found: Vouched) -> bool:
        if not as_json:
            show.trust_about(found)
        if dry_run or yes:
            return not dry_run
        if as_json:
            raise click.UsageError("--json does not ask: give --yes, or --dry-run")
        question = f"Has nobody but you ever written to this folder, so that all {found.entries:,} are to be trusted?"
        return bool(click.confirm(question, abort=True))

    done = manage.vouch(folder, secrets=secrets, confirm=confirm)
    if as_json:
        show.data(done.to_dict())
    elif dry_run and done.secrets:
        click.echo(f"would sign {done.entries:,} entries")
    else:
        show.vouched(done)
