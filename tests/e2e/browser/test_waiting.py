"""A step that another kernel is computing is seen waiting; when that kernel is killed, this one takes over at once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.e2e.browser.lab import notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CELL = """
import awaitly_nb as aw

async def body(ctx):
    return await ctx.step("slow", lambda: "mine", key="slow:1")

aw.panel()
"""
RUN = 'print(await aw.create_workflow("shared").run(body))'
OTHER = """
import sys
import awaitly_nb as aw
import ipykernel  # as a kernel has, which is told the name of its notebook

flight = aw.create_disk_cache(sys.argv[1], namespace="shared").single_flight("slow:1")
assert flight.try_acquire()
print("held", flush=True)
sys.stdin.read()
"""

COLOUR = """node => {
    const pen = document.createElement("canvas").getContext("2d");
    pen.fillStyle = getComputedStyle(node).color;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


def test_a_step_waits_for_another_kernel_and_takes_over_when_that_is_killed(open_lab):
    lab = open_lab(notebook(CELL, RUN))
    folder = lab.path.parent / ".awaitly"
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(lab.path.parents[2]), "JPY_SESSION_NAME": "/home/ada/late flights.ipynb"},
    )
    try:
        assert other.stdout.readline() == "held\n"
        lab.run_all()
        lab.expect_step("slow", "waiting")
        assert f"for late flights.ipynb in kernel {other.pid}" in lab.step("slow").inner_text()
        pill = lab.step("slow").locator(".awn-pill")
        red, green, blue = pill.evaluate(COLOUR)
        assert max(red, green, blue) - min(red, green, blue) < 8, "it is grey: nothing is wrong"
        lab.picture("waiting")
        other.kill()
        lab.expect_step("slow", "computed")
        lab.wait_idle()
        assert "Ok(value='mine')" in lab.output(1)
    finally:
        other.kill()
        other.communicate()
