"""cloudpickle's pickler, with the file names of code; loaded when something is first packed by value.

A function that goes by value takes the globals along that it needs, and in another process it has nothing else. But
back where it was written, it is to read and write what is there *now*, as if its `def` had just run. So what is stored,
and not sent to a worker, comes back with the globals of its own module: of the notebook, mostly.
"""

from __future__ import annotations

import io
import pickle
import sys
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Packed", "dumps", "from_bytes", "is_notebook", "is_travelling", "pickler", "to_bytes"]

_travelling: ContextVar[bool] = ContextVar("awaitly_nb_travelling", default=False)

_NOTEBOOK = "get_ipython"
"""What IPython puts into a notebook's namespace."""


@cache
def pickler() -> type[Any]:  # Any: a Pickler that cannot be defined before cloudpickle is wanted
    """Return the pickler that takes functions, and classes of no module, by value."""
    import cloudpickle

    class _FunctionPickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:  # Any: pickle's own protocol
            if type(obj) is FunctionType:
                reduced = super().reducer_override(obj)
                if reduced is NotImplemented:
                    return reduced
                reduced = self._with_shared_cells(obj, reduced)
                return reduced if is_travelling() else _coming_home(obj, reduced)
            if type(obj) is not CodeType:
                return super().reducer_override(obj)
            make, args = self.dispatch_table[CodeType](obj)
            # cloudpickle 3.1.3 leaves the name out, and the source is found by it: of a cell, in another process.
            return make, tuple(obj.co_filename if part == "<dynamic-code>" else part for part in args)

        def _with_shared_cells(self, function: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
            """Return the recipe with one empty cell for each variable: functions that share one, share it again.

            cloudpickle 3.1.3 makes new cells for each function.
            """
            if not function.__closure__:
                return reduced
            # The variable is held as well, so that no other takes its address while this pickle is written.
            cells = self.__dict__.setdefault("_cells", {})
            closure = tuple(cells.setdefault(id(cell), (CellType(), cell))[0] for cell in function.__closure__)
            make, (*args, _), *rest = reduced
            return make, (*args, closure), *rest

    return _FunctionPickler


def dumps(value: object, protocol: int) -> bytes:
    """Return `value` as one pickle."""
    file = io.BytesIO()
    pickler()(file, protocol).dump(value)
    return file.getvalue()


def _coming_home(function: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:  # Any: pickle's own protocol
    """Return cloudpickle's recipe for a function as one that looks for the function's own globals first."""
    names = function.__globals__
    # What came into a worker by value is the notebook's function still, with a copy of its globals.
    if names.get("__name__") != "__main__" and not _is_home(names):
        return reduced
    _, (code, copied, _, _, closure), state, *_ = reduced
    return _make, (code, copied, closure, tuple(state[1]["__globals__"])), state, None, None, _settle


def _make(
    code: CodeType,
    copied: dict[str, Any],  # Any: a namespace holds anything
    closure: tuple[CellType, ...] | None,
    needs: Collection[str],
) -> FunctionType:
    """Make a function that has its code and its globals, and nothing else yet (it may be part of itself)."""
    home = _home(str(copied.get("__name__")), needs)
    if home is not None:
        return FunctionType(code, home, None, None, closure)
    from cloudpickle.cloudpickle import _make_function

    return _make_function(code, copied, None, None, closure)  # type: ignore[no-any-return]


def _settle(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a function the rest; the globals that came along are for a process in which it has no others."""
    if not _is_home(function.__globals__):
        from cloudpickle.cloudpickle import _function_setstate

        _function_setstate(function, state)
        return
    attributes, slots = state
    function.__dict__.update(attributes)
    for cell, filled in zip(function.__closure__ or (), slots["__closure__"] or (), strict=True):
        try:
            cell.cell_contents = filled.cell_contents
        except ValueError:  # the cell is empty: a name that was deleted, or not yet bound
            continue
    for slot in slots.keys() - {"__globals__", "__closure__", "_cloudpickle_submodules"}:
        setattr(function, slot, slots[slot])


def _home(name: str, needs: Collection[str]) -> dict[str, Any] | None:
    """Return the namespace of the module `name`; None where it is not the one that the function was written in.

    A notebook always is, whatever it has run so far. Another `__main__` has to have all that the function needs, and so
    has a module, which may have been edited. A spawned worker's own copy of a script calls itself `__mp_main__`.
    """
    try:
        names = vars(import_module(name))
    except Exception:  # noqa: BLE001 - the user's module may raise anything
        return None
    if names.get("__name__") != name:
        return None
    return names if (name == "__main__" and _NOTEBOOK in names) or names.keys() >= set(needs) else None


def is_notebook(names: dict[str, Any]) -> bool:
    """Tell whether these globals are those of the notebook that runs here."""
    return names.get("__name__") == "__main__" and _NOTEBOOK in names and _is_home(names)


def _is_home(names: dict[str, Any]) -> bool:
    module = sys.modules.get(str(names.get("__name__")))
    return module is not None and vars(module) is names


# Calls by value: what a notebook defines has no module that another process could import. These bytes travel inside a
# pickle of the process pool's or the cluster's own, between processes of one user; they never come from a cache, and so
# are not signed.


class Packed(bytes):
    """Packed bytes. They may hold an address with its password, so that no log and no dashboard shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} packed bytes>"


def to_bytes(value: object, *, travels: bool = True) -> Packed:
    """Return anything, functions with their code, closure and globals, for another process of this user.

    Parameters
    ----------
    value
        Any value.
    travels
        False for a part of what is stored: it comes back to where it was written, and finds its globals there.
    """
    token = _travelling.set(travels)
    try:
        return Packed(dumps(value, pickle.HIGHEST_PROTOCOL))
    finally:
        _travelling.reset(token)


def is_travelling() -> bool:
    """Tell whether what is being pickled goes straight to another process of this user, and is not stored."""
    return _travelling.get()


def from_bytes(data: bytes) -> Any:  # Any: whatever was sent
    """Return what `to_bytes` was given in another process of this user."""
    return pickle.loads(data)  # noqa: S301 - these bytes never come from a cache
