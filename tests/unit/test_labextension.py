"""The files of the JupyterLab extension: what it needs to find them, and the link after `pip install -e`."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb.cli.app import app
from awaitly_nb.labextension import FILES, NAME, link_extension

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = json.loads((FILES / "package.json").read_text())
SCRIPT = FILES / PACKAGE["jupyterlab"]["_build"]["load"]


def test_the_load_file_is_there_and_its_name_carries_the_version():
    # A browser keeps a file of that name for long.
    assert PACKAGE["version"] == aw.__version__
    assert SCRIPT.name == f"{NAME}.{aw.__version__}.js"
    assert SCRIPT.exists()
    original = FILES / "schemas" / NAME / "package.json.orig"
    assert json.loads(original.read_text())["version"] == aw.__version__


def test_it_is_small_and_all_of_it_is_plain_text():
    files = [path for path in FILES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000
    assert {path.suffix for path in files} <= {".js", ".json", ".orig"}


def test_it_asks_no_other_server():
    text = SCRIPT.read_text()
    assert set(re.findall(r"\w+://[^\"'`\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|importScripts|WebSocket|innerHTML|eval)\b", text)


def test_a_wheel_puts_it_where_jupyterlab_looks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {FILES.relative_to(ROOT).as_posix(): f"share/jupyter/labextensions/{NAME}"}


@pytest.mark.slow
def test_a_wheel_that_is_built_and_installed_brings_the_extension_and_jupyterlab_finds_it(tmp_path):
    from jupyterlab_server.config import get_federated_extensions

    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels, installed = tmp_path / "wheels", tmp_path / "installed"
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT], check=True, timeout=240)
    (wheel,) = wheels.glob("awaitly_nb-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        ours = [one for one in packed.infolist() if f"share/jupyter/labextensions/{NAME}/" in one.filename]
    assert len(ours) == len([path for path in FILES.rglob("*") if path.is_file()])
    assert sum(one.file_size for one in ours) < 100_000
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True, timeout=240)
    place = installed / "share" / "jupyter" / "labextensions"
    found = get_federated_extensions([str(place)])
    assert set(found) == {NAME}
    assert (place / NAME / found[NAME]["jupyterlab"]["_build"]["load"]).read_bytes() == SCRIPT.read_bytes()


def test_every_command_of_toolbars_menus_and_keys_is_one_that_the_script_adds():
    schema = json.loads((FILES / "schemas" / NAME / "plugin.json").read_text())
    named = set(re.findall(rf'"{NAME}:([a-z-]+)"', json.dumps(schema)))
    added = set(re.findall(r'command\("([a-z-]+)"', SCRIPT.read_text()))
    assert named
    assert named <= added
    keys = [tuple(one["keys"]) for one in schema["jupyter.lab.shortcuts"]]
    assert len(set(keys)) == len(keys)


def test_linking_is_harmless_twice_and_leaves_an_installation_alone(tmp_path):
    link = link_extension(tmp_path / "labextensions")
    assert link_extension(tmp_path / "labextensions") == link
    assert json.loads((link / "package.json").read_text()) == PACKAGE
    link.unlink()
    link.mkdir()
    with pytest.raises(aw.MisuseError, match="nothing to link"):
        link_extension(tmp_path / "labextensions")


def test_the_command_links_into_the_environment_and_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    told = CliRunner().invoke(app, ["lab"], catch_exceptions=False).output
    assert str(FILES) in told
    assert "lab --link" in told
    told = CliRunner().invoke(app, ["lab", "--link"], catch_exceptions=False).output
    place = tmp_path / "share" / "jupyter" / "labextensions" / NAME
    assert str(place) in told
    assert place.resolve() == FILES
