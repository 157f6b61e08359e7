"""Settings of the standard library that nothing depends on but code that names them: read where a cell's words do.

A call that sets one gives the value of before, as `os.umask` does. So a cell that names one needs it as it was, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from awaitly_nb.notebook.ledger.settings import Values, digest_of, is_same

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CalledSettings"]

# Any, throughout: values of settings, and modules that are looked up.


@dataclass(frozen=True, slots=True)
class _Setting:
    """One of them: the words that name it, its module, and how it is read from and written to that."""

    words: frozenset[str]
    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]


class CalledSettings:
    """Those that the words of a cell name."""

    name = "settings of the standard library"
    library: str | None = None
    first = False

    def __init__(self, words: frozenset[str]) -> None:
        self._named = {name: setting for name, setting in _SETTINGS.items() if not setting.words.isdisjoint(words)}

    def snapshot(self) -> Values:
        """Return their values; those that this platform does not have are left out."""
        values: Values = {}
        for name, setting in self._named.items():
            try:
                values[name] = setting.read(import_module(setting.module))
            except (ImportError, AttributeError):
                continue
        return values

    def told(self) -> Values:
        """Return the values by name."""
        return self.snapshot()

    def difference(self, before: Values) -> Values | None:
        """Return the values that are another."""
        return {name: value for name, value in self.snapshot().items() if not is_same(value, before.get(name))} or None

    def apply(self, data: Values) -> None:
        """Set them as the cell did."""
        for name, value in data.items():
            _SETTINGS[name].write(import_module(_SETTINGS[name].module), value)

    def requirement(self, before: Values, changed: Values | None, words: frozenset[str]) -> str | None:  # noqa: ARG002
        """Return a digest of all of them as they were."""
        return digest_of(sorted(before.items())) if before else None

    def refusal(self, data: Values) -> str | None:  # noqa: ARG002 - what cannot be set raises when it is
        """Refuse nothing."""
        return None


def _umask(home: Any) -> int:
    # There is no other way to ask; meanwhile another thread's new file is nobody else's to read.
    value: int = home.umask(0o077)
    home.umask(value)
    return value


def _stack_size(home: Any) -> int:
    value: int = home.stack_size()  # which sets it to what new threads begin with
    home.stack_size(value)
    return value


def _limits(home: Any) -> Values:
    return {name: home.getrlimit(getattr(home, name)) for name in dir(home) if name.startswith("RLIMIT_")}


def _set_limits(home: Any, values: Values) -> None:
    now = _limits(home)
    for name, value in values.items():
        if value != now.get(name):
            home.setrlimit(getattr(home, name), value)


def _tracing(home: Any) -> int | None:
    limit: int | None = home.get_traceback_limit() if home.is_tracing() else None
    return limit


def _set_opener(home: Any, opener: Any) -> None:
    home._opener = opener  # noqa: SLF001 - as `install_opener` does, which does not take None


def _words(*words: str) -> frozenset[str]:
    return frozenset(words)


_SETTINGS = {
    "mask of new files": _Setting(_words("umask"), "os", _umask, lambda home, value: home.umask(value)),
    "priority": _Setting(
        _words("nice", "getpriority", "setpriority"),
        "os",
        lambda home: home.getpriority(home.PRIO_PROCESS, 0),
        lambda home, value: home.setpriority(home.PRIO_PROCESS, 0, value),
    ),
    "processors": _Setting(
        _words("sched_setaffinity", "sched_getaffinity"),
        "os",
        lambda home: frozenset(home.sched_getaffinity(0)),
        lambda home, value: home.sched_setaffinity(0, value),
    ),
    "limits of resources": _Setting(_words("setrlimit", "getrlimit"), "resource", _limits, _set_limits),
    "start method": _Setting(
        _words("set_start_method", "get_start_method"),
        "multiprocessing",
        lambda home: home.get_start_method(allow_none=True),
        lambda home, value: home.set_start_method(value, force=True),
    ),
    "size of stacks": _Setting(
        _words("stack_size"), "threading", _stack_size, lambda home, value: home.stack_size(value)
    ),
    "tracing of memory": _Setting(
        _words("tracemalloc"),
        "tracemalloc",
        _tracing,
        lambda home, value: home.stop() if value is None else home.start(value),
    ),
    "opener of addresses": _Setting(
        _words("install_opener", "_opener"),
        "urllib.request",
        lambda home: home._opener,  # noqa: SLF001 - there is no public way
        _set_opener,
    ),
}
