"""`awaitly-nb pack` of 1 GB beside `tar`: the whole command, from the interpreter's start to the bytes on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Row, line_of, ratio_of, row, run_parts
from tests.unit.share.people import User

ROUNDS = 5
_PACK = "from awaitly_nb.cli import main; main()"
_CELL = "%%awaitly part{0}\nimport numpy as np\npart{0} = np.random.default_rng({0}).random({1})"


def _sender(home: Path, megabytes: int) -> User:
    """Return somebody whose notebook has four arrays of together so many megabytes in its cache."""
    sender = User(home)
    sender.write([*(_CELL.format(number, megabytes << 15) for number in range(4)), "array = part0\ntotal = 1"])
    sender.run_all()
    return sender


def _seconds(sender: User, *command: object) -> tuple[float, float]:
    """Run a command until it ends, and return its seconds and the most memory, in MB, that was its own."""
    begun, most = time.perf_counter(), 0
    process = subprocess.Popen(
        list(map(str, command)), cwd=sender.work, env=sender.environment, stdout=subprocess.DEVNULL
    )
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        # Pages of a mapped file are the system's, and go when it needs them.
        lines = status.read_text().splitlines() if status.exists() else []
        most = max([most, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))])
        time.sleep(0.005)
    assert process.returncode == 0, command
    return time.perf_counter() - begun, most / 1024


def packing(folder: Path) -> list[Row]:
    """As fast as `tar` with its file brought to the disk as ours is, and with the memory of a small notebook."""
    small, large = _sender(folder / "small", 4), _sender(folder / "large", 1024)
    target = folder / "out"
    pack = (sys.executable, "-c", _PACK, "pack", "n.ipynb", "-o", target, "--yes")
    tar = ("sh", "-c", f"tar -cf '{target}' n.ipynb .awaitly && sync '{target}'")
    pairs, peak_mb = [], 0.0
    small_mb = _seconds(small, *pack)[1]
    for _ in range(ROUNDS):
        both = []
        for command in (pack, tar):
            target.unlink(missing_ok=True)
            os.sync()
            both.append(_seconds(large, *command))
        pairs.append((both[0][0], both[1][0]))
        peak_mb = max(peak_mb, both[0][1])
    return [
        row("1 GB: the command pack against tar", 1.5, ratio_of(pairs)),
        row("1 GB: memory of pack, above that for 4 MB", 32, (peak_mb - small_mb, "in MB")),
    ]


PARTS = (packing,)


def run(*wanted: str) -> Iterator[Row]:
    """Measure everything, or the parts that are named."""
    return run_parts(PARTS, wanted)


if __name__ == "__main__":
    for found in run(*sys.argv[1:]):
        print(line_of(found), flush=True)
