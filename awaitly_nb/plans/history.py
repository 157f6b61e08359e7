"""What a plan knows of the past: for each cell that was cached, what it read, what it left, and what it took.

A record is made of the readable head of an entry. No value is decoded and nothing is unpickled.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

__all__ = ["AUTO", "CellRecord", "History"]

AUTO = "auto"
"""The namespace of cells that automatic mode caches; their keys hold no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """One run of one cell, as its entry tells it.

    Attributes
    ----------
    name, namespace, key
        The cell's name, and the namespace and the key of its entry.
    parts
        Rows of kind, name, digest and what is shown of each part of the key; empty under an explicit key.
    made
        Fingerprints of what the cell left, by variable; None where an entry of an older version does not tell.
    unknown
        Variables that it left and that have no fingerprint.
    deleted, changed
        Names that it deleted, and names of inputs that it changed in place.
    generators
        State, after it ran, of each generator of random numbers that it seeded or drew from, by name.
    setup
        What had set up the session before it ran (see `setup`); None where an older entry does not tell.
    environment
        Names of the environment that its session had set itself, until it had run.
    variables
        Names that the entry holds a value of.
    seconds, load_s
        What running it took, and what loading it takes; None where that was not recorded.
    size_bytes
        Bytes that a hit reads.
    at, ttl_s
        When it was computed, and for how many seconds after that it may be served.
    files, traces
        What it read beside its inputs, to be compared with what is there now.
    stored
        False for a run of which only this record was stored, and no value.
    """

    name: str
    key: str
    namespace: str
    parts: tuple[tuple[str, str, str, Any], ...] = ()  # Any: plain JSON data
    made: Mapping[str, str] | None = None
    unknown: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    generators: Mapping[str, str] = field(default_factory=dict)
    setup: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    seconds: float | None = None
    load_s: float | None = None
    size_bytes: int = 0
    at: datetime | None = None
    ttl_s: float | None = None
    files: Sequence[Any] = ()  # Any: plain JSON data
    traces: Mapping[str, Any] = field(default_factory=dict)  # Any: plain JSON data
    stored: bool = True

    @property
    def code(self) -> str:
        """The digest of the cell's own code; "" under an explicit key."""
        return self.parts[0][2] if self.parts and self.parts[0][0] == "code" else ""


class History:
    """The records of a folder, found by a cell's name, by its code, and by an explicit key.

    Parameters
    ----------
    records
        What earlier runs of cached cells left.
    live_s
        The seconds that a cell which always runs took, by its code; None for one that nobody timed.
    """

    def __init__(self, records: Iterable[CellRecord], live_s: Callable[[str], float | None] = lambda _: None) -> None:
        self.live_s = live_s
        self._by_code: dict[tuple[str, str], list[CellRecord]] = {}
        self._by_name: dict[tuple[str, str], list[CellRecord]] = {}
        self._by_key: dict[tuple[str, str], CellRecord] = {}
        self._shown: dict[str, object] = {}
        for record in records:
            if record.code:
                self._by_code.setdefault((record.namespace, record.code), []).append(record)
            self._by_name.setdefault((record.namespace, record.name), []).append(record)
            self._by_key[record.namespace, record.key] = record
            self._shown.update((digest, shown) for kind, _, digest, shown in record.parts if kind == "global" and shown)

    def of_code(self, namespace: str, digest: str) -> list[CellRecord]:
        """Return what cells of this code left, the newest first."""
        return sorted(self._by_code.get((namespace, digest), ()), key=_age)

    def of_name(self, namespace: str, name: str) -> list[CellRecord]:
        """Return what cells of this name left, the newest first."""
        return sorted(self._by_name.get((namespace, name), ()), key=_age)

    def of_key(self, namespace: str, key: str) -> CellRecord | None:
        """Return the record under this very key."""
        return self._by_key.get((namespace, key))

    def shown(self, digest: str) -> object | None:
        """Return what was told of a value by whoever read it; None where nobody did."""
        return self._shown.get(digest)

    def seconds(self, records: Sequence[CellRecord]) -> float | None:
        """Return the median of what these runs took; None where none was timed."""
        known = [record.seconds for record in records if record.seconds is not None]
        return statistics.median(known) if known else None


def _age(record: CellRecord) -> float:
    return -record.at.timestamp() if record.at is not None else 0.0
