"""Why a step was computed, opened in the panel: the difference of the source, the column that changed, inert text."""

from __future__ import annotations

import pytest

from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

FIRST = """
import awaitly_nb as aw
import pandas as pd

def clean(raw):
    return raw.dropna()

@aw.step
def features(raw, window=7):
    rows = clean(raw)
    rows = rows.sort_values("day")
    rows["mean"] = rows["price"].rolling(window).mean()
    return rows

raw = pd.DataFrame({"day": range(20), "price": range(20)})
aw.panel()
_ = features(raw)
"""
EDITED = """
@aw.step
def features(raw, window=7):
    rows = clean(raw)
    rows = rows.sort_values("day")
    rows["mean"] = rows["price"].rolling(window, min_periods=1).mean()
    rows["change"] = rows["price"].diff()
    return rows

_ = features(raw)
"""
RETYPED = 'features(raw.astype({"price": "float64"})); None'
EVIL = """
@aw.step
def other(x):
    return x

_ = other(1)

@aw.step
def other(x):
    return "<img src=x onerror=window.pwned=1>"

_ = other(1)
"""


@pytest.fixture
def why_lab(open_lab):
    lab = open_lab(notebook(FIRST, EDITED, RETYPED, EVIL))
    for cell in range(3):
        lab.run_cell(cell)
    lab.wait_idle()
    lab.page.wait_for_function("() => document.querySelectorAll('tr[data-step=features]').length === 3")
    return lab


def told(page):
    """The opened rows' texts."""
    return page.locator(".awn-panel tr.awn-because").all_inner_texts()


def test_a_click_on_a_state_opens_the_difference(why_lab):
    page = why_lab.page
    states = page.locator(".awn-panel tr[data-step=features] .awn-tell")
    states.nth(1).click()
    page.wait_for_selector(".awn-diff")
    (text,) = told(page)
    assert text.startswith("code of features edited")
    went, came = page.locator(".awn-went").all_inner_texts(), page.locator(".awn-came").all_inner_texts()
    assert [line.strip() for line in went] == ['-    rows["mean"] = rows["price"].rolling(window).mean()']
    assert came[1].strip() == '+    rows["change"] = rows["price"].diff()'

    # Another row beside it: an argument, in one line with the column and its types.
    states.nth(2).click()
    page.wait_for_function("() => document.querySelectorAll('.awn-because').length === 2")
    page.wait_for_function("() => /int64 -> float64/.test(document.querySelectorAll('.awn-because')[1].innerText)")
    assert 'column "price"' in told(page)[1]
    assert "key features:" in told(page)[1]
    why_lab.picture("why")

    # The first one has nothing to be compared with; and each closes again.
    states.nth(0).click()
    page.wait_for_function("() => /first run/.test(document.querySelector('.awn-because').innerText)")
    for number in range(3):
        states.nth(number).click()
    assert told(page) == []


def test_the_whole_row_is_the_target(why_lab):
    page = why_lab.page
    name = page.locator(".awn-panel tr[data-step=features] .awn-stepname").nth(1)
    assert name.evaluate("node => getComputedStyle(node).cursor") == "pointer"
    assert name.locator(".awn-chevron").count() == 1
    name.click()
    page.wait_for_selector(".awn-diff")
    # What it says is there to be read and copied: a click on it closes nothing.
    page.locator(".awn-because").click()
    assert len(told(page)) == 1
    page.locator(".awn-panel tr[data-step=features] .awn-time").nth(1).click()
    page.wait_for_selector(".awn-because", state="detached")


def test_source_is_text_whatever_it_says(why_lab):
    page = why_lab.page
    why_lab.run_cell(3)
    page.wait_for_function("() => document.querySelectorAll('tr[data-step=other]').length === 2")
    page.locator(".awn-panel tr[data-step=other] .awn-tell").nth(1).click()
    page.wait_for_selector('.awn-came:has-text("<img src=x onerror=window.pwned=1>")')
    assert page.locator(".awn-panel img").count() == 0
    assert page.evaluate("() => window.pwned") is None


def test_it_opens_and_closes_from_the_keyboard_and_keeps_the_focus(why_lab):
    page = why_lab.page
    state = page.locator(".awn-panel tr[data-step=features] .awn-tell").nth(1)
    state.focus()
    assert state.get_attribute("aria-expanded") == "false"
    page.keyboard.press("Enter")
    page.wait_for_selector(".awn-diff")
    assert state.get_attribute("aria-expanded") == "true"
    assert page.evaluate("() => document.activeElement.classList.contains('awn-tell')")
    # The difference can be scrolled with the keyboard: it is the next but one stop, after the button that invalidates.
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "awn-diff"
    state.focus()
    page.keyboard.press("Space")
    page.wait_for_selector(".awn-because", state="detached")
    assert page.evaluate("() => document.activeElement.classList.contains('awn-tell')")


def test_after_a_restart_what_was_asked_for_is_still_told(why_lab):
    page = why_lab.page
    states = page.locator(".awn-panel tr[data-step=features] .awn-tell")
    states.nth(1).click()
    page.wait_for_selector(".awn-diff")
    why_lab.restart()
    page.wait_for_selector(".awn-gone:visible")
    states.nth(2).click()
    page.wait_for_function("() => document.querySelectorAll('.awn-because').length === 2")
    assert "rolling(window)" in told(page)[0]
    assert "int64 -> float64" in told(page)[1]
    why_lab.wait_idle()  # a server takes long to stop a kernel that is about to start
