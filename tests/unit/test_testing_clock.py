"""`FakeClock` moves when it is told to, and only then."""

from __future__ import annotations

import time

from awaitly_nb.testing import FakeClock


def test_stands_still_until_advanced():
    clock = FakeClock(at=10.0)
    assert (clock(), clock()) == (10.0, 10.0)
    clock.advance(0.5)
    assert clock() == 10.5


def test_can_be_set_back():
    clock = FakeClock(at=10.0)
    clock.advance(-4)
    assert clock() == 6.0


def test_starts_at_an_instant_of_this_age_but_not_at_the_present_one():
    clock = FakeClock()
    assert clock() == FakeClock()() < time.time()
    assert repr(clock) == "FakeClock(at=1700000000.0)"
