"""Messages that no page of ours sends: 57 to the panel, and as many to the comm of JupyterLab's marks.

A page shows what anybody wrote into a notebook, so its messages are no promise. Each of these changes no entry, raises
nothing on the kernel's thread, and leaves a panel that answers the next message as ever.
"""

from __future__ import annotations

import json

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.engine import Summariser
from awaitly_nb.notebook import panel as panel_module
from awaitly_nb.notebook.lab import CellMark, Foreseen, Lab
from awaitly_nb.notebook.panel import Panel
from awaitly_nb.notebook.panel_keys import FolderKeys
from awaitly_nb.notebook.panel_widget import PanelWidget

HUGE = "x" * 1_000_000
DEEP = json.loads("[" * 500 + "]" * 500)
EVIL = "<img src=x onerror=alert(1)>\x1b[2J\u202e\x00\x1f"
HALF = "\ud800"

NO_MESSAGES = [None, True, 7, 1e308, "delete", "", [], ["delete"], [{"op": "delete"}], DEEP]
NO_OP = [{}, {"op": None}, {"op": 3}, {"op": ["delete"]}, {"op": {"op": "delete"}}, {"OP": "delete", "ids": [1]}]
UNKNOWN = [{"op": word} for word in ("", "eval", "clear", "*", "delete ", "DELETE", "__class__", HUGE, EVIL, HALF)]
DELETES = [
    {"op": "delete"},
    *({"op": "delete", "ids": ids} for ids in (None, "1", 1, {"0": 1}, [], ["*"], ["1"], [None], [True, False])),
    *({"op": "delete", "ids": ids} for ids in ([1.0], [-1], [0], [10**30], [[1]], [{"id": 1}], DEEP, [HUGE, EVIL])),
]
PREVIEWS = [
    {"op": "preview"},
    *({"op": "preview", "id": number} for number in (None, "1", True, -1, 10**30, [1])),
]
WHYS = [
    {"op": "why"},
    {"op": "why", "row": 1, "of": ["report", "a", "a", ""]},
    {"op": "why", "row": "1", "of": "four"},
    {"op": "why", "row": EVIL, "of": [EVIL] * 4},
    {"op": "why", "row": HALF, "of": [HALF] * 4},
    {"op": "why", "row": "1", "of": [HUGE] * 4},
]
PANEL = [*NO_MESSAGES, *NO_OP, *UNKNOWN, *DELETES, *PREVIEWS, *WHYS]

TYPES = ("cells", "why", "invalidate", "recompute", "undo", "auto", "panel")
CELLS = [None, 7, "x", {}, [None], ["cell"], [{}], [{"id": "a"}], [{"source": "1"}], [{"id": 1, "source": ["x"]}], DEEP]
LAB = [
    *NO_MESSAGES,
    *({"type": kind} for kind in (None, 3, ["cells"], {"a": 1}, "", "eval", "__class__", HUGE, EVIL)),
    *({"type": kind} for kind in TYPES if kind != "undo"),
    *({"type": "cells", "cells": cells, "seq": EVIL} for cells in CELLS),
    *({"type": "cells", "cells": [{"id": EVIL, "source": source}]} for source in (EVIL, HUGE, HALF, "%%awaitly \x00")),
    *({"type": "invalidate", "id": "a", "source": source} for source in (None, EVIL, HALF, "%%awaitly --nonsense", [])),
    *(
        {"type": "panel", "message": told}
        for told in (None, 7, [], {"op": 3}, {"op": "delete", "ids": [1]}, DEEP, EVIL)
    ),
    {"type": "auto", "on": "off"},
    *({"type": "why", "name": name} for name in (None, "*", EVIL, HALF)),
]


def fill():
    for key in ("a", "b", "*", "1"):
        caches.open_default("report").set(key, aw.Ok(key))
    caches.open_default("report").set("failed", aw.Err("NO"))


def stored():
    cache = caches.open_default("report")
    return {entry.key: cache.get(entry.key) for entry in cache.entries()}


def shown_of(message):
    return repr(message)[:60]


@pytest.fixture
def panel(monkeypatch):
    """A panel over the default folder behind a real widget, whose pages hear nothing; the messages it sends."""
    monkeypatch.setattr(panel_module, "RECENT", Summariser())
    fill()
    panel = Panel(FolderKeys())
    panel._pace.close()
    panel._page = PanelWidget(boot={}, receive=panel.receive)
    panel.sent = []
    panel._page.send = lambda message, _buffers=(): panel.sent.append(json.loads(json.dumps(message)))
    panel._draw()
    yield panel
    panel.close()


def test_there_are_57_of_each():
    assert len(PANEL) == 57
    assert len(LAB) == 57


@pytest.mark.parametrize("message", PANEL, ids=shown_of)
def test_a_message_that_no_page_of_ours_sends_changes_nothing(panel, message):
    before, numbers = stored(), {key: panel.keys.number_of("report", key) for key in "ab*1"}
    panel._page._handle_custom_msg(message, [])
    assert stored() == before
    assert {key: panel.keys.number_of("report", key) for key in "ab*1"} == numbers
    # The next click does what it says, and that alone.
    panel._page._handle_custom_msg({"op": "preview", "id": numbers["a"]}, [])
    assert panel.sent[-1]["preview"]["id"] == numbers["a"]
    panel._page._handle_custom_msg({"op": "delete", "ids": [numbers["*"]]}, [])
    assert stored() == {key: result for key, result in before.items() if key != "*"}


class Page:
    """One page of JupyterLab."""

    def __init__(self):
        self.sent = []

    def on_msg(self, callback):
        self.ask = lambda data: callback({"content": {"data": data}})

    def on_close(self, callback):
        pass

    def send(self, message, buffers=()):
        self.sent.append(json.loads(json.dumps(message)))

    def close(self):
        pass


def unmarked(_shell, cells, _ran, *, auto):
    return Foreseen({cell.id: CellMark(state="live") for cell in cells}, [])


@pytest.mark.parametrize("message", LAB, ids=shown_of)
def test_a_message_that_no_page_of_ours_sends_changes_no_mark_and_no_entry(bare_shell, message):
    fill()
    page = Page()
    lab = Lab(bare_shell.ip, foresee=unmarked)
    lab.add_page(page)
    before = stored()
    page.ask(message)
    assert stored() == before
    assert lab._recomputed == set()
    page.ask({"type": "panel", "message": {"op": "open"}})
    page.ask({"type": "panel", "message": {"op": "refresh"}})
    number = lab._pages[0]._panel.keys.number_of("report", "*")
    page.ask({"type": "panel", "message": {"op": "delete", "ids": [number]}})
    lab._leave(lab._pages[0])
    assert stored() == {key: result for key, result in before.items() if key != "*"}


@pytest.mark.parametrize("envelope", [{}, {"content": None}, {"content": []}, {"content": {"data": None}}], ids=str)
def test_a_message_without_content_is_none(bare_shell, envelope):
    page, asked = Page(), []
    page.on_msg = asked.append
    Lab(bare_shell.ip, foresee=None).add_page(page)
    asked[0](envelope)
    assert [message["type"] for message in page.sent] == ["hello"]
