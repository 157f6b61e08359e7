"""`awaitly-nb init` writes one setting into a project's file and leaves the rest as it was."""

import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from awaitly_nb.cli.app import app

TEXTS = {
    "nothing": "",
    "another table": '[project]\nname = "x"\n',
    "no end of line": '[project]\nname = "x"',
    "the table": '[tool.awaitly_nb]\nttl = "7d"\n\n[tool.other]\nauto = 1\n',
    "switched off": '[tool.awaitly_nb]  # ours\nauto = false  # for now\nttl = "7d"\n',
    "switched on": "[tool.awaitly_nb]\nauto = true\n",
    "the last line": "[tool.awaitly_nb]",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("AWAITLY_NB_AUTO", raising=False)
    return tmp_path


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_setting_is_written_and_the_rest_stays(project, text):
    path = project / "pyproject.toml"
    if text:
        path.write_text(text)
    before = tomllib.loads(text)
    for _ in range(2):
        done = CliRunner().invoke(app, ["init"])
        assert done.exit_code == 0, done.output
        assert "%load_ext awaitly_nb" in done.output
        after = tomllib.loads(path.read_text())
        assert after["tool"]["awaitly_nb"].pop("auto") is True
        before.get("tool", {}).get("awaitly_nb", {}).pop("auto", None)
        if not before.get("tool", {}).get("awaitly_nb"):
            before.get("tool", {}).pop("awaitly_nb", None)
            after["tool"].pop("awaitly_nb")
        assert {k: v for k, v in after.items() if v} == {k: v for k, v in before.items() if v}


def test_a_file_that_is_no_toml_is_left_alone(project):
    path = project / "pyproject.toml"
    path.write_text("[tool.awaitly_nb\n")
    done = CliRunner().invoke(app, ["init"])
    assert done.exit_code != 0
    assert path.read_text() == "[tool.awaitly_nb\n"


def test_it_finds_the_file_of_the_project_from_a_folder_below(project, monkeypatch):
    (project / "pyproject.toml").write_text("")
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    assert CliRunner().invoke(app, ["init"]).exit_code == 0
    assert "auto = true" in (project / "pyproject.toml").read_text()
    assert not (project / "notebooks" / "pyproject.toml").exists()


def test_with_ipython_no_notebook_needs_a_line(project):
    done = CliRunner().invoke(app, ["init", "--ipython"])
    assert done.exit_code == 0, done.output
    (script,) = (project / "ipython").rglob("*.py")
    compile(script.read_text(), str(script), "exec")
    assert "load_ext" in script.read_text()
    command = [sys.executable, "-m", "IPython", "-c", "%awaitly auto status"]
    told = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert "automatic mode is on" in told.stdout
