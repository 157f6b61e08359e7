"""`@aw.step` where a function runs in other processes: joblib, dask and spawned workers share one cache."""

from __future__ import annotations

import subprocess
import sys

import pytest

import awaitly_nb as aw

pytestmark = pytest.mark.slow

# As in a notebook, the function is defined in `__main__`, so that no worker can import it by name.
_SCRIPT = """
import os, sys
import awaitly_nb as aw

log = sys.argv[1]
offset = 100

def helper(x):
    return x + offset

@aw.step(name="work")
def work(x):
    line = f"{x}\\n".encode()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line)
    os.close(descriptor)
    return helper(x)

if __name__ == "__main__":
    assert work(0) == 100
    expected = [100 + x for x in range(6)]
    for _ in range(2):
        results = run_everywhere(work, range(6))
        assert results == expected, results
    assert [work(x) for x in range(6)] == expected
"""

_JOBLIB = """
def run_everywhere(fn, items):
    from joblib import Parallel, delayed
    return Parallel(n_jobs=2)(delayed(fn)(x) for x in items)
"""

_DASK = """
def run_everywhere(fn, items):
    import dask
    from distributed import Client, LocalCluster
    dask.config.set({"distributed.worker.daemon": False})
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        return client.gather(client.map(fn, list(items), pure=False))
"""

_EXECUTOR = """
def run_everywhere(fn, items):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        return list(pool.map(fn, items))
"""


@pytest.mark.parametrize("where", [_JOBLIB, _DASK, _EXECUTOR], ids=["joblib", "dask", "forked pool"])
def test_workers_fill_and_use_the_cache_of_the_notebook(tmp_path, where):
    if where is _EXECUTOR and sys.platform == "win32":
        pytest.skip("Windows cannot fork")
    if where is _DASK:
        pytest.importorskip("distributed")
    script, log = tmp_path / "notebook.py", tmp_path / "log"
    script.write_text(where + _SCRIPT)
    done = subprocess.run([sys.executable, str(script), str(log)], timeout=240, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3", "4", "5"]
    assert len(aw.create_disk_cache(namespace="work").keys()) == 6
