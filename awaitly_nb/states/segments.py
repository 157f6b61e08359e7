"""How a state lies in a store: as segments, one for each save, each a record that is written once.

A save writes what is new since the last one into a record of its own name, so it is atomic on every store, costs what
it adds, and two writers of one id cannot overwrite each other. A load reads all segments of the id, in the order of
their writing, and folds them:

- of one key's outcomes the later one stays, by the time it finished; of two that finished alike, the one saved last;
- a tombstone takes out the outcome it names and what came before it, so that a later one by somebody else survives;
- a segment that replaces forgets everything before it.

A large value is written first, in records of bounded size that are named by its digest, and the segment refers to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import DamagedEntryWarning, StateError, StateVersionError, warn
from awaitly_nb.states.state import Log, ResumeState, StepEntry, state_of
from awaitly_nb.states.wire import SCHEMA_VERSION, dump_json, entry_to_data, load_json, state_from_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from awaitly_nb.stores import Record

__all__ = ["Folded", "Written", "fold_segments", "write_segment"]

LARGE_BYTES = 1_000_000
"""From here on a value is kept beside its segment."""

_PART_BYTES = 4_000_000
"""Size of one part of a large value: well under what any of the databases takes as one record."""


@dataclass(frozen=True, slots=True)
class Written:
    """A segment that is ready to be stored: its head, its body, and the large parts to be stored before it."""

    head: str
    body: bytes
    parts: Mapping[str, bytes]

    @property
    def size_bytes(self) -> int:
        """Bytes in all."""
        return len(self.body) + sum(map(len, self.parts.values()))


@dataclass(slots=True)
class Folded:
    """What the segments of one id came to.

    Attributes
    ----------
    state
        The state.
    size_bytes, segments
        How much was read, in how many segments.
    last_name
        Name of the last segment.
    """

    state: ResumeState
    size_bytes: int
    segments: int
    last_name: str


def write_segment(
    outcomes: Iterable[tuple[str, StepEntry]],
    *,
    removed: Mapping[str, datetime | None] | None = None,
    extra: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Written:
    """Return the segment that adds `outcomes` and takes out `removed`.

    Raises
    ------
    StateError
        A value cannot be written down; the message names its key.
    """
    parts: dict[str, bytes] = {}
    steps = [_set_aside(entry_to_data(key, entry), parts) for key, entry in outcomes]
    data: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "steps": steps}
    if removed:
        data["without"] = [[key, None if at is None else at.isoformat()] for key, at in removed.items()]
    if replace:
        data["replace"] = True
    if extra:
        data["extra"] = dict(extra)
    head = dump_json({"schema_version": SCHEMA_VERSION, "steps": len(steps)})
    return Written(head, dump_json(data).encode(), parts)


def _set_aside(step: dict[str, Any], parts: dict[str, bytes]) -> dict[str, Any]:
    # Plain small values, the common case, are not serialised twice only to learn their size.
    if "value" not in step or isinstance(step["value"], int | float | None):
        return step
    if isinstance(step["value"], str) and len(step["value"]) < LARGE_BYTES // 8:
        return step
    content = json.dumps(step["value"], separators=(",", ":")).encode()
    if len(content) < LARGE_BYTES:
        return step
    digest = _digest(content)
    names = [f"{digest}.{number}" for number in range(-(-len(content) // _PART_BYTES))]
    for number, name in enumerate(names):
        parts[name] = content[number * _PART_BYTES : (number + 1) * _PART_BYTES]
    kept = {name: value for name, value in step.items() if name != "value"}
    return {**kept, "stored": {"digest": digest, "parts": len(names), "size_bytes": len(content)}}


def _digest(content: bytes) -> str:
    from hashlib import blake2b

    return blake2b(content, digest_size=20).hexdigest()


@dataclass(slots=True)
class _Fold:
    parts: Mapping[str, bytes]
    steps: dict[str, StepEntry] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def add(self, data: Mapping[str, Any]) -> None:
        if data.get("replace"):
            self.steps.clear()
            self.extra.clear()
        for key, at in data.get("without", ()):
            self._take_out(key, None if at is None else datetime.fromisoformat(at))
        steps = [restored for step in data["steps"] if (restored := self._restored(step)) is not None]
        segment = state_from_data({"schema_version": data["schema_version"], "steps": steps})
        for key, entry in segment.steps.items():
            known = self.steps.get(key)
            if known is None or entry.supersedes(known):
                self.steps.pop(key, None)
                self.steps[key] = entry
        self.extra.update(data.get("extra") or {})

    def _take_out(self, key: str, at: datetime | None) -> None:
        known = self.steps.get(key)
        if known is not None and (at is None or known.at is None or known.at <= at):
            del self.steps[key]

    def _restored(self, step: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if not isinstance(step, dict) or "stored" not in step:
            return step
        kept = dict(step)
        reference = kept.pop("stored")
        pieces = [self.parts.get(f"{reference['digest']}.{number}") for number in range(reference["parts"])]
        content = b"".join(piece for piece in pieces if piece is not None)
        if _digest(content) != reference["digest"]:
            warn(
                f"the large value of step {step.get('key')!r} is missing or damaged in the store; the step runs again",
                DamagedEntryWarning,
            )
            return None
        return {**kept, "value": json.loads(content)}


def fold_segments(segments: Iterable[Record], parts: Mapping[str, bytes]) -> Folded | None:
    """Return what the segments of one id came to, or None where there are none.

    Parameters
    ----------
    segments
        In the order of their first writing, with bodies.
    parts
        The parts of large values, by `DIGEST.NUMBER`.

    Raises
    ------
    StateVersionError
        A segment was written by a newer version of this package.
    StateError
        A segment is damaged.
    """
    fold, size, count, last_name = _Fold(parts), sum(map(len, parts.values())), 0, ""
    for segment in segments:
        body = bytes(segment.body or b"")
        data = load_json(body)
        if not isinstance(version := data.get("schema_version"), int) or "steps" not in data:
            raise StateError("a segment of the stored state has no schema version or no steps")
        if version > SCHEMA_VERSION:
            raise StateVersionError(
                f"the stored state has schema version {version}, and this awaitly_nb knows versions up to "
                f"{SCHEMA_VERSION}; run: pip install --upgrade awaitly-nb"
            )
        try:
            fold.add(data)
        except (KeyError, TypeError, AttributeError) as exc:
            raise StateError(f"a segment of the stored state is damaged ({type(exc).__name__}: {exc})") from exc
        size, count, last_name = size + len(body), count + 1, segment.name
    if not count:
        return None
    return Folded(state_of(Log(fold.steps.items()), extra=fold.extra), size, count, last_name)
