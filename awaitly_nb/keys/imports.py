"""Being told when a library has been imported: its state right after that is what the importing code began with."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.abc import Loader
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["ImportWatch"]


class ImportWatch:
    """Calls `call(library)` as soon as one of these libraries is imported, from its making until it is closed.

    The module and its specification are as without this: only the loader's last step is followed by the call. Of
    several that wait for one library, each is called, in the order in which they were made.
    """

    __slots__ = ("call", "libraries")

    def __init__(self, libraries: Collection[str], call: Callable[[str], object]) -> None:
        self.libraries = libraries
        self.call = call
        if libraries:
            sys.meta_path.insert(0, self)

    def close(self) -> None:
        """Call nobody from now on."""
        if self.libraries:
            with suppress(ValueError):  # somebody else took it out
                sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the specification of one of the libraries, whose loader tells; None for any other module."""
        if name not in self.libraries:
            return None
        # Libraries with state of their own lie on the path; what some other finder makes is not told of.
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        # Python asks only the first finder that knows the module, which is the one made last.
        waiting = [one for one in sys.meta_path if isinstance(one, ImportWatch) and name in one.libraries]
        spec.loader = _Loader(spec.loader, [(one.call, name) for one in reversed(waiting)])
        return spec


class _Loader(Loader):
    # Any: importlib's loaders share no full type
    def __init__(self, loader: Any, calls: list[tuple[Callable[[str], object], str]]) -> None:
        self._loader = loader
        self._calls = calls

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        for call, name in self._calls:
            call(name)

    def __getattr__(self, name: str) -> Any:  # Any: whatever the loader has
        return getattr(self._loader, name)
