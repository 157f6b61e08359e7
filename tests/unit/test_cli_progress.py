"""What a headless run tells while it goes on: steps done of all, what runs, and the kill when it is sent."""

import io
import time

import pytest
from rich.console import Console

from awaitly_nb.cli import show
from awaitly_nb.cli.show import RunProgress
from awaitly_nb.testing import FakeClock


@pytest.fixture
def clock():
    return FakeClock(at=100.0)


def event(kind, step="fit", **told):
    return {"type": kind, "step_id": step, "step_key": f"{step}:1", **told}


def test_steps_are_told_with_how_many_there_are_and_what_they_took(clock):
    lines = []
    progress = RunProgress(lines.append, total=3, clock=clock)
    progress.run_event(event("step_start", "load"), None)
    clock.advance(2)
    assert progress.status() == "2 s, 0 of 3 steps done, load running for 2 s"
    progress.run_event(event("step_complete", "load", duration_s=2.0), None)
    progress.run_event(event("step_cache_hit", "clean", duration_s=0.01), None)
    assert lines == [
        "2 s, 1 of 3 steps done: load computed in 2 s",
        "2 s, 2 of 3 steps done: clean from cache in 10 ms",
    ]
    progress.run_event(event("step_waiting", holder="late.ipynb in kernel 7 on host"), None)
    assert lines[-1] == "fit waits for late.ipynb in kernel 7 on host"


def test_the_kill_is_told_when_it_is_sent_and_the_second_run_counts_anew(clock):
    lines = []
    progress = RunProgress(lines.append, total=2, clock=clock)
    progress.demo_event("first", {"type": "kernel_start"})
    assert "starting a kernel" in progress.status()
    progress.demo_event("first", event("step_start"))
    clock.advance(3)
    progress.demo_event("first", {"type": "killed", "step_id": "fit"})
    (told,) = lines
    assert told.endswith("kernel killed with SIGKILL in the middle of fit, which had run for 3 s")
    progress.demo_event("second", {"type": "kernel_start"})
    clock.advance(1)
    assert progress.status() == "second run: starting a kernel, second run, 1 s, 0 of 2 steps done"


def test_more_steps_than_were_expected_are_counted_without_a_total(clock):
    progress = RunProgress(lambda _: None, total=1, clock=clock)
    for step in ("a", "b"):
        progress.run_event(event("step_complete", step, duration_s=0.0), None)
    assert progress.line().endswith("2 steps done")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_line_changes_by_itself(monkeypatch):
    written = Terminal()
    monkeypatch.setattr(show, "_TICK_S", 0.001)
    monkeypatch.setattr(show, "Console", lambda **_: Console(file=written, force_terminal=True, width=100))
    with show.progress(quiet=False, total=17) as progress:
        progress.run_event(event("step_start"), None)
        deadline = time.monotonic() + 20
        while "fit running for" not in written.getvalue() and time.monotonic() < deadline:
            pass
    assert "0 of 17 steps done, fit running for" in written.getvalue()


@pytest.mark.parametrize(("watched_s", "tells"), [(600.0, True), (0.0, False)])
def test_in_a_pipe_it_is_told_each_second_while_somebody_may_watch(monkeypatch, watched_s, tells):
    written = io.StringIO()
    assert show._TICK_S <= 1.0
    monkeypatch.setattr(show, "_TICK_S", 0.001)
    monkeypatch.setattr(show, "_WATCHED_S", watched_s)
    monkeypatch.setattr(show, "Console", lambda **_: Console(file=written, force_terminal=False, width=100))
    with show.progress(quiet=False, total=17) as progress:
        progress.run_event(event("step_start"), None)
        deadline = time.monotonic() + (20 if tells else 0.2)
        while written.getvalue().count("fit running for") < 3 and time.monotonic() < deadline:
            pass
    assert (written.getvalue().count("0 of 17 steps done, fit running for") >= 3) is tells
