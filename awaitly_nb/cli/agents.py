"""`awaitly-nb mcp`: a server of the Model Context Protocol, by which an agent asks before it runs.

An agent may restart and run all as often as it likes: what is cached is not computed again, and a run stops before a
step that would take longer than its budget. Answers are the documents of `schema.json`. Needs the extra `mcp`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.cli.documents import run_document, status_document, why_document
from awaitly_nb.errors import AwaitlyError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver import MCPServer

__all__ = ["BUDGET_S", "server"]

BUDGET_S = 60.0
"""What a run may take where the agent does not say."""
_INSTRUCTIONS = (
    "Results of notebook cells are cached on disk by their code and inputs. Before you run a notebook, ask `plan`: it "
    "starts no kernel and says which cells come from the cache, which would run, why, and how long that takes. `run` "
    "stops before a step that would take longer than its budget, and says what it would cost; run it again with a "
    "larger budget_s if that is worth it. After an edit, do not invalidate anything: keys follow code and inputs."
)

# Any, throughout: plain JSON data.


def server() -> MCPServer:
    """Return the server with its tools; `.run(transport="stdio")` serves.

    Raises
    ------
    MissingExtraError
        The extra `mcp` is not installed.
    """
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError as exc:
        raise MissingExtraError("mcp", "mcp") from exc
    made = MCPServer(name="awaitly-nb", instructions=_INSTRUCTIONS)
    for tool in (plan, why, status, invalidate, run):
        made.tool(name=tool.__name__)(tool)
    return made


async def plan(notebook: str) -> dict[str, Any]:
    """Say what Run All would do to a notebook: which cells hit, which run, why, and how long. Starts no kernel.

    Parameters
    ----------
    notebook
        The path of the notebook file.
    """
    from awaitly_nb.plans import plan as make_plan

    return await _in_thread(lambda: make_plan(notebook).to_dict())


async def why(cell: str) -> dict[str, Any]:
    """Say why a cell, function or step was computed last: which part of its key was new.

    Parameters
    ----------
    cell
        Its name, as `status` and `plan` tell it.
    """
    from awaitly_nb import manage

    return await _in_thread(lambda: why_document(manage.why(cell)))


async def status() -> dict[str, Any]:
    """Say what is cached: one row for each cell, function and step, with its size and the seconds that it took."""
    from awaitly_nb import manage

    return await _in_thread(lambda: status_document(manage.status()))


async def invalidate(glob: str, dry_run: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - a field of JSON
    """Remove cached keys that match a glob, so that they are computed again; only tells which, unless dry_run=false.

    Parameters
    ----------
    glob
        Which keys: "model:*"; "*" means all.
    dry_run
        True tells what would be removed, and how many seconds of work that is, and removes nothing.
    """
    from awaitly_nb import manage

    def removed() -> dict[str, Any]:
        done = manage.remove(glob, dry_run=dry_run)
        told = [manage.entry_data(entry) for entry in done.entries]
        return {"removed": done.removed, "dry_run": dry_run, "work_s": done.work_s, "keys": told}

    return await _in_thread(removed)


async def run(notebook: str, budget_s: float = BUDGET_S) -> dict[str, Any]:
    """Run a notebook from top to bottom; what is cached is not computed again.

    Stops before a step that is expected to take longer than what is left of the budget, with the ending "over budget"
    and what it would cost. What was finished is cached, so another run goes on from there.

    Parameters
    ----------
    notebook
        The path of the notebook file, which is not changed.
    budget_s
        Seconds that the run may take.
    """
    from awaitly_nb.cli.headless import run_notebook

    return await _in_thread(lambda: run_document(run_notebook(Path(notebook), budget_s=budget_s)))


async def _in_thread(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Call it outside of the server's loop, which has to answer meanwhile; tell failures in words an agent can use."""
    import anyio
    from mcp.server.mcpserver.exceptions import ToolError

    try:
        return await anyio.to_thread.run_sync(call)
    except AwaitlyError as exc:
        raise ToolError(str(exc)) from exc
