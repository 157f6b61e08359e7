"""Settings of libraries that a run uses: how plots look, how frames and arrays are shown, how estimators compute.

Noticed while a run reads them, by name where the library asks for them by name, and otherwise all of a library's at
once when it shows something. Settings that the run itself has set are no input: a read counts where the value still is
the one that the run found. What is stored are digests of the values that are not the library's defaults, and the names
of those that are.
"""

from __future__ import annotations

import re
import sys
import zlib
from base64 import b85decode, b85encode
from hashlib import blake2b
from importlib import import_module
from json import dumps
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.keys.imports import ImportWatch
from awaitly_nb.keys.traces import is_importing, register_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LIBRARY_SETTINGS", "LibrarySettings"]

# Any, throughout: values of settings, and modules that are looked up.

_MISSING: Final = object()


class _Used:
    """What one run found set, as a snapshot until somebody asks, and which of it it has read.

    `imported` tells whether it has imported the library itself.
    """

    __slots__ = ("_found", "_told", "imported", "names")

    def __init__(self, snapshot: Any, told: Callable[[Any], dict[str, Any]], *, imported: bool) -> None:
        self.imported = imported
        self._found = snapshot
        self._told: Callable[[Any], dict[str, Any]] | None = told
        self.names: dict[str, str | None] = {}

    @property
    def found(self) -> dict[str, Any]:
        """The values by name."""
        if self._told is not None:
            self._found, self._told = self._told(self._found), None
        found: dict[str, Any] = self._found
        return found


class LibrarySettings:
    """The settings of one library; made once for each.

    Attributes
    ----------
    name
        What they are called.
    library
        The module that has to be loaded for them to exist.
    """

    name: str
    library: str

    def __init__(self) -> None:
        self._runs: list[_Used] = []
        self._all_read = False

    def read(self) -> dict[str, Any]:
        """Return the values by name, without their being noticed as read."""
        raise NotImplementedError

    def found(self) -> dict[str, Any]:
        """Return the values by name that count for a run, where these are more than what it may set."""
        return self.read()

    def snapshot(self) -> Any:
        """Return what `told` makes the values by name of, where that is cheaper: each run begins with one."""
        return self.found()

    def told(self, snapshot: Any) -> dict[str, Any]:
        """Return the values of a snapshot by name."""
        found: dict[str, Any] = snapshot
        return found

    def write(self, values: dict[str, Any]) -> None:
        """Set some of them, importing the library where that is not done yet."""
        raise NotImplementedError

    def defaults(self) -> dict[str, Any]:
        """Return the library's own values, as far as they can be told."""
        return {}

    def watch(self) -> None:
        """Begin to call `note` when settings are read."""

    def unwatch(self) -> None:
        """Stop that."""

    @property
    def is_loaded(self) -> bool:
        """Whether the library is imported."""
        return self.library in sys.modules

    def begin(self, *, imported: bool = False) -> _Used:
        """Begin to notice what a run reads; `imported` tells whether it has just imported the library itself."""
        if not self._runs:
            self.watch()
        run = _Used(self.snapshot(), self.told, imported=imported)
        self._runs.append(run)
        self._all_read = False
        return run

    def end(self, run: _Used) -> dict[str, Any] | None:
        """Return what the run has read, as JSON data; None where that is nothing."""
        self._runs.remove(run)
        if not self._runs:
            self.unwatch()
        if not run.names:
            return None
        plain = sorted(name for name, digest in run.names.items() if digest is None)
        used = {"plain": _packed(plain), "set": {name: digest for name, digest in run.names.items() if digest}}
        return {**used, "imported": True} if run.imported else used

    def note(self, names: Iterable[str] | None = None) -> None:
        """Take notice that these settings are read, unless a library is being imported; None means all."""
        values: dict[str, Any] | None = None
        defaults: dict[str, Any] = {}
        for run in self._runs:
            for name in run.found if names is None else names:
                if name in run.names or name not in run.found or self.is_of_session(name):
                    continue
                if values is None:
                    if is_importing(sys._getframe(1)):  # noqa: SLF001 - who reads
                        return
                    values, defaults = self.found(), self.defaults()
                if (value := values.get(name, _MISSING)) is run.found[name] or _is_equal(value, run.found[name]):
                    # A list may be the very one among the defaults, and was changed in both.
                    plain = not isinstance(value, list) and _is_equal(value, defaults.get(name, _MISSING))
                    run.names[name] = None if plain else _digest(value)
        if names is None:
            self._all_read = all(len(run.names) == len(run.found) for run in self._runs)

    def difference(self, used: dict[str, Any]) -> str | None:
        """Return why a run that read these would read other values now; None where it would not."""
        if used.get("imported"):
            # What it begins with is the environment's and a file's; a hit imports it, too.
            import_module(self.library)
        values = self.found() if self.is_loaded else {}
        defaults = self.defaults() if self.is_loaded else {}
        for name, digest in used["set"].items():
            if name not in values or _digest(values[name]) != digest:
                return f"{self.name}: {name} differs"
        for name in _unpacked(used["plain"]):
            if name in values and not _is_equal(values[name], defaults.get(name, _MISSING)):
                return f"{self.name}: {name} differs"
        return None

    def apply(self, used: dict[str, Any]) -> None:
        """Count for the runs around a hit what the run behind it has read."""
        if self._runs:
            self.note([*used["set"], *_unpacked(used["plain"])])

    def is_of_session(self, name: str) -> bool:  # noqa: ARG002 - most libraries have none
        """Tell whether a setting belongs to the frontend, and does not count."""
        return False


def _is_equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - user code may raise anything, and arrays do
        return False


_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


def _digest(value: Any) -> str:
    """Return a short digest of a value; a function counts by its code, whatever its address."""
    if callable(value):
        from awaitly_nb.errors import UnkeyableError
        from awaitly_nb.keys.values import fingerprint

        try:
            return fingerprint(value)[:16]
        except UnkeyableError:
            return f"{id(value):x} of this process"
    return blake2b(_ADDRESS.sub("", repr(value)).encode("utf-8", "replace"), digest_size=8).hexdigest()


def _packed(names: list[str]) -> str:
    text = "\n".join(names)
    return text if len(names) <= _FEW else "~" + b85encode(zlib.compress(text.encode())).decode()


def _unpacked(text: str) -> list[str]:
    if text.startswith("~"):
        text = zlib.decompress(b85decode(text[1:])).decode()
    return text.split("\n") if text else []


_FEW: Final = 12


# -- matplotlib ----------------------------------------------------------------------------------------------------


class PlotSettings(LibrarySettings):
    """`matplotlib.rcParams`: the mapping has another class while a run is traced."""

    name = "plot settings"
    library = "matplotlib"
    _plain: Any = None
    _of_session = re.compile(r"backend.*|interactive|toolbar|keymap\..*|webagg\..*|figure\.max_open_warning")

    def read(self) -> dict[str, Any]:
        """Return them; lists as copies, because they are changed in place."""
        found = _plain_items(sys.modules["matplotlib"].rcParams)
        for name in ("backend", "backend_fallback"):  # chosen by the frontend, and resolved when first asked for
            found.pop(name, None)
        found |= {name: value.copy() for name, value in found.items() if type(value) is list}
        return found

    def write(self, values: dict[str, Any]) -> None:
        """Set some; past the validation, which not all versions let its own results pass."""
        dict.update(import_module("matplotlib").rcParams, values)

    def defaults(self) -> dict[str, Any]:
        """Return those that matplotlib comes with."""
        return _plain_items(sys.modules["matplotlib"].rcParamsDefault)

    def watch(self) -> None:
        """Exchange the class."""
        parameters = sys.modules["matplotlib"].rcParams
        self._plain = type(parameters)
        parameters.__class__ = _telling_parameters(self._plain, self)

    def unwatch(self) -> None:
        """Give back its own class."""
        sys.modules["matplotlib"].rcParams.__class__ = self._plain

    def is_of_session(self, name: str) -> bool:
        """Tell so of the backend, and of what only interactive windows use."""
        return self._of_session.fullmatch(name) is not None


def _plain_items(parameters: Any) -> dict[str, Any]:
    # `dict.copy` would go through the mapping's own methods, which sort and check.
    return dict(dict.items(parameters))


def _telling_parameters(plain: Any, settings: LibrarySettings) -> Any:
    class TellingParameters(plain):  # type: ignore[misc] # looked up
        def __getitem__(self, key: Any) -> Any:
            settings.note((key,))
            return super().__getitem__(key)

        def __reduce__(self) -> Any:
            return dict, (_plain_items(self),)

    TellingParameters.__name__, TellingParameters.__qualname__, TellingParameters.__module__ = (
        plain.__name__,
        plain.__qualname__,
        plain.__module__,
    )
    return TellingParameters


# -- pandas --------------------------------------------------------------------------------------------------------


class PandasOptions(LibrarySettings):
    """pandas' options: the dicts at the ends of their tree are exchanged for some that tell."""

    name = "pandas options"
    library = "pandas"
    _exchanged: tuple[int, int] | None = None

    def read(self) -> dict[str, Any]:
        """Return them by their full names."""
        found: dict[str, Any] = {}
        waiting = [("", sys.modules["pandas._config.config"]._global_config)]  # noqa: SLF001 - no public way
        while waiting:
            prefix, options = waiting.pop()
            for name, value in options.items():
                if isinstance(value, dict):
                    waiting.append((f"{prefix}{name}.", value))
                else:
                    found[prefix + name] = value
        return found

    def write(self, values: dict[str, Any]) -> None:
        """Set some, as pandas itself does once it has checked them and warned of those that are deprecated."""
        import_module("pandas")
        config: Any = sys.modules["pandas._config.config"]
        for name, value in values.items():
            options, last = config._get_root(name)  # noqa: SLF001 - as above
            options[last] = value
            option = config._registered_options.get(name)  # noqa: SLF001 - as above
            if option is not None and option.cb:
                option.cb(name)

    def defaults(self) -> dict[str, Any]:
        """Return those that pandas registered."""
        options = sys.modules["pandas._config.config"]._registered_options  # noqa: SLF001 - as above
        return {name: option.defval for name, option in options.items()}

    def watch(self) -> None:
        """Exchange the dicts, once, and again where options were registered since."""
        config: Any = sys.modules["pandas._config.config"]
        if (stamp := (id(config._global_config), len(config._registered_options))) != self._exchanged:  # noqa: SLF001 - as above
            self._exchange("", config._global_config)  # noqa: SLF001 - as above
            self._exchanged = stamp

    def _exchange(self, prefix: str, options: dict[str, Any]) -> None:
        for name, value in list(options.items()):
            if isinstance(value, dict):
                if type(value) is dict:
                    options[name] = _TellingDict(self, f"{prefix}{name}.", value)
                self._exchange(f"{prefix}{name}.", options[name])


class _TellingDict(dict[str, Any]):
    """A part of pandas' tree of options."""

    def __init__(self, settings: LibrarySettings, prefix: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._settings = settings
        self._prefix = prefix

    def __getitem__(self, key: str) -> Any:
        if self._settings._runs:  # noqa: SLF001 - one class in two parts
            self._settings.note((self._prefix + key,))
        return super().__getitem__(key)


# -- libraries that tell nothing of single names ---------------------------------------------------------------------


class _Wrapped(LibrarySettings):
    """Settings that a library uses as a whole, in functions which are wrapped while a run is traced."""

    functions: tuple[tuple[str, str], ...]
    """Where they are: a module or a class in it, and the name there."""

    setters: tuple[str, ...] = ()
    """Names of functions that call one of them in order to set something."""

    def __init__(self) -> None:
        super().__init__()
        self._originals: list[tuple[Any, str, Any]] = []

    def watch(self) -> None:
        """Wrap the functions."""
        for place, name in self.functions:
            module, _, qualified = place.partition(":")
            owner = sys.modules.get(module)
            if qualified and owner is not None:
                owner = getattr(owner, qualified, None)
            original = None if owner is None else vars(owner).get(name)
            if original is not None:
                self._originals.append((owner, name, original))
                setattr(owner, name, self._telling(original))

    def unwatch(self) -> None:
        """Put the functions back."""
        for owner, name, original in reversed(self._originals):
            setattr(owner, name, original)
        self._originals.clear()

    def _telling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def telling(*args: Any, **kwargs: Any) -> Any:
            # An estimator asks forty times for each fit.
            if not self._all_read and sys._getframe(1).f_code.co_name not in self.setters:  # noqa: SLF001 - who asks
                self.note()
            return function(*args, **kwargs)

        return telling


class ArrayPrinting(_Wrapped):
    """How numpy shows arrays."""

    name = "array printing"
    library = "numpy"
    functions = (("numpy._core.arrayprint", "_array2string"), ("numpy.core.arrayprint", "_array2string"))

    def read(self) -> dict[str, Any]:
        """Return them."""
        return dict(sys.modules["numpy"].get_printoptions())

    def write(self, values: dict[str, Any]) -> None:
        """Set all of them, because a call without `formatter` resets it."""
        numpy: Any = import_module("numpy")
        numpy.set_printoptions(**{**numpy.get_printoptions(), **values})


class SklearnSettings(_Wrapped):
    """How estimators check, and what they return."""

    name = "sklearn settings"
    library = "sklearn"
    functions = (("sklearn._config", "_get_threadlocal_config"),)
    setters = ("set_config",)

    def read(self) -> dict[str, Any]:
        """Return them."""
        function = next((original for _, _, original in self._originals), None)
        return dict(function() if function is not None else sys.modules["sklearn"].get_config())

    def write(self, values: dict[str, Any]) -> None:
        """Set some."""
        import_module("sklearn").set_config(**values)


class PolarsSettings(_Wrapped):
    """How polars shows frames; most of it lies in the environment."""

    name = "polars settings"
    library = "polars"
    functions = (
        ("polars.dataframe.frame:DataFrame", "__str__"),
        ("polars.dataframe.frame:DataFrame", "__repr__"),
        ("polars.dataframe.frame:DataFrame", "_repr_html_"),
        ("polars.series.series:Series", "__str__"),
        ("polars.series.series:Series", "__repr__"),
        ("polars.series.series:Series", "_repr_html_"),
    )

    def read(self) -> dict[str, Any]:
        """Return them."""
        import os

        config: Any = sys.modules["polars.config"]
        environ: Any = os.environ
        raw = environ._data  # noqa: SLF001 - looked up in it, nothing counts as read
        found: dict[str, Any] = dict.fromkeys(config._POLARS_CFG_ENV_VARS)  # noqa: SLF001 - as above
        found |= {name: os.fsdecode(raw[key]) for name in found if (key := environ.encodekey(name)) in raw}
        return found | {name: read() for name, read in config._POLARS_CFG_DIRECT_VARS.items()}  # noqa: SLF001 - as above

    def defaults(self) -> dict[str, Any]:
        """Return those that come from the environment: none is set."""
        return dict.fromkeys(sys.modules["polars.config"]._POLARS_CFG_ENV_VARS)  # noqa: SLF001 - as above

    def write(self, values: dict[str, Any]) -> None:
        """Set some."""
        kinds: dict[str, dict[str, Any]] = {"environment": {}, "direct": {}}
        for name, value in values.items():
            kinds["environment" if name.startswith("POLARS_") else "direct"][name] = value
        import_module("polars").Config.load(dumps(kinds))


class DecimalContext(LibrarySettings):
    """The context of decimal numbers: a run used it where a result was rounded, which the context itself marks."""

    name = "decimal context"
    library = "decimal"

    _was_marked = False
    _unmarked: Any = None

    def read(self) -> dict[str, Any]:
        """Return its fields, and its traps."""
        return {name: value for name, value in self.found().items() if not name.startswith("mark ")}

    def found(self) -> dict[str, Any]:
        """Return also the marks that are set: whether a run sets them again, nobody can tell."""
        return self.told(self.snapshot())

    def snapshot(self) -> Any:
        """Return a copy of it."""
        return sys.modules["decimal"].getcontext().copy()

    def told(self, snapshot: Any) -> dict[str, Any]:
        """Return the fields, the traps and the marks of a copy."""
        fields = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
        values = {name: getattr(snapshot, name) for name in fields}
        values |= {f"mark {signal.__name__}": True for signal, is_set in snapshot.flags.items() if is_set}
        return values | {f"trap {signal.__name__}": value for signal, value in snapshot.traps.items()}

    def defaults(self) -> dict[str, Any]:
        """Return what contexts begin with."""
        return self.told(sys.modules["decimal"].DefaultContext)

    def write(self, values: dict[str, Any]) -> None:
        """Set some."""
        decimal: Any = import_module("decimal")
        context = decimal.getcontext()
        for name, value in values.items():
            if name.startswith("trap "):
                context.traps[getattr(decimal, name.removeprefix("trap "))] = value
            else:
                setattr(context, name, value)

    def watch(self) -> None:
        """Look whether a mark is set; none is cleared, because the code may read them."""
        self._was_marked = self._is_marked()

    def end(self, run: _Used) -> dict[str, Any] | None:
        """Return the context where a result was rounded, or may have been: a mark that is set is not set again."""
        if self._was_marked or self._is_marked():
            self.note()
        return super().end(run)

    def _is_marked(self) -> bool:
        decimal = sys.modules["decimal"]
        if self._unmarked is None:
            self._unmarked = decimal.Context(flags=[])  # kept whole: its marks lie in its own memory
        # Compared at once, which is one call into the library and not nine.
        return bool(decimal.getcontext().flags != self._unmarked.flags)


# -- the tracer ----------------------------------------------------------------------------------------------------

LIBRARY_SETTINGS: Final[tuple[LibrarySettings, ...]] = (
    PlotSettings(),
    PandasOptions(),
    ArrayPrinting(),
    SklearnSettings(),
    PolarsSettings(),
    DecimalContext(),
)
"""The settings that are noticed."""

_BY_LIBRARY: Final = {settings.library: settings for settings in LIBRARY_SETTINGS}


class _Settings:
    """The tracer of settings of libraries."""

    name = "settings"

    def begin(self) -> tuple[dict[str, _Used], ImportWatch]:
        begun: dict[str, _Used] = {}

        def start(library: str) -> None:
            begun[library] = _BY_LIBRARY[library].begin(imported=True)

        for library, settings in _BY_LIBRARY.items():
            if settings.is_loaded:
                begun[library] = settings.begin()
        return begun, ImportWatch(_BY_LIBRARY.keys() - begun.keys(), start)

    def end(self, begun: tuple[dict[str, _Used], ImportWatch], /) -> dict[str, Any] | None:
        runs, imports = begun
        imports.close()
        ended = {library: _BY_LIBRARY[library].end(run) for library, run in runs.items()}
        return {library: used for library, used in ended.items() if used is not None} or None

    def difference(self, used: dict[str, Any], /) -> str | None:
        reasons = (_BY_LIBRARY[library].difference(data) for library, data in used.items())
        return next((reason for reason in reasons if reason is not None), None)

    def apply(self, used: dict[str, Any], /) -> None:
        for library, data in used.items():
            _BY_LIBRARY[library].apply(data)


register_tracer(_Settings())
