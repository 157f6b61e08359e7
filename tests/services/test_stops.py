"""A process that is stopped for longer than its lease, on every store: nothing of its run starts or lands then."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import awaitly_nb as aw

PROGRAM = Path(__file__).with_name("stopped.py")
STOPS = 20
LEASE = "lease_ttl=0.5"

pytestmark = [
    # The two runs are of two programs, whose steps differ in their code.
    pytest.mark.filterwarnings("ignore::awaitly_nb.errors.CodeChangedWarning"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),  # as in test_stores
]


@pytest.mark.parametrize("name", ["sqlite", "folder", "postgres", "mongo", "libsql", "redis", "s3", "gcs", "azure"])
def test_a_stopped_process_starts_nothing_and_writes_nothing(name, servers, table, tmp_path):
    if name == "sqlite":
        opening = f"aw.sqlite({str(tmp_path / 'runs.db')!r}, {LEASE})"
    elif name == "folder":
        opening = f"aw.objects({str(tmp_path)!r}, {LEASE})"
    else:
        opening = f"{servers(name).opening(table)[:-1]}, {LEASE})"
    ledger = tmp_path / "ledger"
    other = eval(opening, {"aw": aw})
    process = _start(opening, ledger)
    try:
        for number in range(STOPS):
            _stop_once(process, other, ledger, f"wf-{number}", ("paying", "between")[number % 2])
    finally:
        process.kill()
        process.communicate()
        other.blocking.close()


def _stop_once(process, other, ledger, state_id, where):
    ledger.write_text("")
    assert _ask(process, f"{state_id} {where}") == where
    os.kill(process.pid, signal.SIGSTOP)
    try:
        taken = _take_over(other, ledger, state_id)
        while isinstance(taken.error if not taken.ok else None, aw.LeaseHeldError):
            taken = _take_over(other, ledger, state_id)  # until it has run out, by the store's own clock
        assert taken.ok, taken
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert _ask(process, "") == "LeaseHeldError"
    first = ["first fetches", "first pays"] if where == "paying" else ["first fetches"]
    assert ledger.read_text().splitlines() == [*first, "second pays", "second mails"]
    state = other.blocking.load(state_id)
    assert {key: entry.result.unwrap() for key, entry in state.steps.items()} == {"fetch": None, "pay": 2, "mail": 2}
    assert other.blocking.holder(state_id) is None


def _take_over(store, ledger, state_id):
    def started(line):
        with ledger.open("a") as lines:
            lines.write(f"{line}\n")
        return 2

    def body(ctx):
        ctx.step("fetch", started, "second fetches", key="fetch")
        ctx.step("pay", started, "second pays", key="pay")
        ctx.step("mail", started, "second mails", key="mail")

    return aw.create_workflow("stopped", cache=None).run_sync(body, store=store, id=state_id)


def _start(opening, ledger):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, PROGRAM, opening, ledger],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _ask(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()
