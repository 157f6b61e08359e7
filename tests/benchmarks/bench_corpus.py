"""What caching costs and saves on whole notebooks: those of `tests/e2e/corpus`, and the long ones made small.

`run()` gives the rows, `python -m tests.benchmarks.bench_corpus [NAME ...]` prints them, with the worst notebook beside
the best. What is counted is the time of the processor, from the first cell to the last: imports are part of it, and so
is loading the extension. A notebook computes for about ten seconds, as published ones do: where it is over in two, the
tenth of a second that the extension takes to load is a twentieth of it.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.measure import Row, line_of, row, show
from tests.e2e.timed_runs import CORPUS, LONG, WAYS, cells_of, run as run_cells, seconds

SCALES = {**dict.fromkeys(CORPUS, 1.0), **dict.fromkeys(LONG, 0.08)}
SLOW = {"magic": (0.5, 0.05), "auto": (1.0, 0.2)}
"""From how many seconds on a cell is slow, and how many of these may miss."""
COLD = {"magic": 1.08, "auto": 1.05}
LEDGER = 0.01
TURNS = 2


@dataclass
class Measured:
    """What one notebook took: plain, and cold and warm in each way, with what of the cold run was the ledger's."""

    plain: float
    cold: dict[str, float] = field(default_factory=dict)
    warm: dict[str, float] = field(default_factory=dict)
    ledger: dict[str, float] = field(default_factory=dict)
    slow: dict[str, list[bool]] = field(default_factory=dict)


def run(*names: str) -> list[Row]:
    """Return the rows, of all notebooks or of those that are named."""
    return rows({path.stem: measured(path) for path in SCALES if not names or path.stem in names})


def measured(path: Path, turns: int = TURNS) -> Measured:
    """Run one notebook in all ways, in turns, and take the least of each: what else the machine does only adds."""
    found = Measured(float("inf"))
    with tempfile.TemporaryDirectory() as top:
        for turn in range(turns):
            found.plain = min(found.plain, seconds(run_cells(_cells(path, "plain"), Path(top, "plain"))))
            for way in WAYS:
                cells, folder = _cells(path, way), Path(top, f"{way}{turn}")
                first, again = (run_cells(cells, folder, auto=way == "auto") for _ in range(2))
                for side, ran in ((found.cold, first), (found.warm, again)):
                    side[way] = min(seconds(ran), side.get(way, seconds(ran)))
                ledger_s = sum(one.ledger_s for one in first)
                found.ledger[way] = min(ledger_s, found.ledger.get(way, ledger_s))
                pairs = list(zip(first, again, strict=True))[1:]  # the first one loads the extension
                found.slow.setdefault(way, []).extend(two.hit for one, two in pairs if one.cpu_s > SLOW[way][0])
    return found


def _cells(path: Path, way: str) -> list[str]:
    return cells_of(path, way, scale=SCALES[path])


def rows(found: dict[str, Measured]) -> list[Row]:
    """Return the rows of what was measured, by the names of the notebooks."""
    made = []
    for way in WAYS:
        all_cold, all_plain = sum(one.cold[way] for one in found.values()), sum(one.plain for one in found.values())
        ratios = {name: one.cold[way] / one.plain for name, one in found.items()}
        detail = f"{show(all_cold)} against {show(all_plain)}; {_ends(ratios)}"
        made.append(row(f"cold, {way}", COLD[way], (all_cold / all_plain, detail)))
        ratios = {name: one.warm[way] / one.plain for name, one in found.items()}
        made.append(row(f"warm, {way}, the slowest", 1.0, (max(ratios.values()), _ends(ratios))))
        slow = [hit for one in found.values() for hit in one.slow[way]]
        from_s, misses = SLOW[way]
        detail = f"{sum(slow)} of {len(slow)} cells above {from_s} s hit"
        made.append(row(f"misses among slow cells, {way}", misses, (slow.count(False) / max(1, len(slow)), detail)))
        all_ledger = sum(one.ledger[way] for one in found.values())
        detail = f"{show(all_ledger)} of {show(all_cold)}"
        made.append(row(f"the ledger's share, {way}", LEDGER, (all_ledger / all_cold, detail)))
    return made


def _ends(ratios: dict[str, float]) -> str:
    worst, best = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
    return f"worst {worst} {ratios[worst]:.2f}, best {best} {ratios[best]:.2f}"


if __name__ == "__main__":
    for each in run(*sys.argv[1:]):
        print(line_of(each), flush=True)
