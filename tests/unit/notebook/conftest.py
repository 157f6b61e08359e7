"""A real IPython shell without a kernel, whose displays are collected."""

from __future__ import annotations

import atexit
import contextlib
import io
import sys

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


class Shell:
    """Runs cells, and keeps what each of them showed."""

    def __init__(self, shell):
        self.ip = shell
        self.out = ""
        self.err = ""

    def run(self, source):
        """Run a cell that must succeed; return what it displayed."""
        result = self.attempt(source)
        result.raise_error()
        return self.displayed

    def attempt(self, source):
        """Run a cell; return IPython's own result of it."""
        self.ip.display_pub.outputs.clear()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            result = self.ip.run_cell(source, store_history=True)
        self.out, self.err = out.getvalue(), err.getvalue()
        return result

    @property
    def displayed(self):
        """MIME bundles of the last cell, as they were published."""
        return [output["data"] for output in self.ip.display_pub.outputs]

    @property
    def badge(self):
        """The last display of the last cell, as text."""
        return self.displayed[-1]["text/plain"]

    @property
    def ns(self):
        return self.ip.user_ns

    def forget(self):
        """Forget every variable, as a restart would."""
        self.ip.reset(new_session=False)


@pytest.fixture
def bare_shell():
    """A shell without the extension."""
    main = sys.modules["__main__"]
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    ip = InteractiveShell.instance(config=config)
    ip.display_pub = CapturingDisplayPublisher(shell=ip)
    yield Shell(ip)
    # What a shell does at the exit collects all garbage; hundreds of shells did so one after the other, for minutes.
    atexit.unregister(ip.atexit_operations)
    InteractiveShell.clear_instance()
    sys.modules["__main__"] = main


@pytest.fixture
def shell(bare_shell):
    """A shell with the extension loaded."""
    from awaitly_nb.notebook import load_ipython_extension, unload_ipython_extension

    load_ipython_extension(bare_shell.ip)
    yield bare_shell
    unload_ipython_extension(bare_shell.ip)
