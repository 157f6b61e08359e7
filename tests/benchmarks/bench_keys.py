"""What a fingerprint costs, as ratios to a yardstick measured beside it in the same run.

`python -m tests.benchmarks.bench_keys` prints them; `run()` returns them for a test or a page.
"""

from __future__ import annotations

import contextlib
import ctypes
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from awaitly_nb.keys import fingerprint
from tests.benchmarks.measure import Row, compare, line_of, row

ROUNDS = 7


def run() -> list[dict[str, Any]]:
    """Return one record per measure: `name`, `ratio`, `at_most`, `detail`."""
    return [array_memory(), frame_memory(), array_speed(), frame_speed(), rows_speed(), words_speed(), hit_speed()]


def array_speed() -> dict[str, Any]:
    """A 256 MB float64 array against one `xxh3_128` pass over its bytes."""
    import numpy as np
    import xxhash

    array = np.random.default_rng(0).random(32 * 1024 * 1024)
    return _ratio(
        "fingerprint of 256 MB float64 / one xxh3_128 pass",
        lambda: fingerprint(array),
        lambda: xxhash.xxh3_128(array.data).hexdigest(),
        at_most=1.3,
    )


def frame_speed() -> dict[str, Any]:
    """A mixed frame of 1,000,000 rows against `joblib.hash`."""
    import joblib

    frame = mixed_frame()
    return _ratio(
        "fingerprint of a mixed frame of 1,000,000 rows / joblib.hash",
        lambda: fingerprint(frame),
        lambda: joblib.hash(frame),
        at_most=0.2,
        rounds=3,
    )


def rows_speed() -> dict[str, Any]:
    """A list of 200,000 dicts of three fields against `pickle.dumps`."""
    rows = [{"id": i, "name": f"user {i}", "score": i / 2} for i in range(200_000)]
    return _ratio(
        "fingerprint of 200,000 dicts of three fields / pickle.dumps",
        lambda: fingerprint(rows),
        lambda: pickle.dumps(rows, 5),
        at_most=1.5,
    )


def words_speed() -> dict[str, Any]:
    """A set of a million words against `pickle.dumps`."""
    words = {f"{i * 7919 % 1_000_003:x} word" for i in range(1_000_000)}
    return _ratio(
        "fingerprint of a set of 1,000,000 words / pickle.dumps",
        lambda: fingerprint(words),
        lambda: pickle.dumps(words, 5),
        at_most=1.5,
    )


def array_memory() -> dict[str, Any]:
    """Memory above the value while an array is read, also one that is not contiguous."""
    import numpy as np

    array = np.random.default_rng(0).random((4096, 8192))
    return _memory(
        "MB above a 256 MB array, transposed and strided", lambda: [fingerprint(array.T), fingerprint(array[:, ::2])]
    )


def frame_memory() -> dict[str, Any]:
    """Memory above the value while a mixed frame is read."""
    frame = mixed_frame()
    return _memory("MB above a mixed frame of 1,000,000 rows", lambda: fingerprint(frame))


def hit_speed() -> dict[str, Any]:
    """A decorated call that hits, with an int and a short string, against `diskcache.Cache.get` of the same value."""
    import diskcache

    import awaitly_nb as aw

    def step(number: int, name: str) -> str:
        return f"{number} {name}"

    with tempfile.TemporaryDirectory() as folder, diskcache.Cache(folder) as peer:
        cached = aw.step(step, cache=aw.create_disk_cache(Path(folder) / "ours"))
        cached(3, "name")
        peer.set("key", step(3, "name"))
        return _ratio(
            "decorated call that hits / diskcache.Cache.get",
            lambda: cached(3, "name"),
            lambda: peer.get("key"),
            at_most=3.0,
            rounds=1500,
        )


def mixed_frame(rows: int = 1_000_000) -> Any:
    """Return a frame of 3 float, 2 int, 2 str, 1 datetime and 1 category columns."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(0)
    words = np.array([f"word {i}" for i in range(5000)], dtype=object)
    return pd.DataFrame(
        {
            "x": random.random(rows),
            "y": random.normal(size=rows),
            "z": random.random(rows).round(2),
            "i": np.arange(rows),
            "j": random.integers(0, 100, rows),
            "s": pd.Series(words[random.integers(0, 5000, rows)]).astype("str"),
            "t": pd.Series(words[random.integers(0, 50, rows)]).astype("str"),
            "at": pd.date_range("2026", periods=rows, freq="s"),
            "kind": pd.Categorical(random.choice(["a", "b", "c"], rows)),
        }
    )


def _ratio(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], *, at_most: float, rounds: int = ROUNDS
) -> Row:
    """Compare both once they are warm."""
    ours(), theirs()
    return row(name, at_most, compare(ours, theirs, rounds=rounds))


def _memory(name: str, call: Callable[[], object]) -> dict[str, Any]:
    """Watch the resident size from a thread while `call` runs: peaks of C libraries count as well as Python's."""
    import threading

    import psutil

    process = psutil.Process()
    fingerprint(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # else memory that was freed before would be used again unseen
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    peak = max(peak, process.memory_info().rss)
    above = (peak - before) / 2**20
    return {"name": name, "ratio": above, "at_most": 64.0, "detail": f"{above:.1f} MB above {before / 2**20:.0f} MB"}


if __name__ == "__main__":
    for found in run():
        print(line_of(found), flush=True)
