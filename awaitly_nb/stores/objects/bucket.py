"""What a service of objects has to do for `ObjectStore`; it moves bytes, and knows no record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ANYTHING", "NOTHING", "Bucket", "Found"]

Found: TypeAlias = "tuple[bytes, str]"
"""The bytes of an object, and a tag that is another one whenever its content is."""

ANYTHING: Final = "anything"
"""`put` writes whatever is there."""

NOTHING: Final = ""
"""`put` writes only where nothing is."""


class Bucket(Protocol):
    """Named objects, each written as a whole: a reader sees the old one or the new one. Safe in several threads."""

    def conditional(self) -> bool:
        """Tell whether `put` can be given what it writes over."""

    def get(self, keys: Sequence[str], most: int | None = None) -> list[Found | None]:
        """Return the objects, or the first `most` bytes of each; None for one that is not there."""

    def put(self, key: str, content: bytes, *, over: str) -> bool:
        """Write an object over the one with the tag `over`, NOTHING or ANYTHING; False where that is not there.

        False also where it is unknown: whoever is told so looks again.
        """

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects that begin with `prefix`."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove these objects; one that is not there is as good as removed."""

    def now(self) -> float:
        """Return the service's own time, in seconds since 1970."""

    def close(self) -> None:
        """Release connections; harmless twice."""
