"""What a plan costs: no kernel, no unpickling, half a second for 200 cells, and memory that values do not count in."""

import json
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.keys import cell_parts, part_digest
from awaitly_nb.plans import plan
from awaitly_nb.result import Mark, with_mark


def stored(folder, cells, *, size=0, limit=None):
    """Run cells named c0, c1, ... and store what they left, as cells do; each value is followed by `size` bytes."""
    names = {"__name__": "__main__"}
    for index, source in enumerate(cells[:limit]):
        parts = cell_parts(source, names, name=f"c{index}")
        exec(source, names)
        mark = Mark(
            step_id=f"c{index}",
            workflow=f"c{index}",
            at=datetime.now(UTC),
            duration_s=60.0,
            parts=parts.to_data(),
            made={"vars": {f"v{index}": part_digest(f"v{index}", names[f"v{index}"])}},
        )
        value = aw.Ok((names[f"v{index}"], np.zeros(size, np.uint8)))
        aw.create_disk_cache(folder, namespace=f"c{index}").set(parts.key, with_mark(value, mark))


def notebook(folder, cells):
    path = folder / "n.ipynb"
    sources = [f"%%awaitly c{index}\n{cell}" for index, cell in enumerate(cells)]
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": s} for s in sources], "nbformat": 4}))
    return path


def chain(count):
    return ["v0 = [1, 2]", *(f"v{n} = [*v{n - 1}[-2:], {n}, v{n // 2}[0]]" for n in range(1, count))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    return tmp_path / "cache"


def test_two_hundred_cells_take_half_a_second(folder, tmp_path):
    cells = chain(200)
    stored(folder, cells)
    path = notebook(tmp_path, cells)
    best = float("inf")
    for _ in range(3):  # of a machine that does other things, too
        began = time.process_time()
        found = plan(path, directory=folder)
        best = min(best, time.process_time() - began)
    assert found.total.hit == 200
    assert best <= 0.5


def test_memory_does_not_grow_with_the_values(folder, tmp_path):
    peaks = []
    for size in (10, 20_000_000):
        cells = chain(4)
        stored(folder / str(size), cells, size=size)
        path = notebook(tmp_path, cells)
        plan(path, directory=folder / str(size))  # what is imported once
        tracemalloc.start()
        assert plan(path, directory=folder / str(size)).total.hit == 4
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


class Planted:
    def __reduce__(self):
        return (open, (os.environ["PLANTED"], "w"))


def test_no_process_starts_and_no_planted_pickle_runs(folder, tmp_path, monkeypatch):
    cells = chain(6)
    stored(folder, cells, size=300_000)
    monkeypatch.setenv("PLANTED", str(tmp_path / "it-ran"))
    planted = pickle.dumps(Planted())
    pickle.loads(planted).close()  # it would
    assert (tmp_path / "it-ran").exists()
    (tmp_path / "it-ran").unlink()
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".db", ".db-wal", ".db-shm")]
    assert len(files) > 6  # value files among them
    for path in files:
        path.write_bytes(planted)
    for name in ("n.pkl", "notes.jsonl", "helper.pickle"):
        (folder / name).write_bytes(planted)
    rows_planted(folder, planted)
    started = []
    sys.addaudithook(lambda event, args: started.append(event) if event in _FORBIDDEN and started is not None else None)
    found = plan(notebook(tmp_path, [*cells, "v9 = len(v5)"]), directory=folder)
    assert len(found.cells) == 7
    assert not started
    assert not (tmp_path / "it-ran").exists()


_FORBIDDEN = ("pickle.find_class", "subprocess.Popen", "os.posix_spawn", "os.fork", "socket.connect")


def rows_planted(folder, planted):
    import sqlite3
    from contextlib import closing

    (database,) = folder.rglob("cache.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE Cache SET value = ? WHERE value IS NOT NULL", (planted,))


def test_a_plan_loads_neither_ipython_nor_pandas_nor_what_the_notebook_imports(folder, tmp_path):
    stored(folder, chain(3))
    (tmp_path / "own_module.py").write_text("open('imported', 'w').close()\ndef f(x):\n    return x\n")
    path = notebook(tmp_path, [*chain(3), "import own_module, pandas\nv3 = own_module.f(v2)"])
    code = (
        f"import sys, awaitly_nb as aw; aw.plan({str(path)!r}, directory={str(folder)!r});"
        "print(sorted({'IPython', 'pandas', 'numpy', 'own_module', 'jupyter_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "[]"
    assert not Path(tmp_path, "imported").exists()
