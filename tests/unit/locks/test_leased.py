"""Leases in a store: one holder at a time, renewed while it lives, taken over when it runs out."""

from __future__ import annotations

import asyncio
import threading
import warnings

import pytest

import awaitly_nb as aw
from awaitly_nb.errors import LeaseHeldError, StoreError
from awaitly_nb.locks.leased import LeasedFlight
from awaitly_nb.stores import sqlite_store
from awaitly_nb.stores.disk import DiskStore
from awaitly_nb.testing import FakeClock


@pytest.fixture
def clock():
    return FakeClock(at=1_700_000_000)


@pytest.fixture
def store(tmp_path, clock):
    store = DiskStore(tmp_path / "store", clock=clock)
    yield store
    store.close()


def test_one_holder_at_a_time(store):
    first, second = LeasedFlight(store, "a"), LeasedFlight(store, "a")
    assert first.try_acquire()
    assert first.try_acquire()
    assert not second.try_acquire()
    assert LeasedFlight(store, "b").try_acquire()
    assert second.holder().startswith("kernel ")
    first.release()
    first.release()
    assert second.try_acquire()
    second.release()


def test_a_lease_that_is_not_renewed_runs_out(store, clock):
    first, second = LeasedFlight(store, "a", ttl_s=60), LeasedFlight(store, "a")
    assert first.try_acquire()
    clock.advance(59)
    assert not second.try_acquire()
    clock.advance(2)
    assert second.try_acquire()
    first.release()  # no longer its own
    assert not LeasedFlight(store, "a").try_acquire()
    second.release()


def test_a_living_holder_renews(store, clock):
    renewed = threading.Event()
    swap = store.swap

    def watched(*args, **kwargs):
        try:
            return swap(*args, **kwargs)
        finally:
            if threading.current_thread().name == "awaitly_nb lease":
                renewed.set()

    store.swap = watched
    flight = LeasedFlight(store, "a", ttl_s=0.3)
    assert flight.try_acquire()
    clock.advance(0.25)
    assert renewed.wait(10)
    clock.advance(0.25)
    assert not LeasedFlight(store, "a").try_acquire()
    flight.release()


def test_a_store_that_cannot_be_asked_counts_as_free(store):
    def fail(*args, **kwargs):
        raise StoreError("down")

    store.read = fail
    flight = LeasedFlight(store, "a")
    assert flight.try_acquire()
    assert flight.holder() is None
    flight.release()


def test_as_a_context(store):
    with LeasedFlight(store, "a"):
        assert not LeasedFlight(store, "a").try_acquire()
    assert LeasedFlight(store, "a").try_acquire()


def test_a_holder_that_was_taken_over_is_told_before_it_stores(store, clock):
    first, second = LeasedFlight(store, "a", ttl_s=60), LeasedFlight(store, "a")
    assert first.try_acquire()
    first.check_lease()
    clock.advance(61)
    first.check_lease()  # it ran out, and nobody took it
    clock.advance(61)
    assert second.try_acquire()
    for _ in range(2):
        with pytest.raises(LeaseHeldError, match="kernel"):
            first.check_lease()
    second.check_lease()
    first.release()
    second.check_lease()
    second.release()
    assert first.try_acquire()
    first.check_lease()
    first.release()


def test_a_store_that_is_away_when_it_is_checked_tells_so_when_it_is_written_to(store):
    flight = LeasedFlight(store, "a")
    assert flight.try_acquire()
    swap = store.swap

    def fail(*args, **kwargs):
        raise StoreError("down")

    store.swap = fail
    flight.check_lease()
    store.swap = swap
    flight.check_lease()
    flight.release()


@pytest.mark.parametrize("way", ["run_sync", "run"])
def test_a_kernel_that_was_stopped_does_not_write_over_what_another_stored(tmp_path, clock, way):
    """A step of a shared cache: while its kernel is stopped, another one takes its key over and stores its result."""
    caches = [
        aw.create_shared_cache(aw.StateStore(sqlite_store(tmp_path / "shared.db", clock=clock))) for _ in range(2)
    ]
    first, second = (aw.create_workflow("report", cache=cache) for cache in caches)

    def others(ctx):
        return ctx.step("fit", lambda: "second", key="fit:1")

    def stopped():
        clock.advance(31)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", aw.errors.CodeChangedWarning)
            results.append(second.run_sync(others))
        return "first"

    def body(ctx):
        return ctx.step("fit", stopped, key="fit:1")

    results = []
    with pytest.warns(aw.errors.UncachedWarning, match="not stored.*LeaseHeldError"):
        results.append(first.run_sync(body) if way == "run_sync" else asyncio.run(first.run(body)))
    assert results == [aw.Ok("second"), aw.Ok("first")]
    assert caches[0].get("fit:1") == aw.Ok("second")


class Woken:
    """Records, where `meanwhile` happens just before one name is written, as if this process were stopped there."""

    def __init__(self, records):
        self.records = records
        self.meanwhile = {}
        self.asked = []

    def __getattr__(self, verb):
        def ask(*args, **options):
            self.asked.append(verb)
            for name in [name for name in self.meanwhile if verb == "swap" and args[0].endswith(name)]:
                self.meanwhile.pop(name)()
            return getattr(self.records, verb)(*args, **options)

        return ask


@pytest.fixture
def machines(tmp_path, clock):
    """Two machines with one shared cache; the first can be stopped just before a write."""
    records = [sqlite_store(tmp_path / "shared.db", clock=clock) for _ in range(2)]
    woken = Woken(records[0])
    return woken, *(aw.create_shared_cache(aw.StateStore(one)) for one in (woken, records[1]))


def test_a_holder_that_wakes_just_before_its_write_does_not_write_over_its_successor(machines, clock):
    """The lease holds when it is looked at, and is taken over before the value is written."""
    woken, first, second = machines
    mine, theirs = first.single_flight("k"), second.single_flight("k")

    def stopped():
        clock.advance(31)
        assert theirs.try_acquire()
        second.set("k", aw.Ok("second"))
        theirs.release()

    for _ in range(2):  # where nothing was stored, and where something was
        assert mine.try_acquire()
        first.lookup("k")
        woken.meanwhile["\x1fk"] = stopped
        with pytest.raises(LeaseHeldError, match="held by kernel"):
            first.set("k", aw.Ok("first"))
        assert second.get("k") == aw.Ok("second")
        mine.release()
    assert mine.try_acquire()
    first.set("k", aw.Ok("again"))
    assert second.get("k") == aw.Ok("again")
    mine.release()


def test_where_the_successor_has_not_written_yet_its_value_comes_last(machines, clock):
    woken, first, second = machines
    mine, theirs = first.single_flight("k"), second.single_flight("k")

    def stopped():
        clock.advance(31)
        assert theirs.try_acquire()
        assert second.get("k") is None

    assert mine.try_acquire()
    woken.meanwhile["\x1fk"] = stopped
    first.set("k", aw.Ok("first"))
    second.set("k", aw.Ok("second"))
    assert first.get("k") == aw.Ok("second")
    theirs.release()


def test_who_holds_the_lease_replaces_and_removes_as_often_as_it_likes(machines):
    woken, first, second = machines
    with first.single_flight("k"):
        for number in range(3):
            first.set("k", aw.Ok(number))
        first.delete("k")
        first.set("k", aw.Ok(3))
        second.set("k", aw.Ok("of somebody without a lease"))
        first.set("k", aw.Ok(4))
    assert second.get("k") == aw.Ok(4)


def test_where_others_write_all_the_time_it_is_told(machines):
    woken, first, second = machines
    with first.single_flight("k"):

        def written():
            second.set("k", aw.Ok(0))
            woken.meanwhile["\x1fk"] = written

        written()
        with pytest.raises(aw.errors.CacheError, match="all the time"):
            first.set("k", aw.Ok(1))


def test_a_condition_costs_no_more_questions(machines):
    woken, first, _ = machines
    workflow = aw.create_workflow("report", cache=first)
    workflow.run_sync(lambda ctx: ctx.step("fit", lambda: 1, key="fit:1"))
    # A look, the lease (look, clock, take), a look under it, the lease again, the value, and the lease given back.
    assert [verb for verb in woken.asked if verb != "now"] == ["read", "read", "swap", "read", "swap", "swap", "swap"]


def test_a_damaged_object_is_replaced_under_the_lease(tmp_path):
    workflow = aw.create_workflow("report", cache=aw.create_shared_cache(aw.objects(tmp_path), namespace="w"))

    def body(ctx):
        return ctx.step("fit", lambda: "x" * 5_000, key="fit:1")

    for harm in (lambda data: data[:-1], lambda data: data[:20], lambda data: b""):
        assert workflow.run_sync(body).ok
        (path,) = (path for path in tmp_path.rglob("*") if "fit" in path.name)
        path.write_bytes(harm(path.read_bytes()))
        with pytest.warns(aw.errors.DamagedEntryWarning):
            assert workflow.run_sync(body).ok
        assert workflow.run_sync(body).ok
        assert workflow.last_run.steps[0].state == "hit"
