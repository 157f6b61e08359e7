"""What a cell leaves in the user's namespace: noticed, turned into one value, and put back.

All variables go into one dict, and so into one pickle, so that two names of one object stay two names of one object. A
name that simply is an input of the cell is kept as a reference to it, a module by its name, and a deleted name as
deleted. What the cell changed in place counts as assigned; putting it back also reaches the other names of that object,
but not what holds it inside (a list of frames keeps the frame as it was). A closed file comes back as a closed file.
"""

from __future__ import annotations

import importlib
import inspect
import io
from enum import EnumMeta
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from awaitly_nb.notebook.shell import Shell

__all__ = ["CELL", "Payload", "Snapshot", "collect", "restore"]

Payload: TypeAlias = "dict[str, Any]"
"""A cell as it is stored: its variables by name, and under `CELL` what else belongs to it."""

CELL = ""
"""No variable can have this name. The variables are the upper level so that an error message names the one at fault."""

_THROWAWAY = frozenset({"_", "__", "___"})


class Snapshot:
    """The user's namespace as it was before a cell ran.

    Parameters
    ----------
    shell
        Whose namespace.
    inputs
        Fingerprints of the variables that the cell reads, by name.
    """

    def __init__(self, shell: Shell, inputs: Mapping[str, str]) -> None:
        self._shell = shell
        self._inputs = inputs
        self._before = dict(shell.user_ns)

    def assigned(self, stores: Collection[str]) -> dict[str, Any]:  # Any: the user's values
        """Return the variables that are new, bound to another object, or named in `stores`."""
        now, hidden = self._shell.user_ns, self._shell.user_ns_hidden
        missing = object()
        return {
            name: value
            for name, value in list(now.items())
            if name not in _THROWAWAY
            and hidden.get(name, missing) is not value
            and (name in stores or self._before.get(name, missing) is not value)
        }

    def deleted(self) -> tuple[str, ...]:
        """Return the variables that are gone."""
        now = self._shell.user_ns
        return tuple(name for name in self._before if name not in now and name not in self._shell.user_ns_hidden)

    def mutated(self, fingerprint: Callable[[object], str | None]) -> dict[str, Any]:  # Any: the user's values
        """Return the inputs, by the names they had, that are no longer the same values although the same objects."""
        inputs = {name: self._before[name] for name in self._inputs if name in self._before}
        return {name: value for name, value in inputs.items() if fingerprint(value) != self._inputs[name]}

    def names_of(self, value: object) -> list[str]:
        """Return the variables that are this very object now."""
        return [name for name, other in list(self._shell.user_ns.items()) if other is value]

    def references(self, assigned: Mapping[str, Any], mutated: Collection[str]) -> dict[str, str]:
        """Return which assigned names simply are an input that the cell left alone."""
        inputs = {id(self._before[name]): name for name in self._inputs if name in self._before and name not in mutated}
        return {
            name: source
            for name, value in assigned.items()
            if (source := inputs.get(id(value))) is not None and source not in assigned
        }


def collect(
    snapshot: Snapshot,
    *,
    stores: Collection[str],
    class_attributes: Mapping[str, Collection[str]],
    only: Iterable[str] | None,
    fingerprint: Callable[[object], str | None],
    by_reference: bool,
) -> Payload:
    """Return what the cell did, as one value to store.

    Parameters
    ----------
    snapshot
        Of before the cell ran.
    stores
        Names the cell binds at its top level.
    class_attributes
        Names that its class statements bind, by class.
    only
        The only variables to store, with what their functions need of the others; None means all.
    fingerprint
        Of a value; None where it has none.
    by_reference
        Whether the inputs are part of the key, so that a name which is an input can be kept as a reference to it.
    """
    assigned = snapshot.assigned(stores)
    mutated = snapshot.mutated(fingerprint)
    held = {name: snapshot.names_of(value) for name, value in mutated.items()}
    changed = {**assigned, **{other: mutated[name] for name, others in held.items() for other in others}}
    if only is not None:
        changed = {name: changed[name] for name in _with_needs(only, changed)}
    modules = {name: value.__name__ for name, value in changed.items() if isinstance(value, ModuleType)}
    closed = {name: isinstance(value, io.TextIOBase) for name, value in changed.items() if _is_closed_file(value)}
    references = snapshot.references(changed, mutated) if by_reference else {}
    elsewhere = {*modules, *closed, *references}
    values = {name: value for name, value in changed.items() if name not in elsewhere}
    return {
        **values,
        CELL: {
            "modules": modules,
            "closed": closed,
            "classes": {
                name: _class_state(value, class_attributes.get(name, ()))
                for name, value in values.items()
                if isinstance(value, type) and value.__module__ == "__main__" and name == value.__name__
            },
            "references": references,
            "mutated": {name: others[0] for name, others in held.items() if others and others[0] in values},
            "deleted": snapshot.deleted() if only is None else (),
        },
    }


def restore(shell: Shell, payload: Payload) -> None:
    """Put back what `collect` took, into the user's namespace."""
    cell = payload[CELL]
    names = shell.user_ns
    values = {name: value for name, value in payload.items() if name != CELL}
    for module in cell["imports"]:
        importlib.import_module(module)
    values.update({name: importlib.import_module(module) for name, module in cell["modules"].items()})
    values.update({name: _closed_file(text=text) for name, text in cell["closed"].items()})
    values.update({name: names[source] for name, source in cell["references"].items()})
    for name, other in cell["mutated"].items():
        if name in names:
            aliases = [alias for alias, value in list(names.items()) if value is names[name] and alias not in values]
            values.update(dict.fromkeys(aliases, values[other]))
    for name, attributes in cell["classes"].items():
        for attribute, value in attributes.items():
            setattr(values[name], attribute, value)
    shell.push(values)
    for name in cell["deleted"]:
        names.pop(name, None)


def _with_needs(wanted: Iterable[str], changed: Mapping[str, Any]) -> list[str]:  # Any: the user's values
    """Return the wanted names, and what the functions among them name, themselves or through each other."""
    found = list(wanted)
    for name in found:  # grows while it is walked
        code = getattr(inspect.unwrap(changed[name]), "__code__", None)
        found += [need for need in _names_in(code) if need in changed and need not in found]
    return found


def _names_in(code: CodeType | None) -> set[str]:
    if code is None:
        return set()
    return set(code.co_names).union(*(_names_in(part) for part in code.co_consts if isinstance(part, CodeType)))


def _class_state(cls: type, own: Collection[str]) -> dict[str, Any]:  # Any: attributes of every kind
    """Return the attributes of a class that running its statement does not bring back: set later, or changed in place.

    Classes are stored by name, and made by their own statement; `own` are the names that it binds.
    """
    if isinstance(cls, EnumMeta):
        return {}
    return {
        name: value
        for name, value in vars(cls).items()
        if not name.startswith(("__", "_abc_"))
        and (name not in own or isinstance(value, list | dict | set | bytearray))
        and not (hasattr(type(value), "__get__") and not isinstance(value, FunctionType))
    }


def _is_closed_file(value: object) -> bool:
    """Tell whether this is what `with open(...) as f` leaves behind: no pickler takes it, and nobody wants it."""
    return isinstance(value, io.IOBase) and bool(value.closed)


def _closed_file(*, text: bool) -> io.IOBase:
    file = io.TextIOWrapper(io.BytesIO()) if text else io.BufferedReader(io.BytesIO())
    file.close()
    return file
