"""Finds all that a function's result can depend on beside its arguments: its helpers' code, and the values they read.

Starting from one function (or from the names a cell reads), the collector follows every name into the user's code, each
function and class once, so cycles end. Installed code is not entered; it counts by name and version.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections import deque
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, MethodWrapperType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.keys.code_class import members
from awaitly_nb.keys.code_graph import ABSENT, Cells, Fixed, Graph, Items, Slot, is_code
from awaitly_nb.keys.code_held import held_code
from awaitly_nb.keys.code_imports import imported
from awaitly_nb.keys.code_names import Import, references
from awaitly_nb.keys.code_origin import (
    awaitly_object,
    import_label,
    is_user_class,
    is_user_code,
    is_user_module,
    package_version,
    top_package,
)
from awaitly_nb.keys.code_tree import own_tree
from awaitly_nb.keys.tokens import named_token, plain_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from awaitly_nb.keys.cell_names import CellImport
    from awaitly_nb.keys.code_graph import Lookup
    from awaitly_nb.keys.code_names import Chain
    from awaitly_nb.keys.code_tree import OwnTree

__all__ = ["collect", "collect_names", "wrapped_function"]


def wrapped_function(value: object) -> object:
    """Return what a decorator wrapped into `value` (`functools.wraps`, `lru_cache`, a numba dispatcher), or None."""
    try:
        state = object.__getattribute__(value, "__dict__")
    except AttributeError:
        state = {}
    if isinstance(state, dict | MappingProxyType):
        for name in ("__wrapped__", "py_func"):
            if name in state:
                return state[name]
    if (type(value).__module__ or "").partition(".")[0] == "awaitly_nb":
        return getattr(value, "__wrapped__", None)
    return None


def collect(
    function: object, *, values: bool = True, deps: Mapping[str, object] | None = None, defaults: bool = True
) -> Graph:
    """Return all that `function` depends on.

    Parameters
    ----------
    values
        False leaves globals, closures and defaults out, and counts code alone.
    deps
        What `ctx.deps.X` stands for.
    defaults
        False leaves out the defaults of `function` itself, because they are bound as arguments.
    """
    collector = _Collector(values=values, deps=deps or {}, root=function, root_defaults=defaults)
    collector.reach("code", getattr(function, "__name__", type(function).__name__), function)
    collector.drain()
    return collector.graph


def collect_names(
    chains: Iterable[Chain], namespace: Mapping[str, Any], imports: Iterable[CellImport] = (), texts: Iterable[str] = ()
) -> Graph:
    """Return all that the code of a cell depends on, when it reads these names of `namespace` and imports `imports`."""
    collector = _Collector(values=True, deps={}, root=None, root_defaults=True)
    collector.graph.texts.update(dict.fromkeys(texts))
    collector.home = namespace
    starred = collector.cell_imports(imports, namespace)
    for chain in chains:
        if chain[0] not in starred:
            collector.name(namespace, "", chain)
    collector.drain()
    return collector.graph


def _attribute(module: ModuleType, name: str) -> object:
    try:
        return getattr(module, name, ABSENT)  # a module may make its attributes when they are first asked for
    except Exception:  # noqa: BLE001 - the stranger is the module's own __getattr__
        return ABSENT


_NAMED: Final = frozenset({"code", "helper", "class", "import", "package"})
"""Parts that say one thing wherever they are met, so that meeting them again adds nothing."""


def _outline(value: object) -> object:
    from awaitly_nb.keys.values import outline

    return outline(value)


class _Collector:
    def __init__(self, *, values: bool, deps: Mapping[str, object], root: object, root_defaults: bool) -> None:
        self.graph = Graph()
        self.home: Mapping[str, Any] | None = None
        self._values = values
        self._deps = deps
        self._root = root
        self._root_defaults = root_defaults
        self._root_module: str | None = getattr(root, "__module__", None)
        self._own_cells: Cells | None = None
        self._labels: dict[int, str] = {}
        self._places: set[tuple[int, object]] = set()
        self._kept: list[object] = []  # ids in `_labels` and `_places` stay their own while these live
        self._taken: dict[tuple[str, str], str] = {}
        self._holders: set[int] = set()
        self._todo: deque[tuple[FunctionType, str, bool]] = deque()

    def drain(self) -> None:
        """Follow the functions that were reached. A queue, because helpers may call helpers a thousand deep."""
        while self._todo:
            self._inside(*self._todo.popleft())

    # -- names -------------------------------------------------------------------------------------------------

    def name(self, namespace: Mapping[str, Any], module: str, chain: Chain) -> None:
        """Follow a name, and the attributes taken of it as long as it is a module."""
        shown = chain[0] if namespace is self.home or not module else f"{module}.{chain[0]}"
        lookup: Mapping[str, Any] = namespace
        value = namespace.get(chain[0], ABSENT)
        if value is ABSENT:
            self._absent("builtin" if hasattr(builtins, chain[0]) else "global", shown, namespace, chain[0])
            return
        key = chain[0]
        for attribute in chain[1:]:
            if not isinstance(value, ModuleType):
                break
            self._module(shown, value, lookup, key)
            if not is_user_module(value):
                return
            lookup, key, shown = vars(value), attribute, f"{shown}.{attribute}"
            value = _attribute(value, attribute)
        if value is ABSENT:
            self._absent("global", shown, lookup, key)
        else:
            self._at("global", shown, lookup, key, value)

    def _absent(self, kind: str, name: str, lookup: Mapping[str, Any], key: str) -> None:
        if self._is_new(lookup, key):
            self.graph.watch_plain(lookup, key, ABSENT)
            if kind != "builtin":
                self._fix(kind, name, "absent", "absent")

    def _is_new(self, lookup: Lookup, key: object) -> bool:
        """Tell whether this place is met for the first time; many names lead to one place."""
        before = len(self._places)
        self._places.add((id(lookup), key))
        self._kept.append(lookup)
        return len(self._places) > before

    def _at(self, kind: str, name: str, lookup: Lookup, key: object, value: object) -> None:
        """Count what stands in one place: code is followed, a small value is fixed, any other gets a slot."""
        if not self._is_new(lookup, key):
            return
        if isinstance(value, MethodType) and value.__name__ == "get_ipython" and not self._is_user(value.__func__):
            # What a cell does through the shell is in its code (`!ls`, `%cd`); the shell itself is no input.
            self._installed(name, value)
        elif awaitly_object(value) and wrapped_function(value) is None:
            self.graph.watch_code(lookup, key, value)
            self._fix("import", name, import_label(type(value)), import_label(type(value)))
        elif isinstance(value, MethodType):
            self.reach(kind, name, value.__func__)
            self._slot(kind, name, lookup, key)
        elif is_code(value) or wrapped_function(value) is not None:
            if lookup is not self._own_cells:
                self.graph.watch_code(lookup, key, value)
            self.reach(kind, name, value)
            if not is_code(value) and is_user_class(type(value)):
                self._slot(kind, name, lookup, key)  # a decorator of the user's, which may hold more than the function
        elif self._values:
            self._value(kind, name, lookup, key, value)
        else:
            self._holder(kind, name, lookup, key, value)

    def _value(self, kind: str, name: str, lookup: Lookup, key: object, value: object) -> None:
        # A bare object() marks an absence; it has no content, and its name says which mark it is.
        token = "object" if type(value) is object else named_token(name, value)
        if token is None:
            self._slot(kind, name, lookup, key)
        else:
            self.graph.watch_plain(lookup, key, value)
            self._fix(kind, name, token, _outline(value))
            if isinstance(value, str):
                self.graph.texts[value] = None

    def _holder(self, kind: str, name: str, lookup: Lookup, key: object, value: object) -> None:
        """Follow the code of what is no code itself: `client.fetch`, or `TABLE["fetch"]`."""
        if id(value) in self._holders:
            return
        self._holders.add(id(value))
        self._kept.append(value)
        held, own = list(held_code(value)), is_user_class(type(value))
        if (held or own) and lookup is not self._own_cells:
            self.graph.watch_code(lookup, key, value)
        if own:
            self.reach("global", type(value).__name__, type(value))
        for place, where, item in held:
            self._at(kind, f"{name}[{where!r}]", place, where, item)

    @staticmethod
    def _is_user(function: object) -> bool:
        return isinstance(function, FunctionType) and is_user_code(function.__code__, function.__module__)

    def _slot(self, kind: str, name: str, lookup: Lookup, key: object) -> None:
        if self._values:
            self.graph.slots.append(Slot(kind, self._unique(kind, name, ""), lookup, key))

    def _fix(self, kind: str, name: str, digest: str, shown: object) -> None:
        if self._taken.get((kind, name)) != digest or kind not in _NAMED:
            self.graph.fixed.append(Fixed(kind, self._unique(kind, name, digest), digest, shown))

    def _unique(self, kind: str, name: str, digest: str) -> str:
        # Two modules made by `exec` may have one name, and so may two things in them; both count.
        unique, number = name, 1
        while (kind, unique) in self._taken:
            number += 1
            unique = f"{name}#{number}"
        self._taken[kind, unique] = digest
        return unique

    # -- code --------------------------------------------------------------------------------------------------

    def reach(self, kind: str, name: str, value: object) -> None:
        """Follow a value that is code."""
        if isinstance(value, FunctionType):
            self._function(kind, name, value)
        elif isinstance(value, type):
            if is_user_class(value):
                self._alias(name, value.__name__, self._class(value))
            else:
                self._installed(name, value)
        elif isinstance(value, ModuleType):
            self._whole_module(name, value)
        elif isinstance(value, BuiltinFunctionType | MethodWrapperType):
            self._installed(name, value)
        elif isinstance(value, functools.partial):
            self._partial(kind, name, value)
        else:
            self._wrapper(kind, name, value)

    def _partial(self, kind: str, name: str, value: functools.partial[Any]) -> None:
        self.reach(kind, name, value.func)
        given = "closure" if kind == "code" else kind
        items = Items(value.args)
        for index, item in enumerate(value.args):
            self._at(given, f"{name}({index})", items, index, item)
        for key, item in value.keywords.items():
            self._at(given, f"{name}({key}=)", value.keywords, key, item)

    def _wrapper(self, kind: str, name: str, value: object) -> None:
        if isinstance(value, staticmethod | classmethod | MethodType):
            self.reach(kind, name, value.__func__)
        elif isinstance(value, property):
            for accessor in (value.fget, value.fset, value.fdel):
                if accessor is not None:
                    self.reach(kind, name, accessor)
        elif (inner := wrapped_function(value)) is not None:
            if not awaitly_object(value):
                self.reach(kind, name, type(value))
            self.reach(kind, name, inner)
        elif callable(value):
            self.reach(kind, name, type(value))

    def _function(self, kind: str, name: str, function: FunctionType) -> None:
        if not is_user_code(function.__code__, function.__module__):
            self._installed_function(kind, name, function)
            return
        known = self._labels.get(id(function))
        if known is not None:
            self._alias(name, function.__code__.co_qualname.rpartition(".")[2], known)
            return
        root = kind == "code"
        # The code's own name: a wrapper has taken on the name of what it wraps.
        code_name = function.__code__.co_qualname
        nameless = code_name.endswith("<lambda>")
        own_name = name if nameless else code_name
        label = self._label(function, own_name, None if nameless else function.__module__)
        if root and self.home is None:
            self.home = function.__globals__
        if not root:
            self._alias(name, own_name.rpartition(".")[2], label)
        tree = own_tree(function.__code__, function.__globals__)
        self._fix("code" if root else "helper", name if root else label, self._tree_digest(tree), tree.text)
        if self._values or function is not self._root:
            self.graph.watch_function(function)
        self._todo.append((function, "" if root else f"{label}.", self._root_defaults or function is not self._root))

    def _tree_digest(self, tree: OwnTree) -> str:
        # Where values count, the defaults do as values: an edited one that a call does not use changes nothing.
        return tree.body_digest if self._values else tree.digest

    def _inside(self, function: FunctionType, prefix: str, defaults: bool) -> None:  # noqa: FBT001 - private
        code = function.__code__
        found = references(code)
        self.graph.texts.update(dict.fromkeys(found.texts))
        for chain in found.chains:
            self.name(function.__globals__, function.__module__ or "", chain)
        for dep in found.deps:
            if dep in self._deps:
                self._at("global", f"deps.{dep}", self._deps, dep, self._deps[dep])
        for wanted in found.imports:
            self._local_import(wanted, function.__globals__)
        cells = Cells(function)
        if function is self._root and not self._values:
            # A thunk is made anew in every run, over the same code: whoever keeps the mark compares the closure itself.
            self._own_cells = cells
        for index, variable in enumerate(code.co_freevars):
            value = cells.get(index, ABSENT)
            if value is ABSENT:
                self.graph.watch_plain(cells, index, ABSENT)
                continue
            self._at("closure", f"{prefix}{variable}", cells, index, value)
        inner = wrapped_function(function)
        if inner is not None:
            self.graph.watch_code(vars(function), "__wrapped__", inner)
            self.reach("helper", getattr(inner, "__name__", "wrapped"), inner)
        if defaults:
            self._defaults(function, prefix)

    def _defaults(self, function: FunctionType, prefix: str) -> None:
        code = function.__code__
        given = function.__defaults__ or ()
        items = Items(given)
        names = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
        for index, (argument, value) in enumerate(zip(names, given, strict=True)):
            self._at("default", f"{prefix}{argument}", items, index, value)
        keyword_only = function.__kwdefaults__ or {}
        for argument, value in keyword_only.items():
            self._at("default", f"{prefix}{argument}", keyword_only, argument, value)

    def _class(self, cls: type) -> str:
        known = self._labels.get(id(cls))
        if known is not None:
            return known
        label = self._label(cls, cls.__qualname__, cls.__module__)
        self.graph.watch_class(cls)
        found = members(cls, defaults=not self._values)
        self._fix("class", label, found.digest, found.text)
        for base in (*cls.__bases__, type(cls)):
            if base not in (object, type):
                self.reach("global", base.__name__, base)
        for name, function in found.functions:
            self.graph.watch_code(vars(cls), name, vars(cls).get(name, ABSENT))
            self.graph.watch_function(function)
            if is_user_code(function.__code__, function.__module__):
                self._labels.setdefault(id(function), f"{label}.{name}")
                self._kept.append(function)
                self._todo.append((function, f"{label}.{name}.", True))
            else:
                self._installed_function("global", f"{label}.{name}", function)
        for name, value in found.values:
            self._at("global", f"{label}.{name}", vars(cls), name, value)
        return label

    def _label(self, value: object, qualname: str, module: str | None) -> str:
        label = qualname if module in (self._root_module, "__main__", None) else f"{module}.{qualname}"
        taken = set(self._labels.values())
        number = 1
        unique = label
        while unique in taken:
            number += 1
            unique = f"{label}#{number}"
        self._labels[id(value)] = unique
        self._kept.append(value)
        return unique

    def _alias(self, name: str, own_name: str, label: str) -> None:
        # Under its own name a function speaks for itself; under another, what the name means is a part of the key.
        if name.rpartition(".")[2] != own_name:
            self._fix("import", name, label, label)

    # -- installed code ----------------------------------------------------------------------------------------

    def _installed(self, name: str, value: object) -> None:
        label = import_label(value)
        self._fix("import", name, label, label)
        self._package(label)

    def _package(self, module: str) -> None:
        top = top_package(module)
        version = package_version(top)
        if version is not None:
            self._fix("package", top, ".".join(version.split(".")[:2]), version)

    def _installed_function(self, kind: str, name: str, function: FunctionType) -> None:
        self._installed(name, function)
        inner = wrapped_function(function)
        if inner is not None:
            self.reach("helper" if kind != "code" else kind, name, inner)
        cells = Cells(function)
        for index in range(len(function.__closure__ or ())):
            value = cells.get(index, ABSENT)
            # A decorator of a package keeps the user's functions here; its other state is its own affair.
            if (
                isinstance(value, FunctionType)
                and value is not inner
                and is_user_code(value.__code__, value.__module__)
            ):
                self.graph.watch_code(cells, index, value)
                self.reach("helper", value.__name__, value)
        registry = vars(function).get("registry")  # functools.singledispatch
        if isinstance(registry, MappingProxyType):
            for cls, handler in registry.items():
                self.graph.watch_code(registry, cls, handler)
                self.reach("helper", getattr(handler, "__name__", name), handler)

    # -- modules -----------------------------------------------------------------------------------------------

    def _module(self, name: str, module: ModuleType, lookup: Lookup, key: object) -> None:
        self.graph.watch_code(lookup, key, module)
        self._fix("import", name, module.__name__, module.__name__)
        if not is_user_module(module):
            self._package(module.__name__)

    def _whole_module(self, name: str, module: ModuleType) -> None:
        if not is_user_module(module) or not self._is_new(vars(module), None):
            self._installed(name, module)
            return
        self._fix("import", name, module.__name__, module.__name__)
        for key, value in list(vars(module).items()):
            if key.startswith("__"):
                continue
            own = getattr(value, "__module__", None) == module.__name__
            if (isinstance(value, FunctionType | type) and own) or plain_token(value) is not None:
                self._at("global", f"{module.__name__}.{key}", vars(module), key, value)

    def cell_imports(self, imports: Iterable[CellImport], namespace: Mapping[str, Any]) -> set[str]:
        """Follow the imports of a cell; return the names that `import *` brings."""
        starred: set[str] = set()
        for name, wanted, chains in imports:
            module = imported(wanted.module, wanted.level, namespace)
            if isinstance(module, str):
                self._package(module)
            elif module is not None and not is_user_module(module):
                # No more than where it is not loaded yet: the first run of the cell must not change its key.
                self._package(module.__name__)
            elif module is not None and wanted.names == ("*",):
                starred.update(vars(module).get("__all__", [key for key in vars(module) if not key.startswith("_")]))
                self._whole_module(module.__name__, module)
            elif module is not None:
                value = self._imported_name(module, wanted, namespace)
                for chain in chains:
                    self.name({name: value}, "", chain)
        return starred

    def _local_import(self, wanted: Import, module_globals: Mapping[str, Any]) -> None:
        module = imported(wanted.module, wanted.level, module_globals)
        if isinstance(module, str):
            self._package(module)
            return
        if module is None:
            return
        self.graph.watch_code(sys.modules, module.__name__, module)
        if not is_user_module(module):
            self._package(module.__name__)
        elif not wanted.names:
            self._whole_module(module.__name__, module)
        else:
            for name in wanted.names:
                value = self._imported_name(module, wanted._replace(names=(name,)), module_globals)
                if value is not ABSENT:
                    self._at("global", f"{module.__name__}.{name}", vars(module), name, value)

    @staticmethod
    def _imported_name(module: ModuleType, wanted: Import, module_globals: Mapping[str, Any]) -> object:
        if not wanted.names:
            return module
        value = _attribute(module, wanted.names[0])
        if value is ABSENT:  # a module of the package that is not loaded yet
            value = imported(f"{module.__name__}.{wanted.names[0]}", 0, module_globals) or ABSENT
        return value
