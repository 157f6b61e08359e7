"""Watched states of libraries, looked up where they are loaded, and of IPython's shell."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awaitly_nb.keys import GENERATORS, LIBRARY_SETTINGS
from awaitly_nb.notebook.ledger.settings import NamedValues, Values

if TYPE_CHECKING:
    from awaitly_nb.keys import GlobalGenerator, LibrarySettings

__all__ = ["LIBRARIES", "shell_watchers"]


def _registered_maps() -> Values:
    return dict(sys.modules["matplotlib"].colormaps._cmaps)  # noqa: SLF001 - its mapping interface copies each one


def _register_maps(values: Values, gone: list[str]) -> None:
    maps = importlib.import_module("matplotlib").colormaps
    for name, value in values.items():
        maps.register(value, name=name, force=True)
    for name in gone:
        maps.unregister(name)


def _watcher(settings: LibrarySettings) -> NamedValues:
    """Return the watcher of settings that runs are also traced for."""
    return NamedValues(
        settings.name,
        settings.read,
        lambda values, gone: settings.write(values),  # noqa: ARG005 - a setting is never gone
        library=settings.library,
        hints=_HINTS[settings.library],
    )


def _array_errors() -> Values:
    found: Values = sys.modules["numpy"].geterr()
    return found


def _set_array_errors(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - an error is never gone
    importlib.import_module("numpy").seterr(**values)


@dataclass(frozen=True, slots=True)
class Draws:
    """The state of one of the process's generators of random numbers."""

    generator: GlobalGenerator
    first: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return f"generator {self.generator.name}"

    @property
    def library(self) -> str:
        """The module that it belongs to."""
        return self.generator.name

    def snapshot(self) -> tuple[int, Any]:
        """Return how often it was seeded, and its state."""
        self.generator.watch()
        return self.generator.seedings, self.generator.state()

    def told(self) -> Values:
        """Return its state; that of one which nobody seeded is another in each session."""
        self.generator.watch()
        return {"state": self.generator.to_text(self.generator.state())} if self.generator.seeded else {}

    def difference(self, before: tuple[int, Any]) -> Values | None:
        """Return its state now, if it was seeded or drawn from: also where that is what it was."""
        now = self.snapshot()
        return None if now == before else {"after": self.generator.to_text(now[1]), "seeded": self.generator.seeded}

    def apply(self, data: Values) -> None:
        """Set it to that."""
        self.generator.apply(data)

    def requirement(self, before: Any, changed: Values | None, words: frozenset[str]) -> str | None:  # noqa: ARG002
        """Require nothing: what it was drawn from is a trace of the run, and seeding is noticed."""
        return None

    def refusal(self, data: Values) -> str | None:  # noqa: ARG002 - a state can always be set
        """Refuse nothing."""
        return None


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures that pyplot manages: those a cell leaves open, and which of them is current."""

    name: str = "open figures"
    library: str | None = "matplotlib._pylab_helpers"
    first: bool = False

    def snapshot(self) -> dict[int, Any]:
        """Return the open figures, in the order of their use."""
        return {number: manager.canvas.figure for number, manager in _managers().items()}

    def told(self) -> Values:
        """Return the numbers of the open ones."""
        return {"numbers": list(self.snapshot())}

    def difference(self, before: dict[int, Any]) -> Values | None:
        """Return the figures that are open now and were not, which are closed, and which is the current one."""
        now = self.snapshot()
        if list(now.items()) == list(before.items()):
            return None
        return {
            "came": {number: figure for number, figure in now.items() if before.get(number) is not figure},
            "gone": [number for number, figure in before.items() if now.get(number) is not figure],
            "order": list(now),
        }

    def apply(self, data: Values) -> None:
        """Open and close them; a figure that a variable brought back is open already, under a number of its own."""
        pyplot = importlib.import_module("matplotlib.pyplot")
        managers = _managers()
        for number in data["gone"]:
            pyplot.close(number)
        for number, figure in data["came"].items():
            manager = next((one for one in managers.values() if one.canvas.figure is figure), None)
            if manager is None:
                manager = pyplot._backend_mod.new_figure_manager_given_figure(number, figure)  # noqa: SLF001 - as unpickling does
            else:
                managers.pop(manager.num)
            manager.num = number
            managers[number] = manager
        for number in data["order"]:
            if number in managers:
                managers.move_to_end(number)

    def requirement(self, before: dict[int, Any], changed: Values | None, words: frozenset[str]) -> str | None:  # noqa: ARG002
        """Require nothing."""
        return None

    def refusal(self, data: Values) -> str | None:
        """Refuse where another figure has the number."""
        taken = [number for number in data["came"] if number in _managers() and number not in data["gone"]]
        return f"figure {taken[0]} is open already" if taken else None


def _managers() -> Any:  # Any: matplotlib's ordered dict of managers
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    return {} if helpers is None else helpers.Gcf.figs


def shell_watchers(shell: Any) -> tuple[NamedValues, ...]:  # Any: IPython's shell, or None
    """Return the watchers of a shell's own settings."""
    if shell is None:
        return ()

    def read() -> Values:
        found: Values = {("shell", name): getattr(shell, name, None) for name in _SHELL_SETTINGS}
        for mime, formatter in shell.display_formatter.formatters.items():
            found |= {(mime, "type", kind): shown for kind, shown in formatter.type_printers.items()}
            found |= {(mime, "deferred", kind): shown for kind, shown in formatter.deferred_printers.items()}
        plain = shell.display_formatter.formatters["text/plain"]
        return found | {("text/plain", name): getattr(plain, name) for name in ("float_precision", "pprint")}

    def write(values: Values, gone: list[Any]) -> None:
        for name, value in values.items():
            match name:
                case ("shell", setting):
                    setattr(shell, setting, value)
                case (mime, "type", kind):
                    shell.display_formatter.formatters[mime].type_printers[kind] = value
                case (mime, "deferred", kind):
                    shell.display_formatter.formatters[mime].deferred_printers[kind] = value
                case (mime, setting):
                    setattr(shell.display_formatter.formatters[mime], setting, value)
        for mime, place, kind in gone:
            formatter = shell.display_formatter.formatters[mime]
            (formatter.type_printers if place == "type" else formatter.deferred_printers).pop(kind, None)

    return (NamedValues("IPython settings", read, write, hints=frozenset({"get_ipython", "InteractiveShell"})),)


_SHELL_SETTINGS = ("ast_node_interactivity", "autocall", "autoawait")
_HINTS = {
    "matplotlib": frozenset({"rcParams", "rc", "style", "rcdefaults", "rc_file", "use", "set_theme", "set_style"}),
    "pandas": frozenset({"set_option", "options", "reset_option"}),
    "numpy": frozenset({"set_printoptions"}),
    "sklearn": frozenset({"set_config"}),
    "polars": frozenset({"Config"}),
    "decimal": frozenset({"getcontext", "setcontext"}),
}

LIBRARIES: tuple[NamedValues | Draws | Figures, ...] = (
    *map(_watcher, LIBRARY_SETTINGS),
    NamedValues("colour maps", _registered_maps, _register_maps, library="matplotlib"),
    NamedValues("array errors", _array_errors, _set_array_errors, library="numpy", hints=frozenset({"seterr"})),
    Figures(),
    *map(Draws, GENERATORS),
)
"""The watchers of this module, in the order in which they are applied."""
