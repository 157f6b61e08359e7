"""A pytest plugin of `python -m tests`: each test belongs to exactly one check, and what came out is counted.

A test belongs where its marker says, else where its folder says, so that no test can fall between two checks.
"""

import json
from pathlib import Path

import pytest

MARKED = ("browser", "services", "kernel")
FOLDERS = {
    "tests/e2e/browser": "browser",
    "tests/e2e": "kernel",
    "tests/services": "services",
    "tests/contract": "contract",
    "tests/faults": "contract",
    "tests/golden": "contract",
    "tests/test_notebooks.py": "notebooks",
    "tests/test_readme.py": "readme",
    "awaitly_nb": "readme",
}
CHECKS = ("unit", "contract", "readme", "notebooks", "services", "kernel", "browser")
ROOT = Path(__file__).resolve().parent.parent


def check_of(path: str, markers: set[str]) -> str:
    """Return the check that a test in `path` (relative, with slashes) belongs to."""
    for name in MARKED:
        if name in markers:
            return name
    return next((check for start, check in FOLDERS.items() if f"{path}/".startswith(f"{start}/")), "unit")


def pytest_addoption(parser):
    group = parser.getgroup("awaitly_nb")
    group.addoption("--check", choices=CHECKS, action="append", help="run the tests of this check (or these) only")
    group.addoption("--without-slow", action="store_true", help="leave out tests marked slow")
    group.addoption("--skips-fail", action="store_true", help="a test that is skipped has failed")
    group.addoption("--count-into", type=Path, help="write the counts to this file, as JSON")
    group.addoption("--progress-into", type=Path, help="write to this file how far it is, as JSON, before each test")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.pluginmanager.register(_Session(config), "awaitly-nb-session")


class _Session:
    def __init__(self, config):
        self.checks = config.getoption("--check")
        self.without_slow = config.getoption("--without-slow")
        self.skips_fail = config.getoption("--skips-fail")
        self.count_into = config.getoption("--count-into")
        self.progress_into = config.getoption("--progress-into")
        self.done, self.total = 0, 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        chosen, rest = [], []
        for item in items:
            markers = {m.name for m in item.iter_markers()}
            path = item.path.relative_to(config.rootpath).as_posix()
            here = self.checks is None or check_of(path, markers) in self.checks
            (chosen if here and not (self.without_slow and "slow" in markers) else rest).append(item)
        if rest:
            config.hook.pytest_deselected(items=rest)
            items[:] = chosen
        self.total = len(items)

    def pytest_runtest_logstart(self, nodeid):
        if self.progress_into is not None:
            self.progress_into.write_text(json.dumps({"done": self.done, "total": self.total, "test": nodeid}))

    def pytest_runtest_logfinish(self):
        self.done += 1

    # First, so that the wrapper which marks expected failures is inside this one.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self):
        report = yield
        return self._harden(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self):
        report = yield
        return self._harden(report)

    def _harden(self, report):
        # An expected failure is reported as a skip too, but says why in the code.
        if self.skips_fail and report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            report.outcome = "failed"
            report.longrepr = f"skipped, which --strict counts as failed: {reason}"
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter):
        if self.count_into is None:
            return
        found = {name: len(terminalreporter.stats.get(name, ())) for name in ("passed", "failed", "error", "skipped")}
        found["failed"] += found.pop("error")
        found["reasons"] = sorted({_reason(r) for r in terminalreporter.stats.get("skipped", ())})
        self.count_into.write_text(json.dumps(found))


def _reason(report):
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
