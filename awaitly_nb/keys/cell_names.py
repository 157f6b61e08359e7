"""The names a cell reads: what it loads before it has assigned it, in functions and comprehensions too.

Follows the statements in order, so that `x = 1; print(x)` reads nothing. A function's body is read where the function
is first used, because only then does it run. A name that only one branch assigns is still read afterwards; a loop is
taken to run at least once, unless what it runs over is empty, which the caller can tell (`Reads.if_empty`).
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from awaitly_nb.keys.cell_scope import chain_of, class_reads, events, free_names
from awaitly_nb.keys.code_names import Bound, Import

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.keys.code_names import Chain

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
