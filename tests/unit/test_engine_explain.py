"""Why a step is computed that was computed before: its failure is not cached, so that to the cache it is new."""

from __future__ import annotations

import time
from collections import deque

import pytest

import awaitly_nb as aw
from awaitly_nb.cache.folder import Folder
from awaitly_nb.engine import explain


def reasons(workflow, body):
    """Run a workflow; return the reasons of its steps by key."""
    heard = {}

    def listen(event):
        if event.type == "step_cache_miss":
            heard[event.step_key.partition(":")[0] if event.step_id in {"load", "crash"} else event.step_key] = (
                event.reason
            )

    workflow.run_sync(body, on_event=listen)
    return heard


def crash():
    raise RuntimeError("no disk")


@pytest.mark.parametrize(
    ("options", "fn", "reason"),
    [
        ({}, crash, "failed last time; exceptions are not cached"),
        ({"timeout": 0.01}, lambda: time.sleep(0.2), "timed out last time; that is not cached"),
        ({"cache_errors": "none"}, lambda: aw.err("NO"), "failed last time; that was not cached"),
    ],
)
def test_a_failure_that_is_not_kept_is_the_reason_of_the_next_run(tmp_path, options, fn, reason):
    workflow = aw.create_workflow("w", cache=aw.create_disk_cache(tmp_path))

    def body(ctx):
        ctx.step("crash", fn, key="k", **options)

    assert reasons(workflow, body) == {"k": "first run"}
    assert reasons(workflow, body) == {"k": reason}
    assert reasons(workflow, body) == {"k": reason}


def test_once_it_succeeded_its_failure_is_forgotten(tmp_path):
    cache = aw.create_disk_cache(tmp_path)
    workflow = aw.create_workflow("w", cache=cache)
    fail = [True]

    def body(ctx):
        return ctx.step("crash", lambda: crash() if fail else 1, key="k")

    reasons(workflow, body)
    fail.clear()
    assert reasons(workflow, body) == {"k": "failed last time; exceptions are not cached"}
    cache.delete("k")
    assert reasons(workflow, body) == {"k": "removed from the cache"}


def load(year):
    if year == 2021:
        raise RuntimeError("no such year")
    return year


def test_an_item_that_always_crashes_is_no_changed_argument(tmp_path):
    workflow = aw.create_workflow("w", {"load": load}, cache=aw.create_disk_cache(tmp_path))

    def body(ctx):
        return [ctx.steps.load(year) for year in (2020, 2022, 2021)]

    assert reasons(workflow, body)["load"] in {"argument year: 2020 -> 2021", "argument year: 2022 -> 2021"}
    assert reasons(workflow, body) == {"load": "failed last time; exceptions are not cached"}


def test_asking_why_says_so_and_changes_nothing(tmp_path):
    @aw.step(cache=aw.create_disk_cache(tmp_path))
    def broken(x):
        raise RuntimeError(x)

    with pytest.raises(RuntimeError):
        broken("a")
    for _ in range(2):
        assert broken.why("a").reason == "failed last time; exceptions are not cached"


def test_why_it_missed_is_worked_out_only_when_somebody_asks(tmp_path, monkeypatch):
    compared = []
    nearest = explain._nearest
    monkeypatch.setattr(explain, "_nearest", lambda *args: compared.append(1) or nearest(*args))

    @aw.step(cache=aw.create_disk_cache(tmp_path), name="asked")
    def asked(x):
        return x

    for x in range(3):
        asked(x)
    assert compared == []
    run = next(run for run in reversed(aw.recent_runs()) if run.workflow == "asked")
    assert [step.reason for step in run.steps] == ["first run", "argument x: 0 -> 1", "argument x: 1 -> 2"]
    assert compared  # by the list of recent runs, which shows the reasons


def test_what_is_known_of_a_miss_is_bounded_and_its_reason_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(explain, "_LATEST_MISSES", 2)
    monkeypatch.setattr(explain, "_LATEST", deque())

    @aw.step(cache=aw.create_disk_cache(tmp_path), name="bounded")
    def bounded(x):
        return x

    for x in range(4):
        bounded(x)
    assert len(explain._LATEST) == 2
    run = next(run for run in reversed(aw.recent_runs()) if run.workflow == "bounded")
    assert run.steps[1].reason == "argument x: 0 -> 1"


def test_its_own_entry_is_not_read_to_tell_why_it_was_computed(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(Folder, "peek", lambda folder, name, make: read.append(name))

    @aw.step(cache=aw.create_disk_cache(tmp_path), name="large")
    def large(x):
        return x

    large(1)
    run = next(run for run in reversed(aw.recent_runs()) if run.workflow == "large")
    assert [step.reason for step in run.steps] == ["first run"]
    assert read == []
