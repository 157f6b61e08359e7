"""The public battery of keys: pairs of values that must not share a key, and pairs that must.

Every pair is one that some cache is known to get wrong, or could. Run `python -m awaitly_nb.testing.collisions` for the
table, or hand `check` a fingerprint of your own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awaitly_nb.testing.collisions.battery import Case, Group, define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Case", "Group", "Verdict", "check", "define", "groups"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a fingerprint made of one pair.

    Attributes
    ----------
    group, name
        The pair.
    agree
        True where both values must share a key.
    left, right
        Their keys, or None where the fingerprint refused.
    error
        Why it refused, or "".
    versioned
        True where the key rightly depends on the version of an installed package.
    """

    group: str
    name: str
    agree: bool
    left: str | None
    right: str | None
    error: str = ""
    versioned: bool = False

    @property
    def passed(self) -> bool:
        """True where the keys are as they must be."""
        return self.left is not None and self.right is not None and (self.left == self.right) is self.agree


def groups() -> list[Group]:
    """Return every group of the battery."""
    from awaitly_nb.testing.collisions import arrays, containers, frames, functions, objects, scalars, tables

    return [
        found for part in (scalars, containers, objects, functions, arrays, frames, tables) for found in part.groups()
    ]


def check(fingerprint: Callable[[object], str]) -> Iterator[Verdict]:
    """Yield what `fingerprint` makes of every pair whose packages are installed.

    Examples
    --------
    >>> careless = check(lambda value: type(value).__name__)
    >>> sum(not outcome.passed for outcome in careless) > 100
    True
    """
    for group in groups():
        if group.missing:
            continue
        for agree, cases in ((False, group.differ), (True, group.agree)):
            for name, left, right in cases:
                keys, error = _keys(fingerprint, left, right)
                yield Verdict(group.name, name, agree, *keys, error=error, versioned=group.versioned)


def _keys(
    fingerprint: Callable[[object], str], left: Callable[[], object], right: Callable[[], object]
) -> tuple[tuple[str | None, str | None], str]:
    try:
        return (fingerprint(left()), fingerprint(right())), ""
    except Exception as exc:  # noqa: BLE001 - the fingerprint under test may raise anything
        return (None, None), f"{type(exc).__name__}: {exc}"
