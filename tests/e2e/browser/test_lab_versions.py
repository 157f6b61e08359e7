"""The extension in the oldest JupyterLab and Notebook that it is for, and in the newest Notebook: one story in each.

The other browser tests run in the newest JupyterLab. A version is installed without what it depends on: that is here.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.e2e.browser.lab import Lab, Server, notebook
from tests.e2e.browser.marks import BROKEN, KEYLESS, LOAD, RAW, TOTAL, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

MAGIC = "%%awaitly timed\n%time timed = 1"
CELLS = (f"{LOAD}\nimport threading\nlock = threading.Lock()", RAW, TOTAL, KEYLESS, MAGIC, BROKEN)


@pytest.fixture(scope="module")
def oldest(tmp_path_factory):
    """Where JupyterLab 4.2 and Notebook 7.2 are."""
    return _installed(tmp_path_factory.mktemp("oldest"), "jupyterlab==4.2.*", "notebook==7.2.*")


@pytest.fixture(scope="module")
def newest(tmp_path_factory):
    """Where the Notebook is that goes with the JupyterLab here, and that, as their files lie in one folder."""
    lab = version("jupyterlab")
    return _installed(tmp_path_factory.mktemp("newest"), f"jupyterlab=={lab}", f"notebook==7.{lab.split('.')[1]}.*")


def _installed(folder, *wanted):
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", str(folder)]
    subprocess.run([*pip, *wanted], check=True, timeout=600)
    return folder


@pytest.mark.parametrize(("app", "of"), [("lab", "oldest"), ("notebook", "oldest"), ("notebook", "newest")])
def test_every_mark_and_run_stale_through_edit_reload_move_and_restart(app, of, request, chromium, tmp_path):
    server = Server(tmp_path / "server", app=app, packages=request.getfixturevalue(of))
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    try:
        browser = context.new_page()
        browser.set_default_timeout(120_000)
        requests = []
        browser.on("request", lambda asked: requests.append(asked.url))
        server.put("notebook.ipynb", notebook(*CELLS))
        _tell_the_story(Page(Lab(browser, server, "notebook.ipynb").open()))
        own = (f"http://127.0.0.1:{server.port}/", "data:", "blob:")
        assert [url for url in requests if not url.startswith(own)] == []
    finally:
        context.close()
        server.stop()


def _tell_the_story(page):
    page.lab.run_cell(0)
    page.expect("live", "new", "new", "new", "unknown", "new")
    page.lab.run_all()
    page.page.wait_for_selector('.jp-CodeCell[data-awaitly="computing"] progress')
    page.expect("live", "stored", "stored", "uncached", "stored", "failed")

    page.write(1, RAW.replace("3]", "4]"))
    page.expect("live", "stale", "stale", "uncached", "stored", "failed", timeout_ms=10_000)
    page.write(5, "%%awaitly broken\nbroken = 1")
    before = page.prompts()
    page.lab.command("awaitly-nb:run-stale")
    page.expect("live", "stored", "stored", "uncached", "stored", "stored")
    assert [one != two for one, two in zip(before, page.prompts(), strict=True)] == [
        False,
        True,
        True,
        True,
        False,
        True,
    ]

    page.select(1)
    page.lab.command("notebook:move-cell-down")
    page.write(1, TOTAL + "\n0")
    page.expect("live", "stale", "stored", "uncached", "stored", "stored")
    page.write(1, TOTAL)
    page.select(2)
    page.lab.command("notebook:move-cell-up")
    page.expect("live", "stored", "stored", "uncached", "stored", "stored")

    page.lab.save()
    page.page.reload()
    page.page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.lab.wait_idle()
    page.expect("live", "stored", "stored", "uncached", "stored", "stored")

    page.lab.restart()
    page.lab.wait_idle()
    page.lab.run_cell(0)
    page.expect("live", "cached", "cached", "new", "unknown", "cached")
    page.lab.run_all()
    page.expect("live", "hit", "hit", "uncached", "hit", "hit")
    page.lab.command("awaitly-nb:show-sidebar")
    page.page.locator('.awn-side .awn-lane .awn-row[data-key^="total:"]').wait_for()
