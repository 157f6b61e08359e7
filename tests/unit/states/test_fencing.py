"""A run that was stopped for longer than its lease: nothing of it starts, and nothing of it lands, after it woke."""

import contextlib

import pytest

import awaitly_nb as aw
from awaitly_nb.states import Session, StateStore, StepEntry, session as module
from awaitly_nb.stores import sqlite_store
from awaitly_nb.testing import FakeClock

TTL_S = 30.0


class Machine:
    """The clocks of a process: of a store in a file, the wall, and since the machine was started."""

    def __init__(self):
        self.wall = FakeClock()
        self.passed_s = 0.0

    def sleep(self, seconds):
        self.wall.advance(seconds)
        self.passed_s += seconds

    def now(self):
        return self.passed_s, self.wall()


class Away:
    """The records of a store, which does not answer while `away` is set."""

    def __init__(self, records):
        self._records = records
        self.away = False

    def __getattr__(self, name):
        def ask(*args, **kwargs):
            if self.away:
                raise aw.errors.StoreError("the server is away")
            return getattr(self._records, name)(*args, **kwargs)

        return ask


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "_LAST_TRIES_S", 0.0)


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def records(tmp_path, machine):
    return Away(sqlite_store(tmp_path / "runs.db", clock=machine.wall))


@pytest.fixture
def store(records):
    store = StateStore(records, lease_ttl=TTL_S)
    yield store
    store.blocking.close()


@pytest.fixture
def opened(store, machine):
    """`opened(owner)` returns an open session of the one id."""
    sessions = []

    def open_(owner):
        sessions.append(Session(store, "wf", owner=owner, now=machine.now))
        sessions[-1].open()
        return sessions[-1]

    yield open_
    for session in sessions:
        session._ended.set()


def entry(value):
    return StepEntry(aw.Ok(value), "step", None, 0.1)


def is_lost(call, *args):
    with pytest.raises(aw.LeaseHeldError) as caught:
        call(*args)
    return caught.value


def test_who_was_stopped_for_longer_than_the_lease_starts_nothing_and_writes_nothing(store, opened, machine):
    first = opened("first")
    first.record("a", entry(1))
    machine.sleep(TTL_S + 1)
    second = opened("second")
    second.record("b", entry(2))
    assert first.is_due
    error = is_lost(first.check_lease)
    assert error.owner == "second"
    assert error.since.tzinfo is not None
    is_lost(first.record, "c", entry(3))
    is_lost(first.check_lease)
    assert first.pending == ["c"]
    is_lost(first.close)
    assert list(store.blocking.load("wf").steps) == ["a", "b"]
    second.check_lease()  # what the first did to its own lease is none of the second's business
    second.record("d", entry(4))
    second.close()
    assert list(store.blocking.load("wf").steps) == ["a", "b", "d"]


def test_also_when_the_other_one_has_ended_meanwhile(store, opened, machine):
    first = opened("first")
    machine.sleep(TTL_S + 1)
    second = opened("second")
    second.record("b", entry(2))
    second.close()
    is_lost(first.check_lease)
    is_lost(first.record, "c", entry(3))
    is_lost(first.close)
    assert list(store.blocking.load("wf").steps) == ["b"]


def test_where_nobody_took_over_the_run_goes_on_under_its_lease(store, opened, machine):
    first = opened("first")
    machine.sleep(10 * TTL_S)
    first.check_lease()
    assert not first.is_due
    with pytest.raises(aw.LeaseHeldError):
        opened("second")
    first.record("a", entry(1))
    first.close()
    assert list(store.blocking.load("wf").steps) == ["a"]


def test_half_of_a_lease_is_not_asked_about(store, records, opened, machine):
    first = opened("first")
    machine.sleep(TTL_S / 2 - 1)
    records.away = True
    assert not first.is_due
    first.check_lease()
    records.away = False
    machine.sleep(1)
    assert first.is_due
    first.check_lease()
    assert not first.is_due
    first.close()


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_clock_that_jumps_is_noticed(opened, machine, jump_s):
    first = opened("first")
    machine.wall.advance(jump_s)
    assert first.is_due
    if jump_s > 0:
        opened("second")
        is_lost(first.check_lease)
    else:
        first.check_lease()
        assert not first.is_due


def test_a_store_that_was_away_for_longer_than_the_lease(store, records, opened, machine):
    first = opened("first")
    records.away = True
    machine.sleep(TTL_S - 1)
    first.check_lease()  # it holds, whoever asks
    machine.sleep(2)
    error = is_lost(first.check_lease)
    assert "away for 31 s" in error.owner
    records.away = False
    first.check_lease()  # nobody else had it
    records.away = True
    machine.sleep(TTL_S + 1)
    records.away = False
    opened("second")
    assert is_lost(first.check_lease).owner == "second"


def test_a_lease_that_was_given_back_is_not_renewed(store):
    lease = store.blocking.acquire("wf", 30)
    assert store.blocking.release("wf", lease) is True
    assert store.blocking.renew("wf", lease, 30) is False
    assert store.blocking.release("wf", lease) is False


def test_each_renewal_takes_the_next_number(store, machine):
    lease = store.blocking.acquire("wf", TTL_S)
    machine.sleep(TTL_S + 1)
    assert store.blocking.renew("wf", lease, TTL_S) is True
    assert store.blocking.holder("wf").number == lease.number + 1
    machine.sleep(TTL_S + 1)
    other = store.blocking.acquire("wf", TTL_S)
    assert other.number == lease.number + 2
    assert len(list(store.records.scan("\x1elease"))) == 1


def test_a_run_whose_lease_was_taken_starts_no_further_step(mode, store, machine, monkeypatch):
    monkeypatch.setattr(module, "clocks", machine.now)
    workflow, done = aw.create_workflow("pay", cache=None), []

    def stopped():
        machine.sleep(TTL_S + 1)
        assert aw.create_workflow("pay", cache=None).run_sync(others, store=store, id="wf").ok

    def others(ctx):
        return ctx.step("b", done.append, "second", key="b")

    def body(ctx):
        yield ctx.step("a", done.append, "first", key="a")
        stopped()
        with contextlib.suppress(BaseException):  # nor does swallowing it help
            yield ctx.attempt("b", done.append, "first again", key="b")
        return "done"

    result = mode.run(workflow, body, store=store, id="wf")
    assert isinstance(result.error, aw.LeaseHeldError)
    assert done == ["first", "second"]
    assert list(store.blocking.load("wf").steps) == ["a", "b"]


def test_a_run_whose_lease_was_taken_during_its_last_step_ends_with_that(mode, store, machine, monkeypatch):
    monkeypatch.setattr(module, "clocks", machine.now)
    workflow = aw.create_workflow("pay", cache=None)

    def others(ctx):
        return ctx.step("a", lambda: "second", key="a")

    def stopped():
        machine.sleep(TTL_S + 1)
        assert aw.create_workflow("pay", cache=None).run_sync(others, store=store, id="wf").ok
        return "first"

    def body(ctx):
        return (yield ctx.step("a", stopped, key="a"))

    result = mode.run(workflow, body, store=store, id="wf")
    assert isinstance(result.error, aw.LeaseHeldError)
    assert store.blocking.load("wf").steps["a"].result == aw.Ok("second")
