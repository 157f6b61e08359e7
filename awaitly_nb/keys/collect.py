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

from awaitly_nb.keys.classes import Inside, classes_named, members
from awaitly_nb.keys.code import (
    attribute_of,
    imported,
    imported_name,
    own_tree,
    place_of,
    public_names,
    quoted_in,
    references,
)
from awaitly_nb.keys.graph import (
    ABSENT,
    SELF,
    AttributesOf,
    Cells,
    CodeGraph,
    Fixed,
    Items,
    Slot,
    Small,
    attributes,
    has_state,
    held_code,
    is_code,
    wrapped_function,
    wrapped_name,
)
from awaitly_nb.keys.origin import (
    awaitly_object,
    functions_of,
    import_label,
    is_user_class,
    is_user_function,
    is_user_module,
    package_version,
    reads_results,
    top_package,
)
from awaitly_nb.keys.parts import named_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from awaitly_nb.keys.code import Bound, Chain, OwnTree
    from awaitly_nb.keys.graph import Lookup

__all__ = ["collect", "collect_names"]


def collect(
    function: object, *, values: bool = True, deps: Mapping[str, object] | None = None, defaults: bool = True
) -> CodeGraph:
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
    collector.root(function)
    collector.drain()
    return collector.graph


def collect_names(
    chains: Iterable[Chain], namespace: Mapping[str, Any], imports: Iterable[Bound] = (), texts: Iterable[str] = ()
) -> CodeGraph:
    """Return all that the code of a cell depends on, when it reads these names of `namespace` and imports `imports`."""
    collector = _Collector(values=True, deps={}, root=None, root_defaults=True)
    collector.graph.texts.update(dict.fromkeys(texts))
    collector.home = namespace
    starred = collector.imports(imports, namespace, cell=True)
    for chain in chains:
        collector.mentioned.update(chain[1:])
        if chain[0] not in starred:
            collector.name(namespace, "", chain)
    collector.drain()
    return collector.graph


_LONGEST: Final = 100_000
"""Text that is longer is no query, and not searched for names."""

_NAMED: Final = frozenset({"code", "helper", "class", "import", "package"})
"""Parts that say one thing wherever they are met, so that meeting them again adds nothing."""


class _Collector:
    def __init__(self, *, values: bool, deps: Mapping[str, object], root: object, root_defaults: bool) -> None:
        self.graph = CodeGraph()
        self.home: Mapping[str, Any] | None = None
        self._values = values
        self._deps = deps
        self._root = root
        self._root_defaults = root_defaults
        self._root_module: str | None = getattr(root, "__module__", None)
        self._own_cells: Cells | None = None
        self._labels: dict[int, str] = {}
        self._places: set[tuple[int, object]] = set()
        self._alive: list[object] = []  # ids in `_labels` and `_places` stay their own while these live
        self._taken: dict[tuple[str, str], str] = {}
        self._holders: set[int] = set()
        self._todo: deque[tuple[FunctionType, str, bool]] = deque()
        self.mentioned: set[str] = set()  # attributes that the code takes of one object or another
        self._bearers: list[tuple[str, object, AttributesOf]] = []

    def root(self, value: object) -> None:
        """Follow what the graph is of: its code, and its state where it is an object that can be called."""
        name = getattr(value, "__name__", type(value).__name__)
        self.reach("code", name, value)
        # The object of a method is bound as its first argument.
        if has_state(value) and not isinstance(value, MethodType):
            self._slot("object", name, AttributesOf(value), SELF)

    def drain(self) -> None:
        """Follow the functions that were reached. A queue, because helpers may call helpers a thousand deep."""
        while True:
            while self._todo:
                self._inside(*self._todo.popleft())
            self._attributes()
            if not self._todo:
                return

    def _attributes(self) -> None:
        """Count the attributes of functions, as in `model.k = 2`: those that the code, as far as it is read, names."""
        all_of_them = "__dict__" in self.mentioned
        for label, bearer, held in self._bearers:
            for name, value in sorted(attributes(bearer).items()):
                if not name.startswith("__") and (all_of_them or name in self.mentioned or name in self.graph.texts):
                    self._at("global", f"{label}.{name}", held, name, value)

    def _bears(self, label: str, value: object) -> None:
        if attributes(value):
            self._bearers.append((label, value, AttributesOf(value)))
            if not is_user_function(value):  # a function of the user's is watched as one
                self.graph.watch_attributes(value)

    # -- names -------------------------------------------------------------------------------------------------

    def name(self, namespace: Mapping[str, Any], module: str, chain: Chain, *, kind: str = "global") -> None:
        """Follow a name, and the attributes taken of it as long as it is a module."""
        shown = chain[0] if namespace is self.home or not module else f"{module}.{chain[0]}"
        lookup: Lookup = namespace
        value = namespace.get(chain[0], ABSENT)
        if value is ABSENT:
            if chain[0] == "vars":
                self.mentioned.add("__dict__")
            self._absent("builtin" if hasattr(builtins, chain[0]) else kind, shown, namespace, chain[0])
            return
        if namespace is self.home:
            self.graph.names.setdefault(chain[0], None)
        key = chain[0]
        for attribute in chain[1:]:
            if not isinstance(value, ModuleType):
                break
            self.graph.watch_code(lookup, key, value)
            self._fix("import", shown, value.__name__, value.__name__)
            if not is_user_module(value):
                self._package(value.__name__)
                self._patched(shown, value, chain[chain.index(attribute) :])
                return
            lookup, key, shown = place_of(value, attribute), attribute, f"{shown}.{attribute}"
            value = attribute_of(value, attribute)
        if value is ABSENT:
            self._absent("global", shown, lookup, key)
        elif reads_results(value, chain):
            self._slot("global", shown, lookup, key)  # which is refused
        else:
            self._at("global", shown, lookup, key, value)
            if len(chain) > 1 and not isinstance(value, ModuleType):
                self._patched(shown, value, chain[1:])

    def _patched(self, shown: str, owner: object, attributes: Chain) -> None:
        """Follow a function of the user that was put on an installed module or class: `pd.DataFrame.rows = rows`."""
        for attribute in attributes:
            places: list[Mapping[str, Any]] = []
            if isinstance(owner, ModuleType):
                places.append(vars(owner))
            else:
                cls = owner if isinstance(owner, type) else type(owner)
                places.extend(vars(base) for base in cls.__mro__ if not is_user_class(base))
            place = next((place for place in places if attribute in place), None)
            if place is None:
                return
            owner, shown = place[attribute], f"{shown}.{attribute}"
            if is_user_function(owner):
                self._at("helper", shown, place, attribute, owner)
            if not isinstance(owner, ModuleType | type):
                return

    def _absent(self, kind: str, name: str, lookup: Lookup, key: str) -> None:
        if self._is_new(lookup, key):
            self.graph.watch_plain(lookup, key, ABSENT)
            if kind != "builtin":
                self._fix(kind, name, "absent", "absent")

    def _is_new(self, lookup: Lookup, key: object) -> bool:
        """Tell whether this place is met for the first time; many names lead to one place."""
        before = len(self._places)
        self._places.add((id(lookup), key))
        self._alive.append(lookup)
        return len(self._places) > before

    def _at(self, kind: str, name: str, lookup: Lookup, key: object, value: object) -> None:
        """Count what stands in one place: code is followed, a small value is fixed, any other gets a slot."""
        if not self._is_new(lookup, key):
            return
        shell = isinstance(value, MethodType) and getattr(value, "__name__", "") == "get_ipython"
        if shell and not is_user_function(getattr(value, "__func__", None)):
            # What a cell does through the shell is in its code (`!ls`, `%cd`); the shell itself is no input.
            self._installed(name, value)
        elif awaitly_object(value) and wrapped_function(value) is None:
            self.graph.watch_code(lookup, key, value)
            self._fix("import", name, import_label(type(value)), import_label(type(value)))
            for dep, function in functions_of(value).items():
                self._at("global", f"{name}.deps.{dep}", functions_of(value), dep, function)
        elif isinstance(value, MethodType):
            self.reach(kind, name, value.__func__)
            self._slot(kind, name, lookup, key)
        elif is_code(value) or wrapped_function(value) is not None:
            if lookup is not self._own_cells:
                self.graph.watch_code(lookup, key, value)
            self.reach(kind, name, value)
            if has_state(value):
                self._slot(kind, name, lookup, key)  # a decorator of the user's, which may hold more than the function
        elif self._values:
            self._value(kind, name, lookup, key, value)
        else:
            self._holder(kind, name, lookup, key, value)

    def _value(self, kind: str, name: str, lookup: Lookup, key: object, value: object) -> None:
        # A bare object() marks an absence; it has no content, and its name says which mark it is.
        if isinstance(value, str) and len(value) < _LONGEST and type(lookup) is dict:
            for chain in quoted_in(value):
                if chain[0] in lookup:
                    self.graph.watch_plain(lookup, key, value)
                    self.name(lookup, "", chain)
        token = "object" if type(value) is object else named_token(name, value)
        if token is None:
            self._slot(kind, name, lookup, key)
        else:
            self.graph.watch_plain(lookup, key, value)
            self._fix(kind, name, token, Small(value))
            if lookup is self.home:
                self.graph.names[str(key)] = token
            if isinstance(value, str):
                self.graph.texts[value] = None

    def _holder(self, kind: str, name: str, lookup: Lookup, key: object, value: object) -> None:
        """Follow the code of what is no code itself: `client.fetch`, or `TABLE["fetch"]`."""
        if id(value) in self._holders:
            return
        self._holders.add(id(value))
        self._alive.append(value)
        held, own = list(held_code(value)), is_user_class(type(value))
        if (held or own) and lookup is not self._own_cells:
            self.graph.watch_code(lookup, key, value)
        if own:
            self.reach("global", type(value).__name__, type(value))
        for place, where, item in held:
            self._at(kind, f"{name}[{where!r}]", place, where, item)

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
        self._held(kind, name, value, "func")
        given = "closure" if kind == "code" else kind
        items = Items(value.args)
        for index, item in enumerate(value.args):
            self._at(given, f"{name}({index})", items, index, item)
        for key, item in value.keywords.items():
            self._at(given, f"{name}({key}=)", value.keywords, key, item)

    def _held(self, kind: str, name: str, owner: object, attribute: str) -> None:
        """Follow the callable that another one holds, and count its state."""
        value = getattr(owner, attribute)
        self.reach(kind, name, value)
        if has_state(value):
            self._slot("closure" if kind == "code" else kind, f"{name}.{attribute}", AttributesOf(owner), attribute)

    def _wrapper(self, kind: str, name: str, value: object) -> None:
        if isinstance(value, staticmethod | classmethod | MethodType):
            self._held(kind, name, value, "__func__")
        elif isinstance(value, functools.cached_property):
            self._held(kind, name, value, "func")
        elif isinstance(value, property):
            for accessor in ("fget", "fset", "fdel"):
                if getattr(value, accessor) is not None:
                    self._held(kind, name, value, accessor)
        elif (inner := wrapped_name(value)) is not None:
            if not awaitly_object(value):
                self.reach(kind, name, type(value))
            elif (version := getattr(value, "version", None)) is not None:
                self._at("version", getattr(value, "name", name), AttributesOf(value), "version", version)
            self._held(kind, name, value, inner)
            self._bears(name, value)
        elif callable(value):
            self.reach(kind, name, type(value))

    def _function(self, kind: str, name: str, function: FunctionType) -> None:
        if not is_user_function(function):
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
        self.mentioned.update(found.attributes)
        for chain in found.chains:
            self.name(function.__globals__, function.__module__ or "", chain)
        for dep in found.deps:
            if dep in self._deps:
                self._at("global", f"deps.{dep}", self._deps, dep, self._deps[dep])
        for chain in found.quoted:  # what is no global is a column, a local variable, or the end of an address
            known = chain[0] in function.__globals__
            self.name(function.__globals__, function.__module__ or "", chain, kind="global" if known else "builtin")
        self.imports(found.imports, function.__globals__)
        cells = Cells(function)
        if function is self._root and not self._values:
            # A thunk is made anew in every run, over the same code: whoever remembers the mark compares its closure.
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
        self._bears(prefix.rstrip(".") or function.__name__, function)
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
        self.graph.watch_attributes(cls)
        found = members(cls, defaults=not self._values)
        self._fix("class", label, found.digest, found.text)
        # What an annotation names is made by pydantic, or by whoever reads annotations, with no mention in the code.
        for base in (*cls.__bases__, type(cls), *found.named):
            if base not in (object, type):
                self.reach("global", base.__name__, base)
        for name, function in found.functions:
            self.graph.watch_code(vars(cls), name, vars(cls).get(name, ABSENT))
            self.graph.watch_function(function)
            if is_user_function(function):
                self._labels.setdefault(id(function), f"{label}.{name}")
                self._alive.append(function)
                self._todo.append((function, f"{label}.{name}.", True))
            else:
                self._installed_function("global", f"{label}.{name}", function)
        inside = Inside(cls)
        for name, path, value in found.values:
            self._at("global", f"{label}.{name}", inside, path, value)
        home = vars(sys.modules.get(cls.__module__, sys))
        for text in found.texts:
            for name, kinds in classes_named(text, home):
                self.graph.watch_code(home, name, home.get(name, ABSENT))
                for kind in kinds:
                    self.reach("global", kind.__name__, kind)
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
        self._alive.append(value)
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
            self._bears(name, function)
        cells = Cells(function)
        for index in range(len(function.__closure__ or ())):
            value = cells.get(index, ABSENT)
            # A decorator of a package has the user's functions here; its other state is its own affair.
            if isinstance(value, FunctionType) and value is not inner and is_user_function(value):
                self.graph.watch_code(cells, index, value)
                self.reach("helper", value.__name__, value)
        registry = vars(function).get("registry")  # functools.singledispatch
        if isinstance(registry, MappingProxyType):
            self.graph.watch_size(registry)
            for cls, handler in registry.items():
                self._at("helper", getattr(handler, "__name__", name), registry, cls, handler)

    # -- modules -----------------------------------------------------------------------------------------------

    def _whole_module(self, name: str, module: ModuleType) -> None:
        """Follow a module that is used as an object, of which nobody can say what is taken of it."""
        if not is_user_module(module) or not self._is_new(vars(module), None):
            self._installed(name, module)
            return
        self._fix("import", name, module.__name__, module.__name__)
        self.graph.watch_attributes(module)
        for key in sorted(vars(module)):
            if not key.startswith("__") or key == "__getattr__":
                self._at("global", f"{module.__name__}.{key}", vars(module), key, vars(module)[key])

    def imports(self, imports: Iterable[Bound], namespace: Mapping[str, Any], *, cell: bool = False) -> set[str]:
        """Follow the imports of a function or a cell; return the names that `import *` brings."""
        starred: set[str] = set()
        found = [(bound, imported(bound.wanted.module, bound.wanted.level, namespace)) for bound in imports]
        for (name, wanted, chains), module in found:  # now that all are loaded: `import a.b` makes `a` have a `b`
            if module is None:
                continue
            if isinstance(module, str) or not is_user_module(module):
                # No more than where it is not loaded yet: the first run must not change the key.
                self._package(module if isinstance(module, str) else module.__name__)
                continue
            self.graph.watch_code(sys.modules, module.__name__, module)
            star = wanted.names == ("*",)
            names = public_names(module) if star else wanted.names or ("",)
            starred.update(names if star else ())
            for key in names:
                value = imported_name(module, key, namespace)
                if isinstance(value, ModuleType) and not star:
                    for chain in chains:
                        self.name({name: value}, "", chain)
                elif value is not ABSENT and (chains or star or not cell or not is_code(value)):
                    shown = name if cell and not star else f"{module.__name__}.{key}"
                    self._at("global", shown, place_of(module, key), key, value)
        return starred
