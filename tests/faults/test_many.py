"""Very many namespaces, keys of 64 kB and globs of many stars: no view takes longer than the listing it shows.

What is measured is processor time, and each ratio is of two measurements of one run.
"""

from __future__ import annotations

import contextlib
import io
import sqlite3
import time

import pytest
from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb import cache as caches, config, manage
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.cli.app import app
from awaitly_nb.notebook.commands import perform
from awaitly_nb.result import Mark, with_mark
from tests.faults.counts import count

pytestmark = pytest.mark.slow

NAMESPACES = count(sample=20_000, whole=100_000)
STARS = "*" + "9*" * 7


def fill(names):
    """Store one entry in the default folder, and copy its row under these names."""
    folder = config.cache_directory()
    mark = Mark(step_id="day", workflow="flights", duration_s=1.0)
    caches.create_disk_cache(folder, namespace="flights").set("day:0", with_mark(aw.Ok(1), mark))
    forget_folders()
    columns = "raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename, value"
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as database, database:
        database.executemany(
            f"INSERT INTO Cache (key, {columns}) SELECT ?, {columns} FROM Cache WHERE rowid = 1",
            [(name,) for name in names],
        )


def seconds(call, *args):
    began = time.process_time()
    call(*args)
    return time.process_time() - began


def shell(*words):
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def drawn(line):
    with contextlib.redirect_stdout(io.StringIO()):
        shown = perform(line)
    return str(shown), shown._repr_html_()


@pytest.fixture
def _no_runs(monkeypatch):
    monkeypatch.setattr("awaitly_nb.manage.steps.recent_runs", list)  # as in a shell, where nothing has run
    yield
    forget_folders()


@pytest.mark.usefixtures("_no_runs")
@pytest.mark.timeout(600)
def test_each_view_of_very_many_namespaces_costs_a_few_times_what_finding_them_does():
    fill(f"workflow {number}\x1fday:{number}" for number in range(1, NAMESPACES))
    found = manage.find()
    assert len({entry.namespace for entry in found}) == NAMESPACES
    once_s = min(seconds(manage.find) for _ in range(2))
    assert f"{NAMESPACES:,} names" in shell("status")
    views = {
        "status": (shell, "status"),
        "keys": (shell, "keys"),
        "keys that match no glob": (shell, "keys", STARS),
        "%awaitly status": (drawn, "status"),
        "%awaitly keys": (drawn, "keys"),
    }
    took = {name: seconds(*view) / once_s for name, view in views.items()}
    # The status of the shell took 13 times as long as that: it wrote a line of the terminal for each.
    assert max(took.values()) < 8, took


@pytest.mark.usefixtures("_no_runs")
@pytest.mark.parametrize("key", ["9" * 60_000, "9" * 60_000 + "x", "[" * 60_000], ids=["nines", "nines and x", "[["])
def test_seven_nested_globs_on_keys_of_64_kb_cost_a_few_times_what_one_does(key):
    fill(f"\x1f{key}{number}" for number in range(50))
    shell("keys")
    one_s = max(seconds(shell, "keys", "*y"), 0.01)
    # Each star may read a key once more; what went back for every star would take thousands of times as long. Keys
    # that match are shown, and cut before they are wrapped: wrapping them whole took 90 times as long.
    stars = ("*?" * 7, "*[!y]" * 7, "*[[]" * 7, "**9" * 7, STARS)
    for glob in (*stars, *(f"{one}y" for one in stars), "*9x" * 7):
        assert seconds(shell, "keys", glob) < 30 * one_s, glob
