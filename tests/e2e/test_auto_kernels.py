"""Automatic mode in every kernel that counts: the same keys, the same hits, and Stop."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import nbformat
import pytest

from awaitly_nb import create_disk_cache
from tests.e2e.browser.ipykernels import add_kernelspec
from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(600)]

CELLS = [
    "%load_ext awaitly_nb",
    "n = 40",
    "# awaitly: cache\nrows = [i * n for i in range(n)]\nprint('made', len(rows))",
    "# awaitly: cache\ntotal = sum(rows)\ntotal",
    "import asyncio",
    "# awaitly: cache\nawait asyncio.sleep(0)\nlate = {'total': total}",
    "print(late)",
]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AWAITLY_NB_AUTO", "1")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    path = tmp_path / "n.ipynb"
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def keys(tmp_path):
    return sorted(create_disk_cache(tmp_path / "cache", namespace="auto").keys())


def ran(path, *, kernel_name="python3"):
    """Run a notebook with nbclient; return how many of its cells were computed, how many hit, and what it printed."""
    import nbclient

    nb = nbformat.read(path, 4)
    nbclient.NotebookClient(nb, kernel_name=kernel_name, resources={"metadata": {"path": str(path.parent)}}).execute()
    return told_of(nb)


def told_of(nb):
    outputs = [output for cell in nb.cells if cell.cell_type == "code" for output in cell.outputs]
    badges = [output["data"].get("text/plain", "") for output in outputs if "awaitly-badge" in str(output.get("data"))]
    printed = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
    return sum(": computed in" in one for one in badges), sum(": from cache" in one for one in badges), printed


def test_other_kernels_nbclient_and_papermill_hit_what_one_has_stored(notebook, tmp_path):
    printed = "made 40\n{'total': 31200}\n"
    assert ran(notebook) == (3, 0, printed)
    stored = keys(tmp_path)
    assert len(stored) == 3
    for version in ("6.31", "7.3", "7.4"):
        name = add_kernelspec(tmp_path / "jupyter", version)
        assert ran(notebook, kernel_name=name) == (0, 3, printed), version
    out = tmp_path / "papermill.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook), str(out), "--cwd", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
    assert told_of(nbformat.read(out, 4)) == (0, 3, printed)
    assert keys(tmp_path) == stored


@pytest.mark.parametrize("version", ["6.31", "7.3", "7.4"])
@pytest.mark.parametrize("waits", [False, True], ids=["blocking", "awaiting"])
def test_stop_ends_a_cell_and_what_was_finished_stays(tmp_path, monkeypatch, waits, version):
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    with kernel(tmp_path, name=add_kernelspec(tmp_path / "jupyter", version), AWAITLY_NB_AUTO="1") as one:
        assert version in one.run("import ipykernel; print(ipykernel.__version__)").text
        one.run("# awaitly: cache\nfirst = [1]")
        wait = "import asyncio\nawait asyncio.sleep(600)" if waits else "from threading import Event\nEvent().wait(600)"
        cell = one.start(f"# awaitly: cache\nprint('begun', flush=True)\n{wait}\nsecond = [2]")
        one.wait_for(cell, "begun")
        one.stop()
        shown = one.finish(cell)
        assert shown.status == "error"
        assert "from cache" in one.run("# awaitly: cache\nfirst = [1]").badge
        assert one.attempt("second").error == "NameError"
    with contextlib.suppress(FileNotFoundError):
        assert len(create_disk_cache(tmp_path / ".awaitly", namespace="auto").keys()) == 1
