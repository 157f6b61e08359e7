"""`awaitly-nb push` and `pull`: what a notebook's plan names goes to the remote of the settings, or comes from there.

Several entries at once. What is there already is left; what failed is told with its reason, and the next call goes on.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from awaitly_nb.cache import SEPARATOR
from awaitly_nb.cli import show
from awaitly_nb.cli.options import FAILED, as_json
from awaitly_nb.cli.travel import what_it_was_made_with
from awaitly_nb.codec import EnvelopeError, UntrustedSignerError
from awaitly_nb.config import cache_directory, explain, settings
from awaitly_nb.errors import AwaitlyError, MisuseError
from awaitly_nb.stores import DamagedRecordError
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from awaitly_nb.cache import Offer, Published
    from awaitly_nb.codec import Identity
    from awaitly_nb.plans import Plan
    from awaitly_nb.share import Exposed

__all__ = ["Moved", "pull_command", "push_command"]

_AT_ONCE = 4
_NOTES = "\x1enotes"
"""Namespace of what is remembered of cells that are not stored; their keys are the digests of the cells' code."""


class Skipped(NamedTuple):
    """What did not move, and why.

    Attributes
    ----------
    name
        Of the cell.
    why
        The reason, for people.
    failed
        Whether it should have moved.
    """

    name: str
    why: str
    failed: bool = False


@dataclass(slots=True, kw_only=True)
class Moved:
    """What came of a push or a pull.

    Attributes
    ----------
    remote
        The remote, as people may see it.
    verb
        "pushed" or "pulled".
    entries
        Name of the cell and size in bytes of each entry that moved.
    already
        How many were there already.
    skipped
        What did not move.
    exposed
        What looks like a secret or personal data in what was pushed.
    """

    remote: str
    verb: str
    entries: list[tuple[str, int]] = field(default_factory=list)
    already: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    exposed: list[Exposed] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:  # Any: plain JSON data
        """Return it as plain JSON data."""
        return {
            "remote": self.remote,
            self.verb: [{"name": name, "size_bytes": size} for name, size in self.entries],
            "already_there": self.already,
            "skipped": [one._asdict() for one in self.skipped],
            "exposed": [one._asdict() for one in self.exposed],
        }


_notebook = click.argument("notebook", type=click.Path(path_type=Path, exists=True, dir_okay=False))
_auto = click.option(
    "--auto/--no-auto", default=None, help="Whether plain cells are looked after; by default as the settings say."
)


@click.command("push")
@_notebook
@_auto
@as_json
def push_command(*, notebook: Path, auto: bool | None, as_json: bool) -> None:
    """Send the cached results that NOTEBOOK would hit to the remote of the settings, signed with your key.

    What is there already is left; large values are sent once. `remote_write` has to allow it: "push", or "always".

    Exit codes: 0 all of them are there; 1 some could not be sent, and the next call goes on with these.
    """
    from awaitly_nb.cache import announce_entries, export_entries
    from awaitly_nb.codec import own_identity
    from awaitly_nb.plans import cell_codes, notes_of, plan as make_plan
    from awaitly_nb.share import exposed_in

    if settings().remote_write == "never":
        raise MisuseError(
            'remote_write is "never", so nothing is sent; to send what you ask for: AWAITLY_NB_REMOTE_WRITE=push'
        )
    published, done = _remote("pushed")
    automatic = settings().auto if auto is None else auto
    found = make_plan(notebook, auto=automatic)
    hits, directory = _hits(found), cache_directory(notebook.absolute().parent)
    identity, made = own_identity(), what_it_was_made_with(notebook)

    def push(namespace: str, key: str) -> int | None:
        for told in announce_entries(directory, [(namespace, key)]):
            done.exposed += exposed_in(told.text, f"the entry of {hits[namespace, key]}")
        for entry in export_entries(directory, [(namespace, key)]):
            return entry.size_bytes if published.publish(entry, identity, made=made) else None
        raise MisuseError("it is gone from the cache")

    notes = notes_of(directory).of_codes(cell_codes(notebook, auto=automatic))
    done.exposed += exposed_in(json.dumps(notes), "what is remembered of cells that are not stored")
    _push_notes(published, identity, notes)
    _move(push, hits, done, quiet=as_json)
    _left_out(found, done)
    _end(done, as_json=as_json)


@click.command("pull")
@_notebook
@_auto
@as_json
def pull_command(*, notebook: Path, auto: bool | None, as_json: bool) -> None:
    """Fetch the results that NOTEBOOK would hit from the remote of the settings, where their signer is trusted.

    Nothing is unpickled. What is here already is left.

    Exit codes: 0 all that there is, is here; 1 some could not be fetched, and the next call goes on with these.
    """
    from awaitly_nb.cache import Intake, create_disk_cache, staged
    from awaitly_nb.plans import cell_codes, notes_of, plan as make_plan

    published, done = _remote("pulled")
    automatic = settings().auto if auto is None else auto
    directory = cache_directory(notebook.absolute().parent)
    codes = cell_codes(notebook, auto=automatic)
    notes = _pulled_notes(published, codes)
    notes_of(directory).take(notes, codes)
    offers = _offers(published, make_plan(notebook, auto=automatic), done)
    with staged(_described(published, offers.values(), done)) as also:
        found = make_plan(notebook, auto=automatic, also=also)
    intake = Intake(directory, size_limit=settings().size_limit)

    def pull(namespace: str, key: str) -> int | None:
        cache: Any = create_disk_cache(directory, namespace=namespace)  # Any: it also tells of heads
        if cache.head_of(key) is not None:
            return None
        offer = offers[namespace, key]
        came = {"signer": offer.signer, **offer.made}
        intake.refuse(key, offer.size_bytes)
        taken = intake.take(namespace, key, offer.head, published.body(offer), came=came)
        return offer.size_bytes if taken else None

    _move(pull, _hits(found), done, quiet=as_json)
    _left_out(found, done)
    _end(done, as_json=as_json)


def _remote(verb: str) -> tuple[Published, Moved]:
    from awaitly_nb.cache import open_remote

    address = settings().remote
    if address is None:
        raise MisuseError('there is no remote; name one: remote = "s3://bucket/prefix", or AWAITLY_NB_REMOTE')
    shown = next(str(one.value) for one in explain() if one.name == "remote")
    return open_remote(address), Moved(remote=shown, verb=verb)


def _hits(found: Plan) -> dict[tuple[str, str], str]:
    return {(one.namespace, one.key): one.name for one in found.cells if one.state == "hit" and one.key is not None}


def _left_out(found: Plan, done: Moved) -> None:
    done.skipped += [
        Skipped(one.name, f"{one.state}: {one.reason}" if one.reason else one.state)
        for one in found.cells
        if one.state not in ("hit", "live")
    ]


def _move(move: Callable[..., int | None], hits: dict[tuple[str, str], str], done: Moved, *, quiet: bool) -> None:
    """Move each entry, several at once, and say so; one that cannot be moved is told and costs no other."""

    def try_it(hit: tuple[tuple[str, str], str]) -> None:
        (namespace, key), name = hit
        try:
            size = move(namespace, key)
        except AwaitlyError as exc:
            done.skipped.append(Skipped(name, str(exc), failed=True))
            return
        if size is None:
            done.already += 1
            return
        done.entries.append((name, size))
        if not quiet:
            at = f"{len(done.entries) + done.already} of {len(hits)}"
            click.echo(show.inert(f"{done.verb} {name} ({show_size(size)}), {at}"), err=True)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(try_it, hits.items()))


def _offers(published: Published, found: Plan, done: Moved) -> dict[tuple[str, str], Offer]:
    """Return what is offered in the namespaces of a notebook's cells; each cause of a refusal is told once."""
    refused: dict[str, list[str]] = {}
    namespaces = sorted({cell.namespace for cell in found.cells if cell.namespace})

    def on_refusal(name: str, exc: Exception) -> None:
        refused.setdefault(str(exc), []).append(name)

    offers = {(offer.namespace, offer.key): offer for offer in published.offers(namespaces, on_refusal)}
    done.skipped += [
        Skipped(names[0].partition(SEPARATOR)[0], f"{len(names):,} of its entries: {why}", failed=True)
        for why, names in refused.items()
    ]
    return offers


def _described(published: Published, offers: Iterable[Offer], done: Moved) -> Iterator[tuple[str, str, str, bytes]]:
    for offer in offers:
        try:
            yield offer.namespace, offer.key, offer.head, published.notes(offer)
        except (EnvelopeError, DamagedRecordError) as exc:
            done.skipped.append(Skipped(offer.namespace, str(exc), failed=True))


def _push_notes(published: Published, identity: Identity, notes: Iterable[dict[str, Any]]) -> None:
    """Publish what is remembered of cells that are not stored, by the code of the cell: plans go through them."""
    from awaitly_nb.cache import Exported

    by_code: dict[str, list[Any]] = {}
    for note in notes:
        by_code.setdefault(note["code"], []).append(note)
    for code, some in by_code.items():
        published.publish(Exported(_NOTES, code, "{}", (json.dumps(some).encode(),)), identity, made={})


def _pulled_notes(published: Published, codes: Iterable[str]) -> list[Any]:  # Any: plain JSON data
    notes: list[Any] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda code: _try(lambda: published.find(_NOTES + SEPARATOR + code)), codes)
        for offer in found:
            if offer is None:
                continue
            with suppress(ValueError, RecursionError, AwaitlyError):  # no notes: the plan knows less
                told = json.loads(bytes(published.body(offer)))
                notes += told if isinstance(told, list) else []
    return notes


def _try(find: Callable[[], Offer | None]) -> Offer | None:
    try:
        return find()
    except (UntrustedSignerError, EnvelopeError, DamagedRecordError):
        return None  # its entries tell


def _end(done: Moved, *, as_json: bool) -> None:
    show.data(done.to_dict()) if as_json else show.moved(done)
    if any(one.failed for one in done.skipped):
        raise SystemExit(FAILED)
