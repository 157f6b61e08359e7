"""Who shares memory with whom: among objects that live, those that are stored, and those that the cell does not read.

Everything is told by addresses. An array or a buffer that lies in the memory of another one is written as a part of it,
whether that one is stored or lives. Where something looks at memory in a way that cannot be made again, and somebody
can write there, `EntangledError` says so, and the cell is not stored.

A pickle does not tell all: it may be made of copies, while the object itself goes on looking at the user's array. So of
an object with a pickle of its own, the arrays that it holds are compared too; what holds them where nobody sees it is
asked by its library's own words (`_ASKED`).
"""

from __future__ import annotations

import gc
import pickle
import sys
import weakref
from bisect import bisect_left
from enum import Enum
from itertools import accumulate
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from awaitly_nb.codec.pickling import is_user_class, reduced_known
from awaitly_nb.errors import EncodeError
from awaitly_nb.installed import is_installed_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence

__all__ = ["EntangledError", "Memory", "bounds_of", "exports_memory"]


class EntangledError(EncodeError):
    """Something cannot be stored apart from an object that others have too, not even as a placeholder."""


class _Range(NamedTuple):
    start: int
    stop: int
    value: Any  # Any: an object with memory; NumPy is not imported here
    name: str = ""

    def overlaps(self, start: int, stop: int) -> bool:
        return self.start < stop and start < self.stop

    def holds(self, start: int, stop: int) -> bool:
        return self.start <= start and stop <= self.stop


def _further(one: _Range, two: _Range) -> _Range:
    return two if two.stop > one.stop else one


class _Places:
    """Ranges in the order of memory: a forest has thousands of arrays, each to be compared with all of them."""

    def __init__(self, places: Iterable[_Range]) -> None:
        found = sorted(places, key=lambda place: place.start)
        self._starts = [place.start for place in found]
        # Of those that begin no later, the one that reaches furthest.
        self._furthest = list(accumulate(found, _further))

    def overlapping(self, start: int, stop: int) -> _Range | None:
        """Return a range that overlaps with this one, or None."""
        before = bisect_left(self._starts, stop)
        return self._furthest[before - 1] if before and self._furthest[before - 1].stop > start else None


def exports_memory(value: object) -> bool:
    """Tell whether others may look at, and write into, the memory of an object that is no array of NumPy."""
    cls = type(value)
    if (known := _exports.get(cls)) is None:
        try:
            memoryview(value)  # type: ignore[arg-type] # whether it may be is what is asked
        except (TypeError, BufferError, ValueError):
            known = False
        else:
            numpy = sys.modules.get("numpy")
            known = cls is not bytes and (numpy is None or not isinstance(value, numpy.ndarray | numpy.generic))
        _exports[cls] = known
    return known


_exports: dict[type, bool] = {pickle.PickleBuffer: False}


def bounds_of(array: Any) -> tuple[int, int]:  # Any: a NumPy array; NumPy is not imported here
    """Return where the memory of an array begins, and where it ends."""
    if array.flags.forc:  # as most are: the same in a tenth of the time
        start = array.__array_interface__["data"][0]
        return start, start + array.nbytes
    start, stop = sys.modules["numpy"].lib.array_utils.byte_bounds(array)
    return int(start), int(stop)


class Memory:
    """The memory of what is stored, beside that of what is not.

    Parameters
    ----------
    live
        Objects by number.
    numbers
        The number of each that may be referred to, by id.
    protected
        The ids of live arrays that only frames and indexes hold, which copy before they write.
    outside
        Objects with memory that cannot be referred to, by name.
    """

    def __init__(
        self,
        live: Sequence[object],
        numbers: Mapping[int, int],
        protected: Collection[int],
        outside: Mapping[str, object],
    ) -> None:
        self._numpy = sys.modules.get("numpy")
        self._numbers = numbers
        self._live: list[_Range] = []
        self._where = _Places(())
        self._apart: list[_Range] = []
        self._met: dict[int, object] = {}
        self._seen: dict[int, _Range] = {}
        self._buffers: dict[tuple[int, int], object] = {}
        self._written: set[tuple[int, int]] = set()
        self._hidden: list[tuple[Any, object]] = []  # Any: arrays, here and below
        self._holders: dict[type, dict[int, object]] = {}
        # Each array beside its owner: what a __reduce__ made lives no longer than its pass, and its id would go to
        # another array in the next.
        self._owners: dict[int, tuple[Any, Any]] = {}
        self._parts: dict[tuple[int, int], Any] = {}
        self._columns: dict[int, bool] = {}
        self._writers: list[_Range] = []
        if self._numpy is None:
            return
        array_type = self._numpy.ndarray
        value: Any
        for value in live:
            if type(value) is array_type:
                if id(value) in numbers and value.size:
                    self._live.append(_Range(*bounds_of(value), value))
            elif isinstance(value, array_type) or exports_memory(value):
                # Whoever looks at their memory cannot be made to do so again.
                self._apart += self._places(value, f"a {type(value).__name__}")
        # Of several that hold a place, one that may be written to comes first.
        self._live.sort(key=lambda place: not place.value.flags.writeable)
        self._where = _Places(self._live)
        self._writers = [
            place for place in self._live if place.value.flags.writeable and id(place.value) not in protected
        ]
        for name, value in outside.items():
            if not isinstance(value, array_type) or value.flags.writeable:
                self._apart += self._places(value, name)

    def meet(self, value: Any) -> None:
        """Note memory that nothing else may share, and refuse where something does."""
        if id(value) in self._met:
            return
        for place in self._places(value, f"a {type(value).__name__}"):
            others = [*self._live, *self._seen.values(), *self._apart]
            if any(other.overlaps(place.start, place.stop) and other.value is not value for other in others):
                raise EntangledError(f"a {type(value).__name__} shares its memory with another object")
            self._met[id(value)] = value
            self._apart.append(place)

    def owner(self, array: Any) -> Any:
        """Return the array that this one is to be a view of, or None."""
        if not array.size:
            return None
        if (known := self._owners.get(id(array))) is not None:
            return known[1]
        start, stop = bounds_of(array)
        others = [place for place in self._living(start, stop) if place.value is not array]
        for place in others:
            if not place.holds(start, stop):
                break
            if self._covers(place.value, array):
                return place.value
        if others:
            raise EncodeError("an array shares memory with one that lies outside of it")
        self._check_apart(start, stop, array, "an array")
        self._check_base(array)
        self._seen[id(array)] = _Range(start, stop, array)
        self._written.add((start, stop))
        return None

    def live_owner(self, array: Any) -> Any:
        """Return the live array in whose memory this one lies, or None."""
        if array.size:
            start, stop = bounds_of(array)
            for place in self._living(start, stop):
                if place.holds(start, stop) and self._covers(place.value, array):
                    return place.value
        return None

    def writer(self, arrays: Iterable[Any]) -> bool:
        """Tell whether somebody may write into one of these arrays past the frame that has it."""
        bounds = [bounds_of(array) for array in arrays if array.size]
        return any(place.overlaps(*bound) for bound in bounds for place in (*self._writers, *self._apart))

    def column(self, array: Any, *, shared: bool) -> None:
        """Note that an array is the column of a frame, and whether it is that of another frame, too."""
        self._columns[id(array)] = shared

    def part(self, buffer: Any) -> Any:
        """Return the array in which the memory of a buffer lies, or None."""
        if self._numpy is None or not memoryview(buffer).nbytes:
            return None
        start, stop = bounds_of(self._numpy.frombuffer(buffer, "u1"))
        if (known := self._parts.get((start, stop))) is not None:
            return known
        for place in self._living(start, stop):
            if place.holds(start, stop) and place.value.flags.forc:
                return place.value
            raise EntangledError(f"a {type(buffer).__name__} shares memory with an array, and looks past its end")
        self._check_apart(start, stop, buffer, f"a {type(buffer).__name__}")
        self._buffers[start, stop] = buffer
        return None

    def check_given(self, view: memoryview) -> None:
        """Refuse the memory of a buffer that was not asked for its part, where somebody else may write into it."""
        if self._numpy is None or not view.nbytes or id(view.obj) in self._seen:
            return
        start, stop = bounds_of(self._numpy.frombuffer(view, "u1"))
        if (start, stop) in self._written:
            return
        what = f"a {type(view.obj).__name__}"
        if self._where.overlapping(start, stop) is not None:
            raise EntangledError(f"{what} shares its memory with an array")
        if id(view.obj) not in self._met:
            self._check_apart(start, stop, view.obj, what)

    def copy(self, array: Any) -> None:
        """Note an array whose contents are stored as they are, whoever shares them."""
        if array.size:
            self._written.add(bounds_of(array))

    def looks_into(self, kind: type) -> bool:
        """Tell whether objects of a type may hold arrays beside their pickle."""
        return _held_by(kind) is not None

    def look_into(self, value: object) -> None:
        """Note what an object holds beside its pickle; the first pass finds it all."""
        if self._owners or self._parts or (held := _held_by(type(value))) is None:
            return
        if held is _parts_of:
            self._holders.setdefault(type(value), {})[id(value)] = value
        if self._numpy is not None:
            array_type = self._numpy.ndarray
            self._hidden += [(part, value) for part in held(value) if part is None or type(part) is array_type]

    def resolve(self) -> bool:
        """Find out which of the stored arrays overlap; tell whether that makes another pass necessary."""
        before = len(self._owners) + len(self._parts)
        # Of arrays that begin together the longest comes first, and a column of a frame before what looks at it.
        seen = sorted(self._seen.values(), key=lambda one: (one.start, -one.stop, id(one.value) not in self._columns))
        group: list[_Range] = []
        end = 0
        for place in seen:
            if group and place.start >= end:
                self._settle(group)
                group = []
            group.append(place)
            end = max(end, place.stop) if len(group) > 1 else place.stop
        if group:
            self._settle(group)
        if not before:
            self._check_hidden()
        self._seen.clear()
        self._buffers.clear()
        self._hidden.clear()
        self._holders.clear()
        return len(self._owners) + len(self._parts) > before

    def _settle(self, group: list[_Range]) -> None:
        """Decide which of arrays that overlap is the owner of the others, and of the buffers that lie there."""
        first, last, owner, _ = group[0]
        written = any(place.value.flags.writeable for place in group if id(place.value) not in self._columns)
        columns = [place for place in group if id(place.value) in self._columns]
        if written and len(columns) > 1 and any(self._columns[id(place.value)] for place in columns):
            raise EntangledError("two frames share a column, and an array its memory")
        # Frames that share a column do not see each other's changes.
        apart = () if written else columns
        for start, stop, array, _ in group[1:]:
            if any(array is column.value for column in apart):
                continue
            if stop > last or not owner.flags.forc:  # what lies in its gaps is not stored with it
                base = self._base(owner)
                first, last = bounds_of(base)
                if not (first <= start and stop <= last and base.flags.forc):
                    raise EncodeError("two arrays share memory in a way that cannot be stored")
                if base is not owner:
                    self._owners[id(owner)] = (owner, base)
                owner = base
            if array is not owner:
                self._owners[id(array)] = (array, owner)
        for (start, stop), buffer in self._buffers.items():
            if start < last and first < stop and (columns or owner.flags.writeable or written):
                if not (first <= start and stop <= last and owner.flags.forc):
                    raise EntangledError(f"a {type(buffer).__name__} shares memory with an array")
                self._parts[start, stop] = owner

    def _check_hidden(self) -> None:
        """Refuse what goes on looking at somebody's array, and is stored as if it did not."""
        stored = [place for place in self._seen.values() if place.value.flags.writeable]
        beside = [*self._writers, *(place for place in stored if id(place.value) not in self._columns), *self._apart]
        # What only frames and indexes of pandas hold is its own affair; another frame writes into its columns.
        for_pandas = _Places(beside)
        for_others = _Places([*(place for place in self._live if place.value.flags.writeable), *stored, *self._apart])
        for array, holder in self._hidden:
            if array is None:
                if beside:
                    raise EntangledError(f"nobody can tell whether a {type(holder).__name__} looks at an array")
                continue
            if not array.size:
                continue
            others = for_pandas if type(holder).__module__.partition(".")[0] == "pandas" else for_others
            other = others.overlapping(*bounds_of(array))
            if other is not None and not _gives(holder, array):
                raise EntangledError(f"a {type(holder).__name__} shares its memory with {other.name or 'an array'}")

    def check_held(self, stored: Callable[[], Mapping[int, Any]]) -> None:
        """Refuse an object that holds another one, which is stored too, where its pickle does not tell of that one.

        So does a parsed document, which is stored as its text: a part of it that has a name of its own would come back
        as a part of another document.

        Parameters
        ----------
        stored
            Returns what was stored, by id.
        """
        if not self._holders:
            return
        there = stored()
        for kind, holders in self._holders.items():
            whole = 0
            for holder in holders.values():
                left_out, told = _left_out(holder, there)
                # A library's class treats all of its objects alike, and a figure has thousands.
                whole += not left_out
                if whole > _SAMPLE and not is_user_class(kind):
                    break
                for one in left_out:
                    if id(one) in there and _has_state(one):
                        raise EntangledError(
                            f"a {kind.__name__} holds a {type(one).__name__}, and is stored without it"
                        )
                if _calls_somebody(left_out, there, told):
                    raise EncodeError(f"a {kind.__name__} is stored without the functions that it is to call")

    def _check_apart(self, start: int, stop: int, value: object, what: str) -> None:
        for place in self._apart:
            if place.overlaps(start, stop) and place.value is not value:
                raise EntangledError(f"{what} shares its memory with {place.name}")

    def _check_base(self, array: Any) -> None:
        """Refuse a view of memory that an object written in C has: `clf.tree_.value` of an estimator."""
        base = self._base(array).base if array.base is not None and array.flags.writeable else None
        if base is not None and id(base) in self._numbers and not exports_memory(base):
            raise EntangledError(f"an array looks at the memory of a {type(base).__name__}")

    def offset(self, array: Any, owner: Any) -> int:
        """Return how far behind the owner's first item that of the array lies, in bytes."""
        first, last = bounds_of(owner)
        start, stop = bounds_of(array)
        if not (first <= start and stop <= last):
            raise EncodeError("an array is taken for a part of one that it lies outside of")
        address: int = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
        return address

    def bytes_of(self, buffer: Any) -> Any:
        """Return the memory of a buffer as an array of bytes."""
        assert self._numpy is not None
        return self._numpy.frombuffer(buffer, "u1")

    def _living(self, start: int, stop: int) -> list[_Range]:
        """Return the live arrays that lie there, in their order."""
        if self._where.overlapping(start, stop) is None:
            return []
        return [place for place in self._live if place.overlaps(start, stop)]

    def _covers(self, owner: Any, array: Any) -> bool:
        """Tell whether an array within the bounds of another one lies on items of that alone, and not in its gaps."""
        if owner.flags.forc:
            return True
        assert self._numpy is not None
        first, last = bounds_of(owner)
        marks = self._numpy.zeros(last - first, "?")

        def at(value: Any) -> Any:
            offset = value.__array_interface__["data"][0] - first
            shape, strides = (*value.shape, value.itemsize), (*value.strides, 1)
            return self._numpy.ndarray(shape, "?", marks, offset, strides)  # type: ignore[union-attr] # as asserted

        at(owner)[...] = True
        return bool(at(array).all())

    def _base(self, array: Any) -> Any:
        while type(array.base) is type(array):
            array = array.base
        return array

    def _places(self, value: Any, name: str) -> Iterator[_Range]:
        assert self._numpy is not None
        if isinstance(value, self._numpy.ndarray):
            array = value.view(self._numpy.ndarray)
        else:
            try:
                array = self._numpy.frombuffer(value, "u1") if memoryview(value).nbytes else self._numpy.empty(0)
            except (BufferError, ValueError, TypeError):  # closed, or in pieces
                return
        if array.size:
            yield _Range(*bounds_of(array), value, name)


# -- what objects hold beside their pickle -----------------------------------------------------------------------------


_HAS_PARTS: Final = 1 << 14  # Py_TPFLAGS_HAVE_GC: it may refer to others
_holders: dict[type, Callable[[Any], Iterator[Any]] | None] = {}


def _held_by(cls: type) -> Callable[[Any], Iterator[Any]] | None:
    """Return what tells of the arrays that objects of a class hold, where their pickle may leave some out."""
    if cls not in _holders:
        top = str(cls.__module__).partition(".")[0]
        own = any(
            getattr(cls, name, None) is not getattr(object, name, None)
            for name in ("__reduce_ex__", "__reduce__", "__getstate__")
        )
        # What this package makes only stands for something in a pickle, and a function refers to its whole module.
        ours = top in sys.stdlib_module_names or top == "awaitly_nb"
        silent = ours or hasattr(cls, "__globals__") or not cls.__flags__ & _HAS_PARTS
        _holders[cls] = _ASKED.get(top, _parts_of if own and not silent else None)
    return _holders[cls]


def _parts_of(value: object) -> Iterator[object]:
    parts: list[object] = []
    for part in gc.get_referents(value):
        if type(part) is dict:
            parts += part.values()
        else:
            parts.append(part)
    has_arrow = "pyarrow.lib" in sys.modules
    for inner in parts:
        if has_arrow and type(inner).__module__ == "pyarrow.lib":
            yield from _arrow_memory(inner)
        elif inner is not None:
            yield inner


def _elements(part: object) -> Iterator[object]:
    """Return an object, and what lies in it where it is a list or a dict."""
    yield part
    if type(part) is dict:
        yield from part.values()
    elif isinstance(part, list | tuple | set):
        yield from part


_SILENT: Final = frozenset({int, float, str, bytes, bool, complex, type(None)})
"""Types of which an object is held by many, and tells nothing."""


def _left_out(holder: Any, there: Container[int]) -> tuple[list[Any], list[MethodType]]:  # Any: any objects
    """Return what an object holds, and its pickle does not tell of; and the methods of which it tells.

    Nothing where that is too much to look through.
    """
    held = [inner for part in _parts_of(holder) for inner in _elements(part) if type(inner) not in _SILENT]
    if not held or len(given := _given(holder)) >= _MOST_PARTS:
        return [], []
    ids = set(map(id, given))
    left_out = [one for one in held if id(one) not in ids]
    if left_out:
        # What a given object, which is stored as itself, holds in its turn comes with that: an index of dates is made
        # of its array, and remembers the dtype that the array has.
        ids.update(id(inner) for part in given if id(part) in there for inner in _parts_of(part))
        left_out = [one for one in left_out if id(one) not in ids]
    return left_out, [one for one in given if isinstance(one, MethodType)]


def _calls_somebody(parts: list[Any], there: Container[int], told: Container[MethodType]) -> bool:  # Any: any objects
    """Tell whether a function of the user's, or a method of what is stored, lies in some objects, or in what they hold.

    So does who observes a value. Methods that are `told` of are made anew each time, and so they are equal and not the
    same.
    """
    seen: set[int] = set()
    for _ in range(_DEPTH):
        inner: list[Any] = []
        for part in parts:
            one = part() if isinstance(part, weakref.ref) else part
            if isinstance(one, MethodType) and id(one.__self__) in there:
                if one not in told:
                    return True
                continue
            function = getattr(one, "__func__", one)
            if isinstance(function, FunctionType):
                if not is_installed_path(function.__code__.co_filename):
                    return True
            elif not isinstance(one, type | ModuleType) and id(one) not in there and id(one) not in seen:
                seen.add(id(one))
                inner += [more for more in gc.get_referents(one) if type(more) not in _SILENT]
        parts = inner[:_MOST_PARTS]
    return False


_DEPTH: Final = 6


def _has_state(value: Any) -> bool:  # Any: any object
    """Tell whether somebody could change an object, as far as its pickle tells: what goes by a name stays itself."""
    if isinstance(value, _GOES_BY_NAME) or not type(value).__flags__ & _HAS_PARTS:
        return False
    if isinstance(value, list | dict | set):
        return True
    try:
        reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - user code may raise anything
        return False
    if not isinstance(reduced, tuple):
        return False
    hashed: object = type(value).__hash__
    is_value = hashed not in (None, object.__hash__)
    return any(part is not None for part in reduced[2:]) or (isinstance(reduced[0], type) and not is_value)


_GOES_BY_NAME: Final = (type, FunctionType, BuiltinFunctionType, ModuleType, tuple, frozenset, Enum)


def _gives(holder: Any, array: Any) -> bool:  # Any: an object with a pickle of its own, and an array
    """Tell whether the pickle of an object is made of this very array, which is written as what it is."""
    return any(part is array for part in _given(holder))


def _given(holder: Any) -> list[Any]:  # Any: an object with a pickle of its own, and what that is made of
    try:
        reduced = reduced_known(holder)
        waiting = [holder.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if reduced is NotImplemented else reduced]
    except Exception:  # noqa: BLE001 - user code may raise anything
        return []
    for part in waiting:  # grows while it is walked
        if isinstance(part, tuple | list | dict | set) and len(waiting) < _MOST_PARTS:
            waiting += part.values() if isinstance(part, dict) else part
    return waiting


_MOST_PARTS: Final = 10_000
_SAMPLE: Final = 16


def _arrow_memory(value: Any) -> Iterator[Any]:  # Any: an object of Arrow, and arrays
    for chunk in getattr(value, "chunks", (value,)):
        for buffer in chunk.buffers() if hasattr(chunk, "buffers") else ():
            if buffer is not None and buffer.size:
                yield sys.modules["numpy"].frombuffer(buffer, "u1")


def _polars_memory(value: Any) -> Iterator[Any]:  # Any: an object of polars, and arrays; None where nobody can tell
    kind = type(value).__name__
    if kind == "DataFrame":
        for series in value.get_columns():
            yield from _polars_memory(series)
    elif kind == "Series" and (value.dtype.is_numeric() or value.dtype.is_temporal()):
        for chunk in value.get_chunks():
            try:
                yield chunk.to_numpy(allow_copy=False)
            except Exception:  # noqa: BLE001 - polars raises errors of its own where it had to copy
                if chunk.null_count():
                    yield _behind_nulls(chunk)
    elif kind in {"Expr", "LazyFrame"}:
        if _POLARS_FUNCTION in value.__getstate__():
            raise EncodeError(f"a {kind} of polars is stored with a copy of the function that it is to call")
        if kind == "LazyFrame" and "DF [" in value.explain(optimized=False):
            yield None


_POLARS_FUNCTION: Final = b"cloudpickle"
"""What polars' own bytes hold where they hold a function of a notebook."""


def _behind_nulls(chunk: Any) -> Any:  # Any: as above
    try:
        buffer = chunk.to_arrow().buffers()[-1]
    except ImportError:
        return None
    return sys.modules["numpy"].frombuffer(buffer, "u1")


def _image_memory(value: Any) -> Iterator[Any]:  # Any: an object of Pillow; None where nobody can tell
    if getattr(value, "readonly", 0):  # as it says of pictures that look at the memory of another object
        yield None


_ASKED: Final[dict[str, Callable[[Any], Iterator[Any]]]] = {"polars": _polars_memory, "PIL": _image_memory}
"""How objects of a library, which hold their memory where nobody sees it, are asked for it."""
