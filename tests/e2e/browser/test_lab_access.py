"""Who uses a screen reader or high contrast: what axe finds, in each theme."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest

from tests.e2e.browser.lab import DARK, HIGH_CONTRAST, LIGHT, notebook
from tests.e2e.browser.marks import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

PARTS = (".awn-side", ".jp-Notebook .awn-panel", ".awn-mark")
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
DELAYS = (
    "%load_ext awaitly_nb\nimport time\nimport awaitly_nb as aw",
    "%%awaitly features --ttl 30d\ntime.sleep(0.9)\nfeatures = [day ** 2 for day in range(365)]\nlen(features)",
    "%%awaitly model\ntime.sleep(0.6)\nmodel = max(features) / len(features)",
    "%%awaitly report\nprint(f'{model:.1f} minutes late')\nreport = {'late': model}",
    "@aw.step\ndef score(fold):\n    return report['late'] * fold\n\nbest = max(score(fold) for fold in range(3))",
    "%%awaitly summary\nsummary = best / 0",
    "aw.panel()",
)


# Axe tells nothing of the colours of what lies over an editor, so a mark's contrast is computed as WCAG does.
CONTRASTS = """() => [...document.querySelectorAll(".awn-mark")].map(mark => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const behind = [];
    for (let node = mark; node; node = node.parentElement) behind.unshift(getComputedStyle(node).backgroundColor);
    const paint = colours => {
        for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
        const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map(x => x / 255)
            .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = paint(["white", ...behind]);
    const words = paint(["white", ...behind, getComputedStyle(mark).color]);
    return [mark.innerText, (Math.max(ground, words) + 0.05) / (Math.min(ground, words) + 0.05)];
})"""


# Colours are judged only of what the browser has painted, which it has not yet where the page has just grown.
JUDGED = """async ([selector, colours]) => {
    for (let look = 0; ; look += 1) {
        const found = await axe.run(selector);
        const judged = [...found.passes, ...found.violations].some(one => one.id === "color-contrast");
        if (judged || !colours || look === 40) return found;
        await new Promise(resolve => setTimeout(resolve, 250));
    }
}"""


def faults(page, selector, *, colours=True):
    """Return what axe finds serious or critical in a part of the page, and its colours too where it can tell them."""
    result = page.evaluate(JUDGED, [selector, colours])
    assert not colours or "color-contrast" in {one["id"] for one in (*result["passes"], *result["violations"])}
    return [
        (one["id"], node["target"], node["failureSummary"])
        for one in result["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


def test_axe_finds_nothing_serious_in_panel_sidebar_and_marks(open_lab):
    lab = open_lab(notebook(*DELAYS), name="delays")
    page = Page(lab)
    lab.run_all()
    page.expect("live", "stored", "stored", "stored", "live", "failed", "live")
    lab.wait_idle()
    lab.run_cell(6)
    lab.page.locator(".jp-Notebook .awn-panel").wait_for()
    lab.run_cell(1)
    page.sidebar()
    page.write(2, DELAYS[2] + " - 1")
    page.expect("live", "hit", "stale", "stale", "live", "failed", "live")
    lab.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    page.select(3)
    lab.page.locator(".awn-side .awn-lane .awn-row").first.click()
    lab.page.locator(".awn-side .awn-previewbody :is(.awn-part, .awn-text)").first.wait_for()
    lab.page.locator(".awn-side").evaluate("side => { side.scrollTop = 0; }")
    lab.page.add_script_tag(path=AXE)
    # The server remembers the last one.
    for theme, name in ((HIGH_CONTRAST, "marks-contrast"), (DARK, "marks-dark"), (LIGHT, "marks")):
        lab.page.set_viewport_size({"width": 1120, "height": 860})
        lab.set_theme(theme)
        lab.picture(name, "#main")
        lab.page.set_viewport_size({"width": 1120, "height": 2600})  # axe tells the colours of what is in sight
        for selector in PARTS:
            assert faults(lab.page, selector, colours=selector != ".awn-mark") == [], (selector, theme)
        contrasts = lab.page.evaluate(CONTRASTS)
        assert len(contrasts) == len(DELAYS)
        assert all(ratio >= 4.5 for _, ratio in contrasts), (theme, contrasts)

    # With the colours of the system instead of any of ours, each state still has its sign and its word.
    lab.page.emulate_media(forced_colors="active")
    for selector in PARTS:
        assert faults(lab.page, selector, colours=False) == [], (selector, "forced colours")
    assert lab.page.locator(".awn-mark").all_inner_texts() == [text for text, _ in contrasts]
