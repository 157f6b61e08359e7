"""Being told when a library has been imported: its state right after that is what the importing code began with."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from importlib.abc import Loader
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["after_imports"]


@contextmanager
def after_imports(libraries: Collection[str], call: Callable[[str], object]) -> Iterator[None]:
    """Call `call(library)` as soon as one of these libraries is imported, until the block ends.

    The module and its specification are as without this: only the loader's last step is followed by the call.
    """
    finder = _Finder(libraries, call)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with suppress(ValueError):  # somebody else took it out
            sys.meta_path.remove(finder)


class _Finder:
    def __init__(self, libraries: Collection[str], call: Callable[[str], object]) -> None:
        self._libraries = frozenset(libraries)
        self._call = call

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._libraries:
            return None
        # Libraries with state of their own lie on the path; what some other finder makes is not told of.
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader, lambda: self._call(name))
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any, call: Callable[[], object]) -> None:  # Any: importlib's loaders share no full type
        self._loader = loader
        self._call = call

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._call()

    def __getattr__(self, name: str) -> Any:  # Any: whatever the loader has
        return getattr(self._loader, name)
