"""`awaitly-nb run` on the real quickstart: the whole run killed in the longest step, and run again, which goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from awaitly_nb.cli.demo import quickstart

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

COMMAND = [sys.executable, "-c", "from awaitly_nb.cli import main; main()"]
LONGEST = "fit"
CELLS = ["flights", "features", "late_by_hour"]
PLAIN = "rng, arrived_late, shares, …"  # is stored if it takes more than a second
SCORES = 12


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    return Path(shutil.copy(quickstart(), tmp_path))


def report(*arguments):
    done = subprocess.run(
        [*COMMAND, "run", *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def by_state(told):
    """Return the steps of a report as id and key, by state."""
    found = {}
    for step in told["steps"]:
        found.setdefault(step["state"], []).append((step["step_id"], step["step_key"]))
    return found


def family(pid):
    """Return a process and all that it started, and what those did: the kernel runs in a session of its own."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def worked_s(pids):
    """Return the processor seconds that these processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def run_until_killed(notebook, step):
    """Start the run, and kill every process of it while `step` is computed; return what it said until then."""
    process = subprocess.Popen(
        [*COMMAND, "run", str(notebook)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if f"{step} running for" in line:
            break
    # Into its middle: one second of work of several, however busy the machine is.
    pids = family(process.pid)
    began_s = worked_s(pids)
    while worked_s(pids) < began_s + 1 and process.poll() is None:
        threading.Event().wait(0.02)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert len(pids) > 1, "no kernel was running"
    return said


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes of a run by /proc")
@pytest.mark.timeout(900)
def test_only_what_was_not_finished_is_computed_and_check_tells_before_and_after(notebook):
    code, told = report(notebook, "--check")
    assert (code, told["kind"]) == (3, "plan")
    assert [cell["name"] for cell in told["cells"] if cell["state"] == "new"] == CELLS

    said = run_until_killed(notebook, LONGEST)
    assert f"{LONGEST} running for" in said[-1], "".join(said)

    code, told = report(notebook, "--check")
    assert (code, told["ending"]) == (3, "would compute"), told["error"]
    ((step_id, key),) = by_state(told)["would compute"]
    assert step_id == LONGEST
    assert "computed" not in by_state(told)
    finished = by_state(told)["hit"]

    code, told = report(notebook)
    assert (code, told["ending"]) == (0, "ok"), told["error"]
    assert by_state(told) == {"hit": finished, "computed": [(LONGEST, key)]}
    assert [step_id for step_id, _ in finished if step_id != PLAIN] == [*CELLS, "airlines", *["score"] * SCORES]
    (fit,) = [step for step in told["steps"] if step["state"] == "computed"]
    assert fit["duration_s"] > 0
    assert fit["reason"]
    assert told["saved_seconds"] > 0

    code, told = report(notebook, "--check")
    assert (code, told["ending"]) == (0, "ok"), told["error"]
    assert by_state(told) == {"hit": [*finished, (LONGEST, key)]}
