"""`python -m tests`: every check of this project, one line each.

    python -m tests                 all of them
    python -m tests --fast          before a commit: nothing slow, no servers, kernels or browser
    python -m tests unit types      some of them
    python -m tests unit -- -k key  what follows `--` goes to pytest
    python -m tests --strict        a test that is skipped because something is missing has failed
    python -m tests docs            the documentation site, in build/docs
    python -m tests notebooks --update   run the notebooks and write their outputs into them; nothing else
    python -m tests coverage        unit and contract with the lines they reach; below the floor it has failed
    python -m tests bench           the benchmarks, as ratios to a yardstick measured beside them

Says what runs and how far it is: on a terminal in one line that changes, else every ten seconds in a line per check.
Ends with the number of tests that passed and failed, alone on a line, and with exit code 1 if anything failed.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from tests import selection, system

ROOT = selection.ROOT
PYTHON = sys.executable
BIN = Path(PYTHON).parent
STATIC = {
    "format": [PYTHON, "-m", "ruff", "format", "--check", "."],
    "lint": [PYTHON, "-m", "ruff", "check", "."],
    "layers": [str(BIN / "lint-imports"), "--no-cache", "--no-logo"],
    "types": [PYTHON, "-m", "mypy"],
    "docs": [PYTHON, "-m", "tests.docs"],
}
# The longest first, so that two cores end at about the same time.
ORDER = (
    "browser",
    "kernel",
    "notebooks",
    "services",
    "unit",
    "contract",
    "readme",
    "docs",
    "types",
    "layers",
    "lint",
    "format",
)
FAST = ("unit", "contract", "readme", "types", "layers", "lint", "format")
# Only where they are named: they repeat what others do.
ON_DEMAND = ("coverage",)
COVERED = ("unit", "contract")
# Checks whose tests lie in one place; a marker can put a test of any folder into one of the others.
PATHS = {
    "readme": ["tests/test_readme.py", "awaitly_nb", "--doctest-modules"],
    "notebooks": ["tests/test_notebooks.py"],
    "browser": ["tests/e2e/browser"],
}
LIMIT_S = 2400
CLEAR = "\r\x1b[K"
# How often it is told what runs: a terminal has a line to write over, a log grows.
EVERY_S = {True: 1.0, False: 10.0}
NO_TESTS = 5  # pytest's exit code


@dataclass
class Outcome:
    """What came of one check."""

    name: str
    ok: bool
    seconds: float
    output: str
    counts: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def line(self) -> str:
        """One line for the reader."""
        told = ", ".join([f"{n} {what}" for what, n in self.counts.items() if n or what == "passed"] + [self.note])
        told = told.removesuffix(", ")
        return f"{'PASS' if self.ok else 'FAIL'}  {self.name:<10} {self.seconds:7.1f} s  {told}".rstrip()


class Progress:
    """What runs at the moment, and the lines that tell of it.

    Parameters
    ----------
    terminal
        Whether the lines go to a terminal, where one line is written over.
    clock
        Seconds, from any beginning.
    """

    def __init__(self, *, terminal: bool, clock=time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._running: dict[str, tuple[float, Path | None]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, name: str, file: Path | None = None):
        """Count `name` as running in this block; pytest writes to `file` how far it is."""
        with self._lock:
            self._running[name] = (self._clock(), file)
        try:
            yield
        finally:
            with self._lock:
                del self._running[name]

    def lines(self) -> list[str]:
        """Return a line for each check that runs."""
        with self._lock:
            running = dict(self._running)
        return [self._line(name, self._clock() - began, file) for name, (began, file) in running.items()]

    def _line(self, name: str, seconds: float, file: Path | None) -> str:
        told = ""
        # Nothing is there before the first test, and half of it while pytest writes.
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(file.read_text()) if file else {}
            told = "{done} of {total} tests, now {test}".format(**found) if found else ""
        return f"....  {name:<10} {seconds:7.1f} s  {told}".rstrip()

    @contextlib.contextmanager
    def shown(self):
        """Tell what runs, from time to time, while this block lasts."""
        ended = threading.Event()
        thread = threading.Thread(target=self._show, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _show(self, ended: threading.Event) -> None:
        while not ended.wait(EVERY_S[self._terminal]):
            lines = self.lines()
            if self._terminal:
                parts = [" ".join(line.removeprefix("....").split()).partition(", now")[0] for line in lines]
                _over("; ".join(parts))
            else:
                for line in lines:
                    _say(line)


PROGRESS = Progress(terminal=sys.stdout.isatty())


def main(argv: list[str] | None = None) -> int:
    """Run the checks that `argv` names and return the exit code."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    if options.names == ["bench"]:
        return _bench()
    if options.update:
        return subprocess.run([PYTHON, "-m", "tests.notebooks", *options.rest], cwd=ROOT, check=False).returncode
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    os.environ.pop("AWAITLY_NB_TESTS_STRICT", None)
    # Checks run side by side: threads of scikit-learn that wait for each other are to sleep, and not to burn the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if options.strict:
        os.environ["AWAITLY_NB_TESTS_STRICT"] = "1"
    names = options.names or [n for n in ORDER if not options.fast or n in FAST]
    system.provide(names, _say)
    outcomes = []
    began = time.monotonic()
    with PROGRESS.shown(), ThreadPoolExecutor(options.jobs) as pool:
        for done in as_completed([pool.submit(_run, name, options) for name in (*ORDER, *ON_DEMAND) if name in names]):
            outcomes.append(done.result())
            _tell(outcomes[-1])
    for reason in sorted({r for o in outcomes for r in o.reasons}):
        _say(f"skipped: {reason}")
    failed = [o.name for o in outcomes if not o.ok]
    _say(
        f"{len(outcomes)} checks in {time.monotonic() - began:.0f} s"
        + (f"; failed: {', '.join(failed)}" * bool(failed))
    )
    _say(closing_line(outcomes))
    return 1 if failed else 0


def closing_line(outcomes: list[Outcome]) -> str:
    """Sum the tests of all checks; a check that failed without a failed test (a linter, a crash) counts as one."""
    total = {what: sum(o.counts.get(what, 0) for o in outcomes) for what in ("passed", "failed", "skipped")}
    total["failed"] += sum(not o.ok and not o.counts.get("failed") for o in outcomes)
    line = f"{total['passed']} passed, {total['failed']} failed"
    return line + (f", {total['skipped']} skipped" if total["skipped"] else "")


def _parse(argv: list[str]) -> argparse.Namespace:
    at = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="python -m tests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="check", help=f"{', '.join((*ORDER, *ON_DEMAND))}; or bench")
    parser.add_argument("--fast", action="store_true", help="leave out what is slow, and servers, kernels, browser")
    parser.add_argument("--strict", action="store_true", help="a skipped test has failed")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="checks at a time")
    parser.add_argument("--update", action="store_true", help="with `notebooks`: write outputs; names go after --")
    options = parser.parse_args(argv[:at])
    if options.update and options.names != ["notebooks"]:
        parser.error("--update goes with notebooks alone: python -m tests notebooks --update")
    known = (*ORDER, *ON_DEMAND)
    if options.names != ["bench"] and (unknown := set(options.names).difference(known)):
        parser.error(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(known)}, and bench alone")
    options.rest = argv[at + 1 :]
    return options


def _run(name: str, options: argparse.Namespace) -> Outcome:
    if name in STATIC:
        with PROGRESS.of(name):
            ok, seconds, output = _call(STATIC[name])
        return Outcome(name, ok, seconds, output)
    with tempfile.TemporaryDirectory() as folder:
        counts, progress = Path(folder) / "counts.json", Path(folder) / "progress.json"
        measured = COVERED if name == "coverage" else (name,)
        data = f"--data-file={Path(folder) / 'coverage'}"
        command = [PYTHON, "-m", *(["coverage", "run", data, "-m"] if name == "coverage" else []), "pytest", "-q"]
        command += ["--continue-on-collection-errors", "-p", "tests.selection"]
        command += [f"--check={check}" for check in measured]
        command += ["--count-into", str(counts), "--progress-into", str(progress)]
        command += ["--without-slow"] * options.fast + ["--skips-fail"] * options.strict
        command += [*PATHS.get(name, ["tests"]), *options.rest]
        # A full check without any test has lost its tests; a narrowed one may well have none.
        with PROGRESS.of(name, progress):
            ok, seconds, output = _call(command, allow={0, NO_TESTS} if options.rest or options.fast else {0})
        if not counts.exists():  # pytest itself died
            return Outcome(name, ok=False, seconds=seconds, output=output)
        found = json.loads(counts.read_text())
        outcome = Outcome(name, ok, seconds, output, reasons=found.pop("reasons"), counts=found)
        if name == "coverage":
            enough, _, report = _call([PYTHON, "-m", "coverage", "report", data])
            outcome.note = next((line for line in report.splitlines() if line.startswith("TOTAL")), "no figure")
            outcome.note = f"{outcome.note.split()[-1]} of lines and branches"
            outcome.ok, outcome.output = ok and enough, f"{output}\n{report}"
        return outcome


def _call(command: list[str], *, allow: set[int] = frozenset({0})) -> tuple[bool, float, str]:
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that a hang can be ended with all that it started
    )
    _RUNNING.add(process)
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        _end(process)
        output = process.communicate()[0] + f"\nended after {LIMIT_S} s"
    finally:
        _RUNNING.discard(process)
    return process.returncode in allow, time.monotonic() - began, output


_RUNNING: set[subprocess.Popen] = set()


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _stop(number: int, frame: object) -> None:
    """End with all that was started: they are in sessions of their own, which a signal to this one does not reach."""
    for process in tuple(_RUNNING):
        _end(process)
    _say("stopped")
    os._exit(128 + number)  # the pool's threads are not worth waiting for


def _tell(outcome: Outcome) -> None:
    _say(outcome.line)
    if not outcome.ok:
        lines = outcome.output.splitlines()
        # What failed comes first: of a long output, somebody may see only the beginning.
        named = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        _say("\n".join(f"      | {line}" for line in [*named, *lines]))


def _bench() -> int:
    missed = 0
    for path in sorted((ROOT / "tests" / "benchmarks").glob("bench_*.py")):
        # Each in a process of its own: what one leaves behind, listeners and a full heap, would slow down the next.
        command = [PYTHON, "-W", "ignore", "-m", f"tests.benchmarks.{path.stem}"]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                missed += line.startswith("MISS")
                _say(line.rstrip())
        missed += process.returncode != 0
    return 1 if missed else 0


def _say(text: str) -> None:
    # On a terminal the line that changes is cleared first.
    print(f"{CLEAR}{text}" if sys.stdout.isatty() else text, flush=True)


def _over(text: str) -> None:
    """Write one line over the last one; it is cut to the width, since a wrapped one could not be written over."""
    print(f"{CLEAR}{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
