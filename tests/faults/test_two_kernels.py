"""Two kernels that want one key, or each other's: somebody always goes on, and says for whom it waits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import awaitly_nb as aw

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")

KERNEL = """
import sys, threading, warnings
from pathlib import Path
import awaitly_nb as aw
from awaitly_nb.engine import step
place = Path(sys.argv[1])
workflow = aw.create_workflow("w", cache=aw.create_disk_cache(place / "cache"))
def say(name):
    (place / name).touch()
def wait_for(name):
    while not (place / name).exists():
        threading.Event().wait(0.01)
"""
# Each computes its own key, and inside that needs the one which the other is computing.
CROSSED = """
warnings.simplefilter("ignore", aw.errors.CodeChangedWarning)
step._WAIT_WHILE_LEADING_S = 0.5
mine, other = sys.argv[2:]
def body(ctx):
    def work():
        say(f"in {mine}")
        wait_for(f"in {other}")
        return ctx.step(other, lambda: f"{other} of {mine}", key=other)
    return ctx.step(mine, work, key=mine)
print(workflow.run_sync(body).unwrap())
"""
HOLDER = """
def slow():
    say("held")
    wait_for("let go")
    return "computed"
print(workflow.run_sync(lambda ctx: ctx.step("s", slow, key="k")).unwrap())
"""
WAITER = """
import logging
logging.basicConfig()
print(workflow.run_sync(lambda ctx: ctx.step("s", lambda: "again", key="k")).unwrap())
"""


@contextlib.contextmanager
def kernel(script, place, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KERNEL + script), place, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def appears(path: Path):
    while not path.exists():
        time.sleep(0.01)


@pytest.mark.timeout(120)
def test_two_kernels_that_need_each_others_keys_do_not_wait_for_ever(tmp_path):
    with kernel(CROSSED, tmp_path, "a", "b") as one, kernel(CROSSED, tmp_path, "b", "a") as other:
        told = [process.communicate() for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], told
    assert sorted(aw.create_disk_cache(tmp_path / "cache").keys()) == ["a", "b"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("end", ["finish", "kill"])
def test_a_waiter_says_for_whom_it_waits_and_goes_on_when_that_kernel_ends(tmp_path, end):
    with kernel(HOLDER, tmp_path) as holder:
        appears(tmp_path / "held")
        with kernel(WAITER, tmp_path) as waiter:
            said = waiter.stderr.readline()
            assert f"waits for kernel {holder.pid} on " in said
            assert "'k'" in said
            if end == "finish":
                (tmp_path / "let go").touch()
            else:
                holder.kill()
            out, _ = waiter.communicate()
            assert out == ("computed\n" if end == "finish" else "again\n")


@pytest.mark.timeout(120)
def test_an_interrupted_waiter_stops_waiting_and_harms_nobody(tmp_path):
    with kernel(HOLDER, tmp_path) as holder:
        appears(tmp_path / "held")
        with kernel(WAITER, tmp_path) as waiter:
            waiter.stderr.readline()
            os.kill(waiter.pid, signal.SIGINT)
            out, err = waiter.communicate()
            assert out == ""
            assert err.rstrip().endswith("KeyboardInterrupt")
        (tmp_path / "let go").touch()
        assert holder.communicate()[0] == "computed\n"
