"""One code object: its canonical syntax tree, the names and literals in it, and what its imports find.

The tree has a form that comments, docstrings, layout and the Python version leave alone. The lines that `linecache`
holds may be older or newer than the function that *is running* (a file saved but not reloaded, a cell run again), so
they are compiled and compared: only a tree whose code object equals the function's is believed. Where none is, the
instructions count, tagged with the Python minor. Names are read from the instructions, with and without source. Both
are memoised by code object. What a name stands for is looked up in `collect`.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import os
import re
import sys
import warnings
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from awaitly_nb.installed import is_installed_path
from awaitly_nb.keys.graph import ABSENT, AttributesOf, module_attribute
from awaitly_nb.keys.origin import is_user_module, top_package

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType, FunctionType, ModuleType

    from awaitly_nb.keys.graph import Lookup

__all__ = [
    "EVALUATORS",
    "Bound",
    "Chain",
    "Import",
    "OwnTree",
    "References",
    "attribute_of",
    "class_source",
    "function_text",
    "imported",
    "imported_name",
    "names_of",
    "nested_codes",
    "own_tree",
    "place_of",
    "public_names",
    "quoted_files",
    "quoted_in",
    "references",
    "tree_digest",
]

_FunctionNode: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda"

_FUTURES: Final = 0x1FF0000  # CO_FUTURE_*: the compiler flags that change what a function's source means
_TOP_LEVEL_AWAIT: Final = 0x2000
_MOST_FILES: Final = 512
_MOST_TREES: Final = 8192


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


class _ParsedFile(NamedTuple):
    lines: list[str]
    codes: dict[tuple[str, int], list[CodeType]]
    nodes: dict[tuple[str, int], list[_FunctionNode]]
    classes: dict[int, ast.ClassDef]  # by id of a method's node


_trees: dict[int, tuple[CodeType, OwnTree]] = {}
_files: dict[tuple[str, int], tuple[list[str], _ParsedFile | None]] = {}


def own_tree(code: CodeType, module_globals: dict[str, Any] | None = None) -> OwnTree:
    """Return the canonical form of the function whose code object is `code`; memoised by that object."""
    found = _trees.get(id(code))
    if found is not None:
        return found[1]
    tree = _from_source(code, module_globals)
    if tree is None:
        digest = _instructions_digest(code)
        tree = OwnTree(digest, digest, "")
    if len(_trees) >= _MOST_TREES:
        _trees.clear()
    _trees[id(code)] = (code, tree)  # the code object is stored too, so that its id stays its own
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


def _find(code: CodeType, file: _ParsedFile) -> _FunctionNode | None:
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
    # `@aw.step` and its options say how a function is cached, not what it computes.
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


def _parsed(filename: str, lines: list[str], flags: int) -> _ParsedFile | None:
    if not lines:
        return None
    known = _files.get((filename, flags))
    if known is not None and (known[0] is lines or known[0] == lines):
        return known[1]
    file: _ParsedFile | None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the user has seen what the compiler had to say
            tree = ast.parse("".join(lines), filename)
            # A cell is compiled statement by statement: a call of a name that the same module imports is other code.
            parts = [tree] if os.path.exists(filename) else [tree, *(ast.Module([one], []) for one in tree.body)]  # noqa: PTH110 - pathlib costs more here
            compiled = [compile(one, filename, "exec", flags | _TOP_LEVEL_AWAIT, dont_inherit=True) for one in parts]
    except (SyntaxError, ValueError, RecursionError):
        file = None
    else:
        file = _indexed(lines, tree, compiled)
    if len(_files) >= _MOST_FILES:
        _files.clear()
    _files[filename, flags] = (lines, file)
    return file


def _indexed(lines: list[str], tree: ast.Module, compiled: Iterable[CodeType]) -> _ParsedFile:
    codes: dict[tuple[str, int], list[CodeType]] = {}
    for code in (inner for one in compiled for inner in nested_codes(one)):
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
    return _ParsedFile(lines, codes, nodes, classes)


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield `code` and every code object inside it."""
    yield code
    for const in code.co_consts:
        if hasattr(const, "co_consts"):
            yield from nested_codes(const)


def _class_facts(owner: ast.ClassDef) -> tuple[str, ...]:
    # What a metaclass or a descriptor makes of `x: int = Field(gt=1)` cannot be known, but the statement can.
    statements = [node for node in _without_docstring(owner.body) if not isinstance(node, _DEFINITIONS)]
    return tuple(sorted(tree_digest([node]) for node in [*statements, *owner.decorator_list, *owner.keywords]))


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
    text = "".join(lines[_first_line(node) - 1 : node.end_lineno])
    if not text[:1].isspace():
        return _BLANK_LINE.sub("", text)  # as `dedent` does it, which a first hit would load for nothing else
    import textwrap

    return textwrap.dedent(text)


def function_text(function: FunctionType) -> str:
    """Return the source of a function; empty where none is found."""
    return own_tree(function.__code__, function.__globals__).text


def class_source(cls: type) -> str:
    """Return the source of a class that none of its methods leads to, such as a dataclass; "" where none is found.

    For people and for plans, not for keys: it is the latest text with that name and these fields.
    """
    if (known := _class_sources.get(cls)) is None:
        home = getattr(sys.modules.get(cls.__module__), "__file__", None)
        texts = (linecache.getlines(name) for name in ([home] if home else reversed(list(linecache.cache))))
        known = _class_sources[cls] = next((found for lines in texts if (found := _class_in(lines, cls))), "")
    return known


_class_sources: WeakKeyDictionary[type, str] = WeakKeyDictionary()


def _class_in(lines: list[str], cls: type) -> str:
    if not any(line.lstrip().startswith(f"class {cls.__name__}") for line in lines):
        return ""
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return ""
    wanted = list(vars(cls).get("__annotations__", ()))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            annotated = [one.target for one in node.body if isinstance(one, ast.AnnAssign)]
            if [target.id for target in annotated if isinstance(target, ast.Name)] == wanted:
                return _segment(lines, node)
    return ""


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


# -- names and literals of a code object -------------------------------------------------------------------------------

Chain: TypeAlias = "tuple[str, ...]"
"""A name and the attributes taken of it: `np.linalg.norm` is `("np", "linalg", "norm")`."""

MODULE_NAMES: Final = frozenset(
    f"__{name}__"
    for name in (
        *("annotations", "builtins", "cached", "conditional_annotations", "doc", "file"),
        *("loader", "name", "package", "path", "spec"),
    )
)
"""Names every module has; they tell where code lies, never what it computes."""

_GLOBAL: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_CONSTANT: Final = frozenset({"LOAD_CONST", "LOAD_SMALL_INT", "RETURN_CONST"})
_LOCAL: Final = frozenset(
    {"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"}
)
_STORE: Final = frozenset({"STORE_FAST", "STORE_DEREF", "STORE_NAME", "STORE_GLOBAL"})
_BLANK_LINE: Final = re.compile(r"^[ \t]+$", re.MULTILINE)
_FUSED: Final = re.compile("LOAD_FAST|STORE_FAST")
_CALL: Final = frozenset({"PUSH_NULL", "PRECALL", "CALL", "CACHE"})
_READERS: Final = frozenset({"eval", "exec", "globals"})
EVALUATORS: Final = frozenset({"eval", "evaluate"})
"""Methods of pandas and numexpr that look names up where they are called; pandas takes those of columns first."""
_QUOTED: Final = re.compile(r"@([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_SQL: Final = re.compile(
    r"\b(?:select|pivot|unpivot|summarize|describe|insert\s+into|delete\s+from)\s|\A\s*from\s", re.IGNORECASE
)
_ALIAS: Final = r"(?:\s+(?:as\s+)?(?!join\b|from\b)\w+)?"
_TABLES: Final = re.compile(
    r"\b(?:from|join|into|pivot|summarize|describe)\s+"
    rf"([^\W\d]\w*{_ALIAS}(?:\s*,\s*[^\W\d]\w*{_ALIAS})*)",
    re.IGNORECASE,
)
_IN_QUOTES: Final = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"")
_MOST_CODES: Final = 8192


class Import(NamedTuple):
    """What an import wants: `from ..pkg import a, b` is `("pkg", 2, ("a", "b"))`."""

    module: str
    level: int
    names: tuple[str, ...]


class Bound(NamedTuple):
    """One name of an import: the variable that it binds, where from, and the attributes that the code takes of it."""

    name: str
    wanted: Import
    chains: tuple[Chain, ...]


class References(NamedTuple):
    """What a code object, with all code inside it, refers to; `quoted` are names in text, as in `"a > @limit"`."""

    chains: tuple[Chain, ...]
    quoted: tuple[Chain, ...]
    deps: tuple[str, ...]
    imports: tuple[Bound, ...]
    texts: tuple[str, ...]
    attributes: tuple[str, ...]


_known: dict[int, tuple[CodeType, References]] = {}


def references(code: CodeType) -> References:
    """Return what `code` refers to, each once, in the order of first mention."""
    found = _known.get(id(code))
    if found is not None:
        return found[1]
    scan = _Scan()
    for inside in _nested(code):
        scan.run(inside)
    result = scan.result()
    if len(_known) >= _MOST_CODES:
        _known.clear()
    _known[id(code)] = (code, result)  # the code object is stored too, so that its id stays its own
    return result


def names_of(text: str, mode: str = "eval") -> tuple[Chain, ...]:
    """Return what code that is written as text refers to; nothing where it is none."""
    try:
        return references(compile(text, "<text>", mode, dont_inherit=True)).chains
    except (SyntaxError, ValueError, RecursionError):
        return ()


def quoted_in(text: str) -> list[Chain]:
    """Return the names that text has looked up where it is used: after an `@` by pandas, as tables by SQL on frames.

    Examples
    --------
    >>> quoted_in("price > @limit.low"), quoted_in("SELECT * FROM trades JOIN 'd.csv' ON a, names AS n")
    ([('limit', 'low')], [('trades',)])
    >>> quoted_in("taken from trades")
    []
    """
    found: list[Chain] = [tuple(name.split(".")) for name in _QUOTED.findall(text)] if "@" in text else []
    if _SQL.search(text) is not None:
        for tables in _TABLES.findall(text):
            found.extend((name.split()[0],) for name in tables.split(","))
    return found


def quoted_files(text: str) -> list[str]:
    """Return what SQL text puts into quotes, which may be files: `from 'd.csv'`, `read_parquet(["a.parquet"])`.

    Examples
    --------
    >>> quoted_files("select * from 'd.csv' where name = 'x'"), quoted_files("it's")
    (['d.csv', 'x'], [])
    """
    if _SQL.search(text) is None:
        return []
    return [single or double for single, double in _IN_QUOTES.findall(text)]


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if hasattr(const, "co_consts"):
            yield from _nested(const)


class _Scan:
    def __init__(self) -> None:
        self.chains: dict[Chain, None] = {}
        self.quoted: dict[Chain, None] = {}
        self.deps: dict[str, None] = {}
        self.imports: dict[tuple[str, Import], None] = {}
        self.texts: dict[str, None] = {}
        self.attributes: dict[str, None] = {}  # of whatever object
        self.locals: dict[Chain, None] = {}

    def result(self) -> References:
        chains = (*self.locals, *self.chains)
        # Sorted, because from 3.12 on a comprehension is no code of its own, and its names come earlier.
        imports = (
            Bound(name, wanted, tuple(sorted(c for c in chains if c[0] == name))) for name, wanted in self.imports
        )
        found = (tuple(self.chains), tuple(sorted(self.quoted)), tuple(self.deps), tuple(imports))
        return References(*found, tuple(self.texts), tuple(self.attributes))

    def run(self, code: CodeType) -> None:
        steps = list(_steps(code))
        captured = {*code.co_cellvars, *code.co_freevars}
        own = {*code.co_varnames, *captured}
        # A class body loads its own names as a module does; those that it assigns are not global.
        stored = {value for name, value in steps if name == "STORE_NAME"}
        binding = _Binding(self.imports)
        chain: list[str] = []
        chains = self.chains
        after_deps = False
        reader = ""
        for name, value in steps:
            if name in _ATTRIBUTE:
                self.attributes[value] = None
                if after_deps:
                    self.deps[value] = None
                after_deps = value == "deps"
                if chain:
                    chain.append(value)
                if value in EVALUATORS:
                    reader = "eval"
                continue
            if chain:
                chains[tuple(chain)] = None
            chain = []
            after_deps = False
            if name in _GLOBAL and value not in MODULE_NAMES and not (name == "LOAD_NAME" and value in stored):
                chain, chains = [value], self.chains
            elif name in _LOCAL and not (name.startswith("LOAD_FAST") and value in captured):  # else it is handed on
                chain, chains = [value], self.locals
            elif name in _CONSTANT:
                self._literal(value, reader, own)
            binding.follow(name, value)
            if name not in _CALL:
                reader = value if name in _GLOBAL and value in _READERS else ""
        if chain:
            chains[tuple(chain)] = None

    def _literal(self, value: object, reader: str, own: set[str]) -> None:
        if isinstance(value, str):
            self.texts[value] = None
            named = [*quoted_in(value), *_read_by(reader, value)]
            self.quoted.update((chain, None) for chain in named if chain[0] not in own)
        elif isinstance(value, tuple | frozenset):
            for item in value:
                self._literal(item, "", own)


def _read_by(reader: str, text: str) -> tuple[Chain, ...]:
    """Return the names that `eval`, `exec` or `globals` is going to look up when it is given this text."""
    if reader == "globals":
        return ((text,),)
    return names_of(text, reader) if reader else ()


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, tuple) else ()


class _Binding:
    """Follows an import through its instructions: which variable gets which name of it."""

    def __init__(self, found: dict[tuple[str, Import], None]) -> None:
        self._found = found
        self._constants: list[object] = [0, None]
        self._wanted: Import | None = None
        self._taken: str | None = None

    def follow(self, name: str, value: Any) -> None:  # Any: the argument of an instruction
        if name in _CONSTANT:
            self._constants = [self._constants[-1], value]
        elif name == "IMPORT_NAME":
            level, names = self._constants
            self._wanted = Import(value, level if isinstance(level, int) else 0, _names(names))
            self._taken = None
        elif name == "IMPORT_FROM":
            self._taken = value
        elif name in _STORE and self._wanted is not None:
            self._store(value, self._wanted, self._taken)
            self._taken = None

    def _store(self, variable: str, wanted: Import, taken: str | None) -> None:
        if wanted.names:
            if taken is not None:
                self._found[variable, wanted._replace(names=(taken,))] = None
            return
        self._wanted = None
        if taken is None and "." in wanted.module:  # `import a.b` binds `a`, and loads both
            self._found["", wanted] = None
            wanted = wanted._replace(module=variable)
        self._found[variable, wanted] = None


def _steps(code: CodeType) -> Iterator[tuple[str, Any]]:  # Any: an instruction may have any argument
    import dis

    for step in dis.get_instructions(code):
        kinds = _FUSED.findall(step.opname)
        if len(kinds) > 1 and isinstance(step.argval, tuple):  # Python 3.13 fuses two into one
            yield from zip(kinds, step.argval, strict=True)
        else:
            yield step.opname, step.argval


# -- what an import finds ----------------------------------------------------------------------------------------------


def imported(name: str, level: int, module_globals: Mapping[str, Any]) -> ModuleType | str | None:
    """Return the module that an import in a function finds.

    A package that is not loaded comes as its name alone: loading it can take seconds, and its version is all that
    counts. A module of the user is loaded, as the step is about to do anyway; its code counts.
    """
    import importlib
    import importlib.util

    try:
        full = importlib.util.resolve_name("." * level + name, module_globals.get("__package__")) if level else name
    except (ImportError, TypeError):
        return None
    top = top_package(full)
    if top in sys.stdlib_module_names:
        return None
    _drop_stale(top)
    module = sys.modules.get(full)
    if module is not None:
        return module
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    if any(is_installed_path(f"{place}/") or is_installed_path(str(place)) for place in places):
        return top
    before = set(sys.modules)
    try:
        return importlib.import_module(full)
    except Exception:  # noqa: BLE001 - user code may raise anything; the step itself will tell how it fails
        return None
    finally:
        loaded = [name for name in sys.modules.keys() - before if is_user_module(sys.modules[name])]
        _ahead.setdefault(top, {}).update({name: _file_stamp(sys.modules[name]) for name in loaded})


_ahead: dict[str, dict[str, object]] = {}
"""The user's modules that were loaded because a key is made of them, by the package that was imported."""


def import_again(modules: Iterable[str]) -> None:
    """Let an import that runs now find what is there now, also where a key was read from the modules before.

    The code before the import may have written their files, or have others found.
    """
    for top in map(top_package, modules if _ahead else ()):
        _drop_stale(top)
        _ahead.pop(top, None)


def _drop_stale(top: str) -> None:
    loaded = _ahead.get(top)
    if loaded and any(_file_stamp(sys.modules.get(name)) != stamp for name, stamp in loaded.items()):
        for name in loaded:
            sys.modules.pop(name, None)
        del _ahead[top]


def _file_stamp(module: ModuleType | None) -> object:
    """Return what tells whether importing a module would find another one."""
    from importlib.machinery import PathFinder

    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return None
    found = None if "." in module.__name__ else PathFinder.find_spec(module.__name__)
    try:
        state = Path(file).stat()
    except OSError:
        return None
    return found and found.origin, state.st_mtime_ns, state.st_size


def imported_name(module: ModuleType, name: str, module_globals: Mapping[str, Any]) -> object:
    """Return what `from module import name` finds; the module itself where there is no name."""
    if not name:
        return module
    value = attribute_of(module, name)
    if value is ABSENT:  # a module of the package that is not loaded yet
        value = imported(f"{module.__name__}.{name}", 0, module_globals) or ABSENT
    return value


def attribute_of(module: ModuleType, name: str) -> object:
    """Return an attribute of a module, or `ABSENT`."""
    return module_attribute(module, name, ABSENT)


def place_of(module: ModuleType, name: str) -> Lookup:
    """Return where an attribute of a module is looked up; one that it makes when asked stands in no namespace."""
    return vars(module) if name in vars(module) else AttributesOf(module)


def public_names(module: ModuleType) -> list[str]:
    """Return the names that `from module import *` brings."""
    named = vars(module).get("__all__")
    return sorted(named if named is not None else (name for name in vars(module) if not name.startswith("_")))
