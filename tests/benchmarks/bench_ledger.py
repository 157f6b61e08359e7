"""What the ledger and the traces of a cell cost, with the usual libraries loaded and a cell that changes nothing.

`run()` gives the rows, `python -m tests.benchmarks.bench_ledger` prints them. A row's ratio is the median against the
bar of a millisecond a cell.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import textwrap

from tests.benchmarks.measure import Row, line_of, row, show

BAR_S = 1e-3
CODE = """
    import sys, time, warnings
    import decimal, json, logging, os, random
    import matplotlib, numpy as np, pandas as pd, polars, sklearn.linear_model
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from IPython.core.interactiveshell import InteractiveShell
    from awaitly_nb.keys import begin_traces, end_traces
    from awaitly_nb.notebook.ledger import Ledger
    shell = InteractiveShell.instance()
    names = {**globals()}
    cell = '''
    def summary(frame, by):
        grouped = frame.groupby(by).agg({"price": ["mean", "std"], "size": "sum"})
        return grouped.sort_values(("price", "mean"))
    table = summary(df, "city")
    fig, ax = plt.subplots(figsize=(6, 3))
    ax.plot(np.arange(10), table["price"]["mean"].head(10))
    print(json.dumps({"rows": len(table)}), os.path.basename(os.getcwd()))
    '''
    ledger = Ledger(names, shell)
    def watch():
        ledger.difference(ledger.snapshot(cell))
    def trace():
        end_traces(begin_traces())
    for act in (watch, trace):
        act()
        for _ in range(400):
            start = time.perf_counter()
            act()
            print(time.perf_counter() - start)
"""


def run() -> list[Row]:
    """Return the rows."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(CODE)], capture_output=True, text=True, check=True)
    seconds = [float(line) for line in done.stdout.split()]
    halves = {"the ledger, a cell": seconds[:400], "the traces, a run": seconds[400:]}
    return [
        row(name, 1.0, (statistics.median(half) / BAR_S, f"{show(statistics.median(half))} of {show(BAR_S)}"))
        for name, half in halves.items()
    ]


if __name__ == "__main__":
    for each in run():
        print(line_of(each))
