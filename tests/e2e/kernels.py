"""Real kernels: start one, run cells in it, press Stop, kill it, and read what its notebook would store."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
from dataclasses import dataclass, field

from jupyter_client import KernelManager
from nbformat.v4 import output_from_msg

SLOW_S = 120
"""How long to wait for a kernel before the test fails; passing tests never wait for it."""


@dataclass
class Shown:
    """What one cell came to.

    Attributes
    ----------
    status
        "ok", "error" or "aborted".
    outputs
        As a notebook would store them.
    """

    status: str = ""
    outputs: list = field(default_factory=list)
    _clear_next: bool = False

    @property
    def text(self):
        """All that was written to stdout and stderr."""
        return "".join(output["text"] for output in self.outputs if output["output_type"] == "stream")

    @property
    def error(self):
        """Name of the exception, or None."""
        return next((output["ename"] for output in self.outputs if output["output_type"] == "error"), None)

    @property
    def badge(self):
        """The line below the cell."""
        return self.outputs[-1]["data"]["text/plain"]

    @property
    def is_hit(self):
        return self.badge.startswith("from cache")

    def add(self, message):
        """Take in one message of the kernel, as a frontend does."""
        content = message["content"]
        match message["msg_type"]:
            case "clear_output":
                self._clear_next = True
                if not content["wait"]:
                    self._clear_if_due()
            case "update_display_data":
                for output in self.outputs:
                    if output.get("display_id") == content["transient"]["display_id"]:
                        output.update(data=content["data"], metadata=content["metadata"])
            case "stream" | "display_data" | "execute_result" | "error":
                self._clear_if_due()
                self._add_output(message)

    def _clear_if_due(self):
        if self._clear_next:
            self.outputs, self._clear_next = [], False

    def _add_output(self, message):
        output = output_from_msg(message)
        last = self.outputs[-1] if self.outputs else None
        if output["output_type"] == "stream" and last is not None and last.get("name") == output["name"]:
            last["text"] += output["text"]
            return
        if display_id := message["content"].get("transient", {}).get("display_id"):
            output["display_id"] = display_id
        self.outputs.append(output)


class Kernel:
    """A real kernel process.

    Parameters
    ----------
    folder
        Its working directory; the cache lies in it.
    extension
        Whether to load the extension in it.
    name
        The name of its kernelspec.
    """

    def __init__(self, folder, *, extension=True, name="python3", **env):
        self._manager = KernelManager(kernel_name=name)
        self._manager.start_kernel(
            cwd=str(folder), env={**os.environ, "AWAITLY_NB_CACHE_DIR": str(folder / ".awaitly"), **env}
        )
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=SLOW_S)
        if extension:
            self.run("%load_ext awaitly_nb")

    def run(self, source):
        """Run a cell that must succeed."""
        shown = self.attempt(source)
        assert shown.status == "ok", shown.outputs
        return shown

    def attempt(self, source):
        """Run a cell, whatever it comes to."""
        return self.finish(self.start(source))

    def start(self, source):
        """Start a cell; return its id."""
        return self._client.execute(source)

    def finish(self, cell):
        """Wait until the cell has ended."""
        return self._follow(cell, until=None)

    def wait_for(self, cell, text):
        """Wait until the cell has written `text`; return what it showed so far."""
        return self._follow(cell, until=text)

    def stop(self):
        """Press the Stop button."""
        self._manager.interrupt_kernel()

    def kill(self):
        """End the process with SIGKILL, and wait until it is gone."""
        os.kill(self._manager.provisioner.pid, signal.SIGKILL)
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def restart(self):
        """Restart it, as the menu does."""
        self._manager.restart_kernel()
        self._client.wait_for_ready(timeout=SLOW_S)
        self.run("%load_ext awaitly_nb")

    def close(self):
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def _follow(self, cell, until):
        shown = Shown()
        while True:
            message = self._client.get_iopub_msg(timeout=SLOW_S)
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            shown.add(message)
            if until is not None and until in shown.text:
                return shown
        reply = None
        while reply is None or reply["parent_header"].get("msg_id") != cell:
            reply = self._client.get_shell_msg(timeout=SLOW_S)
        shown.status = reply["content"]["status"]
        return shown


@contextlib.contextmanager
def kernel(folder, **options):
    """A kernel for the length of a `with`."""
    one = Kernel(folder, **options)
    try:
        yield one
    finally:
        with contextlib.suppress(queue.Empty):
            one.close()
