"""Statements that have a library do something which nobody watches: `tracemalloc.start()`, `pio.templates.default = x`.

A statement that only calls a function is there for what the call does. If that gives no value, changes no variable and
no watched state, a hit cannot do it again, so the cell is not stored. A library is trusted to do nothing of the kind by
being named here; what is not named is doubted. Calls that are given a variable are taken to act on that, and changed
variables are seen; so are files.

What looks a variable or a module up by a name that only running tells, as `globals()[name]` and `eval(text)` do, is
doubted too: the key of the cell does not hold what it finds. So is what asks for a number that another process would
not give, as `id(x)` and `os.getpid()` do: what is stored would be that of no object and of no process.
"""

from __future__ import annotations

import ast
import sys
from abc import ABCMeta
from dataclasses import dataclass
from functools import lru_cache
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from awaitly_nb.keys import function_text, is_user_class, is_user_function, is_user_module
from awaitly_nb.notebook.ledger.attributes import is_hung

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["unwatched"]

Names: TypeAlias = "Mapping[str, Any]"
"""A namespace, which holds anything."""


@dataclass(frozen=True, slots=True)
class _Deed:
    """A call or an assignment by its dotted name.

    Attributes
    ----------
    chain
        The names of what is called, or set, in order.
    given
        The names that are arguments or parts of them.
    sets
        True for an assignment.
    last
        True where the value of the cell is that of the call.
    inner
        True for a call whose value is used: only what is known to do something unseen is doubted then.
    """

    chain: tuple[str, ...]
    given: frozenset[str]
    sets: bool = False
    last: bool = False
    inner: bool = False


def unwatched(source: str, functions: Iterable[FunctionType], namespace: Names, *, shown: bool) -> str:
    """Return why nobody can tell what a cell leaves in the process; empty where its statements are watched.

    Parameters
    ----------
    source
        The cell's code.
    functions
        Functions of the user's that it may call.
    namespace
        The user's variables, after it has run.
    shown
        Whether the cell has shown a value.
    """
    if told := _doubted_lookup(source, namespace, of_cell=True):
        return told
    for statement in _statements(source, of_cell=True):
        if name := _doubted(statement, namespace, shown=shown):
            return _told(name, statement)
    for function in functions:
        text = function_text(function)
        if told := _doubted_lookup(text, function.__globals__, of_cell=False):
            return f"{function.__name__}: {told}"
        for statement in _statements(text, of_cell=False):
            if name := _doubted(statement, function.__globals__, shown=False):
                return _told(name, statement)
    return ""


def _told(name: str, statement: _Deed) -> str:
    if name == _ABSTRACT:
        return "it may register a class with an abstract one"
    return f"nobody can tell what {'setting ' if statement.sets else ''}{name} leaves"


def _parsed(source: str, *, of_cell: bool) -> ast.Module:
    try:
        return ast.parse(source if of_cell else f"if 1:\n{_indented(source)}")
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def _doubted_lookup(source: str, namespace: Names, *, of_cell: bool) -> str:
    """Return why the key of a cell cannot hold all that the code finds; else nothing."""
    for builtin, told, module in _lookups(source, of_cell=of_cell):
        loaded = sys.modules.get(module) if module is not None else None
        if builtin not in namespace and (loaded is None or is_user_module(loaded)):
            return told
    return ""


@lru_cache(maxsize=1000)
def _lookups(source: str, *, of_cell: bool) -> tuple[tuple[str, str, str | None], ...]:
    """Return what looks up names that the code does not tell.

    Each is the built-in function that does, or nothing, with what to tell, and the module where that is all it loads.
    """
    if not any(name in source for name in (*_LOOKING, *_OF_PROCESS, *_OF_FILES, *_OF_TEXTS)):
        return ()
    found: dict[tuple[str, str, str | None], None] = {}
    tree = _parsed(source, of_cell=of_cell)
    waiting: list[tuple[ast.AST, bool]] = [(tree, of_cell)]
    while waiting:
        node, at_top = waiting.pop()
        match node:
            # The name is told, or one is only written: what a cell leaves is seen.
            case (
                ast.Subscript(value=ast.Call(func=ast.Name(id="globals")), slice=ast.Constant())
                | ast.Subscript(value=ast.Call(func=ast.Name(id="globals")), ctx=ast.Store())
                | ast.Subscript(value=ast.Attribute(attr="user_ns"), ctx=ast.Store())
            ):
                waiting.append((node.slice, at_top))
                continue
            case ast.Compare(
                left=ast.Constant(), ops=[ast.In() | ast.NotIn()], comparators=[ast.Call(func=ast.Name(id="globals"))]
            ) if of_cell:
                continue
            case ast.Call(func=ast.Name(id="eval" | "exec" as name), args=[code]) if not isinstance(code, ast.Constant):
                found[name, f"{name}(...) may read any variable", None] = None
            case ast.Call(func=ast.Name(id="globals"), args=[]):
                found["globals", "globals() may read any variable", None] = None
            case ast.Call(func=ast.Name(id="locals" | "vars" | "dir" as name), args=[]) if at_top:
                found[name, f"{name}() may read any variable", None] = None
            case ast.Attribute(attr="user_ns" | "user_global_ns" | "f_globals" | "f_locals" as name):
                found["", f"{name} may read any variable", None] = None
            case ast.Subscript(slice=ast.Constant(value="__main__")):
                found["", "sys.modules may read any variable", None] = None
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[wanted, *_],
            ):
                literal = wanted.value if isinstance(wanted, ast.Constant) and isinstance(wanted.value, str) else None
                told = "a module that is imported by a call is no input: write `import`"
                found["", told, literal] = None
        inside = at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        waiting.extend((child, inside) for child in ast.iter_child_nodes(node))
    found |= {(builtin, f"{told} is another one in each process", None): None for builtin, told in _numbers(tree)}
    found |= {("", told, None): None for told in _no_inputs(tree, of_cell=of_cell)}
    return tuple(found)


def _no_inputs(tree: ast.AST, *, of_cell: bool) -> Iterator[str]:
    """Yield what the code asks for, and no key holds."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in _OF_FILES:
                yield f"{name}: when a file was written is no input"
            case ast.Attribute(attr=name, ctx=ast.Load()) | ast.Name(id=name) if of_cell and name in _OF_TEXTS:
                yield f"{name}: comments, docstrings and line numbers are no input"


def _numbers(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the calls that give a number of this process, each with the built-in function that does, or nothing."""
    waiting = [tree]
    while waiting:
        match node := waiting.pop():
            case ast.FunctionDef(name=name) if name in _FOR_PYTHON:
                continue
            # Whether they are one object is the same in each process.
            case ast.Compare(
                left=ast.Call(func=ast.Name(id="id"), args=[one]),
                ops=[ast.Eq() | ast.NotEq()],
                comparators=[ast.Call(func=ast.Name(id="id"), args=[other])],
            ):
                waiting += [one, other]
                continue
            case ast.Call(func=ast.Name(id="id" | "hash" as name), args=[_]):
                yield name, f"{name}(...)"
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in _OF_PROCESS:
                yield "", f"{name}()"
        waiting += ast.iter_child_nodes(node)


@lru_cache(maxsize=1000)
def _statements(source: str, *, of_cell: bool) -> tuple[_Deed, ...]:
    tree = _parsed(source, of_cell=of_cell)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    last = tree.body[-1] if of_cell and tree.body else None
    return tuple(found for node in _inside(tree, used) for found in _read(node, is_last=node is last) if found.chain)


def _indented(source: str) -> str:
    return "".join(f" {line}" for line in source.splitlines(keepends=True))


def _inside(node: ast.AST, used: set[str]) -> Iterator[ast.stmt]:
    """Yield the statements that run; those of a function that is only defined do not, those of a method may."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and isinstance(node, ast.Module):
                yield from _inside(child, used) if child.name in used else ()
            else:
                yield from _inside(child, used)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from _inside(child, used)


def _read(node: ast.stmt, *, is_last: bool) -> Iterator[_Deed]:
    match node:
        case ast.Expr(value=ast.Call() as call) | ast.Expr(value=ast.Await(value=ast.Call() as call)):
            values = (*call.args, *(keyword.value for keyword in call.keywords))
            yield _Deed(_chain(call.func), frozenset(_named(values)), last=is_last)
        case (
            ast.Assign(targets=[ast.Attribute() | ast.Subscript() as target])
            | ast.AugAssign(target=ast.Attribute() | ast.Subscript() as target)
        ):
            yield _Deed(_chain(target), frozenset(), sets=True)
        case ast.FunctionDef(decorator_list=decorators) | ast.ClassDef(decorator_list=decorators):
            chains = [_chain(one.func if isinstance(one, ast.Call) else one) for one in decorators]
            yield from (_Deed(chain, frozenset()) for chain in chains if chain[-1:] == ("register",))
        case ast.Assign(value=ast.Call(func=func)) | ast.AnnAssign(value=ast.Call(func=func)):
            yield _Deed(_chain(func), frozenset(), inner=True)


def _chain(node: ast.AST) -> tuple[str, ...]:
    names: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        names.append(node.attr if isinstance(node, ast.Attribute) else "[]")
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def _named(values: Iterable[ast.expr]) -> Iterator[str]:
    for value in values:
        for node in ast.walk(value):
            if isinstance(node, ast.Name):
                yield node.id


def _doubted(statement: _Deed, names: Names, *, shown: bool) -> str:
    """Return the full name of what is called or set, where nobody watches that; else nothing."""
    if statement.sets:
        owner, value = _led_to(statement.chain[:-1], names)
        # Attributes of modules and classes have a watcher of their own.
        if not owner or isinstance(value, ModuleType | type):
            return ""
        is_part = statement.chain[-1] != "[]" and owner.partition(".")[0] in _WITHOUT_PARTS
        if _is_trusted(owner) and not is_part and not _is_its_own(owner, value):
            return ""
        return f"{owner}.{statement.chain[-1]}".replace(".[]", "[...]")
    name, value = _led_to(statement.chain, names)
    if statement.chain[-1] == "register" and isinstance(getattr(value, "__self__", None), ABCMeta):
        return _ABSTRACT
    if statement.inner or (statement.last and shown and not isinstance(value, type)):
        return name if name and _is_known(name) else ""
    is_users = isinstance(value, FunctionType) and is_user_function(value)  # what it does is read in its own code
    if not name or is_users or not callable(value):
        return ""
    if _is_trusted(name):
        # What an earlier cell has hung into it is seen to be changed.
        return name if _is_its_own(name, getattr(value, "__self__", None)) and statement.chain[-1] in _CHANGING else ""
    acts_on_given = any(_is_variable(names.get(one)) for one in statement.given) and not _is_known(name)
    return "" if acts_on_given else name


_ABSTRACT = "an abstract class"
_LOOKING = (
    *("eval", "exec", "globals", "locals", "vars", "dir", "user_ns", "user_global_ns", "f_globals", "f_locals"),
    *("__main__", "import_module", "__import__", "id(", "hash("),
)
_OF_PROCESS = ("getpid", "getppid", "get_ident", "get_native_id")
_OF_FILES = ("getmtime", "getatime", "getctime", *(f"st_{one}time{ns}" for one in "mac" for ns in ("", "_ns")))
_OF_TEXTS = (
    *("__doc__", "getdoc", "getcomments", "getsource", "getsourcelines", "getsourcefile"),
    *("co_firstlineno", "co_lines", "tb_lineno", "f_lineno"),
)
_FOR_PYTHON = ("__hash__", "__eq__", "__deepcopy__", "__copy__", "__repr__", "__str__")
"""Methods whose `id` and `hash` do not outlive what Python calls them for."""


def _led_to(chain: tuple[str, ...], names: Names) -> tuple[str, Any]:  # Any: whatever there is
    """Return what a chain of names leads to, and its full name, which is empty for what is not a library's."""
    if not chain or chain[0] not in names or "[]" in chain[:-1]:
        return "", None
    value = names[chain[0]]
    home = _home(value)
    if not home and not isinstance(value, type):  # a variable: what it is asked to do is its own
        return "", None
    for name in chain[1:]:
        if name == "[]":
            break
        try:
            value = getattr(value, name)
        except Exception:  # noqa: BLE001 - user code may raise anything
            return "", None
        home = value.__name__ if isinstance(value, ModuleType) else home and f"{home}.{name}"
    return home, value


def _home(value: object) -> str:
    """Return the full name of a library's module, class or function; empty for variables and for the user's own."""
    match value:
        case ModuleType():
            return "" if is_user_module(value) else value.__name__
        case type():
            return "" if is_user_class(value) else _full_name(value)
        case FunctionType():
            return "" if is_user_function(value) else _full_name(value)
        case BuiltinFunctionType() | BuiltinMethodType():
            return _full_name(value) if isinstance(value.__self__, ModuleType) or value.__module__ else ""
        case MethodType():
            return _full_name(value.__func__) if isinstance(value.__self__, type) else ""
    return ""


def _full_name(value: Any) -> str:  # Any: a function or class
    module = str(value.__module__ or "builtins")
    if module == "__main__":  # a function of the user's, wrapped by one that a decorator of a library has made
        module = str(value.__globals__["__name__"])
    module = "os" if module == "posix" else module.removeprefix("_")
    return f"{module}.{value.__qualname__}"


def _is_variable(value: object) -> bool:
    """Tell whether a call may act on a value that it is given: it is no constant, no code and no module."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return False
    return not isinstance(
        value, ModuleType | type | FunctionType | BuiltinFunctionType | BuiltinMethodType | MethodType
    )


def _is_trusted(name: str) -> bool:
    for way in _ways(name):  # the longest name that says something decides
        if way in _NOT_WATCHED:
            return False
        if way in _WATCHED or way.endswith(".testing"):
            return True
    return False


def _is_its_own(name: str, value: object) -> bool:
    """Tell whether this is a table that a library keeps to itself, with no watcher."""
    if not isinstance(value, dict | list | set) or type(value).__name__ == "RcParams":
        return False
    return name.partition(".")[0] not in _WATCHED_TABLES and not is_hung(value)


def _is_known(name: str) -> bool:
    """Tell whether a name is one of those that are known to do something unseen."""
    return not _NOT_WATCHED.isdisjoint(_ways(name))


def _ways(name: str) -> list[str]:
    """Return a full name, and the names of what it is in, the longest first."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


_WATCHED_TABLES = frozenset({"sys", "logging", "warnings", "gc", "IPython", "ipykernel", "builtins"})
_WITHOUT_PARTS = frozenset({"json", "random", "pickle", "csv", "string", "re", "collections", "tqdm", "joblib"})
"""Libraries that hold no settings in objects of theirs: `json._default_encoder.indent = 2` is seen by nobody."""
_CHANGING = frozenset(
    {"append", "extend", "insert", "remove", "add", "discard", "update", "setdefault", "pop", "popitem", "clear"}
)
_WATCHED = frozenset(
    {
        # What they change are arguments, files, what is shown, or states that have a watcher.
        *("builtins", "os", "shutil", "pathlib", "io", "glob", "json", "pickle", "csv", "zipfile", "tarfile", "gzip"),
        *("time", "random", "warnings", "logging", "locale", "decimal", "gc", "sys", "subprocess", "importlib"),
        *("numpy", "pandas", "polars.Config", "scipy", "sklearn", "matplotlib", "pylab", "seaborn", "joblib"),
        *("IPython", "ipykernel", "ipywidgets", "tqdm", "torch.manual_seed", "torch.cuda", "attr._compat"),
        *("calendar.setfirstweekday", "sqlite3.register_adapter", "sqlite3.register_converter", "dask.config.set"),
        *("xml.etree.ElementTree.register_namespace", "plotly.io.templates", "plotly.io.renderers"),
        *("signal.signal", "socket.setdefaulttimeout", "urllib.request.urlretrieve", "urllib.request.install_opener"),
        *("tracemalloc", "threading.stack_size", "resource.setrlimit", "multiprocessing.set_start_method"),
        # What they do is over when they return.
        *("operator", "heapq", "bisect", "itertools", "functools", "math", "statistics", "re", "copy", "textwrap"),
        *("collections", "datetime", "string", "struct", "hashlib", "contextlib", "inspect", "types", "typing"),
        *("timeit", "cProfile", "profile", "pprint", "traceback", "doctest", "dis", "asyncio.run", "asyncio.sleep"),
        *("asyncio.gather", "asyncio.wait", "asyncio.wait_for", "concurrent", "dask.compute", "dask.persist"),
    }
)
_NOT_WATCHED = frozenset(
    {
        *("os.putenv", "os.unsetenv", "os.setpgrp", "os.setsid"),
        *("os.register_at_fork", "os.dup2", "os.close", "os.fork", "os.kill", "signal.alarm", "signal.setitimer"),
        *("sys.settrace", "sys.setprofile", "sys.setdlopenflags", "sys.set_asyncgen_hooks", "sys.addaudithook"),
        *("sys.set_coroutine_origin_tracking_depth", "logging.setLoggerClass", "logging.setLogRecordFactory"),
        *("matplotlib.pyplot.switch_backend", "matplotlib.pyplot.connect"),
        *("matplotlib.font_manager", "matplotlib.units", "matplotlib.scale", "matplotlib.projections"),
        *("pandas.plotting.register_matplotlib_converters", "pandas.plotting.deregister_matplotlib_converters"),
        *("pandas.plotting.plot_params", "pandas._config.config.register_option", "numpy.set_string_function"),
        "importlib.reload",
        *("scipy.fft.set_workers", "scipy.fft.set_backend", "scipy.fft.set_global_backend", "ctypes.set_errno"),
        *("scipy.fft._pocketfft.helper.set_workers", "scipy.fft._backend"),
    }
)
