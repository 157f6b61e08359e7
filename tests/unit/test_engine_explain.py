"""Why a step is computed that was computed before: its failure is not kept, so that to the cache it is new."""

from __future__ import annotations

import time

import pytest

import awaitly_nb as aw


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
        ({}, crash, "failed last time; exceptions are not kept"),
        ({"timeout": 0.01}, lambda: time.sleep(0.2), "timed out last time; that is not kept"),
        ({"cache_errors": "none"}, lambda: aw.err("NO"), "failed last time; that was not kept"),
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
    assert reasons(workflow, body) == {"k": "failed last time; exceptions are not kept"}
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
    assert reasons(workflow, body) == {"load": "failed last time; exceptions are not kept"}


def test_asking_why_says_so_and_changes_nothing(tmp_path):
    @aw.step(cache=aw.create_disk_cache(tmp_path))
    def broken(x):
        raise RuntimeError(x)

    with pytest.raises(RuntimeError):
        broken("a")
    for _ in range(2):
        assert broken.why("a").reason == "failed last time; exceptions are not kept"
