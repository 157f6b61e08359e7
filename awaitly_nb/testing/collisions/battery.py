"""What a pair and a group of pairs are, and how code is made for those that compare code."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from types import ModuleType
from typing import Any, TypeAlias

__all__ = ["Case", "Group", "define"]

Case: TypeAlias = tuple[str, Callable[[], object], Callable[[], object]]
"""A name, and what makes the left and the right value; the right one is made after the left one was read."""


@dataclass(frozen=True, slots=True)
class Group:
    """Pairs that belong together.

    Attributes
    ----------
    name
        Of the group.
    differ
        Cases whose values must not share a key.
    agree
        Cases whose values must share one.
    needs
        Packages without which the group is left out.
    versioned
        True where the values belong to classes of an installed package, whose version is part of the key.
    """

    name: str
    differ: tuple[Case, ...] = ()
    agree: tuple[Case, ...] = ()
    needs: tuple[str, ...] = field(default=(), kw_only=True)
    versioned: bool = field(default=False, kw_only=True)

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that the group needs and that are not installed."""
        return tuple(name for name in self.needs if find_spec(name) is None)


_serial = count()


def define(source: str, name: str = "f", **values: object) -> Any:  # Any: whatever the source defines
    """Run `source` as a module of the user's and return what it calls `name`; `values` are globals of it.

    The module replaces the one before, as an edited cell replaces its functions.
    """
    module = ModuleType("collisions_user_code")
    filename = f"<collisions {next(_serial)}>"
    module.__dict__.update(values)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    sys.modules[module.__name__] = module
    exec(compile(source, filename, "exec"), module.__dict__)  # noqa: S102 - the battery's own sources
    return module.__dict__[name]
