"""`python -m tests`: what it counts, what it leaves out, and that a failure anywhere is a failure of the whole."""

import json
import subprocess
import sys
import threading

import pytest

from tests import __main__ as command, selection, system


def outcome(name, *, ok, **counts):
    return command.Outcome(name, ok, 1.0, "", counts)


@pytest.mark.parametrize(
    ("outcomes", "line"),
    [
        ([], "0 passed, 0 failed"),
        ([outcome("unit", ok=True, passed=3), outcome("contract", ok=True, passed=4)], "7 passed, 0 failed"),
        ([outcome("unit", ok=True, passed=3, skipped=2)], "3 passed, 0 failed, 2 skipped"),
        ([outcome("unit", ok=False, passed=3, failed=2)], "3 passed, 2 failed"),
        ([outcome("lint", ok=False), outcome("unit", ok=True, passed=1)], "1 passed, 1 failed"),
        ([outcome("unit", ok=False)], "0 passed, 1 failed"),
    ],
)
def test_the_closing_line(outcomes, line):
    assert command.closing_line(outcomes) == line


@pytest.mark.parametrize(
    ("path", "markers", "check"),
    [
        ("tests/unit/keys/test_values.py", set(), "unit"),
        ("tests/unit/test_cell.py", {"kernel", "slow"}, "kernel"),
        ("tests/e2e/test_kernel.py", set(), "kernel"),
        ("tests/e2e/browser/test_panel.py", {"kernel"}, "browser"),
        ("tests/contract/test_stores.py", {"services"}, "services"),
        ("tests/contract/test_stores.py", set(), "contract"),
        ("tests/new_folder/test_x.py", set(), "unit"),
        ("tests/test_notebooks.py", set(), "notebooks"),
        ("tests/test_readme.py", set(), "readme"),
        ("awaitly_nb/result.py", set(), "readme"),
    ],
)
def test_each_test_belongs_to_one_check(path, markers, check):
    if "e2e/browser" in path:
        markers = markers - {"kernel"} | {"browser"}
    assert selection.check_of(path, markers) == check


def test_every_check_has_a_command():
    assert set(command.ORDER) == {*command.STATIC, *selection.CHECKS}
    assert not set(command.ORDER) & set(command.ON_DEMAND)
    assert set(command.FAST) < set(command.ORDER)


class Seconds:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_what_runs_is_told_with_how_far_it_is(tmp_path):
    clock, file = Seconds(), tmp_path / "progress.json"
    progress = command.Progress(terminal=False, clock=clock)
    with progress.of("unit", file), progress.of("types"):
        clock.now += 12
        assert progress.lines() == ["....  unit          12.0 s", "....  types         12.0 s"]
        file.write_text('{"done": 3, "total": 40, "test": "tests/unit/test_a.py::test_b"}')
        assert progress.lines()[0] == "....  unit          12.0 s  3 of 40 tests, now tests/unit/test_a.py::test_b"
        file.write_text('{"done": 3, "to')  # pytest is writing
        assert progress.lines()[0] == "....  unit          12.0 s"
    assert progress.lines() == []


@pytest.mark.parametrize("terminal", [False, True])
def test_it_is_told_again_and_again_while_it_runs(monkeypatch, terminal):
    said, twice = [], threading.Event()

    def tell(text):
        said.append(text)
        if len(said) == 2:
            twice.set()

    monkeypatch.setattr(command, "_over" if terminal else "_say", tell)
    monkeypatch.setattr(command, "EVERY_S", {terminal: 0.01})
    progress = command.Progress(terminal=terminal, clock=Seconds())
    with progress.of("types"), progress.shown():
        assert twice.wait(60)
    assert said[0] == ("types 0.0 s" if terminal else "....  types          0.0 s")


def run(folder, *options):
    """Run pytest with our plugin over a folder of its own, and return the exit code and the counts."""
    counts = folder / "counts.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.selection"]
        + [
            "--rootdir",
            str(folder),
            "-c",
            str(folder / "pytest.ini"),
            "--count-into",
            str(counts),
            *options,
            str(folder),
        ],
        cwd=command.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert counts.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(counts.read_text())


@pytest.fixture
def suite(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: slow\n")
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "@pytest.mark.slow\n"
        "def test_slow(): pass\n"
        "def test_skips(): pytest.skip('no server')\n"
        "@pytest.mark.xfail(strict=True)\n"
        "def test_gap(): raise AssertionError\n"
    )
    (tmp_path / "test_b.py").write_text("import pytest\npytest.importorskip('no_such_package_anywhere')\n")
    return tmp_path


def test_skips_are_counted_with_their_reasons(suite):
    code, counts = run(suite)
    assert code == 0
    assert (counts["passed"], counts["failed"], counts["skipped"]) == (2, 0, 2)
    assert "no server" in counts["reasons"]
    assert any("no_such_package_anywhere" in reason for reason in counts["reasons"])


def test_under_strict_a_skip_is_a_failure_but_a_declared_gap_is_not(suite):
    code, counts = run(suite, "--skips-fail", "--continue-on-collection-errors")
    assert code == 1
    assert (counts["passed"], counts["failed"], counts["skipped"]) == (2, 2, 0)


def test_slow_tests_can_be_left_out(suite):
    assert run(suite, "--without-slow")[1]["passed"] == 1


def test_how_far_it_is_is_written_before_each_test(suite):
    (suite / "test_c.py").write_text(
        "import pathlib\ndef test_c(): assert 'test_c' in pathlib.Path('{}').read_text()\n".replace(
            "{}", str(suite / "progress.json")
        )
    )
    code, _ = run(suite, "--progress-into", str(suite / "progress.json"))
    assert code == 0
    assert json.loads((suite / "progress.json").read_text())["total"] == 5


def test_an_error_in_a_fixture_is_a_failure(suite):
    (suite / "test_c.py").write_text("def test_c(no_such_fixture): pass\n")
    code, counts = run(suite)
    assert (code, counts["failed"]) == (1, 1)


def test_unknown_names_are_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as refused:
        command.main(["unti"])
    assert refused.value.code == 2
    assert "unti" in (told := capsys.readouterr().err)
    assert "unit" in told


def test_what_cannot_be_installed_is_told_in_one_line(monkeypatch):
    said = []
    monkeypatch.setattr(
        system, "PROGRAMS", (system.Program("no-such-program", "browser", commands=("no-such-program",)),)
    )
    monkeypatch.setattr(system.shutil, "which", lambda name: None)
    system.provide(["unit", "browser"], said.append)
    assert len(said) == 1
    assert "sudo apt-get install no-such-program" in said[0]
    system.provide(["unit"], said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("import no_such_package_anywhere.part\ndef test(): pass\n", (0, 1)),
        ("from awaitly_nb import no_such_name\n", (1, 0)),
        ("import tests.no_such_module\n", (1, 0)),
        ("1 / 0\n", (1, 0)),
    ],
)
def test_a_module_that_lacks_a_package_of_others_is_skipped_and_one_that_lacks_ours_is_an_error(
    tmp_path, source, counts
):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_pycollect_makemodule\n")
    (tmp_path / "test_a.py").write_text(source)
    _, found = run(tmp_path, "--continue-on-collection-errors")
    assert (found["failed"], found["skipped"]) == counts
