"""Imports inside a function: what they will find, without running installed packages to learn it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from awaitly_nb.keys.code_origin import is_installed_path, top_package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

__all__ = ["imported"]


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
