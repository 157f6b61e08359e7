"""What a function depends on beside its arguments, as a graph, and the digests made of it.

A graph has *fixed* parts, which stay as they are while the same objects stand behind the same names, and *slots* for
values that may change in place and are read again on every call. It holds functions, classes and modules weakly and
values not at all: no data frame lives longer because of it.

Hides memoisation. A digest with all values that are read (`function_digest`) and one of code alone (`code_mark`) are
asked for on every call of a step; a graph once collected is stored, and asked first whether it still holds, which costs
a look at each name behind it. `collect` finds what is in a graph.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from contextlib import suppress
from hashlib import blake2b
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys.origin import (
    awaitly_object,
    import_label,
    is_user_class,
    is_user_module,
    package_version,
    top_package,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sized

__all__ = [
    "ABSENT",
    "SELF",
    "AttributesOf",
    "Cells",
    "CodeGraph",
    "Fixed",
    "Items",
    "Lookup",
    "Slot",
    "Small",
    "attributes",
    "class_digest",
    "code_mark",
    "function_digest",
    "function_graph",
    "graph_digest",
    "has_state",
    "held_code",
    "is_code",
    "wrapped_function",
    "wrapped_name",
]

_MOST_GRAPHS: Final = 4096
_ALTERNATIVES: Final = 4

_graphs: dict[tuple[int, bool], tuple[Callable[[], object], CodeGraph]] = {}
_marks: dict[int, list[tuple[object, dict[str, Any], Mapping[str, Any] | None, CodeGraph, tuple[Any, ...], str]]] = {}
_running = threading.local()


def function_graph(function: object, *, defaults: bool = True) -> CodeGraph:
    """Return what `function` depends on, collected anew only when that can have changed.

    `defaults=False` leaves its own defaults out, for a caller that binds them as arguments.
    """
    place = (id(function), defaults)
    found = _graphs.get(place)
    if found is not None and found[0]() is function and found[1].holds():
        return found[1]
    from awaitly_nb.keys.collect import collect

    try:
        graph = collect(function, defaults=defaults)
    except Exception as exc:
        # User code may raise anything when its attributes are asked for; that is no reason for a step to fail.
        name = getattr(type(function), "__name__", "function")
        raise UnkeyableError(
            f"cannot key the code of this {name}: looking at it raised {type(exc).__name__}: {exc}; pass key=",
            path="code",
        ) from exc
    if len(_graphs) >= _MOST_GRAPHS:
        _graphs.clear()
    with suppress(TypeError):  # no weak references to it: collected on every call, which is right, only slower
        _graphs[place] = (weakref.ref(function, lambda _: _graphs.pop(place, None)), graph)
    return graph


def function_digest(function: object) -> str:
    """Return the digest of a function as a value: its code, its helpers' code, and all values that they read.

    A module of the user has one in the same way, of all that is in it.
    """
    return _guarded(function, lambda: graph_digest(function_graph(function)))


def class_digest(cls: type) -> str:
    """Return the digest of a class as a value: of its code and bases; of name and version when it is installed."""
    if not is_user_class(cls):
        label = import_label(cls)
        version = package_version(top_package(label)) or ""
        return _hex(f"class {label} {'.'.join(version.split('.')[:2])}")
    return _guarded(cls, lambda: graph_digest(function_graph(cls)))


def _guarded(value: object, digest: Callable[[], str]) -> str:
    # A function may read a table that holds the function: the second visit is a reference back, not a descent.
    visiting: list[int] = _running.__dict__.setdefault("visiting", [])
    if id(value) in visiting:
        return f"back {len(visiting) - visiting.index(id(value))}"
    visiting.append(id(value))
    try:
        return digest()
    finally:
        visiting.pop()


def graph_digest(graph: CodeGraph) -> str:
    """Return the digest of everything in `graph`, its slots read now."""
    hasher = blake2b(digest_size=16)
    for kind, name, digest, _ in graph.fixed:
        hasher.update(f"{kind}\x1f{name}\x1f{digest}\x1e".encode("utf-8", "surrogatepass"))
    for slot in graph.slots:
        hasher.update(f"{slot.kind}\x1f{slot.name}\x1f{slot_digest(slot)}\x1e".encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()


def slot_digest(slot: Slot) -> str:
    """Return the fingerprint of what stands in `slot` now."""
    from awaitly_nb.keys.values import fingerprint

    value = slot.lookup.get(slot.key, ABSENT)
    return "absent" if value is ABSENT else fingerprint(value, path=f"{slot.kind} {slot.name}", read=True)


def code_mark(fn: object, deps: Mapping[str, Callable[..., Any]] | None = None) -> str:
    """Return the mark of `fn`'s code: its own tree, its helpers in user code, each `ctx.deps.X` that it names.

    Never closure, default or global values: under an explicit key the values are the user's business. Never raises;
    what has no code of its own is marked by its name.

    Examples
    --------
    >>> code_mark(lambda: 1) == code_mark(lambda: 1), code_mark(lambda: 1) == code_mark(lambda: 2)
    (True, False)
    """
    function = fn.__func__ if type(fn) is MethodType else fn
    if type(function) is not FunctionType:
        return _mark_of(function, deps)
    code = function.__code__
    entries = _marks.get(id(code))
    if entries is not None:
        for _, module_globals, known_deps, graph, cells, mark in entries:
            if module_globals is not function.__globals__ or known_deps is not deps or not graph.holds():
                continue
            if not cells or cells == _code_cells(function):
                return mark
    return _remember(function, deps)


def _remember(function: FunctionType, deps: Mapping[str, Any] | None) -> str:
    mark, graph = _mark_and_graph(function, deps)
    if graph is None:
        return mark
    if len(_marks) >= _MOST_GRAPHS:
        _marks.clear()
    entry = (function.__code__, function.__globals__, deps, graph, _code_cells(function), mark)
    _marks[id(function.__code__)] = [entry, *_marks.get(id(function.__code__), [])[: _ALTERNATIVES - 1]]
    return mark


def _code_cells(function: FunctionType) -> tuple[Any, ...]:
    """Return the code found in the closure of a function, by which two closures of one code object are told apart."""
    found: list[object] = []
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if is_user_class(type(value)):
            found.append(type(value))
        met = (value, *(item for _, _, item in held_code(value)))
        found.extend(item.__code__ if isinstance(item, FunctionType) else item for item in met if is_code(item))
    return tuple(found)


def _mark_of(value: object, deps: Mapping[str, Any] | None) -> str:
    return _mark_and_graph(value, deps)[0]


def _mark_and_graph(value: object, deps: Mapping[str, Any] | None) -> tuple[str, CodeGraph | None]:
    from awaitly_nb.keys.collect import collect

    try:
        graph = collect(value, values=False, deps=deps, defaults=False)
        if graph.fixed:
            return graph_digest(graph), graph
        return _hex(import_label(value)), None
    except Exception:  # noqa: BLE001 - user code may raise anything; a mark never fails a step
        return _hex(f"type {type(value).__module__}.{type(value).__qualname__}"), None


def _hex(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# -- graphs ------------------------------------------------------------------------------------------------------------


class _NothingThere:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _NothingThere()
SELF: Final = ""
"""Where `AttributesOf` has the object itself, beside its attributes."""


class Lookup(Protocol):
    """Where a value is read: a namespace, a closure, the defaults of a function."""

    def get(self, key: Any, default: Any, /) -> Any:  # Any: whatever stands there
        """Return what stands at `key`, or `default`."""


class Fixed(NamedTuple):
    """A part that holds as long as the graph's checks do."""

    kind: str
    name: str
    digest: str
    shown: object


class Small(NamedTuple):
    """What a fixed part shows of a small value, outlined when somebody wants to see it."""

    value: object


class Slot(NamedTuple):
    """A value that is read again on every call, because it may change in place."""

    kind: str
    name: str
    lookup: Lookup
    key: object


class Cells:
    """The closure of a function, by index, without keeping the function alive."""

    __slots__ = ("_function",)

    def __init__(self, function: FunctionType) -> None:
        self._function = weakref.ref(function)

    def get(self, key: int, default: object, /) -> object:
        """Return what stands at `key`, or `default`."""
        function = self._function()
        if function is None or function.__closure__ is None:
            return default
        try:
            return function.__closure__[key].cell_contents
        except ValueError:  # the cell is empty: its variable was not assigned yet
            return default


class AttributesOf:
    """What an object holds, by attribute, without keeping it alive; the object itself at `SELF`."""

    __slots__ = ("_owner",)

    def __init__(self, owner: object) -> None:
        self._owner = _ref(owner)

    def get(self, key: str, default: object, /) -> object:
        """Return what stands at `key`, or `default`."""
        owner = self._owner()
        if owner is None or key == SELF:
            return default if owner is None else owner
        return module_attribute(owner, key, default) if isinstance(owner, ModuleType) else getattr(owner, key, default)


def module_attribute(module: ModuleType, name: str, default: object) -> object:
    """Return an attribute of a module; of one that a module of the user makes when asked, the code that makes it.

    Asking would run that code, which may count how often it is asked.
    """
    held = vars(module)
    if name in held or not is_user_module(module):
        try:
            return getattr(module, name, default)
        except Exception:  # noqa: BLE001 - a module's own __getattr__ may raise anything
            return default
    made = next((vars(cls)[name] for cls in type(module).__mro__ if name in vars(cls)), default)
    return held.get("__getattr__", default) if made is default else made


class Items:
    """The items of a tuple, by index."""

    __slots__ = ("_items",)

    def __init__(self, items: tuple[object, ...]) -> None:
        self._items = items

    def get(self, key: int, default: object, /) -> object:
        """Return what stands at `key`, or `default`."""
        return self._items[key] if key < len(self._items) else default


class CodeGraph:
    """What was found, and the checks that tell whether it still holds.

    Attributes
    ----------
    fixed, slots
        The parts that stay, and the places that are read again.
    texts
        Text in the code and in small values, which may name files.
    named
        Those texts and the file names quoted in them, once somebody has asked for the files.
    names
        Of a cell: the variables that it reads, with the exact text of those that are small values.
    """

    __slots__ = (
        *("_code", "_functions", "_isolated", "_owners", "_plain", "_tables"),
        *("fixed", "named", "nameless_in", "names", "prefix", "slots", "texts"),
    )

    def __init__(self) -> None:
        self.fixed: list[Fixed] = []
        self.slots: list[Slot] = []
        self.texts: dict[str, None] = {}
        self.named: tuple[str, ...] | None = None
        self.nameless_in: tuple[int, ...] | None = None
        self.names: dict[str, str | None] = {}
        self.prefix: Any = None  # Any: a hashlib object fed with the fixed parts, which names no type
        self._code: list[tuple[Lookup, object, Callable[[], object]]] = []
        self._plain: list[tuple[Lookup, object, object]] = []
        self._functions: list[tuple[Callable[[], Any], CodeType, object, object, int]] = []
        self._owners: list[tuple[Callable[[], Any], int]] = []
        self._tables: list[tuple[Sized, int]] = []
        self._isolated: bool | None = None

    def holds(self) -> bool:
        """Tell whether the same objects still stand behind every name, so that the fixed parts are right."""
        for lookup, key, ref in self._code:
            if lookup.get(key, ABSENT) is not ref():
                return False
        for lookup, key, value in self._plain:
            if lookup.get(key, ABSENT) is not value:
                return False
        for ref, code, defaults, kwdefaults, size in self._functions:
            function = ref()
            # Autoreload puts new code into the old function; the name it stands behind tells nothing of that.
            if function is None or function.__code__ is not code or len(function.__dict__) != size:
                return False
            if function.__defaults__ is not defaults or function.__kwdefaults__ is not kwdefaults:
                return False
        for ref, size in self._owners:
            owner = ref()
            if owner is None or len(vars(owner)) != size:
                return False
        for table, size in self._tables:
            if len(table) != size:
                return False
        # A slot whose value became a function or class is code now, and needs the collector.
        return not self.slots or not any(is_code(slot.lookup.get(slot.key, ABSENT)) for slot in self.slots)

    def is_isolated(self) -> bool:
        """Tell whether the code reaches nothing but its arguments: with plain ones it can read and change nothing else.

        All that it looks up is code of this kind, a plain value, or a builtin that only computes.
        """
        if self._isolated is None:
            followed = {code for _, code, *_ in self._functions}
            self._isolated = (
                not (self._owners or self._tables or self.slots)
                and all(value is not ABSENT or key in _COMPUTING for _, key, value in self._plain)
                and all(_only_computes(ref(), followed) for _, _, ref in self._code)
                and all(map(_stays_inside, followed))
                and bool(followed)
            )
        return self._isolated

    def watch_code(self, lookup: Lookup, key: object, value: object) -> None:
        """Let `holds` say no once another object stands at `key`."""
        self._code.append((lookup, key, _ref(value)))

    def watch_plain(self, lookup: Lookup, key: object, value: object) -> None:
        """Let `holds` say no once another object than the immutable `value` stands at `key`."""
        self._plain.append((lookup, key, value))

    def watch_function(self, function: FunctionType) -> None:
        """Let `holds` say no once `function` gets other code or defaults, or gets or loses attributes."""
        size = len(function.__dict__)
        entry = (_ref(function), function.__code__, function.__defaults__, function.__kwdefaults__, size)
        self._functions.append(entry)

    def watch_attributes(self, owner: object) -> None:
        """Let `holds` say no once a class or a wrapper gets or loses attributes."""
        self._owners.append((_ref(owner), len(vars(owner))))

    def watch_size(self, table: Sized) -> None:
        """Let `holds` say no once something joins or leaves `table`."""
        self._tables.append((table, len(table)))


_COMPUTING: Final = frozenset(
    {
        *("abs", "all", "any", "ascii", "bin", "bool", "bytearray", "bytes", "chr", "complex", "dict", "divmod"),
        *("enumerate", "filter", "float", "frozenset", "hex", "int", "isinstance", "issubclass", "iter", "len"),
        *("list", "map", "max", "min", "next", "oct", "ord", "pow", "range", "repr", "reversed", "round", "set"),
        *("slice", "sorted", "str", "sum", "tuple", "zip", "ArithmeticError", "AssertionError", "Exception"),
        *("IndexError", "KeyError", "LookupError", "NotImplementedError", "OverflowError", "RuntimeError"),
        *("StopIteration", "TypeError", "ValueError", "ZeroDivisionError"),
    }
)
"""Builtins that do nothing but compute with what they are given."""

_OUTWARD: Final = ("IMPORT_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "LOAD_BUILD_CLASS")
_TELLING: Final = ("UNARY_INVERT",)  # of a truth value it warns, and whoever warns asks the filters
_INWARDS: Final = ("_", "gi_", "cr_", "ag_", "tb_", "f_", "format")  # frames; and `format`, which takes names as text
_ASYNCHRONOUS: Final = 0x80 | 0x200  # flags of coroutines and asynchronous generators, as `inspect` has them


def _only_computes(value: object, followed: set[CodeType]) -> bool:
    if type(value) is FunctionType:
        return value.__code__ in followed
    home = value.__self__ if type(value) is BuiltinFunctionType else value
    # In C: a module of the user's that has the name is another one.
    return home is sys.modules.get("math", ABSENT) and type(vars(home).get("sqrt")) is BuiltinFunctionType


def _stays_inside(code: CodeType) -> bool:
    """Tell whether code imports nothing, sets nothing outside, and asks for no attribute that leads out of values."""
    from opcode import opmap

    outward = {opmap[name] for name in (*_OUTWARD, *_TELLING) if name in opmap}
    return (
        outward.isdisjoint(code.co_code[::2])
        and not any(name.startswith(_INWARDS) for name in code.co_names)
        and not code.co_flags & _ASYNCHRONOUS
        and all(_stays_inside(inner) for inner in code.co_consts if isinstance(inner, CodeType))
    )


def _ref(value: object) -> Callable[[], object]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


_CODE_TYPES: Final = (
    FunctionType,
    type,
    ModuleType,
    functools.cached_property,
    functools.partial,
    staticmethod,
    classmethod,
    property,
)


def is_code(value: object) -> bool:
    """Tell whether `value` is code, which is followed, and no data, which is fingerprinted."""
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType | type) or _is_record(value.__self__)
    return isinstance(value, _CODE_TYPES)


def _is_record(owner: object) -> bool:
    # What pybind11 binds a plain function to: where its C++ code lies, no data.
    return type(owner).__name__ == "PyCapsule" or "pybind11" in type(owner).__name__


# -- callables ---------------------------------------------------------------------------------------------------------

_WRAPPED: Final = ("__wrapped__", "py_func")


def attributes(value: object) -> Mapping[str, object]:
    """Return the attributes that `value` itself holds, whatever its class answers for others."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return held if isinstance(held, dict | MappingProxyType) else {}


def wrapped_name(value: object) -> str | None:
    """Return the attribute in which a decorator stores what it wrapped (`functools.wraps`, a numba dispatcher)."""
    held = attributes(value)
    for name in _WRAPPED:
        if name in held:
            return name
    ours = (type(value).__module__ or "").partition(".")[0] == "awaitly_nb"
    return _WRAPPED[0] if ours and hasattr(value, _WRAPPED[0]) else None


def wrapped_function(value: object) -> object:
    """Return what a decorator wrapped into `value` (`functools.wraps`, `lru_cache`, a numba dispatcher), or None."""
    name = wrapped_name(value)
    return None if name is None else getattr(value, name, None)


def has_state(value: object) -> bool:
    """Tell whether a callable is more than the code that it leads to, so that it counts as a value beside it.

    That is an object with fields, and a method of an object. A function is its code; what a decorator of an installed
    package holds is that package's own affair.
    """
    if isinstance(value, MethodType):
        return True
    if isinstance(value, BuiltinFunctionType | MethodWrapperType):
        return not is_code(value)
    if is_code(value) or not callable(value):
        return False
    if awaitly_object(value):
        return False
    if wrapped_name(value) is not None:
        return is_user_class(type(value))
    return not _is_named(value)


def _is_named(value: object) -> bool:
    # A ufunc, but none of `np.frompyfunc`, and a method taken of a builtin class: their names say all.
    if hasattr(value, "__objclass__"):
        return True
    if type(value).__name__ != "ufunc":
        return False
    name = getattr(value, "__name__", "")
    return any(getattr(sys.modules.get(home), name, None) is value for home in ("numpy", "scipy.special"))


# -- code that an object brings along ----------------------------------------------------------------------------------

_MOST: Final = 64
"""A table with more than this is data. The closure of a thunk is looked at on every call, so this is small."""


def held_code(value: object) -> Iterator[tuple[Lookup, Any, object]]:  # Any: a key of the user's
    """Yield what `value` holds that is code or brings code along: where it is found, under which key, and what it is.

    Of a dict, a list or a tuple its items, of an object of the user's its attributes.
    """
    lookup: Lookup
    items: Collection[tuple[Any, object]]
    if type(value) is dict:
        lookup, items = value, value.items()
    elif type(value) is list or type(value) is tuple:
        if len(value) > _MOST:
            return
        lookup, items = Items(tuple(value)), list(enumerate(value))
    elif is_user_class(type(value)):
        lookup, items = AttributesOf(value), getattr(value, "__dict__", {}).items()
    else:
        return
    if len(items) > _MOST:
        return
    for key, item in list(items):
        if is_code(item) or type(item) in (dict, list, tuple) or is_user_class(type(item)):
            yield lookup, key, item
