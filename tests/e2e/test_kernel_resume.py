"""A real kernel that is restarted or killed: what was finished is there again."""

from __future__ import annotations

import re

import pytest

from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

CLEAN = """%%awaitly clean
from pathlib import Path
import numpy as np
Path("calls-clean.txt").open("a").write("clean ")
values = np.arange(12.0).reshape(3, 4)
again = values
print("cleaned")
values.shape"""

FIT = """%%awaitly fit
import time
with Path("calls-fit.txt").open("a") as log:
    log.write("fit ")
print("fitting", flush=True)
while not Path("go").exists():
    time.sleep(0.01)
total = values.sum()"""


def calls(folder):
    # Each cell has a file of its own: one that another cell changes has to be written anew, so its cell would run.
    return [call for path in sorted(folder.glob("calls-*.txt")) for call in path.read_text().split()]


def test_a_restart_brings_variables_and_outputs_back(tmp_path):
    with kernel(tmp_path) as one:
        first = one.run(CLEAN)
        assert not first.is_hit
        one.restart()
        second = one.run(CLEAN)
        assert second.is_hit
        assert second.text == "cleaned\n"
        assert second.outputs[-2]["data"]["text/plain"] == "(3, 4)"
        assert one.run("print(again is values, values.sum(), values.flags.writeable)").text == "True 66.0 True\n"
    assert calls(tmp_path) == ["clean"]


def test_functions_read_the_notebook_of_now_after_a_restart(tmp_path):
    helpers = (
        "%%awaitly helpers\nimport functools\ncount = 0\ndef report(x):\n    global count\n    count += 1\n"
        "    return fmt(x)\ntools = {'price': functools.partial(lambda k, x: k * x * RATE, 1)}"
    )
    with kernel(tmp_path) as one:
        for hit in (False, True):
            one.run("RATE = 1")
            assert one.run(helpers).is_hit is hit
            one.run("def fmt(x):\n    return f'<{x}>'")
            assert one.run("RATE = 2\nprint(report(1), count, tools['price'](10))").text == "<1> 1 20\n"
            one.run("def fmt(x):\n    return f'[{x}]'")
            assert one.run("print(report(1), count)").text == "[1] 2\n"
            one.restart()


def test_a_variable_that_cannot_be_stored_is_made_when_a_cell_reads_it(tmp_path):
    cell = "%%awaitly gen\na, b = 1, 2\ng = (n for n in [7])"
    with kernel(tmp_path) as one:
        assert one.run(cell).text == ""
        assert "UserWarning: mine" in one.run("import warnings\nwarnings.warn('mine')").text
    with kernel(tmp_path) as two:
        assert two.run(cell).is_hit
        assert two.run("print(a, b, next(g))").text == "1 2 7\n"


def test_a_stopped_workflow_shows_the_cell_only(tmp_path):
    with kernel(tmp_path) as one:
        one.run(
            "import awaitly_nb as aw, os, signal\nworkflow = aw.create_workflow('flow')\ndef slow():\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n"  # what Stop sends; here it cannot come too early
            "async def body(ctx):\n    await ctx.step('slow', slow, key='k')"
        )
        for call, line in (("await workflow.run(body)", "ctx.step("), ("workflow.run_sync(body)", "os.kill(")):
            shown = one.attempt(call)
            (error,) = (output for output in shown.outputs if output["output_type"] == "error")
            text = "\n".join(error["traceback"])
            assert line in re.sub(r"\x1b\[[0-9;]*m", "", text)
            assert "awaitly_nb/" not in text
            assert len(text.splitlines()) < 30, text


def test_a_killed_kernel_loses_no_finished_cell(tmp_path):
    with kernel(tmp_path) as one:
        one.run(CLEAN)
        one.wait_for(one.start(FIT), "fitting")
        one.kill()
    (tmp_path / "go").touch()
    with kernel(tmp_path) as two:
        assert two.run(CLEAN).is_hit
        assert not two.run(FIT).is_hit
        assert two.run("print(total)").text == "66.0\n"
    with kernel(tmp_path) as three:
        assert three.run(CLEAN).is_hit
        assert three.run(FIT).is_hit
    assert calls(tmp_path) == ["clean", "fit", "fit"]


def test_a_second_kernel_waits_for_the_first_and_shares_its_work(tmp_path):
    with kernel(tmp_path) as one, kernel(tmp_path) as two:
        one.run(CLEAN)
        two.run(CLEAN)
        cell = one.start(FIT)
        one.wait_for(cell, "fitting")
        waiting = two.start(FIT)
        (tmp_path / "go").touch()
        assert not one.finish(cell).is_hit
        assert two.finish(waiting).is_hit
    assert calls(tmp_path) == ["clean", "fit"]


def test_the_magics_answer_in_a_kernel(tmp_path):
    with kernel(tmp_path) as one:
        one.run(CLEAN)
        (listed,) = one.run("%awaitly keys clean:*").outputs
        assert "clean:" in listed["data"]["text/plain"]
        assert "<table" in listed["data"]["text/html"]
        wrong = one.attempt("%awaitly nonsense")
        assert wrong.text.startswith("UsageError: ")
        assert one.attempt("%%awaitly --nonsense\nx = 1").text.startswith("UsageError: ")
