"""`awaitly-nb trust`: whose entries are served, and whose bundles are opened."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from awaitly_nb import manage
from awaitly_nb.cli import show
from awaitly_nb.cli.options import CommandGroup, as_json
from awaitly_nb.config import trusted_keys_path
from awaitly_nb.errors import AwaitlyError

if TYPE_CHECKING:
    from awaitly_nb.codec import TrustedKeys
    from awaitly_nb.manage import Vouched

__all__ = ["trust_group"]


def _complete_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    with suppress(AwaitlyError):
        known = [*(one.id for one in manage.trusted()[1:]), *_keys().all()]
        return [one for one in known if one.startswith(incomplete)]
    return []


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


@trust_group.command("key")
@as_json
def trust_key(*, as_json: bool) -> None:
    """Print your public key, which everybody may know, and its six words. It is made when first needed.

    Who trusts it opens what you pack, and cannot sign anything in your name.
    """
    from awaitly_nb.codec import own_identity

    public = own_identity().public
    if as_json:
        show.data({"key": str(public), "words": public.words})
    else:
        click.echo(str(public))
        click.echo(public.words, err=True)


@trust_group.command("keys")
@as_json
def trust_keys(*, as_json: bool) -> None:
    """List the public keys that are trusted, by name."""
    found = _keys().all()
    if as_json:
        show.data([{"name": name, "key": str(key), "words": key.words} for name, key in found.items()])
    else:
        show.trusted_keys(found)


@trust_group.command("add")
@click.option("--name", default="", help="Whose it is; a public key needs one.")
@click.argument("what", nargs=-1, metavar="[KEY|FILE]")
@as_json
def trust_add(*, what: tuple[str, ...], name: str, as_json: bool) -> None:
    """Trust a public KEY, or the public key or the secret in FILE or on standard input.

    A public key is what `awaitly-nb trust key` prints: compare its six words with its owner. A secret is what
    `awaitly-nb trust export` prints; standard input keeps it out of the shell's history.
    """
    from awaitly_nb.codec import PublicKey

    text = " ".join(what)
    if not text.startswith(PublicKey.PREFIX):
        if len(what) > 1:
            raise click.UsageError("give one KEY, or one FILE")
        try:
            with click.open_file(text or "-") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as exc:
            raise click.UsageError(f"{text!r} is no public key, and no file that can be read ({exc})") from None
    if not text.lstrip().startswith(PublicKey.PREFIX):
        added = manage.trust_secret(text, name)
        show.data(asdict(added)) if as_json else click.echo(f"trusted {added.id}")
        return
    key = PublicKey.parse(text)
    if not name:
        raise click.UsageError("say whose key it is: --name NAME")
    _keys().add(name, key)
    if as_json:
        show.data({"name": name, "key": str(key), "words": key.words})
    else:
        click.echo(f"trusted {show.inert(name)}: {key.words}")


@trust_group.command("remove")
@click.argument("what", metavar="NAME|ID", shell_complete=_complete_ids)
@as_json
def trust_remove(*, what: str, as_json: bool) -> None:
    """Trust the public key of this NAME, or the secret with this ID, no longer; what was imported stays."""
    if not _keys().remove(what):
        manage.distrust(what)
    if as_json:
        show.data({"removed": what})
    else:
        click.echo(f"no longer trusted: {show.inert(what)}")


def _keys() -> TrustedKeys:
    from awaitly_nb.codec import TrustedKeys

    return TrustedKeys(trusted_keys_path())


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
