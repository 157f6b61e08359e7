"""How a state lies in a store: as a log of segments, one for each save, each a record that is written once.

A save writes what is new since the last one into the next free slot of the log, where nothing is yet. So it is atomic
on every store, costs what it adds, and two writers of one id cannot overwrite each other. A load reads all segments of
the id, in the order of their slots, and folds them:

- of one key's outcomes the later one stays, by the time it finished; of two that finished alike, the one saved last;
- a tombstone takes out the outcome it names and what came before it, so that a later one by somebody else survives;
- a segment that replaces clears everything before it;
- a segment of a run does not count after one of a later run, which had taken the id over.

The last rule and the slots fence a run that was stopped for longer than its lease: its next slot is where the run that
took over begins its own, so its write is refused, and it sees by whom.

A large value is written first, in records of bounded size that are named by its digest, and the segment refers to it.
Each segment is signed with the name of its record, which holds the id and the slot; so none can be moved, altered or
put back in another place. A segment that nobody trusted has signed may hold plain values, and no pickle.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from awaitly_nb.errors import DamagedEntryWarning, StateError, StateVersionError, warn
from awaitly_nb.states.resume_state import Log, ResumeState, StepEntry, state_of
from awaitly_nb.states.wire import (
    SCHEMA_VERSION,
    dump_json,
    entry_from_data,
    entry_to_data,
    holds_pickle,
    load_json,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from awaitly_nb.stores import Record

__all__ = [
    "PART",
    "Brief",
    "Folded",
    "Segment",
    "StepOutline",
    "Whole",
    "fold_segments",
    "run_of",
    "slot_name",
    "slot_of",
    "write_segment",
]

PART = "="
"""Begins the last part of the name of a large value's record."""

LARGE_BYTES = 1_000_000
"""From here on a value is stored beside its segment."""

_PART_BYTES = 4_000_000
"""Size of one part of a large value: well under what any of the databases takes as one record."""

_SLOT = re.compile(r"\d{10}")
_DOMAIN = b"awaitly_nb segment 1"
_SIGNATURE = ',"signature":"'
_TAIL = len(_SIGNATURE) + 32 + len('"}')
_FENCE = '{"fence":true'
_TAG = "$awaitly"
_SHOWN = 200


def slot_name(name: str, slot: int) -> str:
    """Return the name of the record in that slot of the log called `name`."""
    return f"{name}{slot:010}"


def slot_of(name: str, record_name: str) -> int | None:
    """Return which slot of the log called `name` a record is, or None where it is none."""
    tail = record_name[len(name) :]
    return int(tail) if _SLOT.fullmatch(tail) else None


def run_of(record: Record) -> int | None:
    """Return the number of the run that wrote a segment; None where no run did."""
    try:
        run = json.loads(record.head).get("run")
    except (ValueError, AttributeError):
        return None
    return run if type(run) is int else None


def is_fence(record: Record) -> bool:
    """Tell whether a segment only marks that a run took the id over."""
    return record.head.startswith(_FENCE)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that is ready to be stored: its body, and the large parts to be stored before it."""

    about: Mapping[str, Any]
    body: bytes
    parts: Mapping[str, bytes]

    @property
    def size_bytes(self) -> int:
        """Bytes in all."""
        return len(self.body) + sum(map(len, self.parts.values()))

    def head(self, record_name: str) -> str:
        """Return its head, signed for the record of that name."""
        from awaitly_nb.codec import default_keyring

        secret = default_keyring().own
        text = dump_json({**self.about, "secret": secret.id})
        signature = secret.sign(_DOMAIN, record_name.encode(), text.encode(), self.body)
        return f'{text[:-1]}{_SIGNATURE}{signature}"}}'


def write_segment(
    name: str,
    outcomes: Iterable[tuple[str, StepEntry]] = (),
    *,
    removed: Mapping[str, datetime | None] | None = None,
    extra: Mapping[str, Any] | None = None,
    replace: bool = False,
    run: int | None = None,
) -> Segment:
    """Return the segment of the log called `name` that adds `outcomes` and takes out `removed`.

    Without any of these it is a fence: it says that the run of this number took the id over.

    Raises
    ------
    StateError
        A value cannot be written down; the message names its key.
    """
    parts: dict[str, bytes] = {}
    steps = [_set_aside(entry_to_data(key, entry, name=name), parts) for key, entry in outcomes]
    data: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "steps": steps}
    if removed:
        data["without"] = [[key, None if at is None else at.isoformat()] for key, at in removed.items()]
    if replace:
        data["replace"] = True
    if extra:
        data["extra"] = dict(extra)
    about: dict[str, Any] = {"fence": True} if run is not None and len(data) == 2 and not steps else {}  # noqa: PLR2004
    about |= {"schema_version": SCHEMA_VERSION, "steps": len(steps)}
    if run is not None:
        about["run"] = run
    return Segment(about, dump_json(data).encode(), parts)


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
    rest = {name: value for name, value in step.items() if name != "value"}
    return {**rest, "stored": {"digest": digest, "parts": len(names), "size_bytes": len(content)}}


def _digest(content: bytes) -> str:
    from hashlib import blake2b

    return blake2b(content, digest_size=20).hexdigest()


class StepReader(Protocol):
    """Makes an entry of a step as it was written."""

    def entry(self, step: Mapping[str, Any], *, pickles: bool) -> tuple[str, StepEntry] | None:
        """Return the key and the entry, or None where the step has to run again; with `pickles` only if those count."""

    def verify(self, segment: Record) -> bool:
        """Tell whether somebody trusted has signed a segment; raises `StateError` where the signature is wrong."""


@dataclass(slots=True)
class Folded:
    """What the segments of one id come to.

    Attributes
    ----------
    state
        The state; None where there is none.
    size_bytes, segments
        How much was read, in how many segments.
    slot
        The last slot; -1 where there is none.
    last_name
        Name of the last segment.
    """

    state: ResumeState | None = None
    size_bytes: int = 0
    segments: int = 0
    slot: int = -1
    last_name: str = ""


@dataclass(slots=True)
class _Fold:
    reader: StepReader
    steps: dict[str, StepEntry] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def add(self, data: Mapping[str, Any], *, pickles: bool) -> None:
        if data.get("replace"):
            self.steps.clear()
            self.extra.clear()
        for key, at in data.get("without", ()):
            self._take_out(key, None if at is None else datetime.fromisoformat(at))
        for step in data["steps"]:
            if (found := self.reader.entry(step, pickles=pickles)) is None:
                continue
            key, entry = found
            known = self.steps.get(key)
            if known is None or entry.supersedes(known):
                self.steps.pop(key, None)
                self.steps[key] = entry
        self.extra.update(data.get("extra") or {})

    def _take_out(self, key: str, at: datetime | None) -> None:
        known = self.steps.get(key)
        if known is not None and (at is None or known.at is None or known.at <= at):
            del self.steps[key]


def fold_segments(name: str, segments: Iterable[Record], reader: StepReader) -> Folded:
    """Return what the segments of one id come to.

    Parameters
    ----------
    name
        Name of the log.
    segments
        In any order, with bodies.
    reader
        Makes entries of steps.

    Raises
    ------
    StateVersionError
        A segment was written by a newer version of this package.
    StateError
        A segment is damaged, altered, or from another place.
    """
    fold, folded, latest_run = _Fold(reader), Folded(), -1
    for slot, segment in sorted(((_order(name, found), found) for found in segments), key=lambda one: one[0]):
        run = run_of(segment)
        folded.slot = max(folded.slot, slot)
        if run is not None:
            if run < latest_run:
                continue  # the run had lost the id when this was written
            latest_run = run
        body = bytes(segment.body or b"")
        data = load_json(body)
        if not isinstance(version := data.get("schema_version"), int) or not isinstance(data.get("steps"), list):
            raise StateError("a segment of the stored state has no schema version or no steps")
        if version > SCHEMA_VERSION:
            raise StateVersionError(
                f"the stored state has schema version {version}, and this awaitly_nb knows versions up to "
                f"{SCHEMA_VERSION}; run: pip install --upgrade awaitly-nb"
            )
        try:
            fold.add(data, pickles=reader.verify(segment))
        except (KeyError, TypeError, AttributeError, ValueError) as exc:
            if isinstance(exc, StateError):
                raise
            raise StateError(f"a segment of the stored state is damaged ({type(exc).__name__}: {exc})") from exc
        folded.size_bytes += len(body)
        if not is_fence(segment):
            folded.segments += 1
            folded.last_name = segment.name
    if folded.segments:
        folded.state = state_of(Log(fold.steps.items()), extra=fold.extra)
    return folded


def _order(name: str, segment: Record) -> int:
    # What is in no slot comes first, as it came: it only tells that a state was saved once more, or is as old.
    slot = slot_of(name, segment.name)
    return -1 if slot is None else slot


class Whole:
    """Reads steps with their values.

    Parameters
    ----------
    name
        Name of the log.
    parts
        The parts of large values, by `DIGEST.NUMBER`.
    """

    def __init__(self, name: str, parts: Mapping[str, bytes]) -> None:
        self._name = name
        self._parts = parts

    def verify(self, segment: Record) -> bool:
        """Tell whether somebody trusted has signed a segment for its place."""
        from awaitly_nb.codec import default_keyring

        head = segment.head
        if not head.startswith(_SIGNATURE, -_TAIL):
            return False
        secret = default_keyring().find(str(json.loads(head).get("secret")))
        if secret is None:
            return False
        text, body = f"{head[:-_TAIL]}}}", bytes(segment.body or b"")
        if not secret.verify(head[-34:-2], _DOMAIN, segment.name.encode(), text.encode(), body):
            raise StateError("a segment of the stored state is not what was signed for its place; it was not decoded")
        return True

    def entry(self, step: Mapping[str, Any], *, pickles: bool) -> tuple[str, StepEntry] | None:
        """Return the key and the entry of a step; None, with a warning, where its large value is missing."""
        if isinstance(step, dict) and "stored" in step:
            step = dict(step)
            reference = step.pop("stored")
            pieces = [self._parts.get(f"{reference['digest']}.{number}") for number in range(reference["parts"])]
            content = b"".join(piece for piece in pieces if piece is not None)
            if _digest(content) != reference["digest"]:
                warn(
                    f"the large value of step {step.get('key')!r} is missing or damaged in the store; the step runs "
                    "again",
                    DamagedEntryWarning,
                )
                return None
            step["value"] = json.loads(content)
        if not pickles and holds_pickle(step):
            raise StateError(
                f"step {step.get('key')!r} has a pickled value that nobody trusted here has signed for its place, and "
                "nothing was unpickled; see `awaitly-nb trust`"
            )
        return entry_from_data(step, name=self._name)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutline:
    """What is known of one finished step without decoding its value.

    Attributes
    ----------
    key, step_id
        Which step; the id is None where nobody wrote it down.
    ok
        False for a failed step.
    at
        When it finished, aware UTC, or None.
    duration_s
        Seconds it took, or None.
    size_bytes
        Size of its value or failure, as it is stored.
    shown
        The beginning of its value or failure, as text.
    """

    key: str
    step_id: str | None
    ok: bool
    at: datetime | None
    duration_s: float | None
    size_bytes: int
    shown: str

    @staticmethod
    def of(key: str, entry: StepEntry) -> StepOutline:
        """Return the outline of an entry that `Brief` has read."""
        told = entry.result.value if entry.result.ok else entry.result.error
        return StepOutline(
            key=key, step_id=entry.step_id, ok=entry.ok, at=entry.at, duration_s=entry.duration_s, **told
        )


class Brief:
    """Reads steps with a few words in place of their values: no value is decoded, and no large one is read.

    Parameters
    ----------
    parts
        Names of the parts of large values that there are.
    """

    def __init__(self, parts: Collection[str]) -> None:
        self._parts = parts

    def verify(self, segment: Record) -> bool:  # noqa: ARG002 - the reader's verb
        """Tell that nothing is decoded, whoever has signed it."""
        return False

    def entry(self, step: Mapping[str, Any], *, pickles: bool) -> tuple[str, StepEntry] | None:  # noqa: ARG002 - as above
        """Return the key of a step and its entry, whose value is a size and a text."""
        rest = {name: value for name, value in step.items() if name not in ("value", "failure", "stored")}
        if isinstance(stored := step.get("stored"), dict):
            names = {f"{stored.get('digest')}.{number}" for number in range(int(stored.get("parts", 0)))}
            there = names <= set(self._parts)
            shown = "a large value" if there else "a large value, which is missing: the step runs again"
            return entry_from_data({**rest, "value": {"size_bytes": stored.get("size_bytes", 0), "shown": shown}})
        if step.get("ok") is True:
            return entry_from_data({**rest, "value": _told(step.get("value"), _plain(step.get("value")))})
        failure = step.get("failure")
        return entry_from_data({**rest, "failure": {"error": {"value": _told(failure, _failure(failure))}}})


def _told(written: Any, shown: Any) -> dict[str, Any]:  # Any: JSON data
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    size = len(json.dumps(written, separators=(",", ":")))
    return {"size_bytes": size, "shown": text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."}


def _failure(data: Any) -> Any:
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict) and isinstance(exception := error.get("exception"), dict):
        return f"{exception.get('type')}: {exception.get('message')}"
    return _plain(error.get("value")) if isinstance(error, dict) else ""


def _plain(data: Any) -> Any:
    """Return the written form of a value as people read it: without tags, and pickles named only."""
    if isinstance(data, list):
        return [_plain(item) for item in data]
    if not isinstance(data, dict):
        return data
    if _TAG not in data:
        return {key: _plain(item) for key, item in data.items()}
    if data[_TAG] == "dict":
        return {str(_plain(key)): _plain(item) for key, item in data.get("items", ())}
    if data[_TAG] == "pickle":
        return "(pickled)"
    return next((_plain(data[name]) for name in ("items", "text", "parts") if name in data), f"({data[_TAG]})")
