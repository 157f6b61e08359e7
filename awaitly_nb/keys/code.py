"""What a function is, as one digest: with the values it reads (`function_digest`), or its code alone (`code_mark`).

Hides memoisation. Both are asked on every call of a step, so a graph once collected is kept, and asked first whether it
still holds; that costs a look at each name behind it.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from hashlib import blake2b
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys.code_collect import collect
from awaitly_nb.keys.code_graph import ABSENT, Graph, is_code
from awaitly_nb.keys.code_held import held_code
from awaitly_nb.keys.code_origin import import_label, is_user_class, package_version, top_package

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awaitly_nb.keys.code_graph import Slot

__all__ = ["class_digest", "code_mark", "function_digest", "function_graph", "graph_digest"]

_KEPT: Final = 4096
_ALTERNATIVES: Final = 4

_graphs: dict[tuple[int, bool], tuple[Callable[[], object], Graph]] = {}
_marks: dict[int, list[tuple[object, dict[str, Any], Mapping[str, Any] | None, Graph, tuple[Any, ...], str]]] = {}
_running = threading.local()


def function_graph(function: object, *, defaults: bool = True) -> Graph:
    """Return what `function` depends on, collected anew only when that can have changed.

    `defaults=False` leaves its own defaults out, for a caller that binds them as arguments.
    """
    place = (id(function), defaults)
    found = _graphs.get(place)
    if found is not None and found[0]() is function and found[1].holds():
        return found[1]
    try:
        graph = collect(function, defaults=defaults)
    except Exception as exc:
        # The stranger is any object in the user's code whose attributes raise; that is no reason for a step to fail.
        name = getattr(type(function), "__name__", "function")
        raise UnkeyableError(
            f"cannot key the code of this {name}: looking at it raised {type(exc).__name__}: {exc}; pass key=",
            path="code",
        ) from exc
    if len(_graphs) >= _KEPT:
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


def graph_digest(graph: Graph) -> str:
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
    if len(_marks) >= _KEPT:
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


def _mark_and_graph(value: object, deps: Mapping[str, Any] | None) -> tuple[str, Graph | None]:
    try:
        graph = collect(value, values=False, deps=deps, defaults=False)
        if graph.fixed:
            return graph_digest(graph), graph
        return _hex(import_label(value)), None
    except Exception:  # noqa: BLE001 - the stranger is any user object whose attributes raise; a mark never fails a step
        return _hex(f"type {type(value).__module__}.{type(value).__qualname__}"), None


def _hex(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
