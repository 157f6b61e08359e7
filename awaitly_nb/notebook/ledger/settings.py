"""Two kinds of watched state, of which most watchers are made: values that have names, and lists whose order counts."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, TypeAlias

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping

__all__ = ["ListedEntries", "NamedValues", "digest_of", "is_same"]

Values: TypeAlias = "dict[Any, Any]"
"""Settings by name; names are text or tuples, values are whatever the owner of the setting takes."""

_MISSING = object()


def is_same(one: object, other: object) -> bool:
    """Tell whether two values of a setting are equal; where comparing fails, they are not."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - user code may raise anything, and arrays do
        return False


@dataclass(frozen=True, slots=True)
class NamedValues:
    """Named values.

    Parameters
    ----------
    name
        What the state is called.
    read
        Return the values now, as a new dict.
    write
        Set some of them, and remove others.
    library
        The library that has to be loaded for `read`.
    first
        Whether imports depend on them.
    hints
        Words of code that sets them.
    used
        Words of code that uses all of them, and with a dot the packages whose values do.
    always
        Whether a cell that says one of these words, but none of the names, may have set any of them.
    refuse
        Return why the values cannot be set here; None where they can.
    """

    name: str
    read: Callable[[], Values]
    write: Callable[[Values, list[Any]], None]
    library: str | None = None
    first: bool = False
    hints: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    always: bool = True
    refuse: Callable[[Values], str | None] = lambda _: None

    def snapshot(self) -> Values:
        """Return the values."""
        return self.read()

    def told(self) -> Values:
        """Return the values."""
        return self.read()

    def difference(self, before: Values) -> Values | None:
        """Return the values that are new or another, and the names that are gone."""
        now = self.read()
        was = before.get
        new = [(name, value) for name, value in now.items() if value is not was(name, _MISSING)]
        changed = {name: value for name, value in new if not is_same(value, was(name, _MISSING))}
        gone = [name for name in before if name not in now] if len(before) != len(now) or changed else []
        return {"set": changed, "gone": gone} if changed or gone else None

    def apply(self, data: Values) -> None:
        """Set and remove as the cell did."""
        self.write(data["set"], data["gone"])

    def requirement(self, before: Values, changed: Values | None, words: frozenset[str]) -> str | None:
        """Return a digest of the values that the words name, less those that changed."""
        if not self.used.isdisjoint(words):
            return digest_of(sorted((str(name), value) for name, value in before.items()))
        if self.hints.isdisjoint(words):
            return None
        named = {name for name in before if _last(name) in words}
        named |= {name for name in (changed["set"] if changed else ()) if _last(name) in words}
        if not named and not self.always:
            return None
        left = {name: value for name, value in before.items() if name in named or not named}
        for name in [*changed["set"], *changed["gone"]] if changed else ():
            left.pop(name, None)
        return digest_of(sorted((str(name), value) for name, value in left.items()))

    def refusal(self, data: Values) -> str | None:
        """Return why the values cannot be set here."""
        return self.refuse(data["set"])


@dataclass(frozen=True, slots=True)
class ListedEntries:
    """A list whose order counts; entries are added and removed, so that what a session has of its own stays.

    Parameters
    ----------
    name
        What the state is called.
    live
        Return the list itself.
    changed
        What to call after the list was changed.
    moves
        Whether an entry that is in the list already is moved, as a warnings filter is, and not added a second time.
    first, hints
        As in `NamedValues`.
    """

    name: str
    live: Callable[[], list[Any]]
    changed: Callable[[], None]
    moves: bool = False
    first: bool = False
    hints: frozenset[str] = frozenset()
    library: str | None = None

    def snapshot(self) -> tuple[Hashable, ...]:
        """Return the entries."""
        return tuple(self.live())

    def told(self) -> Values:
        """Return the entries under one name."""
        return {"entries": list(self.live())}

    def difference(self, before: tuple[Hashable, ...]) -> Values | None:
        """Return which entries came, and where, and which are gone."""
        now = tuple(self.live())
        if now == before:
            return None
        came: list[tuple[int, Hashable]] = []
        gone: list[Hashable] = []
        for kind, start, end, new_start, new_end in SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
            if kind in {"delete", "replace"}:
                gone.extend(before[start:end])
            if kind in {"insert", "replace"}:
                # Counted from the nearer end: what a session has of its own lies between the two.
                front = start == 0 or start < len(before) / 2
                came.extend((at if front else at - len(now), now[at]) for at in range(new_start, new_end))
        return {"came": came, "gone": gone}

    def apply(self, data: Values) -> None:
        """Add and remove as the cell did."""
        entries = self.live()
        for entry in data["gone"]:
            if entry in entries:
                entries.remove(entry)
        if self.moves:
            for _, entry in data["came"]:
                if entry in entries:
                    entries.remove(entry)
        for at, entry in (pair for pair in data["came"] if pair[0] >= 0):
            entries.insert(at, entry)
        for at, entry in reversed([pair for pair in data["came"] if pair[0] < 0]):
            entries.insert(max(0, len(entries) + 1 + at), entry)
        self.changed()

    def requirement(self, before: tuple[Hashable, ...], changed: Values | None, words: frozenset[str]) -> str | None:
        """Return a digest of the entries where the words name the list and nothing of it changed."""
        return None if changed or self.hints.isdisjoint(words) else digest_of(list(before))

    def refusal(self, data: Values) -> str | None:  # noqa: ARG002 - entries can always be added
        """Refuse nothing."""
        return None


def digest_of(values: Collection[Any] | Mapping[Any, Any]) -> str:
    """Return a digest that is equal in every process for equal values, and never for those that have no fingerprint."""
    try:
        return fingerprint(values)
    except UnkeyableError as exc:
        return f"{exc} at {id(values)}"


def _last(name: object) -> str:
    text = name if isinstance(name, str) else str(name[-1] if isinstance(name, tuple) else name)
    return text.rpartition(".")[2]
