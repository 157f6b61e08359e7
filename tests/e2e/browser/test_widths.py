"""The panel as wide as a screen and as narrow as a side bar: names and keys are read, bins are reached."""

from __future__ import annotations

import pytest

from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CELL = """
import awaitly_nb as aw

def body(ctx):
    ctx.step("load_and_validate", lambda: 1, key="load:1")
    ctx.attempt("weather", lambda: aw.err("NO_DATA"), key="weather:1")
    for i in range(2):
        ctx.step("fit", lambda: i, key=f"fit:{i}")
    for i in range(30):
        ctx.step("mapped", lambda: i, key=f"mapped:{i}")
    ctx.step("long", lambda: 1, key="k" * 70 + ":" + "y" * 70 + ":2024-05")

for name in ("a-workflow-with-a-name-that-goes-on-and-on-for-ever-and-ever", "w"):
    for _ in range(2):
        aw.create_workflow(name).run_sync(body)
aw.panel()
"""

WIDTHS = (1072, 1000, 900, 800, 700, 600, 500, 420, 340)
LEAST = 140  # px for what a step is called, and for a key

MEASURED = """
panel => {
    const box = node => node.getBoundingClientRect();
    const seen = node => box(node).width > 2 && getComputedStyle(node).visibility !== "hidden";
    const right = box(panel).right;
    const rows = [...panel.querySelectorAll(".awn-table thead tr, tr.awn-step, .awn-columns, .awn-lane .awn-row")];
    const trouble = [];
    for (const row of rows) {
        const cells = [...row.children].filter(seen);
        cells.forEach((cell, i) => {
            if (i && box(cells[i - 1]).right > box(cell).left + 1) trouble.push(`overlap: ${row.innerText}`);
        });
        if (box(cells.at(-1)).right > right) trouble.push(`cut off: ${row.innerText}`);
        // A number or a state that is cut tells something else than it says.
        for (const cell of cells.filter(cell => cell.matches(".awn-num, .awn-state"))) {
            if (cell.scrollWidth > cell.clientWidth + 1) trouble.push(`too wide: ${cell.innerText}`);
        }
    }
    const least = nodes => Math.min(...[...nodes].map(node => box(node).width));
    const bins = [...panel.querySelectorAll(".awn-drop")];
    for (const bin of bins) {
        bin.scrollIntoView({ block: "center" });
        const { left, top, width, height } = box(bin);
        const there = document.elementFromPoint(left + width / 2, top + height / 2);
        if (!bin.contains(there)) trouble.push("bin is covered");
    }
    return {
        trouble,
        step: least(panel.querySelectorAll(".awn-stepname")),
        key: least(panel.querySelectorAll(".awn-cell.awn-key")),
        names: least(panel.querySelectorAll(".awn-stepname .awn-id, .awn-lane .awn-keyname")),
        tails: [...panel.querySelectorAll(".awn-lane .awn-keytail")]
            .map(tail => box(tail).right <= box(tail.closest(".awn-cell")).right),
        bins: new Set(bins.map(bin => Math.round(box(bin).right))).size,
    };
}
"""


@pytest.fixture
def wide_lab(open_lab):
    lab = open_lab(notebook(CELL))
    lab.run_all()
    lab.page.wait_for_selector(".awn-row[data-key]")
    lab.wait_idle()
    lab.page.locator(".awn-search").fill("fit long load")
    lab.page.locator(".awn-search").fill("")
    return lab


def make_wide(lab, width):
    """Give the panel a width, as a window or a side bar would; wait until it is drawn so."""
    panel = lab.page.locator(".awn-panel").first
    panel.evaluate("(panel, width) => { panel.style.width = `${width}px`; }", width)
    lab.page.wait_for_function(
        "width => Math.abs(document.querySelector('.awn-panel').offsetWidth - width) < 1", arg=width
    )
    return panel


@pytest.mark.parametrize("scrollbar", [0, 15])
def test_names_and_keys_are_read_at_every_width(wide_lab, scrollbar):
    if scrollbar:  # as on systems that give it a place of its own
        wide_lab.page.add_style_tag(content=f".awn-panel ::-webkit-scrollbar {{ width: {scrollbar}px; }}")
    wide_lab.page.set_viewport_size({"width": 1500, "height": 1000})
    for width in WIDTHS:
        seen = make_wide(wide_lab, width).evaluate(MEASURED)
        assert seen["trouble"] == [], width
        assert seen["step"] >= LEAST, width
        assert seen["key"] >= LEAST, width
        assert seen["names"] > 12, width
        assert all(seen["tails"]), width
        assert seen["bins"] == 1, width  # one column of them in both tables


def test_keys_that_differ_at_their_ends_can_be_told_apart(wide_lab):
    """The namespace gives way, and then the middle of a key."""
    page = wide_lab.page
    page.locator(".awn-search").fill("fit")
    make_wide(wide_lab, 600)
    shown = page.locator(".awn-lane .awn-row").evaluate_all(
        """rows => rows.map(row => {
            const head = row.querySelector(".awn-keyhead");
            return [row.dataset.key, head.scrollWidth <= head.clientWidth + 1];
        })"""
    )
    assert sorted(shown) == [["fit:0", True], ["fit:0", True], ["fit:1", True], ["fit:1", True]]
    page.locator(".awn-search").fill("kkk")
    assert page.locator(".awn-lane .awn-keytail").first.inner_text().endswith(":2024-05")
