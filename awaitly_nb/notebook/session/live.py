"""The objects that a cell can reach: numbered alike in every session, watched for changes, and changed in place.

A cell that reads equal inputs reaches objects of equal structure. So a walk of its inputs in one order gives the object
that lived in the first session and the one that lives now the same number, and what is stored can say "live object
number 7" in place of a copy. After the run each object is compared with what it held before; the contents of those that
changed are stored beside the variables, and on a hit they are written into the live objects, so that every name, view
and holder sees them. What could not be written in place raises `CannotRestoreError`: then the cell is not stored.

What is particular about each kind of object is in `live_kinds`.
"""

from __future__ import annotations

import gc
import sys
import weakref
from hashlib import blake2b
from secrets import token_hex
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec import bounds_of
from awaitly_nb.keys import is_user_class
from awaitly_nb.notebook.session.kind import CannotRestoreError, Kind, type_name
from awaitly_nb.notebook.session.live_iterators import is_iterator
from awaitly_nb.notebook.session.live_kinds import (
    LEAF,
    blocks_of,
    comes_back_empty,
    has_open_order,
    is_frame,
    kind_of,
    stands_on_block,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["CannotRestoreError", "Live"]


class Live:
    """Objects that were reachable when they were numbered.

    Parameters
    ----------
    watch
        Whether to notice changes; else only the numbers count.
    known
        Objects that are left out, because another `Live` has them.

    Attributes
    ----------
    objects
        In the order of their numbers. They stay alive while this does, so that their ids stay their own.
    numbers
        The number of each, by id.
    protected
        The ids of those that only frames and indexes hold, which copy before they write.
    """

    def __init__(self, *, watch: bool, known: Mapping[int, int] | None = None) -> None:
        self._known = known or {}
        self._made_here = known is not None
        self.objects: list[object] = []
        self.numbers: dict[int, int] = {}
        self._watch = watch
        self._kinds: list[Kind] = []
        self._states: list[Any] = []  # Any: each kind's own
        self._blocks: dict[int, Any] = {}  # Any: the block of a frame that an array lies in; pandas is not imported
        self.protected: set[int] = set()
        self._tokens: list[str] = []
        self._ends: list[int] = []
        self._unreadable = ""
        self._again: list[tuple[Any, ...]] = []  # Any: places
        self._places: list[tuple[int, bool]] = []
        """Where each object stands: its number among those that are not inside an object of a library, or that one's
        number, and True. Inside, its library sees to what is shared, and may do so otherwise after a pickle."""
        self._outside = 0

    def add(self, roots: Iterable[tuple[str, object]], *, most: int | None = None) -> None:
        """Give numbers to what is reachable from `roots` and has none yet; stop behind number `most`."""
        for name, root in roots:
            if most is not None and len(self.objects) > most:
                return
            self._tokens.append(f"={name}")
            self._walk(root, most)

    def shape(self, most: int) -> str:
        """Return a digest of the structure down to object number `most`: equal where the same numbers mean the same."""
        end = self._ends[most] if most < len(self._ends) else len(self._tokens)
        return blake2b("\n".join(self._tokens[:end]).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def sharing(self) -> str:
        """Return a digest of what is one object, and one memory, among all that was walked; empty where nothing is.

        No key holds that: of equal contents, `a.append(1)` changes `b` or does not.
        """
        found = [*self._again, *self._overlaps()]
        return blake2b(repr(found).encode(), digest_size=8).hexdigest() if found else ""

    def _overlaps(self) -> list[tuple[Any, ...]]:  # Any: numbers, offsets and strides
        """Return which arrays lie in each other's memory, and where, if somebody may write there."""
        if (numpy := sys.modules.get("numpy")) is None:
            return []
        places = []
        for number, value in enumerate(self.objects):
            if isinstance(value, numpy.ndarray) and value.size:
                places.append((*bounds_of(value), number, value.__array_interface__["data"][0]))
        places.sort()
        groups: list[list[tuple[int, ...]]] = []
        end = -1
        for place in places:
            if place[0] < end:
                groups[-1].append(place)
            else:
                groups.append([place])
            end = max(end, place[1])
        return sorted(self._group(group) for group in groups if self._is_between(group) and self._is_seen(group))

    def _is_between(self, group: list[tuple[int, ...]]) -> bool:
        places = {self._places[number] for _, _, number, _ in group}
        return len(group) > 1 and (len(places) > 1 or not next(iter(places))[1])

    def _is_seen(self, group: list[tuple[int, ...]]) -> bool:
        """Tell whether one of these arrays may be written to past the frame that has it."""
        arrays: list[Any] = [self.objects[number] for _, _, number, _ in group]  # Any: arrays of NumPy
        return any(array.flags.writeable and id(array) not in self.protected for array in arrays)

    def _group(self, group: list[tuple[int, ...]]) -> tuple[Any, ...]:
        first, origin = min((number, start) for *_, number, start in group)
        arrays: list[Any] = [self.objects[number] for _, _, number, _ in group]  # Any: as above
        facts = [
            (self._places[number], start - origin, array.shape, array.strides)
            for (*_, number, start), array in zip(group, arrays, strict=True)
        ]
        return self._places[first], *sorted(facts)

    def changes(self) -> dict[int, Any]:  # Any: each kind's own contents
        """Return the contents of the objects that hold something else than when they were numbered.

        Raises
        ------
        CannotRestoreError
            One changed in a way that cannot be done to a live object.
        """
        found = {}
        for number, (value, kind, state) in enumerate(zip(self.objects, self._kinds, self._states, strict=True)):
            if self._made_here and comes_back_empty(kind, value):
                continue  # a cache that the cell itself has made comes back empty
            try:
                if not kind.same(value, state):
                    found[number] = kind.contents(value, state)
            except CannotRestoreError:
                raise
            except Exception as exc:  # noqa: BLE001 - what was closed or released raises where it is looked at
                self._note_unreadable(value, exc)
        if self._unreadable:
            raise CannotRestoreError(self._unreadable)
        return found

    def held_weakly(self) -> str | None:
        """Return the type of an object that somebody refers to weakly, and may be told when it is gone."""
        for value, kind in zip(self.objects, self._kinds, strict=True):
            if not is_frame(kind) and is_user_class(type(value)) and weakref.getweakrefcount(value):
                return type_name(type(value))
        return None

    @staticmethod
    def plain_meets(value: object, others: Collection[object]) -> bool | None:
        """Tell the same of a value of plain containers, at the speed of C; None where it holds anything else.

        The collector's own list of what refers to what ends neither on what contains itself nor on what is shared, so
        depth and number are bounded.
        """
        sought, level, count = set(map(id, others)), [value], 0
        for _ in range(_DEEPEST):
            if not sought.isdisjoint(map(id, level)):
                return True
            inner = [one for one in level if type(one) in _CONTAINERS]
            count += len(level)
            rest = () if len(inner) == len(level) else [one for one in level if type(one) not in _PLAIN]
            if count > _MOST or any(kind_of(type(one), one) is not None for one in rest):
                return None
            if not inner:
                return False
            level = gc.get_referents(*inner)
        return None

    @staticmethod
    def is_a_tree(roots: Iterable[tuple[str, object]]) -> bool:
        """Tell whether `sharing` would find nothing, at the speed of C for plain containers; False where in doubt."""
        seen: set[int] = set()
        others: list[tuple[str, object]] = []
        level = [root for _, root in roots]
        for _ in range(_DEEPEST):
            kinds = set(map(type, level))
            if not kinds <= _PLAIN:
                inner = [one for one in level if type(one) not in _PLAIN]
                others += [("", one) for one in inner if kind_of(type(one), one) is not None]
            if kinds.isdisjoint(_CONTAINERS):
                rest = Live(watch=False)
                rest.add(others)
                return rest.sharing() == "" and seen.isdisjoint(rest.numbers)
            level = [one for one in level if type(one) in _CONTAINERS]
            ids = set(map(id, level))
            if len(ids) < len(level) or not seen.isdisjoint(ids):
                return False
            seen |= ids
            level = gc.get_referents(*level)
        return False

    def meets(self, others: Collection[object]) -> bool:
        """Tell whether one of `others` is among the objects, or an array of them may share memory with one of these."""
        if any(id(other) in self.numbers for other in others):
            return True
        if (numpy := sys.modules.get("numpy")) is None:
            return False
        arrays = [other for other in others if isinstance(other, numpy.ndarray)]
        return any(
            numpy.may_share_memory(mine, other)
            for mine in self.objects
            if isinstance(mine, numpy.ndarray)
            for other in arrays
        )

    def check(self, changes: Iterable[int]) -> None:
        """Raise CannotRestoreError where writing into one of these objects would show in one that must not see it."""
        for number in changes:
            block = self._blocks.get(number)
            if block is not None and block.refs.has_reference():
                raise CannotRestoreError("a frame that it changes shares its columns with another one")

    def change(self, changes: dict[int, Any]) -> None:  # Any: each kind's own contents
        """Write contents into the live objects."""
        for number, contents in sorted(changes.items(), key=lambda item: is_iterator(self._kinds[item[0]])):
            self._kinds[number].change(self.objects[number], contents)

    def _walk(self, root: object, most: int | None) -> None:
        # Any: the block, or _INDEX; and the number of the object of a library inside which it lies
        waiting: list[tuple[object, Any, int | None]] = [(root, None, None)]
        numbers, tokens = self.numbers, self._tokens
        while waiting:
            value, block, holder = waiting.pop()
            if id(value) in self._known:
                continue
            if (known := numbers.get(id(value))) is not None:
                self._meet_again(value, known, block, holder)
                continue
            kind = kind_of(type(value), value)
            if kind is None and value is root and isinstance(value, FunctionType | BuiltinFunctionType | type):
                # By its name it would come back as what the name means then, which somebody may have set anew.
                kind = LEAF
            if kind is None:
                continue
            numbers[id(value)] = number = len(self.objects)
            kind, children, state = self._read(kind, value)
            self.objects.append(value)
            self._kinds.append(kind)
            self._note_place(value, number, block)
            self._places.append((self._outside, False) if holder is None else (holder, True))
            if holder is None:
                is_closed = getattr(kind, "is_closed", False) or is_frame(kind) or stands_on_block(kind)
                holder = self._outside if is_closed else None
                self._outside += 1
            tokens.append(f"{type(value).__qualname__} {len(children)}")
            self._ends.append(len(tokens))
            if len(children) > 1 and has_open_order(value):
                # Another session may number them in another order: behind this no number means the same.
                tokens.append(token_hex(8))
                children.sort(key=lambda child: numbers.get(id(child), sys.maxsize))
            if self._watch:
                self._states.append(state)
            if most is not None and number >= most:
                return
            if children:
                inner = blocks_of(kind, value)
                own = (block or _INDEX) if stands_on_block(kind) else None
                waiting.extend((child, inner.get(id(child), own), holder) for child in reversed(children))

    def _meet_again(self, value: object, known: int, block: Any, holder: int | None) -> None:  # Any: as in `_walk`
        if block is None:
            self.protected.discard(id(value))
        place = self._places[known]
        # Which index frames have in common, and what only they hold, is pandas' affair, and otherwise after a pickle.
        is_pandas = id(value) in self.protected or stands_on_block(self._kinds[known])
        if place != (holder, True) and not is_pandas and not _is_plain(value):
            self._again.append((self._outside if holder is None else holder, holder is not None, place))
        self._tokens.append(f"^{known}")

    def _read(self, kind: Kind, value: object) -> tuple[Kind, list[object], Any]:  # Any: the kind's own state
        try:
            return kind, kind.children(value), kind.state(value) if self._watch else None
        except CannotRestoreError:
            raise
        except Exception as exc:  # noqa: BLE001 - as in `changes`; the cell itself may never look at it
            self._note_unreadable(value, exc)
            return LEAF, [], None

    def _note_unreadable(self, value: object, exc: Exception) -> None:
        told = f"a {type_name(type(value))} cannot be looked at ({type(exc).__name__}: {exc})"
        self._unreadable = self._unreadable or told

    def _note_place(self, value: object, number: int, block: Any) -> None:  # Any: a block of pandas
        if block is not None:
            self.protected.add(id(value))
            if block is not _INDEX:
                self._blocks[number] = block


def _is_plain(value: object) -> bool:
    """Tell whether nothing but `is` tells one of two equal objects of this kind from the other."""
    return isinstance(value, tuple | frozenset) and not kind_of(type(value), value).children(value)  # type: ignore[union-attr]


_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset})
_PLAIN: Final = _CONTAINERS | {int, float, str, bytes, bool, type(None)}
_DEEPEST: Final = 16
_MOST: Final = 1 << 20
_INDEX: Final = object()
"""In the place of a block: what an index, or an array of pandas that is no column, stands on."""
