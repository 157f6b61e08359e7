"""Notices keys that are new in every run, as with a timestamp in them: such a step pays for storing and never hits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import code_mark, fingerprint, step_parts

if TYPE_CHECKING:
    from awaitly_nb.engine.options import StepSpec

__all__ = ["KeyWatch"]

_RUNS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class _Seen:
    run_id: str
    key: str
    misses: int
    fingerprint: str | None


class KeyWatch:
    """Remembers, per step id of one workflow, in how many runs in a row only the key was new."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def hit(self, step_id: str) -> None:
        """Forget a step: its key was found again."""
        if self._seen:
            self._seen.pop(step_id, None)

    def missed(self, run_id: str, spec: StepSpec) -> bool:
        """Take in a miss under a key never seen before; True when the key looks unstable, once per step."""
        assert spec.key is not None
        where = spec.step_id
        before = self._seen.get(where)
        if before is None or before.key == spec.key:
            self._seen[where] = _Seen(run_id, spec.key, 1, None)
            return False
        if before.run_id == run_id:
            # One id with a key per item, as in a loop: different keys are the point there.
            del self._seen[where]
            return False
        # Fingerprinting arguments may cost; only a step that already looks odd pays for it.
        fingerprint = _fingerprint(spec)
        same = fingerprint is not None and before.fingerprint in (None, fingerprint)
        misses = before.misses + 1 if same else 1
        self._seen[where] = _Seen(run_id, spec.key, misses, fingerprint)
        return misses == _RUNS_IN_A_ROW


def _fingerprint(spec: StepSpec) -> str | None:
    """Return what stays the same while code and arguments do; those of a thunk are the values that it closes over."""
    try:
        if spec.args or spec.kwargs:
            return code_mark(spec.fn) + fingerprint((spec.args, dict(spec.kwargs)), path=spec.step_id)
        return step_parts(spec.fn, (), {}, name=spec.step_id).key
    except UnkeyableError:
        return None
