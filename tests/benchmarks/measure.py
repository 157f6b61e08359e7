"""How benchmarks compare: two sides in turns, in short rounds, and the median of the ratios.

What else the machine does hits both sides. A ratio is what a table shows; the times beside it are for the reader.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.e2e.timed_runs import as_installed

Row = dict[str, Any]
SMALL = {"id": 1, "name": "x" * 100, "scores": [1.0, 2.5, 3.25], "tags": ["a", "b"], "none": None}
"""A small value, of about 200 bytes."""


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int, loops: int = 1
) -> tuple[float, str]:
    """Return the median ratio of the two, and both medians as text."""
    pairs = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(loops):
            theirs()
        middle = time.perf_counter()
        for _ in range(loops):
            ours()
        pairs.append(((time.perf_counter() - middle) / loops, (middle - start) / loops))
    return ratio_of(pairs)


def ratio_of(pairs: list[tuple[float, float]]) -> tuple[float, str]:
    """Return the median ratio of pairs of seconds, ours first, and both medians as text."""
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return statistics.median(a / b for a, b in pairs), f"{show(ours)} against {show(theirs)}"


def row(name: str, at_most: float, measured: tuple[float, str]) -> Row:
    """Return one row of a table."""
    return {"name": name, "ratio": measured[0], "at_most": at_most, "detail": measured[1]}


def show(seconds: float) -> str:
    """Return a time for a reader."""
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def in_process(code: str, *arguments: object) -> list[float]:
    """Run `code` in a new interpreter, and return the numbers it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=as_installed(),
    )
    return [float(word) for word in done.stdout.split()]


def together(codes: list[str], *arguments: object) -> float:
    """Start one interpreter for each code, let them go at the same moment, and return the seconds until all are done.

    Each prints a line when it is ready, and goes on when it can read one.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, code in enumerate(codes)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    start = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    return time.perf_counter() - start


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder of its own, with a secret that is nobody's."""
    from awaitly_nb.cache.folder import forget_folders

    os.environ.setdefault("AWAITLY_NB_SECRET", "benchmark")
    folder = Path(tempfile.mkdtemp(prefix="awaitly-bench-"))
    try:
        yield folder
    finally:
        forget_folders()
        shutil.rmtree(folder, ignore_errors=True)


def run_parts(parts: tuple[Callable[[Path], list[Row]], ...], wanted: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of every part, or of those that are named, each part in a folder of its own."""
    for part in parts:
        if not wanted or part.__name__ in wanted:
            with scratch() as folder:
                yield from part(folder)


def line_of(found: Row) -> str:
    """Return a row as a line of text."""
    verdict = "ok" if found["ratio"] <= found["at_most"] else "MISS"
    return f"{verdict:4} {found['ratio']:8.3g} (at most {found['at_most']:g})  {found['name']}: {found['detail']}"
