"""Whose code it is: the user's, which is read, or an installed package's, which counts by name and version.

Hides how installed code is told from the user's, also where code names no file. This package itself always counts as
installed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from awaitly_nb.installed import is_installed_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.metadata import Distribution

__all__ = []

_PROMPTS = ("<ipython", "<stdin", "<python-input", "<doctest")


def is_user_code(code: CodeType, module: str | None = None) -> bool:
    """Tell whether `code`, of a function of `module`, is the user's.

    Code that some library made with `exec` names no file; then its module decides.
    """
    filename = code.co_filename
    if is_installed_path(filename):
        return False
    if filename.startswith("<") and module and module != "__main__" and not filename.startswith(_PROMPTS):
        found = sys.modules.get(module)
        if found is not None and not is_user_module(found):
            return False
    return True


def is_user_function(value: object) -> bool:
    """Tell whether `value` is a function in the user's code."""
    return isinstance(value, FunctionType) and is_user_code(value.__code__, value.__module__)


def is_user_module(module: ModuleType) -> bool:
    """Tell whether `module` is the user's."""
    name = module.__name__
    if name == "__main__":
        return True
    origin = module.__dict__.get("__file__")
    if isinstance(origin, str):
        return not is_installed_path(origin)
    spec = module.__dict__.get("__spec__")
    if spec is not None:
        locations = getattr(spec, "submodule_search_locations", None)
        if locations:  # a namespace package: its folders decide
            return not all(is_installed_path(os.path.join(str(path), "")) for path in locations)  # noqa: PTH118
        return False  # built in or frozen
    return True  # made by hand, as tests and notebooks do


def is_user_class(cls: type) -> bool:
    """Tell whether `cls` was defined in the user's code."""
    name = getattr(cls, "__module__", None)
    if not isinstance(name, str) or name == "builtins":
        return False
    module = sys.modules.get(name)
    if module is not None and not is_named_after_maker(cls):
        return is_user_module(module)
    for member in vars(cls).values():
        if isinstance(member, FunctionType):
            return is_user_code(member.__code__)
    return True


def is_named_after_maker(cls: type) -> bool:
    """Tell whether a class has the name of the module that made it for somebody, as `make_dataclass` leaves it."""
    name = cls.__module__
    return name in ("abc", "types") and getattr(sys.modules.get(name), cls.__qualname__, None) is not cls


def awaitly_object(value: object) -> bool:
    """Tell whether `value` is one of this package's own working objects (a workflow, a cache), which hold no input."""
    module = type(value).__module__
    return (
        isinstance(module, str)
        and (module == "awaitly_nb" or module.startswith("awaitly_nb."))
        and not module.startswith(("awaitly_nb.result", "awaitly_nb.errors", "awaitly_nb.keys", "awaitly_nb.states"))
    )


def functions_of(value: object) -> dict[str, Any]:  # Any: the user's functions
    """Return the functions that a workflow was given, and runs; nothing for any other object of this package."""
    return getattr(value, "_deps", None) or {}


_READING = frozenset({"entries", "get", "has", "keys", "lookup", "marks", "to_frame"})


def reads_results(value: object, chain: Sequence[str]) -> bool:
    """Tell whether code that takes these attributes of `value` reads what one of this package's caches holds."""
    cache = awaitly_object(value) and type(value).__module__.startswith("awaitly_nb.cache")
    return cache and not _READING.isdisjoint(chain)


def top_package(module: str) -> str:
    """Return the first name of a dotted module name."""
    return module.partition(".")[0]


def import_label(value: object) -> str:
    """Return the name under which installed code is found, as in `pandas.concat`."""
    if isinstance(value, ModuleType):
        return value.__name__
    owner = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__qualname__
    if not isinstance(owner, str):
        owner = type(value).__module__
    return f"{owner}.{name}"


@lru_cache(maxsize=1024)
def package_version(top: str) -> str | None:
    """Return the full version of an installed package, or None for the standard library and what has none."""
    if top in sys.stdlib_module_names or top in ("builtins", "__main__"):
        return None
    version = getattr(sys.modules.get(top), "__dict__", {}).get("__version__")
    if isinstance(version, str):
        return version
    from importlib import metadata

    with suppress(metadata.PackageNotFoundError, ValueError):
        return metadata.version(top)
    # A distribution of another name, as scikit-learn for `sklearn`. Loaded or not, the answer has to be the same.
    written = _written_version(top)
    if written is not None:
        return written
    for name in distributions_of(top):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def _written_version(top: str) -> str | None:
    """Return the version that a package states in its source: asking all distributions takes a second."""
    import importlib.util
    import re

    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in ("__init__.py", "_version.py", "version.py"):
            try:
                with open(os.path.join(folder, name), encoding="utf-8") as source:  # noqa: PTH118, PTH123
                    found = re.search(
                        r"^__version__\s*(?::\s*str\s*)?=\s*[\"']([^\"']+)[\"']", source.read(), re.MULTILINE
                    )
            except (OSError, UnicodeDecodeError):
                continue
            if found is not None:
                return found.group(1)
    return None


def distributions_of(top: str) -> list[str]:
    """Return the names of the installed distributions that have a top module of this name."""
    return sorted({found.name for found in _distributions().get(top, ())})


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[Distribution]]:
    """Return what `importlib.metadata.packages_distributions` does, which makes a path of every file of all of them."""
    from importlib import metadata

    tops: dict[str, list[Distribution]] = {}
    for found in metadata.distributions():
        for top in set((found.read_text("top_level.txt") or "").split()) or _recorded(found):
            tops.setdefault(top, []).append(found)
    return tops


def _recorded(found: Distribution) -> set[str]:
    """Return the top modules of a distribution by the list of its files."""
    tops = set()
    for row in (found.read_text("RECORD") or "").splitlines():
        first, separator, _ = row.partition(",")[0].partition("/")
        tops.add(first if separator or not first.endswith((".py", ".so", ".pyd")) else first.partition(".")[0])
    return {top for top in tops if "." not in top}
