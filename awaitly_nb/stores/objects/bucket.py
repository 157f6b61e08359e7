"""What a service of objects has to do for `ObjectStore`; it moves bytes, and knows no record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ANYTHING", "NOTHING", "PROBE", "SLOWEST_BYTES_PER_S", "Bucket", "Found", "honours_conditions"]

Found: TypeAlias = "tuple[bytes, str]"
"""The bytes of an object, and a tag, which is another one with every write. The tag may be older than the bytes."""

ANYTHING: Final = "anything"
"""`put` writes whatever is there."""

NOTHING: Final = ""
"""`put` writes only where nothing is."""


SLOWEST_BYTES_PER_S: Final = 100_000
"""What takes longer than this to send or to fetch is not waited for."""

PROBE: Final = "probe-of-conditions"
"""Name of an object that is no record."""


class Bucket(Protocol):
    """Named objects, each written as a whole: a reader sees the old one or the new one. Safe in several threads."""

    def conditional(self) -> bool:
        """Tell whether `put` can be given what it writes over."""

    def get(self, keys: Sequence[str], most: int | None = None) -> list[bytes | None]:
        """Return the objects, or the first `most` bytes of each; None for one that is not there."""

    def look(self, key: str, most: int) -> Found | None:
        """Return the first bytes of an object, and the tag to give `put` to write over it; None if it is not there."""

    def put(self, key: str, content: bytes, *, over: str) -> bool:
        """Write an object over the one with the tag `over`, NOTHING or ANYTHING; False where that is not there.

        False also where it is unknown: whoever is told so looks again. Without conditions `over` is ANYTHING always.
        """

    def names(self, prefix: str) -> dict[str, str]:
        """Return the names of the objects that begin with `prefix`, with a tag each, or "" where listing tells none.

        These tags need not be those of `look`.
        """

    def delete(self, keys: Sequence[str]) -> None:
        """Remove these objects; one that is not there is as good as removed."""

    def now(self) -> float:
        """Return the service's own time, in seconds since 1970."""

    def close(self) -> None:
        """Release connections; harmless twice."""


def honours_conditions(put: Callable[[str, bytes, str], bool], no_tag: str) -> bool:
    """Tell whether a service honours conditions: some take them, and write all the same.

    Parameters
    ----------
    put
        Writes an object over the one with that tag.
    no_tag
        No object's tag.
    """
    refuses = not put(PROBE, b"", NOTHING) or not put(PROBE, b"", NOTHING)
    return refuses and not put(PROBE, b"", no_tag)
