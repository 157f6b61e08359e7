"""A key as named parts, and the difference between two keys told part by part.

A part is one thing that an answer depends on: the function's code, a helper, a global, an argument. The key is the
digest of all of them, so two keys differ exactly where some part does, and `diff` can name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Change", "Part", "Parts", "diff", "nearest"]

_CODE_KINDS: Final = frozenset({"code", "helper", "class"})
_TEXT_LIMIT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a key depends on.

    Attributes
    ----------
    kind
        `code`, `helper`, `class`, `global`, `closure`, `default`, `import`, `package`, `version` or `argument`.
    name
        Which one.
    digest
        What it is; equal digests are equal parts.
    shown
        What a reader is shown: the source of code, the outline of a value. Plain JSON data.
    """

    kind: str
    name: str
    digest: str
    shown: Any = ""  # Any: plain JSON data


@dataclass(frozen=True, slots=True)
class Change:
    """One part that differs between two keys.

    Attributes
    ----------
    part
        Its kind and name, as in `argument raw`.
    line
        The difference in one line.
    detail
        A unified diff of the source for code, else "".
    """

    part: str
    line: str
    detail: str = ""


class Parts:
    """The named parts of an automatic key. Frozen; compares by name and parts.

    Parameters
    ----------
    name
        Of the step or cell.
    parts
        All that its answer depends on.

    Examples
    --------
    >>> Parts("f", [Part("argument", "x", "int 1")]).key == Parts("f", [Part("argument", "x", "int 2")]).key
    False
    """

    __slots__ = ("_key", "_make", "_parts", "name")

    name: str

    def __init__(self, name: str, parts: Iterable[Part]) -> None:
        self.name = name
        self._parts: tuple[Part, ...] | None = tuple(parts)
        self._make: Callable[[], Iterable[Part]] | None = None
        hasher = blake2b(digest_size=16)
        hasher.update("".join(map(frame, self._parts)).encode("utf-8", "surrogatepass"))
        self._key = f"{name}:{hasher.hexdigest()}"

    @classmethod
    def later(cls, name: str, hexdigest: str, make: Callable[[], Iterable[Part]]) -> Parts:
        """Return parts whose key is known already and whose list is made when it is asked for: a hit never asks."""
        parts: Parts = cls.__new__(cls)
        parts.name = name
        parts._key = f"{name}:{hexdigest}"
        parts._parts = None
        parts._make = make
        return parts

    @property
    def key(self) -> str:
        """The key, `NAME:<hex>`."""
        return self._key

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts: code first, arguments last."""
        if self._parts is None:
            assert self._make is not None
            self._parts = tuple(self._make())
            self._make = None
        return self._parts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parts):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Parts({self._key})"

    def to_data(self) -> dict[str, Any]:
        """Return this as plain JSON data."""
        shown = [(p.kind, p.name, p.digest, _short(p.shown)) for p in self.parts]
        return {"name": self.name, "parts": [list(row) for row in shown]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Parts:
        """Return what `to_data` was made of."""
        return cls(str(data["name"]), [Part(*row) for row in data["parts"]])


def frame(part: Part) -> str:
    """Return how a part enters the key."""
    return f"{part.kind}\x1f{part.name}\x1f{part.digest}\x1e"


def _short(shown: Any) -> Any:
    return shown[:_TEXT_LIMIT] if isinstance(shown, str) else shown


def diff(old: Parts, new: Parts) -> tuple[Change, ...]:
    """Return what differs between two keys of one step, code first.

    Where code changed, parts that only came or went with it are not told: the code says so itself.
    """
    before = {(part.kind, part.name): part for part in old.parts}
    after = {(part.kind, part.name): part for part in new.parts}
    changes: list[Change] = []
    edited = False
    for place, part in after.items():
        was = before.get(place)
        if was is not None and was.digest != part.digest:
            changes.append(_changed(was, part))
            edited = edited or part.kind in _CODE_KINDS
    if not edited:
        changes.extend(_lone(part, "new") for place, part in after.items() if place not in before)
        changes.extend(_lone(part, "gone") for place, part in before.items() if place not in after)
    return tuple(changes)


def _changed(old: Part, new: Part) -> Change:
    label = f"{new.kind} {new.name}"
    if new.kind in _CODE_KINDS:
        return Change(label, f"{_named(new)} edited", _source_diff(old, new))
    if new.kind == "package":
        return Change(label, f"{new.name} {old.shown} -> {new.shown}")
    if isinstance(old.shown, str) and isinstance(new.shown, str):
        return Change(label, f"{label}: {old.shown} -> {new.shown}")
    from awaitly_nb.keys.values import outline_diff

    if isinstance(old.shown, str) or isinstance(new.shown, str):  # one of them is "absent"
        return Change(label, f"{label}: {_word(old)} -> {_word(new)}")
    told = outline_diff(old.shown, new.shown)
    if told.startswith("."):  # of a field, which reads best as code
        return Change(label, f"{new.name}{told.replace(' content changed', ' changed')}")
    return Change(label, f"{label}: {told}")


def _named(part: Part) -> str:
    return f"code of {part.name}" if part.kind == "code" else f"{part.kind} {part.name}"


def _word(part: Part) -> str:
    return part.shown if isinstance(part.shown, str) else str(part.shown.get("repr", part.shown.get("is", "a value")))


def _lone(part: Part, word: str) -> Change:
    label = f"{part.kind} {part.name}"
    return Change(label, f"{label} is {word}")


def _source_diff(old: Part, new: Part) -> str:
    import difflib

    lines = difflib.unified_diff(
        str(old.shown).splitlines(keepends=True), str(new.shown).splitlines(keepends=True), "before", "now"
    )
    return "".join(lines)


def nearest(new: Parts, others: Iterable[Parts]) -> Parts | None:
    """Return the one of `others` that differs from `new` in the fewest parts, the later of equals, or None."""
    mine = {(part.kind, part.name, part.digest) for part in new.parts}
    best: Parts | None = None
    fewest = -1
    for other in others:
        distance = len(mine ^ {(part.kind, part.name, part.digest) for part in other.parts})
        if best is None or distance <= fewest:
            best, fewest = other, distance
    return best
