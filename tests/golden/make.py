"""Write the frozen folder of the present format: `python -m tests.golden.make`, once for each format version.

What is written here is read by `tests/unit/cache/test_golden.py` for ever: never write over a folder that is there.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

SECRET = "golden"
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def results():
    """The results that each format version has, by key."""
    from awaitly_nb.result import Err, Mark, Ok, with_mark

    mark = Mark(step_id="fetch", workflow="report", at=AT, duration_s=1.5, code="c0de", parts={"name": "fetch"})
    return {
        "plain": with_mark(Ok({"n": (1, 2.5, None), "text": "Käse", "big": 2**70}), mark),
        "decimal": Ok(Decimal("1.50")),
        "array": Ok(np.arange(6000.0).reshape(60, 100)),
        "instants": Ok(np.arange(9000).astype("datetime64[s]")),
        "err": with_mark(Err("NOT_FOUND", cause=ValueError("no such user")), mark),
        "err dict": Err({"type": "NOT_FOUND", "ids": (1, 2)}),
        "large": Ok(np.zeros(140_000)),
        "parted": with_mark(Ok("x"), Mark(at=AT, files=({"path": "data.csv", "size": 3},))),
    }


def main() -> None:
    """Write the folder."""
    os.environ["AWAITLY_NB_SECRET"] = SECRET
    from awaitly_nb import cache as caches
    from awaitly_nb.cache.folder import forget_folders
    from awaitly_nb.codec.envelope import SCHEMA

    folder = Path(__file__).parent / f"entries-v{SCHEMA}"
    if folder.exists():
        sys.exit(f"{folder} is there already; a format version is written once")
    cache = caches.create_disk_cache(folder, namespace="golden")
    for key, result in results().items():
        cache.set(key, result)
    forget_folders()
    for name in (".gitignore", "CACHEDIR.TAG", "cache.db-locks"):
        (folder / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
