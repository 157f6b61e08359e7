"""The commands themselves: they parse, call one function, and show."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import add_completion_class, get_completion_class

from awaitly_nb.cli import show
from awaitly_nb.cli.documents import keys_document, run_document, schema, status_document, why_document
from awaitly_nb.cli.options import (
    FAILED,
    INTERRUPTED,
    WOULD_COMPUTE,
    Bash,
    CommandGroup,
    as_json,
    complete_keys,
    complete_names,
    duration,
)
from awaitly_nb.cli.remote import pull_command, push_command
from awaitly_nb.cli.state import state_group
from awaitly_nb.cli.travel import open_command, pack_command
from awaitly_nb.cli.trust import trust_group
from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    from awaitly_nb.manage import Removal

__all__ = ["app"]


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache folder; by default the one a notebook in this directory would use.",
)
@click.version_option(package_name="awaitly-nb")
def app(*, cache_dir: Path | None) -> None:
    """Notebook steps that are cached on disk: look at them, manage them, and run notebooks without a browser."""
    if cache_dir is not None:
        # The environment, because kernels that are started here are to use it too.
        os.environ["AWAITLY_NB_CACHE_DIR"] = str(cache_dir.absolute())


add_completion_class(Bash)
app.add_command(state_group)
app.add_command(trust_group)
app.add_command(pack_command)
app.add_command(open_command)
app.add_command(push_command)
app.add_command(pull_command)


@app.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="An empty folder for it.")
@as_json
def demo(*, folder: Path | None, as_json: bool) -> None:
    """Run a real notebook, kill its kernel in the middle of the longest step, and run it again.

    Ends with a table of what the second run took from disk, and how to open the notebook in JupyterLab.
    """
    from awaitly_nb.cli.demo import STEPS, run_demo

    with show.progress(quiet=as_json, total=STEPS) as progress:
        done = run_demo(folder, on_event=progress.demo_event)
    if as_json:
        show.data(done.to_dict())
    else:
        show.demo(done)
    if not done.resumed:
        raise SystemExit(FAILED)


@app.command()
@click.argument("notebook", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--check", is_flag=True, help="Compute nothing: say the plan, and fail where something would be computed."
)
@click.option("--stale", is_flag=True, help="Only what the plan does not call a hit, and what that needs.")
@click.option("--only", metavar="CELLS", help="Only these cells, by name or place, and what they need: model,plot,7")
@click.option(
    "--budget", metavar="TIME", callback=duration, help='Stop before a step that would take longer: "60s", "1h".'
)
@click.option(
    "--auto/--no-auto", default=None, help="Whether plain cells are looked after; by default as the settings say."
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it with its outputs.")
@as_json
def run(
    *,
    notebook: Path,
    check: bool,
    stale: bool,
    only: str | None,
    budget: float | None,
    auto: bool | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run NOTEBOOK from top to bottom without a browser; what is cached is not computed again.

    --check says the plan without a kernel. Where that finds nothing to compute, the notebook is run up to the first
    step that would be computed, because steps inside plain cells are known to a run only.

    --budget stops before a step that is expected to take longer than what is left, and says what it would cost.

    Exit codes: 0 all cells ran; 1 a cell failed or the kernel died; 3 --check found something that would be computed,
    or --budget stopped; 130 stopped from the keyboard, which ends the kernel too; what was finished is stored.
    """
    from awaitly_nb.cli.headless import run_notebook
    from awaitly_nb.plans import plan as make_plan

    if auto is not None:
        os.environ["AWAITLY_NB_AUTO"] = "1" if auto else "0"  # the kernel's, too
    places = None
    if check or stale or only is not None:
        found = make_plan(notebook, auto=auto)
        if check and any(cell.state in ("run", "new") for cell in found.cells):
            show.data(found.to_dict()) if as_json else show.plan(found)
            raise SystemExit(WOULD_COMPUTE)
        if stale or only is not None:
            places = found.needed(None if only is None else [word.strip() for word in only.split(",")])
    with show.progress(quiet=as_json) as progress:
        report = run_notebook(
            notebook, compute=not check, only=places, budget_s=budget, output=output, on_event=progress.run_event
        )
    if as_json:
        show.data(run_document(report))
    else:
        show.report(report)
    if report.ending != "ok":
        codes = {"would compute": WOULD_COMPUTE, "over budget": WOULD_COMPUTE, "interrupted": INTERRUPTED}
        raise SystemExit(codes.get(report.ending, FAILED))


@app.command()
@click.argument("notebook", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--auto/--no-auto", default=None, help="Whether plain cells are looked after; by default as the settings say."
)
@as_json
def plan(*, notebook: Path, auto: bool | None, as_json: bool) -> None:
    """Say what *Run All* would do to NOTEBOOK: which cells hit, which run and why, and what that costs.

    Reads the notebook's text and the cache; starts no kernel and runs nothing.

    Exit codes: 0 nothing would run; 3 something would, or cannot be known.
    """
    from awaitly_nb.plans import plan as make_plan

    found = make_plan(notebook, auto=auto)
    if as_json:
        show.data(found.to_dict())
    else:
        show.plan(found)
    if not found.complete:
        raise SystemExit(WOULD_COMPUTE)


@app.command()
@click.argument("notebook", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@as_json
def audit(*, notebook: Path, as_json: bool) -> None:
    """Run every cell of NOTEBOOK live, beside the cache, and tell what its hits leave otherwise.

    Every cell runs, twice where something differs: files are written and services called as by Run All.

    Exit codes: 0 hits leave what running leaves; 1 they do not.
    """
    import subprocess

    # The shell knows nothing of the notebook's room; what runs cells is a process of its own anyway.
    command = [sys.executable, "-m", "awaitly_nb.notebook.audit", str(notebook), *(["--json"] if as_json else [])]
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603 - this interpreter, and our own module
        raise SystemExit(code)


@app.command()
@click.argument("notebook", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--mermaid", is_flag=True, help="As Mermaid text, and not as SVG.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.")
@as_json
def graph(*, notebook: Path, mermaid: bool, output: Path | None, as_json: bool) -> None:
    """Draw which cell of NOTEBOOK feeds which, and what would run; needs no other program and starts no kernel."""
    from awaitly_nb.plans import plan as make_plan

    found = make_plan(notebook)
    if as_json:
        show.data(found.to_dict())
        return
    text = found.graph().to_mermaid() if mermaid else found.graph().to_svg()
    if output is None:
        click.echo(text.rstrip())
    else:
        output.write_text(text, encoding="utf-8")


@app.command()
@as_json
def status(*, as_json: bool) -> None:
    """Show one line for each cell, function and step: its latest result, its size, and what its hits saved."""
    from awaitly_nb import manage

    found = manage.status()
    if as_json:
        show.data(status_document(found))
    else:
        show.statuses(found)


@app.command()
@click.argument("glob", default="*", shell_complete=complete_keys)
@click.option("--all", "everything", is_flag=True, help="All of them, with whole keys, and not only the first fifty.")
@as_json
def keys(*, glob: str, everything: bool, as_json: bool) -> None:
    """List the cached keys that match GLOB, of every workflow, function and cell, the newest first; decodes no value.

    A word without * and ? that is no key lists all keys of the workflow, function or cell of that name, and those that
    have it in them.
    """
    from awaitly_nb import manage

    found = manage.listed(glob)
    if as_json:
        show.data(keys_document(found))
    else:
        show.entries(found, everything=everything)


@app.command("show")
@click.argument("key", shell_complete=complete_keys)
@as_json
def show_key(*, key: str, as_json: bool) -> None:
    """Show what is cached under KEY: its value, where it came from, and what its key is made of.

    The first letters of a key will do, if there are at least eight and no other key begins so.
    """
    from awaitly_nb import manage

    found = manage.show(key)
    if as_json:
        show.data([one.to_dict() for one in found])
    else:
        show.details(found)


@app.command()
@click.argument("name", shell_complete=complete_names)
@as_json
def why(*, name: str, as_json: bool) -> None:
    """Say why the cell, step or function NAME was computed last: which part of its key was new."""
    from awaitly_nb import manage

    found = manage.why(name)
    if as_json:
        show.data(why_document(found))
    else:
        show.explanation(found)


@app.command()
@click.argument("glob", required=False, shell_complete=complete_keys)
@click.option("--older-than", metavar="AGE", callback=duration, help='Only what is older than this: "7d", "12h".')
@click.option("--errors", is_flag=True, help="Only cached failures.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def rm(*, glob: str | None, older_than: float | None, errors: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the cached keys that match GLOB; they are computed again when they are needed.

    The first letters of a key will do, if there are at least eight and no other key begins so. On a terminal this asks
    before it removes more than ten seconds of work.
    """
    from awaitly_nb import manage

    if glob is None and older_than is None and not errors:
        raise click.UsageError("say which: a GLOB ('*' for all), --older-than AGE or --errors")
    done = manage.remove(
        glob, errors=errors, older_than_s=older_than, dry_run=dry_run, confirm=None if yes or as_json else _confirm
    )
    _show_removal(done, dry_run=dry_run, as_json=as_json)


@app.command()
@click.option("--superseded", is_flag=True, help="Results for which the same call has a newer one.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def prune(*, superseded: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove what is not needed any more.

    --superseded removes results under automatic keys for which the same step or cell, called with the same arguments,
    has a newer one: those of code, globals or files of before. To go back to that code computes them again.
    """
    from awaitly_nb import manage

    if not superseded:
        raise click.UsageError("say what: --superseded")
    done = manage.remove(superseded=True, dry_run=dry_run, confirm=None if yes or as_json else _confirm)
    _show_removal(done, dry_run=dry_run, as_json=as_json)


@app.command()
@click.argument("key", required=False, shell_complete=complete_keys)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@as_json
def retry(*, key: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove cached failures (all, or KEY), so that their steps run again."""
    from awaitly_nb import manage

    _show_removal(manage.retry(key, dry_run=dry_run), dry_run=dry_run, as_json=as_json)


def _show_removal(done: Removal, *, dry_run: bool, as_json: bool) -> None:
    from awaitly_nb import manage

    if as_json:
        told = [manage.entry_data(entry) for entry in done.entries]
        show.data({"removed": done.removed, "dry_run": dry_run, "keys": told})
    else:
        show.removal(done, dry_run=dry_run)


_MUCH_WORK_S = 10.0


def _confirm(asked: Removal) -> bool:
    """Ask, where there is somebody to ask and much to lose."""
    if asked.work_s < _MUCH_WORK_S or not sys.stdin.isatty():
        return True
    show.entries(asked.entries)
    many = "this key" if len(asked.entries) == 1 else f"these {len(asked.entries):,} keys"
    return click.confirm(f"Remove {many}? {show_duration(asked.work_s)} of work", abort=True)


@app.command()
@click.option("--fix", is_flag=True, help="Repair what can be repaired: orphan files, damaged entries, the database.")
@as_json
def doctor(*, fix: bool, as_json: bool) -> None:
    """Look for what may be wrong with the installation or the cache; exit code 1 if something should be done."""
    from dataclasses import asdict

    from awaitly_nb import manage

    found = manage.doctor(fix=fix)
    if as_json:
        show.data([asdict(one) for one in found])
    else:
        show.findings(found)
    if not all(one.ok for one in found):
        raise SystemExit(FAILED)


@app.command()
@as_json
def config(*, as_json: bool) -> None:
    """Show each setting, its value and where it came from."""
    from awaitly_nb import manage

    found = manage.config()
    if as_json:
        show.data([{"name": one.name, "value": _plain(one.value), "source": one.source} for one in found])
    else:
        show.settings(found)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else str(value)


@app.command()
@click.option(
    "--ipython", is_flag=True, help="Load it in every IPython session, so that notebooks need no line at all."
)
@as_json
def init(*, ipython: bool, as_json: bool) -> None:
    """Switch automatic mode on for the notebooks of this project: `auto = true` in its pyproject.toml.

    They need one line then, `%load_ext awaitly_nb`; with --ipython they need none.
    """
    from awaitly_nb.cli.project import set_auto, set_startup

    written = [set_auto(Path.cwd()), *([set_startup()] if ipython else [])]
    if as_json:
        show.data({"written": [str(path) for path in written]})
        return
    for path in written:
        click.echo(f"wrote {path}")
    if not ipython:
        click.echo("a notebook needs one line now: %load_ext awaitly_nb; with --ipython it needs none")


@app.command()
@click.option("--link", is_flag=True, help="Link it there, where no installation has put it.")
@as_json
def lab(*, link: bool, as_json: bool) -> None:
    """Say where JupyterLab finds the extension with the marks on the cells, or link it there."""
    from awaitly_nb.labextension import FILES, link_extension

    place = link_extension() if link else FILES
    if as_json:
        show.data({"place": str(place), "linked": link})
    elif link:
        click.echo(f"linked {place}; reload the page of JupyterLab")
    else:
        click.echo(f"{place}; pip installs it where JupyterLab looks, and where it is missing: awaitly-nb lab --link")


@app.command("schema")
def show_schema() -> None:
    """Write the JSON Schema of what plan, why, status, keys and run write with --json."""
    show.data(schema())


@app.command()
def mcp() -> None:
    """Serve agents over standard input and output, by the Model Context Protocol; needs the extra mcp.

    Tools: plan(notebook), why(cell), status(), invalidate(glob, dry_run=true), run(notebook, budget_s=60).
    """
    from awaitly_nb.cli.agents import server

    server().run(transport="stdio")


@app.command("help")
@click.argument("command", required=False)
@click.pass_context
def show_help(ctx: click.Context, *, command: str | None) -> None:
    """Show what COMMAND does, or which commands there are."""
    assert ctx.parent is not None
    if command is None:
        click.echo(ctx.parent.get_help())
        return
    _, found, _ = app.resolve_command(ctx.parent, [command])
    assert found is not None
    with click.Context(found, info_name=command, parent=ctx.parent) as told:
        click.echo(found.get_help(told))


@app.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print the completion script of SHELL; in bash: eval "$(awaitly-nb completion bash)"."""
    found = get_completion_class(shell)
    assert found is not None  # one of the choices above
    click.echo(found(app, {}, "awaitly-nb", "_AWAITLY_NB_COMPLETE").source())
