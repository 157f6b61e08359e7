"""`run --budget`, `--only`, `--stale`, and two callers on one notebook."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime

import nbformat
import pytest

import awaitly_nb as aw
from awaitly_nb import config
from awaitly_nb.result import Mark, with_mark

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

COMMAND = [sys.executable, "-c", "from awaitly_nb.cli import main; main()"]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))

    def write(*cells):
        path = tmp_path / "n.ipynb"
        made = [nbformat.v4.new_code_cell(c) for c in ("%load_ext awaitly_nb", *cells)]
        nbformat.write(nbformat.v4.new_notebook(cells=made), path)
        return path

    return write


def begin(*arguments):
    return subprocess.Popen([*COMMAND, *map(str, arguments), "--json"], stdout=subprocess.PIPE, text=True)


def report(process):
    with process:
        try:
            out, _ = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, json.loads(out)


def states(told):
    return {step["step_id"]: step["state"] for step in told["steps"]}


def test_a_stale_ten_minute_step_is_not_started_and_the_run_is_back_at_once(notebook, tmp_path):
    mark = Mark(step_id="model", workflow="model", at=datetime.now(UTC), duration_s=600.0)
    aw.create_disk_cache(config.cache_directory(), namespace="model").set("model:0", with_mark(aw.Ok(1), mark))
    path = notebook(
        "import time\nfrom pathlib import Path",
        "Path('reached').write_text(str(time.time()))",
        "%%awaitly model\nPath('ran').touch()\nmodel = 2",
    )
    code, told = report(begin("run", path, "--budget", "60s"))
    back_s = time.time() - float((tmp_path / "reached").read_text())
    assert (code, told["ending"]) == (3, "over budget")
    assert "'model' would take about 10 min" in told["error"]
    assert "nothing was started" in told["error"]
    assert not (tmp_path / "ran").exists()
    assert back_s < 5
    code, told = report(begin("run", path, "--budget", "20m"))
    assert (code, states(told)) == (0, {"model": "computed"})


def test_what_nobody_has_timed_is_stopped_when_the_budget_is_over(notebook, tmp_path):
    path = notebook("import time", "%%awaitly slow\ntime.sleep(600)", "open('after', 'w').close()")
    began = time.monotonic()
    code, told = report(begin("run", path, "--budget", "3s"))
    assert (code, told["ending"]) == (3, "over budget")
    assert "nobody knows how long" in told["error"]
    assert states(told) == {"slow": "interrupted"}
    assert not (tmp_path / "after").exists()
    assert time.monotonic() - began < 60


def test_two_callers_on_one_notebook_run_each_step_once(notebook, tmp_path):
    both = "while len(list(Path().glob('started-*'))) < 2:\n    time.sleep(0.01)"
    path = notebook(
        f"import os, time\nfrom pathlib import Path\nPath(f'started-{{os.getpid()}}').touch()\n{both}",
        "%%awaitly one\nwith open('calls-one', 'a') as f:\n    f.write('x')\ntime.sleep(1)\none = 1",
        "%%awaitly two\nwith open('calls-two', 'a') as f:\n    f.write('x')\ntwo = one + 1",
        "%%awaitly three\nwith open('calls-three', 'a') as f:\n    f.write('x')\nthree = two + 1",
    )
    callers = [begin("run", path), begin("run", path)]
    told = [report(caller) for caller in callers]
    assert [code for code, _ in told] == [0, 0]
    assert {name: (tmp_path / f"calls-{name}").read_text() for name in ("one", "two", "three")} == {
        "one": "x",
        "two": "x",
        "three": "x",
    }
    for name in ("one", "two", "three"):
        assert sorted(states(one)[name] for _, one in told) == ["computed", "hit"]


def test_only_and_stale_run_what_is_asked_for_and_what_that_needs(notebook, tmp_path):
    cells = [
        "import math",
        *(f"%%awaitly c{n}\nwith open('{n}', 'a') as f:\n    f.write('x')\nc{n} = {n}" for n in (1, 2)),
    ]
    path = notebook(*cells, "%%awaitly c3\nc3 = math.sqrt(c2)")
    code, told = report(begin("run", path, "--only", "c3"))
    assert (code, states(told)) == (0, {"c2": "computed", "c3": "computed"})
    code, told = report(begin("run", path, "--stale"))
    assert (code, states(told)) == (0, {"c1": "computed"})
