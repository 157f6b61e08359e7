"""Attributes that a cell sets on modules and classes of others: `pd.DataFrame.rows = f`, `tqdm.pandas()`, `json.x = 1`.

A cheap look: the modules and classes that the words of the cell name, and the classes that are usual targets. What a
cell sets on its own classes and functions is part of their value, and not watched here.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter, is_
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from awaitly_nb.codec import remember_original
from awaitly_nb.keys import is_user_class, is_user_function, is_user_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from awaitly_nb.notebook.ledger.settings import Values

__all__ = ["Attributes", "is_hung", "something_is_set"]

Target: TypeAlias = "tuple[str, str]"
"""A module's name, and the qualified name of a class in it; empty for the module itself."""


class Attributes:
    """What modules and classes of others have for attributes.

    Parameters
    ----------
    namespace
        The user's variables.
    words
        The words of the cell.
    """

    name = "attributes"
    library: str | None = None
    first = False

    def __init__(self, namespace: Mapping[str, Any], words: frozenset[str]) -> None:  # Any: the user's values
        self._namespace = namespace
        self._words = words
        self._loaded: set[str] = set()

    def note_loaded(self, library: str) -> None:
        """Note that all of a library is there, although the import of it has not come back yet."""
        self._loaded.add(library)

    def snapshot(self) -> dict[Target, Values]:
        """Return the attributes of each target."""
        # A class shows its attributes through a proxy, whose own `copy` takes a tenth of what `dict` does.
        return {_target(owner): vars(owner).copy() for owner in self._owners()}

    def told(self) -> Values:
        """Return the names of the usual targets' attributes, which a cell may have added to."""
        return {f"{owner.__module__}.{owner.__qualname__}": sorted(vars(owner)) for owner in _usual()}

    def in_force(self) -> dict[str, Any]:  # Any: whatever was set
        """Return the attributes that cells of this process have set, and that a cell of these words may use.

        What was there before, its package uses by itself; what is new only those who name it.
        """
        found = {}
        for (target, name), original in _touched.items():
            package = target[0].partition(".")[0] + "."
            if name not in self._words and (original is _GONE or package not in self._words):
                continue
            if not _is_library(target):
                continue
            now = vars(_found(target)).get(name, _GONE)
            # A library that fills itself when it is first used sets attributes of its own making.
            if now is not original and not (original is _GONE and callable(now) and not _is_users(now)):
                found[".".join((*target, name))] = None if now is _GONE else now
        return found

    def reached(self) -> list[tuple[str, object]]:
        """Return what cells of this process have hung into libraries, by name: functions, and values that may change.

        The library may call the functions in any cell; the values are only those that this cell names.
        """
        found = []
        for target, name in sorted(_touched):
            value = vars(_found(target)).get(name, _GONE)
            is_users = isinstance(value, FunctionType) and is_user_function(value)
            if is_users or (name in self._words and isinstance(value, _HOLDERS)):
                found.append((".".join((*target, name)), value))
        return found

    def difference(self, before: dict[Target, Values]) -> Values | None:
        """Return the attributes that were set, those that are gone, and those that are as at first."""
        made: Values = {}
        gone: list[tuple[Target, str]] = []
        back: list[tuple[Target, str]] = []
        for target, was in before.items():
            owner = _found(target)
            now = vars(owner)
            if len(now) == len(was) and all(map(is_, now.values(), was.values())):
                continue
            for name in {**was, **now}:
                if now.get(name, _GONE) is was.get(name, _GONE) or not self._counts(owner, name, now.get(name)):
                    continue
                original = _note_original(target, name, was.get(name, _GONE))
                if name not in now:
                    gone.append((target, name))
                elif now[name] is original and _is_library(
                    target
                ):  # by its name it would come back as what is there then
                    back.append((target, name))
                else:
                    made[target, name] = now[name]
        return {"set": made, "gone": gone, "back": back} if made or gone or back else None

    def apply(self, data: Values) -> None:
        """Set and delete as the cell did."""
        for target, name in [*data["set"], *data["gone"]]:
            _note_original(target, name, vars(_found(target)).get(name, _GONE))
        for (target, name), value in data["set"].items():
            setattr(_found(target), name, value)
        for target, name in data["back"]:
            if (target, name) in _touched:
                setattr(_found(target), name, _touched[target, name])
        for target, name in data["gone"]:
            with suppress(AttributeError):  # it is not there, as it should be
                delattr(_found(target), name)

    def requirement(self, before: Values, changed: Values | None, words: frozenset[str]) -> str | None:  # noqa: ARG002
        """Require nothing: an attribute that is set to what it was is the same object."""
        return None

    def refusal(self, data: Values) -> str | None:  # noqa: ARG002 - what could be set there can be set here
        """Refuse nothing."""
        return None

    def _counts(self, owner: ModuleType | type, name: str, value: object) -> bool:
        if (_target(owner), name) in _touched:
            return True
        if isinstance(owner, ModuleType):
            # Modules fill themselves lazily: only what the cell names is its own doing.
            return not self._words.isdisjoint((name, "setattr")) and not isinstance(value, ModuleType)
        if name in _OF_THE_CLASS or name.startswith("_abc_"):
            return False
        # Other classes keep locks and monitors of their own, which come again with their use.
        return name in self._words or any(owner is usual for usual in _usual())

    def _owners(self) -> Iterator[ModuleType | type]:
        usual = _usual()
        yield from usual
        seen = set(map(id, usual))
        waiting: list[Any] = [self._namespace.get(word, sys.modules.get(word)) for word in self._words]
        waiting += [builtins, *(_found(target) for target, _ in _touched)]
        while waiting:
            owner = waiting.pop()
            if not isinstance(owner, (ModuleType, type)) or id(owner) in seen:
                continue
            seen.add(id(owner))
            if isinstance(owner, type):
                if owner.__module__ not in _OWN and owner.__flags__ & _HEAP_TYPE and _is_reachable(owner):
                    yield owner
            elif owner.__name__ not in _OWN and (owner.__name__ in self._loaded or not _is_filling(owner)):
                attributes = vars(owner)
                waiting += [attributes[word] for word in self._words if word in attributes]
                yield owner


def something_is_set() -> bool:
    """Tell whether a cell of this process has set an attribute of a library."""
    return bool(_touched)


def is_hung(value: object) -> bool:
    """Tell whether a cell of this process has hung this value into a library."""
    return any(vars(_found(target)).get(name, _GONE) is value for target, name in _touched)


def _note_original(target: Target, name: str, value: object) -> object:
    """Note what was there before a cell of this process set it first, and return that."""
    if (target, name) not in _touched:
        _touched[target, name] = value
        goes_by_name = isinstance(value, FunctionType | BuiltinFunctionType | type) or target == ("sys", "")
        if value is not _GONE and goes_by_name and _is_library(target):
            remember_original(target[0], ".".join(filter(None, (target[1], name))), value)
    return _touched[target, name]


def _usual() -> tuple[type, ...]:
    return _usual_of(tuple(module for module in _USUAL if module in sys.modules))


@lru_cache(maxsize=16)
def _usual_of(modules: tuple[str, ...]) -> tuple[type, ...]:
    found = [(sys.modules[module], name) for module in modules for name in _USUAL[module]]
    return tuple(getattr(module, name) for module, name in found if hasattr(module, name))


def _target(owner: ModuleType | type) -> Target:
    return (owner.__module__, owner.__qualname__) if isinstance(owner, type) else (owner.__name__, "")


def _found(target: Target) -> Any:  # Any: a module or a class
    module = importlib.import_module(target[0])
    return attrgetter(target[1])(module) if target[1] else module


def _is_users(value: object) -> bool:
    if isinstance(value, FunctionType):
        return is_user_function(value)
    return is_user_class(value if isinstance(value, type) else type(value))


def _is_library(target: Target) -> bool:
    module = sys.modules.get(target[0])
    return module is not None and not is_user_module(module)


def _is_filling(module: ModuleType) -> bool:
    """Tell whether a module is being imported: what it has not got yet is no attribute that somebody sets."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _is_reachable(owner: type) -> bool:
    module, name = _target(owner)
    try:
        return attrgetter(name)(sys.modules[module]) is owner
    except (KeyError, AttributeError):
        return False


_GONE = object()
_HOLDERS = (list, dict, set, bytearray)
_touched: dict[tuple[Target, str], Any] = {}  # Any: whatever was there before a cell of this process set it first
_HEAP_TYPE = 1 << 9  # attributes of other types cannot be set
_OWN = frozenset({"__main__"})
_OF_THE_CLASS = frozenset(
    {"__doc__", "__dict__", "__weakref__", "__abstractmethods__", "__annotations__", "__module__"}
)
_USUAL = {
    "pandas.core.frame": ("DataFrame",),
    "pandas.core.series": ("Series",),
    "pandas.core.groupby.generic": ("DataFrameGroupBy", "SeriesGroupBy"),
    "pandas.core.groupby.groupby": ("GroupBy",),
    "pandas.core.window.rolling": ("Rolling", "Expanding"),
    "matplotlib.axes._axes": ("Axes",),
    "matplotlib.figure": ("Figure",),
}
