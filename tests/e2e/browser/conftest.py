"""One JupyterLab and one Chromium for all browser tests; each test has a page and a folder of its own."""

from __future__ import annotations

import os

import pytest

_STRICT = os.environ.get("AWAITLY_NB_TESTS_STRICT") == "1"  # now: the tests' own settings replace it later
_MISSING = "browser tests need chromium: apt-get install chromium"


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium; without one the tests are skipped, or fail where nothing may be skipped."""
    # Here, and not above: a module of tests that lacks a package is skipped, and this one would be an error.
    from tests.e2e.browser import lab

    if lab.CHROMIUM is None:
        if _STRICT:
            pytest.fail(_MISSING)
        pytest.skip(_MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=lab.CHROMIUM, args=lab.CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(chromium, tmp_path_factory):
    """A running JupyterLab."""
    from tests.e2e.browser import lab

    running = lab.Server(tmp_path_factory.mktemp("lab"))
    yield running
    running.stop()


@pytest.fixture
def open_lab(chromium, server, request):
    """`open_lab(notebook)` shows a notebook in a new page."""
    from tests.e2e.browser import lab

    contexts = []

    def open_notebook(content, *, name=None, **options):
        scale = lab.PICTURE_SCALE if lab.TAKE_PICTURES else 1
        context = chromium.new_context(viewport={"width": 1280, "height": 1000}, device_scale_factor=scale)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        path = f"{request.node.path.stem}-{request.node.name}/{name or 'notebook'}.ipynb"
        if content is not None:
            server.put(path, content)
        return lab.Lab(page, server, path).open(**options)

    yield open_notebook
    for context in contexts:
        context.close()
