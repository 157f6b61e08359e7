"""One scope of a syntax tree as events: which names it loads and binds, in the order in which that happens."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from awaitly_nb.keys.code_names import names_of, quoted_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awaitly_nb.keys.code_names import Chain

__all__ = ["Event", "chain_of", "class_reads", "events", "free_names"]

_Function: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda"
_Comprehension: TypeAlias = "ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp"


class Event(NamedTuple):
    """A name, with the attributes taken of it, is loaded; or a name is bound."""

    chain: Chain
    bind: bool


def events(node: ast.AST) -> list[Event]:
    """Return loads and bindings of the scope of `node`; functions in it count by what they read around them."""
    out: list[Event] = []
    _visit(node, out)
    return out


def _visit(node: ast.AST, out: list[Event]) -> None:
    visitor = _VISITORS.get(type(node))
    if visitor is not None:
        visitor(node, out)
    else:
        _visit_all(ast.iter_child_nodes(node), out)


def _visit_all(nodes: Iterable[ast.AST | None], out: list[Event]) -> None:
    for node in nodes:
        if node is not None:
            _visit(node, out)


def _name(node: ast.Name, out: list[Event]) -> None:
    out.append(Event((node.id,), bind=not isinstance(node.ctx, ast.Load)))


def _attribute(node: ast.Attribute, out: list[Event]) -> None:
    chain = chain_of(node) if isinstance(node.ctx, ast.Load) else None
    if chain is None:
        _visit(node.value, out)
    else:
        out.append(Event(chain, bind=False))


def chain_of(node: ast.Attribute) -> Chain | None:
    """Return `("np", "linalg", "norm")` for `np.linalg.norm`, or None where no name stands at its root."""
    names = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    return (value.id, *reversed(names)) if isinstance(value, ast.Name) else None


def _constant(node: ast.Constant, out: list[Event]) -> None:
    if isinstance(node.value, str):
        out.extend(Event(chain, bind=False) for chain in quoted_in(node.value))


def _call(node: ast.Call, out: list[Event]) -> None:
    _visit_all(ast.iter_child_nodes(node), out)
    match node:
        case ast.Call(func=ast.Name(id="eval" | "exec" as mode), args=[ast.Constant(value=str(text)), *_]):
            out.extend(Event(chain, bind=False) for chain in names_of(text, mode))


def _subscript(node: ast.Subscript, out: list[Event]) -> None:
    _visit_all(ast.iter_child_nodes(node), out)
    match node:
        case ast.Subscript(value=ast.Call(func=ast.Name(id="globals")), slice=ast.Constant(value=str(name))):
            out.append(Event((name,), bind=not isinstance(node.ctx, ast.Load)))


def _function(node: _Function, out: list[Event]) -> None:
    _visit_all([*getattr(node, "decorator_list", ()), node.args], out)
    out.extend(Event(chain, bind=False) for chain in free_names(node))
    if not isinstance(node, ast.Lambda):
        out.append(Event((node.name,), bind=True))


def _class(node: ast.ClassDef, out: list[Event]) -> None:
    _visit_all([*node.decorator_list, *node.bases, *node.keywords], out)
    reads, methods = class_reads(node)
    out.extend(Event(chain, bind=False) for chain in (*reads, *methods))
    out.append(Event((node.name,), bind=True))


def _comprehension(node: _Comprehension, out: list[Event]) -> None:
    _visit(node.generators[0].iter, out)
    inner: list[Event] = []
    for index, part in enumerate(node.generators):
        _visit_all([part.iter if index else None, part.target, *part.ifs], inner)
    _visit_all((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,), inner)
    targets = {event.chain[0] for part in node.generators for event in events(part.target) if event.bind}
    # What is left of the bindings are those of `:=`, which belong to the scope around.
    out.extend(event for event in inner if event.chain[0] not in targets)


def _named(node: ast.NamedExpr, out: list[Event]) -> None:
    _visit_all([node.value, node.target], out)


def _assign(node: ast.Assign, out: list[Event]) -> None:
    _visit_all([node.value, *node.targets], out)


def _annotated(node: ast.AnnAssign, out: list[Event]) -> None:
    _visit_all([node.value, node.annotation, node.target if node.value is not None else None], out)


def _augmented(node: ast.AugAssign, out: list[Event]) -> None:
    if isinstance(node.target, ast.Name):
        out.append(Event((node.target.id,), bind=False))
    _visit_all([node.value, node.target], out)


def _for(node: ast.For | ast.AsyncFor, out: list[Event]) -> None:
    _visit_all([node.iter, node.target, *node.body, *node.orelse], out)


def _import(node: ast.Import | ast.ImportFrom, out: list[Event]) -> None:
    out.extend(Event((alias.asname or alias.name.partition(".")[0],), bind=True) for alias in node.names)


def _handler(node: ast.ExceptHandler, out: list[Event]) -> None:
    if node.type is not None:
        _visit(node.type, out)
    if node.name:
        out.append(Event((node.name,), bind=True))
    _visit_all(node.body, out)


def _capture(node: ast.MatchAs | ast.MatchStar | ast.MatchMapping, out: list[Event]) -> None:
    _visit_all(ast.iter_child_nodes(node), out)
    name = node.rest if isinstance(node, ast.MatchMapping) else node.name
    if name:
        out.append(Event((name,), bind=True))


_VISITORS: dict[type[ast.AST], Callable[..., None]] = {
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Constant: _constant,
    ast.Call: _call,
    ast.Subscript: _subscript,
    ast.Lambda: _function,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.NamedExpr: _named,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.ExceptHandler: _handler,
    ast.MatchAs: _capture,
    ast.MatchStar: _capture,
    ast.MatchMapping: _capture,
}


def free_names(node: _Function) -> list[Chain]:
    """Return what a function reads from around it."""
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    found = [event for child in body for event in events(child)]
    arguments = node.args
    own = {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    own |= {argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument is not None}
    own |= {event.chain[0] for event in found if event.bind}
    own -= _declared(body)
    return list(dict.fromkeys(event.chain for event in found if not event.bind and event.chain[0] not in own))


def _declared(body: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for child in body:
        if isinstance(child, ast.Global | ast.Nonlocal):
            names.update(child.names)
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            names |= _declared(ast.iter_child_nodes(child))
    return names


def class_reads(node: ast.ClassDef) -> tuple[list[Chain], list[Chain]]:
    """Return what the body of a class reads when it runs, and what its methods read later."""
    reads: list[Chain] = []
    methods: list[Chain] = []
    bound: set[str] = set()
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            methods.extend(free_names(child))
            found = [event for part in (*child.decorator_list, child.args) for event in events(part)]
            found.append(Event((child.name,), bind=True))
        else:
            found = events(child)
        for event in found:
            if event.bind:
                bound.add(event.chain[0])
            elif event.chain[0] not in bound:
                reads.append(event.chain)
    return reads, methods
