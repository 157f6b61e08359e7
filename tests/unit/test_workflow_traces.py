"""What a step uses of its process beside arguments, code and files: compared before a hit, and applied after it."""

from __future__ import annotations

import os
import sys

import pytest

import awaitly_nb as aw
from awaitly_nb.keys import register_tracer, traces as registry


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Return a step that reads an environment name, and prints when it runs."""
    monkeypatch.delenv("AW_TEST_MODE", raising=False)

    @aw.step(cache=aw.create_disk_cache(tmp_path), name="counted")
    def counted(x):
        print("ran")
        return x, os.environ.get("AW_TEST_MODE")

    return counted


def test_another_environment_is_a_miss_that_says_which_name(counted, monkeypatch, capsys):
    assert counted(1) == (1, None)
    assert counted(1) == (1, None)
    assert capsys.readouterr().out == "ran\n"
    monkeypatch.setenv("AW_TEST_MODE", "fast")
    assert "AW_TEST_MODE" in counted.why(1).reason
    assert counted(1) == (1, "fast")
    assert counted(1) == (1, "fast")
    assert capsys.readouterr().out == "ran\n"


def test_an_explicit_key_is_the_users_word_and_is_served(tmp_path, monkeypatch):
    workflow = aw.create_workflow("w", cache=aw.create_disk_cache(tmp_path))
    monkeypatch.setenv("AW_TEST_MODE", "a")

    def body(ctx):
        return ctx.step("read", lambda: os.environ["AW_TEST_MODE"], key="mode")

    assert workflow.run_sync(body) == aw.Ok("a")
    monkeypatch.setenv("AW_TEST_MODE", "b")
    assert workflow.run_sync(body) == aw.Ok("a")


class Counter:
    """A tracer of one number, in the process."""

    name = "counter-of-a-test"

    def __init__(self):
        self.value = 0
        self.broken = False

    def begin(self):
        return self.value

    def end(self, begun):
        return None if begun == self.value else [begun, self.value]

    def difference(self, used):
        return None if self.value == used[0] else f"counter is {self.value}, was {used[0]}"

    def apply(self, used):
        if self.broken:
            raise ValueError("no counter here")
        self.value = used[1]


@pytest.fixture
def counter(monkeypatch):
    monkeypatch.setattr(registry, "_tracers", dict(registry._tracers))
    counter = Counter()
    register_tracer(counter)
    monkeypatch.setattr(sys, "awaitly_nb_counter", counter, raising=False)
    return counter


def bump():
    # By a name in a text, which is no part of the key: the process has the counter, not the step.
    vars(sys)["awaitly_nb_counter"].value += 1
    print("ran")


@pytest.mark.parametrize("source", ["cache", "resumed"])
def test_a_hit_leaves_the_process_as_the_step_did(tmp_path, counter, source, capsys):
    workflow = aw.create_workflow("w", {"bump": bump}, cache=aw.create_disk_cache(tmp_path))
    run = {}
    for _ in range(2):
        counter.value = 0
        collector = aw.create_resume_state_collector()
        assert workflow.run_sync(lambda ctx: ctx.steps.bump(), on_event=collector.handle_event, **run).ok
        assert counter.value == 1
        if source == "resumed":
            run = {"resume_state": collector.get_resume_state(), "cache": None}
    assert capsys.readouterr().out == "ran\n"


def test_what_cannot_be_left_so_is_not_served(tmp_path, counter, capsys):
    step = aw.step(name="bump", cache=aw.create_disk_cache(tmp_path))(bump)
    step()
    counter.value, counter.broken = 0, True
    step()
    assert capsys.readouterr().out == "ran\nran\n"
    assert counter.value == 1
