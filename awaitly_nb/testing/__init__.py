"""What ships for tests: a clock to turn by hand, and the suites that an adapter of one's own has to pass.

    from awaitly_nb.testing import StoreSuite

    class TestMyStore(StoreSuite):
        ...

The suites are loaded when they are asked for, because they need pytest and the clock does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from awaitly_nb.testing.clock import FakeClock

if TYPE_CHECKING:
    from awaitly_nb.testing.caches import StepCacheSuite
    from awaitly_nb.testing.states import StateStoreSuite
    from awaitly_nb.testing.stores import StoreSuite

__all__ = ["FakeClock", "StateStoreSuite", "StepCacheSuite", "StoreSuite"]

_SUITES = {"StateStoreSuite": "states", "StepCacheSuite": "caches", "StoreSuite": "stores"}


def __getattr__(name: str) -> Any:  # Any: a suite, each of its own class
    if name not in _SUITES:
        raise AttributeError(f"module 'awaitly_nb.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"awaitly_nb.testing.{_SUITES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
