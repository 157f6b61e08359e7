"""The walks in CONTRIBUTING are true: every function named there exists, and they are called in that order."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

from awaitly_nb import cache as caches
from awaitly_nb.notebook.panel import Panel
from awaitly_nb.notebook.panel_keys import FolderKeys
from awaitly_nb.notebook.panel_widget import PanelWidget
from awaitly_nb.result import Ok

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
PART = TEXT.partition("## Architecture")[2].partition("\n## ")[0]
WALKS = [re.findall(r"^\d+\. `([\w.]+)`", walk, re.MULTILINE) for walk in PART.split("\n### ")[1:]]
DOTTED = [name for walk in WALKS for name in walk if "." in name]


def code_of(dotted):
    """Return the code of the function that a stop names."""
    words = dotted.split(".")
    for place in range(len(words) - 1, 0, -1):
        try:
            found = importlib.import_module("awaitly_nb." + ".".join(words[:place]))
        except ModuleNotFoundError:
            continue
        for word in words[place:]:
            found = getattr(found, word)
        return inspect.unwrap(found).__code__
    raise LookupError(dotted)


class Called:
    """The functions of the walks, in the order in which they are called while the block runs."""

    def __init__(self, walk):
        self.names = {code_of(name): name for name in walk if "." in name}
        self.order = []

    def __enter__(self):
        self.before = sys.getprofile()
        sys.setprofile(self.note)
        return self.order

    def __exit__(self, *_):
        sys.setprofile(self.before)

    def note(self, frame, event, _):
        if event == "call" and (name := self.names.get(frame.f_code)) is not None:
            self.order.append(name)


def first_not_met(walk, order):
    """Return the first stop that is not called after the ones before it, or None."""
    calls = iter(order)
    return next((stop for stop in walk if "." in stop and stop not in calls), None)


def test_the_drawing_has_the_layers_of_the_linter():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [re.findall(r"\w+", layer) for layer in layers]
    drawing = TEXT.partition("```\n surfaces")[2].partition("```")[0]
    drawn = re.findall(r"\w+", drawing)
    places = [[drawn.index(room) for room in level] for level in rooms]
    assert all(max(above) < min(below) for above, below in zip(places, places[1:], strict=False))


def test_there_are_two_walks_of_twelve_stops_at_most():
    assert [len(walk) for walk in WALKS] == [12, 10]
    assert len(re.findall(r"^\d+\. ", PART, re.MULTILINE)) == 22


@pytest.mark.parametrize("name", DOTTED)
def test_each_function_that_is_named_exists(name):
    assert code_of(name) is not None


def test_the_function_of_the_page_exists():
    page = (ROOT / "awaitly_nb" / "notebook" / "static" / "steps.js").read_text(encoding="utf-8")
    assert f"function {WALKS[1][0]}(" in page


def test_a_cell_takes_the_first_walk(shell):
    cell = "%%awaitly made\nx = list(range(30_000))\nprint(len(x))"
    with Called(WALKS[0]) as order:
        shell.run(cell)
        shell.forget()
        shell.run(cell)
    assert shell.badge.startswith("from cache")
    assert first_not_met(WALKS[0], order) is None


def test_a_click_takes_the_second_walk():
    caches.open_default("report").set("load:1", Ok(1))
    made = Panel(FolderKeys())
    made._pace.close()
    made._page = PanelWidget(boot={}, receive=made.receive)
    try:
        made.read_keys()
        number = made.keys.number_of("report", "load:1")
        with Called(WALKS[1]) as order:
            made._page._on_message(None, {"op": "delete", "ids": [number]}, [])
    finally:
        made.close()
    assert not caches.open_default("report").has("load:1")
    assert first_not_met(WALKS[1], order) is None


def test_a_stop_that_is_not_called_is_noticed():
    assert first_not_met(["a.b", "c.d"], ["c.d", "a.b"]) == "c.d"
