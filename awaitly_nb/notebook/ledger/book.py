"""The ledger: watched states of the process, what a cell changed of them, and putting that into another session.

A cell that sets what is already so changes nothing, and still decides what later cells see. So where the words of its
code name a setting and no difference of it was found, the entry requires that this state is, at look-up, as it was.
"""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from awaitly_nb.errors import MisuseError
from awaitly_nb.keys import ImportWatch, is_user_class, is_user_function, is_user_module
from awaitly_nb.notebook.ledger.called import CalledSettings
from awaitly_nb.notebook.ledger.libraries import display_of, shell_watchers
from awaitly_nb.notebook.ledger.process import LoadedModules, limits_in_force
from awaitly_nb.notebook.ledger.settings import digest_of
from awaitly_nb.notebook.ledger.unwatched import unwatched

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Before", "BuiltIn", "Changes", "Ledger", "Watcher", "register_state"]

State: TypeAlias = Any
"""What a watcher's own snapshot and difference are: only the watcher knows."""

_WORD = re.compile(r"[^\W\d]\w*")
_IMPORT = re.compile(r"^\s*(?:import|from)\s+([\w.]+(?:[ \w.]*,\s*[\w.]+)*)", re.MULTILINE)


class Watcher(Protocol):
    """One watched state of the process.

    It is cheap where nothing changed and never imports a library in `snapshot`. What it raises in `difference` is the
    reason why the cell is not stored; what it raises in `apply` makes the cell run.
    """

    def snapshot(self) -> State:
        """Return the state now, in a form that later changes do not reach."""

    def difference(self, before: State) -> State | None:
        """Return what `apply` needs to bring the state from `before` to what it is now; None where nothing changed.

        It has to be picklable.
        """

    def apply(self, data: State) -> None:
        """Change the state as the cell did."""


class BuiltIn(Watcher, Protocol):
    """A watcher that comes with this package."""

    @property
    def name(self) -> str:
        """What it is called in messages and in stored cells."""

    @property
    def library(self) -> str | None:
        """The library that has to be loaded for the state to exist."""

    @property
    def first(self) -> bool:
        """Whether imports depend on the state."""

    def told(self) -> Mapping[Any, Any]:
        """Return the state as values by name, by which two sessions can be compared."""

    def requirement(self, before: State, changed: State | None, words: frozenset[str]) -> str | None:
        """Return a digest of what code of these words may have set to what it was; None where they name nothing."""

    def refusal(self, data: State) -> str | None:
        """Return why `data` cannot be applied to the session as it is; None where it can."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a cell changed of the watched states.

    Attributes
    ----------
    data
        By watcher, for `Ledger.apply`. Pickled together with the variables, so that what they share stays shared.
    required
        By watcher, the digest of what the cell may have set to what it was, and whether it imported the library.
    words
        The words of the cell that name watched states.
    obstacle
        Why the changes cannot be brought back; empty where they can.
    """

    data: dict[str, State] = field(default_factory=dict)
    required: dict[str, tuple[str, bool]] = field(default_factory=dict)
    words: frozenset[str] = frozenset()
    obstacle: str = ""

    def to_data(self) -> dict[str, Any]:
        """Return this as one plain value to store; empty where nothing changed and nothing is required.

        Behind an obstacle it is a value that cannot be stored, and says why.
        """
        if self.obstacle:
            return {"data": Obstacle(self.obstacle)}
        if not self.data and not self.required:
            return {}
        return {"data": self.data, "required": self.required, "words": sorted(self.words)}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Stands for changes that cannot be brought back: no pickler takes it, so the cell is not stored."""

    why: str

    def __reduce__(self) -> str:
        raise TypeError(self.why)


@dataclass(slots=True)
class Before:
    """The watched states as they were; those of a library that the cell itself imports, as it was right after that."""

    source: str
    watchers: tuple[BuiltIn, ...]
    words: frozenset[str]
    functions: tuple[FunctionType, ...] = ()
    states: dict[str, State] = field(default_factory=dict)
    imports: ExitStack = field(default_factory=ExitStack)
    imported: set[str] = field(default_factory=set)
    obstacle: str = ""
    patches: str = ""

    def close(self) -> None:
        """Stop noticing imports; `difference` does so, and whoever does not come to that has to."""
        self.imports.close()

    def take(self, watcher: BuiltIn) -> None:
        """Take the snapshot of one watcher."""
        try:
            state = watcher.snapshot()
            # Taken a second time after an import, it is of more; what was seen first is what counts.
            self.states[watcher.name] = {**state, **self.states[watcher.name]} if watcher.name in self.states else state
        except Exception as exc:  # noqa: BLE001 - user code may raise anything, and this is the reason that is shown
            self.obstacle = self.obstacle or f"{watcher.name}: {exc}"


class Ledger:
    """The watched states of this process.

    Parameters
    ----------
    namespace
        The user's variables: what the words of a cell mean.
    shell
        IPython's shell, whose own settings are watched; None outside of IPython.

    Examples
    --------
    >>> import decimal
    >>> ledger = Ledger({})
    >>> before = ledger.snapshot("decimal.getcontext().prec = 7")
    >>> decimal.getcontext().prec = 7
    >>> changes = ledger.difference(before)
    >>> decimal.getcontext().prec = 28
    >>> ledger.apply({"data": changes.data, "required": {}, "words": []})
    >>> decimal.getcontext().prec
    7
    >>> decimal.getcontext().prec = 28
    """

    def __init__(self, namespace: Mapping[str, Any], shell: Any = None) -> None:  # Any: values, and IPython's shell
        self._namespace = namespace
        self._shell = shell

    def snapshot(self, source: str = "") -> Before:
        """Return the watched states before a cell of this source runs; give it to `difference`, once."""
        words, functions = self._words(source)
        return self._taken(Before(source, self._watchers(words), words, functions, patches=self._patches(words)))

    def live(self, source: str) -> Before:
        """Return what a cell that runs live may set on libraries, as it is before; give it to `note`, once."""
        from awaitly_nb.notebook.ledger.attributes import Attributes

        words, _ = self._words(source)
        return self._taken(Before(source, (Attributes(self._namespace, words),), words))

    def note(self, before: Before) -> None:
        """Note what a cell has set on libraries, stored or not: the cells after it depend on that."""
        before.close()
        for watcher in before.watchers:
            if watcher.name == "attributes" and watcher.name in before.states:
                with suppress(Exception):  # a module that it took away
                    watcher.difference(before.states[watcher.name])  # which notes what was there

    def _taken(self, before: Before) -> Before:
        """Take the snapshots of all watchers, and see to it that those of libraries to be imported are taken then."""
        from awaitly_nb.notebook.ledger.attributes import Attributes

        source = before.source
        late: dict[str, list[BuiltIn]] = {}
        # Not by the operators of sets, which go over all the names of `sys.modules`.
        new = {name for name in _libraries(source) if name not in sys.modules}
        for watcher in before.watchers:
            if watcher.library is not None and watcher.library not in sys.modules:
                late.setdefault(watcher.library, []).append(watcher)
            else:
                before.take(watcher)
            if watcher.name == "attributes":
                for library in new:
                    late.setdefault(library, []).append(watcher)
        if late:

            def loaded(library: str) -> None:
                before.imported.add(library)
                for watcher in late[library]:
                    if isinstance(watcher, Attributes):
                        watcher.note_loaded(library)
                    before.take(watcher)

            before.imports.callback(ImportWatch(late, loaded).close)
        return before

    def patches(self, source: str) -> str:
        """Return a digest of what was set on modules and classes of libraries that a cell of this source names."""
        return self._patches(self._words(source)[0])

    def display(self) -> str:
        """Return a digest of how values are shown, where that is not as it is at first; empty without a shell."""
        return display_of(self._shell) if self._shell is not None else ""

    def reached(self, source: str) -> list[tuple[str, object]]:
        """Return the user's functions that libraries call, and what of the user's lies in those that a cell names.

        The names are the same in every session.
        """
        from awaitly_nb.notebook.ledger.attributes import Attributes, something_is_set

        return Attributes(self._namespace, self._words(source)[0]).reached() if something_is_set() else []

    def _patches(self, words: frozenset[str]) -> str:
        from awaitly_nb.notebook.ledger.attributes import Attributes

        found = {**Attributes(self._namespace, words).in_force(), **limits_in_force()}
        return digest_of(found) if found else ""

    def difference(self, before: Before, *, shown: bool = False) -> Changes:
        """Return what differs from `before`; `shown` tells whether the cell has shown a value."""
        before.close()
        obstacle = before.obstacle or unwatched(before.source, before.functions, self._namespace, shown=shown)
        changes = Changes(words=before.words, obstacle=obstacle)
        for watcher in before.watchers:
            name = watcher.name
            if name not in before.states:
                continue
            state = before.states[name]
            try:
                changed = watcher.difference(state)
                required = watcher.requirement(state, changed, before.words)
            except Exception as exc:  # noqa: BLE001 - as in Before.take
                changes = replace(changes, obstacle=changes.obstacle or f"{name}: {exc}")
                continue
            if changed is not None:
                changes.data[name] = changed
            if required is not None:
                # Where the cell imports the library, its state then is as a fresh import leaves it.
                changes.required[name] = (required, watcher.library in before.imported)
        return changes

    def refusal(self, stored: Mapping[str, Any]) -> str | None:  # Any: what `Changes.to_data` made
        """Return why stored changes cannot be applied to this session as it is; None where they can."""
        if not stored:
            return None
        words = frozenset(stored["words"])
        watchers = {watcher.name: watcher for watcher in self._watchers(words)}
        if unknown := next((name for name in stored["data"] if name not in watchers), None):
            return f"no watcher {unknown!r} is registered (aw.register_state)"
        for name, data in stored["data"].items():
            if (why := watchers[name].refusal(data)) is not None:
                return f"{name}: {why}"
        for name, (digest, imported) in stored["required"].items():
            watcher = watchers[name]
            if watcher.library is not None and watcher.library not in sys.modules:
                if imported:
                    continue
                return f"{watcher.library} is not loaded"
            if watcher.requirement(watcher.snapshot(), stored["data"].get(name), words) != digest:
                return f"{name} differ from when it ran"
        return None

    def libraries(self) -> list[str]:
        """Return the modules whose states are watched."""
        return sorted({watcher.library for watcher in self._watchers(frozenset()) if watcher.library is not None})

    def digests(self) -> dict[str, str]:
        """Return a digest of each watched state as it is, by names that a reader understands."""
        found: dict[str, str] = {}
        for watcher in self._watchers(frozenset()):
            if watcher.library is None or watcher.library in sys.modules:
                found |= {f"{watcher.name}: {name}": digest_of([value]) for name, value in watcher.told().items()}
        return found

    def split(self, stored: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:  # Any: as above
        """Return the part of stored changes that imports depend on, which is plain data, and the rest."""
        if not stored:
            return {}, {}
        first = {watcher.name for watcher in self._watchers(frozenset(stored["words"])) if watcher.first}
        parts = [
            {
                # The environment is set a second time: libraries change it while they are imported.
                "data": {
                    name: data
                    for name, data in stored["data"].items()
                    if (name in first) is early or name == "environment"
                },
                "required": {name: mark for name, mark in stored["required"].items() if (name in first) is early},
                "words": stored["words"],
            }
            for early in (True, False)
        ]
        early, late = (part if part["data"] or part["required"] else {} for part in parts)
        return early, late

    def prepare(self, stored: Mapping[str, Any]) -> None:  # Any: as above
        """Apply the first part of `split`: what imports depend on; comes before them and before `apply`."""
        self._apply(stored, first=True)

    def apply(self, stored: Mapping[str, Any]) -> None:  # Any: as above
        """Apply changes, or the second part of `split` where the first was; after imports and variables are restored.

        Raises
        ------
        Exception
            Whatever a watcher raises: the hit cannot be served, and the cell is to run.
        """
        self._apply(stored, first=False)

    def _apply(self, stored: Mapping[str, Any], *, first: bool) -> None:
        data = stored.get("data")
        if not data:
            return
        for watcher in self._watchers(frozenset(stored["words"])):
            if watcher.name in data and (watcher.first or not first):
                watcher.apply(data[watcher.name])

    def _watchers(self, words: frozenset[str]) -> tuple[BuiltIn, ...]:
        from awaitly_nb.notebook.ledger.attributes import Attributes

        return (
            *_built_in(),
            LoadedModules(words),
            CalledSettings(words),
            Attributes(self._namespace, words),
            *shell_watchers(self._shell),
            *_registered.values(),
        )

    def _words(self, source: str) -> tuple[frozenset[str], tuple[FunctionType, ...]]:
        """Return the words of a cell, and of the user's code that it names, directly or through other code; and that.

        The packages of the values that are named count as words with a dot: `x + 1` says "numpy." if `x` is an array.
        """
        words = set(_WORD.findall(source))
        functions: list[FunctionType] = []
        seen: set[int] = set()
        waiting = [self._namespace[word] for word in words if word in self._namespace]
        while waiting:
            value = waiting.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            new: set[str] = set()
            if isinstance(value, FunctionType) and is_user_function(value):
                functions.append(value)
                new = _code_words(value.__code__) - words
                waiting += [value.__globals__[word] for word in new if word in value.__globals__]
            elif isinstance(value, type) and is_user_class(value):
                waiting += [part for part in vars(value).values() if not isinstance(part, str)]
                waiting += value.__bases__
            elif isinstance(value, FunctionType | BuiltinFunctionType | type):
                new = {_package(value.__module__ or "builtins")}
            elif isinstance(value, property | staticmethod | classmethod | MethodType):
                waiting += [getattr(value, name, None) for name in ("fget", "fset", "__func__")]
            elif isinstance(value, ModuleType):
                new = {_package(value.__name__)}
                if value.__name__ != "__main__" and is_user_module(value):
                    waiting += [part for part in vars(value).values() if isinstance(part, FunctionType | type)]
            elif type(value).__module__ != "builtins":
                waiting.append(type(value))
                new = {_package(str(type(value).__module__))}  # that of an array of ctypes is None
            words |= new
        return frozenset(words), tuple(functions)


@dataclass(frozen=True, slots=True)
class Registered:
    """A watcher that somebody registered, under its name."""

    name: str
    watcher: Watcher
    library: str | None = None
    first: bool = False

    def snapshot(self) -> State:
        """As the watcher says."""
        return self.watcher.snapshot()

    def difference(self, before: State) -> State | None:
        """As the watcher says."""
        return self.watcher.difference(before)

    def apply(self, data: State) -> None:
        """As the watcher says."""
        self.watcher.apply(data)

    def told(self) -> Mapping[Any, Any]:
        """Tell all of it under one name."""
        return {"state": self.snapshot()}

    def requirement(self, before: State, changed: State | None, words: frozenset[str]) -> str | None:  # noqa: ARG002
        """Require nothing: what code names of this state is unknown."""
        return None

    def refusal(self, data: State) -> str | None:  # noqa: ARG002 - the protocol's
        """Refuse nothing."""
        return None


def register_state(name: str, watcher: Watcher) -> None:
    """Add a watcher; see `awaitly_nb.register_state`, which this is behind."""
    missing = [method for method in ("snapshot", "difference", "apply") if not callable(getattr(watcher, method, None))]
    if missing:
        raise MisuseError(f"the watcher {name!r} has no method {missing[0]!r}: it needs snapshot, difference and apply")
    if not isinstance(name, str) or not name or any(name == own.name for own in _built_in()):
        raise MisuseError(f"{name!r} cannot name a watcher: it is empty, or a state that is watched anyway")
    _registered[name] = Registered(name, watcher)


_registered: dict[str, Registered] = {}


@cache
def _built_in() -> tuple[BuiltIn, ...]:
    from awaitly_nb.notebook.ledger.libraries import LIBRARIES
    from awaitly_nb.notebook.ledger.process import PROCESS
    from awaitly_nb.notebook.ledger.registries import REGISTRIES

    found: tuple[BuiltIn, ...] = (*PROCESS, *LIBRARIES, *REGISTRIES)
    return found


def _libraries(source: str) -> set[str]:
    """Return the libraries that a cell imports."""
    named = (name for found in _IMPORT.findall(source) for name in found.split(","))
    return {name.split()[0].partition(".")[0] for name in named}


def _package(module: str) -> str:
    return module.partition(".")[0] + "."


def _code_words(code: CodeType) -> set[str]:
    words = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            words |= _code_words(constant)
        elif isinstance(constant, str):
            words.update(_WORD.findall(constant))
    return words
