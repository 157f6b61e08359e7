"""Who uses a keyboard, a screen reader or high contrast: every command by each way, and what axe finds."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest

from tests.e2e.browser.lab import notebook
from tests.e2e.browser.marks import LOAD, RAW, TOTAL, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

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


def faults(page, selector):
    """Return what axe finds serious or critical in a part of the page."""
    colours = selector != ".awn-mark"
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
    for light, name in ((False, "marks-dark"), (True, "marks")):  # the server remembers the last one
        lab.page.set_viewport_size({"width": 1120, "height": 860})
        lab.set_theme(light=light)
        lab.picture(name, "#main")
        lab.page.set_viewport_size({"width": 1120, "height": 2600})  # axe tells the colours of what is in sight
        for selector in (".awn-side", ".jp-Notebook .awn-panel", ".awn-mark"):
            assert faults(lab.page, selector) == [], (selector, light)
        contrasts = lab.page.evaluate(CONTRASTS)
        assert len(contrasts) == len(DELAYS)
        assert all(ratio >= 4.5 for _, ratio in contrasts), contrasts


def test_every_command_by_mouse_palette_and_keyboard(open_lab):
    """Each by its key, by the palette, and where a mouse finds it: toolbars, menus, or the sidebar."""
    lab = open_lab(notebook(LOAD, RAW, TOTAL, "x = 1"))
    page = Page(lab)
    lab.run_all()
    page.expect("live", "stored", "stored", "live")

    # Each says which arguments it takes, so that an assistant can call it.
    described = lab.page.evaluate(
        """async () => {
            const { commands } = window.jupyterapp;
            const ours = commands.listCommands().filter(id => id.startsWith("awaitly-nb:"));
            return Promise.all(ours.map(async id => [id, (await commands.describedBy(id)).args]));
        }"""
    )
    assert len(described) == 9
    for name, arguments in described:
        assert arguments["type"] == "object", name
        assert all("description" in one for one in arguments["properties"].values()), name

    invalidate = {
        "key": lambda: page.press(2, "Control+Alt+i"),
        "palette": lambda: page.palette("Invalidate this cell", cell=2),
        "menu": lambda: page.menu(2, "Invalidate this cell"),
    }
    undo = {
        "key": lambda: page.press(2, "Control+Alt+z"),
        "palette": lambda: page.palette("Undo the last invalidation", cell=2),
        "menu": lambda: page.sidebar().locator(".awn-acts").get_by_role("button", name="Undo").click(),
    }
    for way, act in invalidate.items():
        act()
        page.expect("live", "stored", "stale", "live")
        undo[way]()
        page.expect("live", "stored", "stored", "live")

    # What the sidebar did last comes first; the cells come from the cache when they all run.
    run_all = {
        "key": lambda: page.press(1, "Control+Alt+Enter"),
        "palette": lambda: page.palette("Run all (", cell=1),
        "menu": lambda: page.main_menu("Run", "Run all ("),
    }
    for act in run_all.values():
        before = page.prompts()
        act()
        page.ran(before, [0, 1, 2, 3])
        page.expect("live", "hit", "hit", "live")

    stale = {
        "key": lambda: page.press(2, "Control+Alt+s"),
        "palette": lambda: page.palette("Run stale cells", cell=2),
        "menu": lambda: lab.page.locator(".jp-NotebookPanel-toolbar [data-command='awaitly-nb:run-stale']").click(),
    }
    for number, act in enumerate(stale.values()):
        page.write(2, f"{TOTAL} + {number}")
        page.expect("live", "hit", "stale", "live")
        before = page.prompts()
        act()
        page.ran(before, [2])
        page.expect("live", "hit", "stored", "live")

    again = {
        "key": lambda: page.press(2, "Control+Alt+r"),
        "palette": lambda: page.palette("Recompute this cell", cell=2),
        "menu": lambda: page.in_toolbar(2, "recompute-cell"),
    }
    for act in again.values():
        before = page.prompts()
        act()
        page.ran(before, [2])
        page.expect("live", "hit", "stored", "live")

    why = {
        "key": lambda: page.press(2, "Control+Alt+w"),
        "palette": lambda: page.palette("Why?", cell=2),
        "menu": lambda: page.in_toolbar(2, "why"),
    }
    for act in why.values():
        act()
        dialog = lab.page.locator(".jp-Dialog")
        dialog.wait_for()
        assert "Why total?" in dialog.inner_text()
        dialog.get_by_role("button", name="Close").click()
        dialog.wait_for(state="detached")

    toggle = {
        "key": lambda: page.press(3, "Control+Alt+c"),
        "palette": lambda: page.palette("Cache this cell", cell=3),
        "menu": lambda: page.menu(3, "Cache this cell"),
    }
    for act in toggle.values():
        act()
        page.expect("live", "hit", "stored", "stale")
        page.write(3, "x = 1")
        page.expect("live", "hit", "stored", "live")

    auto = {
        "key": lambda: page.press(3, "Control+Alt+a"),
        "palette": lambda: page.palette("Auto o", cell=3),
        "menu": lambda: page.main_menu("Run", "Auto o"),
    }
    on = False
    for act in auto.values():
        act()
        on = not on
        page.expect("live", "hit", "stored", "live")
        lab.page.wait_for_selector(f'.awn-acts button[aria-pressed="{str(on).lower()}"]')

    for act in (
        lambda: page.press(1, "Control+Alt+b"),
        lambda: page.palette("Show the awaitly sidebar", cell=1),
        lambda: lab.page.locator('.jp-SideBar [data-id="awaitly-nb-sidebar"]').click(),
    ):
        lab.command("application:toggle-right-area")
        lab.page.locator(".awn-side").wait_for(state="hidden")
        act()
        lab.page.locator(".awn-side").wait_for()
