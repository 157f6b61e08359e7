"""A notebook of five hundred cells, of which the page holds those in sight: marks come with them, and come soon."""

from __future__ import annotations

import pytest

from tests.e2e.browser.lab import notebook
from tests.e2e.browser.marks import LOAD, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

# Marks are right within 300 ms of an edit on a quiet machine, which is not for a test to say. What it says: how much
# longer 500 cells take than three, and what is sent for one keystroke.
TIMES_AS_LONG = 4

# Edits a cell; returns its own mark right after the keystroke, the milliseconds until another one that reads it has
# this state, and of each question to the kernel meanwhile the number of texts in it.
EDITED = """async ([number, source, other, state]) => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cells = panel.content.widgets;
    const node = cells[other].node;
    const texts = [];
    const heard = (_, { msg, direction }) => {
        const told = msg.header.msg_type === "comm_msg" && direction === "send" ? msg.content.data : {};
        if (told.type === "cells") texts.push(told.cells.length);
    };
    panel.sessionContext.session.kernel.anyMessage.connect(heard);
    const right = new Promise(resolve => new MutationObserver((_, observer) => {
        if (node.dataset.awaitly !== state) return;
        observer.disconnect();
        resolve();
    }).observe(node, { attributes: true }));
    const began = performance.now();
    cells[number].model.sharedModel.setSource(source);
    const own = cells[number].node.dataset.awaitly;
    await right;
    panel.sessionContext.session.kernel.anyMessage.disconnect(heard);
    return [own, performance.now() - began, texts];
}"""


def edits(page, settled):
    """Edit cell 1 and take it back, a few times; return the median of the milliseconds until cell 3 was right."""
    took = []
    for number in range(5):
        for value, state in ((10 + number, "stale"), (1, settled)):
            told = page.page.evaluate(EDITED, [1, f"%%awaitly c1\nc1 = {value}", 3, state])
            assert told[0] == "stale", "at the keystroke its own mark"
            assert told[2] == [1], "and the kernel is told that text, and no other"
            took.append(told[1])
    print(f"ms until the marks of {len(page.states())} cells were right:", sorted(map(round, took)))
    return sorted(took)[len(took) // 2]


def test_marks_of_five_hundred_windowed_cells(open_lab):
    sources = [LOAD, "%%awaitly c1\nc1 = 1"]
    sources += [f"%%awaitly c{i}\nc{i} = c{i - 1} + {i}" for i in range(2, 500)]
    lab = open_lab(notebook(*sources), windowing="full")
    page = Page(lab)
    attached = ".jp-Notebook .jp-CodeCell"
    # JupyterLab guesses at first how high cells are.
    lab.page.wait_for_function(f"() => document.querySelectorAll('{attached}').length < 250")

    lab.run_cell(0)
    lab.page.wait_for_selector('.jp-CodeCell[data-awaitly="new"]')
    for number in (1, 2, 3):
        lab.run_cell(number)
    lab.page.wait_for_function(
        """() => [1, 2, 3].every(
            i => window.jupyterapp.shell.currentWidget.content.widgets[i].node.dataset.awaitly === "stored")"""
    )

    took = edits(page, "stored")

    # A cell that comes into sight has its mark.
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(480, 'center')")
    lab.page.wait_for_function(
        """() => {
            const seen = [...document.querySelectorAll(".jp-Notebook .jp-CodeCell .awn-mark")];
            const there = window.jupyterapp.shell.currentWidget.content.widgets[480].node;
            return there.isConnected && seen.some(mark => there.contains(mark)) && there.dataset.awaitly === "new";
        }"""
    )
    assert lab.page.locator(attached).count() < 400, "and not all the others"

    small = Page(open_lab(notebook(*sources[:4]), name="small"))
    small.lab.run_all()
    small.expect("live", "hit", "hit", "hit")
    small.lab.wait_idle()
    assert took < TIMES_AS_LONG * edits(small, "hit")
