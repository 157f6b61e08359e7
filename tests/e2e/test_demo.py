"""`awaitly-nb demo`: a real `SIGKILL` of a real kernel, and what the next one computes."""

import json
import subprocess
import sys

import nbformat
import pytest

from awaitly_nb.cli.demo import STEPS, open_command, quickstart, run_demo
from awaitly_nb.errors import MisuseError

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SMALL = """
import time
import awaitly_nb as aw

def score(fold):
    time.sleep(0.2)
    return fold * 2

def fit(scores):
    time.sleep(0.6)
    return sum(scores)

workflow = aw.create_workflow("small", {"score": score, "fit": fit})

def body(ctx):
    return ctx.steps.fit([ctx.steps.score(fold) for fold in range(3)])
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.ipynb"
    cells = [nbformat.v4.new_code_cell(c) for c in (SMALL, "workflow.run_sync(body).unwrap()")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_the_second_run_computes_exactly_what_the_kill_interrupted(small, tmp_path):
    seen = []
    done = run_demo(
        tmp_path / "demo", notebook=small, on_event=lambda which, event: seen.append((which, event["type"]))
    )
    assert (done.first.ending, done.second.ending) == ("kernel died", "ok")
    assert [(s.step_id, s.state) for s in done.first.steps] == [("score", "computed")] * 3 + [("fit", "interrupted")]
    assert [(s.step_id, s.state) for s in done.second.steps] == [("score", "hit")] * 3 + [("fit", "computed")]
    assert done.resumed
    score, fit = done.rows
    assert (score.calls, score.computed, score.killed) == (3, 0, False)
    assert (fit.calls, fit.computed, fit.killed) == (1, 1, True)
    assert 0 < fit.first_s < fit.second_s
    assert {which for which, _ in seen} == {"first", "second"}
    assert [kind for which, kind in seen if which == "first"].count("killed") == 1


def test_it_does_not_claim_a_kill_that_did_not_happen(small, tmp_path):
    done = run_demo(tmp_path / "demo", notebook=small, killed_step="no such step")
    assert done.first.ending == "ok"
    assert not done.resumed


def test_it_wants_an_empty_folder(small, tmp_path):
    with pytest.raises(MisuseError, match="not empty"):
        run_demo(tmp_path, notebook=small)


@pytest.mark.timeout(900)
def test_the_command_on_the_real_flights(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from awaitly_nb.cli import main; main()", "demo", "--folder", str(tmp_path / "demo")]
        + ["--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert told["resumed"] is True
    first, second = told["first"], told["second"]
    assert [s["step_id"] for s in first["steps"] if s["state"] == "interrupted"] == ["fit"]
    assert [s["step_id"] for s in second["steps"] if s["state"] == "computed"] == ["fit"]
    assert second["hit"] == len(second["steps"]) - 1
    assert len(second["steps"]) == STEPS
    assert first["step_seconds"] > 5
    assert second["step_seconds"] < first["step_seconds"] / 2
    assert (tmp_path / "demo" / quickstart().name).exists()


def test_it_says_where_to_open_the_notebook():
    assert open_command(quickstart()).endswith(f"jupyter lab {quickstart()}")
