"""A real JupyterLab and a real Chromium, driven as a person drives them: open, run, click, restart, save."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import TimeoutError as PageTimeoutError

from awaitly_nb.labextension import link_extension

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]

PICTURES = Path(__file__).parents[3] / "notebooks" / "pictures"
TAKE_PICTURES = os.environ.get("AWAITLY_NB_SCREENSHOT") == "1"  # now: the tests' own settings replace ours later
PICTURE_SCALE = 1.5  # letters stay sharp where a page shows it larger

SETTINGS = {
    # Without this a pop-up asks whether to fetch news from the network.
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
    # Every cell is in the page, so that a test finds output below the fold.
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
}


LIGHT, DARK, HIGH_CONTRAST = "JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"


def write_settings(folder: Path, *, theme: str = LIGHT) -> None:
    """Write what a user would have set in the settings editor."""
    themed = {"@jupyterlab/apputils-extension/themes.jupyterlab-settings": {"theme": theme}}
    for name, values in {**SETTINGS, **themed}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


def notebook(*sources: str, kernel: str = "python3") -> nbformat.NotebookNode:
    """Return a notebook of these code cells."""
    # The kernel is named, or JupyterLab asks for one.
    spec = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata=spec)


def shrink(picture: Path) -> None:
    """Save a picture with 176 colours, which is enough, and a third of the bytes."""
    from PIL import Image

    Image.open(picture).convert("RGB").quantize(176, kmeans=1, dither=Image.Dither.NONE).save(picture, optimize=True)


class Server:
    """A JupyterLab or Notebook server in a folder of its own.

    Parameters
    ----------
    folder
        For notebooks, settings and log. Nothing of the user's is read.
    app
        "lab" or "notebook".
    packages
        Where another version of it, and of JupyterLab, was installed with `pip --target`.
    """

    def __init__(self, folder: Path, *, app: str = "lab", packages: Path | None = None) -> None:
        self.app = app
        self.root = folder / "work"
        self.settings = folder / "settings"
        self.data = folder / "data"
        self.root.mkdir(parents=True)
        write_settings(self.settings)
        link_extension(self.data / "labextensions")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AWAITLY_NB_", "JUPYTER"))}
        env |= {
            "HOME": str(folder),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(self.data),
            "JUPYTER_RUNTIME_DIR": str(folder / "run"),
            "JUPYTER_PREFER_ENV_PATH": "0",  # our own link comes before an extension of the environment
            "JUPYTERLAB_SETTINGS_DIR": str(self.settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "OMP_NUM_THREADS": "1",  # threads that spin for a busy core make a shared machine ten times slower
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        if packages is not None:
            share = packages / "share" / "jupyter"
            env |= {"PYTHONPATH": str(packages), "JUPYTER_PATH": str(share), "JUPYTERLAB_DIR": str(share / "lab")}
        module, exposed = {"lab": ("jupyterlab", "LabApp"), "notebook": ("notebook", "JupyterNotebookApp")}[app]
        self.log = folder / "lab.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", module, "--no-browser", "--allow-root", "--ip=127.0.0.1"),
                    *(f"--port={self.port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=t"),
                    f"--{exposed}.expose_app_in_browser=True",
                    f"--ServerApp.root_dir={self.root}",
                ],
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(self.url("api"), timeout=5).close()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
        self.stop()
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token=t"

    def put(self, name: str, content: nbformat.NotebookNode) -> Path:
        """Write a notebook where the server finds it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(content, path)
        return path

    def stop(self) -> None:
        """Stop the server with its kernels."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Lab:
    """One page that shows one notebook.

    Parameters
    ----------
    page
        Playwright's page.
    server
        Where the notebook is.
    name
        The notebook, as a path under the server's folder.
    """

    def __init__(self, page, server: Server, name: str) -> None:
        self.page = page
        self.server = server
        self.name = name
        self.path = server.root / name

    def open(self, *, kernel: bool = True, windowing: str = "none") -> Lab:
        """Open the notebook; wait until its kernel is idle, or until it is drawn when no kernel is wanted.

        With `windowing="full"` the page holds the cells that are in sight, as a user has it.
        """
        if windowing != "none":
            # What the server sends to this page only, in place of what the others have.
            def told(route):
                answer = route.fetch()
                settings = answer.json()
                for one in settings.get("settings", [settings]):
                    if one["id"].endswith("notebook-extension:tracker"):
                        one["raw"] = json.dumps({"windowingMode": windowing})
                route.fulfill(response=answer, json=settings)

            self.page.route("**/lab/api/settings*", told)
        place = "lab/tree" if self.server.app == "lab" else "notebooks"
        self.page.goto(self.server.url(f"{place}/{self.name}") + ("&reset" if self.server.app == "lab" else ""))
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=180_000)
        if kernel:
            self.wait_idle()
        return self

    def wait_idle(self) -> None:
        """Wait until the kernel has nothing to do."""
        self.page.wait_for_function(
            """() => {
                const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
                const kernel = context?.session?.kernel;
                return kernel?.status === "idle" && kernel.connectionStatus === "connected" && !context.pendingInput;
            }""",
            timeout=180_000,
        )

    def command(self, name: str) -> None:
        """Do what a menu entry does, without waiting for it to end."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)

    def run_all(self) -> None:
        """Run every cell; returns at once."""
        self.command("notebook:run-all-cells")

    def run_cell(self, number: int) -> None:
        """Run one cell; returns at once."""
        self.page.evaluate(
            """number => {
                window.jupyterapp.shell.currentWidget.content.activeCellIndex = number;
                window.jupyterapp.commands.execute("notebook:run-cell");
            }""",
            number,
        )

    def restart(self) -> None:
        """Restart the kernel through the menu, as a person does."""
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.get_by_role("menuitem", name=re.compile(r"^Restart Kernel…")).click()
        self.page.locator(".jp-Dialog button.jp-mod-warn", has_text="Restart").click()
        self.page.wait_for_selector(".jp-Dialog", state="detached")

    def save(self) -> nbformat.NotebookNode:
        """Save, and return what is on disk."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        return nbformat.read(self.path, as_version=4)

    def step(self, name: str):
        """Return the row of one step in the panel."""
        return self.page.locator(f'.awn-panel tr[data-step="{name}"]').first

    def expect_step(self, name: str, *states: str, timeout_s: float = 120) -> None:
        """Wait until a step is in one of these states."""
        rows = ", ".join(f'.awn-panel tr[data-step="{name}"][data-state="{state}"]' for state in states)
        try:
            self.page.wait_for_selector(rows, timeout=1000 * timeout_s)
        except PageTimeoutError as exc:
            raise AssertionError(f"{name} is not {' or '.join(states)}, but {self.told()}") from exc

    def told(self) -> str:
        """Return what the page shows of kernel, cells and panel, for whoever has to understand a failure."""
        kernel = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.kernelDisplayStatus")
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
        panels = self.page.locator(".awn-panel, .awaitly").count()
        outputs = [text[:300] for text in self.page.locator(".jp-OutputArea").all_inner_texts()]
        return f"{kernel=}, {prompts=}, {panels=}, states={self.states()}, {outputs=}"

    def states(self) -> dict[str, str]:
        """Return the state of each step in the panel."""
        return self.page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll(".awn-panel tr[data-step]")]
                .map(row => [row.dataset.step, row.dataset.state]))"""
        )

    def set_theme(self, name: str) -> None:
        """Choose a theme as the menu does, and wait until its style sheet is there."""
        light = str(name == LIGHT).lower()
        self.page.evaluate(
            'name => { window.jupyterapp.commands.execute("apputils:change-theme", { theme: name }); }', name
        )
        self.page.wait_for_selector(
            f'body[data-jp-theme-name="{name}"][data-jp-theme-light="{light}"]', state="attached"
        )
        # The style sheet comes a little after the attribute.
        self.page.wait_for_function(
            """light => {
                const colour = getComputedStyle(document.querySelector(".awn-panel")).backgroundColor;
                return String(Number(colour.match(/\\d+/)[0]) > 128) === light;
            }""",
            arg=light,
        )

    def picture(self, name: str, selector: str = ".awn-panel", *, dark: bool = False) -> None:
        """Photograph the panel for the manual, where that is asked for: `AWAITLY_NB_SCREENSHOT=1`."""
        if not TAKE_PICTURES:
            return
        if dark:
            self.set_theme(DARK)
            self.picture(name, selector)
            self.set_theme(LIGHT)
            return
        path = PICTURES / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        # What JupyterLab puts in front for a moment: its splash when the theme changes, a question about the kernel.
        hidden = "#jupyterlab-splash, .jp-Dialog { display: none !important; }"
        self.page.locator(selector).first.screenshot(path=path, style=hidden)
        shrink(path)

    def output(self, number: int) -> str:
        """Return the text of one cell's output."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".jp-OutputArea").first.inner_text()
