"""Section H of the behaviours: the memory cache, its bound and its expiry."""

from __future__ import annotations

import datetime as dt
import math

import pytest

import awaitly_nb as aw


@pytest.fixture
def make(clock):
    """A factory of memory caches on the clock of the test."""

    def create(**options):
        return aw.create_memory_cache(clock=clock, **options)

    return create


def fill(cache, *keys, **options):
    for key in keys:
        cache.set(key, aw.Ok(key), **options)


def test_h95_get_set_has_delete_clear(make):
    cache = make()
    assert cache.get("a") is None
    assert cache.has("a") is False
    fill(cache, "a", "b")
    assert cache.get("a") == aw.Ok("a")
    assert cache.has("a") is True
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    assert cache.get("a") is None
    assert cache.keys() == ["b"]
    cache.clear()
    assert cache.keys() == []
    assert cache.get("b") is None


def test_h95_set_replaces(make):
    cache = make()
    cache.set("a", aw.Ok(1))
    cache.set("a", aw.err("NO"))
    assert cache.get("a") == aw.Err("NO")
    assert cache.keys() == ["a"]


def test_h96_max_size_keeps_at_most_so_many_and_drops_the_oldest(make):
    cache = make(max_size=3)
    fill(cache, "a", "b", "c", "d")
    assert cache.keys() == ["b", "c", "d"]
    assert cache.get("a") is None


def test_h97_an_entry_is_alive_at_exactly_its_ttl_and_gone_after_it(make, clock):
    cache = make(ttl=10)
    fill(cache, "a")
    clock.advance(10)
    assert cache.has("a")
    assert cache.get("a") == aw.Ok("a")
    clock.advance(0.001)
    assert not cache.has("a")
    assert cache.get("a") is None
    assert cache.keys() == []


def test_h98_a_ttl_of_an_entry_overrides_the_global_one_both_ways(make, clock):
    cache = make(ttl=10)
    fill(cache, "short", ttl=5)
    fill(cache, "usual", ttl=None)
    fill(cache, "long", ttl=dt.timedelta(seconds=20))
    for seconds, alive in ((5, ["short", "usual", "long"]), (5, ["usual", "long"]), (10, ["long"]), (1, [])):
        clock.advance(seconds)
        assert cache.keys() == alive


def test_h98_no_ttl_at_all_means_never(make, clock):
    cache = make()
    fill(cache, "a")
    clock.advance(10**9)
    assert cache.get("a") == aw.Ok("a")


def test_h98_a_new_set_starts_the_ttl_again(make, clock):
    cache = make(ttl=10)
    fill(cache, "a")
    clock.advance(9)
    fill(cache, "a")
    clock.advance(9)
    assert cache.has("a")


def test_h99_reading_protects_from_the_next_eviction(make):
    cache = make(max_size=2)
    fill(cache, "a", "b")
    assert cache.get("a") == aw.Ok("a")
    fill(cache, "c")
    assert sorted(cache.keys()) == ["a", "c"]


def test_h99_asking_whether_it_is_there_does_not_count_as_reading(make):
    cache = make(max_size=2)
    fill(cache, "a", "b")
    assert cache.has("a")
    assert [entry.key for entry in cache.entries()] == ["a", "b"]
    fill(cache, "c")
    assert sorted(cache.keys()) == ["b", "c"]


def test_h100_expired_entries_go_before_live_ones(make, clock):
    cache = make(max_size=3)
    fill(cache, "old but alive")
    fill(cache, "expires", "expires too", ttl=5)
    clock.advance(6)
    assert cache.keys() == ["old but alive"]
    fill(cache, "new", "newer")
    assert cache.keys() == ["old but alive", "new", "newer"]


class _TickingClock:
    """A clock that moves by a second at each look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


@pytest.mark.parametrize("ttl", range(1, 12))
def test_h101_an_entry_that_expires_between_look_up_and_read_is_a_miss(mode, ttl):
    cache = aw.create_memory_cache(clock=_TickingClock())
    cache.set("k", aw.Ok("kept"), ttl=ttl)

    def body(ctx):
        value = yield ctx.step("fetch", lambda: "computed", key="k", ttl=ttl)
        return value

    workflow = aw.create_workflow("w", None, cache=cache)
    results = [mode.run(workflow, body) for _ in range(20)]
    assert all(result in (aw.Ok("kept"), aw.Ok("computed")) for result in results)
    assert results[-1] == aw.Ok("computed")


@pytest.mark.parametrize(
    "options",
    [{"max_size": 0}, {"max_size": -1}, {"ttl": 0}, {"ttl": -1}, {"ttl": math.nan}, {"ttl": "soon"}, {"max_size": 1.5}],
    ids=str,
)
def test_h102_options_out_of_range_are_a_value_error_at_construction(options):
    with pytest.raises(ValueError, match=next(iter(options))) as caught:
        aw.create_memory_cache(**options)
    assert isinstance(caught.value, aw.errors.InvalidOptionError)


@pytest.mark.parametrize("ttl", [0, -1, math.nan])
def test_h102_and_at_set(make, ttl):
    cache = make()
    with pytest.raises(ValueError, match="ttl"):
        cache.set("a", aw.Ok(1), ttl=ttl)
    assert cache.keys() == []


def test_h103_failures_obey_ttl_and_size_like_successes(make, clock):
    cache = make(max_size=2, ttl=10)
    cache.set("a", aw.err("NO"))
    fill(cache, "b", "c")
    assert cache.keys() == ["b", "c"]
    cache.set("d", aw.err("NO"))
    assert cache.get("d") == aw.Err("NO")
    clock.advance(11)
    assert cache.get("d") is None


def test_h103_a_run_on_the_clock_of_its_cache_replays_a_failure_until_its_ttl_is_over(mode, make, clock):
    """The engine's clock is the system's, so expiry must be the cache's business alone."""
    clock.advance(-(10**9))
    fetch = mode.counted(lambda: aw.err("BUSY"))

    def body(ctx):
        yield ctx.step("fetch", fetch, key="k", ttl=60)

    workflow = aw.create_workflow("w", None, cache=make())
    for seconds, calls in ((0, 1), (60, 1), (1, 2), (59, 2)):
        clock.advance(seconds)
        assert mode.run(workflow, body) == aw.Err("BUSY")
        assert len(fetch.calls) == calls


def test_the_memory_cache_keeps_bytes_so_a_mutated_value_cannot_alter_it(make):
    cache = make()
    value = {"rows": [1, 2]}
    cache.set("a", aw.Ok(value))
    value["rows"].append(3)
    first = cache.get("a").value
    assert first == {"rows": [1, 2]}
    first["rows"].clear()
    assert cache.get("a").value == {"rows": [1, 2]}
