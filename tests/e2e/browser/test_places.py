"""The panel where no JupyterLab is: VS Code and Colab give an output its own document, and a widget little more."""

from __future__ import annotations

import base64
import queue

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.notebook.panel import Panel
from awaitly_nb.notebook.panel_keys import FolderKeys
from awaitly_nb.notebook.panel_widget import CSS, ESM

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# What anywidget promises of a model. Neither place shows its kernel; Colab's manager does not give out models either.
START = """async ([esm, css, boot, manager]) => {
    document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
    document.body.append(Object.assign(document.createElement("div"), { id: "output" }));
    const { default: widget } = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
    const listeners = [];
    const bytes = text => new DataView(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);
    window.sent = [];
    window.hear = (message, buffers) => listeners.forEach(listener => listener(message, buffers.map(bytes)));
    const model = {
        get: name => ({ boot, token: "t", model_ref: "m" })[name],
        on: (event, listener) => { if (event === "msg:custom") listeners.push(listener); },
        send: message => window.sent.push(message),
        widget_manager: manager ? { get_model: async () => ({ comm_live: true, widget_manager: {} }) } : undefined,
    };
    widget.initialize({ model });
    widget.render({ model, el: document.querySelector("#output") });
}"""


class Wire:
    """Carries messages between the panel, which draws on a thread of its own, and the page."""

    token = "t"

    def __init__(self, page):
        self._page = page
        self._told = queue.Queue()

    def tell(self, message, buffers=()):
        self._told.put((message, [base64.b64encode(bytes(one)).decode() for one in buffers]))

    def close(self):
        pass

    def deliver(self, name):
        """Hand the page what it is told, up to a message that has this member."""
        while True:
            message, buffers = self._told.get(timeout=60)
            self._page.evaluate("([message, buffers]) => window.hear(message, buffers)", [message, buffers])
            if name in message:
                return

    def take(self, panel, op):
        """Hand the panel what the page asks, of which this must be one."""
        self._page.wait_for_function("op => window.sent.some(message => message.op === op)", arg=op)
        for message in self._page.evaluate("() => window.sent.splice(0)"):
            panel.receive(message)


@pytest.mark.parametrize("manager", [True, False], ids=["VS Code", "Colab"])
def test_the_panel_lives_in_a_plain_page(manager, chromium, tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path))
    workflow = aw.create_workflow("plain")
    workflow.run_sync(lambda ctx: [ctx.step(name, lambda: 1, key=f"{name}:1") for name in ("load", "fit")])
    context = chromium.new_context()
    page = context.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    panel = Panel(FolderKeys(), workflow="plain")
    try:
        boots = []
        wire = panel.open(lambda boot: (boots.append(boot), Wire(page))[1])
        page.evaluate(START, [ESM, CSS, *boots, manager])
        wire.take(panel, "hello")
        wire.deliver("kind")
        page.locator('tr[data-step="fit"][data-state="computed"]').wait_for()
        page.locator('.awn-row[data-key="load:1"] .awn-drop').click()
        wire.take(panel, "delete")
        assert caches.open_default("plain").keys() == ["fit:1"]
        wire.deliver("removed")
        page.locator('.awn-row[data-key="load:1"]').wait_for(state="detached")
        page.get_by_role("button", name="Undo").click()
        wire.take(panel, "undo")
        wire.deliver("undo")
        page.locator('.awn-row[data-key="load:1"]').wait_for()
        assert sorted(caches.open_default("plain").keys()) == ["fit:1", "load:1"]
        assert page.locator(".awn-gone:visible").count() == 0, "nobody said that the kernel is gone"
        assert [url for url in requests if not url.startswith("blob:")] == []
    finally:
        panel.close()
        context.close()
