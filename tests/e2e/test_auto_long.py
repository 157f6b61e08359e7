"""Notebooks that take minutes and hold no magic but the first line: warm they take seconds, and nothing differs.

They lie in `long/`, cells separated by `# %%`. The tests run one with a small `SCALE`, and all of them so with
AWAITLY_NB_LONG=1. To run them as they are:

    python -m tests.e2e.test_auto_long [NAME ...]
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import pytest

from awaitly_nb.notebook.audit import _run, audit_sources
from tests.e2e.kernels import kernel

LONG = sorted((Path(__file__).parent / "long").glob("*.cells"))
SMALL = 0.01

pytestmark = pytest.mark.slow


def cells_of(path, scale):
    text = path.read_text(encoding="utf-8").replace("SCALE = 1.0", f"SCALE = {scale}")
    return [cell.rstrip() for cell in re.split(r"^# %%\n", text, flags=re.MULTILINE)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AWAITLY_NB_AUTO", "1")
    monkeypatch.setenv("AWAITLY_NB_AUTO_MIN", "0.2")  # as small as the notebooks are made
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", LONG if os.environ.get("AWAITLY_NB_LONG") else LONG[-1:], ids=lambda path: path.stem)
def test_served_from_the_cache_it_ends_as_a_plain_run(path, folder):
    cells = cells_of(path, SMALL)
    assert _run(cells, folder, live=False)[-1]["error"] is None
    report = audit_sources(cells, folder)
    assert report.findings == (), str(report)
    assert report.unsteady == (), str(report)
    assert report.hits >= 1, str(report)


def measured(path, scale=1.0):
    """Run one notebook cold, warm in a new kernel, and compared with a plain run; print what each took.

    The seconds begin with the first cell, in a kernel that runs; that one holds the extension and matplotlib, and the
    second the imports.
    """
    cells = cells_of(path, scale)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as after `pip install`, what is imported stays compiled
    with tempfile.TemporaryDirectory() as top:
        for word in ("cold", "warm", "warm again"):
            with kernel(Path(top), extension=False, AWAITLY_NB_AUTO="1") as one:
                took, hits = [], 0
                for cell in cells:
                    began = time.perf_counter()
                    shown = one.run(cell)
                    took.append(time.perf_counter() - began)
                    hits += any(": from cache" in str(output.get("data")) for output in shown.outputs)
            parts = f"extension {took[0]:.1f} s, imports {took[1]:.1f} s, slowest other {max(took[2:]):.1f} s"
            print(f"{path.stem}: {word}: {sum(took):.1f} s, {hits} hits: {parts}", flush=True)
        os.environ.update(AWAITLY_NB_CACHE_DIR=f"{top}/.awaitly", AWAITLY_NB_AUTO="1")
        print(path.stem, audit_sources(cells, Path(top)), flush=True)


if __name__ == "__main__":
    for one in LONG:
        if not sys.argv[1:] or one.stem in sys.argv[1:]:
            measured(one)
