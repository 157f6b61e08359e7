"""Which statements have set up the session so far: options of libraries, styles, filters.

Nobody can follow what such a call does without making it. But where the same calls were made with the same literals,
the settings are the same. So an entry says which calls came before it (the kernel reads them from its history of
inputs), and a plan compares them with those that come before the cell in the notebook. Of two calls that set the same,
the later one counts.
"""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from awaitly_nb.keys import tree_digest
from awaitly_nb.plans.statics import SEEDERS, Constant, Imported, chain_of, is_setter, is_setting_target, known_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["SessionInputs", "Setup", "setup_of"]


class Setup:
    """What has set up the session so far; cells are added in the order in which they run."""

    def __init__(self) -> None:
        self._calls: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._setters: dict[str, str] = {}

    def add(self, tree: ast.Module) -> None:
        """Add the statements of one cell."""
        for statement in tree.body:
            told = _told(statement)
            for name, shown in told.known:
                self._constants.pop(name, None)
                self._setters.pop(name, None)
                if shown:
                    self._constants[name] = shown
            self._setters.update(told.setter)
            by_setters = (_slot(call) for name, call in told.calls if name in self._setters)
            for slot in (*told.slots, *by_setters):
                self._calls.pop(slot, None)  # it counts at its latest place
                self._calls[slot] = self._digest(statement)

    def digests(self) -> tuple[str, ...]:
        """Return one digest for each call, in order; "" for one whose text does not tell what it sets."""
        return tuple(self._calls.values())

    def latest(self) -> str:
        """Return what was set up last, as a reader knows it; "" for nothing."""
        return next(reversed(self._calls), "")

    def _digest(self, statement: ast.stmt) -> str:
        hasher = blake2b(tree_digest([statement]).encode(), digest_size=8)
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                known = self._constants.get(node.id) or self._setters.get(node.id)
                if known is None and node.id != "get_ipython" and not hasattr(builtins, node.id):
                    return ""  # the text does not tell its value
                hasher.update(f"{node.id}={known};".encode("utf-8", "surrogatepass"))
        return hasher.hexdigest()


@dataclass(frozen=True, slots=True)
class _Statement:
    """What a statement says by itself: what it binds, and what it may set up.

    `known` are names, with what is shown of a literal or an import; `setter` is the function that it defines, if
    calling that sets up the session; `slots` are what it sets; and `calls` set something if they are of a setter.
    """

    known: tuple[tuple[str, str], ...]
    setter: tuple[tuple[str, str], ...] = ()
    slots: tuple[str, ...] = ()
    calls: tuple[tuple[str, ast.Call], ...] = ()


# As with `effects.text_of`: trees stay, and are asked about at each pause of the typing.
@lru_cache(maxsize=8192)
def _told(statement: ast.stmt) -> _Statement:
    known = tuple(
        (name, repr(one) if isinstance(one, Constant | Imported) else "") for name, one in known_by(statement).items()
    )
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return _Statement(known, ((statement.name, tree_digest([statement])),) if any(_settings(statement)) else ())
    if isinstance(statement, ast.ClassDef | ast.With):
        return _Statement(known)  # what a `with` sets, it sets back
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return _Statement(
        known,
        slots=tuple(map(_slot, _settings(statement))),
        calls=tuple((call.func.id, call) for call in calls if isinstance(call.func, ast.Name)),
    )


def setup_of(trees: Iterable[ast.Module | None]) -> tuple[str, ...]:
    """Return what these inputs of a session have set up, as `Setup.digests` tells it.

    Examples
    --------
    >>> texts = "import pandas as pd", "pd.set_option('display.width', 80)", "pd.set_option('display.width', 90)"
    >>> len(setup_of(ast.parse(text) for text in texts))
    1
    """
    setup = Setup()
    for tree in trees:
        if tree is not None:
            setup.add(tree)
    return setup.digests()


class SessionInputs:
    """What the inputs of a living session have set up; as they grow, each is read once.

    Parameters
    ----------
    read
        Returns the syntax tree of an input, or None.
    """

    def __init__(self, read: Callable[[str], ast.Module | None]) -> None:
        self._read = read
        self._inputs: Sequence[str] = ()
        self._count = 0
        self._last = ""
        self._setup = Setup()

    def setup(self, inputs: Sequence[str], count: int) -> tuple[str, ...]:
        """Return what the first `count` inputs have set up, as `Setup.digests` tells it.

        Examples
        --------
        >>> texts = ["import pandas as pd", "pd.set_option('display.width', 80)", "pd.set_option('display.width', 90)"]
        >>> len(SessionInputs(ast.parse).setup(texts, 3))
        1
        """
        seen = self._inputs  # a shell that forgets its inputs empties the list in place
        if inputs is not seen or count < self._count or (self._count and inputs[self._count - 1] is not self._last):
            self._inputs, self._count, self._setup = inputs, 0, Setup()
        for source in inputs[self._count : count]:
            if (tree := self._read(str(source))) is not None:
                self._setup.add(tree)
        self._count, self._last = count, inputs[count - 1] if count else ""
        return self._setup.digests()


def _settings(statement: ast.stmt) -> Iterator[ast.AST]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            if is_setter(node) and (chain_of(node.func) or [""])[-1] not in SEEDERS:
                yield node
        elif isinstance(node, ast.Assign):
            yield from (target for target in node.targets if is_setting_target(target) and not _is_process(target))


def _is_process(target: ast.expr) -> bool:
    """Tell whether an assignment sets the process and no library: that is compared by itself."""
    return not {"environ", "path"}.isdisjoint(ast.unparse(target).replace("[", ".").split("."))


def _slot(setting: ast.AST) -> str:
    """Return what a call or an assignment sets, so that a later one takes its place."""
    if isinstance(setting, ast.Call):
        first = setting.args[0] if setting.args else None
        named = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        return f"{ast.unparse(setting.func)}({named!r})"
    return ast.unparse(setting)
