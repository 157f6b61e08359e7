"""The walk over a notebook's cells, from fingerprint to fingerprint: what will hit, what will run, and why.

Nothing runs here and no value is decoded. A name stands for what is known of it: the fingerprint that a hit leaves, a
definition or a literal in the text, "comes from a cell that will run", or "cannot be known". A cell is compared part by
part with the records of earlier runs of the same code; the first part that differs is the reason why it runs.
"""

from __future__ import annotations

import ast
import builtins
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from awaitly_nb.keys import outline_diff, part_outline
from awaitly_nb.plans.effects import Effects, aliases_in, closure, text_of
from awaitly_nb.plans.setup import Setup
from awaitly_nb.plans.statics import Constant, Definition, Imported, Statics, root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from awaitly_nb.plans.history import CellRecord, History

__all__ = ["CellPlan", "CellText", "Checks", "Edge", "walk"]


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is known by its fingerprint."""

    digest: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Something that a cell which will run makes."""

    maker: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that a text cannot tell."""

    why: str


Symbol: TypeAlias = "Value | Pending | Unknown | Definition | Imported | Constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellText:
    """A cell as the walk needs it.

    Attributes
    ----------
    index, cell_id, name
        Its place among all cells, its id, and what it is called.
    tree, python
        Its syntax tree after IPython's transformations, and the text of that; the tree is None where it does not parse.
    code
        The digest of its code.
    statics
        What its text binds, changes and deletes.
    reads
        Names that it reads.
    cached
        True for a cell that the cache looks after: under `%%awaitly`, or by automatic mode.
    namespace
        Where its entries lie.
    live
        Why it always runs, or "".
    key
        Its explicit key, or None.
    variables, ignore
        What `--vars` and `--ignore` name.
    force
        True when it asks to be run in any case.
    problem
        Why it cannot be read, or "".
    """

    index: int
    name: str
    cell_id: str = ""
    tree: ast.Module | None = None
    python: str = ""
    code: str = ""
    statics: Statics = field(default_factory=Statics)
    reads: tuple[str, ...] = ()
    cached: bool = True
    namespace: str = ""
    live: str = ""
    key: str | None = None
    variables: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    force: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """A variable that one cell makes and another one reads.

    Attributes
    ----------
    source, target
        Places of the two cells.
    variable
        Its name.
    differs
        True where it is why the target runs.
    """

    source: int
    target: int
    variable: str
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """What will happen to one cell.

    Attributes
    ----------
    name, index, cell_id
        Which cell.
    state
        `hit`, `run`, `depends` (on a cell that will run), `live` (always runs), `new` or `unknown`.
    reason
        Why, in one line.
    seconds
        What running it is expected to take, for a hit what running it would have taken; None where nobody knows.
    load_s
        What a hit is expected to take.
    size_bytes
        Bytes that a hit reads.
    key
        Of the entry that is served, or None.
    differs
        The variable that differs, where one does.
    namespace
        Where its entries are; "" for a cell that is not cached.
    """

    name: str
    index: int
    state: str
    reason: str = ""
    seconds: float | None = None
    load_s: float | None = None
    size_bytes: int = 0
    cell_id: str = ""
    key: str | None = None
    differs: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What the walk has to ask of the world; everything else is text.

    Attributes
    ----------
    digest
        The digest that a part of a key has for a literal: `digest(name, value)`.
    tree
        The digest of a syntax tree.
    seed
        The state that seeding brings a generator to: `seed(generator, value)`, or None where only a run tells.
    files, traces
        Why what a run read beside its inputs is not as it was, or None.
    module
        What a module of the user's says, by name; None for an installed one.
    now
        The time.
    """

    digest: Callable[[str, object], str]
    tree: Callable[[Sequence[ast.AST]], str]
    seed: Callable[[str, object], str | None]
    files: Callable[[Sequence[Any]], str | None]  # Any: plain JSON data
    traces: Callable[[Mapping[str, Any]], str | None]  # Any: plain JSON data
    module: Callable[[str], Statics | None]
    now: datetime


@dataclass(frozen=True, slots=True)
class _Finding:
    """What comparing a record with the present says, the worst part deciding."""

    state: str
    reason: str
    differs: str = ""
    weight: int = 0


_KINDS_OF_FUNCTIONS = frozenset({"ufunc", "cython_function_or_method", "builtin_function_or_method"})
_OUTSIDE = frozenset({"environment", "argv"})
"""What a run uses that is the same for whoever looks; the rest belongs to the session."""
_UNSEEDED = "unseeded"
_GENERATORS = ("random", "numpy.random", "torch")
_QUIET = frozenset(
    {"head", "tail", "describe", "info", "copy", "show", "plot", "keys", "values", "items", "get", "append", "update"}
    | {"mean", "sum", "min", "max", "std", "round", "tolist", "to_numpy", "join", "format", "split", "strip", "savefig"}
)
"""Methods that draw no random numbers, whatever they are called on."""
_RANK = {"run": 3, "unknown": 2, "depends": 1, "hit": 0}


def walk(
    cells: Sequence[CellText], history: History, checks: Checks, known: Mapping[str, str] | None = None
) -> tuple[list[CellPlan], list[Edge]]:
    """Return what will happen to each cell, and which cell feeds which.

    Parameters
    ----------
    cells
        The code cells in order.
    history
        What earlier runs left.
    checks
        Questions to the file system, the environment and the clock.
    known
        Fingerprints of variables that are there before the first cell, as in a living kernel.
    """
    steps = _Walk(history, checks)
    for name, digest in (known or {}).items():
        steps.names[name] = Value(digest)
    return [steps.cell(cell) for cell in cells], steps.edges


class _Names(dict[str, Symbol]):
    """Names with what is known of them; of a class also its attributes, as `Report.currency`.

    Attributes
    ----------
    classes
        Those that stand for a class in the text.
    attributes
        Of each name, the dotted names that begin with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.classes: dict[str, ast.ClassDef] = {}
        self.attributes: dict[str, set[str]] = {}

    def __setitem__(self, name: str, symbol: Symbol) -> None:
        super().__setitem__(name, symbol)
        self.classes.pop(name, None)
        if isinstance(symbol, Definition) and isinstance(symbol.node, ast.ClassDef):
            self.classes[name] = symbol.node
        owner, dot, _ = name.partition(".")
        if dot:
            self.attributes.setdefault(owner, set()).add(name)

    def drop(self, name: str) -> None:
        """Forget a name, if it is there."""
        self.pop(name, None)
        self.classes.pop(name, None)


class _Walk:
    def __init__(self, history: History, checks: Checks) -> None:
        self.names = _Names()
        self.edges: list[Edge] = []
        self._history = history
        self._checks = checks
        self._makers: dict[str, int] = {}
        self._aliases: dict[str, set[str]] = {}  # names that may reach one object
        self._anything = ""  # why any name may be anything from here on
        self._generators: dict[str, Symbol] = {}  # the state of each generator; absent: nobody seeded it
        self._setup = Setup()

    def cell(self, cell: CellText) -> CellPlan:
        """Decide one cell, and let it leave its names."""
        plan, record = self._decide(cell)
        for name in dict.fromkeys(cell.reads):
            if (maker := self._makers.get(name)) is not None and maker != cell.index:
                differs = plan.state == "run" and name == plan.differs.partition(".")[0]
                self.edges.append(Edge(maker, cell.index, name, differs=differs))
        self._leave(cell, plan, record)
        if cell.tree is not None:
            self._setup.add(cell.tree)
        for name, other in () if cell.tree is None else aliases_in(cell.tree):
            self._aliases.setdefault(name, set()).add(other)
            self._aliases.setdefault(other, set()).add(name)
        for name in (*cell.statics.bound, *cell.statics.changed):
            if not isinstance(self.names.get(name), Imported):
                self._makers[name] = cell.index
        return plan

    def _decide(self, cell: CellText) -> tuple[CellPlan, CellRecord | None]:
        plan = partial(CellPlan, name=cell.name, index=cell.index, cell_id=cell.cell_id)
        if cell.problem:
            return plan(state="unknown", reason=cell.problem), None
        if cell.live or not cell.cached:
            seconds = self._history.live_s(cell.code)
            return plan(state="live", reason=cell.live or "not cached", seconds=seconds), None
        named = self._history.of_name(cell.namespace, cell.name)
        if cell.key is not None:
            plan = partial(plan, namespace=cell.namespace, seconds=self._history.seconds(named))
            return self._decide_by_key(cell, plan, named)
        same = self._history.of_code(cell.namespace, cell.code)
        plan = partial(plan, namespace=cell.namespace, seconds=self._history.seconds(same or named))
        if cell.force:
            return plan(state="run", reason="recomputed, as asked (--force)"), same[0] if same else None
        if not same:
            state, reason = ("run", f"code of {cell.name} edited") if named else ("new", "first run")
            # What it changed before the edit, it may well change now.
            return plan(state=state, reason=reason), named[0] if named else None
        findings = [(self._compare(cell, record), record) for record in same]
        # The nearest: a hit if there is one, else what differs in the fewest parts.
        finding, record = min(findings, key=lambda item: (_RANK[item[0].state], not item[1].stored, item[0].weight))
        if not any(one.stored for one in same):
            # It was never worth storing: it runs, and where its inputs are those of before, it leaves what it left.
            found = plan(state="live", reason="runs each time: storing it was not worth it")
            return found, record if finding.state == "hit" else None
        if finding.state == "hit" and not record.stored:
            return plan(state="run", reason="its result was not stored", differs=finding.differs), record
        if finding.state == "hit":
            found = _served(plan, record, record.key, reason=finding.reason, differs=finding.differs)
            return found, record
        return plan(state=finding.state, reason=finding.reason, differs=finding.differs), record

    def _decide_by_key(
        self, cell: CellText, plan: Callable[..., CellPlan], named: Sequence[CellRecord]
    ) -> tuple[CellPlan, CellRecord | None]:
        key = cell.key or ""
        if "{" in key:
            filled = self._filled(key)
            if filled is None:
                return plan(state="unknown", reason=f"the key {key!r} names what only a run knows"), None
            key = filled
        record = self._history.of_key(cell.namespace, key)
        if cell.force:
            return plan(state="run", reason="recomputed, as asked (--force)"), record
        if record is None:
            state, reason = ("run", f"nothing is stored under {key!r}") if named else ("new", "first run")
            return plan(state=state, reason=reason), None
        late = self._late(cell, record)
        if late is not None:
            return plan(state="run", reason=late), record
        return _served(plan, record, key, reason=""), record

    def _filled(self, key: str) -> str | None:
        values = {name: symbol.value for name, symbol in self.names.items() if isinstance(symbol, Constant)}
        try:
            return key.format(**values)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError):
            return None

    def _late(self, cell: CellText, record: CellRecord) -> str | None:
        """Return why an entry cannot be served although it is the right one."""
        if record.ttl_s is not None and record.at is not None:
            age = (self._checks.now - record.at).total_seconds()
            if age > record.ttl_s:
                return "its time to live is over"
        if cell.variables is not None:
            missing = [name for name in cell.variables if name not in record.variables]
            if missing:
                return f"the entry does not hold {missing[0]}"
        return self._checks.files(record.files)

    def _compare(self, cell: CellText, record: CellRecord) -> _Finding:
        worst = _Finding("hit", "")
        count = 0
        for kind, name, digest, shown in record.parts[1:]:
            if name.partition(".")[0] in cell.ignore:
                continue
            state, reason = self._part(kind, name, digest, shown)
            count += state == "run"
            if _RANK[state] > _RANK[worst.state]:
                worst = _Finding(state, reason, name)
        if worst.state == "hit" and (late := self._late(cell, record)) is not None:
            return _Finding("run", late)
        if worst.state == "hit" and (found := self._traced(record)) is not None:
            return found
        return replace(worst, weight=count)

    def _traced(self, record: CellRecord) -> _Finding | None:
        """Compare what a run used of its process: the environment as it is, generators by the walk over the cells."""
        outside = {name: used for name, used in record.traces.items() if name in _OUTSIDE}
        changed = self._checks.traces(outside)
        if changed is not None and self._checks.traces(_without(outside, record.environment)) is None:
            # Whoever plans has not run what set it, and cannot tell what it will be.
            return _Finding("depends", f"{changed}, which its session had set itself")
        if changed is not None:
            return _Finding("run", changed)
        for name, used in record.traces.get("generators", {}).items():
            if (wanted := used.get("before")) is None:
                continue
            match self._generators.get(name, Value(_UNSEEDED)):
                case Value(now) if now != wanted:
                    return _Finding("run", f"generator {name} differs (other seed, or other draws before)")
                case Pending(maker):
                    return _Finding("depends", f"{name} is drawn from by {maker}, which will run")
                case Unknown(why):
                    return _Finding("unknown", why)
        return self._set_up(record)

    def _set_up(self, record: CellRecord) -> _Finding | None:
        """Compare what had set up the session when it ran with what does now."""
        used, now = record.traces.get("settings", {}), self._setup.digests()
        if not used or (record.setup == now and "" not in now) or (record.setup is None and not now):
            return None
        what = f"the settings of {' and '.join(used)}"
        if record.setup is None:
            return _Finding("unknown", f"its entry does not tell which calls made {what}")
        return _Finding("depends", f"{what} are made by other calls than before ({self._setup.latest() or 'none'})")

    # -- the parts of a key ----------------------------------------------------------------------------------------

    def _part(self, kind: str, name: str, digest: str, shown: Any) -> tuple[str, str]:  # Any: plain JSON data
        match kind:
            case "package":
                return self._package(name, digest, shown)
            case "import":
                return self._import(name, digest)
            case "helper" | "class":
                return self._definition(kind, name, shown)
            case "default":
                return self._default(name, digest)
            case "global" | "builtin":
                return self._global(kind, name, digest, shown)
        return "unknown", f"{kind} {name} is known to a run only"

    def _package(self, name: str, digest: str, shown: Any) -> tuple[str, str]:  # Any: plain JSON data
        from awaitly_nb.keys import package_version

        version = package_version(name)
        if version is None:
            return "run", f"package {name} is gone"
        if ".".join(version.split(".")[:2]) == digest:
            return "hit", ""
        return "run", f"{name} {shown} -> {version}"

    def _import(self, name: str, label: str) -> tuple[str, str]:
        name = name.partition("#")[0]
        symbol, rest = self._symbol(name)
        match symbol:
            case Imported(module=module, attribute=attribute, level=0):
                wanted = [*module.split("."), *([attribute] if attribute else []), *rest]
                had = label.split(".")
                # A label says where a thing is defined, which may be deeper than where it is imported from. Where the
                # standard library is concerned, that can be looked up.
                same = wanted == had or (wanted[0] == had[0] and wanted[-1] == had[-1])
                if same or _standard_label(wanted) == label:
                    return "hit", ""
                if wanted[0] == had[0] and (had[-1].startswith("_") or had[-1] in _KINDS_OF_FUNCTIONS):
                    return "unknown", f"what {name} is, its package alone can tell"
                return "run", f"import {name}: {label} -> {'.'.join(wanted)}"
            case Definition() | Constant() | Value():
                return "run", f"{name} is no import now"
            case Pending(maker):
                return "depends", f"{name} comes from {maker}, which will run"
            case Unknown(why):
                return "unknown", why
            case None if hasattr(builtins, name.partition(".")[0]):
                return "hit", ""
        return "unknown", f"{name} cannot be found in the text"

    def _definition(self, kind: str, label: str, shown: Any) -> tuple[str, str]:  # Any: plain JSON data
        label = label.partition("#")[0]
        symbol, rest = self._symbol(label)
        match symbol:
            case Pending(maker):
                return "depends", f"{label} comes from {maker}, which will run"
            case Unknown(why):
                return "unknown", why
            case Definition():
                found = _inner(symbol.node, rest)
                if found is None:
                    return "run", f"{kind} {label} is gone"
                was = _parsed(shown)
                if was is None:
                    return "unknown", f"the source of {label} was not recorded"
                if self._checks.tree([was]) == self._checks.tree([found]):
                    return "hit", ""
                return "run", f"{kind} {label} edited"
            case Value():
                return "unknown", f"{label} is made by a call, which only a run can follow"
            case Constant() | Imported():
                return "run", f"{kind} {label} is something else now"
        return ("run", f"{kind} {label} is gone") if not self._anything else ("unknown", self._anything)

    def _default(self, name: str, digest: str) -> tuple[str, str]:
        owner, _, argument = name.rpartition(".")
        symbol, rest = self._symbol(owner)
        if not isinstance(symbol, Definition):
            return "unknown", f"default {name} is known to a run only"
        node = _inner(symbol.node, rest)
        value = _default_of(node, argument)
        if value is None:
            return "unknown", f"default {name} is known to a run only"
        if isinstance(value, ast.Name):
            return self._global("global", value.id, digest)
        try:
            literal = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError):
            return "unknown", f"default {name} is known to a run only"
        same = self._checks.digest(argument, literal) == digest
        return ("hit", "") if same else ("run", f"default {name} changed")

    def _global(self, kind: str, name: str, digest: str, shown: Any = None) -> tuple[str, str]:  # Any: as above
        symbol, rest = self._symbol(name)
        if symbol is None:
            if self._anything:
                return "unknown", self._anything
            if digest == "absent" or (kind == "builtin" or hasattr(builtins, name)):
                return "hit", ""
            return "run", f"{name} is not defined now"
        match symbol:
            case Pending(maker):
                return "depends", f"{name} comes from {maker}, which will run"
            case Unknown(why):
                return "unknown", why
            case Value(now) if not rest:
                return (
                    ("hit", "") if now == digest else ("run", self._changed_to(name, shown, self._history.shown(now)))
                )
            case Constant(value) if not rest:
                same = self._checks.digest(name, value) == digest
                return ("hit", "") if same else ("run", self._changed_to(name, shown, part_outline(name, value)))
            case Definition(node=ast.ClassDef() as node) if len(rest) == 1:
                return self._class_attribute(node, name, rest[0], digest)
        return "unknown", f"{name} is known to a run only"

    def _changed_to(self, name: str, before: object, now: object | None) -> str:
        """Return that a variable changed, and which column or item of it, where both values were told of."""
        if not before or now is None:
            return f"{name} changed"
        return f"{name} changed: {outline_diff(before, now)}"

    def _class_attribute(self, node: ast.ClassDef, name: str, attribute: str, digest: str) -> tuple[str, str]:
        if (value := self.names.get(name)) is not None:
            return self._global("global", name, digest) if isinstance(value, Value) else ("unknown", f"{name} changes")
        for statement in node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=found)], value=literal) if found == attribute:
                    break
                case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as literal) if found == attribute:
                    break
        else:
            return "unknown", f"{name} is known to a run only"
        try:
            same = self._checks.digest(name, ast.literal_eval(literal)) == digest
        except (ValueError, TypeError, SyntaxError):
            return "unknown", f"{name} is known to a run only"
        return ("hit", "") if same else ("run", f"{name} changed")

    def _symbol(self, name: str) -> tuple[Symbol | None, list[str]]:
        """Return what a dotted name begins with, and the rest of it; modules of the user's are gone through."""
        if name in self.names:
            return self.names[name], []
        first, *rest = name.split(".")
        symbol = self.names.get(first)
        if symbol is None and rest and (statics := self._checks.module(first)) is not None:
            return self._in_module(statics, rest)
        if isinstance(symbol, Imported) and symbol.attribute is not None:
            statics = self._checks.module(symbol.module)
            if statics is not None:
                return self._in_module(statics, [symbol.attribute, *rest])
        if isinstance(symbol, Imported) and rest and (statics := self._checks.module(symbol.module)) is not None:
            return self._in_module(statics, rest)
        return symbol, rest

    def _in_module(self, statics: Statics, rest: list[str]) -> tuple[Symbol | None, list[str]]:
        found = statics.known.get(rest[0])
        if found is None and rest[0] in statics.bound:
            return Unknown(f"{'.'.join(rest)} is computed when its module is imported"), []
        return found, rest[1:]

    # -- what a cell leaves ----------------------------------------------------------------------------------------

    def _leave(self, cell: CellText, plan: CellPlan, record: CellRecord | None) -> None:
        statics = cell.statics
        self._leave_process(cell, plan, record)
        if plan.state in ("hit", "live") and record is not None:
            self._leave_hit(cell, record)
            return
        runs = plan.state in ("run", "new", "depends", "unknown") or (cell.cached and not cell.live)
        is_pending = runs and plan.state != "unknown"

        def made(name: str) -> Symbol:
            return Pending(cell.name) if is_pending else Unknown(self._told(cell, plan, name))

        for name in statics.bound:
            self._forget(name)
            self.names[name] = statics.known.get(name) or made(name)
        for name in self._changed(cell, record if runs else None):
            if name in self.names and not isinstance(self.names[name], Imported) and name not in statics.known:
                self._forget(name)
                self.names[name] = made(name)
        for name in statics.deleted:
            self.names.drop(name)
        if plan.state == "live" and (statics.dynamic or statics.starred):
            why = statics.dynamic or f"`from {statics.starred[0]} import *` may bind any name"
            self._anything = f"cell {cell.index}: {why}"

    def _changed(self, cell: CellText, record: CellRecord | None) -> set[str]:
        """Return the names of what a cell that runs may change in place, by all names that may reach it."""
        changed = {*cell.statics.changed, *(() if record is None else record.changed)}
        if cell.tree is not None:
            changed |= Effects(self._function, self.names.classes.values()).of_cell(cell.tree)
        return closure([name for name in changed if not self._is_immutable(name)], self._aliases) | changed

    def _function(self, name: str) -> ast.AST | None:
        symbol, rest = self._symbol(name)
        return _inner(symbol.node, rest) if isinstance(symbol, Definition) else None

    def _is_immutable(self, name: str) -> bool:
        match self.names.get(name):
            case Value(digest):
                return " " in digest  # the value itself, as in "int 3"
            case Constant(value):
                return not isinstance(value, list | dict | set)
        return False

    def _forget(self, name: str) -> None:
        """Forget what is known of the attributes of a class that is bound anew, or changes."""
        for other in self.names.attributes.pop(name, ()):
            self.names.drop(other)

    def _leave_process(self, cell: CellText, plan: CellPlan, record: CellRecord | None) -> None:
        """Follow generators and settings, which cells leave to each other without a name."""
        if plan.state in ("hit", "live") and record is not None:
            self._generators.update({name: Value(state) for name, state in record.generators.items()})
            return
        if plan.state == "live" and cell.live in ("imports", "definitions", "constants"):
            return
        if plan.state == "live" and cell.live == "settings" and not cell.statics.dynamic:
            self._seed(cell)
            return
        draws = set() if record is None else {*record.traces.get("generators", {})}
        if record is None or record.code != cell.code:
            draws |= {*_GENERATORS} if self._may_draw(cell) else set()
        for name in draws:
            is_pending = plan.state in ("run", "new", "depends")
            self._generators[name] = Pending(cell.name) if is_pending else Unknown(self._told(cell, plan, name))

    def _may_draw(self, cell: CellText) -> bool:
        """Tell whether a cell calls what may draw: anything but builtins, and the standard library without `random`."""
        for call in () if cell.tree is None else text_of(cell.tree).calls:
            name = root_of(call.func)
            symbol = cell.statics.known.get(name) or self.names.get(name)
            if isinstance(symbol, Imported):
                package = symbol.module.partition(".")[0]
                if package not in sys.stdlib_module_names or package == "random":
                    return True
            elif isinstance(call.func, ast.Attribute) and call.func.attr in _QUIET:
                continue
            elif symbol is not None or (name and not hasattr(builtins, name)):
                return True
        return cell.tree is None

    def _seed(self, cell: CellText) -> None:
        """Follow the calls that seed a generator in a cell that does nothing but set up."""
        for chain, argument in cell.statics.seeds:
            first = cell.statics.known.get(chain[0]) or self.names.get(chain[0])
            path = list(chain)
            if isinstance(first, Imported) and first.level == 0:
                path = [*first.module.split("."), *([first.attribute] if first.attribute else []), *chain[1:]]
            name = ".".join(path[:-1])
            state = self._checks.seed(name, self._literal(cell, argument)) if name in _GENERATORS else None
            told = Unknown(f"cell {cell.index} seeds in a way that only a run can follow") if state is None else None
            self._generators.update({one: told or Value(state or "") for one in ([name] if state else _GENERATORS)})

    def _literal(self, cell: CellText, node: ast.expr | None) -> object:
        if isinstance(node, ast.Name):
            known = cell.statics.known.get(node.id) or self.names.get(node.id)
            return known.value if isinstance(known, Constant) else None
        try:
            return None if node is None else ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            return None

    def _leave_hit(self, cell: CellText, record: CellRecord) -> None:
        statics = cell.statics
        for name in statics.bound:
            known = statics.known.get(name)
            self._forget(name)
            if isinstance(known, Definition | Imported):
                self.names[name] = known
            elif record.made is None:
                self.names[name] = Unknown(f"the entry of {cell.name} is of an older version and does not tell {name}")
            elif name not in record.made and name not in record.deleted:
                self.names[name] = Unknown(f"{name} of {cell.name} has no fingerprint")
        for name, digest in (record.made or {}).items():
            if not isinstance(statics.known.get(name), Definition | Imported):
                self.names[name] = Value(digest)
        for name in record.unknown:
            if not isinstance(self.names.get(name), Definition | Imported):
                self.names[name] = Unknown(f"{name} of {cell.name} has no fingerprint")
        for name in record.changed:
            told = any(other.startswith(f"{name}.") for other in record.made or ())
            if isinstance(self.names.get(name), Definition) and not told:
                self.names[name] = Unknown(f"what {cell.name} changes of {name} is known to a run only")
        for name in record.deleted:
            self.names.drop(name)

    def _told(self, cell: CellText, plan: CellPlan, name: str) -> str:
        if plan.state == "unknown":
            return plan.reason  # the first cause; a chain of all the cells between would say less
        return f"{name} comes from cell {cell.index}, which is not cached"


def _without(used: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:  # Any: plain JSON data
    """Return what a run used of its process, but for these names of the environment."""
    if "environment" not in used:
        return dict(used)
    of_names = used["environment"]
    left = {**of_names, "names": {name: digest for name, digest in of_names["names"].items() if name not in names}}
    if "whole" in left:
        left["whole"] = sorted({*left["whole"], *names})
    return {**used, "environment": left}


def _standard_label(path: Sequence[str]) -> str | None:
    """Return under which name the standard library defines what it shows as `path`; None for other packages."""
    from awaitly_nb.keys import import_label

    if path[0] not in sys.stdlib_module_names:
        return None
    value: Any = None  # Any: a module, or something in it
    for count, name in enumerate(path, start=1):
        try:
            value = import_module(".".join(path[:count]))
        except ImportError:
            value = getattr(value, name, None)
    return None if value is None else import_label(value)


def _parsed(shown: Any) -> ast.AST | None:  # Any: plain JSON data
    import textwrap

    if not isinstance(shown, str) or not shown.strip():
        return None
    try:
        tree = ast.parse(textwrap.dedent(shown))
    except SyntaxError:
        return None
    if len(tree.body) != 1:
        return None
    statement = tree.body[0]
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Lambda):
        return statement.value
    return statement


def _served(
    plan: Callable[..., CellPlan], record: CellRecord, key: str | None, *, reason: str, differs: str = ""
) -> CellPlan:
    """Return the plan of a cell that an entry is served to."""
    return plan(
        state="hit",
        reason=reason,
        differs=differs,
        seconds=record.seconds,
        load_s=record.load_s,
        size_bytes=record.size_bytes,
        key=key,
    )


def _inner(node: ast.AST, path: Sequence[str]) -> ast.AST | None:
    """Return the definition inside another one that a dotted name leads to."""
    found: ast.AST | None = node
    for name in path:
        if found is None or name == "<locals>":
            continue
        inside = (n for n in ast.walk(found) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
        found = next((child for child in inside if child.name == name), None)
    return found


def _default_of(node: ast.AST | None, argument: str) -> ast.expr | None:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return None
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    for found, value in zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True):
        if found.arg == argument:
            return value
    named = {found.arg: value for found, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
    return named.get(argument)
