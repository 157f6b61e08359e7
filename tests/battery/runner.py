"""Runs small notebooks plain, cached cold, cached warm and warm after an edit of each cell, and compares how they end.

Each run is a process of its own: a child of a parent that has IPython loaded, in an empty folder for a plain run, in
the one of the cold run for a warm one. Two parents with other hash seeds serve the cold and the warm runs. A notebook
ends with what its last cell, which is never cached, binds to `OUT`, and with what its cells showed.

    python -m tests.battery.runner [--auto] [--few] [--save=FILE] [NAME or KIND ...]
    python -m tests.battery.runner --table=FILE

A cell that begins with `#! OPTIONS` has these behind its magic. With `--auto` no cell has a magic: automatic mode
caches them, as a comment in each asks, and nothing is edited. With `--few` only the edits that a notebook brings are
made. Results are added to those in a FILE, of which the table in the documentation is made.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BADGE = re.compile(r"^Out\[\d+\]: |^(?:[^\n]*: )?(?:from cache|computed in|ran .* first).*\n?", re.MULTILINE)
UNCACHED = re.compile(r"runs uncached: [^;\n]+")
ADDRESS = re.compile(r"0x[0-9a-f]+")
CONTEXT = re.compile(r"^(?:\x1b\[[\d;]*m)*(?:-+> )?(?:\x1b\[[\d;]*m)* *\d+(?:\x1b\[[\d;]*m)+ .*\n", re.MULTILINE)
"""Lines of code in a traceback: how many are shown around the failing one is IPython's affair."""


@dataclass(frozen=True)
class Result:
    """How one notebook did.

    `silent` lists the runs that ended in another state than plain ones, with both ends; `cells` is how many cached
    cells the warm runs had whose code and inputs were as before, `hits` how many of these were served, and `ran` the
    reasons of the others.
    """

    name: str
    silent: tuple[str, ...]
    cells: int
    hits: int
    ran: tuple[str, ...]


class Parent:
    """A process that forks for each run; `loaded` is a module that every child begins with."""

    def __init__(self, seed, *, loaded="sys"):
        self._count = 0
        env = {**os.environ, "PYTHONHASHSEED": str(seed), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import {loaded}; from tests.battery.runner import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=env,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, **job):
        """Run a notebook in a child; return its end, what it showed, and the badges."""
        self._count += 1
        self._process.stdin.write(json.dumps({**job, "number": self._count}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            # A worker process that a notebook started may write into the pipe as well, when it ends.
            with contextlib.suppress(ValueError, TypeError):
                number, *answer = json.loads(line)
                if number == self._count:
                    return tuple(answer)
        raise RuntimeError("the process that runs notebooks is gone")


def serve():
    """Fork for each job that comes in; the child answers."""
    from IPython.core.interactiveshell import InteractiveShell  # noqa: F401 - as above

    import awaitly_nb.notebook.magics  # noqa: F401 - loaded once for all children

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                answers.write(json.dumps([json.loads(line)["number"], *_play(json.loads(line))]) + "\n")
                answers.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            answers.write(json.dumps([json.loads(line)["number"], f"died with status {status}", "", []]) + "\n")
            answers.flush()


def _play(job):
    from IPython.core.interactiveshell import InteractiveShell

    os.environ.update(AWAITLY_NB_CACHE_DIR=job["cache"], IPYTHONDIR=job["cache"] + "-ip", **job["env"])
    os.chdir(job["folder"])
    out, err, bad, badges = io.StringIO(), io.StringIO(), None, []
    # Where the user's code holds the stream, badges go to the process's own.
    sys.__stdout__ = out
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        shell = InteractiveShell.instance()
        if job["cached"]:
            shell.run_line_magic("load_ext", "awaitly_nb")
        for index, source in enumerate(job["cells"]):
            last = index == len(job["cells"]) - 1
            start, start_err = out.tell(), err.tell()
            options, source = source.split("\n", 1) if source.startswith("#!") else ("", source)
            # A line of its own in either way, so that tracebacks name the same lines.
            first = "" if source.startswith("%%") else "#"
            # A comment before the magic of another would make that one's line an ordinary one.
            if job["cached"] and (first or not job["first"].startswith("#")):
                first = job["first"].format(index) + options[2:]
            done = shell.run_cell(f"{first}\n{source}" if first and not last else source, True)
            error = done.error_before_exec or done.error_in_exec
            if job["cached"] and not last:
                found = [one for one in BADGE.findall(out.getvalue()[start:]) if not one.startswith("Out[")]
                badges += found[-1:] or UNCACHED.findall(err.getvalue()[start_err:])[:1] or ["no badge"]
            if error is not None:
                bad = f"cell {index}: {type(error).__name__}: {str(error)[:160]}"
                break
    end = bad or ADDRESS.sub("0x", repr(shell.user_ns.get("OUT")))
    shown = CONTEXT.sub("", ADDRESS.sub("0x", BADGE.sub("", out.getvalue())))
    return [end, shown, [badge.strip() for badge in badges]]


def check(name, notebook, cold, warm, *, auto=False, every=True):
    """Run one notebook in all ways; return its `Result`.

    Parameters
    ----------
    notebook
        A `Notebook`.
    cold, warm
        The parents of the runs with an empty folder, and of the others.
    auto
        Whether automatic mode caches the cells; then nothing is edited.
    every
        Whether a line is added to each cell in turn, beside the notebook's own edits.
    """
    first_line, env = ("# awaitly: cache", {"AWAITLY_NB_AUTO": "1"}) if auto else ("%%awaitly c{}", {})
    silent, ran = [], []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as top:

        def play(parent, cells, folder, more, *, cached, cache="cache"):
            Path(top, folder).mkdir(exist_ok=True)
            at = {"cache": f"{top}/{cache}", "folder": f"{top}/{folder}"}
            return parent.run(cells=cells, cached=cached, first=first_line, env={**env, **more}, **at)

        def compare(what, cells, folder, cache, more):
            wanted = play(warm, cells, f"plain {what}", more, cached=False)
            found = play(warm, cells, folder, more, cached=True, cache=cache)
            differ = _differences(what, found, wanted)
            if differ and auto:
                # A cell that automatic mode leaves alone finds the files of the first run, with a cache or without.
                shutil.copytree(f"{top}/plain", f"{top}/plain again", symlinks=True)
                differ = _differences(what, found, play(warm, cells, "plain again", more, cached=False))
            silent.extend(differ[:1])
            return found[2]

        cells = list(notebook.cells)
        plain = play(cold, cells, "plain", notebook.env, cached=False)
        first = play(cold, cells, "work", notebook.env, cached=True)
        silent += _differences("cold", first, plain)
        shutil.copytree(f"{top}/work", f"{top}/work-cold", symlinks=True)
        Path(top, "cache").mkdir(exist_ok=True)
        shutil.copytree(f"{top}/cache", f"{top}/cache-cold")
        badges = compare("warm", cells, "work", "cache", notebook.env)
        hits = sum("from cache" in badge for badge in badges)
        ran += [badge for badge in badges if "from cache" not in badge]

        def edited(what, edits):
            changed = [edits.get(number, source) for number, source in enumerate(cells)]
            shutil.copytree(f"{top}/work-cold", f"{top}/work {what}", symlinks=True)
            shutil.copytree(f"{top}/cache-cold", f"{top}/cache {what}")
            served = compare(what, changed, f"work {what}", f"cache {what}", notebook.env_later or notebook.env)
            return sum("from cache" in badge for badge in served)

        served = hits
        changes = {f"cell {number} changed": {number: source} for number, source in notebook.edits}
        if notebook.env_later != notebook.env:
            changes = {"another environment": {}, **changes}
        for what, edits in () if auto else changes.items():
            served = edited(what, edits)
        for number in range(len(cells) - 1) if every and not auto else ():
            edited(f"cell {number} edited", {number: f"{cells[number]}\nedited_{number} = {number}"})
        if not auto and notebook.hits is not None and served < notebook.hits:
            ran.append(f"{served} hits where {notebook.hits} are wanted")
    return Result(name, tuple(silent), len(cells) - 1, hits, tuple(ran))


def _differences(what, found, wanted):
    pairs = zip(("ends with", "shows"), found[:2], wanted[:2], strict=True)
    return [f"{what} {kind} {one!r} for {other!r}" for kind, one, other in pairs if one != other]


def check_all(chosen, *, auto=False, every=True):
    """Check notebooks, on two pairs of parents; return the results in order."""
    items = list(chosen.items())

    def share(start):
        with Parent(100 + start) as cold, Parent(200 + start) as warm:
            return [check(name, notebook, cold, warm, auto=auto, every=every) for name, notebook in items[start::2]]

    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(share, range(2)))
    found = {result.name: result for part in shares for result in part}
    return [found[name] for name, _ in items]


def kind_of(name):
    """Return the kind of a notebook, by its name."""
    kind, colon, _ = name.partition(": ")
    return kind if colon else "basic"


def save(path, results):
    """Add results to those in a file."""
    saved = json.loads(path.read_text()) if path.exists() else {}
    saved |= {result.name: asdict(result) for result in results}
    path.write_text(json.dumps(saved))


def table(saved):
    """Return saved results as a table in Markdown, by kind."""
    kinds = {}
    for name, result in saved.items():
        kinds.setdefault(kind_of(name), []).append(result)
    kinds = {**dict(sorted(kinds.items())), "all": list(saved.values())}
    lines = ["| kind | notebooks | cached cells | served | ran, and said why | silent differences |"]
    lines.append("|:-----|----------:|-------------:|-------:|------------------:|-------------------:|")
    for kind, results in kinds.items():
        cells, hits = sum(one["cells"] for one in results), sum(one["hits"] for one in results)
        ran = f"{cells - hits} ({(cells - hits) / cells:.0%})"
        silent = sum(bool(one["silent"]) for one in results)
        lines.append(f"| {kind} | {len(results)} | {cells} | {hits} | {ran} | {silent} |")
    return "\n".join(lines) + "\n"


def main(words):
    """Do what the command line asks for."""
    from tests.battery.notebooks import notebooks

    if "--help" in words:  # else a look at what there is would begin hours of work
        sys.stdout.write(f"{__doc__}")
        return
    files = {word.partition("=")[0]: Path(word.partition("=")[2]) for word in words if "=" in word}
    if "--table" in files:
        sys.stdout.write(table(json.loads(files["--table"].read_text())))
        return
    names = [word for word in words if not word.startswith("--")]
    results = check_all(
        {name: one for name, one in notebooks().items() if not names or name in names or kind_of(name) in names},
        auto="--auto" in words,
        every="--few" not in words,
    )
    if "--save" in files:
        save(files["--save"], results)
    for result in results:
        if result.silent or result.ran:
            print(result.name, *result.silent, *result.ran, sep="\n    ")
    cells, hits = sum(r.cells for r in results), sum(r.hits for r in results)
    print(f"{len(results)} notebooks, {cells} cells, {hits} hits, {sum(bool(r.silent) for r in results)} differ")


if __name__ == "__main__":
    main(sys.argv[1:])
