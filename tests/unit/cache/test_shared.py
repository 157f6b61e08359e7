"""A cache on a server that is away costs a tenth of the time at most, and keeps what was dear all the same."""

import json
import re

import pytest

import awaitly_nb as aw
from awaitly_nb.cache.shared import Share
from awaitly_nb.cache.stepcache import StoredCache
from awaitly_nb.errors import CacheError, CacheUnusableWarning, StoreError
from awaitly_nb.result import Mark, Ok, with_mark
from awaitly_nb.stores import ABSENT, DamagedRecordError
from awaitly_nb.testing import FakeClock

TIMEOUT_S = 2.0


class Faraway:
    """A store whose server can go away; then each try takes as long as its timeout."""

    def __init__(self, path, clock):
        self.inner = aw.sqlite(path).records
        self.clock = clock
        self.error = None
        self.asked = []

    def _ask(self, name, *args, **options):
        self.asked.append(name)
        if self.error is not None:
            self.clock.advance(TIMEOUT_S)
            raise self.error
        return getattr(self.inner, name)(*args, **options)

    def __getattr__(self, name):
        return lambda *args, **options: self._ask(name, *args, **options)


@pytest.fixture
def clock():
    return FakeClock(at=1000.0)


@pytest.fixture
def store(tmp_path, clock):
    return Faraway(tmp_path / "s.db", clock)


@pytest.fixture
def share(store, clock):
    return Share(store, clock=clock)


def away(store, error=None):
    store.error = error or StoreError("the server does not answer")
    store.asked.clear()


def value(seconds):
    return with_mark(Ok(1), Mark(duration_s=seconds))


@pytest.mark.filterwarnings("ignore::awaitly_nb.errors.CacheUnusableWarning")
def test_a_tenth_of_the_time_at_most_is_lost(store, share, clock):
    cache, began = StoredCache(share), clock()
    away(store)
    worked = 0.0
    for number in range(500):
        assert cache.get(f"k{number}") is None
        clock.advance(0.1)  # computing
        worked += 0.1
        with pytest.raises(CacheError):
            cache.set(f"k{number}", value(0.1))
    assert clock() - began < worked / 0.9 + TIMEOUT_S
    assert store.asked == ["read"] * len(store.asked)


def test_why_it_is_not_asked_is_said(store, share):
    cache = StoredCache(share)
    away(store)
    with pytest.warns(CacheUnusableWarning, match="the server does not answer"):
        cache.lookup("k")
    reason = cache.lookup("k").detail
    assert re.search(
        r"not asked for another 20 s, because the last try took 2\.0 s in vain: the server does not", reason
    )


def test_what_took_longer_than_a_try_is_written_in_any_case(store, share):
    cache = StoredCache(share)
    away(store)
    with pytest.warns(CacheUnusableWarning):
        cache.get("k")
    store.error = None
    with pytest.raises(CacheError, match="not asked"):
        cache.set("cheap", value(0.5))
    cache.set("dear", value(3600.0))
    assert cache.get("dear") == Ok(1)  # and that it could be written has ended the waiting
    cache.set("cheap", value(0.5))


def test_a_person_who_lists_is_answered_and_ends_the_waiting(store, share):
    cache = StoredCache(share)
    cache.set("k", Ok(1))
    away(store)
    with pytest.warns(CacheUnusableWarning):
        cache.get("k")
    store.error = None
    assert cache.get("k") is None
    assert cache.keys() == ["k"]
    assert cache.get("k") == Ok(1)


def test_a_server_that_was_away_for_long_is_asked_again_within_a_minute(store, share, clock):
    away(store)
    for _ in range(20):
        with pytest.raises(StoreError):
            share.read("k")
        clock.advance(60.0)
    assert store.asked == ["read"] * 20
    store.error = None
    assert share.read("k") is None


def test_a_lease_that_is_held_is_renewed_in_any_case(store, share):
    version = share.swap("lease", "{}", [], expect=ABSENT)
    away(store)
    with pytest.raises(StoreError):
        share.read("k")
    store.error = None
    assert share.swap("lease", json.dumps({"until": 1}), [], expect=version) is not None


def test_a_damaged_record_is_not_a_server_that_is_away(store, share):
    share.swap("k", "{}", [b"1"])
    away(store, DamagedRecordError("half of it"))
    with pytest.raises(DamagedRecordError):
        share.read("k")
    store.error = None
    assert share.read("k").body == b"1"
