"""`awaitly-nb run`: a notebook without a browser, which goes on where it stopped, and tells by its exit code."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

COMMAND = [sys.executable, "-c", "from awaitly_nb.cli import main; main()"]
WORKFLOW = """
import awaitly_nb as aw
from pathlib import Path

def load():
    return [1, 2, 3]

def total(rows):
    with open("calls.txt", "a") as file:
        file.write("total ")
    return sum(rows)

workflow = aw.create_workflow("report", {"load": load, "total": total})

def body(ctx):
    return ctx.steps.total(ctx.steps.load())
"""
RUN = "result = workflow.run_sync(body)\nprint(result.unwrap())"


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))

    def write(*cells):
        path = tmp_path / "report.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells]), path)
        return path

    return write


def awaitly(*arguments):
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def report(*arguments):
    code, out, err = awaitly(*arguments, "--json")
    assert out, err
    return code, json.loads(out)


def states(told):
    return [(s["step_id"], s["state"]) for s in told["steps"]]


def test_it_computes_then_hits_and_check_tells_before_and_after(notebook, tmp_path):
    path = notebook(WORKFLOW, RUN)

    code, told = report("run", path, "--check")
    assert (code, told["ending"], states(told)) == (3, "would compute", [("load", "would compute")])

    code, told = report("run", path)
    assert (code, told["ending"], told["computed"], told["hit"]) == (0, "ok", 2, 0)
    for step in told["steps"]:
        assert step["step_key"].startswith(f"{step['step_id']}:")
        assert (step["workflow"], step["state"], step["reason"]) == ("report", "computed", "first run")
        assert step["duration_s"] >= 0

    code, told = report("run", path, "--check")
    assert (code, told["computed"], told["hit"]) == (0, 0, 2)
    assert (tmp_path / "calls.txt").read_text() == "total "

    edited = notebook(WORKFLOW.replace("sum(rows)", "sum(rows) + 1"), RUN)
    code, told = report("run", edited, "--check")
    assert (code, states(told)) == (3, [("load", "hit"), ("total", "would compute")])
    assert "total" in told["error"]
    assert (tmp_path / "calls.txt").read_text() == "total "


def test_check_sees_cells_too_and_runs_none_of_them(notebook, tmp_path):
    cell = "%%awaitly total\nopen('ran.txt', 'w').close()\ntotal = sum(range(10))\nprint(total)"
    path = notebook("%load_ext awaitly_nb", cell, "print('after', total)")
    code, told = report("run", path, "--check")
    assert (code, [cell["state"] for cell in told["cells"]]) == (3, ["live", "new", "live"])
    assert not (tmp_path / "ran.txt").exists()
    assert report("run", path)[0] == 0
    code, told = report("run", path, "--check", "--output", tmp_path / "done.ipynb")
    assert (code, states(told)) == (0, [("total", "hit")])
    cells = nbformat.read(tmp_path / "done.ipynb", 4).cells
    shown = [[o.text for o in c.outputs if o.get("name") == "stdout"] for c in cells]
    assert shown == [[], ["45\n"], ["after 45\n"]]


@pytest.mark.parametrize("asked", ["--auto", "the project's file"])
def test_plain_cells_are_cached_where_the_project_or_the_command_line_asks(notebook, tmp_path, asked):
    words = [asked] if asked == "--auto" else []
    if not words:
        (tmp_path / "pyproject.toml").write_text("[tool.awaitly_nb]\nauto = true\n")
    path = notebook("%load_ext awaitly_nb", "# awaitly: cache\nrows = [n * n for n in range(9)]", "print(sum(rows))")
    for state in ("computed", "hit"):
        code, told = report("run", path, *words)
        assert (code, told["ending"], states(told)[0]) == (0, "ok", ("rows", state))
    assert "1 from cache, 0 computed, 2 live" in awaitly("run", path, *words)[1]
    code, told = report("run", path, "--no-auto")
    assert (code, states(told)) == (0, [])


def test_the_table_and_the_executed_notebook(notebook, tmp_path):
    path = notebook(WORKFLOW, RUN)
    before = path.read_bytes()
    code, out, _ = awaitly("run", path, "--output", tmp_path / "done.ipynb")
    assert code == 0
    assert "total" in out
    assert "computed" in out
    assert nbformat.read(tmp_path / "done.ipynb", 4).cells[1].outputs[0].text == "6\n"
    assert path.read_bytes() == before


def test_a_failing_cell_is_told_and_what_ran_before_is_kept(notebook):
    code, told = report("run", notebook(WORKFLOW, RUN, "1 / 0"))
    assert (code, told["ending"]) == (1, "cell failed")
    assert "ZeroDivisionError" in told["error"]
    assert report("run", notebook(WORKFLOW, RUN))[1]["hit"] == 2


def test_a_failing_step_is_told_with_what_made_it_run(notebook):
    report("run", notebook(WORKFLOW, RUN))
    code, told = report("run", notebook(WORKFLOW.replace("sum(rows)", "sum(rows) / 0"), RUN))
    assert (code, told["ending"], told["failed"]) == (1, "cell failed", 1)
    load, total = told["steps"]
    assert (load["state"], total["state"]) == ("hit", "failed")
    assert load["saved_s"] >= 0
    assert "code" in total["reason"]
    assert "ZeroDivisionError" in told["error"]


def test_a_kernel_that_dies_of_itself_is_told_with_its_last_words(notebook):
    code, told = report("run", notebook("import os, sys; os.write(2, b'out of luck'); os._exit(1)"))
    assert (code, told["ending"]) == (1, "kernel died")


SLOW = WORKFLOW.replace(
    "    return sum(rows)",
    """
    import os, time
    Path("kernel.pid").write_text(str(os.getpid()))
    time.sleep(0 if Path("again").exists() else 600)
    return sum(rows)""",
)


@contextlib.contextmanager
def begun(path):
    """Yield the process of a run in which the slow step is being computed."""
    with subprocess.Popen(
        [*COMMAND, "run", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (path.parent / "kernel.pid").exists():
            time.sleep(0.02)
        yield process


def test_killed_in_the_middle_and_run_again_it_goes_on(notebook, tmp_path):
    path = notebook(SLOW, RUN)
    with begun(path) as process:
        process.kill()
    (tmp_path / "again").touch()
    code, told = report("run", path)
    assert code == 0
    assert states(told) == [("load", "hit"), ("total", "computed")]


def test_stopped_from_the_keyboard_it_reports_ends_its_kernel_and_goes_on_next_time(notebook, tmp_path):
    path = notebook(SLOW, RUN)
    with begun(path) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in out.splitlines() if "│" in line]
    assert [(row[0], row[2]) for row in rows] == [("load", "computed"), ("total", "interrupted")]
    assert "interrupted" in out.splitlines()[-1]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "kernel.pid").read_text()), 0)
    (tmp_path / "again").touch()
    code, told = report("run", path)
    assert code == 0
    assert states(told) == [("load", "hit"), ("total", "computed")]


def test_a_notebook_that_is_not_there():
    code, _, err = awaitly("run", Path("no_such.ipynb"))
    assert code == 2
    assert "no_such.ipynb" in err


def test_a_forgotten_load_ext_is_told(notebook):
    code, told = report("run", notebook("%%awaitly raw\nx = 1"))
    assert (code, told["ending"]) == (1, "cell failed")
    assert "put `%load_ext awaitly_nb` into a cell above" in told["error"].splitlines()[0]
