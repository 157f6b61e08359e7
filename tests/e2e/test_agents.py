"""`awaitly-nb mcp`: an agent over real standard input and output asks before it runs, and starts no long work."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

import jsonschema
import pytest
from mcp import Client, StdioServerParameters

import awaitly_nb as aw
from awaitly_nb import config
from awaitly_nb.cli.documents import schema
from awaitly_nb.result import Mark, with_mark

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    mark = Mark(step_id="model", workflow="model", at=datetime.now(UTC), duration_s=3600.0)
    folder = aw.create_disk_cache(config.cache_directory(), namespace="model")
    folder.set("model:before", with_mark(aw.Ok(1), mark))  # an hour, for code of before
    cells = [
        "%load_ext awaitly_nb",
        "%%awaitly data\nopen('ran-data.txt', 'a').write('x')\ndata = [1, 2]",
        "%%awaitly model\nopen('ran-model.txt', 'a').write('x')\nmodel = sum(data)",
    ]
    path = tmp_path / "n.ipynb"
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    content = {"cells": [{**code, "source": c, "id": f"c{i}"} for i, c in enumerate(cells)], "metadata": {}}
    path.write_text(json.dumps({**content, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_an_agent_plans_runs_within_a_budget_and_invalidates_only_when_it_means_it(notebook):
    command = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from awaitly_nb.cli import main; main()", "mcp"],
        env=dict(os.environ),
        cwd=notebook.parent,
    )

    async def talk():
        async with Client(command) as client:

            async def call(tool, **arguments):
                done = await client.call_tool(tool, arguments)
                if done.is_error:
                    return done.content[0].text
                return done.structured_content

            tools = {tool.name: tool.input_schema["properties"] for tool in (await client.list_tools()).tools}
            assert {name: list(fields) for name, fields in tools.items()} == {
                "plan": ["notebook"],
                "why": ["cell"],
                "status": [],
                "invalidate": ["glob", "dry_run"],
                "run": ["notebook", "budget_s"],
            }
            documents = [await call("plan", notebook=str(notebook))]
            assert [cell["state"] for cell in documents[0]["cells"]] == ["live", "new", "run"]
            assert "about 1 h" in documents[0]["total"]["text"]
            documents.append(await call("run", notebook=str(notebook)))
            assert documents[-1]["ending"] == "over budget"
            assert "about 1 h" in documents[-1]["error"]
            assert not (notebook.parent / "ran-model.txt").exists()
            documents.append(await call("run", notebook=str(notebook), budget_s=7200))
            assert (documents[-1]["ending"], documents[-1]["hit"], documents[-1]["computed"]) == ("ok", 1, 1)
            documents.append(await call("run", notebook=str(notebook), budget_s=0.01))
            assert (documents[-1]["ending"], documents[-1]["hit"]) == ("ok", 2)
            documents += [await call("why", cell="data"), await call("status")]
            told = await call("invalidate", glob="data:*")
            assert (told["removed"], told["dry_run"], len(told["keys"])) == (0, True, 1)
            assert (await call("invalidate", glob="data:*", dry_run=False))["removed"] == 1
            assert "no notebook" in await call("plan", notebook="nowhere.ipynb")
            return documents

    for document in asyncio.run(talk()):
        jsonschema.Draft202012Validator(schema()).validate(document)
