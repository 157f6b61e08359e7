"""What caching costs and saves on whole notebooks: those of `tests/e2e/corpus`, and the long ones made small.

`run()` gives the rows, `python -m tests.benchmarks.bench_corpus [NAME ...]` prints them, with the worst notebook beside
the best. What is counted is the time of the processor, from the first cell to the last: imports are part of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import Row, line_of, row, show
from tests.e2e.timed_runs import CORPUS, LONG, WAYS, cells_of, run as run_cells, seconds

SCALE = 0.05
SLOW_S = 0.5
COLD = {"magic": 1.08, "auto": 1.05}
TURNS = 3


def run(*names: str) -> list[Row]:
    """Return the rows, of all notebooks or of those that are named."""
    paths = [path for path in (*CORPUS, *LONG) if not names or path.stem in names]
    plain, cold, warm, slow = {}, {}, {}, {way: [0, 0] for way in WAYS}
    for path in paths:
        with tempfile.TemporaryDirectory() as top:
            for turn in range(TURNS):  # in turns, and the least of each: what else the machine does only adds
                found = run_cells(cells_of(path, "plain", scale=SCALE), Path(top, "plain"))
                plain[path.stem] = min(seconds(found), plain.get(path.stem, seconds(found)))
                for way in WAYS:
                    cells, folder = cells_of(path, way, scale=SCALE), Path(top, f"{way}{turn}")
                    first = run_cells(cells, folder, auto=way == "auto")
                    again = run_cells(cells, folder, auto=way == "auto")
                    for side, ran in ((cold, first), (warm, again)):
                        side[way, path.stem] = min(seconds(ran), side.get((way, path.stem), seconds(ran)))
                    long = [two.hit for one, two in zip(first, again, strict=True) if one.wall_s > SLOW_S]
                    slow[way] = [slow[way][0] + sum(long), slow[way][1] + len(long)]
    rows = []
    for way in WAYS:
        all_cold, all_plain = sum(cold[way, name] for name in plain), sum(plain.values())
        ratios = {name: cold[way, name] / plain[name] for name in plain}
        detail = f"{show(all_cold)} against {show(all_plain)}; {_ends(ratios)}"
        rows.append(row(f"cold, {way}", COLD[way], (all_cold / all_plain, detail)))
        ratios = {name: warm[way, name] / plain[name] for name in plain}
        rows.append(row(f"warm, {way}, the slowest", 1.0, (max(ratios.values()), _ends(ratios))))
        hits, of = slow[way]
        detail = f"{hits} of {of} cells above {SLOW_S} s hit"
        rows.append(row(f"misses among slow cells, {way}", 0.05, ((of - hits) / max(1, of), detail)))
    return rows


def _ends(ratios: dict[str, float]) -> str:
    worst, best = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
    return f"worst {worst} {ratios[worst]:.2f}, best {best} {ratios[best]:.2f}"


if __name__ == "__main__":
    for each in run(*sys.argv[1:]):
        print(line_of(each), flush=True)
