"""The names a cell reads: what it loads before it has assigned it, in functions and comprehensions too.

Follows the statements in order, so that `x = 1; print(x)` reads nothing. A function's body is read where the function
is first used, because only then does it run. A name that only one branch assigns is still read afterwards; a loop is
taken to run at least once, unless what it runs over is empty, which the caller can tell (`Reads.if_empty`).
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from awaitly_nb.keys.code import EVALUATORS, Bound, Import, names_of, quoted_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awaitly_nb.keys.code import Chain

__all__ = ["Reads", "cell_reads"]


class Reads(NamedTuple):
    """What a cell reads.

    Attributes
    ----------
    chains
        Names with the attributes taken of them, in order of first mention.
    if_empty
        Names read only if the variable of that name is empty: `(variable, chain)`.
    imports
        What the cell imports, in functions too.
    in_text
        Names that stand in text alone, as in `df.query("a > @limit")`; what is no variable is no name.
    """

    chains: tuple[Chain, ...]
    if_empty: tuple[tuple[str, Chain], ...]
    imports: tuple[Bound, ...]
    in_text: frozenset[str]


def cell_reads(tree: ast.Module) -> Reads:
    """Return what the code of a cell reads from its namespace."""
    cell = _Cell()
    cell.run(tree.body)
    chains = cell.finish()
    written = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    in_text = {chain[0] for chain in (*chains, *(chain for _, chain in cell.guarded))} - written
    return Reads(tuple(chains), tuple(cell.guarded), tuple(_imports(tree)), frozenset(in_text))


def _imports(tree: ast.Module) -> list[Bound]:
    chains: dict[str, dict[Chain, None]] = {}
    inner: set[int] = set()
    for node in ast.walk(tree):  # from the outside in, so a longer chain is met before its parts
        if isinstance(node, ast.Attribute) and id(node) not in inner and (chain := chain_of(node)):
            chains.setdefault(chain[0], {})[chain] = None
            inner.update(id(part) for part in ast.walk(node))
        elif isinstance(node, ast.Name) and id(node) not in inner and isinstance(node.ctx, ast.Load):
            chains.setdefault(node.id, {})[(node.id,)] = None
    found: list[Bound] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            name = alias.asname or (alias.name if isinstance(node, ast.ImportFrom) else alias.name.partition(".")[0])
            if isinstance(node, ast.ImportFrom):
                wanted = Import(node.module or "", node.level, (alias.name,))
            else:
                wanted = Import(alias.name if alias.asname else name, 0, ())
            found.append(Bound(name, wanted, tuple(chains.get(name, ()))))
            if "." in alias.name and not alias.asname and isinstance(node, ast.Import):
                found.append(Bound("", Import(alias.name, 0, ()), ()))  # loaded, so that the chain finds it
    return found


class _Cell:
    def __init__(self) -> None:
        self.assigned: set[str] = set()
        self.ever: set[str] = set()
        self.loops: dict[str, set[str]] = {}  # names assigned only in a loop over this variable
        self.found: dict[Chain, None] = {}
        self.guarded: dict[tuple[str, Chain], None] = {}
        self.pending: dict[str, list[Chain]] = {}

    def finish(self) -> dict[Chain, None]:
        # Functions that the cell defines and never uses: they run later, and read then what the cell left.
        for chains in list(self.pending.values()):
            for chain in chains:
                if chain[0] not in self.ever:
                    self.found.setdefault(chain)
        return self.found

    def load(self, chain: Chain) -> None:
        for later in self.pending.pop(chain[0], ()):
            self.load(later)
        if chain[0] not in self.assigned:
            self.found.setdefault(chain)
            return
        for variable, names in self.loops.items():
            if chain[0] in names:
                self.guarded.setdefault((variable, chain))

    def bind(self, name: str) -> None:
        self.assigned.add(name)
        self.ever.add(name)
        self.pending.pop(name, None)
        for names in self.loops.values():
            names.discard(name)

    def play(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is None:
                continue
            for event in events(node):
                if event.bind:
                    self.bind(event.chain[0])
                else:
                    self.load(event.chain)

    def run(self, body: Iterable[ast.stmt]) -> bool:
        """Follow statements; tell whether they end by leaving (raise, continue, break)."""
        leaves = False
        for node in body:
            self.statement(node)
            leaves = leaves or isinstance(node, ast.Raise | ast.Return | ast.Continue | ast.Break)
        return leaves

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Assign(value=ast.Lambda()):
                self.define(node)
            case ast.If() | ast.Match():
                self.choose(node)
            case ast.For() | ast.AsyncFor() | ast.While():
                self.loop(node)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self.play(item.context_expr, item.optional_vars)
                self.run(node.body)
            case ast.Try() | ast.TryStar():
                self.attempt(node)
            case ast.Delete():
                self.delete(node)
            case _:
                self.play(node)

    def define(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.play(*node.decorator_list, node.args, node.returns)
                self.bind(node.name)
                self.defer(node.name, free_names(node), at_once=bool(node.decorator_list))
            case ast.ClassDef():
                self.play(*node.decorator_list, *node.bases, *node.keywords)
                reads, methods = class_reads(node)
                for chain in reads:
                    self.load(chain)
                self.bind(node.name)
                self.defer(node.name, methods, at_once=bool(node.decorator_list))
            case ast.Assign(value=ast.Lambda() as function, targets=[ast.Name(id=name)]):
                self.play(function.args)
                self.bind(name)
                self.defer(name, free_names(function), at_once=False)
            case _:
                self.play(node)

    def choose(self, node: ast.If | ast.Match) -> None:
        if isinstance(node, ast.If):
            self.play(node.test)
            self.branches([node.body, node.orelse])
        else:
            self.play(node.subject)
            bodies = [case.body for case in node.cases]
            self.branches([*bodies, []], [(case.pattern, case.guard) for case in node.cases])

    def defer(self, name: str, chains: list[Chain], *, at_once: bool) -> None:
        if at_once:  # a decorator may call what it gets
            for chain in chains:
                self.load(chain)
        else:
            self.pending[name] = chains

    def branches(self, bodies: list[list[ast.stmt]], tests: list[tuple[ast.AST | None, ...]] | None = None) -> None:
        before = set(self.assigned)
        ends: list[set[str]] = []
        for index, body in enumerate(bodies):
            self.assigned = set(before)
            if tests is not None and index < len(tests):
                self.play(*tests[index])
            if not self.run(body):
                ends.append(self.assigned)
        self.assigned = set.intersection(*ends) if ends else before

    def loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        variable = None
        before = set(self.assigned)
        if isinstance(node, ast.While):
            self.play(node.test)
        else:
            self.play(node.iter)
            if isinstance(node.iter, ast.Name) and node.iter.id not in self.assigned:
                variable = node.iter.id
            self.play(node.target)
        self.run(node.body)
        self.run(node.orelse)
        if variable is not None:
            self.loops.setdefault(variable, set()).update(self.assigned - before)

    def attempt(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.assigned)
        left = self.run(node.body) or self.run(node.orelse)
        ends = [] if left else [self.assigned]
        for handler in node.handlers:
            self.assigned = set(before)
            self.play(handler.type)
            if handler.name:
                self.bind(handler.name)
            if not self.run(handler.body):
                ends.append(self.assigned - ({handler.name} if handler.name else set()))
        self.assigned = set.intersection(*ends) if ends else before
        self.run(node.finalbody)

    def delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                if target.id not in self.assigned:
                    self.load((target.id,))
                self.assigned.discard(target.id)
            else:
                self.play(target)


# -- one scope as events -----------------------------------------------------------------------------------------------

_Function: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda"
_Comprehension: TypeAlias = "ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp"


class NameUse(NamedTuple):
    """A name, with the attributes taken of it, is loaded; or a name is bound."""

    chain: Chain
    bind: bool


def events(node: ast.AST) -> list[NameUse]:
    """Return loads and bindings of the scope of `node`; functions in it count by what they read around them."""
    out: list[NameUse] = []
    _visit(node, out)
    return out


def _visit(node: ast.AST, out: list[NameUse]) -> None:
    visitor = _VISITORS.get(type(node))
    if visitor is not None:
        visitor(node, out)
    else:
        _visit_all(ast.iter_child_nodes(node), out)


def _visit_all(nodes: Iterable[ast.AST | None], out: list[NameUse]) -> None:
    for node in nodes:
        if node is not None:
            _visit(node, out)


def _name(node: ast.Name, out: list[NameUse]) -> None:
    out.append(NameUse((node.id,), bind=not isinstance(node.ctx, ast.Load)))


def _attribute(node: ast.Attribute, out: list[NameUse]) -> None:
    chain = chain_of(node) if isinstance(node.ctx, ast.Load) else None
    if chain is None:
        _visit(node.value, out)
    else:
        out.append(NameUse(chain, bind=False))


def chain_of(node: ast.Attribute) -> Chain | None:
    """Return `("np", "linalg", "norm")` for `np.linalg.norm`, or None where no name stands at its root."""
    names = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    return (value.id, *reversed(names)) if isinstance(value, ast.Name) else None


def _constant(node: ast.Constant, out: list[NameUse]) -> None:
    if isinstance(node.value, str):
        out.extend(NameUse(chain, bind=False) for chain in quoted_in(node.value))


def _call(node: ast.Call, out: list[NameUse]) -> None:
    _visit_all(ast.iter_child_nodes(node), out)
    match node:
        case ast.Call(func=ast.Name(id="eval" | "exec" as mode), args=[ast.Constant(value=str(text)), *_]):
            out.extend(NameUse(chain, bind=False) for chain in names_of(text, mode))
        case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant(value=str(text)), *_]) if name in EVALUATORS:
            out.extend(NameUse(chain, bind=False) for chain in names_of(text))


def _compare(node: ast.Compare, out: list[NameUse]) -> None:
    _visit_all(ast.iter_child_nodes(node), out)
    match node:
        case ast.Compare(left=ast.Constant(value=str(name)), comparators=[ast.Call(func=ast.Name(id="globals"))]):
            out.append(NameUse((name,), bind=False))


def _subscript(node: ast.Subscript, out: list[NameUse]) -> None:
    _visit_all(ast.iter_child_nodes(node), out)
    match node:
        case ast.Subscript(value=ast.Call(func=ast.Name(id="globals")), slice=ast.Constant(value=str(name))):
            out.append(NameUse((name,), bind=not isinstance(node.ctx, ast.Load)))


def _function(node: _Function, out: list[NameUse]) -> None:
    _visit_all([*getattr(node, "decorator_list", ()), node.args], out)
    out.extend(NameUse(chain, bind=False) for chain in free_names(node))
    if not isinstance(node, ast.Lambda):
        out.append(NameUse((node.name,), bind=True))


def _class(node: ast.ClassDef, out: list[NameUse]) -> None:
    _visit_all([*node.decorator_list, *node.bases, *node.keywords], out)
    reads, methods = class_reads(node)
    out.extend(NameUse(chain, bind=False) for chain in (*reads, *methods))
    out.append(NameUse((node.name,), bind=True))


def _comprehension(node: _Comprehension, out: list[NameUse]) -> None:
    _visit(node.generators[0].iter, out)
    inner: list[NameUse] = []
    for index, part in enumerate(node.generators):
        _visit_all([part.iter if index else None, part.target, *part.ifs], inner)
    _visit_all((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,), inner)
    targets = {event.chain[0] for part in node.generators for event in events(part.target) if event.bind}
    # What is left of the bindings are those of `:=`, which belong to the scope around.
    out.extend(event for event in inner if event.chain[0] not in targets)


def _named(node: ast.NamedExpr, out: list[NameUse]) -> None:
    _visit_all([node.value, node.target], out)


def _assign(node: ast.Assign, out: list[NameUse]) -> None:
    _visit_all([node.value, *node.targets], out)


def _annotated(node: ast.AnnAssign, out: list[NameUse]) -> None:
    _visit_all([node.value, node.annotation, node.target if node.value is not None else None], out)


def _augmented(node: ast.AugAssign, out: list[NameUse]) -> None:
    if isinstance(node.target, ast.Name):
        out.append(NameUse((node.target.id,), bind=False))
    _visit_all([node.value, node.target], out)


def _for(node: ast.For | ast.AsyncFor, out: list[NameUse]) -> None:
    _visit_all([node.iter, node.target, *node.body, *node.orelse], out)


def _import(node: ast.Import | ast.ImportFrom, out: list[NameUse]) -> None:
    out.extend(NameUse((alias.asname or alias.name.partition(".")[0],), bind=True) for alias in node.names)


def _handler(node: ast.ExceptHandler, out: list[NameUse]) -> None:
    if node.type is not None:
        _visit(node.type, out)
    if node.name:
        out.append(NameUse((node.name,), bind=True))
    _visit_all(node.body, out)


def _capture(node: ast.MatchAs | ast.MatchStar | ast.MatchMapping, out: list[NameUse]) -> None:
    _visit_all(ast.iter_child_nodes(node), out)
    name = node.rest if isinstance(node, ast.MatchMapping) else node.name
    if name:
        out.append(NameUse((name,), bind=True))


_VISITORS: dict[type[ast.AST], Callable[..., None]] = {
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Constant: _constant,
    ast.Call: _call,
    ast.Subscript: _subscript,
    ast.Compare: _compare,
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
            found.append(NameUse((child.name,), bind=True))
        else:
            found = events(child)
        for event in found:
            if event.bind:
                bound.add(event.chain[0])
            elif event.chain[0] not in bound:
                reads.append(event.chain)
    return reads, methods
