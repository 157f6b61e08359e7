"""What stands for a variable that could not be stored, until a cell reads it: then the cell that made it runs first.

A placeholder explains itself wherever it is used. Before any cell runs, the names it reads are looked at; where one is
a placeholder, its maker runs, and what was a placeholder is bound to what the maker left. All else that the maker does
has been restored already, so it is not shown, and not bound, a second time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from awaitly_nb.errors import AwaitlyError
from awaitly_nb.keys import read_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitly_nb.notebook.shell import Shell

__all__ = ["Placeholder", "PlaceholderError", "make_placeholders", "make_placeholders_before_cells"]


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
    run
        Runs that cell and returns the variables it leaves; None where it can no longer run as it did.
    """

    __slots__ = ("_cell", "_kind", "_name", "_run", "_why")

    def __init__(self, *, name: str, cell: str, kind: str, why: str, run: Callable[[], dict[str, Any]]) -> None:
        self._name, self._cell, self._kind, self._why, self._run = name, cell, kind, why, run

    def __repr__(self) -> str:
        return f"<{self._told()}>"

    def __reduce__(self) -> NoReturn:
        raise PlaceholderError(self._told())

    def _told(self) -> str:
        return (
            f"{self._name} was a {self._kind} and could not be stored ({self._why}); to make it anew, run its cell "
            f"with --force: %%awaitly {self._cell} --force"
        )

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise PlaceholderError(self._told())

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("_"):  # asked for by machinery: how to show, to copy or to pickle it
            raise AttributeError(attribute)
        self._refuse()

    __bool__ = __call__ = __iter__ = __next__ = __len__ = __contains__ = __getitem__ = __setitem__ = _refuse
    __enter__ = __exit__ = __add__ = __radd__ = __sub__ = __mul__ = __lt__ = __gt__ = __await__ = _refuse


def _placeholders_in(shell: Shell, source: str) -> dict[str, Placeholder]:
    """Return the placeholders among the variables that the code of a cell reads."""
    names = shell.user_ns
    if not any(type(value) is Placeholder for value in names.values()):
        return {}
    try:
        read = read_names(source, names).names
    except SyntaxError:
        return {}
    found = {name: names[name] for name in read if name in names}
    return {name: value for name, value in found.items() if type(value) is Placeholder}


def make_placeholders(shell: Shell, source: str) -> tuple[str, ...]:
    """Run the makers of the placeholders that a cell reads; return the names of the cells that ran."""
    ran: dict[str, None] = {}
    while found := _placeholders_in(shell, source):
        for name, placeholder in found.items():
            if shell.user_ns.get(name) is not placeholder:
                continue  # made by the same cell as one before
            made = placeholder._run()  # noqa: SLF001 - a placeholder has no public attribute, so as to refuse all
            if type(made.get(name, placeholder)) is Placeholder:
                placeholder._refuse()  # noqa: SLF001 - as above
            ran[placeholder._cell] = None  # noqa: SLF001 - as above
            for other, value in made.items():
                if type(shell.user_ns.get(other)) is Placeholder:
                    shell.user_ns[other] = value
    return tuple(ran)


def make_placeholders_before_cells(shell: Shell) -> None:
    """Let placeholders that a cell without a magic reads be made before it runs; harmless twice."""
    callbacks = shell.events.callbacks["pre_run_cell"]
    if not any(isinstance(callback, _BeforeCell) for callback in callbacks):
        shell.events.register("pre_run_cell", _BeforeCell(shell))


class _BeforeCell:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def __call__(self, info: Any) -> None:  # Any: IPython's own record of a cell
        if not info.raw_cell.startswith("%%awaitly"):  # such a cell does it by itself
            with suppress(PlaceholderError, SyntaxError):  # which the cell itself will raise, in its own lines
                make_placeholders(self._shell, self._shell.transform_cell(info.raw_cell))
