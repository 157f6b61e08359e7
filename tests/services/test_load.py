"""Many writers, and many steps: nothing is lost, and the cost of a checkpoint does not grow."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb.events import StepComplete

WRITERS, STEPS = 8, 125

pytestmark = pytest.mark.slow

SAVER = """
import sys
import awaitly_nb as aw
store = eval(sys.argv[1], {"aw": aw})
who, steps = sys.argv[2], int(sys.argv[3])
state = store.blocking.load("wf") or aw.ResumeState()
for number in range(steps):
    state = state.with_value(f"{who}:{number}", {"by": who, "number": number})
    store.blocking.save("wf", state)
store.blocking.close()
"""


@pytest.fixture(params=["sqlite", "postgres", "mongo", "libsql", "redis"])
def opening(request, servers, table, tmp_path):
    """An expression that opens the store of this test, in any process."""
    if request.param == "sqlite":
        return f"aw.sqlite({str(tmp_path / 'runs.db')!r}, table={table!r})"
    return f"aw.{request.param}({servers(request.param).url()!r}, table={table!r})"


def test_eight_processes_that_save_a_thousand_steps_lose_none(opening):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, opening, str(who), str(STEPS)], stderr=subprocess.PIPE, env=environment
        )
        for who in range(WRITERS)
    ]
    told = [process.communicate(timeout=480)[1].decode() for process in processes]
    assert told == [""] * WRITERS
    store = eval(opening, {"aw": aw})
    state = store.blocking.load("wf")
    store.blocking.close()
    assert len(state) == WRITERS * STEPS
    for who in range(WRITERS):
        mine = [key for key in state.steps if key.startswith(f"{who}:")]
        assert mine == [f"{who}:{number}" for number in range(STEPS)]
        assert state.steps[mine[-1]].result == aw.Ok({"by": str(who), "number": STEPS - 1})


class Counting:
    """A store that counts the bytes that are written to the one underneath."""

    def __init__(self, records):
        self._records = records
        self.written = 0

    def swap(self, name, head, body, **options):
        self.written += len(name) + len(head) + sum(map(len, body))
        return self._records.swap(name, head, body, **options)

    def __getattr__(self, name):
        return getattr(self._records, name)


@pytest.fixture(params=["sqlite", "postgres"])
def open_records(request, servers, table, tmp_path):
    """`open_records(name)` returns a counting store of its own.

    Nobody waits for a disk: SQLite's files are in memory where the machine has such a folder, and PostgreSQL answers
    before it has flushed. Both ways of saving flush once, and how long that takes on this machine, while other tests
    use its disk, is not what is compared.
    """
    opened = []
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path))

    def open_(name):
        if request.param == "sqlite":
            opened.append(aw.sqlite(folder / f"{name}.db").records)
        else:
            url = servers("postgres").url() + "?options=-csynchronous_commit%3Doff"
            opened.append(aw.postgres(url, table=f"{table}_{name}").records)
        return Counting(opened[-1])

    yield open_
    for records in opened:
        records.close()
    shutil.rmtree(folder)


class Run:
    """A run that saves its state after each step."""

    def __init__(self, records):
        self.records = records
        self.store = aw.StateStore(records)
        self.collector = aw.create_resume_state_collector()
        self.number = 0

    def save_one_more(self):
        """Finish a step with a result of 1 KB and save; return seconds and bytes that saving took."""
        self.number += 1
        self.collector.handle_event(_step(self.number))
        state, before, begun = self.collector.get_resume_state(), self.records.written, time.perf_counter()
        self.store.blocking.save("wf", state)
        return time.perf_counter() - begun, self.records.written - before


@pytest.mark.timeout(900)
def test_the_five_thousandth_checkpoint_costs_what_the_tenth_did(open_records):
    long, short = Run(open_records("long")), Run(open_records("short"))
    while long.number < 4960:
        long.save_one_more()
    while short.number < 10:
        short.save_one_more()
    # In turns, and by their medians: one checkpoint is at the mercy of the disk and of what else the machine does.
    pairs = [(long.save_one_more(), short.save_one_more()) for _ in range(80)]
    assert len(long.store.blocking.load("wf")) == 5040
    late_s, early_s = (statistics.median(pair[which][0] for pair in pairs) for which in (0, 1))
    assert late_s <= 1.5 * early_s
    assert max(pair[0][1] for pair in pairs) <= 1.5 * pairs[0][1][1]


@pytest.mark.timeout(900)
def test_a_thousand_checkpoints_against_writing_the_whole_state_each_time(open_records):
    # Both ways in turns, and again where a busy disk hit one of them: a thousand writes last longer than its moods.
    ratios = []
    while len(ratios) < 3 and not any(ratio >= 3 for ratio in ratios):
        run, whole = Run(open_records(f"steps{len(ratios)}")), open_records(f"whole{len(ratios)}")
        ours_s = whole_s = 0.0
        for _ in range(1000):
            ours_s += run.save_one_more()[0]
            begun = time.perf_counter()
            whole.swap("wf", "{}", [run.collector.get_resume_state().to_json().encode()])
            whole_s += time.perf_counter() - begun
        assert run.records.written * 20 <= whole.written
        ratios.append(whole_s / ours_s)
    assert max(ratios) >= 3, ratios


def _step(number):
    return StepComplete(
        run_id="r",
        workflow="w",
        at=datetime.now(UTC),
        step_id="s",
        step_key=f"step:{number}",
        result=aw.Ok(f"{number:05}" * 200),
        duration_s=0.1,
    )
