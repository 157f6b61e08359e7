"""Marks, commands and the sidebar in a real JupyterLab: what a person sees and clicks."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.browser.lab import notebook
from tests.e2e.browser.marks import BROKEN, KEYLESS, LOAD, RAW, TOTAL, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


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
    assert page.page.locator(".awn-spoken[role=status]").inner_text() == "broken: failed", "what a screen reader hears"

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
    assert re.fullmatch(r"…\s*computing( 1 s)?, usually 1\.\d s\s*", page.mark(1).inner_text())
    assert 1.5 <= float(page.mark(1).locator("progress").get_attribute("max")) < 3
    page.expect("live", "stored", "live")

    page.page.locator(".jp-CodeCell").nth(2).locator(".jp-InputPrompt").click()
    page.page.keyboard.press("Control+Alt+c")
    assert page.page.locator(".jp-CodeCell").nth(2).locator(".cm-content").inner_text().startswith("%%awaitly x")
    page.expect("live", "stored", "stale")
    page.page.keyboard.press("Control+Alt+c")
    page.expect("live", "stored", "live")


def test_the_sidebar_shows_the_cells_with_their_graph_and_the_panel(opened):
    functions = """import awaitly_nb as aw

@aw.step
def score(params, fold):
    return fold * len(params)

for fold in range(3): score({"depth": 3}, fold=fold)"""
    page = opened(LOAD, RAW, TOTAL, functions)
    page.lab.run_all()
    page.expect("live", "stored", "stored", "live")
    side = page.sidebar()
    assert "2 in the cache, 0 would run" in side.inner_text()
    rows = side.locator(".awn-cells li")
    assert [row.split("\n")[0] for row in rows.all_inner_texts()] == ["raw", "total"]
    assert "reads raw" in rows.nth(1).locator("button").get_attribute("title")
    assert side.locator(".awn-cells svg path").count() == 1
    rows.nth(1).locator("button").click()
    assert page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex") == 2

    # The panel is the same as in an output: a search by arguments, and of superseded versions the newest.
    search = side.get_by_label("Search keys")
    search.fill("score fold=1")
    keys = side.locator(".awn-lane .awn-row")
    page.page.wait_for_function("() => document.querySelectorAll('.awn-side .awn-lane .awn-row').length === 1")
    assert keys.first.inner_text().split("\n")[0].startswith("score(params=")
    search.fill("")
    page.write(3, functions.replace("fold * len", "1 + fold * len"))
    page.lab.run_cell(3)
    page.page.wait_for_function("() => document.querySelectorAll('.awn-side .awn-older').length === 3")
    assert side.locator(".awn-older").all_inner_texts() == ["+1 older"] * 3
    before = keys.count()
    side.locator(".awn-older").first.click()
    page.page.wait_for_function(
        "n => document.querySelectorAll('.awn-side .awn-lane .awn-row').length === n", arg=before + 1
    )

    # What is invalidated there is stale at once, and comes back.
    search.fill("total")
    page.page.wait_for_function("() => document.querySelectorAll('.awn-side .awn-lane .awn-row').length === 1")
    keys.first.hover()
    keys.first.locator(".awn-drop").click()
    page.expect("live", "stored", "stale", "live")
    side.locator(".awn-panel").get_by_role("button", name="Undo").click()
    page.expect("live", "stored", "stored", "live")


def test_automatic_mode_is_switched_in_the_sidebar_and_its_cells_are_marked(opened):
    slow = "import time\ntime.sleep(1.2)\nrows = list(range(5))"
    page = opened(LOAD, slow)
    page.lab.run_all()
    page.expect("live", "live")
    page.sidebar().get_by_role("button", name="Auto").click()
    page.expect("live", "stale")
    page.lab.run_cell(1)
    page.expect("live", "stored")
    page.write(1, slow + "\n# a comment")
    page.expect("live", "cached")
    keys = page.page.locator(".awn-side .awn-lane .awn-row")
    assert re.match(r"rows:\w{10}…", keys.first.inner_text()), "an automatic key says what its cell is called"
    before = page.prompts()
    page.press(1, "Control+Alt+r")
    page.ran(before, [1])
    page.expect("live", "stored")
    page.press(1, "Control+Alt+i")
    page.expect("live", "stale")
    page.press(1, "Control+Alt+z")
    page.expect("live", "stored")
    page.palette("Auto off")
    page.expect("live", "live")


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
