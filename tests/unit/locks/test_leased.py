"""Leases in a store: one holder at a time, renewed while it lives, taken over when it runs out."""

from __future__ import annotations

import threading

import pytest

from awaitly_nb.errors import StoreError
from awaitly_nb.locks.leased import LeasedFlight
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
