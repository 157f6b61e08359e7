"""`aw.plan`: a notebook's text and the heads of a cache folder in, a `Plan` out."""

from __future__ import annotations

import ast
import os
import sys
from datetime import UTC, datetime
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import recorded
from awaitly_nb.config import cache_directory, settings
from awaitly_nb.errors import MisuseError
from awaitly_nb.installed import is_installed_path
from awaitly_nb.keys import changed_files, changed_traces, part_digest, seeded_as, tree_digest
from awaitly_nb.plans.cell_text import read_cell
from awaitly_nb.plans.history import CellRecord, History
from awaitly_nb.plans.notebook_file import CodeCell, code_cells, read_notebook
from awaitly_nb.plans.notes import Notes
from awaitly_nb.plans.report import Plan
from awaitly_nb.plans.statics import Statics, read_statics
from awaitly_nb.plans.walk import Checks, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from awaitly_nb.result import Mark

__all__ = ["cell_codes", "notes_of", "plan"]

_NOTES = "notes.jsonl"


def plan(
    notebook: str | os.PathLike[str] | Mapping[str, Any] | Sequence[str],
    *,
    auto: bool | None = None,
    directory: str | os.PathLike[str] | None = None,
    also: str | os.PathLike[str] | None = None,
    known: Callable[[str], str | None] | None = None,
    transform: Callable[[str], str] | None = None,
    place: str | os.PathLike[str] | None = None,
) -> Plan:
    r"""Tell what *Run All* would do to a notebook: what hits, what runs and why, and what it costs.

    Reads the notebook's text and the heads of the cache. Starts no kernel, decodes no value, runs no code of yours.

    Parameters
    ----------
    notebook
        The path of a notebook file, a notebook's JSON, or the texts of its code cells in order.
    auto
        Whether cells without `%%awaitly` are looked after; None means as the settings say.
    directory
        The cache folder; None means that of the notebook.
    also
        A second folder, whose entries count as if they were in the first.
    known
        What is there before the first cell: returns the digest of a variable, or None.
    transform
        IPython's transformation of a cell's text into Python, where a shell is at hand.
    place
        The folder that relative paths begin at, for a notebook that is no file; None means the current one.

    Returns
    -------
    Plan
        `.cells`, each with `name`, `index`, `state`, `reason`, `seconds` and `size_bytes`; `.total`; `.to_dict()`. A
        state is `hit`, `run`, `depends` (on a cell that will run), `live` (always runs), `new`, or `unknown`.

    Raises
    ------
    MisuseError
        There is no such notebook, or it cannot be read.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> told = aw.plan(["import math", "%%awaitly root\nroot = math.sqrt(2)"])
    >>> [cell.state for cell in told.cells]
    ['live', 'new']
    >>> print(told.total)
    0 hit, 1 run
    """
    cells, found = _cells_of(notebook)
    beside = Path(place) if found is None and place is not None else found
    automatic = settings().auto if auto is None else auto
    texts = [read_cell(cell, auto=automatic, transform=transform) for cell in cells]
    home = Path(directory) if directory is not None else cache_directory(beside)
    namespaces = {text.namespace for text in texts if text.cached}
    homes = [home] if also is None else [home, Path(also)]
    records = [record for home in homes for record in (*_records(home, namespaces), *notes_of(home).records())]

    def live_s(code: str) -> float | None:
        return next((known for home in homes if (known := notes_of(home).live_s(code)) is not None), None)

    folder = beside or Path.cwd()
    checks = Checks(
        digest=part_digest,
        tree=tree_digest,
        seed=seeded_as,
        files=lambda stamps: _first(changed_files(_placed(stamps, folder))),
        traces=changed_traces,
        module=lambda name: _module(name, str(folder)),
        now=datetime.now(UTC),
    )
    start = {} if known is None else {n: d for n in _free_names(texts) if (d := known(n)) is not None}
    plans, edges = walk(texts, History(records, live_s), checks, start)
    name = str(notebook) if isinstance(notebook, str | os.PathLike) else ""
    return Plan(notebook=name, cells=tuple(plans), edges=tuple(edges))


def cell_codes(notebook: str | os.PathLike[str] | Mapping[str, Any], *, auto: bool) -> set[str]:
    """Return the digests of the code of a notebook's cells, by which notes tell of them."""
    return {code for cell in _cells_of(notebook)[0] if (code := read_cell(cell, auto=auto).code)}


@lru_cache(maxsize=16)  # they read on from where they were
def notes_of(directory: Path) -> Notes:
    """Return the notes of a cache folder: what is remembered of cells that were not stored."""
    return Notes(directory / _NOTES)


def _cells_of(notebook: object) -> tuple[list[CodeCell], Path | None]:
    if isinstance(notebook, str | os.PathLike):
        path = Path(notebook)
        return read_notebook(path), path.absolute().parent
    if isinstance(notebook, dict) and isinstance(notebook.get("cells"), list):
        return code_cells(notebook), None
    if isinstance(notebook, list | tuple) and all(isinstance(source, str) for source in notebook):
        return [CodeCell(index, source) for index, source in enumerate(notebook)], None
    raise MisuseError(
        f"a plan needs the path of a notebook, its JSON, or a list of cells, not a {type(notebook).__name__}"
    )


def _records(home: Path, namespaces: Iterable[str]) -> Iterator[CellRecord]:
    if not home.exists():
        return
    notes = notes_of(home)
    for namespace, key, mark, size_bytes in recorded(home, *namespaces):
        yield _record(namespace, key, mark, size_bytes, load_s=notes.load_s(key))


def _record(namespace: str, key: str, mark: Mark, size_bytes: int, *, load_s: float | None) -> CellRecord:
    made = mark.made
    rows = () if mark.parts is None else tuple((*row, "")[:4] for row in mark.parts["parts"])
    told: Mapping[str, Any] = made or {}
    return CellRecord(
        name=mark.step_id or namespace,
        namespace=namespace,
        key=key,
        parts=rows,
        made=None if made is None else told.get("vars", {}),
        unknown=tuple(told.get("unknown", ())),
        deleted=tuple(told.get("deleted", ())),
        changed=tuple(told.get("changed", ())),
        generators=told.get("generators", {}),
        setup=tuple(told["setup"]) if "setup" in told else None,
        environment=tuple(told.get("environment", ())),
        variables=(*told.get("vars", ()), *told.get("unknown", ())),
        seconds=mark.duration_s,
        load_s=load_s,
        size_bytes=size_bytes,
        at=mark.at,
        ttl_s=mark.ttl_s,
        files=mark.files,
        traces=mark.traces or {},
    )


def _placed(stamps: Iterable[Mapping[str, Any]], folder: Path) -> list[Mapping[str, Any]]:
    """Return stamps whose relative paths begin at the notebook's folder, where its kernel would run."""
    # An absolute path on the right side of `/` stays as it is.
    return [{**stamp, "path": str(folder / stamp["path"])} if "path" in stamp else stamp for stamp in stamps]


def _first(lines: Sequence[str]) -> str | None:
    return lines[0] if lines else None


def _free_names(texts: Iterable[Any]) -> Iterator[str]:
    bound: set[str] = set()
    for text in texts:
        yield from (name for name in text.reads if name not in bound)
        bound.update(text.statics.bound)


@lru_cache(maxsize=256)
def _found(name: str, folder: str) -> str | None:
    try:
        spec = PathFinder.find_spec(name, [folder, *sys.path])
    except (ImportError, ValueError, AttributeError):
        return None
    origin = None if spec is None else spec.origin
    return origin if origin and origin.endswith(".py") and not is_installed_path(origin) else None


def _module(name: str, folder: str) -> Statics | None:
    """Return what the file of a module of the user's says; None for installed ones, and for what is not found."""
    top, *rest = name.split(".")
    origin = _found(top, folder)
    if origin is None:
        return None
    path = Path(origin)
    for part in rest:
        path = path.parent / part
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    try:
        found = path.stat()
    except OSError:
        return None
    return _statics(path, (found.st_size, found.st_mtime_ns, found.st_ino))


@lru_cache(maxsize=64)
def _statics(path: Path, _stamp: tuple[int, ...]) -> Statics | None:
    try:
        source = path.read_text(encoding="utf-8")
        return read_statics(ast.parse(source), source)
    except (OSError, SyntaxError, ValueError):
        return None
