"""The graph of a saved notebook is seen without a kernel: by a reader whom nobody trusts, and as a web page."""

from __future__ import annotations

import nbconvert
import pytest

from tests.e2e.browser.lab import notebook
from tests.e2e.browser.marks import LOAD, TOTAL

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

# What a person sees of the picture: how large it is, and how many colours there are in it.
SEEN = """async (image) => {
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0, image.width, image.height);
    const { data } = pen.getImageData(0, 0, image.width, image.height);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 3).join());
    return { width: image.getBoundingClientRect().width, height: image.height, colours: colours.size };
}"""


def seen(picture):
    picture.wait_for()
    return picture.evaluate(SEEN)


def test_the_graph_of_a_saved_notebook_is_seen_without_a_kernel(open_lab, chromium, tmp_path):
    lab = open_lab(notebook(LOAD, "%%awaitly raw\nraw = [1, 2, 3]", TOTAL, "%awaitly graph"))
    lab.run_all()
    lab.page.locator(".jp-OutputArea img[alt*='2 hit']").wait_for()
    lab.wait_idle()
    saved = lab.save()
    (output,) = saved.cells[3].outputs
    assert "text/html" in output.data

    saved.cells[3].source += "\n# edited by somebody else, so that its signature does not fit"
    saved.metadata.kernelspec.name = "no-such-kernel"
    reader = open_lab(saved, name="copy", kernel=False)
    assert seen(reader.page.locator(".jp-OutputArea img").first)["colours"] > 3
    assert seen(reader.page.locator(".jp-OutputArea img").first)["height"] > 100

    page = tmp_path / "n.html"
    page.write_text(nbconvert.HTMLExporter().from_notebook_node(saved)[0], encoding="utf-8")
    context = chromium.new_context(offline=True, java_script_enabled=True)
    try:
        plain = context.new_page()
        plain.goto(page.as_uri())
        assert seen(plain.locator(".jp-OutputArea-output img").first)["colours"] > 3
    finally:
        context.close()
