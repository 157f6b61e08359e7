"""Single flight within a process: one leads, the others wait, and nobody waits for himself."""

import os
import threading

import pytest

from awaitly_nb.locks.flights import FLIGHTS, Flights
from awaitly_nb.result import Ok


@pytest.fixture
def flights():
    return Flights()


def test_the_first_leads_and_the_others_get_what_it_lands(flights):
    flight, leads = flights.join("k", mine := [])
    again, follows = flights.join("k", [])
    assert (leads, follows) == (True, False)
    assert again is flight
    assert mine == [flight]
    assert not flight.future.done()
    flights.land(flight, Ok(1))
    assert flight.future.done()
    assert flight.landed == Ok(1)


def test_after_landing_the_next_one_leads_anew(flights):
    flight, _ = flights.join("k", [])
    flights.land(flight, Ok(1))
    assert flights.join("k", [])[1]


def test_an_abandoned_flight_wakes_its_waiters_without_a_result(flights):
    flight, _ = flights.join("k", [])
    woken = threading.Event()
    flight.future.add_done_callback(lambda _: woken.set())
    flights.abandon(flight)
    assert woken.is_set()
    assert flight.landed is None


def test_abandoning_late_does_not_end_the_flight_of_another(flights):
    old, _ = flights.join("k", [])
    flights.land(old, Ok(1))
    new, _ = flights.join("k", [])
    flights.abandon(old)
    assert flights.join("k", []) == (new, False)


def test_a_flight_that_nobody_waits_for_is_done_all_the_same(flights):
    flight, _ = flights.join("k", [])
    flights.abandon(flight)
    assert flight.future.done()


def test_two_that_wait_for_each_other_are_seen(flights):
    a, _ = flights.join("a", [])
    b, _ = flights.join("b", [])
    assert flights.may_wait(b, (a,))
    assert not flights.may_wait(a, (b,))
    flights.stop_waiting(b, (a,))
    assert flights.may_wait(a, (b,))


def test_a_circle_of_three_is_seen(flights):
    a, b, c = (flights.join(name, [])[0] for name in "abc")
    assert flights.may_wait(b, (a,))
    assert flights.may_wait(c, (b,))
    assert not flights.may_wait(a, (c,))


def test_who_leads_nothing_may_wait_for_anybody(flights):
    flight, _ = flights.join("k", [])
    assert flights.may_wait(flight, ())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_leads_for_itself():
    flight, _ = FLIGHTS.join("of the parent", [])
    try:
        child = os.fork()
        if child == 0:
            os._exit(0 if FLIGHTS.join("of the parent", [])[1] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        FLIGHTS.abandon(flight)
