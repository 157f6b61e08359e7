"""A value to one pickle 5 stream with out-of-band buffers, and back: the only file that imports pickle.

Bulk data (arrays, Arrow columns) leaves the stream as buffers, so that storing it copies nothing. Functions of a
notebook go by value (cloudpickle); its classes go by name, so that a loaded object is an instance of the class the
notebook has now, and their shape is noted, so that one that has changed since is refused with a reason. Whoever calls
`decode` has verified the bytes before.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections.abc import AsyncIterator, Iterator
from hashlib import blake2b
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from awaitly_nb.errors import CacheError, EncodeError
from awaitly_nb.installed import is_installed_path
from awaitly_nb.result import Ok, mark_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from awaitly_nb.result import Result

__all__ = [
    "Encoded",
    "Shape",
    "UndecodableError",
    "changed_shape",
    "copied",
    "copied_if_light",
    "decode",
    "decode_plain",
    "encode",
    "is_global_generator",
    "is_heavy",
    "is_used_up",
    "is_user_class",
    "refuse_used_up",
    "shape_of",
]

Shape: TypeAlias = "tuple[str, str, str]"
"""Module, qualified name and digest."""

_known: dict[str, bool] = {}

_HEAVY_BYTES: Final = 8_000_000

_UNCHANGING = (type(None), bool, int, float, complex, str, bytes)

PROTOCOL = 5
_SMALL_BUFFER = 4096  # below it, alignment and a checksum of its own cost more than the copy into the stream
_SEARCH_DEPTH = 6
_SEARCH_ITEMS = 1000


class UndecodableError(CacheError):
    """A value was verified, but cannot be rebuilt here; the message says why."""


class Encoded(NamedTuple):
    """A value as bytes.

    Attributes
    ----------
    stream
        The pickle stream.
    buffers
        Its out-of-band buffers, contiguous; views of the value's own memory, valid while the value is not changed.
    shapes
        The user's classes that the stream names, with their shapes.
    """

    stream: bytes
    buffers: tuple[memoryview, ...] = ()
    shapes: tuple[Shape, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of the stream and all buffers."""
        return len(self.stream) + (sum([buffer.nbytes for buffer in self.buffers]) if self.buffers else 0)


def encode(value: object) -> Encoded:
    """Return `value` as bytes.

    Raises
    ------
    EncodeError
        No pickler takes it; the message names the type and where in the value it sits.

    Examples
    --------
    >>> decode(*(lambda e: (e.stream, e.buffers))(encode({"n": (1, 2)})))
    {'n': (1, 2)}
    """
    try:
        return _dump(_Pickler, value)
    except RecursionError:
        raise EncodeError(f"cannot store a {_name(value)}: it is nested too deeply for pickle") from None
    except Exception:  # noqa: BLE001, S110 - the objects' own __reduce__ methods may raise anything; try by value
        pass
    try:
        return _dump(_by_value_pickler(), value)
    except Exception as exc:  # the objects' own __reduce__ methods may raise anything
        steps, culprit = _find_culprit(value)
        where = f" at {''.join(steps)}" if steps else ""
        keys = value if isinstance(value, dict) else ()
        named = next((key for key in keys if isinstance(key, str) and steps[:1] == [f"[{key!r}]"]), "")
        why = f"{type(exc).__name__}: {exc}"
        raise EncodeError(
            f"cannot store a {_name(value)}: the {_name(culprit)}{where} cannot be pickled ({why})",
            name=named,
            path="".join(steps[1:] if named else steps),
            kind=_name(culprit),
            why=why,
        ) from exc


def decode(
    stream: bytes | bytearray | memoryview, buffers: Iterable[object] = (), shapes: Sequence[Shape] = ()
) -> Any:  # Any: whatever was encoded
    """Return the value of a stream that has been verified.

    Parameters
    ----------
    stream, buffers
        As `encode` made them. Writable buffers give writable arrays.
    shapes
        Classes with the shapes they had; checked before anything is unpickled.

    Raises
    ------
    UndecodableError
        A class is gone or has changed, or its own code refuses the data.
    """
    for shape in shapes:
        if (reason := changed_shape(shape)) is not None:
            raise UndecodableError(reason)
    try:
        return pickle.loads(stream, buffers=buffers)  # noqa: S301 - verified by the caller, see the module's docstring
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as exc:  # the objects' own __setstate__ methods may raise anything
        raise UndecodableError(f"cannot be rebuilt here ({type(exc).__name__}: {exc})") from exc


decode_plain: Final = pickle.loads
"""`decode` for a verified stream without buffers and shapes, and with whatever error comes."""


class _NeedsByValue(Exception):  # noqa: N818 - a signal, never seen outside
    """The stream would name a function that another process cannot find."""


class _Pickler(pickle.Pickler):
    """The C pickler, with a look at classes, functions and arrays only: plain data costs nothing."""

    shapes: tuple[Shape, ...] = ()

    def reducer_override(self, obj: Any) -> Any:  # Any: pickle's own protocol
        if isinstance(obj, type):
            if is_user_class(obj):
                if "<locals>" in obj.__qualname__:
                    raise _NeedsByValue
                self.shapes += (shape_of(obj),)
        elif type(obj) is FunctionType:
            if obj.__module__ == "__main__":
                raise _NeedsByValue
        else:
            return reduced_known(obj)
        return NotImplemented


def is_global_generator(obj: object) -> bool:
    """Tell whether this is the generator behind `numpy.random.rand`, which is the session's and no part of a value."""
    return type(obj).__name__ == "RandomState" and obj is getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)


def reduced_known(obj: Any) -> Any:  # Any: pickle's own protocol
    """Reduce a NumPy datetime array through an integer view; NumPy itself would put it into the stream.

    The generator behind `numpy.random.rand` goes by its name: a fitted model or a distribution that draws from it draws
    from the one of the session that loads it, as it would have where it was made.
    """
    if isinstance(obj, BaseException):
        return _linked(obj)
    if is_global_generator(obj):
        return "_rand"  # numpy has no other name for it
    if type(obj).__name__ == "CallbackRegistry" and type(obj).__module__ == "matplotlib.cbook":
        return _connected(obj)
    if str(type(obj).__module__).startswith("plotly.graph_objs._figure"):
        return _plotly_figure(obj)
    if hasattr(type(obj), "_accessors"):  # of pandas
        from awaitly_nb.pandas_attributes import set_on_pandas

        if own := set_on_pandas(obj):
            make, args, *rest = obj.__reduce_ex__(PROTOCOL)
            return make, args, (rest[0] if rest else None, own), None, None, _set_with_attributes
    numpy = sys.modules.get("numpy")
    if numpy is None or type(obj) is not numpy.ndarray or obj.dtype.kind not in "mM":
        return NotImplemented
    if not (obj.flags.c_contiguous or obj.flags.f_contiguous) or not obj.dtype.isnative:
        return NotImplemented
    return _view_as, (obj.view("i8"), obj.dtype.str)


def _linked(error: BaseException) -> Any:  # Any: pickle's own protocol
    """Return how an exception is made with what led to it, which its own pickle leaves out."""
    links = (error.__cause__, error.__context__, error.__suppress_context__)
    if links == (None, None, False):
        return NotImplemented
    reduced = error.__reduce_ex__(PROTOCOL)
    if not isinstance(reduced, tuple) or len(reduced) > 3:  # noqa: PLR2004 - with items, or a setter of its own
        return NotImplemented
    make, args, *state = reduced
    return make, args, (state[0] if state else None, *links), None, None, _link


def _link(error: BaseException, state: tuple[Any, ...]) -> None:  # Any: as above
    attributes, error.__cause__, error.__context__, error.__suppress_context__ = state
    if attributes is not None:
        error.__setstate__(attributes)


def _connected(registry: Any) -> Any:  # Any: a registry of matplotlib, and pickle's own protocol
    """Return how a registry is made with what artists connected to it, which its own pickle leaves out.

    An image that has lost sight of its norm is no longer drawn anew when that changes. What a window or the user has
    connected stays out.
    """
    state = registry.__getstate__()
    for signal, proxies in registry.callbacks.items():
        called = {cid: proxy() for cid, proxy in proxies.items()}
        kept = state["callbacks"].get(signal, {})
        state["callbacks"][signal] = {
            cid: one for cid, one in called.items() if cid in kept or _is_of_artist(getattr(one, "__self__", None))
        }
    return copyreg.__newobj__, (type(registry),), state  # type: ignore[attr-defined]  # public, and not in the stubs


def _is_of_artist(owner: object) -> bool:
    module = type(owner).__module__
    return module.startswith("matplotlib.") and not module.startswith(_OF_WINDOWS)


_OF_WINDOWS: Final = ("matplotlib.back", "matplotlib._pylab", "matplotlib.pyplot", "matplotlib.widgets")


def _plotly_figure(figure: Any) -> Any:  # Any: a figure of plotly, and pickle's own protocol
    """Reduce a figure to its arrays: plotly would write them as text, and give that to who asks for `fig.data[0].y`."""
    make, args, *rest = figure.__reduce_ex__(PROTOCOL)
    if not (args and isinstance(args[0], dict) and {"data", "layout"} <= args[0].keys()):
        return NotImplemented
    plain = {"data": figure._data, "layout": figure._layout}  # noqa: SLF001 - as its own `to_dict` begins
    if "frames" in args[0]:
        plain["frames"] = [frame._props for frame in figure._frame_objs]  # noqa: SLF001 - as above
    return make, ({**args[0], **_with_new_containers(plain)}, *args[1:]), *rest


def _with_new_containers(value: Any) -> Any:  # Any: what plotly keeps of a figure
    """Return an equal value of other dicts and lists: those of a figure that lives are its own."""
    if isinstance(value, dict):
        return {name: _with_new_containers(part) for name, part in value.items()}
    return [_with_new_containers(part) for part in value] if isinstance(value, list) else value


def _set_with_attributes(value: Any, states: Any) -> None:  # Any: a frame or an index, and pickle's own protocol
    """Give an object of pandas its state, and the attributes that users have set on it."""
    state, own = states
    if state is not None:
        value.__setstate__(state)
    for name, part in own.items():
        object.__setattr__(value, name, part)


def _view_as(array: Any, dtype: str) -> Any:  # Any: a NumPy array; NumPy is not imported here
    return array.view(dtype)


_ByValue: type[Any] | None = None


def _by_value_pickler() -> type[Any]:  # Any: a Pickler that is made when it is first needed
    """Return the pickler that takes functions by value; cloudpickle is loaded only for it."""
    global _ByValue  # noqa: PLW0603 - a class that cannot be defined before cloudpickle is wanted
    if _ByValue is None:
        from awaitly_nb.codec.by_value import pickler

        class _NotebookPickler(pickler()):  # type: ignore[misc]
            shapes: tuple[Shape, ...] = ()

            def reducer_override(self, obj: Any) -> Any:
                if isinstance(obj, io.TextIOWrapper) and obj not in (sys.stdout, sys.stderr):
                    # cloudpickle would store what the file holds, and give back a text in memory in its place.
                    raise pickle.PicklingError("what is stored cannot be an open file")
                # A class of the notebook that can be found by its name goes by name: see the module's docstring.
                if isinstance(obj, type) and is_user_class(obj) and changed_shape(shape_of(obj)) is None:
                    self.shapes += (shape_of(obj),)
                    return NotImplemented
                reduced = reduced_known(obj)
                return super().reducer_override(obj) if reduced is NotImplemented else reduced

        _ByValue = _NotebookPickler
    return _ByValue


def _dump(pickler: type[Any], value: object) -> Encoded:
    file = io.BytesIO()
    views: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if small := view.nbytes < _SMALL_BUFFER:
            return small  # True: leave it in the stream
        views.append(view)
        return small

    dumper = pickler(file, PROTOCOL, buffer_callback=keep)
    dumper.dump(value)
    return Encoded(file.getvalue(), tuple(views), dumper.shapes)


def _find_culprit(value: object) -> tuple[list[str], object]:
    """Return the way to the innermost part of `value` that cannot be pickled, and the part."""
    path: list[str] = []
    culprit = value
    for _ in range(_SEARCH_DEPTH):
        for step, part in _parts(culprit):
            try:
                _dump(_by_value_pickler(), part)
            except Exception:  # noqa: BLE001 - the objects' own __reduce__ methods may raise anything
                path, culprit = [*path, step], part
                break
        else:
            break
    return path, culprit


def _parts(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in list(value.items())[:_SEARCH_ITEMS]]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", part) for index, part in enumerate(value[:_SEARCH_ITEMS])]
    return [(f".{name}", part) for name, part in getattr(value, "__dict__", {}).items()]


def _name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# The shape of a user's class: what a pickled instance depends on, beside its data. A pickle names a class and has an
# instance's state. Methods may change freely; but where fields, slots, bases or enum members have changed, old state in
# the new class would be a lie, and the entry is refused with a reason.


def is_user_class(cls: type) -> bool:
    """Tell whether `cls` was written by the user: neither installed nor part of Python."""
    name = cls.__module__
    if name == "__main__":
        return True
    if (known := _known.get(name)) is None:
        file = getattr(sys.modules.get(name), "__file__", None)
        known = _known[name] = file is not None and not is_installed_path(file)
    return known


def shape_of(cls: type) -> Shape:
    """Return the shape of `cls`."""
    return cls.__module__, cls.__qualname__, _digest(cls)


def changed_shape(shape: Shape) -> str | None:
    """Return why instances of the class cannot be rebuilt here, or None if they can."""
    module, qualname, digest = shape
    if module not in sys.modules:
        try:
            __import__(module)
        except Exception as exc:  # noqa: BLE001 - the user's module may raise anything
            return f"module {module} cannot be imported ({type(exc).__name__}: {exc})"
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        where = "this notebook; run the cell that defines it" if module == "__main__" else f"module {module}"
        return f"class {qualname} is not defined in {where}"
    if _digest(found) != digest:
        return f"class {qualname} has changed since"
    return None


def _digest(cls: type) -> str:
    # Any: class attributes of every kind.
    names = dict(vars(cls))
    members = names.get("_member_map_")
    shape = (
        [base.__qualname__ for base in cls.__mro__[1:]],
        [list(vars(base).get("__annotations__", ())) for base in cls.__mro__ if is_user_class(base)],
        [str(vars(base).get("__slots__", "")) for base in cls.__mro__ if is_user_class(base)],
        list(names.get("_fields", ())),
        [(name, repr(member.value)) for name, member in members.items()] if members else [],
    )
    return blake2b(repr(shape).encode(), digest_size=8).hexdigest()


# Copies of values, made the way a cache would: what is done to one does not show in the other.


def is_used_up(result: Result[Any, Any]) -> bool:
    """Tell whether the value is used up by reading it, so that itself it could serve one reader only."""
    return isinstance(result, Ok) and isinstance(result.value, Iterator | AsyncIterator)


def refuse_used_up(result: Result[Any, Any]) -> None:
    """Raise EncodeError for such a value."""
    if isinstance(result, Ok) and is_used_up(result):
        kind = type(result.value).__name__
        raise EncodeError(f"a {kind} is used up by whoever reads it first; return a list of its items")


def copied(result: Result[Any, Any]) -> Result[Any, Any]:
    """Return `result` with a value of its own; the same object where it cannot change, or cannot be copied.

    A value that no pickler takes is shared: it could not be stored anywhere else either.
    """
    if not isinstance(result, Ok) or type(result.value) in _UNCHANGING:
        return result
    try:
        encoded = encode(result.value)
        value = decode(encoded.stream, [bytearray(buffer) for buffer in encoded.buffers])
        return Ok(value, _mark=mark_of(result))
    except (EncodeError, UndecodableError):
        return result


def copied_if_light(result: Result[Any, Any]) -> Result[Any, Any]:
    """Return `copied(result)`, and a large value itself: without a cache nobody expects to need its memory twice."""
    return result if is_heavy(result) else copied(result)


def is_heavy(result: Result[Any, Any]) -> bool:
    """Guess whether encoding a result takes long, from what arrays and frames tell of themselves."""
    if not isinstance(result, Ok):
        return False
    value = result.value
    if isinstance(value, dict):
        return any(map(_is_large, value.values()))
    return any(map(_is_large, value)) if isinstance(value, list | tuple) else _is_large(value)


def _is_large(value: object) -> bool:
    size = getattr(value, "nbytes", None)
    if size is None and callable(usage := getattr(value, "memory_usage", None)):
        size = getattr(usage(), "sum", int)()
    return (isinstance(size, int | float) and size > _HEAVY_BYTES) or sys.getsizeof(value, 0) > _HEAVY_BYTES
