"""What a code object refers to: globals and the attributes taken of them, local imports, `ctx.deps.X`, and literals.

Read from the instructions, so that it works with and without source, and memoised by code object. Knows nothing of
values: what a name stands for is looked up in `code_graph`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["MODULE_NAMES", "Chain", "Import", "References", "references"]

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
_KEPT: Final = 8192


class Import(NamedTuple):
    """An import inside a function: `from ..pkg import a, b` is `("pkg", 2, ("a", "b"))`."""

    module: str
    level: int
    names: tuple[str, ...]


class References(NamedTuple):
    """What a code object, with all code inside it, refers to."""

    chains: tuple[Chain, ...]
    deps: tuple[str, ...]
    imports: tuple[Import, ...]
    texts: tuple[str, ...]


_known: dict[int, tuple[CodeType, References]] = {}


def references(code: CodeType) -> References:
    """Return what `code` refers to, each once, in the order of first mention."""
    found = _known.get(id(code))
    if found is not None:
        return found[1]
    scan = _Scan()
    for inside in _nested(code):
        scan.run(inside)
    result = References(tuple(scan.chains), tuple(scan.deps), tuple(scan.imports), tuple(scan.texts))
    if len(_known) >= _KEPT:
        _known.clear()
    _known[id(code)] = (code, result)  # the code object is kept, so that its id stays its own
    return result


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if hasattr(const, "co_consts"):
            yield from _nested(const)


class _Scan:
    def __init__(self) -> None:
        self.chains: dict[Chain, None] = {}
        self.deps: dict[str, None] = {}
        self.imports: dict[Import, None] = {}
        self.texts: dict[str, None] = {}

    def run(self, code: CodeType) -> None:
        import dis

        steps = list(dis.get_instructions(code))
        # A class body loads its own names as a module does; those that it assigns are not global.
        stored = {step.argval for step in steps if step.opname == "STORE_NAME"}
        chain: list[str] = []
        constants: list[object] = [0, None]
        after_deps = False
        for step in steps:
            name, value = step.opname, step.argval
            if name in _ATTRIBUTE:
                if after_deps:
                    self.deps[value] = None
                after_deps = value == "deps"
                if chain:
                    chain.append(value)
                continue
            if chain:
                self.chains[tuple(chain)] = None
            chain = []
            after_deps = False
            if name in _GLOBAL and value not in MODULE_NAMES and not (name == "LOAD_NAME" and value in stored):
                chain = [value]
            elif name in _CONSTANT:
                constants.append(value)
                self._literal(value)
            elif name == "IMPORT_NAME":
                level, names = constants[-2:]
                self.imports[Import(value, level if isinstance(level, int) else 0, _names(names))] = None
        if chain:
            self.chains[tuple(chain)] = None

    def _literal(self, value: object) -> None:
        if isinstance(value, str):
            self.texts[value] = None
        elif isinstance(value, tuple | frozenset):
            for item in value:
                self._literal(item)


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, tuple) else ()
