"""Notebooks that take minutes and hold no magic but the first line: warm they take seconds, and nothing differs.

They lie in `long/`, cells separated by `# %%`. The tests run one with a small `SCALE`, and all of them so with
AWAITLY_NB_LONG=1. To run them as they are:

    python -m tests.e2e.test_auto_long [NAME ...]
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

from awaitly_nb.notebook.audit import _run, audit_sources

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


def measured(path):
    """Run one notebook as it is: cold, warm in a new kernel, and compared with a plain run; print what each took."""
    cells = cells_of(path, 1.0)
    with tempfile.TemporaryDirectory() as top:
        env = {**os.environ, "AWAITLY_NB_CACHE_DIR": f"{top}/cache", "AWAITLY_NB_AUTO": "1"}
        notebook = Path(top, f"{path.stem}.ipynb")
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=code), notebook)
        command = [sys.executable, "-c", "from awaitly_nb.cli import main; main()", "run", str(notebook), "--json"]
        for word in ("cold", "warm", "warm again"):
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            took = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            told = json.loads(done.stdout)
            counts = f"{told['hit']} hits, {told['computed']} computed"
            print(f"{path.stem}: {word}: {told['ending']}, {counts}, {took:.1f} s, {cpu:.1f} s of CPU", flush=True)
        os.environ.update(AWAITLY_NB_CACHE_DIR=f"{top}/cache", AWAITLY_NB_AUTO="1")
        print(path.stem, audit_sources(cells, Path(top)), flush=True)


if __name__ == "__main__":
    for one in LONG:
        if not sys.argv[1:] or one.stem in sys.argv[1:]:
            measured(one)
