"""A function's own syntax tree, in a form that comments, docstrings, layout and the Python version leave alone.

Hides how the source that *is running* is found. The lines that `linecache` holds may be older or newer than the
function (a file saved but not reloaded, a cell run again), so they are compiled and compared: only a tree whose code
object equals the function's is believed. Where none is, the instructions count, tagged with the Python minor.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
import warnings
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType

__all__ = ["OwnTree", "own_tree", "tree_digest"]

_FunctionNode: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda"

_FUTURES: Final = 0x1FF0000  # CO_FUTURE_*: the compiler flags that change what a function's source means
_TOP_LEVEL_AWAIT: Final = 0x2000
_KEPT_FILES: Final = 512
_KEPT_TREES: Final = 8192


class OwnTree(NamedTuple):
    """What a function's code is, whatever it is called with.

    Attributes
    ----------
    digest
        Of the canonical tree, or of the instructions where no source could be found.
    body_digest
        The same without the expressions of the defaults, for a caller that counts the defaults' values.
    text
        The source, or "" where none could be found.
    class_text, class_facts
        Source of the class around a method, or ""; and the digests of the statements in it that define no method.
    """

    digest: str
    body_digest: str
    text: str
    class_text: str = ""
    class_facts: tuple[str, ...] = ()


class _File(NamedTuple):
    lines: list[str]
    codes: dict[tuple[str, int], list[CodeType]]
    nodes: dict[tuple[str, int], list[_FunctionNode]]
    classes: dict[int, ast.ClassDef]  # by id of a method's node


_trees: dict[int, tuple[CodeType, OwnTree]] = {}
_files: dict[tuple[str, int], tuple[list[str], _File | None]] = {}


def own_tree(code: CodeType, module_globals: dict[str, Any] | None = None) -> OwnTree:
    """Return the canonical form of the function whose code object is `code`; memoised by that object."""
    found = _trees.get(id(code))
    if found is not None:
        return found[1]
    tree = _from_source(code, module_globals)
    if tree is None:
        digest = _instructions_digest(code)
        tree = OwnTree(digest, digest, "")
    if len(_trees) >= _KEPT_TREES:
        _trees.clear()
    _trees[id(code)] = (code, tree)  # the code object is kept, so that its id stays its own
    return tree


def _from_source(code: CodeType, module_globals: dict[str, Any] | None) -> OwnTree | None:
    filename = code.co_filename
    for refresh in (False, True):
        if refresh:
            linecache.checkcache(filename)
        file = _parsed(filename, linecache.getlines(filename, module_globals), code.co_flags & _FUTURES)
        if file is None:
            continue
        node = _find(code, file)
        if node is None:
            continue
        _mark_own_decorators(node, module_globals or {})
        owner = file.classes.get(id(node))
        tree = OwnTree(tree_digest([node]), _body_digest(node), _segment(file.lines, node))
        if owner is not None:
            tree = tree._replace(class_text=_segment(file.lines, owner), class_facts=_class_facts(owner))
        return tree
    return None


def _find(code: CodeType, file: _File) -> _FunctionNode | None:
    place = (code.co_name, code.co_firstlineno)
    if code in file.codes.get(place, ()):
        return _node_of(code, file.nodes.get(place, []))
    # The same code on other lines: the file was saved with the function moved, or autoreload compiled it by itself.
    shape = _shape(code)
    found = [
        node
        for (name, line), codes in file.codes.items()
        if name == code.co_name
        for moved in codes
        if _shape(moved) == shape and (node := _node_of(moved, file.nodes.get((name, line), []))) is not None
    ]
    return found[0] if found and len({tree_digest([node]) for node in found}) == 1 else None


def _shape(code: CodeType) -> tuple[object, ...]:
    """Return what two code objects have in common that differ at most in where they stand."""
    consts = tuple(_shape(const) if hasattr(const, "co_consts") else (type(const), const) for const in code.co_consts)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_name, code.co_code, repr(consts), counts, names)


def _mark_own_decorators(node: _FunctionNode, module_globals: dict[str, Any]) -> None:
    # `@aw.step` and its options say how a function is kept, not what it computes.
    for decorator in getattr(node, "decorator_list", ()):
        root = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id not in module_globals and not hasattr(builtins, root.id):
            # A function that came to a worker by value brings the globals it reads; `aw` is not among them. Whatever
            # the decorator was, it has done its work on the object that is keyed here.
            decorator.awaitly_own = True
            continue
        target = module_globals.get(root.id) if isinstance(root, ast.Name) else None
        home = getattr(target, "__module__", None) or getattr(target, "__name__", None)
        decorator.awaitly_own = isinstance(home, str) and home.partition(".")[0] == "awaitly_nb"


def _parsed(filename: str, lines: list[str], flags: int) -> _File | None:
    if not lines:
        return None
    known = _files.get((filename, flags))
    if known is not None and (known[0] is lines or known[0] == lines):
        return known[1]
    file: _File | None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the user has seen what the compiler had to say
            tree = ast.parse("".join(lines), filename)
            compiled = compile(tree, filename, "exec", flags | _TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        file = None
    else:
        file = _indexed(lines, tree, compiled)
    if len(_files) >= _KEPT_FILES:
        _files.clear()
    _files[filename, flags] = (lines, file)
    return file


def _indexed(lines: list[str], tree: ast.Module, compiled: CodeType) -> _File:
    codes: dict[tuple[str, int], list[CodeType]] = {}
    for code in nested_codes(compiled):
        codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    nodes: dict[tuple[str, int], list[_FunctionNode]] = {}
    classes: dict[int, ast.ClassDef] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes.setdefault((node.name, _first_line(node)), []).append(node)
        elif isinstance(node, ast.Lambda):
            nodes.setdefault(("<lambda>", node.lineno), []).append(node)
        elif isinstance(node, ast.ClassDef):
            classes.update((id(child), node) for child in node.body)
    return _File(lines, codes, nodes, classes)


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield `code` and every code object inside it."""
    yield code
    for const in code.co_consts:
        if hasattr(const, "co_consts"):
            yield from nested_codes(const)


def _class_facts(owner: ast.ClassDef) -> tuple[str, ...]:
    # What a metaclass or a descriptor makes of `x: int = Field(gt=1)` cannot be known, but the statement can.
    kept = [node for node in _without_docstring(owner.body) if not isinstance(node, _DEFINITIONS)]
    return tuple(sorted(tree_digest([node]) for node in [*kept, *owner.decorator_list, *owner.keywords]))


_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass)


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _node_of(code: CodeType, nodes: list[_FunctionNode]) -> _FunctionNode | None:
    if len(nodes) == 1:
        return nodes[0]
    # Several lambdas on one line: the innermost whose body holds every instruction is the one.
    spots = [
        ((line, column), (end_line, end_column))
        for line, end_line, column, end_column in code.co_positions()
        if line is not None
        and end_line is not None
        and column is not None
        and end_column is not None
        and (line, column) < (end_line, end_column)
    ]
    fitting = [node for node in nodes if isinstance(node, ast.Lambda) and spots and _holds(node.body, spots)]
    sizes = sorted((_size(node.body), index) for index, node in enumerate(fitting))
    if not sizes or (len(sizes) > 1 and sizes[0][0] == sizes[1][0]):
        return None
    return fitting[sizes[0][1]]


def _holds(body: ast.expr, spots: Iterable[tuple[tuple[int, int], tuple[int, int]]]) -> bool:
    begin, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    return all(begin <= start and stop <= end for start, stop in spots)


def _size(body: ast.expr) -> tuple[int, int]:
    return ((body.end_lineno or 0) - body.lineno, (body.end_col_offset or 0) - body.col_offset)


def _segment(lines: list[str], node: _FunctionNode | ast.ClassDef) -> str:
    if isinstance(node, ast.Lambda):
        return (ast.get_source_segment("".join(lines), node) or "") + "\n"
    import textwrap

    return textwrap.dedent("".join(lines[_first_line(node) - 1 : node.end_lineno]))


def tree_digest(nodes: Iterable[ast.AST]) -> str:
    """Return the digest of syntax trees: node types and fields that are filled, without docstrings and positions.

    Fields that a later Python added stand empty in older code, and empty fields are left out: one digest on each.
    """
    hasher = blake2b(digest_size=16)
    for node in nodes:
        text: list[str] = []
        _write(node, text)
        hasher.update("".join(text).encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()


def _body_digest(node: _FunctionNode) -> str:
    defaults, keyword_defaults = node.args.defaults, node.args.kw_defaults
    node.args.defaults, node.args.kw_defaults = [], []
    try:
        return tree_digest([node])
    finally:
        node.args.defaults, node.args.kw_defaults = defaults, keyword_defaults


_LEFT_OUT: Final = frozenset({"ctx", "type_comment", "kind", "type_ignores"})


def _write(value: object, out: list[str]) -> None:
    if isinstance(value, ast.Constant):
        const = value.value
        out.append(f"({type(const).__name__} {const!r})")
    elif isinstance(value, ast.AST):
        out.append(f"({type(value).__name__}")
        for name in value._fields:
            field: Any = getattr(value, name, None)  # Any: each field has its own type
            if name == "body" and isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                field = _without_docstring(field)
            elif name == "decorator_list":
                field = [decorator for decorator in field if not getattr(decorator, "awaitly_own", False)]
            elif name == "values" and isinstance(value, ast.JoinedStr):
                field = _merged(field)
            if field is None or field == [] or name in _LEFT_OUT:
                continue
            out.append(f" {name}=")
            _write(field, out)
        out.append(")")
    elif isinstance(value, list):
        out.append("[")
        for item in value:
            _write(item, out)
        out.append("]")
    else:
        out.append(f"({type(value).__name__} {value!r})")


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    # Python 3.12 splits the text between the fields of an f-string where other versions do not.
    merged: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            before = merged[-1] if merged else None
            if isinstance(before, ast.Constant) and isinstance(before.value, str):
                merged[-1] = ast.Constant(before.value + value.value)
            elif value.value:
                merged.append(value)
        else:
            merged.append(value)
    return merged


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def _instructions_digest(code: CodeType) -> str:
    """Return the digest of what `code` does; only constants that are loaded count, which leaves the docstring out."""
    hasher = blake2b(digest_size=16)
    hasher.update(f"python {sys.version_info[0]}.{sys.version_info[1]}".encode())
    _feed(code, hasher)
    return hasher.hexdigest()


def _feed(code: CodeType, hasher: Any) -> None:  # Any: hashlib names no type for its objects
    import dis

    shape = (code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames)
    hasher.update(repr((*shape, code.co_freevars, code.co_cellvars, code.co_flags & 0x2AC)).encode())
    for step in dis.get_instructions(code):
        if hasattr(step.argval, "co_consts"):
            hasher.update(f"{step.opname} <".encode())
            _feed(step.argval, hasher)
            hasher.update(b">")
        else:
            value = sorted(map(repr, step.argval)) if isinstance(step.argval, frozenset) else step.argval
            hasher.update(f"{step.opname} {type(step.argval).__name__} {value!r}\n".encode("utf-8", "surrogatepass"))
