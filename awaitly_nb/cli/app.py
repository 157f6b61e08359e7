"""The commands themselves: they parse, call one function, and show."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import add_completion_class, get_completion_class

from awaitly_nb.cli import show
from awaitly_nb.cli.completing import Bash
from awaitly_nb.cli.options import FAILED, INTERRUPTED, WOULD_COMPUTE, Group, as_json, complete_keys, duration
from awaitly_nb.cli.state_commands import state_group
from awaitly_nb.cli.trust_commands import trust_group

__all__ = ["app"]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache folder; by default the one a notebook in this directory would use.",
)
@click.version_option(package_name="awaitly-nb")
def app(*, cache_dir: Path | None) -> None:
    """Notebook steps that are kept on disk: look at them, manage them, and run notebooks without a browser."""
    if cache_dir is not None:
        # The environment, because kernels that are started here are to use it too.
        os.environ["AWAITLY_NB_CACHE_DIR"] = str(cache_dir.absolute())


add_completion_class(Bash)
app.add_command(state_group)
app.add_command(trust_group)


@app.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="An empty folder for it.")
@as_json
def demo(*, folder: Path | None, as_json: bool) -> None:
    """Run a real notebook, kill its kernel in the middle of the longest step, and run it again.

    Ends with a table of what the second run took from disk, and how to open the notebook in JupyterLab.
    """
    from awaitly_nb.cli.demo import run_demo

    with show.progress(quiet=as_json) as progress:
        done = run_demo(folder, on_event=progress.demo_event)
    if as_json:
        show.data(done.to_dict())
    else:
        show.demo(done)
    if not done.kept:
        raise SystemExit(FAILED)


@app.command()
@click.argument("notebook", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--check", is_flag=True, help="Compute nothing that can be kept; fail where something would be computed.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it with its outputs.")
@as_json
def run(*, notebook: Path, check: bool, output: Path | None, as_json: bool) -> None:
    """Run NOTEBOOK from top to bottom without a browser; what is kept is not computed again.

    --check stops at the first step or cell that would be computed, and names it: what comes after depends on its
    result. Steps without a key and plain cells run with --check too, since nothing of them is ever kept.

    Exit codes: 0 all cells ran; 1 a cell failed or the kernel died; 3 --check found a step that would be computed;
    130 stopped from the keyboard, which ends the kernel too; what was finished is kept.
    """
    from awaitly_nb.cli.headless import run_notebook

    with show.progress(quiet=as_json) as progress:
        report = run_notebook(notebook, compute=not check, output=output, on_event=progress.run_event)
    if as_json:
        show.data(report.to_dict())
    else:
        show.report(report)
    if report.ending != "ok":
        codes = {"would compute": WOULD_COMPUTE, "interrupted": INTERRUPTED}
        raise SystemExit(codes.get(report.ending, FAILED))


@app.command()
@click.argument("glob", default="*", shell_complete=complete_keys)
@as_json
def keys(*, glob: str, as_json: bool) -> None:
    """List the kept keys that match GLOB, of every workflow, function and cell; decodes no value.

    A word without * and ? that is no key lists all keys of the workflow, function or cell of that name, and those that
    have it in them.
    """
    from awaitly_nb.cli import kept

    found = kept.listed(glob)
    if as_json:
        show.data([kept.entry_data(entry) for entry in found])
    else:
        show.entries(found)


@app.command("show")
@click.argument("key", shell_complete=complete_keys)
@as_json
def show_key(*, key: str, as_json: bool) -> None:
    """Show what is kept under KEY: its value, where it came from, and what its key is made of."""
    from awaitly_nb.cli import kept

    found = kept.details(key)
    if as_json:
        show.data([one.to_dict() for one in found])
    else:
        show.details(found)


@app.command()
@click.argument("glob", required=False, shell_complete=complete_keys)
@click.option("--older-than", metavar="AGE", callback=duration, help='Only what is older than this: "7d", "12h".')
@click.option("--errors", is_flag=True, help="Only kept failures.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@as_json
def rm(*, glob: str | None, older_than: float | None, errors: bool, dry_run: bool, as_json: bool) -> None:
    """Remove the kept keys that match GLOB; they are computed again when they are needed."""
    from awaitly_nb.cli import kept

    if glob is None and older_than is None and not errors:
        raise click.UsageError("say which: a GLOB ('*' for all), --older-than AGE or --errors")
    found = kept.find(glob or "*", errors=errors, older_than_s=older_than, expired=True)
    removed = 0 if dry_run else kept.remove(found)
    if as_json:
        show.data({"removed": removed, "dry_run": dry_run, "keys": [kept.entry_data(entry) for entry in found]})
    else:
        show.removed(found, None if dry_run else removed)


@app.command()
@as_json
def stats(*, as_json: bool) -> None:
    """Show how much is kept, what it took to compute, and what it saved."""
    from dataclasses import asdict

    from awaitly_nb.cli import kept

    found = kept.statistics()
    if as_json:
        show.data([asdict(one) for one in found])
    else:
        show.statistics(found)


@app.command()
@click.option("--mend", is_flag=True, help="Put right what can be put right: orphan files, a damaged database.")
@as_json
def doctor(*, mend: bool, as_json: bool) -> None:
    """Look for what may be wrong with the installation or the cache; exit code 1 if something should be done."""
    from dataclasses import asdict

    from awaitly_nb.cli.doctor import examine

    found = examine(mend=mend)
    if as_json:
        show.data([asdict(one) for one in found])
    else:
        show.findings(found)
    if not all(one.ok for one in found):
        raise SystemExit(FAILED)


@app.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print the completion script of SHELL; in bash: eval "$(awaitly-nb completion bash)"."""
    found = get_completion_class(shell)
    assert found is not None  # one of the choices above
    click.echo(found(app, {}, "awaitly-nb", "_AWAITLY_NB_COMPLETE").source())
