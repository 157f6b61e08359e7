"""Every block of the README is true: its Python runs in a kernel, its output is what is printed, its commands exist.

The Python blocks are the cells of one notebook, from top to bottom. A `text` block after one is what it prints.
"""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from awaitly_nb.cli.app import app
from awaitly_nb.cli.headless import run_notebook

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


BLOCKS = [Block(m[1], m[2], README[: m.start()].count("\n") + 1) for m in FENCE.finditer(README)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
COMMANDS = [
    line.removeprefix("$ ")
    for b in BLOCKS
    if b.language == "console"
    for line in b.text.splitlines()
    if line[:2] == "$ "
]


def printed_by(cell):
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def executed(folder):
    """The README as a notebook, run from top to bottom by a real kernel."""
    cells = [nbformat.v4.new_code_cell(block.text) for block in PYTHON]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "readme.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWAITLY_NB_CACHE_DIR", str(folder / ".awaitly"))
        report = run_notebook(folder / "readme.ipynb", output=folder / "executed.ipynb")
    return report, nbformat.read(folder / "executed.ipynb", 4).cells


def test_every_block_is_of_a_kind_that_is_tested():
    assert {block.language for block in BLOCKS} == {"python", "text", "console"}
    for before, block in zip([None, *BLOCKS], BLOCKS, strict=False):
        assert block.language != "text" or before.language == "python", f"line {block.line}: printed by what?"


@pytest.mark.slow
def test_every_python_block_runs(executed):
    report, _ = executed
    assert (report.ending, report.error) == ("ok", "")


@pytest.mark.slow
def test_every_text_block_is_what_the_block_before_prints(executed):
    _, cells = executed
    expected = {
        before.line: block.text for before, block in zip(BLOCKS, BLOCKS[1:], strict=False) if block.language == "text"
    }
    assert expected
    printed = {b.line: printed_by(cell) for b, cell in zip(PYTHON, cells, strict=True) if b.line in expected}
    assert printed == expected


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("awaitly-nb")])
def test_every_command_runs_where_the_blocks_have_run(executed, folder, command):
    _, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-c", "from awaitly_nb.cli import main; main()", "--cache-dir", str(folder / ".awaitly")]
        + arguments,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


def test_every_command_that_is_named_exists():
    named = set(re.findall(r"awaitly-nb (\w+)", README)) | set(re.findall(r"bin/awaitly-nb (\w+)", README))
    assert "demo" in named
    assert named <= set(app.commands)


def test_every_magic_word_that_is_named_exists():
    from awaitly_nb.notebook.commands import COMMANDS

    named = set(re.findall(r"`%awaitly (\w+)", README))
    assert {"auto", "plan", "graph", "why"} <= named
    assert named <= set(COMMANDS)


def test_the_options_of_run_are_the_options_there_are():
    part = README.partition("### Before you run")[2].partition("\n### ")[0]
    named = set(re.findall(r"^\| `--([a-z]+)[^`]*` \|", part, re.MULTILINE))
    assert named == {option.name for option in app.commands["run"].params} - {"notebook", "as_json"}


def test_the_options_of_a_cell_are_options_there_are():
    from awaitly_nb.plans import CELL_FLAGS, CELL_VALUES

    part = README.partition("### One cell")[2].partition("\n### ")[0]
    named = set(re.findall(r"^\| `(--[a-z-]+)", part, re.MULTILINE))
    assert "--force" in named
    assert named <= {*CELL_VALUES, *CELL_FLAGS}


def test_the_comments_of_automatic_mode_are_understood():
    from awaitly_nb.plans import Directive, read_directive

    comments = re.findall(r"`(# awaitly: [^`]+)`", README)
    assert comments
    assert Directive() not in map(read_directive, comments)


def test_the_two_commands_that_do_all_their_set_up():
    long = [command for command in COMMANDS if command.startswith("python3 -m venv")]
    assert long == [
        "python3 -m venv .venv && .venv/bin/pip install -e '.[lab]' && .venv/bin/awaitly-nb demo",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[all,test]' && .venv/bin/python -m tests",
    ]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for part in ("-m venv .venv", "install", "-e '.[all,test]'", "-m tests --strict"):
        assert part in script


def test_links_and_pictures_are_there():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    local = [target for target in targets if not target.startswith("https://")]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_the_settings_of_the_table_are_the_settings_there_are():
    from awaitly_nb import config

    table = README.partition("## Settings")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {s.name for s in config.explain()}
