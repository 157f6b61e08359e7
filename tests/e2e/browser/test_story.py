"""The main story as a person lives it: run, watch, invalidate a key, restart, run again, save, open with no kernel."""

from __future__ import annotations

import pytest

from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

WORKFLOW = """
import time
import awaitly_nb as aw

workflow = aw.create_workflow("report")

def body(ctx):
    rows = ctx.step("load", lambda: list(range(1000)), key="load:v1")
    total = ctx.step("total", lambda: (time.sleep(0.4), sum(rows))[1], key="total:v1")
    model = ctx.step("fit", lambda: (time.sleep(3), total / 7)[1], key="fit:v1")
    return ctx.step("score", lambda: (time.sleep(0.4), round(model))[1], key="score:v1")

aw.panel()
"""
RUN = "result = workflow.run_sync(body); print(result)"
STEPS = ("load", "total", "fit", "score")


def test_run_click_restart_resume_save_reopen(open_lab, chromium, server):
    lab = open_lab(notebook(WORKFLOW, RUN))
    page = lab.page

    # The first run: a row is seen running, then done, while the cell is under way.
    lab.run_all()
    lab.expect_step("fit", "running")
    assert lab.states()["load"] == "computed"
    assert "score" not in lab.states()
    lab.expect_step("fit", "computed")
    lab.wait_idle()
    lab.expect_step("score", "computed")
    assert lab.states() == dict.fromkeys(STEPS, "computed")
    assert "Ok(value=71357)" in lab.output(1)

    # One key is invalidated by its button.
    page.locator('.awn-lane .awn-row[data-key="fit:v1"] .awn-drop').click()
    page.wait_for_selector('.awn-lane .awn-row[data-key="fit:v1"]', state="detached")
    assert sorted(page.locator(".awn-lane .awn-row").evaluate_all("rows => rows.map(row => row.dataset.key)")) == [
        "load:v1",
        "score:v1",
        "total:v1",
    ]

    # The kernel is restarted through the menu, and the panel says so by itself.
    lab.restart()
    page.wait_for_selector(".awn-gone:not([hidden])")
    assert "Kernel gone" in page.locator(".awn-gone").first.inner_text()
    assert page.locator(".awn-drop:visible").count() == 0
    lab.wait_idle()

    # The second run computes what was invalidated, and nothing else.
    lab.run_all()
    lab.expect_step("score", "hit")
    lab.wait_idle()
    lab.expect_step("fit", "computed")
    assert lab.states() == {"load": "hit", "total": "hit", "fit": "computed", "score": "hit"}
    assert page.locator(".awn-gone:visible").count() == 0
    assert "saved" in page.locator(".awn-saved").inner_text()

    # Saved, it holds HTML and no widget; opened by somebody without a kernel, the final table is still there.
    saved = lab.save()
    outputs = [output for cell in saved.cells for output in cell.outputs if output.output_type == "display_data"]
    assert [sorted(output.data) for output in outputs] == [["text/html", "text/plain"]]
    assert "widgets" not in saved.metadata
    saved.metadata.pop("kernelspec")
    server.put("story/reopened.ipynb", saved)
    context = chromium.new_context()
    reader = type(lab)(context.new_page(), server, "story/reopened.ipynb").open(kernel=False)
    table = reader.page.locator(".awn-static table").first
    table.wait_for()
    text = table.inner_text()
    assert all(name in text for name in STEPS)
    assert text.count("from cache") == 3
    assert text.count("computed") >= 1
    context.close()
