"""The code of a cell as IPython understands it: what it binds and reads, whether it awaits, and how to run and stop it.

Runs the statements itself instead of nesting `shell.run_cell`, because a nested cell shows and swallows its exception,
and counts as a cell of its own in the history and in the events.

While a cell awaits, ipykernel answers SIGINT by asking the loop to cancel the cell, and the loop cannot do so before
blocking code on its thread ends. So every stretch of the cell that runs without giving way to the loop is made
interruptible, as the engine does for blocking steps; in between, ipykernel's own handler cancels what is awaited. That
handler does not wake a loop that sleeps (on 7.4, Stop during `await asyncio.sleep(8)` took 8 s), so it is woken.
"""

from __future__ import annotations

import ast
import linecache
import re
import signal
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import CO_COROUTINE
from keyword import iskeyword
from types import coroutine
from typing import TYPE_CHECKING, Any

from awaitly_nb.config import settled
from awaitly_nb.errors import MisuseError
from awaitly_nb.interrupts import interruptible
from awaitly_nb.keys import import_again
from awaitly_nb.plans import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Generator, Iterable, Iterator, Mapping
    from types import TracebackType

    from awaitly_nb.notebook.shell import Compiler, Shell

__all__ = [
    "Body",
    "awaits",
    "hide_handler",
    "is_typed",
    "read_body",
    "read_only",
    "register_lines",
    "stoppable",
    "transformed",
    "wake_on_stop",
]

_SHELL_LINES = frozenset({"sx", "system", "pip", "conda", "mamba", "micromamba", "uv"})
_SHELL_CELLS = frozenset(
    {"!", "bash", "sh", "cmd", "script", "sx", "system", "perl", "ruby", "pypy", "python", "python3"}
)
_SETTINGS = frozenset(
    {
        *("matplotlib", "load_ext", "reload_ext", "unload_ext", "config", "autoreload", "precision", "gui", "xmode"),
        *("alias", "alias_magic", "unalias", "rehashx", "automagic", "colors", "pdb", "doctest_mode"),
    }
)
_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_CLASS_MAKERS = frozenset(
    {"namedtuple", "NamedTuple", "TypedDict", "NewType", "make_dataclass", "Enum", "IntEnum"}
    | {"TypeVar", "ParamSpec", "TypeVarTuple"}
)
_BLOCKS: tuple[type[ast.stmt], ...] = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.AsyncFor, ast.While),
    *(ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
)
_WORD = re.compile(r"[^\W\d]\w*")
_ASYNC = re.compile("await|async")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A cell's code, read once.

    Attributes
    ----------
    source
        As the user typed it, below the first line.
    python
        The same after IPython's transformations: magics are calls now.
    filename
        Under which name the cell's lines are registered for tracebacks and for `inspect`.
    tree
        Its syntax tree.
    is_async
        True when it awaits at its top level.
    stores
        Names that it binds at its top level.
    imports
        Modules that its import statements name, dotted names in full.
    hides
        True when it has nested magics, whose text may read and bind variables.
    settings
        Nested line magics that set up the session, as `(name, line)`.
    shell_commands
        What would leave Python, as typed.
    commands
        The whole text of these.
    """

    source: str
    python: str
    filename: str
    tree: ast.Module
    is_async: bool
    stores: frozenset[str]
    imports: tuple[str, ...]
    hides: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    shell_commands: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    def key_source(self, namespace: Mapping[str, Any]) -> str:  # Any: a namespace holds anything
        """Return the code that the key is made of: what nested magics hide in text is spelt out before them."""
        if not self.hides:
            return self.python
        tree = _Spelling(namespace).visit(ast.parse(self.python))
        return ast.unparse(ast.fix_missing_locations(tree))

    def run(self, shell: Shell, defined: Callable[[Iterable[str], float], None] | None = None) -> None:
        """Run the statements in the user's namespace; an exception leaves as it is.

        Parameters
        ----------
        defined
            Is called after each import and each definition that `define` would run, with the names that it binds and
            the seconds that it took.
        """
        __tracebackhide__ = True
        definitions = _definitions(self.tree.body)
        with settled(on=False):
            for statement, code, _ in self._codes(shell):
                began = time.perf_counter()
                exec(code, shell.user_global_ns, shell.user_ns)  # noqa: S102 - running the user's cell is the purpose
                if defined is not None and statement in definitions:
                    defined(_defined_names(statement), time.perf_counter() - began)

    async def run_async(self, shell: Shell, defined: Callable[[Iterable[str], float], None] | None = None) -> None:
        """Run the statements and await those that await; the Stop button reaches blocking ones too."""
        __tracebackhide__ = True
        definitions = _definitions(self.tree.body)
        for statement, code, waits in self._codes(shell):
            began = time.perf_counter()
            if waits:
                await stoppable(eval(code, shell.user_global_ns, shell.user_ns))  # noqa: S307 - as above
            else:
                with interruptible():
                    exec(code, shell.user_global_ns, shell.user_ns)  # noqa: S102 - as above
            if defined is not None and statement in definitions:
                defined(_defined_names(statement), time.perf_counter() - began)

    @property
    def modules(self) -> list[str]:
        """The modules that it imports, or imports from."""
        origins = [node.module for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom) and node.module]
        return list(dict.fromkeys([*self.imports, *origins]))

    @property
    def lines(self) -> str:
        """The text that the cell's line numbers count in."""
        return "".join(linecache.getlines(self.filename))

    def unassigned(self, wanted: Collection[str], namespace: Mapping[str, Any]) -> list[str]:  # Any: as above
        """Return the names that the code cannot bind or change; none where it may bind names that nobody can tell."""
        if not wanted:
            return []
        nodes = list(ast.walk(self.tree))
        named = {node.id for node in nodes if isinstance(node, ast.Name)}
        if self.hides or named & {"globals", "locals", "vars", "exec", "eval", "get_ipython"}:
            return []
        if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes):
            return []
        declared = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
        # A variable that the code names may be changed in place, by a function that it calls perhaps.
        return [
            name for name in wanted if name not in self.stores | declared and not (name in named and name in namespace)
        ]

    def define(self, shell: Shell) -> None:
        """Run the imports and definitions of the top level, and nothing else."""
        import_again(self.modules)
        code = shell.compile(ast.Module(_definitions(self.tree.body), []), self.filename, "exec")
        exec(code, shell.user_global_ns, shell.user_ns)  # noqa: S102 - a part of the user's cell

    def _codes(self, shell: Shell) -> Iterator[tuple[ast.stmt, Any, bool]]:  # Any: code objects, which exec takes
        """Yield each top-level statement, compiled, and whether it awaits, with the last ones in display mode."""
        statements = list(self.tree.body)
        shown = _shown(statements, shell.ast_node_interactivity)
        if _ends_in_semicolon(self.python):
            shown = shown[:-1] if shell.ast_node_interactivity == "all" else []
        for statement in statements:
            import_again(_imported_by(statement))
            mode = "single" if statement in shown else "exec"
            module = ast.Interactive([statement]) if mode == "single" else ast.Module([statement], [])
            with shell.compile.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if shell.autoawait else 0):
                code = shell.compile(module, self.filename, mode)
            yield statement, code, bool(code.co_flags & CO_COROUTINE)


def awaits(python: str) -> bool | None:
    """Tell whether this Python code awaits at its top level; None for code that does not compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # told where the cell is compiled to run
            code = compile(python, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError):
        return None
    return bool(code.co_flags & CO_COROUTINE)


def read_body(shell: Shell, first_line: str | None, source: str) -> Body:
    """Read a cell's code as the shell would.

    Parameters
    ----------
    shell
        Whose transformations, compiler and numbering apply.
    first_line
        The magic's own line; it keeps the line numbers of tracebacks equal to those the user sees. None where the user
        typed none.
    source
        The code below it.

    Raises
    ------
    SyntaxError
        The code does not parse.
    """
    python = source if first_line is None and _is_plain(shell, source) else transformed(shell, source)
    numbered = python if first_line is None else f"# %%awaitly {first_line}\n{python}"
    raw = source if first_line is None else f"%%awaitly {first_line}\n{source}"
    # Not `execution_count`, which some versions of IPython raise before the cell runs.
    number = max(0, len(shell.user_ns.get("_ih", ())) - 1) or shell.execution_count
    filename = shell.compile.cache(numbered, number, raw_code=raw)
    tree = shell.transform_ast(shell.compile.ast_parse(numbered, filename=filename))
    magics = list(_magics(tree))
    nested = [parsed for _, _, text in magics if (parsed := _parse(text)) is not None]
    return Body(
        source=source,
        python=python,
        filename=filename,
        tree=tree,
        is_async=shell.autoawait and _ASYNC.search(python) is not None and bool(awaits(python)),
        stores=frozenset().union(*(_stores(module) for module in (tree, *nested))),
        imports=tuple(dict.fromkeys(_imports(tree))),
        hides=bool(magics),
        settings=tuple((name, text) for kind, name, text in magics if kind == "line" and name in _SETTINGS),
        shell_commands=tuple(_shown_command(*magic) for magic in magics if _leaves_python(*magic)),
        commands=tuple(magic[2] for magic in magics if _leaves_python(*magic)),
    )


_reading: list[None] = []


@contextmanager
def read_only() -> Iterator[None]:
    """Transform cells in this block as IPython does when nobody runs them: automatic mode leaves them alone."""
    _reading.append(None)
    try:
        yield
    finally:
        _reading.pop()


def transformed(shell: Shell, source: str) -> str:
    """Return a cell's text as IPython turns it into Python, when nobody runs it."""
    with read_only():
        return shell.transform_cell(source)


def _is_plain(shell: Shell, source: str) -> bool:
    """Tell whether a text that has been transformed once is Python which nobody but IPython itself would transform."""
    manager = shell.input_transformer_manager
    transforms = (*manager.cleanup_transforms, *manager.line_transforms, *manager.token_transformers)
    homes = {str(transform.__module__).partition(".")[0] for transform in transforms}
    return homes <= _TRANSFORM and not shell.input_transformers_post and parsed(source) is not None


_TRANSFORM = frozenset({"IPython", __name__.partition(".")[0]})


def is_typed() -> bool:
    """Tell whether the text that is being transformed is a cell that will run, and not one that is only read."""
    return not _reading


def register_lines(compiler: Compiler, filename: str, source: str, *, like: str) -> None:
    """Let `inspect` and tracebacks find the lines of a cell that ran in an earlier kernel.

    Parameters
    ----------
    compiler
        Knows the numbers of cells.
    filename, source
        What the code is compiled under, and its lines.
    like
        The name that the same cell goes by now: tracebacks tell its number.
    """
    if filename not in linecache.cache:
        lines = [line + "\n" for line in source.splitlines()]
        linecache.cache[filename] = (len(source), None, lines, filename)
    numbers = compiler._filename_map  # noqa: SLF001 - `cache` would make another name, and the code has this one
    numbers[filename] = numbers[like]


def _shown(statements: list[ast.stmt], interactivity: str) -> list[ast.stmt]:
    """Return the statements whose value is displayed, by IPython's own setting; may append one that shows a name."""
    if not statements or interactivity == "none":
        return []
    last = statements[-1]
    match interactivity:
        case "all":
            return statements
        case "last":
            return [last]
        case "last_expr":
            return [last] if isinstance(last, ast.Expr) else []
        case "last_expr_or_assign":
            if isinstance(last, ast.Assign | ast.AnnAssign | ast.AugAssign):
                target = last.targets[0] if isinstance(last, ast.Assign) and len(last.targets) == 1 else None
                target = last.target if isinstance(last, ast.AnnAssign | ast.AugAssign) else target
                if isinstance(target, ast.Name):
                    shown = ast.copy_location(ast.Expr(ast.copy_location(ast.Name(target.id, ast.Load()), last)), last)
                    statements.append(shown)
                    return [shown]
            return [last] if isinstance(last, ast.Expr) else []
    raise MisuseError(f"unknown ast_node_interactivity {interactivity!r}")


def _definitions(statements: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Return the imports and definitions that can run by themselves, without the variables that the others assign."""
    found: list[ast.stmt] = []
    absent: set[str] = set()
    for statement in statements:
        binds = _stores(ast.Module([statement], []))
        alone = isinstance(statement, ast.Import | ast.ImportFrom) or _reads_at_once(statement).isdisjoint(absent)
        if _is_definition(statement) and alone:
            found.append(statement)
            absent -= binds
        else:
            absent |= binds
    return found


def _reads_at_once(statement: ast.stmt) -> set[str]:
    """Return the names that a definition looks up when it runs: not those of what functions do once they are called."""
    names: set[str] = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        match node := waiting.pop():
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                waiting += [*node.decorator_list, node.args, *filter(None, [node.returns])]
            case ast.Lambda():
                waiting.append(node.args)
            case ast.Name(ctx=ast.Load()):
                names.add(node.id)
            case _:
                waiting += ast.iter_child_nodes(node)
    return names


def _defined_names(statement: ast.stmt) -> list[str]:
    """Return the names of what a pickle would only name, or copy: a class, a decorated function, what a module has."""
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names if alias.name != "*"]
    if isinstance(statement, ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.decorator_list:
        return [statement.name]
    if isinstance(statement, ast.Assign) and _makes_class(statement):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def _is_definition(statement: ast.stmt) -> bool:
    return isinstance(statement, _DEFINITIONS) or _makes_class(statement)


def _makes_class(statement: ast.stmt) -> bool:
    """Tell whether this is `Point = namedtuple(...)` or the like."""
    if not (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)):
        return False
    function = statement.value.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in _CLASS_MAKERS


def _ends_in_semicolon(python: str) -> bool:
    if ";" not in python:
        return False
    from IPython.core.displayhook import DisplayHook

    return bool(DisplayHook.semicolon_at_end_of_expression(python))  # type: ignore[no-untyped-call]


def _stores(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    waiting = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Its loop variables are its own; only `:=` reaches out of it.
                names.update(n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
                continue
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.alias() if node.name != "*":
                names.add(node.asname or node.name.partition(".")[0])
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                names.add(name)
        waiting.extend(ast.iter_child_nodes(node))
    return names


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _imported_by(statement: ast.stmt) -> Iterator[str]:
    """Yield the modules that a statement imports while it runs itself."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        match waiting.pop():
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.expr():
                pass
            case node:
                waiting.extend(ast.iter_child_nodes(node))


def _magics(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Yield `(kind, name, text)` of each magic or shell command: IPython turned them into calls of `get_ipython()`."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        if not (isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "get_ipython"):
            continue
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        match node.func.attr, texts:
            case "run_line_magic", [name, text]:
                yield "line", name, text
            case "run_cell_magic", [name, line, cell]:
                yield "cell", name, f"{line}\n{cell}"
            case "system" | "system_raw" | "system_piped" | "getoutput", [command]:
                yield "shell", "!", command


class _Spelling(ast.NodeTransformer):
    """Puts before each statement what its magics hide: their code where it is Python, else the variables it names."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:  # Any: a namespace holds anything
        self._namespace = namespace

    def visit(self, node: ast.AST) -> Any:  # Any: ast's own protocol
        visited = self.generic_visit(node)
        if not isinstance(node, ast.stmt) or isinstance(node, _BLOCKS):
            return visited
        spelt = [statement for _, _, text in _magics(node) for statement in self._spelt(text)]
        return [*spelt, visited]

    def _spelt(self, text: str) -> list[ast.stmt]:
        for code in (text, text.partition("\n")[2]):
            if code and (parsed := _parse(code)) is not None:
                return parsed.body
        words = [word for word in dict.fromkeys(_WORD.findall(text)) if word in self._namespace and not iskeyword(word)]
        return [ast.Expr(ast.Tuple([ast.Name(word, ast.Load()) for word in words], ast.Load()))] if words else []


def _leaves_python(kind: str, name: str, text: str) -> bool:  # noqa: ARG001 - the same three parts everywhere
    return kind == "shell" or (kind == "line" and name in _SHELL_LINES) or (kind == "cell" and name in _SHELL_CELLS)


def _shown_command(kind: str, name: str, text: str) -> str:
    sign = {"shell": "", "line": "%", "cell": "%%"}[kind]
    first = text.strip().partition("\n")[0]
    return f"!{first}" if kind == "shell" else f"{sign}{name} {first}".strip()


def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def wake_on_stop() -> None:
    """Let ipykernel's handler for an awaiting cell wake the event loop; does nothing where that is not in force.

    Called when a cell begins. ipykernel puts its own handler of before back when the cell ends.
    """
    import asyncio

    previous = signal.getsignal(signal.SIGINT)
    if not callable(previous) or "_cancel_on_sigint" not in getattr(previous, "__qualname__", ""):
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return

    def handler(signum: int, frame: Any) -> None:  # Any: the interpreter's frame
        previous(signum, frame)
        loop.call_soon_threadsafe(lambda: None)

    signal.signal(signal.SIGINT, handler)


def hide_handler(traceback: TracebackType | None) -> None:
    """Cut the signal handler off the end of an interrupt's traceback, so that it ends where the user's code was."""
    while traceback is not None and traceback.tb_next is not None:
        if traceback.tb_next.tb_frame.f_globals.get("__name__") == interruptible.__module__:
            traceback.tb_next = None
        traceback = traceback.tb_next


@coroutine
def stoppable(coro: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:  # Any: what passes between task and loop
    """Drive `coro`, with SIGINT raising `KeyboardInterrupt` in it whenever it is not waiting for the loop."""
    resume: Callable[[Any], Any] = coro.send
    argument: Any = None
    while True:
        try:
            with interruptible():
                awaited = resume(argument)
        except StopIteration as end:
            return end.value
        try:
            argument = yield awaited
            resume = coro.send
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as exc:  # noqa: BLE001 - handed to the coroutine, which raises it on
            resume, argument = coro.throw, exc.with_traceback(None)  # as if the loop had spoken to it directly
