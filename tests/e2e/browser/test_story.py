"""The main story as a person lives it: run, watch, invalidate keys, restart, run again, save, open with no kernel.

Told under each version of ipykernel that handles a click differently while a cell runs: 6.x lets it wait until the cell
has ended, 7.0 to 7.3 serve it on a thread of their own, 7.4 on the main thread while the cell awaits.
"""

from __future__ import annotations

import pytest

from tests.e2e.browser.ipykernels import add_kernelspec
from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

WORKFLOW = """
import time
from pathlib import Path
import awaitly_nb as aw
import ipykernel

workflow = aw.create_workflow("report")

def fit(total):
    # The test opens this gate, when it has seen and clicked what it wants to.
    while not Path("gate").exists():
        time.sleep(0.02)
    return total / 7

async def body(ctx):
    rows = await ctx.step("load", lambda: list(range(1000)), key="load:v1")
    total = await ctx.step("total", lambda: sum(rows), key="total:v1")
    model = await ctx.step("fit", fit, total, key="fit:v1", executor="thread")
    # Computing it takes a time that a hit visibly saves.
    return await ctx.step("score", lambda: (time.sleep(0.3), round(model))[1], key="score:v1")

aw.panel()
"""
RUN = "result = await workflow.run(body); print(ipykernel.__version__, result)"
STEPS = ("load", "total", "fit", "score")


def kept(page):
    return sorted(page.locator(".awn-lane .awn-row").evaluate_all("rows => rows.map(row => row.dataset.key)"))


@pytest.mark.parametrize(("version", "serves_clicks"), [("6.31", False), ("7.3", True), ("7.4", True)])
def test_run_click_restart_resume_save_reopen(open_lab, chromium, server, version, serves_clicks):
    lab = open_lab(notebook(WORKFLOW, RUN, kernel=add_kernelspec(server.data, version)))
    page = lab.page

    # The first run: a row is seen running while the cell is under way.
    lab.run_all()
    lab.expect_step("fit", "running")
    assert lab.states() == {"load": "computed", "total": "computed", "fit": "running"}

    # A key is invalidated by its button, while the cell awaits where ipykernel can do that.
    page.locator('.awn-lane .awn-row[data-key="load:v1"] .awn-drop').click()
    if serves_clicks:
        page.wait_for_selector('.awn-lane .awn-row[data-key="load:v1"]', state="detached")
        assert lab.states()["fit"] == "running"
    else:
        page.wait_for_selector('.awn-lane .awn-row[data-key="load:v1"] .awn-drop[disabled]')
        assert "The kernel is busy" in page.locator(".awn-note").inner_text()
    (lab.path.parent / "gate").touch()
    lab.expect_step("score", "computed")
    lab.wait_idle()
    page.wait_for_selector('.awn-lane .awn-row[data-key="load:v1"]', state="detached")
    assert lab.states() == dict.fromkeys(STEPS, "computed") | {"load": "invalidated"}
    assert lab.output(1).startswith(f"{version}.")
    assert "Ok(value=71357)" in lab.output(1)

    # Another one after the cell.
    page.locator('.awn-lane .awn-row[data-key="fit:v1"] .awn-drop').click()
    page.wait_for_selector('.awn-lane .awn-row[data-key="fit:v1"]', state="detached")
    assert kept(page) == ["score:v1", "total:v1"]

    # The kernel is restarted through the menu, and the panel says so by itself.
    lab.restart()
    page.wait_for_selector(".awn-gone:not([hidden])")
    assert "Kernel restarted" in page.locator(".awn-gone").first.inner_text()
    assert page.locator(".awn-drop:visible, .awn-toast:visible").count() == 0, "there is nobody to invalidate or undo"
    lab.picture("kernel-gone")
    lab.wait_idle()

    # The second run computes what was invalidated, and nothing else.
    lab.run_all()
    lab.expect_step("score", "hit")
    lab.wait_idle()
    lab.expect_step("fit", "computed")
    assert lab.states() == {"load": "computed", "total": "hit", "fit": "computed", "score": "hit"}
    assert kept(page) == sorted(f"{step}:v1" for step in STEPS)
    assert page.locator(".awn-gone:visible").count() == 0
    assert "saved" in page.locator(".awn-saved").inner_text()

    # Saved, it holds HTML and no widget; opened by somebody without a kernel, the final table is still there.
    saved = lab.save()
    outputs = [output for cell in saved.cells for output in cell.outputs if output.output_type == "display_data"]
    assert [sorted(output.data) for output in outputs] == [["text/html", "text/plain"]]
    assert "widgets" not in saved.metadata
    saved.metadata.pop("kernelspec")
    server.put(f"story-{version}/reopened.ipynb", saved)
    context = chromium.new_context()
    reader = type(lab)(context.new_page(), server, f"story-{version}/reopened.ipynb").open(kernel=False)
    table = reader.page.locator(".awn-static table").first
    table.wait_for()
    reader.picture("saved", ".awn-static")
    text = table.inner_text()
    assert all(name in text for name in STEPS)
    assert text.count("from cache") == 2
    assert text.count("computed") >= 2
    context.close()
