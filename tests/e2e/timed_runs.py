"""Notebooks run plain, cold and warm, each in a process of its own, with what each of their cells took.

    python -m tests.e2e.timed_runs < cells.json

runs the cells that it reads, and writes what they took.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").glob("*.cells"))
LONG = sorted((HERE / "long").glob("*.cells"))
WAYS = ("magic", "auto")


@dataclass(frozen=True)
class Ran:
    """What one cell did.

    Attributes
    ----------
    wall_s, cpu_s
        What it took, by the clock and of the processor.
    hit
        Whether it came from the cache.
    ledger_s
        What of the processor's time the ledger took.
    """

    wall_s: float
    cpu_s: float
    hit: bool
    ledger_s: float


def cells_of(path, way, *, scale):
    """Return the cells of a notebook for a way to cache them: "plain", "magic" (each named), "auto" (none is)."""
    text = path.read_text(encoding="utf-8").replace("SCALE = 1.0", f"SCALE = {scale}")
    cells = [cell.rstrip() for cell in re.split(r"^# %%\n", text, flags=re.MULTILINE)]
    cells = [cell.replace("%load_ext awaitly_nb\n", "") for cell in cells]
    if way == "plain":
        return cells
    named = [f"%%awaitly c{number}\n{cell}" if way == "magic" else cell for number, cell in enumerate(cells)]
    return ["%load_ext awaitly_nb", *named]


def run(cells, folder, *, auto=False):
    """Run cells in a new process, in `folder` and with the cache in it; return what each took."""
    folder.mkdir(exist_ok=True)
    environment = {
        **as_installed(),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "AWAITLY_NB_CACHE_DIR": str(folder / "cache"),
        "AWAITLY_NB_AUTO": str(int(auto)),
    }
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Ran(*one) for one in json.loads(done.stdout.splitlines()[-1])]


def as_installed():
    """Return the environment for a process that is timed: as after `pip install`, what is imported stays compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(ran):
    """Return what cells took together, of the processor: what else the machine does counts less in it."""
    return sum(one.cpu_s for one in ran)


def _main():
    import ipykernel.kernelapp  # noqa: F401 - what each kernel has loaded before its first cell
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            pass

    shell = Shell.instance()
    shell.display_pub = CapturingDisplayPublisher(shell=shell)
    ran, ledger = [], _Ledger()
    for source in json.load(sys.stdin):
        ledger.watch()
        shell.display_pub.outputs.clear()
        began, began_cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            shell.run_cell(source, store_history=True).raise_error()
        took = time.perf_counter() - began, time.process_time() - began_cpu
        shown = [str(output["data"].get("text/plain")) for output in shell.display_pub.outputs]
        ran.append([*took, any(re.match(r"([^:]*: )?from cache", text) for text in shown), ledger.seconds])
    print(json.dumps(ran))


class _Ledger:
    """What the ledger takes of one cell, once it is loaded."""

    def __init__(self):
        self.seconds = 0.0
        self._cls = None

    def watch(self):
        self.seconds = 0.0
        if self._cls is None and (module := sys.modules.get("awaitly_nb.notebook.ledger")) is not None:
            self._cls = module.Ledger
            for name in ("snapshot", "difference", "split", "apply", "prepare", "refusal", "patches", "reached"):
                setattr(self._cls, name, self._timed(getattr(self._cls, name)))

    def _timed(self, method):
        def timed(*args, **kwargs):
            began = time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - began

        return timed


if __name__ == "__main__":
    _main()
