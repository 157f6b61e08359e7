"""A session over a store that can be made to fail, and leases of processes that are gone."""

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

import awaitly_nb as aw
from awaitly_nb.states import Session, leases, session as module

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Failing:
    """The records of a store, whose writes fail while `away` is set."""

    def __init__(self, records):
        self._records = records
        self.away = False

    def swap(self, *args, **kwargs):
        if self.away:
            raise aw.errors.StoreError("the server is away")
        return self._records.swap(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._records, name)


@pytest.fixture
def records(tmp_path):
    return Failing(aw.sqlite(tmp_path / "runs.db").records)


@pytest.fixture
def store(records):
    store = aw.StateStore(records)
    yield store
    store.blocking.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "_LAST_TRIES_S", 0.0)


def entry(result):
    return aw.StepEntry(result, "step", AT, 0.1)


def test_each_step_is_stored_before_the_next_one(store):
    session = Session(store, "wf")
    assert session.open() is None
    session.record("a", entry(aw.Ok(1)))
    assert store.blocking.load("wf").is_complete("a")
    session.record("b", entry(aw.Err("E")))
    session.close()
    session.close()
    again = Session(store, "wf")
    assert again.open() == aw.ResumeState({"a": entry(aw.Ok(1)), "b": entry(aw.Err("E"))})
    again.close()


def test_what_could_not_be_saved_is_saved_with_the_next_step(store, records):
    session = Session(store, "wf")
    session.open()
    records.away = True
    for key in ("a", "b"):
        with pytest.raises(aw.errors.StoreError):
            session.record(key, entry(aw.Ok(key)))
    assert session.pending == ["a", "b"]
    records.away = False
    session.record("c", entry(aw.Ok("c")))
    assert session.pending == []
    assert list(store.blocking.load("wf").steps) == ["a", "b", "c"]
    session.close()


def test_what_could_not_be_saved_is_saved_at_the_end_or_told(store, records):
    session = Session(store, "wf")
    session.open()
    records.away = True
    with pytest.raises(aw.errors.StoreError):
        session.record("a", entry(aw.Ok(1)))
    with pytest.raises(aw.errors.StoreError):
        session.close()
    assert session.pending == ["a"]
    records.away = False
    session.close()
    assert store.blocking.load("wf").is_complete("a")


def test_one_value_that_cannot_be_written_does_not_hold_up_the_others(store, records):
    import threading

    session = Session(store, "wf")
    session.open()
    records.away = True
    with pytest.raises(aw.errors.StoreError):
        session.record("a", entry(aw.Ok(1)))
    records.away = False
    with pytest.raises(aw.errors.StateError, match="lock"):
        session.record("lock", entry(aw.Ok(threading.Lock())))
    assert list(store.blocking.load("wf").steps) == ["a"]
    session.record("b", entry(aw.Ok(2)))
    assert list(store.blocking.load("wf").steps) == ["a", "b"]
    session.close()


def test_a_step_that_runs_again_counts_even_when_the_clock_was_set_back(store):
    later = datetime(2036, 1, 1, tzinfo=UTC)
    store.blocking.save("wf", aw.ResumeState({"a": aw.StepEntry(aw.Err("E"), "step", later)}))
    session = Session(store, "wf")
    session.open()
    session.record("a", entry(aw.Ok("now")))
    session.close()
    assert store.blocking.load("wf").steps["a"].result == aw.Ok("now")


def test_a_second_session_is_told_who_holds_the_id(store):
    session = Session(store, "wf", owner="kernel of Ada")
    session.open()
    with pytest.raises(aw.LeaseHeldError) as caught:
        Session(store, "wf").open()
    assert caught.value.owner == "kernel of Ada"
    assert caught.value.since.utcoffset().total_seconds() == 0
    session.close()
    other = Session(store, "wf")
    other.open()
    other.close()


def test_a_session_that_cannot_read_the_state_gives_the_lease_back(store):
    store.blocking.save("wf", aw.ResumeState().with_value("a", 1))
    (record,) = store.records.scan("\x1estate")
    store.records.swap(record.name, "{}", [b"torn"])
    with pytest.raises(aw.errors.StoreError, match="wf"):
        Session(store, "wf").open()
    assert store.blocking.holder("wf") is None


def test_a_long_step_keeps_its_lease(store):
    session = Session(store, "wf", ttl_s=0.3)
    session.open()
    first = store.blocking.holder("wf")
    while store.records.now() <= first.expires_at:
        assert store.blocking.acquire("wf", 30) is None
    assert store.blocking.holder("wf").since == first.since
    session.close()
    assert store.blocking.holder("wf") is None


def test_many_segments_become_one_when_a_run_begins(store):
    state = aw.ResumeState()
    for number in range(70):
        state = state.with_value("again and again", number)
        store.blocking.save("wf", state)
    session = Session(store, "wf")
    resumed = session.open()
    session.close()
    assert len(list(store.records.scan("\x1estate"))) == 1
    assert store.blocking.load("wf") == resumed


def test_a_session_that_lost_its_lease_replaces_nothing(store):
    session = Session(store, "wf", ttl_s=30)
    session.open()
    for number in range(70):
        session.record("again and again", entry(aw.Ok(number)))
    (lease,) = store.records.scan("\x1elease")
    expired = {**json.loads(lease.head), "expires_at": AT.isoformat()}
    store.records.swap(lease.name, json.dumps(expired), [])
    other = Session(store, "wf")
    other.open()
    other.record("theirs", entry(aw.Ok("kept")))
    session.close()
    assert store.blocking.load("wf").is_complete("theirs")
    other.close()


def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(store, tmp_path):
    program = "import sys, os, signal, awaitly_nb as aw; store = aw.sqlite(sys.argv[1]); "
    program += "assert store.blocking.acquire('wf', 3600); os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "runs.db"], env={**os.environ, "PYTHONPATH": "."}
    )
    assert killed.returncode == -9
    held = store.blocking.holder("wf")
    assert str(os.getpid()) not in held.owner
    assert store.blocking.acquire("wf", 30) is not None


def test_the_lease_of_another_machine_is_respected_until_it_runs_out(store):
    lease = store.blocking.acquire("wf", 3600)
    (record,) = store.records.scan("\x1elease")
    head = json.loads(record.head)
    head["process"] = {"where": "another boot", "pid": 4711, "started": "1"}
    store.records.swap(record.name, json.dumps(head), [])
    assert store.blocking.acquire("wf", 30) is None
    assert store.blocking.release("wf", lease) is True


def test_an_unreadable_lease_is_told(store):
    store.blocking.acquire("wf", 30)
    (record,) = store.records.scan("\x1elease")
    store.records.swap(record.name, "{}", [])
    with pytest.raises(aw.errors.StoreError, match="wf"):
        store.blocking.acquire("wf", 30)


def test_of_two_that_take_numbers_of_different_age_the_higher_holds(records, store, monkeypatch):
    """The one race that deleting old numbers leaves: a slow taker writes a number that was deleted meanwhile."""
    first = store.blocking.acquire("wf", 30)
    store.blocking.release("wf", first)
    slow = leases.Leases(records, prefix="\x1elease\x1f")
    seen = slow._chain("wf")
    for _ in range(2):
        held = store.blocking.acquire("wf", 30)
        store.blocking.release("wf", held)
    held = store.blocking.acquire("wf", 30)
    chains = iter([seen])
    real = slow._chain
    monkeypatch.setattr(slow, "_chain", lambda name: next(chains, None) or real(name))
    assert slow.acquire("wf", 30) is None
    assert store.blocking.renew("wf", held, 30) is True


def test_a_lease_that_cannot_be_given_back_is_logged(store, records, caplog):
    session = Session(store, "wf")
    session.open()
    records.away = True
    with caplog.at_level(logging.WARNING):
        session.close()
    assert "'wf' could not be given back" in caplog.text


@pytest.mark.parametrize("wrong", [None, "runs.db", object()])
def test_something_that_is_no_store_is_refused(wrong):
    with pytest.raises(aw.MisuseError, match=r"aw\.sqlite"):
        Session(wrong, "wf")
