"""Names that somebody chose with care, in every view: they are shown, and do nothing.

Each name is a key, a step's id, a workflow, a call, a value, an error and the id of a state at once. In a terminal no
character of it moves the cursor or turns the reading direction, in HTML none begins a tag, and in JSON it comes back.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import unicodedata
import warnings
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb import cache as caches, config, manage
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.cli.app import app
from awaitly_nb.notebook import html
from awaitly_nb.notebook.commands import perform
from awaitly_nb.notebook.panel_display import panel_text
from awaitly_nb.notebook.panel_keys import key_columns
from awaitly_nb.notebook.panel_rows import sections
from awaitly_nb.result import Mark, with_mark

NAMES = {
    "clears the screen": "\x1b[2J\x1b[1;1Hgone",
    "sets the title": "\x1b]0;evil\x07",
    "one byte of control": "\x9b31mred\x9b0m",
    "goes back": "secret\b\b\b\b\b\bpublic\r",
    "turns around": "\u202egnp.exe\u202c",
    "isolates": "\u2066a\u2069\u2067b\u2069",
    "new lines": "one\ntwo\r\nthree\ttabs",
    "ends": "a\x00b",
    "script": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)" \'><img src=x onerror=alert(1)>',
    "entity": "&lt;script&gt;&#0;&nbsp",
    "markup of rich": "[bold red on white]x[/] [link=file:///etc/passwd]y[/link] [/nothing]",
    "emoji code of rich": ":skull: :warning:",
    "format": "%s %d {0} {name} {{}} ${HOME} $(id) `id`",
    "path": "../../../../etc/passwd",
    "glob": "*?[!a]**",
    "statement": "'; DROP TABLE Cache; --",
    "option": "--all",
    "template": "{{7*7}} <%= 7 %> </style></script>",
    "wide": "\N{FAMILY}\u200d\N{WOMAN}e\u0301\u0301" * 20,
    "long": "k" * 20_000,
    "prototype": "__proto__",
}
NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_runs(monkeypatch):
    monkeypatch.setattr("awaitly_nb.manage.steps.recent_runs", list)  # as in a shell, where nothing has run
    monkeypatch.setenv("COLUMNS", "120")
    yield
    forget_folders()


def store(name, folder):
    """Use the name wherever a name can be."""
    mark = Mark(step_id=name, workflow=name, at=NOW, duration_s=1.0, call=name)
    cache = aw.create_disk_cache(config.cache_directory(), namespace=name)
    cache.set(name, with_mark(aw.Ok(name), mark))
    cache.set(f"{name} failed", with_mark(aw.Err(ValueError(name), ValueError(name)), mark))
    state = aw.ResumeState({name: aw.StepEntry(aw.Ok(name), name, NOW, 1.0)})
    states = aw.sqlite(folder / "runs.db")
    states.blocking.save("run", state)
    printable = "".join(char for char in name if char >= " ")[:500]
    if printable == name:
        states.blocking.save(name, state)
    states.blocking.close()
    return state


def shell(*words):
    return CliRunner().invoke(app, words, catch_exceptions=False).output


def read(function, *args):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        shown = function(*args)
    return f"{shown}{out.getvalue()}", shown


def moved(text):
    """Return the characters that do something to a terminal."""
    return {char for char in text if char not in "\n\t" and unicodedata.category(char) == "Cc"} | {
        char for char in text if unicodedata.bidirectional(char) in {"RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI"}
    }


class Reader(HTMLParser):
    """What a browser would make of some HTML."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {attribute for attribute, _ in attrs}


def terminal_views(name, folder):
    """Yield each view of a terminal, with its text."""
    database = str(folder / "runs.db")
    commands = {
        "keys": ["keys"],
        "keys --all": ["keys", "--all"],
        "keys NAME": ["keys", "--", name],
        "keys, none": ["keys", "--", f"no {name}"],
        "show": ["show", "--", name],
        "show, none": ["show", "--", f"no {name}"],
        "why": ["why", "--", name],
        "why, none": ["why", "--", f"no {name}"],
        "status": ["status"],
        "rm": ["rm", "--dry-run", "--", name],
        "retry": ["retry", "--dry-run"],
        "doctor": ["doctor"],
        "unknown": ["--", name],
        "state list": ["state", "list", "--store", database],
        "state list --prefix": ["state", "list", "--store", database, "--prefix", name[:400]],
        "state list --store": ["state", "list", "--store", name[:200]],
        "state show": ["state", "show", "--store", database, "run"],
        "state show, none": ["state", "show", "--store", database, "--", f"no {name}"],
        "state rm": ["state", "rm", "--dry-run", "--store", database, "run"],
        "plan": ["plan", str(notebook(name, folder))],
        "plan, none": ["plan", "--", f"{name[:200]}.ipynb"],
    }
    for view, words in commands.items():
        if "\0" not in "".join(words):  # no process can be given one
            yield view, shell(*words)
    for line in (
        "status",
        "keys",
        "keys --all",
        "retry --dry-run",
        f"show {shlex.quote(name)}",
        f"why {shlex.quote(name)}",
        "plan",
    ):
        if "\n" not in line:
            yield f"%awaitly {line[:20]}", in_notebook(line)
    entries = manage.find()
    yield "repr", repr(entries) + repr(manage.status()) + repr(caches.open_default(name))
    yield "panel", panel_text(sections([]))


def in_notebook(line):
    try:
        return read(perform, line)[0]
    except aw.AwaitlyError as exc:
        return str(exc)


def notebook(name, folder):
    cells = [
        {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        for source in (f"%%awaitly {shlex.quote(name)}\nx = 1", f"y = {name!r}")
    ]
    path = folder / "hostile.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def html_views(name, state):
    cache = caches.open_default(name)
    yield "result", html.result_html(cache.get(name))
    yield "failure", html.result_html(cache.get(f"{name} failed"))
    yield "state", html.state_html(state)
    yield "cache", html.cache_html(cache)
    yield "panel", html.panel_html([], manage.find(), now=NOW)
    for line in ("status", "keys", "keys --all"):
        yield f"%awaitly {line}", perform(line)._repr_html_()
    if "\n" not in name and not name.startswith("--"):
        yield "%awaitly show", perform(f"show {shlex.quote(name)}")._repr_html_()
    yield "why", manage.why(name)._repr_html_() or ""


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_shown_in_every_view_and_does_nothing(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aw.AwaitlyWarning)
        state = store(name, tmp_path)
        harm = {view: moved(text) for view, text in terminal_views(name, tmp_path)}
        assert {view: found for view, found in harm.items() if found} == {}
        for view, text in html_views(name, state):
            seen = Reader(text)
            assert not seen.tags & {"script", "img", "iframe", "object", "embed", "link", "a", "svg"}, view
            assert not [attribute for attribute in seen.attributes if attribute.startswith("on")], view
            assert not moved(text), view
        told = json.loads(shell("keys", "--json"))["keys"]
        assert {one["key"] for one in told} == {name, f"{name} failed"}
        listing = caches.folder_listing()
        assert all(isinstance(column, bytes) for column in key_columns(listing, [1, 2]))
        assert manage.remove_one(name, name)[0]
        assert manage.find("*")[0].key == f"{name} failed"
