"""Write the frozen folder and the frozen bundle of the present formats: `python -m tests.golden.make`.

Once for each format version. What is written here is read for ever, by `tests/unit/cache/test_golden.py` and
`tests/unit/share/test_packing.py`: never write over what is there.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SECRET = "golden"
PRIVATE = bytes(range(32))
NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
BUNDLED = ("plain", "array", "parted")
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
    """Write what is not there yet."""
    os.environ["AWAITLY_NB_SECRET"] = SECRET
    from awaitly_nb.codec.envelope import SCHEMA

    written = [write_folder(HERE / f"entries-v{SCHEMA}"), write_bundle(HERE / "bundle-v1.awaitly")]
    if not any(written):
        sys.exit("all is there already; a format version is written once")


def write_folder(folder):
    """Write the folder of entries; return whether it was not there."""
    if folder.exists():
        return False
    from awaitly_nb import cache as caches
    from awaitly_nb.cache.folder import forget_folders

    cache = caches.create_disk_cache(folder, namespace="golden")
    for key, result in results().items():
        cache.set(key, result)
    forget_folders()
    for name in (".gitignore", "CACHEDIR.TAG", "cache.db-locks", "cache.db-queue"):
        (folder / name).unlink(missing_ok=True)
    return True


def write_bundle(file):
    """Write the bundle of a notebook and some entries; return whether it was not there."""
    if file.exists():
        return False
    import tempfile

    from awaitly_nb.cache import export_entries
    from awaitly_nb.cache.folder import forget_folders
    from awaitly_nb.codec import Identity
    from awaitly_nb.share import pack

    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder, "cache"))
        wanted = [("golden", key) for key in BUNDLED]
        entries = ((entry.key, entry) for entry in export_entries(Path(folder, "cache"), wanted))
        pack(file, NOTEBOOK, entries, name="golden.ipynb", identity=Identity(PRIVATE), made={"python": "3.12"})
        forget_folders()
    return True


if __name__ == "__main__":
    main()
