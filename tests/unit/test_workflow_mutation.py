"""What a body does to a value afterwards shows in no cache, no resume state and no checkpoint.

A plain mapping shares its values, and is the one documented exception.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import awaitly_nb as aw


def append_three(ctx):
    rows = yield ctx.step("load", lambda: [1, 2], key="rows")
    rows.append(3)
    return rows


@pytest.fixture
def collector():
    return aw.create_resume_state_collector()


@pytest.mark.parametrize("cache_kind", ["memory", "disk"], indirect=True)
def test_every_run_on_a_cache_gets_the_value_that_was_computed(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)
    assert [mode.run(workflow, append_three) for _ in range(3)] == [aw.Ok([1, 2, 3])] * 3
    assert cache.get("rows") == aw.Ok([1, 2])


@pytest.mark.parametrize("cache_kind", ["memory", "disk"], indirect=True)
def test_arrays_of_a_cache_are_writable_and_never_the_kept_ones(mode, cache):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        for _ in range(2):
            array = yield ctx.step("zeros", lambda: np.zeros(2_000_000), key="zeros")
            assert array.flags.writeable
            assert array.sum() == 0
            array[:] = 1
        return array.sum()

    for _ in range(2):
        assert mode.run(workflow, body) == aw.Ok(2_000_000)


def test_a_collected_state_has_the_value_that_the_step_came_to(mode, collector):
    workflow = aw.create_workflow("w", None, cache=None, on_event=collector.handle_event)
    assert mode.run(workflow, append_three) == aw.Ok([1, 2, 3])
    state = collector.get_resume_state()
    assert state.steps["rows"].result == aw.Ok([1, 2])
    assert aw.ResumeState.from_json(state.to_json()).steps["rows"].result == aw.Ok([1, 2])


def test_resuming_twice_from_one_state_gives_the_same_both_times(mode, collector):
    workflow = aw.create_workflow("w", None, cache=None)
    state = collector.get_resume_state().with_value("rows", [1, 2])
    assert [mode.run(workflow, append_three, resume_state=state) for _ in range(2)] == [aw.Ok([1, 2, 3])] * 2
    assert state.steps["rows"].result == aw.Ok([1, 2])


def test_a_crash_after_a_mutation_resumes_with_the_value_before_it(mode, collector):
    """Else the mutation would be made twice: once in the checkpoint, and once more by the resumed body."""
    crash = True

    def body(ctx):
        rows = yield from append_three(ctx)
        yield ctx.step("check", lambda: aw.err("CRASH") if crash else "fine")
        return rows

    workflow = aw.create_workflow("w", None, cache=None, on_event=collector.handle_event)
    assert mode.run(workflow, body) == aw.Err("CRASH")
    crash = False
    loaded = aw.ResumeState.from_json(collector.get_resume_state().to_json())
    assert mode.run(workflow, body, resume_state=loaded) == aw.Ok([1, 2, 3])


def test_without_a_cache_the_second_use_of_a_key_is_a_value_of_its_own(mode):
    def body(ctx):
        for _ in range(3):
            rows = yield ctx.step("load", lambda: [1, 2], key="rows")
            rows.append(3)
        return rows

    assert mode.run(aw.create_workflow("w", cache=None), body) == aw.Ok([1, 2, 3])


def test_without_a_cache_all_who_wait_for_a_key_get_a_value_of_their_own():
    async def body(ctx):
        async def use():
            rows = await ctx.step("load", load, key="rows")
            rows.append(3)
            return rows

        return await asyncio.gather(use(), use(), use())

    calls = []

    async def load():
        calls.append(1)
        await asyncio.sleep(0)
        return [1, 2]

    workflow = aw.create_workflow("w", cache=None)
    assert asyncio.run(workflow.run(body)) == aw.Ok([[1, 2, 3]] * 3)
    assert len(calls) == 1


@pytest.mark.parametrize("cached", [True, False])
def test_what_is_used_up_by_reading_is_not_kept_and_says_so(mode, cache, cached):
    cache = cache if cached else None
    workflow = aw.create_workflow("w", cache=cache)

    def body(ctx):
        found = []
        for _ in range(2):
            rows = yield ctx.step("load", lambda: (n for n in [1, 2]), key="rows")
            found.append(list(rows))
        return found

    with pytest.warns(aw.errors.UncachedWarning, match="'rows'") as told:
        assert [mode.run(workflow, body) for _ in range(2)] == [aw.Ok([[1, 2], [1, 2]])] * 2
    if not hasattr(cache, "set"):
        assert "return a list" in str(told[0].message)


def test_without_a_cache_a_large_value_is_not_in_memory_twice(mode):
    def body(ctx):
        one = yield ctx.step("load", lambda: np.zeros(2_000_000), key="rows")
        other = yield ctx.step("load", lambda: np.zeros(2_000_000), key="rows")
        return one is other

    assert mode.run(aw.create_workflow("w", cache=None), body) == aw.Ok(True)
