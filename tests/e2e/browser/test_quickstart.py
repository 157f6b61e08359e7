"""The main story on the quickstart: real data and models, as the README's reader lives it. Takes the README's picture.

The manual's pictures are made on demand: `AWAITLY_NB_SCREENSHOT=1 python -m pytest tests/e2e/browser`.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.e2e.browser.lab import TAKE_PICTURES, shrink

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "notebooks" / "pictures" / "jupyterlab.png"

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(3000)]


def take_picture(lab):
    """Photograph the panel with the cells around it, as it stands now."""
    page = lab.page
    page.set_viewport_size({"width": 1240, "height": 860})
    page.evaluate('() => { window.jupyterapp.commands.execute("application:toggle-left-area"); }')
    page.locator(".awn-panel").first.evaluate(
        """panel => {
            const cell = panel.closest(".jp-Cell");
            cell.scrollIntoView({ block: "start" });
        }"""
    )
    page.wait_for_function("() => !document.querySelector('#jp-left-stack')?.checkVisibility()")
    # A moment later the step has run for some time, and the picture shows that.
    page.wait_for_function(
        "() => /^[1-9][.0-9]* s/.test(document.querySelector('tr[data-step=fit] .awn-time').innerText)"
    )
    page.mouse.move(5, 5)
    PICTURE.parent.mkdir(exist_ok=True)
    page.screenshot(path=PICTURE)
    shrink(PICTURE)


def test_run_click_restart_resume_save_reopen(open_lab, chromium, server):
    lab = open_lab(nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4), name="quickstart")
    page = lab.page

    lab.run_all()
    lab.expect_step("score", "running", timeout_s=600)
    lab.expect_step("fit", "running", timeout_s=1500)
    assert lab.states() == {"airlines": "computed", "score": "computed", "fit": "running"}
    lab.expect_step("fit", "computed", timeout_s=600)
    lab.wait_idle()
    assert "12 computed" in lab.step("score").inner_text()

    lab.step("fit").locator(".awn-drop").click()
    page.wait_for_selector(".awn-toast:visible")
    if (sure := page.locator(".awn-toast [data-do='confirm']")).is_visible():  # where the fit took above ten seconds
        sure.click()
    lab.expect_step("fit", "invalidated")
    lab.restart()
    page.wait_for_selector(".awn-gone:visible")
    lab.wait_idle()

    lab.run_all()
    lab.expect_step("fit", "running", timeout_s=600)
    assert lab.states() == {"airlines": "hit", "score": "hit", "fit": "running"}
    if TAKE_PICTURES:
        take_picture(lab)
    lab.expect_step("fit", "computed", timeout_s=600)
    lab.wait_idle()
    assert lab.states() == {"airlines": "hit", "score": "hit", "fit": "computed"}
    assert "saved" in page.locator(".awn-saved").inner_text()

    saved = lab.save()
    data = [output.data for cell in saved.cells for output in cell.get("outputs", []) if "data" in output]
    assert not [bundle for bundle in data if any("widget" in kind for kind in bundle)]
    server.put("quickstart/reopened.ipynb", saved)
    context = chromium.new_context()
    reader = type(lab)(context.new_page(), server, "quickstart/reopened.ipynb").open(kernel=False)
    table = reader.page.locator(".awn-static table").first
    table.wait_for()
    assert all(name in table.inner_text() for name in ("airlines", "score", "fit"))
    context.close()
