"""What programs get: `plan`, `why`, `status`, `keys` and `run` as JSON documents of one versioned schema.

`schema.json` beside this file is the schema. Each document says its `schema` (the version) and its `kind`. A field may
be added within a version; one that goes, or means something else, makes a new one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.plans import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitly_nb.cache import Entry
    from awaitly_nb.cli.headless import RunReport
    from awaitly_nb.manage import Explanation, NameStatus

__all__ = ["keys_document", "run_document", "schema", "status_document", "why_document"]

# Any, throughout: plain JSON data.


def schema() -> dict[str, Any]:
    """Return the JSON Schema that all these documents satisfy, and those of `Plan.to_dict` too."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    return found


def keys_document(found: Sequence[Entry]) -> dict[str, Any]:
    """Return cached keys, the oldest first."""
    from awaitly_nb.manage import entry_data

    return _document("keys", {"keys": [entry_data(entry) for entry in found]})


def status_document(found: Sequence[NameStatus]) -> dict[str, Any]:
    """Return one row for each cell, function and step."""
    return _document("status", {"status": [one.to_dict() for one in found]})


def why_document(found: Explanation) -> dict[str, Any]:
    """Return why something was computed last."""
    return _document("why", found.to_dict())


def run_document(report: RunReport) -> dict[str, Any]:
    """Return how a run of a notebook ended."""
    return _document("run", report.to_dict())


def _document(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA_VERSION, "kind": kind, **content}
