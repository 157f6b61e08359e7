"""Watched settings that a module keeps to itself: a cell that names a value of the module may use each of them.

Nothing tells which of them a run has read, so all of them have to be as they were.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from awaitly_nb.notebook.ledger.settings import NamedValues, Values, is_same

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["REGISTRIES"]

# Any, throughout: modules that are looked up, and what they hold.


def _week() -> Values:
    return {"first day": sys.modules["calendar"].firstweekday()}


def _set_week(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - there always is one
    importlib.import_module("calendar").setfirstweekday(values["first day"])


_OF_DIALECTS = (
    *("delimiter", "doublequote", "escapechar", "lineterminator"),
    *("quotechar", "quoting", "skipinitialspace", "strict"),
)


def _dialects() -> Values:
    csv: Any = sys.modules["csv"]
    found: Values = {("field size",): csv.field_size_limit()}
    for name in csv.list_dialects():
        dialect = csv.get_dialect(name)
        found["dialect", name] = {field: getattr(dialect, field) for field in _OF_DIALECTS}
    return found


def _set_dialects(values: Values, gone: list[tuple[str, ...]]) -> None:
    csv: Any = importlib.import_module("csv")
    for key, value in values.items():
        if key == ("field size",):
            csv.field_size_limit(value)
        else:
            csv.register_dialect(key[1], **value)
    for key in gone:
        csv.unregister_dialect(key[1])


def _of_dicts(module: str, *names: str) -> tuple[Callable[[], Values], Callable[[Values, list[Any]], None]]:
    """Return how dicts of a module are read and written."""

    def read() -> Values:
        return {(name, key): value for name in names for key, value in getattr(sys.modules[module], name).items()}

    def write(values: Values, gone: list[Any]) -> None:
        home: Any = importlib.import_module(module)
        for (name, key), value in values.items():
            getattr(home, name)[key] = value
        for name, key in gone:
            getattr(home, name).pop(key, None)

    return read, write


def _special_errors() -> Values:
    return dict(sys.modules["scipy.special"].geterr())


def _set_special_errors(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - an error is never gone
    importlib.import_module("scipy.special").seterr(**values)


def _dask_settings() -> Values:
    config: Any = sys.modules["dask.config"]
    plain = _flat(config.merge(*config.defaults))
    return {name: value for name, value in _flat(config.config).items() if not is_same(value, plain.get(name))}


def _set_dask(values: Values, gone: list[tuple[str, ...]]) -> None:
    config: Any = importlib.import_module("dask.config")
    plain = _flat(config.merge(*config.defaults))
    for path, value in {**values, **{path: plain[path] for path in gone if path in plain}}.items():
        config.set({".".join(path): value})
    for path in gone:
        if path not in plain:
            inner = config.config
            for name in path[:-1]:
                inner = inner.get(name, {})
            inner.pop(path[-1], None)


def _flat(settings: Any, path: tuple[str, ...] = ()) -> Values:
    found: Values = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, (*path, name))
        else:
            found[*path, name] = value
    return found


def _templates() -> Values:
    templates: Any = sys.modules["plotly.io"].templates
    own = {("own", name): value for name, value in templates.items() if name not in _templates_of_plotly()}
    return {("default",): templates.default, **own}


@cache
def _templates_of_plotly() -> frozenset[str]:
    return frozenset(type(sys.modules["plotly.io"].templates)())


def _set_templates(values: Values, gone: list[tuple[str, ...]]) -> None:
    templates: Any = importlib.import_module("plotly.io").templates
    for key, value in values.items():
        if key != ("default",):
            templates[key[1]] = value
    if ("default",) in values:
        templates.default = values["default",]
    for key in gone:
        del templates[key[1]]


def _renderer() -> Values:
    return {"default": sys.modules["plotly.io"].renderers.default}


def _set_renderer(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - there always is one
    importlib.import_module("plotly.io").renderers.default = values["default"]


def _decimal_flags() -> Values:
    return {signal.__name__: value for signal, value in sys.modules["decimal"].getcontext().flags.items()}


def _set_decimal_flags(values: Values, gone: list[str]) -> None:  # noqa: ARG001 - a flag is never gone
    decimal: Any = importlib.import_module("decimal")
    for name, value in values.items():
        decimal.getcontext().flags[getattr(decimal, name)] = value


def _watched(
    name: str, library: str, read: Callable[[], Values], write: Callable[[Values, list[Any]], None]
) -> NamedValues:
    used = frozenset({f"{library.partition('.')[0]}."})
    return NamedValues(name, read, write, library=library, used=used)


REGISTRIES: tuple[NamedValues, ...] = (
    # Only who asks for them needs them as they were: a cell that runs a second time finds those of its first.
    NamedValues("decimal flags", _decimal_flags, _set_decimal_flags, library="decimal", used=frozenset({"flags"})),
    _watched("week", "calendar", _week, _set_week),
    _watched("formats of csv", "csv", _dialects, _set_dialects),
    _watched("name spaces of XML", "xml.etree.ElementTree", *_of_dicts("xml.etree.ElementTree", "_namespace_map")),
    _watched("types of sqlite3", "sqlite3", *_of_dicts("sqlite3", "adapters", "converters")),
    _watched("archives of shutil", "shutil", *_of_dicts("shutil", "_ARCHIVE_FORMATS", "_UNPACK_FORMATS")),
    _watched("errors of scipy", "scipy.special", _special_errors, _set_special_errors),
    _watched("settings of dask", "dask.config", _dask_settings, _set_dask),
    _watched("templates of plotly", "plotly.io", _templates, _set_templates),
    # Which one it begins with is the frontend's.
    NamedValues("renderer of plotly", _renderer, _set_renderer, library="plotly.io", hints=frozenset({"renderers"})),
)
"""The watchers of this module."""
