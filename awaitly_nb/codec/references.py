"""Pickles that refer to objects which live: what a cell leaves, beside what was there before it.

An object that has a number is written as that number and comes back as the object that has it then. Arrays that share
memory go on sharing it: one is written as a view of the other, be that one stored or live. The columns of a new frame
are copies of what they were taken from, because frames copy on write and must not see each other's changes.

What a pickler refuses but Python can make anew comes back spent: closed files and archives, executors that were shut
down, finished generators. A match of a regular expression is matched again.
"""

from __future__ import annotations

import copyreg
import gc
import io
import logging
import pickle
import re
import struct
import sys
import threading
import weakref
from collections.abc import MutableMapping
from functools import cache
from importlib import import_module
from itertools import islice
from operator import attrgetter
from types import CodeType, FunctionType, GeneratorType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec.by_value import is_notebook, pickler
from awaitly_nb.codec.handlers import describe_handler, make_handler
from awaitly_nb.codec.pickling import (
    PROTOCOL,
    Encoded,
    Shape,
    UndecodableError,
    changed_shape,
    is_user_class,
    reduced_known,
    shape_of,
)
from awaitly_nb.codec.sharing import EntangledError, Memory, exports_memory
from awaitly_nb.errors import EncodeError
from awaitly_nb.installed import is_installed_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

__all__ = ["bare", "named_nan", "out_of_band", "pack", "remember_original", "unpack"]

_SMALL_BUFFER: Final = 4096


def out_of_band(view: memoryview) -> pickle.PickleBuffer:
    """Return a buffer of `pack` as part of a value that is stored without a copy."""
    # Of its owner: CPython 3.11 crashes where it collects a cycle with a PickleBuffer of a memoryview in it.
    whole = pickle.PickleBuffer(view.obj)
    return whole if memoryview(whole).nbytes == view.nbytes else pickle.PickleBuffer(view)


class _Bare:
    """An array's contents alone, however well known the array is."""

    def __init__(self, array: Any) -> None:  # Any: a NumPy array; NumPy is not imported here
        self.array = array

    def __reduce_ex__(self, protocol: Any) -> Any:  # Any: pickle's own protocol
        reduced = _reduced(self.array)
        return self.array.__reduce_ex__(PROTOCOL) if reduced is NotImplemented else reduced


def _reduced(array: Any) -> Any:
    """Return what NumPy would do less well, from contents that are not taken for another array of the user's."""
    reduced = reduced_known(array)
    if reduced is NotImplemented:
        return reduced
    make, (integers, dtype) = reduced
    return make, (_Bare(integers), dtype)


def bare(array: Any) -> object:  # Any: a NumPy array
    """Return what stands for the contents of an array in `pack`, and comes back as an array of its own."""
    return _Bare(array)


def pack(
    value: object,
    live: Sequence[object],
    *,
    numbers: Mapping[int, int],
    changed: Collection[int],
    is_new: Callable[[type], bool],
    protected: Collection[int] = (),
    outside: Mapping[str, object] = MappingProxyType({}),
    used: set[int] | None = None,
) -> Encoded:
    """Return `value` as bytes that refer to live objects by their numbers.

    Parameters
    ----------
    live
        Objects by number; arrays among them may be shared by views.
    numbers
        The number of each object that may be referred to, by id.
    changed
        Numbers of those that do not hold now what they will hold when this is read.
    is_new
        Tells whether a class of the notebook was made meanwhile, so that no other session has it.
    protected
        The ids of live arrays that only frames and indexes hold, which copy before they write.
    outside
        Other objects with memory, by name: what is stored must not share theirs.
    used
        Is given the numbers that were referred to.

    Raises
    ------
    EncodeError
        No pickler takes it.
    EntangledError
        It shares memory in a way that cannot be made again.
    """
    used = set() if used is None else used
    memory = Memory(live, numbers, protected, outside)
    try:
        for last in (False, False, True):
            attempt = _Pass(numbers, memory, changed, is_new)
            packer = _picklers()[bool(numbers)](attempt)
            packer.dump(value)
            if not numbers and attempt.has_nan():
                attempt = _Pass(numbers, memory, changed, is_new)
                packer = _picklers()[True](attempt)
                packer.dump(value)
            memory.check_held(packer.memo.copy)
            # What overlaps after two passes are arrays that a __reduce__ makes anew in each.
            if last or not memory.resolve():
                used |= attempt.used
                return Encoded(b"".join(attempt.pieces), tuple(attempt.views), tuple(attempt.shapes))
    except EncodeError:
        raise
    except RecursionError:
        raise EncodeError("it is nested too deeply for pickle") from None
    except Exception as exc:  # user code may raise anything in __reduce__
        raise EncodeError(f"{type(exc).__name__}: {exc}") from exc
    raise AssertionError  # the last pass returns


def unpack(
    stream: bytes | bytearray | memoryview,
    buffers: Collection[Any],  # Any: bytes-like, or what pickle wraps them in
    shapes: Collection[Shape],
    live: Callable[[int], object],
) -> Any:  # Any: whatever was packed
    """Return what `pack` was given, from bytes that have been verified.

    Parameters
    ----------
    live
        Returns the live object of a number.

    Raises
    ------
    UndecodableError
        It cannot be rebuilt here.
    """
    for shape in shapes:
        if (reason := changed_shape(shape)) is not None:
            raise UndecodableError(reason)
    # Of a result that was computed in this very process the buffers still are the values' own memory.
    own = [bytearray(buffer) if isinstance(buffer, pickle.PickleBuffer) else buffer for buffer in buffers]
    try:
        return _Unpacker(stream, own, live).load()
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as exc:  # user code may raise anything in __setstate__
        raise UndecodableError(f"cannot be rebuilt here ({type(exc).__name__}: {exc})") from exc


class _Unpacker(pickle.Unpickler):
    # Any: bytes-like
    def __init__(
        self, stream: bytes | bytearray | memoryview, buffers: list[Any], live: Callable[[int], object]
    ) -> None:
        super().__init__(io.BytesIO(stream), buffers=buffers)
        self._live = live
        self._nans: dict[str, float] = {}

    def persistent_load(self, number: int | str) -> object:
        return self._live(number) if isinstance(number, int) else self._nan(number)

    def _nan(self, name: str) -> float:
        """Return the one of a library, or one for each name: lists and dicts look for the very object."""
        if (module := name.rpartition(".")[0]) and (found := getattr(import_module(module), "nan", None)) is not None:
            return float(found)
        return self._nans.setdefault(name, struct.unpack("d", bytes.fromhex(name.partition(":")[2]))[0])


_originals: dict[tuple[str, str], object] = {}
_names_of_originals: dict[int, tuple[str, str]] = {}


def remember_original(module: str, name: str, value: object) -> None:
    """Remember what a module had under a name before somebody set it: by that name it is found no more."""
    _originals[module, name] = value
    _names_of_originals[id(value)] = (module, name)


def _original(module: str, name: str) -> Any:  # Any: whatever a module has
    if (module, name) in _originals:
        return _originals[module, name]
    return attrgetter(name)(import_module(module))


def named_nan(value: float) -> str | None:
    """Return the name of the library's own not-a-number that this is, as of `numpy.nan`; None for any other."""
    for module in ("numpy", "math"):
        if (loaded := sys.modules.get(module)) is not None and loaded.nan is value:
            return f"{module}.nan"
    return None


_NANS: Final = tuple(pickle.dumps(nan, PROTOCOL)[-10:-1] for nan in (float("nan"), -float("nan")))
"""How pickle writes what is no number."""
_FRAME: Final = 1 << 16
_FRAMES: Final = pickle.PROTO + pickle.FRAME
"""How large the frames of a stream become, and what they begin with; the first has the version before it."""


class _Pass:
    """One attempt at a pickle, and what it finds."""

    def __init__(
        self, numbers: Mapping[int, int], memory: Memory, changed: Collection[int], is_new: Callable[[type], bool]
    ) -> None:
        self.numbers, self.memory, self.changed, self.is_new = numbers, memory, changed, is_new
        self.pieces: list[bytes] = []
        self.views: list[memoryview] = []
        self.shapes: list[Shape] = []
        self.used: set[int] = set()
        self.ordinary: dict[type, bool] = {}
        """Types of which pickle knows best, and whether each of their objects may hold arrays beside its pickle."""
        self._particular: set[type] = set()
        self._named: dict[str, dict[int, str]] = {}
        self._held: set[type] = set()
        self._nans: dict[int, tuple[str, object]] = {}

    def write(self, piece: bytes) -> None:
        """Take a piece of the stream: as a file, for the pickler."""
        self.pieces.append(piece)

    def has_nan(self) -> bool:
        """Tell whether there may be something in the stream that is no number.

        Texts and bytes that are too large for a frame come as pieces of their own, and are not looked through.
        """
        frames = [piece for piece in self.pieces if len(piece) < _FRAME or piece[0] in _FRAMES]
        return any(nan in frame for nan in _NANS for frame in frames)

    def out_of_band(self, buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        self.memory.check_given(view)
        if view.nbytes < _SMALL_BUFFER:
            return True  # leave it in the stream
        self.views.append(view)
        return False

    def nan(self, value: float) -> str:
        """Return the name of what is no number: lists and dicts look for the very object."""
        if (name := named_nan(value)) is not None:
            return name
        # Held beside its name, so that its id stays its own.
        return self._nans.setdefault(id(value), (f"{len(self._nans)}:{struct.pack('d', value).hex()}", value))[0]

    def reduce(self, obj: Any) -> Any:  # Any: any object, and pickle's own protocol
        """Return how an object is written that is no function; NotImplemented where pickle knows best."""
        reduced = self._reduce(obj)
        kind = type(obj)
        if kind not in self._particular:
            if self._is_ordinary(kind) and not exports_memory(obj):
                self.ordinary[kind] = self.memory.looks_into(kind)
            else:
                self._particular.add(kind)
        return reduced

    def _is_ordinary(self, kind: type) -> bool:
        """Tell whether pickle knows best of all objects of a type, so that the next one need not be looked at."""
        if issubclass(kind, _LOOKED_AT) or kind in (type(sys.stdout), type(sys.stderr)):
            return False
        if kind in pickler().dispatch_table or kind in self._held:
            return False
        if hasattr(kind, "_accessors"):  # a class of pandas, on whose objects users set attributes
            return False
        numpy, place = sys.modules.get("numpy"), str(kind.__module__)
        if (numpy is not None and issubclass(kind, numpy.ndarray)) or kind.__name__ == "RandomState":
            return False
        return not place.startswith(_LOOKED_AT_IN)

    def _reduce(self, obj: Any) -> Any:  # Any: as above
        if type(obj) is _Bare:
            self.memory.copy(obj.array)
            return NotImplemented
        if isinstance(obj, type):
            if is_user_class(obj) and not self.is_new(obj) and changed_shape(shape_of(obj)) is None:
                self.shapes.append(shape_of(obj))
                return obj.__qualname__  # by name, as its instances are to be of the class that the notebook has
            return NotImplemented
        if type(obj).__module__ == "pandas.core.internals.blocks":
            return self._column(obj)
        if type(obj).__module__ == "pandas.core.internals.managers" and obj.ndim == 1:
            # By itself it hands out its array, and nobody could tell that this is a column.
            return _series_manager, (type(obj), obj.blocks[0], obj.axes[0])
        numpy = sys.modules.get("numpy")
        if numpy is not None and type(obj) is numpy.ndarray:
            owner = self.memory.owner(obj)
            return _laid_out(obj) if owner is None else (_view, self._facts(obj, owner))
        if numpy is not None and isinstance(obj, numpy.ndarray):
            if isinstance(obj, numpy.memmap) and obj._mmap is not None:  # noqa: SLF001 - no public way
                raise pickle.PicklingError("its elements are those of a file")
            self.memory.meet(obj)
        elif exports_memory(obj):
            return self._buffer(obj)
        else:
            self.memory.look_into(obj)
        if (name := self._name_in_library(obj)) is not None:
            return name
        reduced = reduced_known(obj)
        return _made_of_another(obj) if reduced is NotImplemented else reduced

    def _name_in_library(self, obj: Any) -> str | None:  # Any: any object
        """Return the name by which an installed module holds this very object, as `matplotlib.rcParams` is held."""
        place = type(obj).__module__
        if place in _NEVER_NAMED or callable(obj) or (module := sys.modules.get(place)) is None:
            return None
        if (names := self._named.get(place)) is None:
            file = getattr(module, "__file__", None)
            installed = file is None or is_installed_path(file)
            held = vars(module).items() if installed else ()
            own = {name: value for name, value in held if type(value).__module__ == place}
            names = {id(value): name for name, value in own.items() if name not in _assigned_later(place)}
            self._named[place] = names
            self._held.update(map(type, own.values()))
        return names.get(id(obj))

    def _facts(self, array: Any, owner: Any) -> tuple[Any, ...]:  # Any: arrays
        offset = self.memory.offset(array, owner)
        return owner, offset, array.shape, array.strides, array.dtype, array.flags.writeable, _layout(owner)

    def _buffer(self, obj: Any) -> Any:  # Any: an object whose memory others may look at, and pickle's own protocol
        if isinstance(obj, memoryview):
            return _made_of_another(obj)
        if (owner := self.memory.part(obj)) is None:
            return NotImplemented
        try:
            reduced = obj.__reduce_ex__(PROTOCOL)
        except Exception:  # noqa: BLE001 - user code may raise anything; then nothing is known of its buffers
            reduced = ""
        make, args, *rest = reduced if isinstance(reduced, tuple) else (None, ())
        if not any(isinstance(part, pickle.PickleBuffer) for part in args):
            raise EntangledError(f"a {type(obj).__name__} shares its memory with an array")
        there = _Call(_view, *self._facts(self.memory.bytes_of(obj), owner))
        return (make, tuple(there if isinstance(part, pickle.PickleBuffer) else part for part in args), *rest)

    def _column(self, block: Any) -> Any:  # Any: a block of a frame
        from pandas._libs.internals import _unpickle_block  # type: ignore[import-not-found]

        values: Any = block.values
        plain = type(values) is sys.modules["numpy"].ndarray
        shared = block.refs.has_reference()
        if self.memory.writer([values] if plain else _arrays_in(values)):
            # Somebody writes into it past the frame, and the frame is to see that.
            if shared:
                raise EntangledError("a frame shares its columns with another one, and its memory with an array")
            return _unpickle_block, (values, block.mgr_locs.indexer, block.ndim)
        owner = values if id(values) in self.numbers else self.memory.live_owner(values) if plain else None
        if owner is None:
            self.memory.column(values, shared=shared)
            values = values if plain or not self.numbers else values.copy()
        elif self.changed and (not plain or self.numbers[id(owner)] in self.changed):
            values = _Bare(values) if plain else values.copy()
        elif owner is values:
            values = _Call(_copy, values)
        else:
            values = _Call(_copied_view, *self._facts(values, owner))
        return _unpickle_block, (values, block.mgr_locs.indexer, block.ndim)


def _arrays_in(values: Any) -> list[Any]:  # Any: an array of pandas, and those that it stands on
    """Return the arrays of NumPy below one of pandas'."""
    numpy = sys.modules["numpy"]
    parts = [getattr(values, name, None) for name in ("_ndarray", "_data", "_mask")]
    return [part for part in parts if isinstance(part, numpy.ndarray)]


@cache
def _picklers() -> tuple[type[Any], type[Any]]:  # Any: Picklers that are made when they are first needed
    """Return the pickler, and the one that knows of live objects; cloudpickle is loaded only for them."""

    class Packer(pickler()):  # type: ignore[misc]
        def __init__(self, attempt: _Pass) -> None:
            super().__init__(attempt, PROTOCOL, buffer_callback=attempt.out_of_band)
            self.attempt = attempt

        def reducer_override(self, obj: Any) -> Any:  # Any: pickle's own protocol
            if (replaced := _names_of_originals.get(id(obj))) is not None:
                return _original, replaced
            if (holds := self.attempt.ordinary.get(type(obj))) is not None:
                if holds:
                    self.attempt.memory.look_into(obj)
                return obj.__reduce_ex__(PROTOCOL)  # as pickle would, but for asking cloudpickle's slow table first
            if type(obj) is FunctionType:
                return _without_globals(super().reducer_override(obj), obj)
            reduced = self.attempt.reduce(obj)
            if reduced is NotImplemented and isinstance(obj, type):
                return _with_qualified_name(super().reducer_override(obj), obj)
            return super().reducer_override(obj) if reduced is NotImplemented else reduced

    class Referring(Packer):
        def __init__(self, attempt: _Pass) -> None:
            super().__init__(attempt)
            self.number_of, self.used = attempt.numbers.get, attempt.used

        # A method, and so not called at all where nothing has a number: it is called for each object, each float too.
        def persistent_id(self, obj: Any) -> int | str | None:
            number: int | None = self.number_of(id(obj))
            if number is not None:
                self.used.add(number)
            elif type(obj) is float and obj != obj:  # noqa: PLR0124 - only what is no number differs from itself
                return self.attempt.nan(obj)
            return number

    return Packer, Referring


def _with_qualified_name(reduced: Any, cls: type) -> Any:  # Any: pickle's own protocol
    """Add what cloudpickle 3.1.3 leaves out of a class that goes by value, and its key is made of."""
    if reduced is NotImplemented or len(reduced) < 3:  # noqa: PLR2004 - it goes by name
        return reduced
    make, args, (attributes, slots), *rest = reduced
    return (make, args, ({**attributes, "__qualname__": cls.__qualname__}, slots), *rest)


def _without_globals(reduced: Any, function: FunctionType) -> Any:  # Any: pickle's own protocol
    """Leave out the values of the globals that a notebook's function names: it finds those of the notebook."""
    if reduced is NotImplemented or not is_notebook(function.__globals__):
        return reduced
    make, args, (attributes, slots), *rest = reduced
    return (make, args, (attributes, {**slots, "__globals__": {}}), *rest)


class _Call:
    """Stands for what a function returns when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:  # Any: arrays and numbers
        self._reduced = function, args

    def __reduce__(self) -> Any:  # Any: pickle's own protocol
        return self._reduced


def _series_manager(kind: type[Any], block: Any, axis: Any) -> Any:  # Any: what pandas keeps to itself
    return kind(block, axis)


def _copy(values: Any) -> Any:  # Any: an array of NumPy or pandas, here and below
    return values.copy()


def _copied_view(owner: Any, *facts: Any) -> Any:
    return _view(owner, *facts).copy("K")


def _layout(array: Any) -> list[tuple[int, int]]:
    """Return how an array lies in memory: the strides between its items, with the lengths that they go over."""
    return [(length, stride) for length, stride in zip(array.shape, array.strides, strict=True) if length > 1]


def _laid_out(array: Any) -> Any:  # Any: pickle's own protocol
    """Return how an array comes back with gaps where it has them: others look at its memory, now or in a later cell."""
    if array.flags.forc or not array.size:
        return _reduced(array)
    numpy = sys.modules["numpy"]
    start, stop = numpy.lib.array_utils.byte_bounds(array)
    offset = array.__array_interface__["data"][0] - start
    if array.dtype.hasobject and any(part % array.itemsize for part in (offset, stop - start, *array.strides)):
        raise EncodeError("an array of objects lies between other things")
    contents = _Bare(numpy.ascontiguousarray(array))
    return _spread, (contents, int(stop - start), int(offset), array.strides, array.flags.writeable)


def _spread(contents: Any, size: int, offset: int, strides: tuple[int, ...], writeable: bool) -> Any:  # noqa: FBT001 - a pickle names no arguments
    """Return an array with gaps in its memory."""
    numpy, dtype = sys.modules["numpy"], contents.dtype
    if dtype.hasobject:
        memory = numpy.empty(size // dtype.itemsize, dtype)[offset // dtype.itemsize :]
        array = numpy.lib.stride_tricks.as_strided(memory, contents.shape, strides)
    else:
        array = numpy.ndarray(contents.shape, dtype, numpy.zeros(size, "u1"), offset, strides)
    array[...] = contents
    if not writeable:
        array.flags.writeable = False
    return array


class _Place:
    """A place in an array's memory, as NumPy wants to be told of it."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def _view(owner: Any, *facts: Any) -> Any:
    """Return an array that looks at a part of another one's memory."""
    offset, shape, strides, dtype, writeable, *layout = facts
    if layout != [_layout(owner)]:  # its key is that of its contents
        raise UndecodableError("an array lies in memory in another way than when a part of it was stored")
    numpy = sys.modules["numpy"]
    plain = not dtype.hasobject
    interface = {
        **owner.__array_interface__,
        "data": (owner.__array_interface__["data"][0] + offset, not owner.flags.writeable),
        "shape": shape,
        "strides": strides,
        "typestr": f"|V{dtype.itemsize}" if plain else dtype.str,
        "descr": [("", f"|V{dtype.itemsize}" if plain else dtype.str)],
    }
    array = numpy.asarray(_Place(interface, owner))
    array = array.view(dtype) if plain else array
    if not writeable:
        array.flags.writeable = False
    return array


_VIEWS: Final[dict[type, Any]] = {
    MappingProxyType: MappingProxyType,
    type({}.keys()): dict.keys,
    type({}.values()): dict.values,
    type({}.items()): dict.items,
}
"""What looks at a mapping, and how it is made of it."""


@cache
def _assigned_later(module: str) -> frozenset[str]:
    """Return the names of a module that its functions assign: what they hold is another thing in each session."""
    import dis

    store = dis.opmap["STORE_GLOBAL"]
    waiting: list[Any] = [value for value in vars(sys.modules[module]).values() if value.__class__ is FunctionType]
    names: set[str] = set()
    while waiting:
        part = waiting.pop()
        code = part.__code__ if isinstance(part, FunctionType) else part
        if store in code.co_code[::2]:
            names |= {one.argval for one in dis.get_instructions(code) if one.opcode == store}
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return frozenset(names)


_NEVER_NAMED: Final = frozenset({"builtins", "__main__"})
_LOOKED_AT: Final[tuple[type, ...]] = (
    *_VIEWS,
    *(type, FunctionType, CodeType, memoryview, io.IOBase, re.Match, GeneratorType),
    *(weakref.ReferenceType, weakref.ProxyType, weakref.CallableProxyType, weakref.finalize),
    *(weakref.WeakSet, weakref.WeakValueDictionary, weakref.WeakKeyDictionary, threading.Thread),
    *(logging.Handler, BaseException, _Bare),
)
_LOOKED_AT_IN: Final = (
    *(
        "pandas.core.internals",
        "matplotlib.figure",
        "matplotlib.cbook",
        "zipfile",
        "concurrent.futures",
        "unittest.mock",
    ),
)
"""Types and modules of which `reduce` looks at each object."""


def _made_of_another(obj: Any) -> Any:  # Any: any object, and pickle's own protocol
    """Return how what belongs to another object is made of that one, and refuse what cannot be."""
    if (make := _VIEWS.get(type(obj))) is not None:
        mappings = gc.get_referents(obj)
        if any(type(one) is dict and {"__module__", "__doc__"} <= one.keys() for one in mappings):
            raise EntangledError("a mappingproxy looks at the attributes of a class")
        return make, tuple(mappings)
    if isinstance(obj, BaseException) and obj.__traceback__ is not None:
        # Whoever asks where it was raised would find nothing. A cell that only keeps its text has let go of it.
        raise pickle.PicklingError("its traceback leads to frames, which no pickle takes")
    if isinstance(obj, memoryview | weakref.ProxyType | weakref.CallableProxyType):
        raise EntangledError(f"a {type(obj).__name__} looks at another object")
    for name in ("stdout", "stderr"):
        if obj is getattr(sys, name) and ("sys", name) not in _originals:  # else it is one of the user's
            return _original, ("sys", name)
    if type(obj).__module__ == "matplotlib.figure" and "_restore_to_pylab" in (state := obj.__getstate__()):
        # Which figures pyplot has open is the ledger's.
        del state["_restore_to_pylab"]
        return copyreg.__newobj__, (type(obj),), state  # type: ignore[attr-defined] # typeshed leaves it out
    if type(obj).__module__ == "unittest.mock" and _is_in_force(obj):
        raise EntangledError("a patch of unittest.mock is in force, which its own object alone can end")
    return _referring(obj) if isinstance(obj, _REFERRING) else _made_again(obj)


def _is_in_force(mock: object) -> bool:
    return any(mock is patch for patch in sys.modules["unittest.mock"]._patch._active_patches)  # noqa: SLF001 - no public way


_WEAK_CONTAINERS: Final = (weakref.WeakSet, weakref.WeakValueDictionary, weakref.WeakKeyDictionary)
_REFERRING: Final = (logging.Handler, weakref.ReferenceType, weakref.finalize, threading.Thread, *_WEAK_CONTAINERS)


def _referring(obj: Any) -> Any:  # Any: one of these, and pickle's own protocol
    """Return how a handler of a logger is made again, a thread that is over, and what refers weakly to others."""
    if isinstance(obj, threading.Thread):
        is_over = type(obj) is threading.Thread and obj.ident is not None and not obj.is_alive()
        return (_finished_thread, (obj.name,)) if is_over else NotImplemented
    if isinstance(obj, logging.Handler):
        return make_handler, (describe_handler(obj),)
    if isinstance(obj, _WEAK_CONTAINERS):
        # Its items come after it, because they may hold it. Those that nobody else holds go, as they did.
        items = dict(obj) if isinstance(obj, MutableMapping) else set(obj)
        return (type(obj), (), items, None, None, _update) if type(obj) in _WEAK_CONTAINERS else NotImplemented
    if isinstance(obj, weakref.finalize):
        if obj.alive:
            raise EntangledError("a finalize waits until another object is gone")
        return NotImplemented
    if type(obj) not in {weakref.ReferenceType, weakref.WeakMethod}:
        return NotImplemented
    target = obj()
    if target is None:
        return _dead_reference, ()
    return type(obj), (target, *filter(None, [getattr(obj, "__callback__", None)]))


def _made_again(obj: Any) -> Any:  # Any: any object, and pickle's own protocol
    """Return how something is made anew that has no pickle: what is spent, and matches of regular expressions."""
    if isinstance(obj, io.IOBase):
        if obj.closed:
            return _closed_file, (isinstance(obj, io.TextIOBase),)
        if isinstance(obj, io.TextIOWrapper) and obj not in (sys.stdout, sys.stderr):
            raise pickle.PicklingError("it is an open file")
    elif isinstance(obj, re.Match):
        for way in _WAYS:
            args = obj.re, obj.string, (obj.pos, obj.endpos), way, obj.regs
            remade = _found(*args)
            if remade is not None and remade.regs == obj.regs and remade.lastindex == obj.lastindex:
                return _found, args
    elif isinstance(obj, GeneratorType):
        if obj.gi_frame is None:
            return _finished_generator, ()
    elif type(obj).__module__ == "zipfile":
        if type(obj).__name__ == "ZipFile" and obj.fp is None:
            return _closed_archive, ()
    elif type(obj).__module__ in {"concurrent.futures.thread", "concurrent.futures.process"} and (
        getattr(obj, "_shutdown", False) or getattr(obj, "_shutdown_thread", False)  # they tell of it in private only
    ):
        return _shut_executor, (type(obj),)
    return NotImplemented


_WAYS: Final = ("search", "match", "fullmatch", "finditer")
_MOST_MATCHES: Final = 1000


# Any: text or bytes, and places
def _found(pattern: re.Pattern[Any], string: Any, bounds: tuple[int, int], way: str, regs: Any) -> Any:
    """Return what a pattern finds in a text, in one of its ways; of several the one in these places."""
    found = getattr(pattern, way)(string, *bounds)
    if way != "finditer":
        return found
    return next((match for match in islice(found, _MOST_MATCHES) if match.regs == regs), None)


def _closed_file(text: bool) -> io.IOBase:  # noqa: FBT001 - called by pickle
    file: io.IOBase = io.TextIOWrapper(io.BytesIO()) if text else io.BufferedReader(io.BytesIO())
    file.close()
    return file


def _closed_archive() -> Any:  # Any: zipfile is not imported here
    from zipfile import ZipFile

    archive = ZipFile(io.BytesIO(), "w")
    archive.close()
    return archive


def _update(container: Any, items: Any) -> None:  # Any: what holds weakly, and what it held
    container.update(items)


def _finished_thread(name: str) -> threading.Thread:
    made = threading.Thread(name=name)
    made.start()
    made.join()
    return made


def _dead_reference() -> weakref.ReferenceType[Any]:  # Any: nothing
    return weakref.ref(type("Gone", (), {})())


def _finished_generator() -> Generator[None, None, None]:
    made = (None for _ in ())
    next(made, None)
    return made


def _shut_executor(kind: type[Any]) -> Any:  # Any: one of two executors
    executor = kind(1)
    executor.shutdown()
    return executor
