"""Removing in the panel: this notebook first, a question before much work goes, and a way back for a minute."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SETUP = """
%load_ext awaitly_nb
import awaitly_nb as aw
from awaitly_nb.result import Mark, with_mark
from datetime import UTC, datetime

def put(namespace, key, seconds):
    mark = Mark(step_id=namespace, workflow=namespace, at=datetime.now(UTC), duration_s=seconds)
    aw.create_disk_cache(namespace=namespace).set(key, with_mark(aw.Ok(key), mark))

for n in range(2_023):
    put("somebody", f"other:{n}", 30.0)
put("flow", "load:1", 0.5)
put("flow", "fit:1", 26.0)
flow = aw.create_workflow("flow")
result = flow.run_sync(lambda ctx: ctx.step("load", lambda: 1, key="load:1"))
"""
CELL = """%%awaitly delays
%matplotlib inline
import pandas as pd
import matplotlib.pyplot as plt
frame = pd.DataFrame({"origin": ["EWR", "JFK", "LGA"], "delay": [9.1, 5.6, 5.8]})
rows = [1, 2, 3]
print("three airports")
frame.plot.bar(x="origin", y="delay");
"""
STORE = """
import sys
import awaitly_nb as aw
aw.create_disk_cache(sys.argv[1], namespace="flow").set("new:1", aw.Ok(1))
"""


@pytest.fixture
def lab(open_lab):
    opened = open_lab(notebook(SETUP, CELL, "aw.panel()"))
    opened.run_all()
    opened.page.wait_for_selector(".awn-row[data-key]")
    opened.wait_idle()
    return opened


def keys(page):
    return page.locator(".awn-lane .awn-row").evaluate_all("rows => rows.map(row => row.dataset.key)")


def row(page, key):
    return page.locator(f'.awn-row[data-key^="{key}"]')


def test_a_day_with_the_trash(lab):
    page = lab.page
    # Of this notebook: what ran in it. "Select all" reaches no further.
    page.wait_for_function("() => document.querySelectorAll('.awn-lane .awn-row').length === 3")
    assert sorted(key.partition(":")[0] for key in keys(page)) == ["delays", "fit", "load"]
    page.locator('.awn-columns input[type="checkbox"]').click()
    page.get_by_role("button", name="Invalidate 3 keys").wait_for()
    page.locator('.awn-columns input[type="checkbox"]').click()

    # Much work is asked for, and Cancel is what Enter does.
    row(page, "fit:1").locator(".awn-drop").click()
    page.get_by_role("alertdialog", name="Invalidate this key?").wait_for()
    assert "26 s" in page.locator(".awn-toast").inner_text()
    assert page.evaluate("() => document.activeElement.innerText") == "Cancel"
    lab.picture("question")
    page.keyboard.press("Enter")
    page.wait_for_selector(".awn-toast", state="hidden")
    assert "fit:1" in keys(page)
    row(page, "fit:1").locator(".awn-drop").click()
    page.locator(".awn-toast").get_by_role("button", name="Invalidate").click()
    row(page, "fit:1").wait_for(state="detached")

    # ... and it comes back.
    page.get_by_role("button", name="Undo").click()
    row(page, "fit:1").wait_for()
    assert "1 key restored." in page.locator(".awn-note").inner_text()

    # The whole folder, where that is asked for.
    page.get_by_role("button", name="Whole folder (2,026)").click()
    page.wait_for_selector('.awn-row[data-key^="other:"]')
    page.get_by_role("button", name="This notebook").click()
    page.wait_for_selector('.awn-row[data-key^="other:"]', state="detached")

    # The cell's preview: a table for the frame, a picture for the plot, the text it printed; no byte of base64 as text.
    row(page, "delays:").click()
    page.wait_for_selector('.awn-part[data-part="frame"] .awn-data')
    parts = page.locator(".awn-part").evaluate_all("parts => parts.map(part => part.dataset.part)")
    assert {"frame", "rows", "printed", "plot"} <= set(parts)
    assert page.locator('.awn-part[data-part="plot"] img').evaluate("image => image.naturalWidth") > 100
    assert "three airports" in page.locator('.awn-part[data-part="printed"]').inner_text()
    assert "base64" not in page.locator(".awn-preview").inner_text()
    lab.picture("preview-cell", ".awn-keys")


def test_the_list_grows_when_another_kernel_stores_a_key(lab):
    page = lab.page
    row(page, "load:1").wait_for()
    assert row(page, "new:1").count() == 0
    environment = {**os.environ, "HOME": str(lab.path.parents[2])}
    subprocess.run([sys.executable, "-c", STORE, lab.path.parent / ".awaitly"], check=True, env=environment)
    row(page, "new:1").wait_for(timeout=30_000)
