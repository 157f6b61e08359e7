"""What a code object refers to: globals and the attributes taken of them, imports, `ctx.deps.X`, and literals.

Read from the instructions, so that it works with and without source, and memoised by code object. Knows nothing of
values: what a name stands for is looked up in `code_graph`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["MODULE_NAMES", "Bound", "Chain", "Import", "References", "names_of", "quoted_in", "references"]

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
_FUSED: Final = re.compile("LOAD_FAST|STORE_FAST")
_CALL: Final = frozenset({"PUSH_NULL", "PRECALL", "CALL", "CACHE"})
_READERS: Final = frozenset({"eval", "exec", "globals"})
_QUOTED: Final = re.compile(r"@([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_KEPT: Final = 8192


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
    if len(_known) >= _KEPT:
        _known.clear()
    _known[id(code)] = (code, result)  # the code object is kept, so that its id stays its own
    return result


def names_of(text: str, mode: str = "eval") -> tuple[Chain, ...]:
    """Return what code that is written as text refers to; nothing where it is none."""
    try:
        return references(compile(text, "<text>", mode, dont_inherit=True)).chains
    except (SyntaxError, ValueError, RecursionError):
        return ()


def quoted_in(text: str) -> list[Chain]:
    """Return the names after an `@`: pandas looks for them where the text is used, as in `df.query("a > @limit")`."""
    return [tuple(name.split(".")) for name in _QUOTED.findall(text)] if "@" in text else []


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
