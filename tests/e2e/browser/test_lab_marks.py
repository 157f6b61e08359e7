"""Marks, commands and the sidebar in a real JupyterLab: what a person sees and clicks."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

LOAD = "%load_ext awaitly_nb"
RAW = "%%awaitly raw\nimport time\ntime.sleep(1.5)\nraw = [1, 2, 3]"
TOTAL = "%%awaitly total\ntotal = sum(raw)\ntotal"
KEYLESS = "%%awaitly held\nheld = lock.locked()"
BROKEN = "%%awaitly broken\n1 / 0"


class Page:
    """The marks of an open notebook."""

    def __init__(self, lab):
        self.lab = lab
        self.page = lab.page

    def states(self):
        """Return the state that each code cell is marked with."""
        return self.page.evaluate(
            "() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell => cell.dataset.awaitly)"
        )

    def expect(self, *states, timeout_ms=60_000):
        """Wait until the cells have these marks."""
        try:
            self.page.wait_for_function(
                """states => JSON.stringify(states) === JSON.stringify(
                    [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell => cell.dataset.awaitly))""",
                arg=list(states),
                timeout=timeout_ms,
            )
        except Exception as exc:
            raise AssertionError(f"not {states}, but {self.states()}") from exc

    def mark(self, number):
        """Return the mark of one code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".awn-mark")

    def write(self, number, source):
        """Replace a cell's text, as typing does."""
        self.page.evaluate(
            """([number, source]) => window.jupyterapp.shell.currentWidget.content.widgets[number]
                .model.sharedModel.setSource(source)""",
            [number, source],
        )

    def prompts(self):
        return self.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").all_inner_texts()

    def select(self, number):
        self.page.evaluate(
            "number => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = number; }", number
        )

    def palette(self, words):
        """Choose a command in the palette by its words."""
        self.page.keyboard.press("Control+Shift+C")
        box = self.page.locator("#modal-command-palette input")
        box.fill(words)
        self.page.locator("#modal-command-palette .lm-CommandPalette-item").first.wait_for()
        box.press("Enter")


@pytest.fixture
def opened(open_lab):
    def open_marked(*sources, **options):
        return Page(open_lab(notebook(*sources), **options))

    return open_marked


def test_marks_follow_a_run_an_edit_a_reload_and_a_restart(opened, server):
    requests = []
    page = opened(f"{LOAD}\nimport threading\nlock = threading.Lock()", RAW, TOTAL, KEYLESS, BROKEN)
    page.page.on("request", lambda request: requests.append(request.url))

    page.lab.run_all()
    page.page.wait_for_selector('.jp-CodeCell[data-awaitly="computing"]')
    page.lab.wait_idle()
    page.expect("live", "stored", "stored", "uncached", "failed")
    assert re.fullmatch(r"●\s*computed in 1\.\d s, stored", page.mark(1).inner_text())
    assert page.mark(3).get_attribute("title"), "why it is not cached"
    assert "awaitly: failed" in page.mark(4).get_attribute("aria-label")

    # An edit is told at once, before the kernel is asked; and what reads the cell follows.
    page.write(1, RAW.replace("3]", "4]"))
    page.expect("live", "stale", "stale", "uncached", "failed", timeout_ms=2000)
    page.write(1, RAW)
    page.expect("live", "stored", "stored", "uncached", "failed", timeout_ms=2000)

    page.lab.save()
    page.page.reload()
    page.page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.lab.wait_idle()
    page.expect("live", "stored", "stored", "uncached", "failed")

    page.lab.restart()
    page.lab.wait_idle()
    assert page.states() == [None] * 5, "a kernel without the extension marks nothing"
    page.lab.run_all()
    page.expect("live", "hit", "hit", "uncached", "failed")
    assert "from cache, computed in 1." in page.mark(1).inner_text()

    # Nothing is written into the file, and nobody but the page's own server was asked.
    saved = page.lab.save()
    assert "awaitly" not in json.dumps([cell.metadata for cell in saved.cells] + [saved.metadata])
    assert [url for url in requests if not url.startswith((server.url("").partition("?")[0], "data:", "blob:"))] == []


def test_run_stale_runs_exactly_the_cells_of_the_plan(opened):
    other = "%%awaitly other\nother = 5"
    page = opened(LOAD, RAW, TOTAL, other)
    page.lab.run_all()
    page.expect("live", "stored", "stored", "stored")
    page.write(1, "%%awaitly raw\nraw = [1, 2, 3, 4]")
    page.expect("live", "stale", "stale", "stored")
    before = page.prompts()
    page.palette("Run stale cells")
    page.expect("live", "stored", "stored", "stored")
    page.lab.wait_idle()
    after = page.prompts()
    assert [one != two for one, two in zip(before, after, strict=True)] == [False, True, True, False]
    assert "10" in page.lab.output(2).split()


def test_commands_of_a_cell_by_mouse_and_keyboard(opened):
    page = opened(LOAD, RAW, "x = 1")
    page.lab.run_all()
    page.expect("live", "stored", "live")
    page.select(1)

    page.page.locator(".jp-CodeCell.jp-mod-active .jp-cell-toolbar [data-command='awaitly-nb:why']").click()
    dialog = page.page.locator(".jp-Dialog")
    dialog.wait_for()
    assert "first run" in dialog.inner_text()
    dialog.get_by_role("button", name="Close").click()
    page.page.wait_for_selector(".jp-Dialog", state="detached")

    page.page.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt").click()
    page.page.keyboard.press("Control+Alt+i")
    page.expect("live", "stale", "live")
    page.palette("Undo the last invalidation")
    page.expect("live", "stored", "live")

    page.page.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt").click()
    page.page.keyboard.press("Control+Alt+r")
    page.expect("live", "computing", "live")
    page.expect("live", "stored", "live")

    page.page.locator(".jp-CodeCell").nth(2).locator(".jp-InputPrompt").click()
    page.page.keyboard.press("Control+Alt+c")
    assert page.page.locator(".jp-CodeCell").nth(2).locator(".cm-content").inner_text().startswith("%%awaitly x")
    page.expect("live", "stored", "stale")
    page.page.keyboard.press("Control+Alt+c")
    page.expect("live", "stored", "live")


def test_the_sidebar_lists_the_cells_and_the_folder_and_undoes_an_invalidation(opened):
    page = opened(LOAD, RAW, TOTAL)
    page.lab.run_all()
    page.expect("live", "stored", "stored")
    page.palette("Show the awaitly sidebar")
    side = page.page.locator(".awn-side")
    side.wait_for()
    rows = side.locator("ul").first.locator("li")
    assert [row.split("\n")[1] for row in rows.all_inner_texts()] == ["raw", "total"]
    assert "2 from cache, 0 would run" in side.inner_text()
    keys = side.locator("ul").last.locator("li")
    side.get_by_label("Search the keys of the folder").fill("total")
    page.page.wait_for_function(
        "() => document.querySelectorAll('.awn-side ul:last-of-type li').length === 1", timeout=20_000
    )
    keys.first.get_by_role("button").click()
    page.expect("live", "stored", "stale")
    side.get_by_role("button", name="Undo").click()
    page.expect("live", "stored", "stored")


def test_a_moved_and_a_copied_cell_have_their_marks_and_so_have_cells_that_come_into_view(opened):
    page = opened(LOAD, RAW, TOTAL)
    page.lab.run_all()
    page.expect("live", "stored", "stored")
    page.select(1)
    page.lab.command("notebook:copy-cell")
    page.lab.command("notebook:paste-cell-below")
    page.expect("live", "stored", "cached", "stored")
    page.select(3)
    page.lab.command("notebook:move-cell-up")
    page.expect("live", "stored", "stored", "cached")
