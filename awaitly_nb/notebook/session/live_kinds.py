"""How objects of each kind are treated by `live`: what one reaches, what it holds, and how it is given other contents.

One small class for each kind; `kind_of` chooses. Changing an object in place raises `CannotRestoreError` where nobody
could do the same to the object of another session.
"""

from __future__ import annotations

import array
import gc
import io
import logging
import operator
import os
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import MutableMapping
from contextvars import ContextVar
from functools import cache, partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import TYPE_CHECKING, Any, Final

import xxhash

from awaitly_nb.codec import all_handlers, bare, handlers_of, is_global_generator, named_nan
from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import fingerprint, is_user_class, is_user_function, is_user_module
from awaitly_nb.notebook.session.kind import CannotRestoreError, Kind, type_name
from awaitly_nb.notebook.session.live_iterators import ITERATORS
from awaitly_nb.notebook.session.live_memos import count_again, counts_of, memo_of
from awaitly_nb.pandas_attributes import set_on_pandas

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

__all__ = [
    "LEAF",
    "blocks_of",
    "comes_back_empty",
    "has_open_order",
    "is_frame",
    "kind_of",
    "stands_on_block",
]


_ATOMS: Final[frozenset[type]] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis), type(NotImplemented), CodeType}
    | {GetSetDescriptorType, MemberDescriptorType, TracebackType}
)
_ATOM_MODULES: Final = frozenset(
    {"datetime", "decimal", "fractions", "pathlib", "uuid", "re", "ipaddress", "zoneinfo", "enum", "_thread"}
    | {"threading", "logging", "IPython", "ipykernel", "traitlets", "awaitly_nb", "pyarrow", "_io", "io"}
)
"""Of these nothing changes in place that a cell's value depends on; or it is the shell's and this package's own."""


def _inner(values: Iterable[object]) -> list[object]:
    return [value for value in values if type(value) not in _ATOMS or _is_own_nan(value)]


def _all_atoms(values: Collection[object]) -> bool:
    kinds = set(map(type, values))
    if not kinds <= _ATOMS:
        return False
    # Only what is no number differs from itself.
    return float not in kinds or not any(map(operator.ne, values, values)) or not any(map(_is_own_nan, values))


def _is_own_nan(value: object) -> bool:
    """Tell whether this is a not-a-number of the user's: containers look for the very object."""
    return type(value) is float and value != value and named_nan(value) is None  # noqa: PLR0124 - that is its test


def _is_each(one: Iterable[object], other: Iterable[object]) -> bool:
    return all(map(operator.is_, one, other))


class _Fixed:
    """Of which only the parts may change: tuples, bound methods, partials, properties."""

    def __init__(self, parts: Callable[[Any], Iterable[object]]) -> None:
        self._parts = parts

    def children(self, value: Any) -> list[object]:
        return _inner(self._parts(value))

    def state(self, _value: Any) -> Any:
        return None

    def same(self, _value: Any, _state: Any) -> bool:
        return True

    def contents(self, value: Any, _state: Any) -> Any:
        raise AssertionError(value)

    def change(self, value: Any, _contents: Any) -> None:
        raise AssertionError(value)


class _Lists:
    def children(self, value: Any) -> list[object]:
        return [] if _all_atoms(value) else _inner(value)

    def state(self, value: Any) -> Any:
        return list(value)

    def same(self, value: Any, state: Any) -> bool:
        return len(value) == len(state) and _is_each(value, state)

    def contents(self, value: Any, _state: Any) -> Any:
        return list(value)

    def change(self, value: Any, contents: Any) -> None:
        if isinstance(value, deque):
            value.clear()
            value.extend(contents)
        else:
            list.__setitem__(value, slice(None), contents)


class _Dicts:
    def children(self, value: Any) -> list[object]:
        if _all_atoms(value) and _all_atoms(value.values()):
            return []
        return _inner(part for item in value.items() for part in item)

    def state(self, value: Any) -> Any:
        return dict(value)

    def same(self, value: Any, state: Any) -> bool:
        return len(value) == len(state) and _is_each(value, state) and _is_each(value.values(), state.values())

    def contents(self, value: Any, _state: Any) -> Any:
        return dict(value)

    def change(self, value: Any, contents: Any) -> None:
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        kind.clear(value)
        kind.update(value, contents)


class _Sets:
    def children(self, value: Any) -> list[object]:
        # A set has another order in each process, which the fingerprints of its items have not.
        inner = [] if _all_atoms(value) else _inner(value)
        return inner if len(inner) < 2 else sorted(inner, key=_mark)  # noqa: PLR2004 - one item has one order

    def state(self, value: Any) -> Any:
        return set(value)

    def same(self, value: Any, state: Any) -> bool:
        return len(value) == len(state) and set(map(id, value)) == set(map(id, state))

    def contents(self, value: Any, _state: Any) -> Any:
        return list(value)

    def change(self, value: Any, contents: Any) -> None:
        set.clear(value)
        set.update(value, contents)


class _Bytes:
    def children(self, _value: Any) -> list[object]:
        return []

    def state(self, value: Any) -> Any:
        return bytes(value)

    def same(self, value: Any, state: Any) -> bool:
        return bool(bytes(value) == state)

    def contents(self, value: Any, _state: Any) -> Any:
        return bytes(value)

    def change(self, value: Any, contents: Any) -> None:
        value[:] = array.array(value.typecode, contents) if isinstance(value, array.array) else contents


class _Views:
    """Views of memory: what is written through one shows in the object below it, if that is watched."""

    def children(self, value: Any) -> list[object]:
        return _inner([value.obj])

    def state(self, value: Any) -> Any:
        if value.readonly or kind_of(type(value.obj), value.obj) is not None:
            return None
        return value.tobytes()

    def same(self, value: Any, state: Any) -> bool:
        return value.nbytes < 0 or state is None or bool(value.tobytes() == state)  # raises for a released view

    def contents(self, value: Any, _state: Any) -> Any:
        raise CannotRestoreError(f"it writes into the memory of a {type_name(type(value.obj))}")

    def change(self, value: Any, contents: Any) -> None:
        raise AssertionError(value, contents)


class _Arrays:
    """NumPy's arrays: contents by raw bytes, or by the identity of the objects in them."""

    def children(self, value: Any) -> list[object]:
        if value.dtype.kind != "O":
            return []
        items = value.ravel().tolist()
        return [] if _all_atoms(items) else _inner(items)

    def state(self, value: Any) -> Any:
        held = value.ravel().tolist() if value.dtype.hasobject else _digest(value)
        return value.shape, value.dtype, held, value.flags.writeable

    def same(self, value: Any, state: Any) -> bool:
        shape, dtype, held, writeable = state
        if value.shape != shape or value.dtype != dtype or value.flags.writeable != writeable:
            return False
        return _is_each(value.ravel().tolist(), held) if dtype.hasobject else _digest(value) == held

    def contents(self, value: Any, state: Any) -> Any:
        if value.shape != state[0] or value.dtype != state[1]:
            raise CannotRestoreError("it gives an array another shape or dtype in place")
        if value.flags.writeable != state[3]:
            raise CannotRestoreError("it sets whether an array may be written to")
        return bare(value)

    def change(self, value: Any, contents: Any) -> None:
        value[...] = contents


class _Objects:
    """Instances by their attributes, and by what else their class keeps: items, or a state of its own."""

    def __init__(self, cls: type) -> None:
        self._slots = [
            name
            for base in cls.__mro__
            for name, member in vars(base).items()
            if type(member) is MemberDescriptorType and name not in {"__dict__", "__weakref__", "__vectorcalloffset__"}
        ]
        if issubclass(cls, BaseException):
            self._slots += _OF_ERRORS
        self._items: _Lists | _Dicts | _Sets | None = None
        if issubclass(cls, list | deque):
            self._items = _Lists()
        elif issubclass(cls, dict):
            self._items = _Dicts()
        elif issubclass(cls, set):
            self._items = _Sets()
        # Some of its state may lie where no attribute tells of it.
        own_reduce = any("__reduce__" in vars(base) or "__reduce_ex__" in vars(base) for base in cls.__mro__[:-1])
        bare_object = "__dict__" not in dir(cls) and not self._slots
        self._opaque = (
            self._items is None
            and not issubclass(cls, BaseException)
            and (own_reduce or bare_object or isinstance(self, _Whole))
        )
        self._user = is_user_class(cls)
        self._tells = any("__getstate__" in vars(base) for base in cls.__mro__[:-1])
        self.is_closed = not self._user and (own_reduce or self._tells) and not issubclass(cls, BaseException)
        self._parts = _reduced_parts if _top(cls) in {"numpy", "itertools", "functools"} else gc.get_referents
        self._caches = str(cls.__module__).startswith("pandas.")

    def children(self, value: Any) -> list[object]:
        if isinstance(value, tuple | frozenset):
            inner = _KINDS[tuple if isinstance(value, tuple) else frozenset].children(value)
        else:
            inner = [] if self._items is None else self._items.children(value)
        if self._user:
            inner.append(type(value))
        attributes = self._attributes(value)
        inner += _inner(attributes.values())
        if self._opaque and not isinstance(self, _Whole):
            known = {id(part) for part in (type(value), getattr(value, "__dict__", None), *attributes.values())}
            inner += [part for part in _inner(self._parts(value)) if id(part) not in known]
        return inner

    def _is_opaque(self, attributes: Mapping[str, Any]) -> bool:
        """Tell whether the class itself has to be asked: by rule, or because nobody can tell what a part of it is."""
        return self._opaque or (self._tells and any(_is_dark(type(part)) for part in attributes.values()))

    def state(self, value: Any) -> Any:
        attributes = self._attributes(value)
        return (
            attributes,
            None if self._items is None else self._items.state(value),
            _mark(value) if self._is_opaque(attributes) else None,
            type(value),
        )

    def same(self, value: Any, state: Any) -> bool:
        attributes, items, mark, cls = state
        now = self._attributes(value)
        return (
            type(value) is cls
            and len(now) == len(attributes)
            and now.keys() == attributes.keys()
            and all(now[name] is attributes[name] for name in now)
            and (self._items is None or self._items.same(value, items))
            and (mark is None or _mark(value) == mark)
        )

    def contents(self, value: Any, state: Any) -> Any:
        attributes, items, mark, cls = state
        now = self._attributes(value)
        missing = object()
        found: dict[str, Any] = {
            "set": {name: part for name, part in now.items() if attributes.get(name, missing) is not part},
            "gone": [name for name in attributes if name not in now],
        }
        if type(value) is not cls:
            found["class"] = type(value)
        if self._items is not None and not self._items.same(value, items):
            found["items"] = self._items.contents(value, items)
        if mark is not None and _mark(value) != mark:
            reduced = value.__reduce_ex__(4)
            if len(reduced) > 2 and reduced[2] is not None and hasattr(value, "__setstate__"):  # noqa: PLR2004
                found["state"] = reduced[2]
                if not self._opaque:  # it sets its attributes by itself
                    found |= {"set": {}, "gone": []}
            elif not _reduced_parts(value) and not found["set"] and not found["gone"]:
                raise CannotRestoreError(f"it changes a {type_name(type(value))} in place")
        return found

    def change(self, value: Any, contents: Any) -> None:
        if "class" in contents:
            value.__class__ = contents["class"]
        if "state" in contents:
            value.__setstate__(contents["state"])
        if "items" in contents and self._items is not None:
            self._items.change(value, contents["items"])
        held = getattr(value, "__dict__", {})
        for name in contents["gone"]:
            if name in held:
                del held[name]
            else:
                object.__delattr__(value, name)
        for name, part in contents["set"].items():
            if name in self._slots:
                object.__setattr__(value, name, part)
            else:
                held[name] = part

    def _attributes(self, value: Any) -> dict[str, Any]:
        held = dict(getattr(value, "__dict__", ()))
        if self._caches:
            held.pop("_cache", None)  # what pandas works out anew is no state
        for name in self._slots:
            try:
                held[name] = object.__getattribute__(value, name)
            except AttributeError:
                continue  # a slot that is empty
        return held


_OF_ERRORS: Final = ("args", "__cause__", "__context__", "__suppress_context__", "__traceback__")


class _Whole(_Objects):
    """Instances of libraries that keep all state where no attribute tells of it."""

    def _attributes(self, _value: Any) -> dict[str, Any]:
        return {}


class _Handlers(_Objects):
    """Handlers of loggers; that one opens its file when it first writes is no change."""

    def children(self, value: Any) -> list[object]:
        return [*super().children(value), *_inner([getattr(value, "stream", None)])]

    def _attributes(self, value: Any) -> dict[str, Any]:
        return {name: part for name, part in super()._attributes(value).items() if name not in {"lock", "stream"}}


class _Functions:
    """The user's functions: attributes, defaults and closures; the globals they name are reached."""

    def children(self, value: Any) -> list[object]:
        names, code = value.__globals__, value.__code__
        found = [*value.__dict__.values(), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        found += value.__closure__ or ()
        found += [names[name] for name in _named(code) if name in names]
        return _inner(found)

    def state(self, value: Any) -> Any:
        return dict(value.__dict__), value.__defaults__, value.__kwdefaults__, value.__code__

    def same(self, value: Any, state: Any) -> bool:
        attributes, defaults, kwdefaults, code = state
        return (
            _Dicts().same(value.__dict__, attributes)
            and value.__defaults__ is defaults
            and value.__kwdefaults__ is kwdefaults
            and value.__code__ is code
        )

    def contents(self, value: Any, state: Any) -> Any:
        if value.__code__ is not state[3]:
            raise CannotRestoreError(f"it gives the function {value.__name__} other code")
        return dict(value.__dict__), value.__defaults__, value.__kwdefaults__

    def change(self, value: Any, contents: Any) -> None:
        attributes, value.__defaults__, value.__kwdefaults__ = contents
        _Dicts().change(value.__dict__, attributes)


class _Dispatchers:
    """Functions behind `functools.singledispatch`: the registry; what was chosen of it last is worked out anew."""

    def children(self, value: Any) -> list[object]:
        return _inner(value.registry.values())

    def state(self, value: Any) -> Any:
        return dict(value.registry)

    def same(self, value: Any, state: Any) -> bool:
        return _Dicts().same(value.registry, state)

    def contents(self, value: Any, _state: Any) -> Any:
        return dict(value.registry)

    def change(self, value: Any, contents: Any) -> None:
        for cls, function in contents.items():
            value.register(cls, function)


class _Memos:
    """Functions behind `functools.cache`: what an unbounded one remembers can be given to another, else nothing."""

    def children(self, value: Any) -> list[object]:
        return _inner([value.__wrapped__, *(memo_of(value) or {}).values()])

    def state(self, value: Any) -> Any:
        return value.cache_info(), dict(memo_of(value) or {})

    def same(self, value: Any, state: Any) -> bool:
        return bool(value.cache_info() == state[0]) and _Dicts().same(memo_of(value) or {}, state[1])

    def contents(self, value: Any, _state: Any) -> Any:
        if (memo := memo_of(value)) is None:
            raise CannotRestoreError(f"it calls {value.__wrapped__.__name__}, whose cache cannot be restored")
        return counts_of(value), dict(memo)

    def change(self, value: Any, contents: Any) -> None:
        count_again(value, contents[0])
        memo = memo_of(value)
        assert memo is not None
        memo.update(contents[1])

    def is_bounded(self, value: Any) -> bool:
        """Tell whether it forgets, so that nothing of it can be restored."""
        return value.cache_parameters()["maxsize"] is not None


class _Noticed:
    """Of which a change is noticed, and cannot be made here: a cell that makes one is not stored."""

    def __init__(self, read: Callable[[Any], Any], told: Callable[[Any], str], reach: Any = None) -> None:
        self._read = read
        self._told = told
        self._reach = reach or (lambda value: [read(value)])

    def children(self, value: Any) -> list[object]:
        return _inner(self._reach(value))

    def state(self, value: Any) -> Any:
        return self._read(value)

    def same(self, value: Any, state: Any) -> bool:
        now = self._read(value)
        return now is state or (type(state) is tuple and bool(now == state))

    def contents(self, value: Any, _state: Any) -> Any:
        raise CannotRestoreError(self._told(value))

    def change(self, value: Any, contents: Any) -> None:
        raise AssertionError(value, contents)


def _held_weakly(value: Any) -> list[tuple[object, ...]]:
    return list(value.items()) if isinstance(value, MutableMapping) else [(item,) for item in value]


def _place_in(file: Any) -> tuple[int, int] | None:
    """Return where an open file is read or written next, and its size."""
    if file.closed:
        return None
    try:
        if file.writable():
            file.flush()
        return os.lseek(file.fileno(), 0, os.SEEK_CUR), os.fstat(file.fileno()).st_size
    except (OSError, ValueError):  # a pipe has no place, and some files have no number
        return None


class _Masked:
    """NumPy's masked arrays: data and mask are written where they lie, so that views of them see it."""

    def children(self, _value: Any) -> list[object]:
        return []

    def state(self, value: Any) -> Any:
        return value.shape, value.dtype, _mark(value)

    def same(self, value: Any, state: Any) -> bool:
        return bool(self.state(value) == state)

    def contents(self, value: Any, state: Any) -> Any:
        if value.shape != state[0] or value.dtype != state[1] or value.dtype.hasobject:
            raise CannotRestoreError("it gives a masked array another shape or dtype in place")
        numpy = sys.modules["numpy"]
        return numpy.array(value.data), numpy.array(numpy.ma.getmaskarray(value)), value.fill_value

    def change(self, value: Any, contents: Any) -> None:
        data, mask, fill = contents
        value.data[...] = data
        if value.mask is sys.modules["numpy"].ma.nomask:
            value.mask = mask
        else:
            value._mask[...] = mask  # noqa: SLF001 - `mask` would give it an array of its own
        value.fill_value = fill


class _Closures:
    def children(self, value: Any) -> list[object]:
        return _inner(self.state(value))

    def state(self, value: Any) -> Any:
        try:
            return (value.cell_contents,)
        except ValueError:  # its variable is not assigned yet
            return ()

    def same(self, value: Any, state: Any) -> bool:
        now = self.state(value)
        return len(now) == len(state) and _is_each(now, state)

    def contents(self, value: Any, _state: Any) -> Any:
        return self.state(value)

    def change(self, value: Any, contents: Any) -> None:
        if contents:
            value.cell_contents = contents[0]
        else:
            del value.cell_contents


class _Namespaces:
    """The user's classes and modules, by their attributes."""

    def children(self, value: Any) -> list[object]:
        own = _inner(self.state(value).values())
        return [*own, *(base for base in value.__bases__ if base is not object)] if isinstance(value, type) else own

    def state(self, value: Any) -> Any:
        return {
            name: part
            for name, part in list(vars(value).items())
            if not (name.startswith("__") and name.endswith("__")) and name not in {"_abc_impl", "_member_map_"}
        }

    def same(self, value: Any, state: Any) -> bool:
        now = self.state(value)
        return now.keys() == state.keys() and all(now[name] is state[name] for name in now)

    def contents(self, value: Any, state: Any) -> Any:
        now = self.state(value)
        missing = object()
        return {
            "set": {name: part for name, part in now.items() if state.get(name, missing) is not part},
            "gone": [name for name in state if name not in now],
        }

    def change(self, value: Any, contents: Any) -> None:
        for name in contents["gone"]:
            delattr(value, name)
        for name, part in contents["set"].items():
            setattr(value, name, part)


_manager: Final = operator.attrgetter("_mgr")


class _Frames:
    """pandas' frames and series: the blocks of their columns, their axes, and their attributes.

    Columns that did not change are stored as references. Since frames copy on write, a block that is written into is
    the frame's own, unless pandas says otherwise (`Live.check`).
    """

    def children(self, value: Any) -> list[object]:
        manager = _manager(value)
        attributes = _inner([*value.attrs.values(), *self._own(value).values()])
        return [*manager.axes, *(block.values for block in manager.blocks), *attributes]

    def blocks(self, value: Any) -> dict[int, Any]:
        return {id(block.values): block for block in _manager(value).blocks}

    def state(self, value: Any) -> Any:
        manager = _manager(value)
        return (
            tuple(manager.blocks),
            tuple(block.values for block in manager.blocks),
            tuple(manager.axes),
            dict(value.attrs),
            getattr(value, "_name", None),
            self._own(value),
        )

    def _own(self, value: Any) -> dict[str, Any]:
        """Return what a subclass keeps of its own, what users set as attributes, and the flags."""
        own = {name: getattr(value, name, None) for name in value._metadata if name != "_name"}  # noqa: SLF001 - pandas' own protocol
        return {**own, **set_on_pandas(value), "allows_duplicate_labels": value.flags.allows_duplicate_labels}

    def same(self, value: Any, state: Any) -> bool:
        blocks, arrays, axes, attributes, name, own = self.state(value)
        if not (_Dicts().same(own, state[5]) and _Dicts().same(attributes, state[3])):
            return False
        if len(axes) != len(state[2]) or not _is_each(axes, state[2]) or name is not state[4]:
            return False
        if len(blocks) == len(state[0]) and _is_each(arrays, state[1]):
            places = zip(blocks, state[0], strict=True)
            if all(one is other or list(one.mgr_locs) == list(other.mgr_locs) for one, other in places):
                return True
        return self._is_regrouped(value, state)

    def _is_regrouped(self, value: Any, state: Any) -> bool:
        """Tell whether pandas only put equal columns into fewer blocks, which it does while it reads."""
        blocks, arrays, axes, *_ = state
        manager = _manager(value)
        if manager.ndim == 1 or not _is_each((block.values for block in blocks), arrays):
            return False
        return bool(type(manager)(blocks, list(axes), verify_integrity=False).equals(manager))

    def contents(self, value: Any, _state: Any) -> Any:
        return _manager(value), dict(value.attrs), getattr(value, "_name", None), self._own(value)

    def change(self, value: Any, contents: Any) -> None:
        manager, attributes, name, own = contents
        object.__setattr__(value, "_mgr", manager)
        value.attrs.clear()
        value.attrs.update(attributes)
        if hasattr(value, "_name"):
            object.__setattr__(value, "_name", name)
        for attribute in self._own(value).keys() - own.keys():
            object.__delattr__(value, attribute)
        for attribute, part in own.items():
            if attribute == "allows_duplicate_labels":
                value.flags._allows_duplicate_labels = part  # noqa: SLF001 - the public way checks what was checked
            else:
                object.__setattr__(value, attribute, part)


class _PandasArrays:
    """pandas' own arrays and indexes: the memory they stand on, and what they are called."""

    _PARTS: Final = ("_names", "_ndarray", "_data", "_mask", "_pa_array", "_codes", "_levels")
    _SET: Final = ("_name", "_names", "_pa_array", "_mask", "_data", "_freq")

    def children(self, value: Any) -> list[object]:
        parts = [*(getattr(value, name, None) for name in self._PARTS), *set_on_pandas(value).values()]
        return [part for part in parts if part is not None and type(part) not in _ATOMS]

    def state(self, value: Any) -> Any:
        held = {name: getattr(value, name) for name in self._SET if name in getattr(value, "__dict__", ())}
        return held | set_on_pandas(value)

    def same(self, value: Any, state: Any) -> bool:
        return _Dicts().same(self.state(value), state)

    def contents(self, value: Any, _state: Any) -> Any:
        return self.state(value)

    def change(self, value: Any, contents: Any) -> None:
        value.__dict__.update(contents)


_PROXIES: Final[tuple[type, ...]] = (MappingProxyType, type({}.keys()), type({}.values()), type({}.items()))

_KINDS: dict[type, Kind] = {
    object: _Fixed(lambda _: ()),  # somebody's sentinel, of which the identity is all
    tuple: _Fixed(lambda value: () if _all_atoms(value) else value),
    frozenset: _Fixed(lambda value: _Sets().children(value)),
    list: _Lists(),
    deque: _Lists(),
    dict: _Dicts(),
    OrderedDict: _Dicts(),
    set: _Sets(),
    bytearray: _Bytes(),
    array.array: _Bytes(),
    CellType: _Closures(),
    MethodType: _Fixed(lambda value: (value.__self__, value.__func__)),
    BuiltinFunctionType: _Fixed(lambda value: (value.__self__,)),
    partial: _Fixed(lambda value: (value.func, *value.args, *value.keywords.values(), *value.__dict__.values())),
    property: _Fixed(lambda value: (value.fget, value.fset, value.fdel)),
    **dict.fromkeys((staticmethod, classmethod), _Fixed(lambda value: (value.__func__,))),
    # What only looks at another object.
    ContextVar: _Noticed(lambda value: value.get(None), lambda value: f"it sets the context variable {value.name}"),
    memoryview: _Views(),
    weakref.ref: _Fixed(lambda value: (value(),)),
    type(cache(len)): _Memos(),
    **dict.fromkeys(_PROXIES, _Fixed(gc.get_referents)),
    **ITERATORS,
    **dict.fromkeys((zip, map, filter), _Fixed(lambda value: value.__reduce__()[1])),
}
_FILES: Final = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)
LEAF: Final = _Fixed(lambda _: ())
_CLOSED: Final = _Fixed(lambda function: function.__closure__)
"""Functions of libraries that hold objects of the user, as decorators and exit stacks make them."""

_HOLDERS: Final[dict[str, Kind]] = {
    # What is changed through them belongs to no variable that the cell names.
    "logging": _Fixed(lambda _: all_handlers()),
}
_FUNCTIONS: Final = _Functions()
_DISPATCHERS: Final = _Dispatchers()
_WEAK: Final = _Noticed(
    lambda value: tuple(tuple(map(id, item)) for item in _held_weakly(value)),
    lambda value: f"it changes a {type_name(type(value))}, which holds weakly",
    lambda value: (part for item in _held_weakly(value) for part in item),
)
_NAMESPACES: Final = _Namespaces()
_by_type: dict[type, Kind | None] = {**dict.fromkeys(_ATOMS), **_KINDS}


def kind_of(cls: type, value: Any) -> Kind | None:  # Any: any object
    """Return how objects of a class are treated; None for those that never change, and for installed code."""
    if value is sys.stdout or value is sys.stderr or is_global_generator(value):
        return None  # what is shown is recorded, and who draws is traced
    if cls is float and _is_own_nan(value):
        return LEAF
    if cls is BuiltinFunctionType and (value.__self__ is None or isinstance(value.__self__, ModuleType | type)):
        return None
    if cls is FunctionType:
        if isinstance(vars(value).get("registry"), MappingProxyType):  # functools.singledispatch
            return _DISPATCHERS
        return _FUNCTIONS if is_user_function(value) else _CLOSED if value.__closure__ else None
    if isinstance(value, ModuleType):
        if (holds := _HOLDERS.get(value.__name__)) is not None:
            return holds
        return _NAMESPACES if value.__name__ != "__main__" and is_user_module(value) else None
    if isinstance(value, type):
        return _NAMESPACES if is_user_class(value) else None
    if cls not in _by_type:
        _by_type[cls] = _new_kind(cls)
    return _by_type[cls]


def _new_kind(cls: type) -> Kind | None:
    found = _standard_kind(cls)
    return _library_kind(cls) if found is NotImplemented else found


def _standard_kind(cls: type) -> Any:  # Any: a kind, None, or NotImplemented where this has nothing to say
    """Return how objects of the standard library's classes, and of those derived from them, are treated."""
    top = _top(cls)
    if cls is io.StringIO or cls is io.BytesIO:
        return _Whole(cls)
    if cls in _FILES:
        return _Noticed(_place_in, lambda file: f"it reads or writes a {type_name(type(file))} that was open before")
    if cls.__name__ in {"cython_function_or_method", "ufunc"}:
        return None
    if issubclass(cls, logging.Logger):
        return _Fixed(handlers_of)
    if top == "logging" and issubclass(cls, logging.Handler):
        return _Handlers(cls)
    if cls is logging.LoggerAdapter:
        return _Objects(cls)
    if issubclass(cls, weakref.WeakValueDictionary | weakref.WeakKeyDictionary | weakref.WeakSet):
        return _WEAK
    if top == "weakref":
        return None
    if issubclass(cls, BaseException):
        return _Objects(cls)
    if top in _ATOM_MODULES and cls.__name__ not in {"link", "directional_link"}:  # between two objects of traitlets
        return None
    return NotImplemented


def _library_kind(cls: type) -> Kind | None:
    top = _top(cls)
    if top == "numpy":
        numpy = sys.modules["numpy"]
        if issubclass(cls, numpy.generic | numpy.dtype):
            return None
        if issubclass(cls, numpy.ma.MaskedArray):
            return _Masked()
        if issubclass(cls, numpy.ndarray):
            return _Arrays()
    if "pandas" in sys.modules:
        pandas = sys.modules["pandas"]
        if issubclass(cls, pandas.DataFrame | pandas.Series):
            return _Frames()
        if issubclass(cls, pandas.Index | pandas.api.extensions.ExtensionArray):
            return _PandasArrays()
        if top == "pandas" and ("_libs" in cls.__module__ or issubclass(cls, pandas.api.extensions.ExtensionDtype)):
            return None
    return _Whole(cls) if top in {"polars", "torch"} else _Objects(cls)


def comes_back_empty(kind: Kind, value: object) -> bool:
    """Tell whether this is a cache that forgets, of which nothing can be restored."""
    return isinstance(kind, _Memos) and kind.is_bounded(value)


def has_open_order(value: object) -> bool:
    """Tell whether this is a set in which nothing but their places in memory tells two objects apart."""
    if not isinstance(value, set | frozenset) or _all_atoms(value):
        return False
    marks = [_mark(item) for item in _inner(value)]
    return len(set(marks)) < len(marks)


def is_frame(kind: Kind) -> bool:
    """Tell whether objects of this kind are pandas' frames or series."""
    return isinstance(kind, _Frames)


def blocks_of(kind: Kind, value: object) -> dict[int, Any]:  # Any: blocks of pandas, which is not imported here
    """Return the blocks of a frame by the ids of what they hold."""
    return kind.blocks(value) if isinstance(kind, _Frames) else {}


def stands_on_block(kind: Kind) -> bool:
    """Tell whether objects of this kind are what pandas lays over an array in a block."""
    return isinstance(kind, _PandasArrays)


def _named(code: CodeType) -> list[str]:
    """Return the names of the globals that a function's code mentions, in functions inside it too."""
    found = dict.fromkeys(code.co_names)
    for part in code.co_consts:
        if isinstance(part, CodeType):
            found.update(dict.fromkeys(_named(part)))
    return list(found)


def _reduced_parts(value: Any) -> list[object]:
    """Return the objects that a value is made of by its own account, without those made for the telling."""
    try:
        one, other = value.__reduce_ex__(4), value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - user code may raise anything
        return []
    if not isinstance(one, tuple) or len(one) < 2:  # noqa: PLR2004
        return []
    return _inner(
        part for part, twin in zip(one[1], other[1], strict=True) if part is twin and not isinstance(part, type)
    )


def _digest(value: Any) -> str:  # Any: an array
    numpy = sys.modules["numpy"]
    flat = value if value.flags.c_contiguous else numpy.ascontiguousarray(value)
    return xxhash.xxh3_128_hexdigest(flat.reshape(-1).view(numpy.uint8).data if flat.size else b"")


def _mark(value: object) -> str:
    try:
        return fingerprint(value)
    except UnkeyableError:
        return ""


def _top(cls: type) -> str:
    return str(cls.__module__).partition(".")[0]  # what ctypes makes has none


def _is_dark(cls: type) -> bool:
    """Tell whether objects of a class have a state in C that no pickle tells of."""
    if cls in _ATOMS or cls in _KINDS or cls.__flags__ & _MADE_IN_PYTHON or cls.__dictoffset__:
        return False
    plain = all(getattr(cls, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__"))
    return plain and cls.__basicsize__ > object.__basicsize__ and _top(cls) not in _ATOM_MODULES


_MADE_IN_PYTHON: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE
