"""cloudpickle's pickler, with the file names of code kept; loaded when something is first packed by value."""

from __future__ import annotations

import io
from functools import cache
from types import CodeType
from typing import Any

__all__ = ["dumps", "pickler"]


@cache
def pickler() -> type[Any]:  # Any: a Pickler that cannot be defined before cloudpickle is wanted
    """Return the pickler that takes functions, and classes of no module, by value."""
    import cloudpickle

    class ByValue(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:  # Any: pickle's own protocol
            if type(obj) is not CodeType:
                return super().reducer_override(obj)
            make, args = self.dispatch_table[CodeType](obj)
            # cloudpickle 3.1.3 leaves the name out, and the source is found by it: of a cell, in another process.
            return make, tuple(obj.co_filename if part == "<dynamic-code>" else part for part in args)

    return ByValue


def dumps(value: object, protocol: int) -> bytes:
    """Return `value` as one pickle."""
    file = io.BytesIO()
    pickler()(file, protocol).dump(value)
    return file.getvalue()
