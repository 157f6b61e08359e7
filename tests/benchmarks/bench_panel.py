"""What a panel over very many keys costs: the kernel, the messages, and a search in the page.

`run()` gives the rows, `python -m tests.benchmarks.bench_panel` prints them. Ratios compare 100,000 keys with few of
them; what is measured is processor time, and of several rounds the best.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import awaitly_nb.cache as caches
from awaitly_nb.cache.folder import forget_folders, open_folder
from awaitly_nb.codec.envelope import read_head, write_head
from awaitly_nb.config import cache_directory
from awaitly_nb.notebook.panel import Panel
from awaitly_nb.notebook.panel_keys import FolderKeys, KeyList, key_columns
from awaitly_nb.result import Mark, Ok, with_mark
from tests.benchmarks.measure import Row, line_of

STATIC = Path(caches.__file__).parents[1] / "notebook" / "static"


@contextmanager
def kept(count: int) -> Iterator[None]:
    """Make the default folder one that holds `count` keys of three workflows, with durations and instants at random."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("AWAITLY_NB_CACHE_DIR")
        os.environ["AWAITLY_NB_CACHE_DIR"] = folder
        try:
            _fill(Path(folder), count)
            yield
        finally:
            forget_folders()
            os.environ.pop("AWAITLY_NB_CACHE_DIR")
            if before is not None:
                os.environ["AWAITLY_NB_CACHE_DIR"] = before


def _fill(folder: Path, count: int) -> None:
    # One entry is stored, and its row copied under other names: storing 100,000 takes longer than all that is measured.
    mark = Mark(step_id="day", workflow="flights", at=datetime.now(UTC), duration_s=1.0)
    caches.create_disk_cache(folder, namespace="flights").set("day:0", with_mark(Ok({"rows": 1}), mark))
    forget_folders()
    dice = random.Random(1)
    at = time.time() - 200.0 * count
    rows = []
    database = sqlite3.connect(folder / "cache.db")
    (head,) = database.execute("SELECT tag FROM Cache").fetchone()
    members = read_head(head)
    for i in range(1, count):
        workflow, step, key = ("flights", "day", f"day:{i}")
        if i % 4 == 0:
            workflow, step, key = "features", "features", "features:" + blake2b(b"%d" % i, digest_size=16).hexdigest()
        elif i % 2 == 0:
            workflow, step, key = "report", f"row{i % 7}", f"row:{i:06}:v{i % 3}"
        at += dice.expovariate(1 / 200)
        facts = {"step_id": step, "workflow": workflow, "created_at": at}
        facts |= {"duration_s": dice.lognormvariate(0, 2), "size_bytes": int(dice.lognormvariate(7, 3))}
        rows.append((f"{workflow}\x1f{key}", write_head({**members, **facts})))
    names = [name for _, name, *_ in database.execute("PRAGMA table_info(Cache)")]
    copied = [{"key": "?1", "tag": "?2"}.get(name, name) for name in names if name != "rowid"]
    columns = ", ".join(name for name in names if name != "rowid")
    with database:
        database.executemany(
            f"INSERT INTO Cache ({columns}) SELECT {', '.join(copied)} FROM Cache WHERE rowid = 1", rows
        )
    database.close()


class Page:
    """Stands where the widget and its display stand, and weighs what is sent."""

    token = "0" * 16

    def __init__(self) -> None:
        self.sent = 0
        self.outdated = False
        self.in_cell = False

    def tell(self, message: Row, buffers: tuple[bytes, ...] = ()) -> None:
        self.sent += len(json.dumps(message)) + sum(map(len, buffers))

    def freeze(self, html: Callable[[], str]) -> None:
        self.sent += len(html().encode())

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def shown() -> Iterator[tuple[Panel, Page]]:
    """A panel over the default folder, whose drawing is done by the caller."""
    page, panel = Page(), Panel(FolderKeys())
    panel._pace.close()
    panel._widget = panel._displays = page  # type: ignore[assignment]
    try:
        yield panel, page
    finally:
        panel.close()


def opening(rounds: int = 3) -> tuple[float, int]:
    """Return the seconds of processor time until the panel shows every key of the folder, and the bytes sent."""
    spent = []
    for _ in range(rounds):
        with shown() as (panel, page):
            panel._displays.outdated = True
            began = time.process_time()
            panel._draw()
            spent.append(time.process_time() - began)
            sent = page.sent
    return min(spent), sent


def invalidating(rounds: int = 5) -> tuple[float, int]:
    """Return the seconds of processor time to invalidate one key as the panel's button does, and the bytes sent."""
    spent, sent = [], []
    with shown() as (panel, page):
        panel._draw()
        for number in panel.keys.numbers()[1 : rounds + 2]:
            page.sent = 0
            began = time.process_time()
            panel.receive({"op": "delete", "ids": [number]})
            panel._draw()
            spent.append(time.process_time() - began)
            sent.append(page.sent)
    return statistics.median(spent), int(statistics.median(sent))


_SEARCH = """
const fs = require("node:fs");
const read = (name) => fs.readFileSync(`${process.argv[1]}/${name}`, "utf8");
const source = ["words.js", "columns.js"].map(read).join("\\n");
const { unpack, Keys } = new Function(`${source}\\nreturn { unpack, Keys };`)();
(async () => {
  const keys = new Keys();
  keys.load(await unpack(process.argv.slice(2).map((path) => fs.readFileSync(path))));
  const times = [];
  for (const query of ["day:77", "row3 report:", "5", "day:7", "features", "no such key", ""]) {
    const began = performance.now();
    keys.find(query, "at", true, false);
    times.push(performance.now() - began);
  }
  console.log(JSON.stringify({ keys: keys.length, first: times[0], worst: Math.max(...times.slice(1)) }));
})();
"""


def searching() -> Row:
    """Return the milliseconds of a search by the page's own code, in node: the first, and the worst of the others."""
    keys = KeyList(FolderKeys())
    listing, numbers, _ = keys.read()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(i)) for i in range(2)]
        for path, buffer in zip(paths, key_columns(listing, numbers), strict=True):
            path.write_bytes(buffer)
        command = ["node", "-e", _SEARCH, STATIC, *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Row = json.loads(done.stdout)
    assert found["keys"] == len(keys)
    return found


def parsing() -> float:
    """Return the seconds of processor time to list all heads and read them, as a yardstick."""
    began = time.process_time()
    for _, head, _ in open_folder(cache_directory()).heads():
        read_head(head)
    return time.process_time() - began


def _row(name: str, at_most: float, ratio: float, detail: str) -> Row:
    return {"name": name, "ratio": ratio, "at_most": at_most, "detail": detail}


def _in(count: int, measure: Callable[[], Any]) -> Any:
    with kept(count):
        return measure()


def run() -> Iterator[Row]:
    """Yield what was measured."""
    (few_s, few_sent) = _in(1_000, opening)
    few_drop, few_drop_sent = _in(10, invalidating)
    with kept(100_000):
        many_s, many_sent = opening()
        yardstick_s = min(parsing() for _ in range(3))
        drop, drop_sent = invalidating()
        searched = searching() if shutil.which("node") else None
    yield _row(
        "panel over 100,000 keys, kernel time against reading and parsing their heads",
        1.5,
        many_s / yardstick_s,
        f"{many_s:.2f} s against {yardstick_s:.2f} s",
    )
    yield _row(
        "panel, kernel time per key, 100,000 against 1,000",
        1.5,
        many_s / few_s / 100,
        f"{many_s * 1e3:.0f} ms against {few_s * 1e3:.1f} ms",
    )
    yield _row(
        "panel, bytes sent per key, 100,000 against 1,000",
        1.0,
        many_sent / few_sent / 100,
        f"{many_sent / 1e6:.2f} MB against {few_sent / 1e3:.0f} kB",
    )
    yield _row(
        "panel, invalidating one key, kernel time, of 100,000 against of 10",
        2.5,
        drop / few_drop,
        f"{drop * 1e3:.1f} ms against {few_drop * 1e3:.1f} ms",
    )
    yield _row(
        "panel, invalidating one key, bytes sent, of 100,000 against of 10",
        2.0,
        drop_sent / few_drop_sent,
        f"{drop_sent / 1e3:.1f} kB against {few_drop_sent / 1e3:.1f} kB",
    )
    if searched is not None:
        yield _row(
            "panel, a search among 100,000 keys in the page, first against later ones",
            20.0,
            searched["first"] / max(searched["worst"], 1e-3),
            f"{searched['first']:.0f} ms, then {searched['worst']:.0f} ms",
        )


if __name__ == "__main__":
    for found in run():
        print(line_of(found), flush=True)
