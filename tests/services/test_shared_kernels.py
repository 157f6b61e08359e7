"""Two kernels on one shared cache: what one has finished, the other one finds when it looks next.

Each kernel has a home and a folder of its own; all that they have in common is the server and a secret.
"""

import contextlib

import pytest

from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

# `GO` is a file: while it is missing, the step goes on computing.
SETUP = """
import time
from pathlib import Path
import awaitly_nb as aw

store = OPENING
cache = aw.create_shared_cache(store, namespace="report")

def fit(x):
    with Path("calls.txt").open("a") as log:
        log.write("fit ")
    while not Path(GO).exists():
        time.sleep(0.01)
    return {"score": x}

def named(ctx):
    return ctx.step("fit", ctx.deps.fit, 1, key="fit:1")

def automatic(ctx):
    return ctx.steps.fit(1)

def tell(event):
    print(event.type, flush=True)

workflow = aw.create_workflow("report", {"fit": fit}, cache=cache, on_event=tell)
"""


class Colleague:
    """Somebody with a kernel on a machine of their own, as far as anybody can tell."""

    def __init__(self, folder, one):
        self.folder = folder
        self.kernel = one

    def run(self, body):
        """Run the workflow; return what its step came to, and the result."""
        return self.read(self.kernel.run(f"print(workflow.run_sync({body}).unwrap())"))

    def ask(self, expression):
        return self.kernel.run(f"print({expression})").text.strip()

    def calls(self):
        """Return how often the step was really called here."""
        log = self.folder / "calls.txt"
        return len(log.read_text().split()) if log.exists() else 0

    @staticmethod
    def read(shown):
        lines = shown.text.split("\n")
        return "hit" if "step_cache_hit" in lines else "computed", lines[-2]


@pytest.fixture
def go(tmp_path):
    return tmp_path / "go"


@pytest.fixture(params=["postgres", "redis", "s3"])
def colleagues(request, servers, table, tmp_path, go, monkeypatch):
    """Ada and Grace."""
    monkeypatch.setenv("AWAITLY_NB_SECRET", "the team's own secret, 32 letters or more")
    setup = SETUP.replace("OPENING", servers(request.param).opening(table)).replace("GO", repr(str(go)))
    with contextlib.ExitStack() as kernels:
        started = []
        for name in ("ada", "grace"):
            folder = tmp_path / name
            (folder / "home").mkdir(parents=True)
            one = kernels.enter_context(kernel(folder, HOME=str(folder / "home")))
            one.run(setup)
            started.append(Colleague(folder, one))
        yield started


@pytest.mark.parametrize("body", ["named", "automatic"])
def test_a_step_that_one_kernel_finished_is_a_hit_for_the_other_on_its_next_look_up(colleagues, go, body):
    ada, grace = colleagues
    go.touch()
    assert grace.ask("cache.get('fit:1'), cache.keys()") == "None []"  # she has looked before, and there was nothing
    assert ada.run(body) == ("computed", "{'score': 1}")
    assert grace.run(body) == ("hit", "{'score': 1}")
    assert grace.run(body) == ("hit", "{'score': 1}")
    assert (ada.calls(), grace.calls()) == (1, 0)


def test_what_one_kernel_replaced_or_removed_the_other_does_not_serve_again(colleagues, go):
    ada, grace = colleagues
    go.touch()
    assert ada.run("named") == ("computed", "{'score': 1}")
    assert grace.run("named") == ("hit", "{'score': 1}")
    ada.kernel.run("cache.set('fit:1', aw.Ok({'score': 2}))")
    assert grace.run("named") == ("hit", "{'score': 2}")
    assert ada.ask("cache.delete('fit:1')") == "True"
    assert grace.run("named") == ("computed", "{'score': 1}")
    assert ada.run("named") == ("hit", "{'score': 1}")
    assert (ada.calls(), grace.calls()) == (1, 1)


def test_a_step_that_one_kernel_is_computing_the_other_waits_for(colleagues, go):
    ada, grace = colleagues
    run = "print(workflow.run_sync(named).unwrap())"
    computing = ada.kernel.start(run)
    ada.kernel.wait_for(computing, "step_start")
    waiting = grace.kernel.start(run)
    grace.kernel.wait_for(waiting, "step_waiting")
    go.touch()
    for colleague, cell in ((ada, computing), (grace, waiting)):
        assert colleague.read(colleague.kernel.finish(cell))[1] == "{'score': 1}"
    assert (ada.calls(), grace.calls()) == (1, 0)
