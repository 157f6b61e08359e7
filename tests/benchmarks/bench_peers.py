"""The same three things through the caches that people use in notebooks today, and through ours beside them.

Peers are asked for in the extra `bench`; one that is not installed is left out. Each is used as its manual shows: a
decorated function, its cache on disk. A ratio is our time to the peer's, so that under 1 means that we are faster.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import awaitly_nb as aw
from tests.benchmarks.measure import SMALL, Row, compare, in_process, line_of, ratio_of, row, run_parts

Call = Callable[[int], Any]  # Any: what the cached function returns


def small(seed: int) -> dict[str, Any]:
    """Return a small value."""
    return {**SMALL, "id": seed}


def large(seed: int) -> np.ndarray:
    """Return 256 MB of doubles."""
    return np.random.default_rng(seed).random(33_554_432)


_MARIMO = """
import marimo

app = marimo.App()

@app.cell
def _():
    import marimo as mo
    from tests.benchmarks.bench_peers import large, small
    return large, mo, small

@app.cell
def _(mo, small):
    @mo.persistent_cache(save_path={folder!r})
    def small_kept(seed):
        return small(seed)
    return (small_kept,)

@app.cell
def _(mo, large):
    @mo.persistent_cache(save_path={folder!r})
    def large_kept(seed):
        return large(seed)
    return (large_kept,)
"""


def _ours(folder: Path) -> tuple[Call, Call]:
    aw.configure(cache_dir=folder)
    return aw.step(small), aw.step(large)


def _joblib(folder: Path) -> tuple[Call, Call]:
    memory = importlib.import_module("joblib").Memory(folder, verbose=0)
    return memory.cache(small), memory.cache(large)


def _diskcache(folder: Path) -> tuple[Call, Call]:
    cache = importlib.import_module("diskcache").Cache(os.fspath(folder), size_limit=2**40)
    return cache.memoize()(small), cache.memoize()(large)


def _cachier(folder: Path) -> tuple[Call, Call]:
    cachier = importlib.import_module("cachier").cachier
    return cachier(cache_dir=folder)(small), cachier(cache_dir=folder)(large)


def _marimo(folder: Path) -> tuple[Call, Call]:
    importlib.import_module("marimo")  # its cache works in an app only
    logging.disable(logging.WARNING)
    folder.mkdir(exist_ok=True)
    (folder / "marimo_app.py").write_text(_MARIMO.format(folder=os.fspath(folder)))
    sys.path.insert(0, os.fspath(folder))
    try:
        _, defined = importlib.import_module("marimo_app").app.run()
    finally:
        sys.path.remove(os.fspath(folder))
        sys.modules.pop("marimo_app", None)
    return defined["small_kept"], defined["large_kept"]


PEERS = {"diskcache": _diskcache, "joblib": _joblib, "marimo": _marimo, "cachier": _cachier}

_FACES = {
    "awaitly_nb": "import awaitly_nb as aw\naw.configure(cache_dir={folder!r})\nkeep = aw.step",
    "joblib": "import joblib\nkeep = joblib.Memory({folder!r}, verbose=0).cache",
    "cachier": "import cachier\nkeep = cachier.cachier(cache_dir={folder!r})",
}
_FACE = "{keep}\n@keep\ndef small(seed):\n    return {{'id': seed, 'name': 'x' * 100}}\n\nassert small(1)['id'] == 1\n"
_FRESH = """
import sys, time
sys.path.insert(0, sys.argv[1])
start = time.perf_counter()
import face
print(time.perf_counter() - start)
"""


def _fresh(name: str, folder: Path) -> float:
    """Return the seconds from nothing to a first hit, in a new process."""
    face = folder / f"fresh-{name}"
    if not face.exists():
        face.mkdir()
        keep = _FACES[name].format(folder=os.fspath(face / "cache"))
        (face / "face.py").write_text(_FACE.format(keep=keep))
        in_process(_FRESH, face)
    return in_process(_FRESH, face)[0]


def peers(folder: Path) -> Iterator[Row]:
    """A small value that hits again, a small value in a fresh process, 256 MB loaded and summed."""
    ours_small, ours_large = _ours(folder / "ours")
    ours_small(1), ours_large(1)
    for name, make in PEERS.items():
        if importlib.util.find_spec(name) is None:
            continue
        small_kept, large_kept = make(folder / name)
        small_kept(1), large_kept(1)

        def sum_of(call: Call) -> Callable[[], object]:
            return lambda: call(1).sum()

        # diskcache looks neither at the code nor at what it reads: a wrong answer can be had sooner.
        at_most = 3.0 if name == "diskcache" else 1.0
        hit = compare(lambda: ours_small(1), lambda kept=small_kept: kept(1), rounds=21, loops=20)  # type: ignore[misc]
        yield row(f"small value, hit of a decorated function, to {name}", at_most, hit)
        sums = compare(sum_of(ours_large), sum_of(large_kept), rounds=3)
        yield row(f"256 MB array, load and sum, to {name}", 1.0, sums)
        if name in _FACES:
            pairs = [(_fresh("awaitly_nb", folder), _fresh(name, folder)) for _ in range(5)]
            yield row(f"fresh process, from import to first hit, to {name}", 1.0, ratio_of(pairs))


PARTS = (peers,)


def run(*wanted: str) -> Iterator[Row]:
    """Measure everything, or the parts that are named."""
    return run_parts(PARTS, wanted)


if __name__ == "__main__":
    for found in run(*sys.argv[1:]):
        print(line_of(found), flush=True)
