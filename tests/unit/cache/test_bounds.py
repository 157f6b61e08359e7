"""A bound on a folder: what is cheapest to have again goes first, and nothing goes without a word."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import warnings
from datetime import UTC, datetime, timedelta

import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec.envelope import read_head, write_head
from awaitly_nb.errors import CacheError, EvictedWarning, InvalidOptionError
from awaitly_nb.result import Mark, Ok, with_mark


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


def lasting(seconds, size=100_000):
    return with_mark(Ok(os.urandom(size)), Mark(duration_s=seconds))


def test_without_a_bound_nothing_is_ever_evicted(folder):
    cache = caches.create_disk_cache(folder)
    for i in range(30):
        cache.set(f"k{i}", lasting(0))
    assert len(cache.keys()) == 30


def test_what_is_cheapest_for_its_size_goes_first_and_is_named(folder):
    cache = caches.create_disk_cache(folder, size_limit="1MB")
    for i in range(8):
        cache.set(f"dear {i}", lasting(100))
    cache.set("cheap", lasting(0.01))
    with pytest.warns(EvictedWarning, match="'cheap'.*size_limit"):
        cache.set("one more", lasting(100))
    assert not cache.has("cheap")
    assert cache.has("one more")


def test_the_value_just_stored_stays_even_if_it_is_the_cheapest(folder):
    cache = caches.create_disk_cache(folder, size_limit="1MB")
    for i in range(9):
        cache.set(f"k{i}", lasting(100 - i))
    with pytest.warns(EvictedWarning):
        cache.set("the cheapest", lasting(0.001))
    assert cache.get("the cheapest") is not None


def test_a_value_larger_than_the_bound_is_refused_and_costs_no_other(folder):
    cache = caches.create_disk_cache(folder, size_limit="500KB")
    cache.set("kept", lasting(1))
    with pytest.raises(CacheError, match="whole size_limit"):
        cache.set("huge", lasting(1, 600_000))
    assert cache.keys() == ["kept"]


def test_an_entry_that_is_being_computed_anew_is_left(folder):
    cache = caches.create_disk_cache(folder, size_limit="1MB")
    cache.set("running", lasting(0.001))
    flight = cache.single_flight("running")
    assert flight.try_acquire()
    for i in range(8):
        cache.set(f"k{i}", lasting(100))
    with pytest.warns(EvictedWarning):
        cache.set("one more", lasting(100))
    assert cache.get("running") is not None
    flight.release()


@pytest.mark.parametrize("limit", [0, -1, "many", "0GB", True])
def test_a_limit_that_is_none_is_refused(folder, limit):
    with pytest.raises(InvalidOptionError, match="size_limit"):
        caches.create_disk_cache(folder, size_limit=limit)


def test_a_value_that_could_only_be_kept_beyond_the_bound_costs_no_other(folder):
    cache = caches.create_disk_cache(folder, size_limit="1MB")
    for i in range(5):
        cache.set(f"k{i}", lasting(100))
    with pytest.raises(CacheError, match="empty folder"):
        cache.set("fills it alone", lasting(1, 970_000))
    assert len(cache.keys()) == 5
    with pytest.warns(EvictedWarning):
        cache.set("fits", lasting(1, 900_000))
    assert cache.keys() == ["fits"]
    assert cache.store.store.store.volume() <= 1_000_000


def test_of_two_that_cost_the_same_the_older_goes_first(folder):
    cache = caches.create_disk_cache(folder, size_limit="1MB")
    day = timedelta(days=1)
    for i in range(8):
        at = datetime.now(UTC) - (i % 4) * day
        cache.set(f"{i % 4} days old, {i}", with_mark(Ok(os.urandom(100_000)), Mark(duration_s=10.0, at=at)))
    cache.set(
        "dear, and 90 days old", with_mark(Ok(bytes(1000)), Mark(duration_s=1e6, at=datetime.now(UTC) - 90 * day))
    )
    with pytest.warns(EvictedWarning):
        cache.set("new", lasting(10, 300_000))
    gone = {f"{i % 4} days old, {i}" for i in range(8)} - set(cache.keys())
    assert gone
    assert {name[0] for name in gone} <= {"3", "2"}
    assert cache.has("dear, and 90 days old")


@pytest.mark.parametrize(
    "planted", [{"duration_s": 10**400}, {"created_at": 10**400}, {"duration_s": "long"}, {"created_at": [1]}]
)
def test_a_planted_number_is_no_number(folder, planted):
    cache = caches.create_disk_cache(folder, size_limit="1MB")
    cache.set("odd", lasting(10))
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        ((head,),) = connection.execute("SELECT tag FROM Cache")
        connection.execute("UPDATE Cache SET tag = ?", (write_head(read_head(head) | {"step_id": "s"} | planted),))
    for i in range(12):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EvictedWarning)
            cache.set(f"k{i}", lasting(1))
    assert len(cache.entries()) == len(cache.keys())
    assert list(cache.marks("s")) == []
    assert cache.to_frame() is not None
