"""Watched states of libraries, looked up where they are loaded, and of IPython's shell."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import EncodeError
from awaitly_nb.keys import GENERATORS, LIBRARY_SETTINGS, is_user_class, is_user_function
from awaitly_nb.notebook.ledger.settings import NamedValues, Values, digest_of

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


def _colours() -> Values:
    return dict(sys.modules["matplotlib.colors"]._colors_full_map)  # noqa: SLF001 - what `get_named_colors_mapping` returns


def _set_colours(values: Values, gone: list[str]) -> None:
    _set_items(importlib.import_module("matplotlib.colors").get_named_colors_mapping(), values, gone)


def _styles() -> Values:
    return dict(sys.modules["matplotlib.style"].library)


def _set_styles(values: Values, gone: list[str]) -> None:
    _set_items(importlib.import_module("matplotlib.style").library, values, gone)


def _set_items(mapping: dict[str, Any], values: Values, gone: list[str]) -> None:
    for name in values:
        mapping[name] = values[name]  # `update` would pass by what forgets the colours that were looked up
    for name in gone:
        mapping.pop(name, None)


def _backend() -> Values:
    parameters: Any = sys.modules["matplotlib"].rcParams
    # One that matplotlib, the environment or the kernel has chosen is theirs to choose again.
    chosen = not dict.__getitem__(parameters, "backend_fallback")
    return {"backend": dict.__getitem__(parameters, "backend")} if chosen else {}


def _set_backend(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - a choice is not taken back
    for name in values.values():
        importlib.import_module("matplotlib").use(name)


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
    numpy: Any = sys.modules["numpy"]
    return {**numpy.geterr(), "call": numpy.geterrcall(), "bufsize": numpy.getbufsize()}


def _set_array_errors(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - an error is never gone
    numpy = importlib.import_module("numpy")
    if "call" in values:
        numpy.seterrcall(values["call"])
    if "bufsize" in values:
        numpy.setbufsize(values["bufsize"])
    numpy.seterr(**{name: value for name, value in values.items() if name not in {"call", "bufsize"}})


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
    """The figures that pyplot manages: those a cell leaves open, and which of them is current.

    A cell that draws on one which was open before is not stored: a figure has no fingerprint.
    """

    name: str = "open figures"
    library: str | None = "matplotlib._pylab_helpers"
    first: bool = False

    def snapshot(self) -> dict[int, Any]:
        """Return the open figures, in the order of their use, each with whether it was to be drawn anew."""
        found = {number: manager.canvas.figure for number, manager in _managers().items()}
        was = {number: (figure, figure.stale) for number, figure in found.items()}
        for figure in found.values():
            figure._stale = False  # noqa: SLF001 - what is changed in a figure from now on tells the figure of it
        return was

    def told(self) -> Values:
        """Return the numbers of the open ones."""
        return {"numbers": list(_managers())}

    def difference(self, before: dict[int, Any]) -> Values | None:
        """Return the figures that are open now and were not, which are closed, and which is the current one."""
        was = {number: figure for number, (figure, _) in before.items()}
        drew = any(figure.stale for figure in was.values())
        _restore_marks(before)
        if drew:
            raise EncodeError("the cell draws on a figure that an earlier one has left open")
        now = {number: manager.canvas.figure for number, manager in _managers().items()}
        if list(now.items()) == list(was.items()):
            return None
        return {
            "came": {number: figure for number, figure in now.items() if was.get(number) is not figure},
            "gone": [number for number, figure in was.items() if now.get(number) is not figure],
            "order": list(now),
        }

    def apply(self, data: Values) -> None:
        """Open and close them; a figure that its pickle has opened goes under the number that it had."""
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
        active: Any = importlib.import_module("matplotlib._pylab_helpers").Gcf
        managers = _managers()
        for number in data["gone"]:
            pyplot.close(number)
        for number, figure in data["came"].items():
            manager = next((one for one in managers.values() if one.canvas.figure is figure), None)
            if manager is None:
                manager = pyplot._get_backend_mod().new_figure_manager_given_figure(number, figure)  # noqa: SLF001 - as unpickling does
                active._set_new_active_manager(manager)  # noqa: SLF001 - as above
            else:
                managers.pop(manager.num)
                manager.num = number
                managers[number] = manager
            _connect(figure)
        for number in data["order"]:
            if number in managers:
                managers.move_to_end(number)

    def requirement(self, before: dict[int, Any], changed: Values | None, words: frozenset[str]) -> str | None:  # noqa: ARG002
        """Require the numbers of the open ones where the cell may ask for them."""
        _restore_marks(before)
        return None if words.isdisjoint({"fignum_exists", "get_fignums", "all"}) else digest_of(list(before))

    def refusal(self, data: Values) -> str | None:
        """Refuse where another figure has the number."""
        taken = [number for number in data["came"] if number in _managers() and number not in data["gone"]]
        return f"figure {taken[0]} is open already" if taken else None


def _connect(figure: Any) -> None:  # Any: a figure of matplotlib
    """Let the parts of a figure tell it of changes again, which a pickle leaves out."""
    artist, home = importlib.import_module("matplotlib.artist"), importlib.import_module("matplotlib.figure")
    for axes in figure.axes:
        axes.stale_callback = home._stale_figure_callback  # noqa: SLF001 - as matplotlib sets it
        for part in axes.get_children():
            part.stale_callback = artist._stale_axes_callback  # noqa: SLF001 - as above


def _restore_marks(before: dict[int, Any]) -> None:  # Any: figures of matplotlib
    for figure, stale in before.values():
        figure._stale = figure.stale or stale  # noqa: SLF001 - as in `snapshot`


def _managers() -> Any:  # Any: matplotlib's ordered dict of managers
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    return {} if helpers is None else helpers.Gcf.figs


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the user's code has hung into IPython's shell: callbacks of its events, and transformers of cells."""

    shell: Any  # IPython's shell
    name: str = "IPython hooks"
    library: str | None = None
    first: bool = False

    def snapshot(self) -> dict[str, tuple[Any, ...]]:
        """Return the hooks of each place."""
        found = {f"event {name}": tuple(hooks) for name, hooks in self.shell.events.callbacks.items()}
        found |= {name: tuple(getattr(self.shell, name)) for name in _TRANSFORMERS}
        return found | {"exceptions": tuple(self.shell.custom_exceptions)}

    def told(self) -> Values:
        """Return how many of the user's there are, where there are some."""
        counts = {place: sum(map(_is_users, hooks)) for place, hooks in self.snapshot().items()}
        return {place: count for place, count in counts.items() if count}

    def difference(self, before: dict[str, tuple[Any, ...]]) -> Values | None:
        """Return which hooks came, and which are gone."""
        now = self.snapshot()
        if now["exceptions"] != before["exceptions"]:
            raise EncodeError("the cell sets a handler of exceptions")
        came = {place: [one for one in now[place] if one not in before[place] and _is_users(one)] for place in now}
        gone = {place: [one for one in before[place] if one not in now[place] and _is_users(one)] for place in now}
        data = {"came": {p: v for p, v in came.items() if v}, "gone": {p: v for p, v in gone.items() if v}}
        return data if data["came"] or data["gone"] else None

    def apply(self, data: Values) -> None:
        """Hang them in, and take them away."""
        for place, hooks in data["came"].items():
            self._hooks(place).extend(hook for hook in hooks if hook not in self._hooks(place))
        for place, hooks in data["gone"].items():
            for hook in hooks:
                if hook in self._hooks(place):
                    self._hooks(place).remove(hook)

    def requirement(
        self,
        before: Any,  # noqa: ARG002 - the protocol's, as below
        changed: Values | None,  # noqa: ARG002
        words: frozenset[str],  # noqa: ARG002
    ) -> str | None:
        """Require nothing."""
        return None

    def refusal(self, data: Values) -> str | None:  # noqa: ARG002 - the protocol's
        """Refuse nothing."""
        return None

    def _hooks(self, place: str) -> list[Any]:
        found: list[Any] = (
            self.shell.events.callbacks[place.removeprefix("event ")]
            if place.startswith("event ")
            else getattr(self.shell, place)
        )
        return found


_TRANSFORMERS = ("input_transformers_cleanup", "input_transformers_post", "ast_transformers")


def _is_users(hook: Any) -> bool:
    function = getattr(hook, "__func__", hook)
    return is_user_function(function) if isinstance(function, FunctionType) else is_user_class(type(hook))


def shell_watchers(shell: Any) -> tuple[NamedValues | Hooks, ...]:  # Any: IPython's shell, or None
    """Return the watchers of a shell's own settings."""
    if shell is None:
        return ()

    def read() -> Values:
        found: Values = {("shell", name): getattr(shell, name, None) for name in _SHELL_SETTINGS}
        for mime, formatter in shell.display_formatter.formatters.items():
            printers = formatter.type_printers.items()
            found |= {(mime, "type", kind): shown for kind, shown in printers if not _is_default(shown)}
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

    settings = NamedValues("IPython settings", read, write, hints=frozenset({"get_ipython", "InteractiveShell"}))
    return settings, Hooks(shell)


def display_of(shell: Any) -> str:  # Any: as above
    """Return a digest of how a shell shows values, as far as the user has set that; empty where they have not."""
    formatters = shell.display_formatter.formatters
    plain = formatters["text/plain"]
    # Any: settings, and the user's printers
    found: Values = {name: value for name in _PLAIN if (value := getattr(plain, name)) != plain.trait_defaults(name)}
    for mime, formatter in formatters.items():
        for kind, printer in formatter.type_printers.items():
            if isinstance(printer, FunctionType) and is_user_function(printer):
                found[f"{mime} {kind.__module__}.{kind.__qualname__}"] = printer
    return digest_of(sorted(found.items())) if found else ""


_PLAIN = ("float_precision", "float_format", "pprint", "max_width", "max_seq_length", "verbose", "newline")


def _is_default(printer: Any) -> bool:
    """Tell whether a formatter has it to begin with, which depends on what is loaded when it is first asked for."""
    return str(getattr(printer, "__qualname__", "")).startswith("PlainTextFormatter._type_printers_default")


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
    NamedValues("plot backend", _backend, _set_backend, library="matplotlib", hints=frozenset({"use"})),
    NamedValues("colour maps", _registered_maps, _register_maps, library="matplotlib"),
    NamedValues("colour names", _colours, _set_colours, library="matplotlib.colors"),
    NamedValues("styles", _styles, _set_styles, library="matplotlib.style"),
    NamedValues(
        "array errors",
        _array_errors,
        _set_array_errors,
        library="numpy",
        hints=frozenset({"seterr", "setbufsize"}),
        used=frozenset({"numpy.", "pandas.", "scipy.", "sklearn."}),
    ),
    Figures(),
    *map(Draws, GENERATORS),
)
"""The watchers of this module, in the order in which they are applied."""
