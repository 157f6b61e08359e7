"""One cell of a notebook as the walk needs it: parsed, named, and told what it reads and what becomes of it."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from awaitly_nb.errors import AwaitlyError
from awaitly_nb.keys import cell_reads, tree_digest
from awaitly_nb.plans.cell_line import CellOptions, Directive, called, parse_cell_line, read_directive
from awaitly_nb.plans.history import AUTO
from awaitly_nb.plans.notebook_file import CodeCell
from awaitly_nb.plans.statics import BIND_NOTHING, Statics, always_runs, read_statics
from awaitly_nb.plans.walk import CellText

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAGIC", "code_digest", "parsed", "plain_digest", "read_cell", "read_input", "without_magics"]

MAGIC = "%%awaitly"
_LINE_MAGIC = re.compile(r"^(\s*)%(\w+)\s*(.*)$")
_COMMAND = re.compile(r"^(\s*)!(.*)$")
_HELP = re.compile(r"^\s*\??\??[\w.]+\?{0,2}\s*$")


# A page asks for the plan of all cells at each pause of the typing, and all but one are as they were.
@lru_cache(maxsize=2048)
def read_cell(cell: CodeCell, *, auto: bool, transform: Callable[[str], str] | None = None) -> CellText:
    """Return a code cell as the walk needs it.

    Parameters
    ----------
    cell
        Its text and its place.
    auto
        Whether cells without the magic are looked after.
    transform
        IPython's own transformation of a cell's text into Python; without it, cells with magics are told from their
        lines, and those that only IPython understands are not known.
    """
    source = cell.source
    first, _, rest = source.partition("\n")
    options: CellOptions | None = None
    problem = ""
    if first.startswith(MAGIC) and first[len(MAGIC) : len(MAGIC) + 1] in ("", " ", "\t"):
        try:
            options = parse_cell_line(_line(first, rest, cell))
        except AwaitlyError as exc:
            problem = str(exc).partition("\n")[0]
        source = rest
    elif source.lstrip().startswith("%%"):
        return _with_cell_magic(cell)
    if transform is None:
        python, has_magics = without_magics(source)
    else:
        python = transform(source)
        has_magics = "get_ipython()" in python
    tree = parsed(python)
    directive, told = _directive(source)
    statics = read_statics(tree, python) if tree is not None else Statics(dynamic="it cannot be read without a kernel")
    name = options.name if options is not None else called(tree, source, cell.heading, place=cell.index)
    live = "always runs, as its comment asks" if directive.live else "" if tree is None else always_runs(tree)
    if directive.cache and tree is not None and not directive.live:
        live = ""
    if options is not None:
        live = ""
    if auto and options is None and has_magics and not live:
        live = "a magic always runs"  # as automatic mode leaves such a cell alone
    cached = options is not None or (auto and not live)
    if cached and not problem:
        problem = told or ("it cannot be read without a kernel" if tree is None or has_magics else "")
    return CellText(
        index=cell.index,
        cell_id=cell.cell_id,
        name=name,
        tree=tree,
        python=python,
        code=code_digest(python),
        statics=statics,
        reads=() if tree is None else _reads(tree),
        cached=cached,
        namespace=options.name if options is not None else AUTO,
        live=live,
        key=options.key if options is not None else None,
        variables=options.variables if options is not None else None,
        ignore=options.ignore if options is not None else (),
        force=options is not None and options.force,
        problem=problem,
    )


def plain_digest(source: str) -> str | None:
    """Return the digest of what a plain cell runs; None for one under `%%awaitly`, which has an entry to tell of it."""
    text = read_cell(CodeCell(0, source), auto=False)
    return None if text.cached else text.code


def _with_cell_magic(cell: CodeCell) -> CellText:
    """Return a cell under another magic, which always runs; what it binds is told where the code below is run."""
    first, _, rest = cell.source.lstrip().partition("\n")
    name, *words = first.split()
    code = tree_digest([ast.Constant(cell.source.strip())])
    text = CellText(index=cell.index, cell_id=cell.cell_id, name=name, code=code, cached=False, live=name)
    if name.lstrip("%") in BIND_NOTHING:
        return text
    python, _ = without_magics(rest)
    tree = parsed(python)
    if name not in _RUN_THE_CODE or tree is None:
        return replace(text, statics=Statics(dynamic=f"the magic {name} may bind any name"))
    statics = read_statics(tree, python)
    statics.bound.extend(word for word in words if name == "%%capture" and word.isidentifier())
    return replace(text, tree=tree, python=python, statics=statics, reads=_reads(tree))


_RUN_THE_CODE = ("%%time", "%%capture", "%%prun", "%%memit")


def _reads(tree: ast.Module) -> tuple[str, ...]:
    names = dict.fromkeys(chain[0] for chain in cell_reads(tree).chains)
    names.pop("get_ipython", None)  # what IPython itself writes in place of a magic, and nothing that cells hand on
    return tuple(names)


def without_magics(source: str) -> tuple[str, bool]:
    """Return a cell's text with line magics and commands as calls, as IPython writes them; and whether it had any."""
    if parsed(source) is not None:
        return source, False
    lines = source.splitlines()
    calls = [_as_call(line) for line in lines]
    return "\n".join(calls), calls != lines


@lru_cache(maxsize=2048)
def read_input(source: str) -> ast.Module | None:
    """Return the syntax tree of an input from a shell's history; of a cached cell, that of what it runs."""
    tree = parsed(without_magics(source)[0])
    match tree and tree.body:
        case [ast.Expr(value=ast.Call(func=ast.Attribute(attr="run_cell_magic"), args=[name, _, body]))]:
            if isinstance(name, ast.Constant) and name.value == MAGIC.lstrip("%") and isinstance(body, ast.Constant):
                return parsed(without_magics(str(body.value))[0])
    return tree


def _as_call(line: str) -> str:
    if (magic := _LINE_MAGIC.match(line)) is not None:
        return f"{magic[1]}get_ipython().run_line_magic({magic[2]!r}, {magic[3]!r})"
    if (command := _COMMAND.match(line)) is not None:
        return f"{command[1]}get_ipython().system({command[2]!r})"
    return "pass" if "?" in line and _HELP.match(line) else line


def _line(first: str, rest: str, cell: CodeCell) -> str:
    """Return the words behind the magic; a bare one takes its name from what the cell makes."""
    words = first[len(MAGIC) :].strip()
    if words and not words.startswith("-"):
        return words
    python, _ = without_magics(rest)
    name = called(parsed(python), rest, cell.heading, place=cell.index)
    return f"{shlex.quote(name)} {words}"


def _directive(source: str) -> tuple[Directive, str]:
    try:
        return read_directive(source), ""
    except AwaitlyError as exc:
        return Directive(), str(exc)


@lru_cache(maxsize=256)
def parsed(python: str) -> ast.Module | None:
    """Return the syntax tree of a cell, which nobody may change, or None for what is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told where the cell runs
            return ast.parse(python)
    except (SyntaxError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=256)
def code_digest(python: str) -> str:
    """Return the digest of a cell's code, which blanks and comments do not change; "" for what is no Python."""
    tree = parsed(python)
    return "" if tree is None else tree_digest(tree.body)
