"""A value to one pickle 5 stream with out-of-band buffers, and back: the only file that imports pickle.

Bulk data (arrays, Arrow columns) leaves the stream as buffers, so that storing it copies nothing. Functions of a
notebook go by value (cloudpickle); its classes go by name, so that a loaded object is an instance of the class the
notebook has now, and their shape is noted, so that one that has changed since is refused with a reason. Whoever calls
`decode` has verified the bytes before.
"""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec.shapes import Shape, changed_shape, is_user_class, shape_of
from awaitly_nb.errors import CacheError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Encoded", "UndecodableError", "decode", "decode_plain", "encode"]

PROTOCOL = 5
_SMALL_BUFFER = 4096  # below it, alignment and a checksum of its own cost more than the copy into the stream
_SEARCH_DEPTH = 6
_SEARCH_ITEMS = 1000


class UndecodableError(CacheError):
    """A value was verified, but cannot be rebuilt here; the message says why."""


@dataclass(frozen=True, slots=True)
class Encoded:
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
        return len(self.stream) + sum(buffer.nbytes for buffer in self.buffers)


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
    except Exception:  # noqa: BLE001, S110 - the strangers are the objects' own __reduce__ methods; try by value
        pass
    try:
        return _dump(_by_value_pickler(), value)
    except Exception as exc:  # the strangers are the objects' own __reduce__ methods
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
    except Exception as exc:  # the strangers are the objects' own __setstate__ methods
        raise UndecodableError(f"cannot be rebuilt here ({type(exc).__name__}: {exc})") from exc


decode_plain: Final = pickle.loads
"""`decode` for a verified stream without buffers and shapes, and with whatever error comes."""


class _NeedsByValue(Exception):  # noqa: N818 - a signal, never seen outside
    """The stream would name a function that another process cannot find."""


class _Pickler(pickle.Pickler):
    """The C pickler, with a look at classes, functions and arrays only: plain data costs nothing."""

    def __init__(self, file: io.BytesIO, buffer_callback: Callable[[pickle.PickleBuffer], object]) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=buffer_callback)
        self.shapes: list[Shape] = []

    def reducer_override(self, obj: Any) -> Any:  # Any: pickle's own protocol
        if isinstance(obj, type):
            if is_user_class(obj):
                if "<locals>" in obj.__qualname__:
                    raise _NeedsByValue
                self.shapes.append(shape_of(obj))
        elif type(obj) is FunctionType:
            if obj.__module__ == "__main__":
                raise _NeedsByValue
        else:
            return reduced_known(obj)
        return NotImplemented


def reduced_known(obj: Any) -> Any:  # Any: pickle's own protocol
    """Reduce a NumPy datetime array through an integer view; NumPy itself would put it into the stream.

    The generator behind `numpy.random.rand` goes by its name: a fitted model or a distribution that draws from it draws
    from the one of the session that loads it, as it would have where it was made.
    """
    if type(obj).__name__ == "RandomState" and obj is getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None):
        return "_rand"  # numpy has no other name for it
    numpy = sys.modules.get("numpy")
    if numpy is None or type(obj) is not numpy.ndarray or obj.dtype.kind not in "mM":
        return NotImplemented
    if not (obj.flags.c_contiguous or obj.flags.f_contiguous) or not obj.dtype.isnative:
        return NotImplemented
    return _view_as, (obj.view("i8"), obj.dtype.str)


def _view_as(array: Any, dtype: str) -> Any:  # Any: a NumPy array; NumPy is not imported here
    return array.view(dtype)


_ByValue: type[Any] | None = None


def _by_value_pickler() -> type[Any]:  # Any: a Pickler that is made when it is first needed
    """Return the pickler that takes functions by value; cloudpickle is loaded only for it."""
    global _ByValue  # noqa: PLW0603 - a class that cannot be defined before cloudpickle is wanted
    if _ByValue is None:
        from awaitly_nb.codec.by_value import pickler

        class ByValue(pickler()):  # type: ignore[misc]
            def __init__(self, file: io.BytesIO, buffer_callback: Callable[[pickle.PickleBuffer], object]) -> None:
                super().__init__(file, PROTOCOL, buffer_callback=buffer_callback)
                self.shapes: list[Shape] = []

            def reducer_override(self, obj: Any) -> Any:
                if isinstance(obj, io.TextIOWrapper) and obj not in (sys.stdout, sys.stderr):
                    # cloudpickle would store what the file holds, and give back a text in memory in its place.
                    raise pickle.PicklingError("what is kept cannot be an open file")
                # A class of the notebook that can be found by its name goes by name: see the module's docstring.
                if isinstance(obj, type) and is_user_class(obj) and changed_shape(shape_of(obj)) is None:
                    self.shapes.append(shape_of(obj))
                    return NotImplemented
                reduced = reduced_known(obj)
                return super().reducer_override(obj) if reduced is NotImplemented else reduced

        _ByValue = ByValue
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

    dumper = pickler(file, keep)
    dumper.dump(value)
    return Encoded(file.getvalue(), tuple(views), tuple(dumper.shapes))


def _find_culprit(value: object) -> tuple[list[str], object]:
    """Return the way to the innermost part of `value` that cannot be pickled, and the part."""
    path: list[str] = []
    culprit = value
    for _ in range(_SEARCH_DEPTH):
        for step, part in _parts(culprit):
            try:
                _dump(_by_value_pickler(), part)
            except Exception:  # noqa: BLE001 - the strangers are the objects' own __reduce__ methods
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
