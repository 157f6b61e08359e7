"""The Stop button in every kind of cell: it stops at once, the kernel lives, and finished steps stay finished."""

from __future__ import annotations

import pytest

from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

STEPS = """
import asyncio, time
from pathlib import Path
import awaitly_nb as aw

def note(text):
    with Path("calls.txt").open("a") as log:
        log.write(text + " ")

def work(n):
    note(str(n))
    if n == 3 and not Path("go").exists():
        print("in step 3", flush=True)
        for _ in range(6000):
            time.sleep(0.01)
    return n

async def wait(n):
    note(str(n))
    if n == 3 and not Path("go").exists():
        print("in step 3", flush=True)
        await asyncio.sleep(60)
    return n

def plain(ctx):
    return [ctx.step(f"s{n}", work, n, key=f"s:{n}") for n in range(1, 6)]

async def blocking(ctx):
    return [await ctx.step(f"s{n}", work, n, key=f"s:{n}") for n in range(1, 6)]

async def awaiting(ctx):
    return [await ctx.step(f"s{n}", wait, n, key=f"s:{n}") for n in range(1, 6)]

async def threads(ctx):
    return [await ctx.step(f"s{n}", work, n, key=f"s:{n}", executor="thread") for n in range(1, 6)]

def plain_threads(ctx):
    return [ctx.step(f"s{n}", work, n, key=f"s:{n}", executor="thread") for n in range(1, 6)]

flow = aw.create_workflow("flow")
"""

CELLS = {
    "plain": "result = flow.run_sync(plain)",
    "plain with threads": "result = flow.run_sync(plain_threads)",
    "blocking steps in an awaiting cell": "result = await flow.run(blocking)",
    "awaiting steps": "result = await flow.run(awaiting)",
    "threads in an awaiting cell": "result = await flow.run(threads)",
    "awaiting body in a plain cell": "result = flow.run_sync(awaiting)",
}


@pytest.mark.parametrize("prefix", ["", "%%awaitly whole --key whole\n"], ids=["cell", "magic"])
@pytest.mark.parametrize("source", CELLS.values(), ids=CELLS.keys())
def test_stop_in_step_3_of_5_keeps_steps_1_and_2(tmp_path, source, prefix):
    with kernel(tmp_path) as one:
        one.run(STEPS)
        cell = one.start(prefix + source)
        one.wait_for(cell, "in step 3")
        one.stop()
        stopped = one.finish(cell)
        assert stopped.status == "error"
        assert stopped.error in {"KeyboardInterrupt", "CancelledError"}
        assert one.run("print('alive')").text == "alive\n"
        (tmp_path / "go").touch()
        one.run(prefix + source)
        assert one.run("print(result)").text == "Ok(value=[1, 2, 3, 4, 5])\n"
    assert (tmp_path / "calls.txt").read_text().split() == ["1", "2", "3", "3", "4", "5"]


PIECES = {
    "plain": "{slow}",
    "blocking between awaits": "import asyncio\nawait asyncio.sleep(0)\n{slow}\nawait asyncio.sleep(0)",
    "blocking inside an await": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    {slow}\nawait f()",
    "awaiting": "import asyncio\nprint('slow', flush=True)\nawait asyncio.sleep(60)",
    "awaiting a thread": (
        "import asyncio, time\nprint('slow', flush=True)\n"
        "await asyncio.to_thread(lambda: [time.sleep(0.01) for _ in range(300)])\nawait asyncio.sleep(60)"
    ),
}
SLOW = "import time; print('slow', flush=True); [time.sleep(0.01) for _ in range(6000)]"


@pytest.mark.parametrize("source", PIECES.values(), ids=PIECES.keys())
def test_stop_reaches_every_kind_of_cached_cell(tmp_path, source):
    with kernel(tmp_path) as one:
        for _ in range(2):  # the second time shows that the first left nothing behind
            cell = one.start("%%awaitly slow\n" + source.format(slow=SLOW))
            one.wait_for(cell, "slow")
            one.stop()
            stopped = one.finish(cell)
            assert stopped.error in {"KeyboardInterrupt", "CancelledError"}, stopped.outputs
            assert "awaitly_nb/" not in "".join(stopped.outputs[-1]["traceback"])
        assert one.run("print('alive')").text == "alive\n"
        assert one.run("%awaitly keys").outputs[0]["data"]["text/plain"].startswith("no key")
