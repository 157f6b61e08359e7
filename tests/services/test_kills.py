"""The complete example, killed at random moments and started again until it is done: who pays twice?

The payment may run twice only where the kill fell between its side effect and the record of its step. Each life of the
program writes to a ledger, so that this window is seen: the payment was called, and the program never went on after it.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.counts import count

PROGRAM = Path(__file__).with_name("payment.py")
KILLS = count(sample=15, whole=30)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def opening(request, servers, table, tmp_path):
    """An expression that opens the store of this test, in any process."""
    name = request.param
    if name == "sqlite":
        return f"aw.sqlite({str(tmp_path / 'runs.db')!r}, table={table!r})"
    server = servers(name)
    return f"aw.{name}({server.url()!r}, table={table!r})"


@pytest.mark.parametrize("opening", ["sqlite", "postgres", "mongo", "libsql", "redis"], indirect=True)
def test_a_killed_payment_is_made_once(opening, tmp_path, record_property, capsys):
    moments = random.Random(5)
    whole_s = _whole_run(opening.replace("table='", "table='warm_"), tmp_path / "warm", "in one line")
    kills = finished = twice = 0
    while kills < KILLS:
        ledger = tmp_path / f"ledger-{finished}"
        table = f"table='run{finished}_"
        how = ("in one line", "by hand")[finished % 2]
        while True:
            # Somewhere within the run itself: the imports before it take much longer, and hold nothing to be lost.
            killed = _live(opening.replace("table='", table), ledger, how, moments.uniform(0, whole_s))
            if not killed:
                break
            kills += 1
        finished += 1
        lines = ledger.read_text().splitlines()
        calls = collections.Counter(lines)
        assert lines[-1] == "done"
        # Of each two calls of the payment, the first one's life ended right after it, before its record was kept.
        unrecorded = _calls_that_nothing_followed(lines)
        assert calls["called process_payment"] == 1 + unrecorded, lines
        assert calls["called fetch_user"] >= 1
        twice += unrecorded
    record_property("kills", kills)
    with capsys.disabled():
        print(f"\n{opening.partition('(')[0]}: {kills} kills in {finished} runs, {twice} between effect and record")


def _calls_that_nothing_followed(lines):
    return sum(
        line == "called process_payment" and following == "called process_payment"
        for line, following in zip(lines, lines[1:], strict=False)
    )


def _start(opening, ledger, how):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        [sys.executable, PROGRAM, opening, ledger, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    if process.stdout.readline() != b"begun\n":
        raise AssertionError(process.communicate()[1].decode())
    return process


def _live(opening, ledger, how, seconds):
    """Let the program run for so long, then kill it; return whether it was still running."""
    process = _start(opening, ledger, how)
    try:
        _, told = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        _, told = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), told.decode()
    return process.returncode != 0


def _whole_run(opening, ledger, how):
    process = _start(opening, ledger, how)
    begun = time.perf_counter()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told.decode()
    return time.perf_counter() - begun
