"""The extension in the oldest and the newest JupyterLab and Notebook: every mark and every command in each.

The other browser tests run in the JupyterLab that is here. A version is installed without what it depends on.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from awaitly_nb import create_disk_cache
from tests.e2e.browser.lab import Lab, Server, notebook
from tests.e2e.browser.marks import BROKEN, KEYLESS, LOAD, RAW, TOTAL, Page
from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

MAGIC = "%%awaitly timed\n%time timed = 1"
CELLS = (f"{LOAD}\nimport threading\nlock = threading.Lock()", RAW, TOTAL, KEYLESS, MAGIC, BROKEN)


@pytest.fixture(scope="module")
def oldest(tmp_path_factory):
    """Where JupyterLab 4.2 and Notebook 7.2 are."""
    return _installed(tmp_path_factory.mktemp("oldest"), "jupyterlab==4.2.*", "notebook==7.2.*")


@pytest.fixture(scope="module")
def newest(tmp_path_factory):
    """Where the JupyterLab is that is here, and the Notebook that goes with it."""
    lab = version("jupyterlab")
    return _installed(tmp_path_factory.mktemp("newest"), f"jupyterlab=={lab}", f"notebook==7.{lab.split('.')[1]}.*")


def _installed(folder, *wanted):
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", str(folder)]
    subprocess.run([*pip, *wanted], check=True, timeout=600)
    return folder


@pytest.fixture(scope="module", params=["lab oldest", "lab newest", "notebook oldest", "notebook newest"])
def server(request, tmp_path_factory):
    """A server of one version."""
    app, of = request.param.split()
    running = Server(tmp_path_factory.mktemp("server"), app=app, packages=request.getfixturevalue(of))
    yield running
    running.stop()


@pytest.fixture
def opened(server, chromium, request):
    """`opened(*sources)` shows a notebook of these cells; in the end, nobody but the page's own server was asked."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    browser = context.new_page()
    browser.set_default_timeout(120_000)
    requests = []
    browser.on("request", lambda asked: requests.append(asked.url))

    def show(*sources):
        path = f"{request.node.originalname}/notebook.ipynb"
        server.put(path, notebook(*sources))
        return Page(Lab(browser, server, path).open())

    yield show
    context.close()
    own = (f"http://127.0.0.1:{server.port}/", "data:", "blob:")
    assert [url for url in requests if not url.startswith(own)] == []


def test_every_mark_and_run_stale_through_edit_reload_move_and_restart(opened):
    page = opened(*CELLS)
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


def test_automatic_mode_has_the_keys_of_a_kernel_without_a_page(opened, tmp_path):
    rows, total = "# awaitly: cache\nrows = [n * n for n in range(9)]", "# awaitly: cache\ntotal = sum(rows)"
    page = opened(f"{LOAD}\n%awaitly auto", rows, total)
    page.lab.run_all()
    page.expect("live", "stored", "stored")
    folder = page.lab.path.with_name(".awaitly")
    with kernel(tmp_path, AWAITLY_NB_AUTO="1") as other:
        other.run(rows)
        other.run(total)
    found, wanted = (sorted(create_disk_cache(one, namespace="auto").keys()) for one in (folder, tmp_path / ".awaitly"))
    assert len(wanted) == 2
    assert found == wanted


def test_every_command_by_mouse_palette_and_keyboard(opened):
    """Each by its key, by the palette, and where a mouse finds it: toolbars, menus, or the sidebar."""
    page = opened(LOAD, RAW, TOTAL, "x = 1")
    lab = page.lab
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
        lambda: _show_by_mouse(page),
    ):
        lab.page.evaluate("() => window.jupyterapp.shell.collapseRight()")
        lab.page.locator(".awn-side").wait_for(state="hidden")
        act()
        lab.page.locator(".awn-side").wait_for()


def _show_by_mouse(page):
    if page.lab.server.app == "lab":
        page.page.locator('.jp-SideBar [data-id="awaitly-nb-sidebar"]').click()
        return
    page.page.get_by_role("menuitem", name="View", exact=True).click()
    page.page.locator(".lm-Menu-item", has_text="Right Sidebar").hover()
    page.page.locator(".lm-Menu-item", has_text="Show awaitly").click()
