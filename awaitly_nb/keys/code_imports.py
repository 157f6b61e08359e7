"""Imports inside a function, and attributes of modules: what they will find, without running installed packages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from awaitly_nb.keys.code_graph import ABSENT, Held
from awaitly_nb.keys.code_origin import is_installed_path, top_package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from awaitly_nb.keys.code_graph import Lookup

__all__ = ["attribute_of", "imported", "imported_name", "place_of", "public_names"]


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
    try:
        return importlib.import_module(full)
    except Exception:  # noqa: BLE001 - the stranger is the user's module; the step itself will tell how it fails
        return None


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
    try:
        return getattr(module, name, ABSENT)  # a module may make its attributes when they are first asked for
    except Exception:  # noqa: BLE001 - the stranger is the module's own __getattr__
        return ABSENT


def place_of(module: ModuleType, name: str) -> Lookup:
    """Return where an attribute of a module is looked up; one that it makes when asked stands in no namespace."""
    return vars(module) if name in vars(module) else Held(module)


def public_names(module: ModuleType) -> list[str]:
    """Return the names that `from module import *` brings."""
    named = vars(module).get("__all__")
    return sorted(named if named is not None else (name for name in vars(module) if not name.startswith("_")))
