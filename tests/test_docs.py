"""What the pages of the documentation name is there. That they build without a warning is the check `docs`."""

import re
from pathlib import Path

import nbformat
import pytest

from awaitly_nb.cli.app import app
from awaitly_nb.notebook.commands import COMMANDS
from awaitly_nb.plans import CELL_FLAGS, CELL_VALUES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / ".github" / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
# The README has tests of its own; the notebooks are the rest of the manual.
PAGES |= {
    path.name: "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    for path in (ROOT / "notebooks").glob("*.ipynb")
}


@pytest.mark.parametrize("page", PAGES)
def test_every_word_of_the_magics_and_the_shell_exists(page):
    text = PAGES[page]
    assert set(re.findall(r"`%awaitly (\w+)", text)) <= set(COMMANDS)
    assert set(re.findall(r"`awaitly-nb (\w+)", text)) <= set(app.commands)
    flags = set(re.findall(r"`(--[a-z-]+)", text))
    assert flags <= {*CELL_FLAGS, *CELL_VALUES, "--dry-run", "--check", "--fix"}


def test_the_pages_that_people_look_for_are_there():
    titles = [
        re.search(r"^# (.+)$", text, re.MULTILINE)[1]
        for name, text in PAGES.items()
        if name.endswith(".md") and name != "index.md"
    ]
    for title in ("FAQ and troubleshooting", "Colab, VS Code and other places", "Settings", "API reference"):
        assert title in titles


def test_the_settings_page_tells_no_setting_that_is_not_there():
    from awaitly_nb import config

    named = set(re.findall(r"AWAITLY_NB_([A-Z_]+[A-Z])", "".join(PAGES.values())))
    assert named
    secrets = {"secret", "identity"}  # variables that are no settings: a key is in no file of settings
    assert {name.lower() for name in named} - secrets <= {setting.name for setting in config.explain()}
