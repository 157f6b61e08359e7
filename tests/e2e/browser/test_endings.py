"""How a run may end, and what the panel says of it: stopped, killed, restarted, and looked at again in its middle."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CELL = """
import os
import time
from pathlib import Path
import awaitly_nb as aw

Path("pid").write_text(str(os.getpid()))
workflow = aw.create_workflow("report")

def fit():
    while not Path("gate").exists():  # the test opens it, when it has seen what it wants to
        time.sleep(0.02)

def body(ctx):
    ctx.step("load", lambda: 1, key="load:1")
    ctx.step("fit", fit, key="fit:1", executor=EXECUTOR)

async def waiting(ctx):
    await ctx.step("load", lambda: 1, key="load:1")
    await ctx.step("fit", fit, key="fit:1", executor=EXECUTOR)

workflow.panel()
"""
SYNC = "workflow.run_sync(body)"
AWAIT = "await workflow.run(waiting)"


def begun(open_lab, run, executor):
    """Return a page on which the step `fit` runs, by this cell."""
    lab = open_lab(notebook(f"EXECUTOR = {executor!r}" + CELL, run))
    lab.run_cell(0)
    lab.wait_idle()
    lab.run_cell(1)
    lab.expect_step("fit", "running")
    return lab


def said(lab):
    """What head, run and rows say."""
    return lab.page.evaluate(
        """() => {
            const panel = document.querySelector(".awn-panel");
            const text = name => [...panel.querySelectorAll(name)].map(node => node.innerText.trim());
            return {
                facts: text(".awn-fact"), status: text(".awn-status")[0], error: text(".awn-error").join(),
                dot: panel.querySelector(".awn-logo").className.split("awn-logo-")[1],
                spins: panel.querySelectorAll(".awn-steps .awn-spin").length,
            };
        }"""
    )


@pytest.mark.parametrize(
    ("run", "executor", "error"),
    [
        (SYNC, "inline", "interrupted by you"),
        (SYNC, "thread", "interrupted by you"),
        (AWAIT, "inline", None),
    ],
)
def test_a_step_that_was_stopped_runs_no_more(open_lab, run, executor, error):
    lab = begun(open_lab, run, executor)
    lab.command("notebook:interrupt-kernel")
    lab.expect_step("fit", "interrupted")
    lab.wait_idle()
    seen = said(lab)
    assert seen["facts"] == ["1 computed", "1 interrupted"]
    assert (seen["status"], seen["dot"], seen["spins"]) == ("cancelled", "cancelled", 0)
    assert seen["error"] == error if error else seen["error"] in ("", "interrupted by you")
    (lab.path.parent / "gate").touch()  # a thread cannot be stopped: let it end


def test_after_a_kill_what_ran_says_interrupted(open_lab):
    lab = begun(open_lab, SYNC, "inline")
    os.kill(int((lab.path.parent / "pid").read_text()), signal.SIGKILL)
    lab.expect_step("fit", "ended")
    seen = said(lab)
    assert seen["facts"] == ["1 computed", "1 interrupted"]
    assert (seen["status"], seen["dot"], seen["spins"]) == ("interrupted", "gone", 0)
    assert lab.page.locator(".awn-gone").inner_text().startswith("Kernel gone.")
    lab.wait_idle()


def test_a_restart_that_was_asked_for_is_no_accident(open_lab):
    failing = 'workflow.run_sync(lambda ctx: ctx.step("boom", aw.err, "NO"))'
    lab = open_lab(notebook("EXECUTOR = None" + CELL, failing))
    lab.run_all()
    lab.expect_step("boom", "failed")
    lab.wait_idle()
    assert said(lab)["dot"] == "failed"
    lab.restart()
    lab.page.wait_for_selector(".awn-gone:visible")
    told = lab.page.locator(".awn-gone").inner_text()
    assert told == "Kernel restarted. What was finished is stored: run again to resume."
    lab.wait_idle()


def test_a_page_that_is_loaded_again_under_a_blocking_step_says_that_it_has_to_wait(open_lab):
    lab = begun(open_lab, SYNC, "inline")
    lab.save()
    lab.open(kernel=False)
    page = lab.page
    page.wait_for_selector(".awn-busy:visible")
    assert page.locator(".awn-busy").inner_text() == "The kernel is busy; the panel returns when it answers."
    assert page.locator(".awn-past:visible").count() == 0
    (lab.path.parent / "gate").touch()
    lab.expect_step("fit", "computed")
    assert page.locator(".awn-busy:visible").count() == 0


def test_a_page_that_is_loaded_again_in_the_middle_of_a_run_shows_it(open_lab):
    lab = begun(open_lab, AWAIT, "thread")
    errors = []
    lab.page.on("pageerror", lambda error: errors.append(str(error)))
    lab.page.on("console", lambda line: errors.append(line.text) if "awaitly" in line.text else None)
    lab.save()
    lab.open(kernel=False)
    lab.expect_step("fit", "running")
    assert lab.states() == {"load": "computed", "fit": "running"}
    (lab.path.parent / "gate").touch()
    lab.expect_step("fit", "computed")
    assert errors == []
