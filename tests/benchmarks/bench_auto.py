"""What automatic mode costs a cell that is not worth caching, and what hits cost that nobody reads.

`run()` gives the rows, `python -m tests.benchmarks.bench_auto` prints them. Small cells of a usual notebook run plain
and under automatic mode in one process, in turns; what counts is the median of the processor time that a cell takes
more. A row's ratio is that against the bar of three milliseconds a cell, and of one for imports, definitions and
constants, which always run.

Ten gigabytes of hits, arrays of zeros, are served in a new process, whose clock and memory are read before one of them
is. Their files take as much room on the disk.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import textwrap

from tests.benchmarks.measure import Row, line_of, row, show

BAR_S, ALWAYS_S = 3e-3, 1e-3
LARGE, LARGE_BAR_S, LARGE_BAR_BYTES = 10, 3.0, 500e6
CODE = """
    import contextlib, io, sys, time
    import numpy as np, pandas as pd
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config
    # IPython's own thread writes its history to disk, once for cells that follow each other fast and else for each.
    shell = InteractiveShell.instance(config=Config(HistoryManager={"hist_file": ":memory:"}))
    shell.display_pub = CapturingDisplayPublisher(shell=shell)
    def timed(source):
        with contextlib.redirect_stdout(io.StringIO()):
            began = time.process_time()
            shell.run_cell(source, store_history=True)
            return time.process_time() - began
    timed("import numpy as np, pandas as pd\\nrng = np.random.default_rng(1)")
    timed("df = pd.DataFrame({'city': list('abcd') * 500, 'price': rng.normal(size=2000)})")
    def cells(n):
        return [
            f"total_{n} = df.price.sum() + {n}",
            f"x_{n} = np.linspace(0, 1, 50) * {n}",
            f"by_city = df.groupby('city').price.mean() * {n}\\nby_city",
            f"rows = [i * {n} for i in range(100)]\\nprint(len(rows))",
            f"df['scaled'] = df.price * {n}",
            f"best = sorted(rows)[-3:]\\nbest",
        ]
    shell.run_line_magic("load_ext", "awaitly_nb")
    magics = sys.modules["awaitly_nb.notebook.magics"]
    mode = magics.mode_of(shell)
    for warm in (7000, 7001):
        mode.on = warm == 7001
        for source in cells(warm):
            timed(source)
    for n in range(40):
        for source in cells(n):
            times = []
            for on in (False, True, True):
                mode.on = on
                times.append(timed(source))
            plain, met, known = times
            print("took", met - plain, known - plain)
        for source in (f"import json, math as m_{n}", f"def f_{n}(x):\\n    return x + {n}", f"limit_{n} = {n}"):
            times = []
            for on in (False, True):
                mode.on = on
                times.append(timed(source))
            print("left", times[1] - times[0])
"""

LARGE_CODE = f"""
    import re, sys, time
    import numpy as np
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance()
    shell.display_pub = CapturingDisplayPublisher(shell=shell)
    shell.run_line_magic("load_ext", "awaitly_nb")
    shell.run_cell("import numpy as np")
    def memory():
        return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
    before, began = memory(), time.perf_counter()
    for number in range({LARGE}):
        shell.run_cell(f"# awaitly: cache\\nlarge_{{number}} = np.zeros(125_000_000 + {{number}})").raise_error()
    hits = sum("from cache" in str(output["data"]) for output in shell.display_pub.outputs)
    print(hits, time.perf_counter() - began, memory() - before)
"""


def run() -> list[Row]:
    """Return the rows."""
    return [*_small(), *_large()]


def _large() -> list[Row]:
    with tempfile.TemporaryDirectory() as top:
        env = {"AWAITLY_NB_CACHE_DIR": f"{top}/cache", "IPYTHONDIR": f"{top}/ip", "PATH": "", "HOME": top}
        env |= {"AWAITLY_NB_AUTO": "1", "AWAITLY_NB_AUTO_BUDGET": "40GB"}
        command = [sys.executable, "-c", textwrap.dedent(LARGE_CODE)]
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    hits, seconds, more = map(float, done.stdout.split()[-3:])
    assert hits == LARGE, done.stdout
    name = f"{LARGE} GB of hits that nobody reads"
    return [
        row(name, 1.0, (seconds / LARGE_BAR_S, f"{show(seconds)} of {show(LARGE_BAR_S)}")),
        row(f"{name}, memory", 1.0, (more / LARGE_BAR_BYTES, f"{more / 1e6:.0f} MB of {LARGE_BAR_BYTES / 1e6:.0f} MB")),
    ]


def _small() -> list[Row]:
    with tempfile.TemporaryDirectory() as top:
        env = {"AWAITLY_NB_CACHE_DIR": f"{top}/cache", "IPYTHONDIR": f"{top}/ip", "PATH": "", "HOME": top}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(CODE)], capture_output=True, text=True, check=True, env=env
        )
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("took ")]
    left = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("left ")]
    named = {
        "a cell met the first time": [float(met) for _, met, _ in lines],
        "a cell known to be fast": [float(known) for _, _, known in lines],
    }
    bars = dict.fromkeys(named, BAR_S) | {"a cell that always runs": ALWAYS_S}
    named["a cell that always runs"] = left
    return [
        row(name, 1.0, (statistics.median(found) / bar, f"{show(statistics.median(found))} of {show(bar)}"))
        for (name, found), bar in zip(named.items(), bars.values(), strict=True)
    ]


if __name__ == "__main__":
    for one in run():
        print(line_of(one))
