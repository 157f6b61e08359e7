"""Large variables of hits that no cell has read yet: what they hold is authenticated, and paid for, by who reads them.

They are the real objects, over private maps of the files that hold their bytes, so nobody ever sees a proxy. Before a
cell runs, the names that it reads are known, and the buffers of what it reads are authenticated. Where they are not
what was signed, the cell that made them runs once more, with a warning.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import CacheError, DamagedEntryWarning, warn
from awaitly_nb.keys import noted_digests, read_names, remember_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from mmap import mmap

__all__ = ["Digests", "Unread", "located", "noted_digests", "read_unread", "remember_located", "unread"]

Digests = list[tuple[int, int, int, str]]
"""Buffer, offset in it, length and digest of each large array of a cell."""

_MAY_READ_ANYTHING = re.compile(r"(?<!\.)\b(?:globals|locals|vars|eval|exec|get_ipython)\(|\b__main__\b")
_LOOKED_AFTER = re.compile(r"\s*(?:await )?get_ipython\(\)\.run_cell_magic\('awaitly'")
_APART = (int, float, complex, str, bool, type(None), ModuleType)


@dataclass(frozen=True, slots=True)
class Unread:
    """What one hit left unread.

    Attributes
    ----------
    names
        Its variables, with the ids of what they were bound to.
    check
        Authenticates the buffers; raises CacheError.
    is_stored
        Tells whether the entry itself is sound: then it is the session that has written to the buffers.
    make
        Runs the cell once more and returns the variables it leaves.
    """

    names: Mapping[str, int]
    check: Callable[[], None]
    is_stored: Callable[[], bool]
    make: Callable[[], dict[str, Any]]  # Any: the user's values

    def bound(self, namespace: Mapping[str, Any]) -> list[str]:
        """Return the names that still are what the hit bound them to."""
        return [name for name, number in self.names.items() if name in namespace and id(namespace[name]) == number]

    def read(self, namespace: dict[str, Any]) -> None:
        """Authenticate the buffers; where they are damaged, make the variables anew."""
        try:
            self.check()
        except CacheError as exc:
            if self.is_stored():
                return
            names = self.bound(namespace)
            warn(
                f"{', '.join(names)}: what was stored is damaged ({exc}); its cell runs once more", DamagedEntryWarning
            )
            made = self.make()
            namespace.update({name: made[name] for name in names if name in made})


def unread(
    bound: Mapping[str, object],
    check: Callable[[], None],
    *,
    is_stored: Callable[[], bool],
    make: Callable[[], dict[str, Any]],  # Any: the user's values
) -> Unread:
    """Return what a hit left unread, from its variables; numbers and texts do not lie in buffers."""
    names = {name: id(value) for name, value in bound.items() if type(value) not in _APART}
    return Unread(names, check, is_stored, make)


def read_unread(waiting: list[Unread], namespace: dict[str, Any], source: str, names: Iterable[str] = ()) -> None:
    """Authenticate what a cell is about to read, and drop what nobody can read any more.

    Parameters
    ----------
    waiting
        What the session's hits left so far; is changed.
    source
        The code that is about to run, as Python.
    names
        Variables that it reads besides.
    """
    if not waiting or _LOOKED_AFTER.match(source):  # such a cell does it by itself
        return
    anything = _MAY_READ_ANYTHING.search(source) is not None
    try:
        reads = {*names, *(() if anything else read_names(source, namespace).names)}
    except SyntaxError:
        return
    for one in list(waiting):
        bound = one.bound(namespace)
        if not bound or anything or not reads.isdisjoint(bound):
            waiting.remove(one)
            if bound:
                one.read(namespace)


def located(
    noted: Mapping[tuple[int, int], bytes], buffers: Sequence[Any]
) -> Digests:  # Any: bytes-like, here and below
    """Return where in `buffers` the arrays lie whose digests were noted."""
    found: Digests = []
    for number, buffer in enumerate(buffers):
        begin, size = _place(buffer) if noted else (0, 0)
        for (address, length), digest in noted.items():
            if begin <= address and address + length <= begin + size:
                found.append((number, address - begin, length, digest.hex()))
    return found


def remember_located(digests: Digests, buffers: Sequence[Any]) -> None:
    """Let the digests hold for arrays over `buffers`, where these are maps of a file."""
    for number, offset, length, digest in digests:
        if (owner := _map_of(buffers[number])) is not None:
            remember_digest(owner, _place(buffers[number])[0] + offset, length, bytes.fromhex(digest))


def _map_of(buffer: Any) -> mmap | None:
    if "mmap" not in sys.modules or not isinstance(buffer, memoryview):
        return None
    owner = buffer.obj
    return owner if isinstance(owner, sys.modules["mmap"].mmap) else None


def _place(buffer: Any) -> tuple[int, int]:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return 0, 0
    array = numpy.frombuffer(buffer, numpy.uint8)
    return array.__array_interface__["data"][0], array.nbytes
