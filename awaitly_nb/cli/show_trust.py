"""How the shell shows whose entries are served, and those that are not."""

from __future__ import annotations

from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING

from rich.table import Table

from awaitly_nb.cli.show import console, inert
from awaitly_nb.units import show_age, show_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.cli.lost import Vouched
    from awaitly_nb.cli.trust import Trusted

__all__ = ["about", "advice", "trusted", "vouched"]


def trusted(found: Sequence[Trusted]) -> None:
    """Show trusted secrets."""
    table = Table("id", "whose")
    for one in found:
        table.add_row(one.id, inert(one.note))
    console().print(table)


def about(found: Vouched) -> None:
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


def advice(found: Vouched) -> None:
    """Show what can be done about a folder's entries that are not trusted here."""
    out = console()
    if not found.secrets:
        out.print(inert(f"nothing in {found.folder} was signed with a secret that is not trusted here"))
        return
    about(found)
    out.print("These entries are kept, and not served. If their secret still exists (another machine, somebody else):")
    out.print("  there: awaitly-nb trust export    here: awaitly-nb trust add")
    out.print("If it is lost (a container that kept the cache and lost its home), vouch for them yourself:")
    out.print(inert(f"  awaitly-nb trust folder {quote(str(found.folder))}"), soft_wrap=True)


def vouched(found: Vouched) -> None:
    """Show what came of signing a folder's entries anew."""
    out = console()
    if not found.secrets:
        advice(found)
        return
    for key, why in found.refused:
        out.print(inert(f"not signed, and not served: {key!r}: {why}"))
    out.print(f"{found.signed:,} of {found.entries:,} entries are signed with your secret now, and served again")
