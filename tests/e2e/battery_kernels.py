"""Notebooks of the battery in real kernels: plain, cached in an empty folder, and again in a fresh kernel.

A kernel takes a second to load its modules, so two processes load them, each with a hash seed that Python draws, and
fork for each kernel.

    python -m tests.e2e.battery_kernels [NUMBER [SEED]]
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from tests.battery.notebooks import notebooks
from tests.battery.runner import ADDRESS, CONTEXT, ROOT, kind_of
from tests.e2e.kernels import SLOW_S, Kernel


@dataclass(frozen=True)
class Played:
    """How a notebook ended in a kernel: what it bound to `OUT`, what its cells showed, and the lines below them."""

    end: str
    shown: tuple[str, ...]
    badges: tuple[str, ...]

    @property
    def hits(self):
        """How many cells came from the cache."""
        return sum(badge.startswith("from cache") for badge in self.badges)


class ForkedKernel(Kernel):
    """A kernel that one of the `Forks` has become."""

    def __init__(self, file, number):
        self._number = number
        self._client = BlockingKernelClient(connection_file=file)
        self._client.load_connection_file()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=SLOW_S)

    def close(self):
        self._client.stop_channels()
        os.kill(self._number, signal.SIGKILL)


class Forks:
    """A process that becomes a kernel, in a child, for each connection file that it is told."""

    def __init__(self):
        env = {**os.environ, "PYTHONHASHSEED": "random", "OMP_NUM_THREADS": "1"}
        for name in ("MPLBACKEND", "PYTEST_CURRENT_TEST"):  # those of a kernel that a user has
            env.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.e2e.battery_kernels import serve; serve()"],
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

    @contextlib.contextmanager
    def kernel(self, folder, env, *, cached):
        """A kernel for the length of a `with`, with our extension where it is `cached`."""
        with tempfile.TemporaryDirectory() as top:
            file, _ = write_connection_file(f"{top}/kernel.json", ip=f"{top}/ipc", transport="ipc")
            self._process.stdin.write(
                json.dumps({"file": file, "folder": str(folder), "env": env, "cached": cached}) + "\n"
            )
            self._process.stdin.flush()
            number = int(self._process.stdout.readline())
            one = ForkedKernel(file, number)
            try:
                yield one
            finally:
                one.close()


def serve():
    """Fork for each line that comes in, and be a kernel there."""
    from ipykernel.kernelapp import launch_new_instance

    import awaitly_nb.notebook.magics  # noqa: F401 - loaded once for all children

    for line in sys.stdin:
        parent = os.getpid()
        if (child := os.fork()) == 0:
            job = json.loads(line)
            # As a kernel manager starts one; with the number of its parent it ends when that is gone.
            os.environ.update(job["env"], JPY_PARENT_PID=str(parent))
            os.chdir(job["folder"])
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            # The extension by a flag: a cell that loads it would have a number of its own.
            launch_new_instance(argv=["-f", job["file"], *(["--ext=awaitly_nb"] if job["cached"] else [])])
            os._exit(0)
        print(child, flush=True)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def play(forks, notebook, folder, cache, env, *, cached):
    """Run a notebook in a kernel of its own."""
    folder.mkdir(exist_ok=True)
    shown, badges = [], []
    with forks.kernel(folder, {**env, "AWAITLY_NB_CACHE_DIR": str(cache)}, cached=cached) as one:
        for number, source in enumerate(notebook.cells[:-1]):
            options, source = source.split("\n", 1) if source.startswith("#!") else ("", source)
            # A line of its own in either way, so that tracebacks name the same lines.
            plain = source if source.startswith("%%") else f"#\n{source}"
            done = one.attempt(f"%%awaitly c{number}{options[2:]}\n{source}" if cached else plain)
            parts = [_text(output) for output in done.outputs]
            is_badge = ["awaitly-badge" in str(output.get("data")) for output in done.outputs]
            badges += [part for part, yes in zip(parts, is_badge, strict=True) if yes]
            shown += [part for part, yes in zip(parts, is_badge, strict=True) if part and not yes]
            if done.status != "ok":
                return Played(f"cell {number}: {done.error}", tuple(shown), tuple(badges))
        done = one.attempt(f"{notebook.cells[-1]}\nprint('\\nOUT =', repr(OUT))")
        end = done.error or done.text.rpartition("\nOUT = ")[2]
        return Played(ADDRESS.sub("0x", end), tuple(shown), tuple(badges))


def _text(output):
    """Return what an output shows; what went to stderr has warnings that only one of two runs gives."""
    if output["output_type"] == "stream":
        text = output["text"] * (output["name"] == "stdout")
    elif output["output_type"] == "error":
        text = "\n".join(output["traceback"])
    else:
        text = output["data"].get("text/plain", "")
    return ADDRESS.sub("0x", CONTEXT.sub("", text))


def draw(number, seed):
    """Return the names of that many notebooks, one kind after the other, the kinds and each of them shuffled."""
    kinds = {}
    for name in notebooks():
        kinds.setdefault(kind_of(name), []).append(name)
    draws = random.Random(seed)
    left = [draws.sample(names, len(names)) for names in draws.sample(list(kinds.values()), len(kinds))]
    drawn = []
    while len(drawn) < number:
        drawn += [names.pop() for names in left if names]
    return drawn[:number]


def compare(names):
    """Run notebooks in three kernels each; return differences, cached cells, and hits."""
    chosen = {name: notebooks()[name] for name in names}

    def one(name, cold, warm):
        notebook = chosen[name]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as top:
            cache = Path(top, "cache")
            plain = play(cold, notebook, Path(top, "plain"), Path(top, "none"), notebook.env, cached=False)
            first = play(cold, notebook, Path(top, "work"), cache, notebook.env, cached=True)
            second = play(warm, notebook, Path(top, "work"), cache, notebook.env, cached=True)
        pairs = (("cold", first), ("warm", second))
        differs = [
            f"{name}, {which}: {found} for {wanted}"
            for which, run in pairs
            for found, wanted in ((run.end, plain.end), (run.shown, plain.shown))
            if found != wanted
        ]
        return differs, len(notebook.cells) - 1, second.hits

    with Forks() as cold, Forks() as warm:
        # One after the other: a client of Jupyter leaves the event loop of a thread open.
        done = [one(name, cold, warm) for name in names]
    return [text for differs, _, _ in done for text in differs], sum(d[1] for d in done), sum(d[2] for d in done)


if __name__ == "__main__":
    number, seed = [*map(int, sys.argv[1:]), *(40, 13)[len(sys.argv) - 1 :]]
    differs, cells, hits = compare(draw(number, seed))
    print(*differs, f"{number} notebooks, {cells} cells, {hits} hits, {len(differs)} differences", sep="\n")
    sys.exit(bool(differs))
