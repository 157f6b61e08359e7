"""Automatic keys: the parts of a call of a function, and of a run of a cell."""

from __future__ import annotations

import warnings
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from awaitly_nb.keys.code import function_graph
from awaitly_nb.keys.code_collect import collect_names
from awaitly_nb.keys.code_graph import ABSENT, Graph
from awaitly_nb.keys.parts import Part, Parts
from awaitly_nb.keys.signature import bind
from awaitly_nb.keys.tokens import masked, named_token

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from awaitly_nb.keys.cell_names import Reads

__all__ = ["cell_parts", "part_digest", "read_names", "step_parts"]

_Value: TypeAlias = "tuple[str, str, str, object]"
"""Kind, name and digest of a part, and the value that it stands for."""


def step_parts(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    name: str,
    ignore: Collection[str] = (),
    version: object = None,
) -> Parts:
    """Return the parts of the key of `fn(*args, **kwargs)`.

    Positional, keyword and default forms of one call have one key. The list of parts is made when it is first asked
    for, so ask before the step runs if it may change its arguments.

    Parameters
    ----------
    ignore
        Names of arguments that the result does not depend on.
    version
        Anything small; another version is another key.

    Raises
    ------
    UnkeyableError
        An argument, or a value that the code reads, has no fingerprint; the error's `path` names it.
    TypeError
        The call itself would raise it.
    """
    graph = function_graph(fn, defaults=False)
    hasher = _prefix(graph).copy()
    values = [] if not graph.slots else _read(graph, ignorable=False)
    if version is not None:
        values.append(("version", "version", _digest(version, "version"), version))
    for argument, value in bind(fn, args, kwargs):
        if not ignore or (argument not in ignore and argument.lstrip("*") not in ignore):
            token = named_token(argument, value) or (_MARKER if _is_own_marker(fn, value) else _digest(value, argument))
            values.append(("argument", argument, token, value))
    text = "".join([f"{kind}\x1f{part}\x1f{digest}\x1e" for kind, part, digest, _ in values])
    hasher.update(text.encode("utf-8", "surrogatepass"))
    return Parts.later(name, hasher.hexdigest(), lambda: _listed(graph, values))


_MARKER: Final = "object"


def _is_own_marker(fn: Callable[..., Any], value: object) -> bool:
    # A bare object() that is a default of the function says "not given"; any other has no meaning to key.
    if type(value) is not object:
        return False
    given = (*(getattr(fn, "__defaults__", None) or ()), *(getattr(fn, "__kwdefaults__", None) or {}).values())
    return {id(default) for default in given if type(default) is object} == {id(value)}


def _listed(graph: Graph, values: list[_Value]) -> Iterator[Part]:
    yield from (Part(*fixed) for fixed in graph.fixed)
    for kind, name, digest, value in values:
        yield Part(kind, name, digest, _outline(name, value))


def cell_parts(source: str, namespace: Mapping[str, Any], *, name: str, ignore: Collection[str] = ()) -> Parts:
    """Return the parts of the key of a cell: its code, and what it reads of `namespace`.

    Parameters
    ----------
    source
        Plain Python; `await` outside of functions is allowed.
    ignore
        Names of variables that the cell's result does not depend on.

    Raises
    ------
    SyntaxError
        The source is no Python.
    UnkeyableError
        A value that the cell reads has no fingerprint.

    Examples
    --------
    >>> one = cell_parts("y = x + 1", {"x": 1}, name="c")
    >>> one.key == cell_parts("y = x + 1  # more", {"x": 1, "z": 0}, name="c").key
    True
    >>> one.key == cell_parts("y = x + 1", {"x": 2}, name="c").key
    False
    """
    cell = _cell(source)
    graph = collect_names(_chains(cell.reads, namespace, ignore), namespace, cell.reads.imports, cell.texts)
    return Parts(name, [Part("code", name, cell.digest, source), *_listed(graph, _read(graph))])


def read_names(source: str, namespace: Mapping[str, Any]) -> Graph:
    """Return what a cell reads of `namespace`."""
    cell = _cell(source)
    return collect_names(_chains(cell.reads, namespace, ()), namespace, cell.reads.imports, cell.texts)


def _chains(reads: Reads, namespace: Mapping[str, Any], ignore: Collection[str]) -> list[tuple[str, ...]]:
    left_out = {*ignore, *(name for name in reads.in_text if name not in namespace)}
    chains = [chain for chain in reads.chains if chain[0] not in left_out]
    for variable, chain in reads.if_empty:
        if chain[0] not in left_out and _empty(namespace.get(variable, ABSENT)):
            chains.append(chain)
    return chains


def _empty(value: object) -> bool:
    try:
        return len(value) == 0  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - the stranger is the user's __len__; what has no size is taken to hold something
        return False


def _prefix(graph: Graph) -> Any:  # Any: hashlib names no type for its objects
    if graph.prefix is None:
        graph.prefix = blake2b(digest_size=16)
        for kind, name, digest, _ in graph.fixed:
            graph.prefix.update(f"{kind}\x1f{name}\x1f{digest}\x1e".encode("utf-8", "surrogatepass"))
    return graph.prefix


def _read(graph: Graph, *, ignorable: bool = True) -> list[_Value]:
    values: list[_Value] = []
    for kind, name, lookup, key in graph.slots:
        value = lookup.get(key, ABSENT)
        digest = "absent" if value is ABSENT else _digest(value, f"{kind} {name}", read=not ignorable)
        values.append((kind, name, digest, value))
    return values


def part_digest(name: str, value: object) -> str:
    """Return the digest that a value has as a part of a key: what a cell leaves is told by it, and met by it later.

    Raises
    ------
    UnkeyableError
        The value has no fingerprint.
    """
    return named_token(name, value) or _digest(value, name)


def _digest(value: object, path: str, *, read: bool = False) -> str:
    token = named_token(path, value)
    if token is not None:
        return token
    from awaitly_nb.keys.values import fingerprint

    return fingerprint(value, path=path, read=read)


def _outline(name: str, value: object) -> object:
    from awaitly_nb.keys.values import outline

    # Asked for on a miss alone, so there is time to note each column, and `why` can say which of them changed.
    return "absent" if value is ABSENT else outline(masked(name, value), digests=True)


class _Source(NamedTuple):
    digest: str
    reads: Reads
    texts: tuple[str, ...]


_sources: dict[str, _Source] = {}
_KEPT: Final = 256


def _cell(source: str) -> _Source:
    found = _sources.get(source)
    if found is None:
        import ast

        from awaitly_nb.keys.cell_names import cell_reads
        from awaitly_nb.keys.code_tree import tree_digest

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the shell compiles the cell as well, and tells
            tree = ast.parse(source)
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found = _Source(tree_digest(tree.body), cell_reads(tree), tuple(dict.fromkeys(texts)))
        if len(_sources) >= _KEPT:
            _sources.clear()
        _sources[source] = found
    return found
