"""A stored state as it looks from outside: which steps, how each ended, how old and how large.

Loading a state rebuilds its values, and that may run pickles. Here each value is replaced by a few words about it
before the records reach the code that loads states: the same rules decide which outcomes stand, and nothing is decoded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from awaitly_nb.errors import StateError
from awaitly_nb.states.blocking import BlockingStates
from awaitly_nb.states.wire import dump_json, load_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from awaitly_nb.stores import Record, Store

__all__ = ["StepOutline", "outline"]

_PART = "="
"""Begins the last part of the name of a large value's record, as `blocking` writes it."""

_TAG = "$awaitly"
_SHOWN = 200


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


def outline(records: Store, id: str) -> list[StepOutline] | None:  # noqa: A002 - the API's name
    """Return the steps of the state kept under `id`, in completion order, or None where there is none.

    Raises
    ------
    StoreError
        The database could not do it, or the state is unreadable.
    """
    state = BlockingStates(cast("Store", _Outlined(records))).load(id)
    if state is None:
        return None
    found = []
    for key, entry in state.steps.items():
        brief = entry.result.value if entry.result.ok else entry.result.error
        found.append(
            StepOutline(
                key=key,
                step_id=entry.step_id,
                ok=entry.ok,
                at=entry.at,
                duration_s=entry.duration_s,
                size_bytes=brief["size_bytes"],
                shown=brief["shown"],
            )
        )
    return found


class _Outlined:
    """A store whose segments tell of values in place of holding them; large values are not even read."""

    def __init__(self, records: Store) -> None:
        self._records = records

    def __getattr__(self, name: str) -> Any:  # Any: the store's other methods
        return getattr(self._records, name)

    def scan(self, prefix: str = "", *, bodies: bool = False) -> Iterator[Record]:
        heads = list(self._records.scan(prefix))
        parts = {head.name for head in heads if head.name[len(prefix) :].startswith(_PART)}
        if not bodies:
            segments: Iterator[Record | None] = iter(heads)
        elif parts:
            segments = (self._records.read(head.name) for head in heads if head.name not in parts)
        else:
            segments = iter(self._records.scan(prefix, bodies=True))
        for segment in segments:
            if segment is not None:
                yield _outlined(segment, {name[len(prefix) + len(_PART) :] for name in parts}) if bodies else segment


def _outlined(segment: Record, parts: set[str]) -> Record:
    try:
        data = load_json(bytes(segment.body or b""))
    except StateError:
        return segment  # whoever folds it tells what is wrong
    steps = data.get("steps")
    if isinstance(steps, list):
        data["steps"] = [_step(step, parts) if isinstance(step, dict) else step for step in steps]
    return replace(segment, body=dump_json(data).encode())


def _step(step: dict[str, Any], parts: set[str]) -> dict[str, Any]:
    kept = {name: value for name, value in step.items() if name not in ("value", "failure", "stored")}
    if isinstance(stored := step.get("stored"), dict):
        names = {f"{stored.get('digest')}.{number}" for number in range(int(stored.get("parts", 0)))}
        shown = "a large value" if names <= parts else "a large value, which is missing: the step runs again"
        return {**kept, "value": {"size_bytes": stored.get("size_bytes", 0), "shown": shown}}
    if step.get("ok") is True:
        return {**kept, "value": _brief(step.get("value"), _plain(step.get("value")))}
    failure = step.get("failure")
    return {**kept, "failure": {"error": {"value": _brief(failure, _failure(failure))}}}


def _brief(written: Any, shown: Any) -> dict[str, Any]:  # Any: JSON data
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
