"""The log of a stored state: who may write into it, in which order it counts, and what of it is decoded."""

import dataclasses
import json

import pytest

import awaitly_nb as aw
from awaitly_nb.states import StepEntry, log as module


@dataclasses.dataclass
class Money:
    """A value that JSON cannot hold, so that it is pickled."""

    amount: int


@pytest.fixture
def store(tmp_path):
    store = aw.sqlite(tmp_path / "runs.db")
    yield store
    store.blocking.close()


@pytest.fixture
def states(store):
    return store.blocking


def entry(value):
    return StepEntry(aw.Ok(value), "step", None, 0.1)


def values(states):
    return {key: found.result.unwrap() for key, found in states.load("wf").steps.items()}


def segments(store):
    return list(store.records.scan("\x1estate\x1fwf\x1f", bodies=True))


def put(store, name, record):
    """Write a record as it is, under another name."""
    store.records.swap(name, record.head, [record.body])


def test_each_save_takes_the_next_slot(store, states):
    for number in range(3):
        states.add("wf", str(number), entry(number))
    assert [record.name[-10:] for record in segments(store)] == ["0000000000", "0000000001", "0000000002"]


def test_a_run_that_was_taken_over_writes_nothing(store, states):
    states.add("wf", "a", entry(1), run=1)
    assert list(aw.StateStore(store.records).blocking.begin("wf", 2, fence=True).steps) == ["a"]
    with pytest.raises(aw.LeaseHeldError):
        states.add("wf", "b", entry("of the first"), run=1)
    states.add("wf", "b", entry("of the second"), run=2)
    assert values(states) == {"a": 1, "b": "of the second"}


def test_a_save_without_a_run_takes_no_lease_from_anybody(states):
    states.begin("wf", 2, fence=True)
    states.add("wf", "a", entry(1))
    states.add("wf", "b", entry(2), run=2)
    states.save("wf", aw.ResumeState({"c": entry(3)}), replace=True)
    states.add("wf", "d", entry(4), run=2)
    assert values(states) == {"c": 3, "d": 4}


def test_a_fence_alone_is_no_state(states):
    assert states.begin("wf", 2, fence=True) is None
    assert states.load("wf") is None
    assert states.list() == []
    assert states.outline("wf") is None
    states.add("wf", "a", entry(1), run=2)
    assert values(states) == {"a": 1}
    assert [saved.id for saved in states.list()] == ["wf"]


def test_a_run_that_was_taken_over_writes_nothing_where_its_id_was_deleted_meanwhile(store, states):
    states.add("wf", "a", entry(1), run=1)
    second = aw.StateStore(store.records).blocking
    second.begin("wf", 2, fence=True)
    second.add("wf", "b", entry(2), run=2)
    assert second.delete("wf") is True
    with pytest.raises(aw.LeaseHeldError):
        states.add("wf", "b", entry("of the first"), run=1)
    assert second.load("wf") is None
    assert second.delete("wf") is False
    assert second.list() == []
    for run in range(3, 9):  # whose slots come to the one of the fence, and pass it
        third = aw.StateStore(store.records).blocking
        third.begin("wf", run, fence=False)
        third.add("wf", f"c{run}", entry(run), run=run)
    assert values(states) == {f"c{run}": run for run in range(3, 9)}


def test_where_nothing_was_stored_yet_there_is_nothing_to_delete(states):
    states.begin("wf", 2, fence=True)
    assert states.delete("wf") is False


def test_what_lands_between_the_load_and_the_fence_is_read_too(store, states, monkeypatch):
    first = aw.StateStore(store.records).blocking
    states.add("wf", "a", entry(1), run=1)
    load, late = states._load, [2]

    def load_and_be_late(name):
        folded = load(name)
        while late:
            first.add("wf", "b", entry(late.pop()), run=1)
        return folded

    monkeypatch.setattr(states, "_load", load_and_be_late)
    assert list(states.begin("wf", 2, fence=True).steps) == ["a", "b"]


@pytest.mark.parametrize("meanwhile", ["deleted", "written anew"])
def test_where_the_fence_is_gone_the_later_run_counts_all_the_same(store, states, meanwhile):
    """The slots before it are free then, so the write itself is not refused."""
    stopped = aw.StateStore(store.records).blocking
    for number in range(3):
        stopped.add("wf", str(number), entry(number), run=1)
    if meanwhile == "deleted":
        states.delete("wf")
        states.begin("wf", 2, fence=True)
        states.add("wf", "mine", entry(1), run=2)
    else:
        states.begin("wf", 2, fence=True)
        states.add("wf", "mine", entry(1), run=2)
        states.add("wf", "mine", entry(2), run=2)
        states.save("wf", aw.ResumeState({"mine": entry(1)}), replace=True)
        stopped._known["wf"].slot = 0  # it was stopped long before
    stopped.add("wf", "late", entry("lost"), run=1)
    assert values(states) == {"mine": 1}


def test_many_that_write_at_once_pass_each_other(store):
    handles = [aw.StateStore(store.records).blocking for _ in range(3)]
    for round_ in range(20):
        for who, handle in enumerate(handles):
            handle.add("wf", f"{who}:{round_}", entry(round_), run=1)
    assert len(values(handles[0])) == 60
    assert len(segments(store)) == 60


def test_states_of_before_are_read(store, states):
    """Segments once had names made at random, in the order of their writing, and no signature."""
    for name, key, value in [("f" * 32, "a", 1), ("0" * 32, "a", 2), ("8" * 32, "b", 3)]:
        step = {"key": key, "step_id": None, "at": None, "duration_s": None, "ok": True, "value": value}
        body = json.dumps({"schema_version": 1, "steps": [step]}).encode()
        store.records.swap(f"\x1estate\x1fwf\x1f{name}", '{"schema_version":1,"steps":1}', [body])
    assert values(states) == {"a": 2, "b": 3}
    states.save("wf", states.load("wf").with_value("a", 4))
    assert values(states) == {"b": 3, "a": 4}


def test_a_segment_counts_only_where_it_was_written(store, states):
    states.add("wf", "a", entry("old"))
    states.add("wf", "a", entry("new"))
    old, new = segments(store)
    put(store, new.name, old)  # replayed
    with pytest.raises(aw.errors.StoreError, match=r"'wf' is unreadable.*signed for its place"):
        states.load("wf")
    put(store, new.name, new)
    assert values(states) == {"a": "new"}
    put(store, "\x1estate\x1fother\x1f0000000000", old)
    with pytest.raises(aw.errors.StoreError, match="other"):
        states.load("other")


@pytest.mark.parametrize("what", ["value", "run", "key"])
def test_what_was_altered_is_refused(store, states, what):
    states.add("wf", "a", entry(100), run=1)
    (record,) = segments(store)
    head, body = record.head, bytes(record.body)
    if what == "run":
        head = head.replace('"run":1', '"run":9')
    else:
        body = body.replace(b"100", b"900") if what == "value" else body.replace(b'"a"', b'"b"')
    assert (head, body) != (record.head, record.body)
    store.records.swap(record.name, head, [body])
    with pytest.raises(aw.errors.StoreError, match="signed"):
        states.load("wf")


def test_without_a_signature_plain_values_are_read_and_pickles_are_not(store, states, unpickles):
    for number, value in enumerate([{"amount": 1}, Money(2)]):
        states.add("wf", f"step {number}", entry(value))
    records = segments(store)
    for record in records:
        store.records.swap(record.name, '{"schema_version":1,"steps":1}', [record.body])
    with pytest.raises(aw.errors.StoreError, match=r"'step 1' has a pickled value .* trust"):
        states.load("wf")
    assert unpickles == []
    store.records.delete([records[1].name])
    assert values(states) == {"step 0": {"amount": 1}}


def test_a_pickle_counts_only_under_its_id_and_key(store, states, unpickles):
    states.add("wf", "a", entry(Money(1)))
    text = aw.ResumeState({"a": entry(Money(1)), "b": entry(Money(2))}).to_json()
    assert [found.result.value.amount for found in aw.ResumeState.from_json(text).steps.values()] == [1, 2]
    unpickles.clear()
    data = json.loads(text)
    data["steps"][0]["value"], data["steps"][1]["value"] = data["steps"][1]["value"], data["steps"][0]["value"]
    with pytest.raises(aw.errors.StateError, match="'a'"):
        aw.ResumeState.from_dict(data)
    (record,) = segments(store)
    with pytest.raises(aw.errors.StateError, match="'a'"):  # of a stored state, in one as text
        aw.ResumeState.from_dict(json.loads(bytes(record.body)))
    step = json.loads(bytes(record.body))["steps"][0]
    with pytest.raises(aw.errors.StateError, match="'a'"):  # of one stored state, in another
        module.entry_from_data(step, name="\x1estate\x1fother\x1f")
    assert unpickles == []
    assert module.entry_from_data(step, name="\x1estate\x1fwf\x1f")[1].result == aw.Ok(Money(1))


def test_a_large_value_is_bound_by_its_digest(store, states):
    states.add("wf", "a", entry("x" * 2_000_000))
    part, segment = sorted(segments(store), key=lambda record: "=" not in record.name)
    store.records.swap(part.name, part.head, [bytes(part.body).replace(b"x", b"y", 1)])
    with pytest.warns(aw.errors.DamagedEntryWarning, match="'a'"):
        assert values(states) == {}
    assert segment.name.endswith("0000000000")


@pytest.fixture
def unpickles(monkeypatch):
    """Every value that was unpickled."""
    seen = []
    monkeypatch.setattr(
        Money, "__setstate__", lambda self, state: seen.append(state) or self.__dict__.update(state), raising=False
    )
    return seen


def test_a_failure_never_comes_back_as_what_would_end_the_process(states):
    failure = aw.Err("stopped", SystemExit(3))
    states.add("wf", "a", StepEntry(failure, "step", None, 0.1))
    cause = states.load("wf").steps["a"].result.cause
    assert isinstance(cause, aw.errors.RemoteError)
    assert cause.type_name == "builtins.SystemExit"
