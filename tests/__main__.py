"""`python -m tests`: every check of this project, one line each.

    python -m tests                 all of them
    python -m tests --fast          before a commit: nothing slow, no servers, kernels or browser
    python -m tests unit types      some of them
    python -m tests unit -- -k key  what follows `--` goes to pytest
    python -m tests --strict        a test that is skipped because something is missing has failed
    python -m tests bench           the benchmarks, as ratios to a yardstick measured beside them

Ends with the number of tests that passed and failed, alone on a line, and with exit code 1 if anything failed.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
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
    "types",
    "layers",
    "lint",
    "format",
)
# Checks whose tests lie in one place; a marker can put a test of any folder into one of the others.
PATHS = {
    "readme": ["tests/test_readme.py", "awaitly_nb", "--doctest-modules"],
    "notebooks": ["tests/test_notebooks.py"],
    "browser": ["tests/e2e/browser"],
}
LIMIT_S = 1500
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

    @property
    def line(self) -> str:
        """One line for the reader."""
        told = ", ".join(f"{n} {what}" for what, n in self.counts.items() if n or what == "passed")
        return f"{'PASS' if self.ok else 'FAIL'}  {self.name:<10} {self.seconds:7.1f} s  {told}".rstrip()


def main(argv: list[str] | None = None) -> int:
    """Run the checks that `argv` names and return the exit code."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    if options.names == ["bench"]:
        return _bench()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    os.environ.pop("AWAITLY_NB_TESTS_STRICT", None)
    # Checks run side by side: threads of scikit-learn that wait for each other are to sleep, and not to burn the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if options.strict:
        os.environ["AWAITLY_NB_TESTS_STRICT"] = "1"
    names = options.names or [n for n in ORDER if not options.fast or n in (*STATIC, *selection.FAST)]
    system.provide(names, _say)
    outcomes = []
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in as_completed([pool.submit(_run, name, options) for name in ORDER if name in names]):
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
    parser.add_argument("names", nargs="*", metavar="check", help=f"{', '.join(ORDER)}; or bench")
    parser.add_argument("--fast", action="store_true", help="leave out what is slow, and servers, kernels, browser")
    parser.add_argument("--strict", action="store_true", help="a skipped test has failed")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="checks at a time")
    options = parser.parse_args(argv[:at])
    if options.names != ["bench"] and (unknown := set(options.names) - set(ORDER)):
        parser.error(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(ORDER)}, and bench alone")
    options.rest = argv[at + 1 :]
    return options


def _run(name: str, options: argparse.Namespace) -> Outcome:
    if name in STATIC:
        ok, seconds, output = _call(STATIC[name])
        return Outcome(name, ok, seconds, output)
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        command = [
            PYTHON,
            "-m",
            "pytest",
            "-q",
            "--continue-on-collection-errors",
            "-p",
            "tests.selection",
            "--check",
            name,
            "--count-into",
            str(counts),
        ]
        command += ["--without-slow"] * options.fast + ["--skips-fail"] * options.strict
        command += [*PATHS.get(name, ["tests"]), *options.rest]
        # A full check without any test has lost its tests; a narrowed one may well have none.
        ok, seconds, output = _call(command, allow={0, NO_TESTS} if options.rest or options.fast else {0})
        if not counts.exists():  # pytest itself died
            return Outcome(name, ok=False, seconds=seconds, output=output)
        found = json.loads(counts.read_text())
        return Outcome(name, ok, seconds, output, reasons=found.pop("reasons"), counts=found)


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
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
