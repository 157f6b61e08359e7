"""What the text of a cell says without running it: what it binds, defines, imports, changes in place, and deletes.

Also which cells always run, because caching them could never pay: imports, definitions, constants and settings.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "BIND_NOTHING",
    "SEEDERS",
    "Constant",
    "Definition",
    "Imported",
    "Statics",
    "always_runs",
    "bound_by",
    "chain_of",
    "changed_by",
    "is_setter",
    "is_setting_target",
    "known_by",
    "made_names",
    "read_statics",
    "root_of",
    "sets_up",
]

_SETTERS = frozenset(
    {
        *("basicConfig", "filterwarnings", "simplefilter", "resetwarnings", "captureWarnings", "setLevel", "disable"),
        *("set_option", "reset_option", "set_printoptions", "seterr", "set_config", "set_flags", "set_page_config"),
        *("use", "set_theme", "set_style", "set_context", "set_palette", "rc", "rcdefaults", "reset_defaults"),
        *("set_matplotlib_formats", "set_default_renderers", "register_matplotlib_converters", "init_notebook_mode"),
        *("seed", "manual_seed", "set_seed", "set_random_seed", "seed_everything", "chdir", "setlocale"),
        *("setrecursionlimit", "load_dotenv", "pandas", "display_theme", "set_default_dtype", "enable", "install"),
    }
)
"""Last names of calls that set up a session."""
SEEDERS = frozenset({"seed", "manual_seed", "set_seed", "set_random_seed", "seed_everything"})
"""Last names of calls that seed a generator."""
_SETTING_TARGETS = frozenset({"environ", "rcParams", "options", "defaults", "path", "config", "templates", "prec"})
"""Names in an attribute chain that is assigned to set up a session: `plt.rcParams[...] = ...`."""
_SETTING_METHODS = frozenset({"update", "append", "insert", "setdefault", "add"})
_SETTING_MAGICS = frozenset({"run_line_magic"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_MUTATORS_WITHOUT_CHANGE = frozenset({"head", "tail", "describe", "info", "copy", "show", "plot", "print", "sample"})
_ONLY_READ = frozenset(
    {
        *("plot", "scatter", "bar", "barh", "hist", "boxplot", "violinplot", "imshow", "contour", "contourf", "stem"),
        *("pcolormesh", "fill_between", "errorbar", "pie", "annotate", "axhline", "axvline", "axis", "legend", "title"),
        *("heatmap", "lineplot", "scatterplot", "barplot", "histplot", "kdeplot", "countplot", "regplot", "jointplot"),
        *(
            "pairplot",
            "displot",
            "catplot",
            "relplot",
            "lmplot",
            "clustermap",
            "xlabel",
            "ylabel",
            "savefig",
            "suptitle",
        ),
        *("write", "dump", "info", "warning", "debug", "error", "critical", "print", "pprint", "display", "imsave"),
    }
)
_ONLY_READ_BEGINNINGS = ("set_", "to_", "assert_")
"""Methods that draw, write or tell, and leave what is passed to them as it is."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, lambda or class that a cell defines: its statement, and the text of it."""

    name: str
    node: ast.AST
    text: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that an import binds: the module, and the name taken of it (None for the module itself)."""

    module: str
    attribute: str | None = None
    level: int = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """A name that is bound to a literal."""

    value: object


@dataclass(slots=True)
class Statics:
    """What the top level of a cell says.

    Attributes
    ----------
    bound
        Names that it may bind, in order.
    known
        Of these, what the text alone tells: definitions, imports, constants.
    changed
        Names of objects that it may change in place.
    deleted
        Names that it deletes.
    seeds
        Calls at the top level that seed a generator: the dotted name, and what is passed.
    starred
        Modules of `from module import *`.
    dynamic
        Why the text cannot tell what it binds (`exec`, a magic); "" where it can.
    """

    bound: list[str] = field(default_factory=list)
    known: dict[str, Definition | Imported | Constant] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    seeds: list[tuple[tuple[str, ...], ast.expr | None]] = field(default_factory=list)
    starred: list[str] = field(default_factory=list)
    dynamic: str = ""


def read_statics(tree: ast.Module, source: str) -> Statics:
    """Return what a cell's syntax tree says; `source` is the text that it was parsed from.

    Examples
    --------
    >>> found = read_statics(ast.parse("import numpy as np; n = 3; x = np.ones(n)"), "")
    >>> found.bound, found.known["n"]
    (['np', 'n', 'x'], Constant(value=3))
    """
    found = Statics()
    for statement in tree.body:
        for name in bound_by(statement):
            if name not in found.bound:
                found.bound.append(name)
            found.known.pop(name, None)  # a later binding replaces what an earlier one told
        _note_known(statement, source, found)
        found.changed.extend(name for name in changed_by(statement) if name not in found.changed)
        match statement:
            case ast.Expr(value=ast.Call(func=ast.Attribute() | ast.Name() as func, args=args) as call):
                chain = tuple(chain_of(func))
                if chain and chain[-1] in SEEDERS:
                    found.seeds.append((chain, args[0] if len(args) == 1 and not call.keywords else None))
        if isinstance(statement, ast.Delete):
            found.deleted.extend(target.id for target in statement.targets if isinstance(target, ast.Name))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.starred.append("." * node.level + (node.module or ""))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval"):
            found.dynamic = f"{node.func.id}() may bind any name"
        elif (magic := _magic(node)) is not None and magic.lstrip("%") not in BIND_NOTHING and magic[0] != "!":
            found.dynamic = f"the magic {magic} may bind any name"
    return found


def always_runs(tree: ast.Module) -> str:
    """Return why a cell is run each time and never cached, or "" for a cell that may be worth caching.

    Examples
    --------
    >>> always_runs(ast.parse("import numpy as np"))
    'imports'
    >>> always_runs(ast.parse("n = 3; names = ['a', 'b']"))
    'constants'
    >>> always_runs(ast.parse("model = fit(data)"))
    ''
    """
    kinds = {_kind(statement) for statement in tree.body}
    kinds.discard("nothing")
    if "" in kinds:
        return ""
    if not kinds:
        return "nothing to run"
    order = ("settings", "definitions", "imports", "constants")
    return next(kind for kind in order if kind in kinds)


def made_names(tree: ast.Module) -> list[str]:
    """Return the variables that a cell makes: what it binds, without imports, definitions and loop variables."""
    names: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.With | ast.AsyncWith):
            for name in bound_by(statement):
                if name not in names and not name.startswith("_"):
                    names.append(name)
    return names


def _kind(statement: ast.stmt) -> str:
    match statement:
        case ast.Import() | ast.ImportFrom():
            return "imports"
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return "definitions"
        case ast.Pass():
            return "nothing"
        case ast.Expr(value=ast.Constant()):
            return "nothing" if isinstance(statement.value.value, str) else ""  # type: ignore[attr-defined]
        case ast.Expr(value=ast.Call() as call):
            return "settings" if sets_up(call) else ""
        case ast.Assign(targets=targets, value=value):
            if all(is_setting_target(target) for target in targets) and _is_constant(value):
                return "settings"
            if isinstance(value, ast.Lambda):
                return "definitions"
            return "constants" if all(_is_name(target) for target in targets) and _is_constant(value) else ""
        case ast.AnnAssign(value=value) if value is None or _is_constant(value):
            return "constants"
        case ast.If(test=test) if _is_main_check(test):
            return ""
    return ""


def sets_up(call: ast.Call) -> bool:
    """Tell whether a call sets up the session and does nothing else, as `pd.set_option("display.width", 80)`."""
    simple = all(_is_constant(arg) or isinstance(arg, ast.Starred | ast.Attribute | ast.Name) for arg in call.args)
    return (simple or _magic(call) is not None) and is_setter(call)


def is_setter(call: ast.Call) -> bool:
    """Tell whether a call sets up the session, by the name of what is called."""
    if _magic(call) is not None:
        return isinstance(call.func, ast.Attribute) and call.func.attr in _SETTING_MAGICS and _is_setting_magic(call)
    if isinstance(call.func, ast.Attribute):
        chain = chain_of(call.func)
        last = call.func.attr
        return last in _SETTERS or (last in _SETTING_METHODS and not _SETTING_TARGETS.isdisjoint(chain[1:-1]))
    return isinstance(call.func, ast.Name) and call.func.id in _SETTERS


_MAGICS_THAT_SET_UP = frozenset(
    {"matplotlib", "load_ext", "reload_ext", "config", "env", "set_env", "cd", "autoreload", "precision", "aimport"}
)


BIND_NOTHING = _MAGICS_THAT_SET_UP | {
    *("pip", "conda", "mamba", "ls", "ll", "pwd", "who", "whos", "who_ls", "lsmagic", "history", "hist", "pinfo"),
    *("timeit", "prun", "memit", "mprun", "lprun", "mkdir", "cat", "man", "page", "tb", "xmode", "doctest_mode"),
    *("bash", "sh", "script", "system", "html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG"),
    *("writefile", "file", "awaitly"),
}
"""Magics that bind no name of the user's; others may."""


def _is_setting_magic(call: ast.Call) -> bool:
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Constant) and first.value in _MAGICS_THAT_SET_UP


def is_setting_target(target: ast.expr) -> bool:
    """Tell whether assigning there sets up the session, as with `plt.rcParams["figure.dpi"]`."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return isinstance(target, ast.Attribute) and not _SETTING_TARGETS.isdisjoint(chain_of(target)[1:])


def _is_main_check(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _is_name(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(_is_name(item) for item in target.elts)
    return isinstance(target, ast.Name)


def _is_constant(value: ast.expr) -> bool:
    match value:
        case ast.Constant():
            return True
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return all(_is_constant(item) for item in items)
        case ast.Dict(keys=keys, values=values):
            return all(key is not None and _is_constant(key) for key in keys) and all(map(_is_constant, values))
        case ast.UnaryOp(operand=operand):
            return _is_constant(operand)
        case ast.Attribute(value=ast.Constant()):  # "{:.2f}".format
            return True
        case ast.BinOp(left=left, right=right):
            return _is_constant(left) and _is_constant(right)
    return False


def bound_by(statement: ast.AST) -> Iterator[str]:
    """Yield the names that a statement may bind in the cell's namespace."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
            return
        case ast.Lambda():
            return
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for node in ast.walk(statement):
                if isinstance(node, ast.NamedExpr):
                    yield node.target.id
            return
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.alias(name=name, asname=asname) if name != "*":
            yield asname or name.partition(".")[0]
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
        case ast.ExceptHandler():
            for inner in statement.body:
                yield from bound_by(inner)
            return
    for child in ast.iter_child_nodes(statement):
        yield from bound_by(child)


def known_by(statement: ast.stmt) -> dict[str, Definition | Imported | Constant]:
    """Return of the names that a statement binds what its text alone tells, without the text of definitions."""
    found = Statics()
    _note_known(statement, "", found)
    return found.known


def _note_known(statement: ast.AST, source: str, found: Statics) -> None:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            found.known[name] = Definition(name, statement, _text(source, statement))
        case ast.Import(names=aliases):
            for alias in aliases:
                name = alias.asname or alias.name.partition(".")[0]
                found.known[name] = Imported(alias.name if alias.asname else name)
        case ast.ImportFrom(names=aliases, module=module, level=level):
            for alias in aliases:
                if alias.name != "*":
                    found.known[alias.asname or alias.name] = Imported(module or "", alias.name, level)
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                _note_assigned(target, value, source, found)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            _note_assigned(target, value, source, found)


def _note_assigned(target: ast.expr, value: ast.expr, source: str, found: Statics) -> None:
    match target, value:
        case ast.Name(id=name), ast.Lambda():
            found.known[name] = Definition(name, value, _text(source, value))
        case ast.Name(id=name), _:
            _note_literal([name], value, found)
        case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
            for one, part in zip(names, values, strict=True):
                _note_assigned(one, part, source, found)


def _note_literal(names: Iterable[str], value: ast.expr, found: Statics) -> None:
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return
    for name in names:
        found.known[name] = Constant(literal)


def changed_by(statement: ast.AST) -> Iterator[str]:
    """Yield names of objects that a statement may change in place: by item, attribute, operator or method."""
    for node in ast.walk(statement):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                continue
            case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.Attribute(ctx=ast.Store() | ast.Del()):
                if root := root_of(node):
                    yield root
            case ast.AugAssign(target=ast.Name(id=name)):
                yield name
            case ast.Expr(value=ast.Call() as call):
                yield from _changed_by_call(call)
            case ast.Call(keywords=keywords) if any(
                keyword.arg == "inplace" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
                for keyword in keywords
            ):
                if root := root_of(node.func):
                    yield root
            case ast.Call(func=ast.Attribute(attr=attr) as func) if attr.startswith(("fit", "partial_fit", "train")):
                if root := root_of(func):
                    yield root


def _changed_by_call(call: ast.Call) -> Iterator[str]:
    if isinstance(call.func, ast.Attribute) and call.func.attr not in _MUTATORS_WITHOUT_CHANGE:
        if root := root_of(call.func):
            yield root
    elif isinstance(call.func, ast.Name) and call.func.id in ("print", "display", "len", "repr"):
        return
    if isinstance(call.func, ast.Attribute) and _only_reads(call.func.attr):
        return
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        if isinstance(argument, ast.Name):
            yield argument.id


def _only_reads(method: str) -> bool:
    return method in _ONLY_READ or method.startswith(_ONLY_READ_BEGINNINGS)


def root_of(node: ast.AST) -> str:
    """Return the name that an expression such as `a.b[0].c()` begins with, or ""."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def chain_of(node: ast.AST) -> list[str]:
    """Return the names of a dotted name in order; empty for what is none."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        names.append(node.id)
    return names[::-1]


def _magic(node: ast.AST) -> str | None:
    """Return the name of the magic that IPython turned into this call, or None."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    owner = node.func.value
    if not (isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "get_ipython"):
        return None
    first = node.args[0] if node.args else None
    name = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    return {"run_line_magic": f"%{name}", "run_cell_magic": f"%%{name}"}.get(node.func.attr, f"!{name}")


def _text(source: str, node: ast.AST) -> str:
    if not source:
        return ""
    lines = source.splitlines(keepends=True)
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])  # type: ignore[attr-defined]
    if isinstance(node, ast.Lambda):
        return ast.get_source_segment(source, node) or ""
    return "".join(lines[first - 1 : getattr(node, "end_lineno", None) or first])
