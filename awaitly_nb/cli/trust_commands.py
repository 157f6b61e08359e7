"""`awaitly-nb trust`: whose entries are served."""

from __future__ import annotations

from typing import Any

import click

from awaitly_nb.cli import show
from awaitly_nb.cli.options import as_json

__all__ = ["trust_group"]


@click.group("trust")
def trust_group() -> None:
    """Manage whose entries are served: those signed with your secret, and with others that you trust."""


@trust_group.command("list")
@as_json
def trust_list(*, as_json: bool) -> None:
    """List the secrets that are trusted, by their public ids."""
    from dataclasses import asdict

    from awaitly_nb.cli import trust

    found = trust.trusted()
    if as_json:
        show.data([asdict(one) for one in found])
    else:
        show.trusted(found)


@trust_group.command("export")
def trust_export() -> None:
    """Print your own secret, to be added elsewhere. Keep it to yourself: it can sign what you decode."""
    from awaitly_nb.cli import trust

    click.echo(trust.export())


@trust_group.command("add")
@click.option("--note", default="", help="Whose it is.")
@click.argument("file", type=click.File("r"), default="-")
def trust_add(*, file: Any, note: str) -> None:  # Any: the open file that click makes
    """Trust the secret in FILE, or on standard input, where no shell history keeps it."""
    from awaitly_nb.cli import trust

    click.echo(f"trusted {trust.add(file.read(), note).id}")


@trust_group.command("rm")
@click.argument("secret_id", metavar="ID")
def trust_rm(*, secret_id: str) -> None:
    """Trust the secret with this ID no longer."""
    from awaitly_nb.cli import trust

    trust.remove(secret_id)
    click.echo(f"no longer trusted: {secret_id}")
