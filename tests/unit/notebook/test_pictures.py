"""The manual's pictures are there, small, told in words, and each is shown somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+\.png)\)")


def linked():
    """Return the words and the file of each picture in the manual."""
    found = [(words, ROOT / path) for words, path in PICTURE.findall((ROOT / "README.md").read_text())]
    for page in (ROOT / ".github" / "docs").rglob("*.md"):
        found += [(words, (page.parent / path).resolve()) for words, path in PICTURE.findall(page.read_text())]
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(notebook.read_text())["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        found += [(words, (notebook.parent / path).resolve()) for words, path in PICTURE.findall(text)]
    return found


def test_every_picture_is_there_and_says_in_words_what_it_shows():
    assert len(linked()) > 8
    for words, path in linked():
        assert len(words.split()) > 3, path
        assert path.stat().st_size < 100_000, path


def test_no_picture_is_left_over():
    folders = (ROOT / "notebooks", ROOT / ".github")
    assert {path for folder in folders for path in folder.rglob("*.png")} == {path for _, path in linked()}
