"""The line below a long run: true while it runs, silent beside a panel and where nobody reads."""

import io
import re
import subprocess
import sys
import threading

import pytest

import awaitly_nb as aw
from awaitly_nb import config
from awaitly_nb.engine import observe
from awaitly_nb.notebook import progress


class Publisher:
    def __init__(self):
        self.shown = []
        self.some = threading.Event()
        self.expected = "wait running for"

    def publish(self, data, metadata=None, *, transient=None, update=False):
        self.shown.append((data, transient, update))
        if self.expected in data["text/plain"]:
            self.some.set()


class KernelShell:
    kernel = object()

    def __init__(self):
        self.display_pub = Publisher()


class Terminal:
    kernel = None


@pytest.fixture
def watch(request):
    """Show the progress of runs in a shell, from the first moment on."""
    stops = []

    def start(shell, after_s=0.001, every_s=0.001):
        stops.append(observe(progress.Progress(shell, after_s=after_s, every_s=every_s).handle_event))
        return shell

    yield start
    for stop in stops:
        stop()


def run(shown, *, cache=None, steps=("load", "fit")):
    """Run a workflow whose last step ends when the line was seen."""
    workflow = aw.create_workflow("<b>report</b>", cache=cache)

    def body(ctx):
        for step in steps:
            ctx.step(step, lambda: 1, key=f"{step}:1")
        ctx.step("wait", lambda: shown.wait(20))

    return workflow.run_sync(body)


def test_a_long_run_is_shown_while_it_runs_and_ends_with_what_it_came_to(watch):
    publisher = watch(KernelShell()).display_pub
    assert run(publisher.some).ok
    (first, place, update), *_, (last, same_place, last_update) = publisher.shown
    assert (update, last_update) == (False, True)
    assert place == same_place
    assert "<progress" in first["text/html"]
    assert any(" running for " in data["text/plain"] for data, _, _ in publisher.shown)
    assert "<progress" not in last["text/html"]
    assert re.fullmatch(r"<b>report</b>: 3 steps in .*", last["text/plain"])
    assert "<b>" not in last["text/html"]


def test_the_second_run_knows_how_many_steps_there_are_and_what_was_saved(watch):
    kept = {}
    publisher = watch(KernelShell()).display_pub
    assert run(publisher.some, cache=kept).ok
    publisher.some.clear()
    publisher.shown.clear()
    assert run(publisher.some, cache=kept).ok
    first, last = publisher.shown[0][0], publisher.shown[-1][0]
    assert 'max="3"' in first["text/html"]
    assert "of 3 steps" in first["text/plain"]
    assert "2 from the cache" in last["text/plain"]


def test_a_short_run_shows_nothing(watch):
    publisher = watch(KernelShell(), after_s=60).display_pub
    publisher.some.set()
    assert run(publisher.some).ok
    assert publisher.shown == []


def test_beside_a_panel_it_is_silent(watch, monkeypatch):
    covered = threading.Event()
    monkeypatch.setattr(progress, "_panel_covers", lambda name: covered.set() or True)
    publisher = watch(KernelShell()).display_pub
    assert run(covered).ok
    assert publisher.shown == []


class Written(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal
        self.asked = threading.Event()

    def isatty(self):
        self.asked.set()
        return self.terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_in_a_terminal_it_is_a_line_of_text_and_elsewhere_nothing(watch, monkeypatch, terminal):
    monkeypatch.setattr(sys, "stderr", written := Written(terminal))
    watch(Terminal())
    assert run(written.asked).ok
    if terminal:
        assert written.getvalue().startswith("\r<b>report</b>: ")
        assert written.getvalue().endswith("\n")
    else:
        assert written.getvalue() == ""


def test_a_failing_run_ends_its_line_too(watch):
    publisher = watch(KernelShell()).display_pub
    workflow = aw.create_workflow("w", cache=None)

    def body(ctx):
        ctx.step("wait", lambda: publisher.some.wait(20))
        ctx.step("refuse", lambda: aw.err("NO"))

    assert workflow.run_sync(body) == aw.Err("NO")
    assert "2 steps in" in publisher.shown[-1][0]["text/plain"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(progress, "_panel_covers", lambda name: False)


def compute(publisher, expected, number):
    """Compute a decorated function, which ends when its line was seen."""
    publisher.expected = expected
    publisher.some.clear()
    publisher.shown.clear()

    def fn(n):
        return publisher.some.wait(20)

    fn.__name__ = fn.__qualname__ = "features"
    fn.__module__ = "__main__"
    return aw.step(fn, key="features:{n}")(number)


def test_a_long_cell_or_function_shows_what_it_usually_takes_and_the_line_goes_away(watch, folder):
    publisher = watch(KernelShell()).display_pub
    assert compute(publisher, "computing features for", 1)
    texts = [data["text/plain"] for data, _, _ in publisher.shown]
    assert all(re.fullmatch(r"computing features for [^,]+", text) for text in texts[:-1])
    last, _, update = publisher.shown[-1]
    assert (last["text/plain"], update) == ("", True)
    assert ">" + "</div>" in last["text/html"]
    assert compute(publisher, ", usually ", 2)
    assert publisher.shown[-1][0]["text/plain"] == ""


HOLD = """
import sys
import awaitly_nb as aw
lock = aw.create_disk_cache(namespace="shared").single_flight("slow:1")
assert lock.try_acquire()
print("locked", flush=True)
sys.stdin.read()
"""


def test_waiting_for_another_kernel_is_a_quiet_line_and_no_warning(watch, folder, caplog):
    publisher = watch(KernelShell()).display_pub
    publisher.expected = " waits for "
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        release = threading.Thread(target=lambda: (publisher.some.wait(60), other.stdin.close()))
        release.start()
        workflow = aw.create_workflow("shared")
        assert workflow.run_sync(lambda ctx: ctx.step("slow", lambda: 1, key="slow:1")).ok
        release.join()
    assert publisher.some.is_set()
    (text,) = {data["text/plain"].partition(" waits for ")[2] for data, _, _ in publisher.shown} - {""}
    assert f"kernel {other.pid} on " in text
    assert " waits for " not in publisher.shown[-1][0]["text/plain"]
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_setting_silences_it(watch, folder, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_PROGRESS", "off")
    asked = threading.Event()
    monkeypatch.setattr(progress, "settings", lambda: (asked.set(), config.settings())[1])
    publisher = watch(KernelShell()).display_pub
    assert run(asked).ok
    assert publisher.shown == []
