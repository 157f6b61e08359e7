"""What a cell may change in place that its own statements do not show: through functions it calls, and through aliases.

A cell that will run, and of which no run is known, is read this way: what it may change is not known from there on. So
this names rather too much than too little. What only a call of an installed package changes is not seen.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from awaitly_nb.plans.statics import bound_by, chain_of, changed_by, root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

__all__ = ["Effects", "aliases", "aliases_in", "closure", "text_of"]

_PASS_ON = frozenset(
    {"reversed", "enumerate", "zip", "sorted", "list", "tuple", "iter", "next", "values", "items", "get"}
)
"""Calls that give the very objects that they were given."""
_TAKE_IN = frozenset({"append", "add", "insert", "extend", "update", "setdefault", "appendleft", "put"})
_MAKERS = ("__init__", "__new__", "__post_init__")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(slots=True)
class _Inside:
    """What calling a function may change: its parameters, by name, and names outside of it."""

    parameters: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)


class Effects:
    """What calls may change, with the definitions that are known at some place of a notebook.

    Parameters
    ----------
    find
        The definition that a dotted name stands for, or None.
    classes
        The classes of the user that there are.
    """

    def __init__(self, find: Callable[[str], ast.AST | None], classes: Iterable[ast.ClassDef]) -> None:
        self._find = find
        self._methods: dict[str, list[Function]] = {}
        for one in classes:
            for method in _methods(one):
                self._methods.setdefault(method.name, []).append(method)
        self._known: dict[int, _Inside] = {}

    def of_cell(self, tree: ast.Module) -> set[str]:
        """Return the names of what a cell may change in place."""
        return self._changed(tree)

    def _changed(self, owner: ast.Module | Function) -> set[str]:
        told = text_of(owner)
        return closure(told.changed.union(*map(self._by_call, told.calls)), told.joined)

    def _by_call(self, call: ast.Call) -> set[str]:
        chain = chain_of(call.func)
        called = self._find(".".join(chain)) if chain else None
        functions: list[Function] = []
        owner = ""
        if isinstance(called, ast.ClassDef):
            functions = [method for method in _methods(called) if method.name in _MAKERS]
        elif isinstance(called, _FUNCTIONS):
            functions = [called]
        else:
            owner = root_of(call.func)
            functions = self._methods.get(call.func.attr if isinstance(call.func, ast.Attribute) else "__call__", [])
        changed: set[str] = set()
        for function in functions:
            inside = self._inside(function)
            changed |= inside.outside
            first = function.args.args[0].arg if function.args.args else ""
            if owner and first in inside.parameters:
                changed.add(owner)
            if inside.parameters - {first if owner or isinstance(called, ast.ClassDef) else ""}:
                values = (*call.args, *(keyword.value for keyword in call.keywords))
                changed.update(name for value in values for name in _handed_on(value))
        return changed

    def _inside(self, function: Function) -> _Inside:
        known = self._known.get(id(function))
        if known is None:
            known = self._known[id(function)] = _Inside()  # what calls itself changes nothing more by that
            parameters, declared, own = _names_in(function)
            changed = self._changed(function) | declared
            known.parameters = changed & parameters
            known.outside = changed - parameters - own
        return known


@dataclass(frozen=True, slots=True)
class Text:
    """What the text of a cell, or of a function, says by itself, whatever its names stand for.

    Attributes
    ----------
    changed
        Names of objects that its statements change in place.
    calls
        The calls in it.
    joined
        Of each name the others that reach the same object. What is only put into another object is not changed with
        it: `self.rows = rows`.
    """

    changed: frozenset[str]
    calls: tuple[ast.Call, ...]
    joined: dict[str, set[str]]


# A page asks for the plan at each pause of the typing, and the trees of all cells but one are those of before.
@lru_cache(maxsize=4096)
def text_of(owner: ast.Module | Function) -> Text:
    """Return what a cell or a function says."""
    body: list[ast.AST] = [owner.body] if isinstance(owner, ast.Lambda) else list(owner.body)
    joined: dict[str, set[str]] = {}
    for name, other in aliases(body, held=False):
        joined.setdefault(name, set()).add(other)
        joined.setdefault(other, set()).add(name)
    return Text(
        frozenset(name for statement in body for name in changed_by(statement)),
        tuple(node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Call)),
        joined,
    )


@lru_cache(maxsize=4096)
def aliases_in(tree: ast.Module) -> tuple[tuple[str, str], ...]:
    """Return the `aliases` of a cell."""
    return tuple(aliases(tree.body))


@lru_cache(maxsize=4096)
def _names_in(function: Function) -> tuple[set[str], set[str], set[str]]:
    """Return a function's parameters, the names that it declares global, and those that are its own."""
    body: list[ast.AST] = [function.body] if isinstance(function, ast.Lambda) else list(function.body)
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    inner = [one for node in body for one in ast.walk(node)]
    declared = {name for one in inner if isinstance(one, ast.Global) for name in one.names}
    own = {name for node in body for name in bound_by(node)} - declared
    return {one.arg for one in every if one is not None}, declared, own


def aliases(body: Iterable[ast.AST], *, held: bool = True) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that may reach one object after these statements.

    Parameters
    ----------
    body
        The statements.
    held
        Whether an object that another one holds counts, or only two names for one.

    Examples
    --------
    >>> list(aliases(ast.parse("view = frame.values; both = [one, two.copy()]").body))
    [('view', 'frame'), ('both', 'one')]
    """
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Assign(targets=targets, value=value):
                    yield from _pairs([one for one in targets if held or isinstance(one, ast.Name | ast.Tuple)], value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    yield from _pairs([target], value)
                case (
                    ast.NamedExpr(target=target, value=value)
                    | ast.For(target=target, iter=value)
                    | ast.AsyncFor(target=target, iter=value)
                ):
                    yield from _pairs([target], value)
                case ast.Call(func=ast.Attribute(attr=attr) as func, args=args) if held and attr in _TAKE_IN:
                    owner = root_of(func)
                    yield from ((owner, name) for value in args for name in _handed_on(value) if owner)


def closure(names: Iterable[str], joined: dict[str, set[str]]) -> set[str]:
    """Return the names, and all that is joined with them."""
    found = set(names)
    waiting = list(found)
    while waiting:
        for other in joined.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _pairs(targets: Iterable[ast.expr], value: ast.expr) -> Iterator[tuple[str, str]]:
    sources = list(dict.fromkeys(_handed_on(value)))
    for target in targets:
        names = [root_of(target)] if isinstance(target, ast.Attribute | ast.Subscript) else list(bound_by(target))
        yield from ((name, source) for name in names for source in sources if name and name != source)


def _handed_on(value: ast.expr) -> Iterator[str]:
    """Yield the names whose objects an expression may give as they are, or hold."""
    match value:
        case ast.Name(id=name):
            yield name
        case ast.Attribute() | ast.Subscript():
            if name := root_of(value):
                yield name
        case ast.Call(func=func):
            last = (chain_of(func) or [getattr(func, "attr", "")])[-1]
            if last in _PASS_ON and isinstance(func, ast.Attribute):
                yield from _handed_on(func.value)
            if last in _PASS_ON or last[:1].isupper():  # an object of a class may hold what it was made with
                for one in (*value.args, *(keyword.value for keyword in value.keywords)):
                    yield from _handed_on(one)
        case ast.ListComp(elt=one) | ast.SetComp(elt=one) | ast.GeneratorExp(elt=one) | ast.DictComp(value=one):
            own = {name for part in value.generators for name in bound_by(part.target)}
            for name in _handed_on(one):
                yield from (
                    (each for part in value.generators for each in _handed_on(part.iter)) if name in own else (name,)
                )
        case ast.Tuple() | ast.List() | ast.Set() | ast.Dict() | ast.IfExp() | ast.BoolOp() | ast.Starred():
            for child in ast.iter_child_nodes(value):
                yield from _handed_on(child) if isinstance(child, ast.expr) else ()


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
