"""Placeholders: what stands for the variables of a hit that could not be stored, and how they are made.

A placeholder explains itself wherever it is used. Before any cell runs, the names it reads are looked at; where one is
a placeholder, its maker runs, and what was a placeholder is bound to what the maker left. All else that the maker does
has been restored already, so it is not shown, and not bound, a second time.

That a maker will leave the same when a hit comes to it is known where the variable is first read in the session that
made it: what has changed until then will have changed for the hit, too. So it is looked at there, and what cannot be
made later is not left in the cache.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from awaitly_nb.errors import AwaitlyError
from awaitly_nb.keys import read_names
from awaitly_nb.notebook.session.namespace import names_in
from awaitly_nb.notebook.session.unread import read_unread

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from awaitly_nb.notebook.session.unread import Unread
    from awaitly_nb.notebook.shell import Shell

__all__ = [
    "BeforeCells",
    "Maker",
    "Placeholder",
    "PlaceholderError",
    "Unstored",
    "before_cells",
    "make_placeholders",
]


class Maker(Protocol):
    """Runs a cell once more for the sake of what could not be stored."""

    def __call__(self) -> dict[str, Any]:  # Any: the user's values
        """Return the variables that the cell leaves; nothing where it would leave something else by now."""

    def check(self) -> bool:
        """Tell whether it would leave the same now, and remove its entry where it would not."""


@dataclass(frozen=True, slots=True)
class Unstored:
    """What a cell of this session left and could not store.

    Attributes
    ----------
    names
        Its variables, with the ids of what they were bound to.
    maker
        What a hit would make them by.
    """

    names: Mapping[str, int]
    maker: Maker


class PlaceholderError(AwaitlyError, TypeError):
    """A variable that could not be stored was used."""


class Placeholder:
    """Stands for a variable that was not stored.

    Parameters
    ----------
    name
        The variable.
    cell
        The name of the cell that made it.
    kind
        The type it had.
    why
        Why it could not be stored.
    maker
        Runs that cell.
    again
        How the user would run it.
    """

    __slots__ = ("_again", "_cell", "_kind", "_maker", "_name", "_why")

    def __init__(self, *, name: str, cell: str, kind: str, why: str, maker: Maker, again: str) -> None:
        self._name, self._cell, self._kind, self._why, self._maker = name, cell, kind, why, maker
        self._again = again

    def __repr__(self) -> str:
        return f"<{self._told()}>"

    def __reduce__(self) -> NoReturn:
        raise PlaceholderError(self._told())

    def _told(self) -> str:
        return f"{self._name} was a {self._kind} and could not be stored ({self._why}); to make it anew, {self._again}"

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise PlaceholderError(self._told())

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("_"):  # asked for by machinery: how to show, to copy or to pickle it
            raise AttributeError(attribute)
        self._refuse()

    __bool__ = __call__ = __iter__ = __next__ = __len__ = __contains__ = __getitem__ = __setitem__ = _refuse
    __enter__ = __exit__ = __add__ = __radd__ = __sub__ = __mul__ = __lt__ = __gt__ = __await__ = _refuse


def _read_by(source: str, names: Mapping[str, Any], wanted: Collection[str]) -> set[str]:  # Any: the user's values
    """Return which of the wanted variables the code of a cell reads, itself or by functions that its variables hold."""
    if not wanted:
        return set()
    try:
        found = {name for name in read_names(source, names).names if name in names}
    except SyntaxError:
        return set()
    waiting, seen = [names[name] for name in found], {id(names)}
    while waiting and len(seen) < _SEARCHED and not found.issuperset(wanted):
        value = waiting.pop()
        if id(value) in seen or isinstance(value, ModuleType | CodeType):
            continue
        seen.add(id(value))
        match value:
            case type():
                waiting += vars(value).values() if value.__module__ == "__main__" else ()
            case FunctionType():
                called = (names_in(value.__code__) & names.keys()) - found if value.__globals__ is names else set()
                found |= called
                waiting += [*(value.__closure__ or ()), *(value.__defaults__ or ()), *(names[one] for one in called)]
            case _:
                waiting += gc.get_referents(value)
    return found.intersection(wanted)


def _placeholders_in(shell: Shell, source: str) -> dict[str, Placeholder]:
    """Return the placeholders among the variables that the code of a cell reads."""
    seeing = before_cells(shell)
    if not seeing.placeholders:
        return {}
    there = {name: value for name, value in list(shell.user_ns.items()) if type(value) is Placeholder}
    seeing.placeholders = bool(there)
    return {name: there[name] for name in _read_by(source, shell.user_ns, there)}


def make_placeholders(shell: Shell, source: str) -> tuple[str, ...]:
    """Run the makers of the placeholders that a cell reads; return the names of the cells that ran."""
    ran: dict[str, None] = {}
    _check_unstored(shell, source)
    while found := _placeholders_in(shell, source):
        for name, placeholder in found.items():
            if shell.user_ns.get(name) is not placeholder:
                continue  # made by the same cell as one before
            made = placeholder._maker()  # noqa: SLF001 - a placeholder has no public attribute, so as to refuse all
            if type(made.get(name, placeholder)) is Placeholder:
                placeholder._refuse()  # noqa: SLF001 - as above
            ran[placeholder._cell] = None  # noqa: SLF001 - as above
            for other, value in made.items():
                there = shell.user_ns.get(other)
                if type(there) is Placeholder and there._maker is placeholder._maker:  # noqa: SLF001 - as above
                    shell.user_ns[other] = value
    return tuple(ran)


def _check_unstored(shell: Shell, source: str) -> None:
    """See whether what a cell reads, and could not be stored, could be made now if this session had been served."""
    unstored, names = before_cells(shell).unstored, shell.user_ns
    for one in [one for one in unstored if not any(id(names.get(name)) == made for name, made in one.names.items())]:
        unstored.remove(one)  # nobody can read it any more
    read = _read_by(source, names, {name for one in unstored for name in one.names})
    for one in [one for one in unstored if not one.names.keys().isdisjoint(read)]:
        if one in unstored:  # else the maker of another has read it
            unstored.remove(one)
            one.maker.check()


_SEARCHED: Final = 10_000


def before_cells(shell: Shell) -> BeforeCells:
    """Return what sees to a session before each of its cells; it is registered when it is first asked for."""
    callbacks = shell.events.callbacks["pre_run_cell"]
    found: BeforeCells | None = next((one for one in callbacks if isinstance(one, BeforeCells)), None)
    if found is None:
        found = BeforeCells(shell)
        shell.events.register("pre_run_cell", found)
    return found


class BeforeCells:
    """Before a cell without a magic runs: makes the placeholders and authenticates the large variables it reads.

    Attributes
    ----------
    unread
        What hits left that no cell has read yet.
    placeholders
        Whether a hit has left any.
    unstored
        What this session's own cells could not store, and no cell has read yet.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.unread: list[Unread] = []
        self.placeholders = False
        self.unstored: list[Unstored] = []

    def __call__(self, info: Any) -> None:  # Any: IPython's own record of a cell
        """See to what a cell reads; IPython calls this before each."""
        if info.raw_cell.startswith("%%awaitly") or not (self.unread or self.placeholders or self.unstored):
            return  # such a cell does it by itself
        with suppress(PlaceholderError, SyntaxError):  # which the cell itself will raise, in its own lines
            source = self._shell.transform_cell(info.raw_cell)
            make_placeholders(self._shell, source)
            read_unread(self.unread, self._shell.user_ns, source)
