"""`awaitly-nb pack` and `open`: a notebook leaves with what its plan needs, and comes to somebody else warm.

Brings together what do not know each other: the plan says which entries, the cache hands them out and takes them in,
and `share` signs the file that carries them.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from awaitly_nb.cli import show
from awaitly_nb.cli.options import as_json
from awaitly_nb.config import cache_directory, settings
from awaitly_nb.errors import CacheError, MisuseError
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from awaitly_nb.cache import Exported
    from awaitly_nb.plans import CellPlan, CodeCell, Plan
    from awaitly_nb.share import Exposed, Package
    from awaitly_nb.stores import Body

__all__ = ["Contents", "open_command", "pack_command"]

_SUFFIX = ".awaitly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is about to leave.

    Attributes
    ----------
    file
        The bundle.
    notebook
        The notebook.
    entries
        Name of the cell and size in bytes of each entry.
    left_out
        Cells that are cached and have no entry that would hit: name, state and reason.
    exposed
        What looks like a secret or personal data.
    """

    file: Path
    notebook: Path
    entries: tuple[tuple[str, int], ...]
    left_out: tuple[CellPlan, ...]
    exposed: tuple[Exposed, ...]

    def to_dict(self) -> dict[str, Any]:  # Any: plain JSON data
        """Return it as plain JSON data."""
        return {
            "file": str(self.file),
            "notebook": str(self.notebook),
            "entries": [{"name": name, "size_bytes": size} for name, size in self.entries],
            "left_out": [{"name": one.name, "state": one.state, "reason": one.reason} for one in self.left_out],
            "exposed": [one._asdict() for one in self.exposed],
        }


@click.command("pack")
@click.argument("notebook", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default the notebook's name with .awaitly, in this folder.",
)
@click.option(
    "--auto/--no-auto", default=None, help="Whether plain cells are looked after; by default as the settings say."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def pack_command(*, notebook: Path, output: Path | None, auto: bool | None, yes: bool, as_json: bool) -> None:
    """Write NOTEBOOK and the cached results that it would hit to one signed file, which `awaitly-nb open` opens.

    Lists first what would be in it, and warns of what looks like a secret or personal data: in the notebook, and in
    what the results tell of themselves (sources, paths, inputs as they are shown). The values are not looked into.
    """
    from awaitly_nb.cache import announce_entries, export_entries
    from awaitly_nb.codec import own_identity
    from awaitly_nb.plans import cell_codes, notes_of, plan as make_plan
    from awaitly_nb.share import exposed_in, pack

    if as_json and not yes:
        raise click.UsageError("--json does not ask: give --yes")
    file = output or Path(notebook.stem + _SUFFIX)
    automatic = settings().auto if auto is None else auto
    found = make_plan(notebook, auto=automatic)
    directory = cache_directory(notebook.absolute().parent)
    cells = {(one.namespace, one.key): one.name for one in found.cells if one.state == "hit" and one.key is not None}
    content = notebook.read_bytes()
    notes = notes_of(directory).of_codes(cell_codes(notebook, auto=automatic))
    entries, exposed = [], list(exposed_in(content.decode("utf-8", "replace"), notebook.name))
    for entry in announce_entries(directory, cells):
        name = cells[entry.namespace, entry.key]
        entries.append((name, entry.size_bytes))
        exposed += exposed_in(entry.text, f"the entry of {name}")
    exposed += exposed_in(json.dumps(notes), "what is remembered of cells that are not stored")
    told = Contents(
        file=file,
        notebook=notebook,
        entries=tuple(entries),
        left_out=tuple(one for one in found.cells if one.state not in ("hit", "live")),
        exposed=tuple(exposed),
    )
    if not as_json:
        show.contents(told)
    if not yes:
        click.confirm(f"{'Replace' if file.exists() else 'Write'} {show.inert(str(file))}?", abort=True)
    made = {**what_it_was_made_with(notebook), "auto": automatic, "notes": notes}

    def leaving() -> Iterator[tuple[str, Exported]]:
        for entry in export_entries(directory, cells):
            yield cells[entry.namespace, entry.key], entry

    identity = own_identity()
    count = pack(file, content, leaving(), name=notebook.name, identity=identity, made=made)
    if count != len(entries):
        file.unlink()
        raise CacheError(f"entries in {directory} changed meanwhile, so {file} was removed; pack again")
    if as_json:
        show.data({**told.to_dict(), "signer": identity.public.words, "key": str(identity.public)})
    else:
        click.echo(f"wrote {show.inert(str(file))}, signed by {identity.public.words}")


@click.command("open")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--into",
    default=".",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder that the notebook goes to; by default this one.",
)
@click.option("--trust", "trusted", is_flag=True, help="Do not ask. The signer has to be trusted already.")
@as_json
def open_command(*, file: Path, into: Path, trusted: bool, as_json: bool) -> None:
    """Open what `awaitly-nb pack` wrote: check every byte, show what is in it and its plan, ask, and take it in.

    The signer has to be trusted: `awaitly-nb trust add KEY --name NAME`. Nothing is written before the answer, and
    nothing is unpickled before a cell is run.
    """
    from awaitly_nb.cache import Intake
    from awaitly_nb.codec import EnvelopeError, signer_name
    from awaitly_nb.plans import cell_codes, notes_of
    from awaitly_nb.share import open_bundle

    if as_json and not trusted:
        raise click.UsageError("--json does not ask: give --trust")
    with open_bundle(file, signer_name) as package:
        into = into.absolute()
        target = into / package.notebook_name
        content = package.notebook()
        found = _plan_there(package, content, into)
        replaces = os.path.lexists(target) and not (target.is_file() and target.read_bytes() == content)
        if replaces and trusted:
            raise MisuseError(f"there is another {target} already; move it away, or give another folder with --into")
        directory, limit = cache_directory(into), settings().size_limit
        if not as_json:
            show.package(package, found, differing=_differing(package.made.get("packages")))
        if limit is not None and package.size_bytes > limit and not as_json:
            click.echo(f"All of it does not fit into the size_limit of {show_size(limit)}, and the rest is not taken.")
        if not trusted:
            verb, count = "Replace" if replaces else "Write", len(package.entries)
            click.echo(f"What {show.inert(package.signer)} cached can run code on this machine when a cell uses it.")
            click.confirm(str(show.inert(f"{verb} {target}, and take {count} entries into {directory}?")), abort=True)
        too_large: list[str] = []
        imported, automatic = 0, package.made.get("auto") is True
        came = {"signer": package.signer, **{name: package.made.get(name) for name in ("python", "packages")}}
        notes = notes if isinstance(notes := package.made.get("notes"), list) else []
        intake = Intake(directory, size_limit=limit)
        for entry in _incoming(package):
            try:
                imported += intake.take(*entry, came=came)
            except EnvelopeError:
                raise
            except CacheError as exc:
                too_large.append(str(exc))
        _write(target, content)
        notes_of(directory).take(notes, cell_codes(target, auto=automatic))
    if as_json:
        show.data(
            {
                "signer": package.signer,
                "words": package.key.words,
                "notebook": str(target),
                "imported": imported,
                "already_there": len(package.entries) - imported - len(too_large),
                "too_large": too_large,
                "made": package.made,
                "plan": found.to_dict(),
            }
        )
    else:
        already = len(package.entries) - imported - len(too_large)
        for why in too_large:
            click.echo(show.inert(f"not taken: {why}"))
        click.echo(
            f"wrote {show.inert(str(target))}; {imported} entries are cached"
            + (f", {already} were already there" if already else "")
        )


def _incoming(package: Package) -> Iterator[tuple[str, str, str, Body]]:
    for number, entry in enumerate(package.entries):
        yield entry.namespace, entry.key, entry.head, package.body(number)


def _checked(entries: Iterable[tuple[str, str, str, Body]]) -> Iterator[tuple[str, str, str, Body]]:
    from awaitly_nb.cache import check_entry

    for entry in entries:
        check_entry(*entry)
        yield entry


def _plan_there(package: Package, content: bytes | bytearray, into: Path) -> Plan:
    from awaitly_nb.cache import staged
    from awaitly_nb.plans import cell_codes, notes_of, plan as make_plan
    from awaitly_nb.share import BundleError

    try:
        notebook = json.loads(content)
    except (ValueError, RecursionError):
        notebook = None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise BundleError(f"{package.notebook_name} in it is no notebook of format 4")
    automatic = package.made.get("auto") is True
    with staged(_checked(_incoming(package))) as folder:
        notes = package.made.get("notes")
        notes_of(folder).take(notes if isinstance(notes, list) else [], cell_codes(notebook, auto=automatic))
        return make_plan(notebook, auto=automatic, directory=folder, place=into)


def _write(target: Path, content: bytes | bytearray) -> None:
    """Write a file under a temporary name and put it in its place, so that a link is replaced and not followed."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def what_it_was_made_with(notebook: Path) -> dict[str, Any]:  # Any: plain JSON data
    """Return versions here of what a notebook's results are made with, for whoever gets them elsewhere."""
    from awaitly_nb.plans import read_notebook

    return {
        "awaitly_nb": metadata.version("awaitly-nb"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(read_notebook(notebook)),
    }


def _versions(cells: Iterable[CodeCell]) -> dict[str, str]:
    """Return the installed version of each package that a notebook imports, by distribution."""
    from awaitly_nb.keys import distributions_of
    from awaitly_nb.plans import without_magics

    modules: set[str] = set()
    for cell in cells:
        source = cell.source.partition("\n")[2] if cell.source.startswith("%%awaitly") else cell.source
        with suppress(SyntaxError, ValueError, RecursionError):  # whoever runs the cell is told
            for node in ast.walk(ast.parse(without_magics(source)[0])):
                if isinstance(node, ast.Import):
                    modules.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module.partition(".")[0])
    names = {name for module in modules - sys.stdlib_module_names for name in distributions_of(module)}
    return {name: metadata.version(name) for name in sorted(names)}


def _differing(packages: object) -> list[tuple[str, str, str]]:
    """Return name, version there and version here of the packages that are not the same."""
    found = []
    for name, there in packages.items() if isinstance(packages, dict) else ():
        try:
            here = metadata.version(str(name))
        except (metadata.PackageNotFoundError, ValueError):
            here = "not installed"
        if here != there:
            found.append((str(name), str(there), here))
    return found
