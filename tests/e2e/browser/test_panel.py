"""The panel in a real JupyterLab: every state on screen, every button, the keyboard, both themes, no harm from text."""

from __future__ import annotations

import pytest

from tests.e2e.browser.lab import DARK, LIGHT, notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

STATES = """
import time
from pathlib import Path
import awaitly_nb as aw

workflow = aw.create_workflow("states", executor="thread")
broken = False

def wait_for(gate):
    # The test opens a gate by making a file: the slow step ends when the test has seen what it wants to see.
    while not Path(gate).exists():
        time.sleep(0.02)

def boom():
    raise ValueError("<b>bad</b> input")

async def body(ctx):
    await ctx.step("load", lambda: 1, key="load:1")
    await ctx.attempt("weather", lambda: aw.err("NO_DATA"), key="weather:1")
    await ctx.step("fit", wait_for, f"fit-{broken}", key=f"fit:{broken}")
    if broken:
        await ctx.step("check", boom, key="check:1")
    await ctx.step("score", wait_for, "score", key="score:1")

aw.panel()
"""


def test_every_state_is_seen_and_buttons_work_while_a_cell_awaits(open_lab):
    lab = open_lab(notebook(STATES, "await workflow.run(body)", "broken = True; await workflow.run(body)"))
    page = lab.page
    lab.run_cell(0)
    lab.wait_idle()
    assert page.locator(".awn-steps").first.inner_text() == "No step has run yet in this kernel."

    # While the cell awaits: computed, failed, running; and a key is invalidated under the running step.
    lab.run_cell(1)
    lab.expect_step("fit", "running")
    assert lab.states() == {"load": "computed", "weather": "failed", "fit": "running"}
    page.wait_for_function("() => /s$/.test(document.querySelector('tr[data-step=fit] .awn-time').innerText)")
    page.locator('.awn-row[data-key="load:1"] .awn-drop').click()
    page.wait_for_selector('.awn-row[data-key="load:1"]', state="detached")
    lab.expect_step("load", "invalidated")
    assert lab.states()["fit"] == "running"

    (lab.path.parent / "fit-False").touch()
    lab.expect_step("score", "running")
    (lab.path.parent / "score").touch()
    lab.expect_step("score", "computed")
    lab.wait_idle()
    assert lab.states() == {"load": "invalidated", "weather": "failed", "fit": "computed", "score": "computed"}

    # The second run: what was invalidated is computed, what failed comes from the cache, what is to come is pending.
    lab.run_cell(2)
    lab.expect_step("fit", "running")
    lab.expect_step("score", "pending")
    assert lab.states() == {"load": "computed", "weather": "replayed", "fit": "running", "score": "pending"}
    page.wait_for_function("() => document.querySelector('tr[data-step=fit] .awn-time').innerText")
    lab.picture("states")
    lab.picture("states-dark", dark=True)
    (lab.path.parent / "fit-True").touch()
    lab.expect_step("check", "failed")
    lab.expect_step("score", "skipped")
    lab.wait_idle()
    assert "ValueError: <b>bad</b> input" in lab.step("check").inner_text()
    assert page.locator(".awn-panel b", has_text="bad").count() == 0
    assert "failed" in page.locator(".awn-status").first.inner_text()
    lab.picture("failed")


KEYS = """
import awaitly_nb as aw
import pandas as pd

report = aw.create_workflow("report")
EVIL = "<img src=x onerror=window.pwned=1>"

def body(ctx):
    for i in range(40):
        ctx.step("row", lambda: i, key=f"row:{i:02}")
    stations = {"station": ["EWR", "JFK", "LGA"], "wind_mph": [12.7, 9.2, 15.0], "delay_min": [9.1, 5.6, 5.8]}
    ctx.step("frame", lambda: pd.DataFrame(stations), key="frame:1")
    ctx.step(EVIL, lambda: pd.DataFrame({EVIL: [EVIL]}), key=f"evil:{EVIL}")
    ctx.attempt("broken", lambda: aw.err(EVIL), key="broken:1")
    ctx.attempt("broken2", lambda: aw.err("NO"), key="broken:2")

report.run_sync(body)
aw.panel()
"""


@pytest.fixture
def keys_lab(open_lab):
    lab = open_lab(notebook(KEYS))
    lab.run_all()
    lab.page.wait_for_selector(".awn-row[data-key]")
    lab.wait_idle()
    return lab


def shown_keys(page):
    return page.locator(".awn-lane .awn-row").evaluate_all("rows => rows.map(row => row.dataset.key)")


def title(page):
    return page.locator(".awn-keys .awn-title").first.inner_text()


def test_search_sort_preview_retry_and_several_at_once(keys_lab):
    page = keys_lab.page
    assert title(page).startswith("Keys 44")

    # Only rows in sight exist, and scrolling brings the others.
    assert len(shown_keys(page)) < 25
    page.locator(".awn-sort", has_text="Key").click()
    page.locator(".awn-body").evaluate("body => { body.scrollTop = body.scrollHeight; }")
    page.wait_for_selector('.awn-row[data-key="row:39"]')
    page.locator(".awn-sort", has_text="Key").click()
    page.locator(".awn-body").evaluate("body => { body.scrollTop = 0; }")
    page.wait_for_selector('.awn-row[data-key="row:39"]')
    assert shown_keys(page)[0] == "row:39"
    assert page.locator('[aria-sort="descending"]').inner_text().startswith("Key")

    # Search is instant, by words, in key, namespace and step.
    page.locator(".awn-search").fill("REPORT row:1")
    assert sorted(shown_keys(page)) == [f"row:{i}" for i in range(10, 20)]
    assert "10 keys of 44" in page.locator(".awn-note").inner_text()

    # Several at once: little work is not asked for, and can be undone.
    page.locator('.awn-columns input[type="checkbox"]').click()
    keys_lab.picture("search", ".awn-keys")
    page.get_by_role("button", name="Invalidate 10 keys").click()
    page.wait_for_function("() => /^Keys 34/.test(document.querySelector('.awn-keys .awn-title').innerText)")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("() => /^Keys 44/.test(document.querySelector('.awn-keys .awn-title').innerText)")
    page.locator('.awn-columns input[type="checkbox"]').click()
    page.get_by_role("button", name="Invalidate 10 keys").click()
    page.wait_for_function("() => /^Keys 34/.test(document.querySelector('.awn-keys .awn-title').innerText)")
    page.locator(".awn-search").fill("")

    # A preview is a table of text.
    page.locator(".awn-search").fill("frame")
    page.locator('.awn-row[data-key="frame:1"]').click()
    page.wait_for_selector(".awn-data")
    assert page.locator(".awn-data th").all_inner_texts()[1:] == ["station", "wind_mph", "delay_min"]
    assert "3 rows" in page.locator(".awn-previewhead").inner_text()
    keys_lab.picture("preview", ".awn-keys")
    page.locator(".awn-search").fill("evil")
    page.locator('.awn-row[data-key^="evil:"]').click()
    page.wait_for_selector('.awn-data td:has-text("onerror")')
    assert page.locator(".awn-data th").all_inner_texts()[1:] == ["<img src=x onerror=window.pwned=1>"]
    page.get_by_role("button", name="Close the preview").click()
    assert page.locator(".awn-preview:visible").count() == 0
    page.locator(".awn-search").fill("")

    # Failures can be looked at alone, and retried at once.
    page.get_by_role("button", name="Show 2 failed").click()
    assert sorted(shown_keys(page)) == ["broken:1", "broken:2"]
    page.get_by_role("button", name="Retry failed").click()
    page.wait_for_function("() => /^Keys 32/.test(document.querySelector('.awn-keys .awn-title').innerText)")
    assert page.get_by_role("button", name="Retry failed").count() == 0

    # Whatever users wrote was text all the time.
    assert page.evaluate("() => window.pwned") is None
    assert page.locator(".awn-panel img").count() == 0


def test_everything_can_be_done_from_the_keyboard(keys_lab):
    page = keys_lab.page
    page.locator(".awn-sort", has_text="Key").click()
    page.locator(".awn-search").fill("row")
    page.locator(".awn-grid").focus()
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    for key in ("Home", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    active = page.locator(".awn-grid").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("data-key") == "row:02"
    assert page.locator(f"#{active}").get_attribute("aria-rowindex") == "4"
    page.keyboard.press("Enter")
    page.wait_for_selector(".awn-preview .awn-text")
    assert page.locator(".awn-preview .awn-text").inner_text() == "2"
    page.keyboard.press("Escape")
    page.keyboard.press("Delete")
    page.wait_for_selector('.awn-row[data-key="row:02"]', state="detached")
    page.keyboard.press("Home")
    for key in ("Space", "ArrowDown", "Space", "Delete"):
        page.keyboard.press(key)
    page.wait_for_selector('.awn-row[data-key="row:01"]', state="detached")
    page.keyboard.press("End")
    active = page.locator(".awn-grid").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("data-key") == "row:39"
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.className") == "awn-search"

    # None of these keys reached the notebook, where "d d" deletes a cell and "a" adds one.
    page.locator(".awn-grid").focus()
    for key in ("d", "d", "a", "b"):
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_a_glob_is_searched_for_as_in_the_magic(keys_lab):
    page = keys_lab.page
    for query, found in {
        "row:0?": [f"row:0{i}" for i in range(10)],
        "*:1": ["broken:1", "frame:1"],
        "ROW:*": [],  # case counts
        "row:[!0-3]*": [],
        "row:3[89]*": ["row:38", "row:39"],
        "row *": [],  # the key and nothing beside it
    }.items():
        page.locator(".awn-search").fill(query)
        assert sorted(shown_keys(page)) == found, query


def test_a_preview_that_opens_below_is_brought_into_sight(keys_lab):
    page = keys_lab.page
    page.set_viewport_size({"width": 1280, "height": 500})
    page.locator(".awn-search").fill("row:07")
    row = page.locator('.awn-row[data-key="row:07"]')
    row.evaluate("row => row.scrollIntoView({ block: 'end' })")
    row.click()
    page.wait_for_selector(".awn-preview .awn-text")
    page.wait_for_function(
        """() => {
            const { top, bottom } = document.querySelector(".awn-preview .awn-text").getBoundingClientRect();
            const sight = document.querySelector(".jp-WindowedPanel-outer").getBoundingClientRect();
            return top >= sight.top && bottom <= sight.bottom;
        }"""
    )


def test_the_bin_marks_its_step_and_the_focus_stays_on_the_row(keys_lab):
    page = keys_lab.page
    row = keys_lab.step("frame")
    row.locator(".awn-drop").focus()
    page.keyboard.press("Enter")
    keys_lab.expect_step("frame", "invalidated")
    assert "runs again next time" in row.inner_text()
    assert row.locator(".awn-pill").inner_text() == "invalidated"
    page.wait_for_function("() => /^Keys 43/.test(document.querySelector('.awn-keys .awn-title').innerText)")
    page.wait_for_function("() => document.activeElement.closest('tr')?.dataset.step === 'frame'", timeout=20_000)
    assert "1 invalidated" in page.locator(".awn-facts").inner_text()


def test_ages_go_on_while_nothing_happens(keys_lab):
    page = keys_lab.page
    first = page.locator(".awn-lane .awn-at").first.inner_text()
    page.wait_for_function("first => document.querySelector('.awn-lane .awn-at').innerText !== first", arg=first)
    ages = page.locator(".awn-lane .awn-at").all_inner_texts()
    assert len({*ages}) <= 2  # of one moment, told at one moment


def test_a_screen_reader_finds_names_roles_and_counts(keys_lab):
    page = keys_lab.page
    grid = page.get_by_role("grid", name="Cached keys")
    assert grid.get_attribute("aria-rowcount") == "45"
    assert page.get_by_role("button", name="Invalidate frame:1").count() >= 1
    assert page.get_by_role("searchbox", name="Search keys").count() == 1
    unnamed = page.locator(".awn-panel button").evaluate_all(
        "buttons => buttons.filter(b => !(b.innerText.trim() || b.getAttribute('aria-label'))).length"
    )
    assert unnamed == 0


def test_shown_twice_it_is_one_panel(open_lab):
    lab = open_lab(notebook(KEYS, "aw.panel()"))
    page = lab.page
    lab.run_all()
    page.wait_for_selector(".awn-panel >> nth=1")
    lab.wait_idle()
    page.locator(".awn-panel").nth(1).locator(".awn-search").fill("frame")
    page.locator(".awn-panel").nth(1).locator('.awn-row[data-key="frame:1"] .awn-drop').click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.awn-keys .awn-title')].every(t => /^Keys 43/.test(t.innerText))"
    )
    # Both bring back their own search.
    assert [box.input_value() for box in page.locator(".awn-search").all()] == ["", "frame"]


def test_a_saved_panel_reads_well_trusted_and_untrusted(keys_lab, open_lab):
    saved = keys_lab.save()
    (output,) = (output for output in saved.cells[0].outputs if output.output_type == "display_data")
    assert sorted(output.data) == ["text/html", "text/plain"]
    saved.cells[0].source += "\n# edited by somebody else, so that its signature does not fit"
    reader = open_lab(saved, name="copy")
    table = reader.page.locator(".awn-static table").first
    table.wait_for()
    assert "frame" in table.inner_text()
    assert reader.page.locator(".awn-static style").count() == 0  # untrusted: JupyterLab took the style sheet away
    assert reader.page.locator(".awn-panel").count() == 0
    reader.command("notebook:trust")
    reader.page.locator(".jp-Dialog button.jp-mod-warn").click()
    reader.page.wait_for_selector(".awn-static style", state="attached")
    assert "frame" in reader.page.locator(".awn-static table").first.inner_text()
    assert reader.page.evaluate("() => window.pwned") is None


def test_a_page_that_is_loaded_again_is_told_what_it_missed(keys_lab):
    keys_lab.save()
    keys_lab.open()
    page = keys_lab.page
    page.wait_for_function("() => /^Keys 44/.test(document.querySelector('.awn-keys .awn-title')?.innerText)")
    assert keys_lab.states()["frame"] == "computed"
    page.locator(".awn-search").fill("frame")
    page.locator('.awn-row[data-key="frame:1"] .awn-drop').click()
    page.wait_for_function("() => /^Keys 43/.test(document.querySelector('.awn-keys .awn-title').innerText)")


def luminance(page, selector, name):
    """Brightness from 0 to 1 of a computed colour."""
    return page.locator(selector).first.evaluate(
        """(node, name) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
            const pen = canvas.getContext("2d");
            pen.fillStyle = getComputedStyle(node)[name];
            pen.fillRect(0, 0, 1, 1);
            const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
            return (0.299 * r + 0.587 * g + 0.114 * b) / 255;
        }""",
        name,
    )


def test_it_follows_the_theme(keys_lab):
    page = keys_lab.page
    assert luminance(page, ".awn-panel", "backgroundColor") > 0.8
    assert luminance(page, ".awn-id", "color") < 0.4
    keys_lab.set_theme(DARK)
    try:
        assert luminance(page, ".awn-panel", "backgroundColor") < 0.2
        assert luminance(page, ".awn-id", "color") > 0.6
    finally:
        keys_lab.set_theme(LIGHT)


MANY = """
from datetime import UTC, datetime, timedelta
from awaitly_nb.cache import Entry, Listing
from awaitly_nb.notebook.panel import Panel

class Source:
    "As many keys as a year of work leaves behind, without a disk that is slower than what is measured."
    def __init__(self, count):
        now = datetime.now(UTC)
        self.kept = {f"day:{i}": Entry(key=f"day:{i}", namespace="w", step_id=f"s{i % 9}", size_bytes=i, created_at=now,
            duration_s=i % 5) for i in range(count)}
    def namespace_of(self, workflow): return workflow
    def listing(self): return Listing.of(self.kept.values())
    def remove(self, namespace, key):
        entry = self.kept.pop(key, None)
        return None if entry is None else lambda: self.kept.update({key: entry})
    def has(self, namespace, key): return key in self.kept
    def get(self, namespace, key): return None
    def stamp(self): return len(self.kept)

shown = Panel(Source(COUNT))
shown.show()
"""


def measure(open_lab, count):
    """Return milliseconds for a search in the page, and the number of rows in the page, with `count` keys."""
    lab = open_lab(notebook(f"COUNT = {count}" + MANY), name=f"many-{count}")
    page = lab.page
    lab.run_all()
    page.wait_for_selector('.awn-row[data-key="day:1"], .awn-row[data-key^="day:"]')
    lab.wait_idle()
    assert title(page).startswith(f"Keys {count:,}")
    took = page.evaluate(
        """() => {
            const box = document.querySelector(".awn-search");
            const times = [];
            for (const word of ["day:77", "s3 day:9", "day:", "5"]) {
                box.value = word;
                const start = performance.now();
                box.dispatchEvent(new Event("input"));
                times.push(performance.now() - start);
            }
            box.value = "";
            box.dispatchEvent(new Event("input"));
            return times.sort((a, b) => a - b)[1];
        }"""
    )
    rows = page.locator(".awn-lane .awn-row").count()
    page.locator(".awn-lane .awn-row .awn-drop").first.click()
    page.wait_for_function(
        f"() => document.querySelector('.awn-keys .awn-title').innerText.startsWith('Keys {count - 1:,}')"
    )
    return took, rows


@pytest.mark.slow
def test_a_hundred_thousand_keys_stay_quick(open_lab):
    few, few_rows = measure(open_lab, 1_000)
    many, many_rows = measure(open_lab, 100_000)
    assert many_rows == few_rows
    # A hundred times the keys: drawing, which does not grow, is most of the time with few of them.
    assert many < 100 * max(few, 1.0)


def test_rows_keep_still_under_the_pointer(open_lab):
    # One step more than before, so that the keys move by one row of steps and stay under the pointer.
    more = 'report.run_sync(lambda ctx: (body(ctx), ctx.step("new", lambda: 1, key="new:1")))'
    lab = open_lab(notebook(KEYS, more))
    page = lab.page
    lab.run_cell(0)
    page.wait_for_selector(".awn-row[data-key]")
    lab.wait_idle()
    first = shown_keys(page)[0]
    page.locator(".awn-lane .awn-row").nth(4).hover()
    lab.run_cell(1)
    page.wait_for_function("() => /^Keys 45/.test(document.querySelector('.awn-keys .awn-title').innerText)")
    assert shown_keys(page)[0] == first
    page.locator(".awn-head").hover()
    page.wait_for_selector('.awn-row[data-key="new:1"]')
    assert shown_keys(page)[0] == "new:1"

    # The second click of a double click hits the row that moved up, and must not count.
    page.locator(".awn-lane .awn-row .awn-drop").first.dblclick()
    page.wait_for_selector('.awn-row[data-key="new:1"]', state="detached")
    assert title(page).startswith("Keys 44")
