"""What a function's result can depend on beside its arguments, and the checks that tell whether that still holds.

A graph has *fixed* parts, which stay as they are while the same objects stand behind the same names, and *slots* for
values that may change in place and are read again on every call. It holds functions, classes and modules weakly and
values not at all: memoising it keeps no data frame alive.
"""

from __future__ import annotations

import functools
import weakref
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from types import CodeType

__all__ = ["ABSENT", "SELF", "Cells", "Fixed", "Graph", "Held", "Items", "Lookup", "Slot", "is_code"]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()
SELF: Final = ""
"""Where `Held` has the object itself, beside its attributes."""


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


class Held:
    """What an object holds, by attribute, without keeping it alive; the object itself at `SELF`."""

    __slots__ = ("_owner",)

    def __init__(self, owner: object) -> None:
        self._owner = _ref(owner)

    def get(self, key: str, default: object, /) -> object:
        """Return what stands at `key`, or `default`."""
        owner = self._owner()
        if owner is None or key == SELF:
            return default if owner is None else owner
        return getattr(owner, key, default)


class Items:
    """The items of a tuple, by index."""

    __slots__ = ("_items",)

    def __init__(self, items: tuple[object, ...]) -> None:
        self._items = items

    def get(self, key: int, default: object, /) -> object:
        """Return what stands at `key`, or `default`."""
        return self._items[key] if key < len(self._items) else default


class Graph:
    """What was found, and the checks that tell whether it still holds."""

    __slots__ = ("_code", "_functions", "_owners", "_plain", "_tables", "fixed", "prefix", "slots", "texts")

    def __init__(self) -> None:
        self.fixed: list[Fixed] = []
        self.slots: list[Slot] = []
        self.texts: dict[str, None] = {}
        self.prefix: Any = None  # Any: a hashlib object fed with the fixed parts, which names no type
        self._code: list[tuple[Lookup, object, Callable[[], object]]] = []
        self._plain: list[tuple[Lookup, object, object]] = []
        self._functions: list[tuple[Callable[[], Any], CodeType, object, object, int]] = []
        self._owners: list[tuple[Callable[[], Any], int]] = []
        self._tables: list[tuple[Sized, int]] = []

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
