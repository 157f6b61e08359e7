"""What `--json` writes is as the schema that ships says, in every field."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb import config
from awaitly_nb.cli.app import app
from awaitly_nb.cli.documents import run_document, schema
from awaitly_nb.cli.headless import RunReport, RunStep
from awaitly_nb.result import Mark, with_mark

DRAFT = jsonschema.Draft202012Validator


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setattr("awaitly_nb.manage.steps.recent_runs", list)
    for key, result in (("total:1", aw.Ok(3)), ("total:2", aw.Err("NOT_FOUND"))):
        mark = Mark(step_id="total", workflow="total", at=datetime.now(UTC), duration_s=2.0)
        cache = aw.create_disk_cache(config.cache_directory(), namespace="total")
        cache.set(key, with_mark(result, mark), ttl=3600 if result.ok else None)
    cells = [
        "import math",
        "%%awaitly data\ndata = [1, 2]",
        "%%awaitly total --key total:1\ntotal = sum(data)",
        "exec('k = 1')",
        "%%awaitly rest --key rest:{k}\nrest = k + total",
        "%%awaitly total --key total:9\ntotal = sum(data)",
    ]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": c} for c in cells], "nbformat": 4}))
    return path


def written(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    return json.loads(done.output)


def report():
    steps = (RunStep(workflow="total", step_id="total", step_key=None, state="computed", duration_s=1.0, reason="new"),)
    return RunReport(notebook=Path("n.ipynb"), ending="over budget", seconds=2.0, steps=steps, error="too long")


def test_the_schema_is_a_schema_and_is_written_by_a_command(notebook):
    DRAFT.check_schema(schema())
    assert written("schema") == schema()


@pytest.mark.parametrize("command", ["plan", "why", "status", "keys", "run"])
def test_what_a_command_writes_is_as_the_schema_says(command, notebook):
    arguments = {"plan": [notebook], "why": ["total"]}.get(command, [])
    told = run_document(report()) if command == "run" else written(command, *arguments, "--json")
    told = json.loads(json.dumps(told))
    assert (told["schema"], told["kind"]) == (1, command)
    DRAFT(schema()).validate(told)
    assert not list(unnamed(told, schema()["$defs"][command]))
    if command == "plan":
        assert {cell["state"] for cell in told["cells"]} == {"live", "new", "hit", "unknown", "run"}
    for field in schema()["$defs"][command]["required"]:
        less = {name: value for name, value in told.items() if name != field}
        with pytest.raises(jsonschema.ValidationError):
            DRAFT(schema()).validate(less)


def unnamed(told, rule):
    """Yield fields that the schema allows, but does not name: whoever adds one has to tell there what it means."""
    rule = schema()["$defs"][rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule
    if isinstance(told, dict):
        for name, value in told.items():
            if name not in rule["properties"]:
                yield name
            else:
                yield from unnamed(value, rule["properties"][name])
    elif isinstance(told, list):
        for item in told:
            yield from unnamed(item, rule["items"])
