"""The promises of a `StateStore` as tests, to be run on any store underneath.

    from awaitly_nb.testing.states import StateStoreSuite

    class TestStatesInMyStore(StateStoreSuite):
        @pytest.fixture
        def open_store(self, tmp_path):
            return lambda **options: aw.StateStore(MyStore(tmp_path / "records"), **options)

`open_store(**options)` returns a new handle on the same empty place each time it is called.
"""

# ruff: noqa: D102 - the name of a test says what it shows

from __future__ import annotations

import asyncio
import json
import math
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from awaitly_nb.errors import (
    DamagedEntryWarning,
    InvalidOptionError,
    LeaseHeldError,
    MisuseError,
    StateError,
    StateTooLargeError,
    StateVersionError,
    StoreError,
)
from awaitly_nb.result import Err, Mark, Ok, mark_of
from awaitly_nb.states import ResumeState, StateStore, StepEntry
from awaitly_nb.workflow import create_workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from awaitly_nb.result import Result
    from awaitly_nb.stores import Store

__all__ = ["StateStoreSuite"]

_AT = datetime(2026, 3, 4, 5, 6, 7, 890123, UTC)
_WRITERS = 6
_STOPS = 20
"""How often a run is stopped in each of the two ways."""

VALUES = {
    "nothing": None,
    "text": "Käse \x00 \ud800 'quoted' \U0001f9c0",
    "nested": {"a": [1, 2.5, {"b": None}], "": True},
    "tuple": (1, (2, 3)),
    "set": {"x", "y"},
    "bytes": bytes(range(256)),
    "instant": _AT,
    "day": date(2026, 3, 4),
    "span": timedelta(days=-1, microseconds=3),
    "decimal": Decimal("1.10"),
    "large number": 2**70,
    "infinite": math.inf,
    "keys of other types": {1: "a", (2, 3): "b"},
    "looks tagged": {"$awaitly": "pickle"},
    "complex": 1 + 2j,
}


class StateStoreSuite:
    """Saving, loading, merging, listing and leases; the numbers are those of the conformance cases."""

    @pytest.fixture
    def store(self, open_store: Callable[..., StateStore]) -> Iterator[StateStore]:
        """Return a handle on an empty place."""
        store = open_store()
        yield store
        store.blocking.close()

    def test_e65_a_saved_state_loads_equal(self, store: StateStore) -> None:
        state = _state(a=Ok({"id": "1"}), b=Err("NOT_FOUND"), c=Ok(None))

        async def save_and_load() -> tuple[ResumeState | None, ResumeState | None]:
            await store.save("wf-1", state)
            return await store.load("wf-1"), await store.load("wf-2")

        loaded, unknown = asyncio.run(save_and_load())
        assert loaded == state
        assert loaded is not None
        assert list(loaded.steps) == ["a", "b", "c"]
        assert unknown is None

    @pytest.mark.parametrize("what", VALUES)
    def test_d56_every_value_comes_back_with_its_type(self, store: StateStore, what: str) -> None:
        store.blocking.save("wf", _state(key=Ok(VALUES[what])))
        loaded = _load(store, "wf").steps["key"].result.unwrap()
        assert loaded == VALUES[what]
        assert type(loaded) is type(VALUES[what])

    def test_d54_a_failure_comes_back_with_its_cause(self, store: StateStore) -> None:
        cause = ValueError("outer")
        cause.__cause__ = KeyError("inner")
        failure: Err[str] = Err("FETCH_FAILED", cause, _mark=Mark(origin="throw", code="c0de", at=_AT))
        store.blocking.save("wf", _state(key=failure))
        result = _load(store, "wf").steps["key"].result
        assert result == failure
        assert isinstance(result.cause, ValueError)
        assert str(result.cause) == "outer"
        assert isinstance(result.cause.__cause__, KeyError)
        mark = mark_of(result)
        assert mark is not None
        assert (mark.origin, mark.code) == ("throw", "c0de")

    def test_d44_entries_keep_id_time_and_duration(self, store: StateStore) -> None:
        state = ResumeState({"key": StepEntry(Ok(1), "fetch", _AT, 1.25)})
        store.blocking.save("wf", state)
        entry = _load(store, "wf").steps["key"]
        assert (entry.step_id, entry.at, entry.duration_s) == ("fetch", _AT, 1.25)

    def test_an_empty_state_is_not_an_absent_one(self, store: StateStore) -> None:
        store.blocking.save("wf", ResumeState())
        assert _load(store, "wf") == ResumeState()

    def test_e66_the_later_outcome_of_a_key_wins(self, store: StateStore) -> None:
        store.blocking.save("wf", _state(a=Ok(1), b=Err("E")))
        store.blocking.save("wf", _state(b=Ok(2), c=Ok(3)))
        store.blocking.save("other", _state(a=Ok(9)))
        assert _values(_load(store, "wf")) == {"a": 1, "b": 2, "c": 3}
        assert _values(_load(store, "other")) == {"a": 9}

    def test_e66_what_without_took_out_is_gone_and_may_come_back(self, store: StateStore) -> None:
        state = _state(a=Ok(1), b=Ok(2))
        store.blocking.save("wf", state)
        loaded = _load(store, "wf")
        store.blocking.save("wf", loaded.without("a"))
        assert _values(_load(store, "wf")) == {"b": 2}
        store.blocking.save("wf", loaded.without("a").with_value("a", 3))
        assert _values(_load(store, "wf")) == {"b": 2, "a": 3}

    def test_e66_replace_stores_exactly_this_state(self, store: StateStore) -> None:
        store.blocking.save("wf", _state(a=Ok(1), b=Ok(2)))
        store.blocking.save("wf", _state(c=Ok(3)), replace=True)
        assert _values(_load(store, "wf")) == {"c": 3}
        store.blocking.save("wf", _state(d=Ok(4)))
        assert _values(_load(store, "wf")) == {"c": 3, "d": 4}

    def test_e67_delete_forgets_and_forgives(self, store: StateStore) -> None:
        store.blocking.save("wf", _state(a=Ok(1)))
        store.blocking.save("wf-2", _state(a=Ok(2)))

        async def delete_twice() -> tuple[bool, bool, ResumeState | None]:
            return await store.delete("wf"), await store.delete("wf"), await store.load("wf")

        assert asyncio.run(delete_twice()) == (True, False, None)
        assert _values(_load(store, "wf-2")) == {"a": 2}

    def test_e67_saving_again_after_somebody_deleted_it_saves_all_of_it(
        self, store: StateStore, open_store: Callable[..., StateStore]
    ) -> None:
        state = _state(a=Ok(1), b=Ok(2))
        store.blocking.save("wf", state)
        other = open_store()
        other.blocking.delete("wf")
        store.blocking.save("wf", state.with_value("c", 3))
        assert _values(_load(other, "wf")) == {"a": 1, "b": 2, "c": 3}
        other.blocking.close()

    def test_e68_list_tells_the_newest_first(self, store: StateStore) -> None:
        for name in ("wf-1", "wf-2", "other", "wf-3"):
            store.blocking.save(name, _state(a=Ok(name)))
        store.blocking.save("wf-1", _state(b=Ok(1)))

        async def ids(*args: Any, **kwargs: Any) -> list[str]:
            return [found.id for found in await store.list(*args, **kwargs)]

        assert asyncio.run(ids()) == ["wf-1", "wf-3", "other", "wf-2"]
        assert asyncio.run(ids("wf-")) == ["wf-1", "wf-3", "wf-2"]
        assert asyncio.run(ids("wf-", limit=2)) == ["wf-1", "wf-3"]
        assert asyncio.run(ids("%")) == []
        with pytest.raises(InvalidOptionError):
            asyncio.run(ids(limit=0))

    def test_e68_list_ends_at_a_hundred_unless_asked(self, store: StateStore) -> None:
        for number in range(103):
            store.blocking.save(f"wf-{number}", ResumeState())
        assert [found.id for found in store.blocking.list()] == [f"wf-{number}" for number in range(102, 2, -1)]
        assert len(store.blocking.list(limit=None)) == 103  # noqa: PLR2004 - as many as were saved

    def test_e69_times_are_in_utc_and_tell_saves_of_one_second_apart(self, store: StateStore) -> None:
        for number in range(5):
            store.blocking.save(f"wf-{number}", ResumeState())
        found = store.blocking.list()
        assert [saved.id for saved in found] == ["wf-4", "wf-3", "wf-2", "wf-1", "wf-0"]
        times = [saved.updated_at for saved in found]
        assert times == sorted(times, reverse=True)
        assert all(at.utcoffset() == timedelta(0) and datetime.fromisoformat(at.isoformat()) == at for at in times)

    def test_e69_saving_the_same_again_makes_it_the_newest(self, store: StateStore) -> None:
        state = _state(a=Ok(1))
        store.blocking.save("wf-1", state)
        store.blocking.save("wf-2", state)
        now = store.records.now()
        while store.records.now() <= now + timedelta(milliseconds=2):
            pass  # some servers keep milliseconds only
        store.blocking.save("wf-1", state)
        assert [found.id for found in store.blocking.list()] == ["wf-1", "wf-2"]
        assert _load(store, "wf-1") == state

    def test_e71_closing_is_harmless_twice(self, open_store: Callable[..., StateStore]) -> None:
        store = open_store()

        async def use_and_close() -> None:
            async with store:
                await store.save("wf", _state(a=Ok(1)))
            await store.close()
            await store.close()

        asyncio.run(use_and_close())
        again = open_store()
        assert _values(_load(again, "wf")) == {"a": 1}
        again.blocking.close()

    def test_e72_an_unreadable_record_is_told_and_left(self, store: StateStore) -> None:
        store.blocking.save("wf-torn", _state(a=Ok(1)))
        (record,) = store.records.scan("\x1estate")
        store.records.swap(record.name, record.head, [b'{"schema_version":1,"steps":[{"key"'])
        for _ in range(2):
            with pytest.raises(StoreError, match="wf-torn"):
                store.blocking.load("wf-torn")
        found = store.records.read(record.name)
        assert found is not None
        assert bytes(found.body or b"").endswith(b'{"key"')

    def test_d58_a_state_of_a_newer_version_is_refused(self, store: StateStore) -> None:
        store.blocking.save("wf", _state(a=Ok(1)))
        (record,) = store.records.scan("\x1estate")
        store.records.swap(record.name, record.head, [b'{"schema_version":99,"steps":[]}'])
        with pytest.raises(StateVersionError, match=r"wf.*99"):
            store.blocking.load("wf")

    def test_d63_unknown_fields_are_kept(self, store: StateStore) -> None:
        data = _state(a=Ok(1)).to_dict()
        data["note"] = {"from": "tomorrow"}
        data["steps"][0]["cost"] = 3
        store.blocking.save("wf", ResumeState.from_dict(data))
        loaded = _load(store, "wf")
        store.blocking.save("wf", loaded.with_value("b", 2))
        again = _load(store, "wf").to_dict()
        assert again["note"] == {"from": "tomorrow"}
        assert again["steps"][0]["cost"] == 3  # noqa: PLR2004 - as above

    def test_e73_a_save_that_dies_in_the_middle_leaves_the_old_state(self, store: StateStore) -> None:
        state = _state(a=Ok(1))
        store.blocking.save("wf", state)
        records = store.records
        written: list[str] = []

        def dying(name: str, *args: Any, **kwargs: Any) -> Any:
            if len(written) == 1:
                raise KeyboardInterrupt
            written.append(name)
            return type(records).swap(records, name, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "swap", dying)
            with pytest.raises(KeyboardInterrupt):
                store.blocking.save("wf", state.with_value("large", "x" * 9_000_000))
        assert _load(store, "wf") == state
        assert len(written) == 1

    def test_e74_two_handles_lose_no_finished_step(
        self, store: StateStore, open_store: Callable[..., StateStore]
    ) -> None:
        other = open_store()
        store.blocking.save("wf", _state(a=Ok(1)))
        mine, theirs = _load(store, "wf"), _load(other, "wf")
        store.blocking.save("wf", mine.with_value("b", 2))
        other.blocking.save("wf", theirs.with_value("c", 3))
        store.blocking.save("wf", mine.with_value("b", 2).with_value("d", 4))
        assert _values(_load(store, "wf")) == {"a": 1, "b": 2, "c": 3, "d": 4}
        other.blocking.close()

    def test_e74_an_outcome_that_was_loaded_does_not_overwrite_a_later_one(
        self, store: StateStore, open_store: Callable[..., StateStore]
    ) -> None:
        other = open_store()
        store.blocking.save("wf", ResumeState({"pay": StepEntry(Err("DECLINED"), "pay", _AT)}))
        stale = _load(other, "wf")
        store.blocking.save("wf", _load(store, "wf").with_value("pay", "paid"))
        third = open_store()
        third.blocking.save("wf", stale.with_value("mail", "sent"))
        assert _values(_load(store, "wf")) == {"pay": "paid", "mail": "sent"}
        other.blocking.close()
        third.blocking.close()

    def test_e74_threads_that_save_at_once_lose_nothing(
        self, store: StateStore, open_store: Callable[..., StateStore]
    ) -> None:
        failures: list[BaseException] = []

        def write(who: int) -> None:
            handle = store if who % 2 else open_store()
            try:
                state = ResumeState()
                for step in range(5):
                    state = state.with_value(f"{who}:{step}", step)
                    handle.blocking.save("wf", state)
            except Exception as exc:  # noqa: BLE001 - the adapter under test may raise anything; told below
                failures.append(exc)
            finally:
                if handle is not store:
                    handle.blocking.close()

        threads = [threading.Thread(target=write, args=(who,)) for who in range(_WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(_load(store, "wf").steps) == sorted(f"{w}:{s}" for w in range(_WRITERS) for s in range(5))

    def test_e75_prefixes_do_not_see_each_other(self, open_store: Callable[..., StateStore]) -> None:
        mine, theirs = open_store(prefix="mine:"), open_store(prefix="theirs:")
        mine.blocking.save("wf", _state(a=Ok(1)))
        assert theirs.blocking.load("wf") is None
        assert theirs.blocking.list() == []
        assert [found.id for found in mine.blocking.list()] == ["wf"]
        assert [found.id for found in mine.blocking.list("w")] == ["wf"]
        assert mine.blocking.acquire("wf", 30) is not None
        assert theirs.blocking.acquire("wf", 30) is not None
        assert theirs.blocking.delete("wf") is False
        assert _values(_load(mine, "wf")) == {"a": 1}
        mine.blocking.close()
        theirs.blocking.close()

    def test_e76_one_holds_a_lease(self, store: StateStore, open_store: Callable[..., StateStore]) -> None:
        other = open_store()

        async def acquire_twice() -> None:
            lease = await store.acquire("wf", ttl=30, owner="me")
            assert lease is not None
            assert await other.acquire("wf", ttl=30) is None
            held = await other.holder("wf")
            assert held is not None
            assert (held.owner, held.token) == ("me", "")
            assert await other.release("wf", "wrong token") is False
            assert await other.renew("wf", "wrong token", ttl=30) is False
            assert await other.acquire("wf", ttl=30) is None
            assert await other.acquire("another", ttl=30) is not None
            assert await store.renew("wf", lease, ttl="1h") is True
            assert await store.release("wf", lease.token) is True
            assert await store.holder("wf") is None
            assert await other.acquire("wf", ttl=30) is not None
            assert await store.release("wf", lease) is False
            assert await store.renew("wf", lease, ttl=30) is False

        asyncio.run(acquire_twice())
        other.blocking.close()

    def test_e76_a_lease_runs_out_by_the_stores_clock(self, store: StateStore) -> None:
        begun = store.records.now()
        assert store.blocking.acquire("another", 30) is not None
        # Long enough for this store, on this machine, to be asked a few times before it has run out.
        ttl = max(timedelta(seconds=0.2), 8 * (store.records.now() - begun))
        first = store.blocking.acquire("wf", ttl)
        assert first is not None
        assert store.blocking.acquire("wf", 30) is None
        assert first.expires_at - first.since == ttl
        while store.records.now() <= first.expires_at:
            pass
        second = store.blocking.acquire("wf", 30)
        assert second is not None
        assert store.blocking.renew("wf", first, 30) is False
        assert store.blocking.release("wf", first) is False
        assert store.blocking.acquire("wf", 30) is None
        assert store.blocking.renew("wf", second, 30) is True

    @pytest.mark.parametrize("stopped", ["in a step", "between steps"])
    def test_e76_a_run_that_was_stopped_for_longer_than_its_lease_ends(
        self, store: StateStore, open_store: Callable[..., StateStore], stopped: str
    ) -> None:
        """The holder is stopped, another takes over and ends, the holder wakes: nothing of it starts, nothing lands."""
        # Long enough for this store, on this machine, to be asked a few times before it has run out.
        begun = store.records.now()
        store.blocking.holder("warm-up")
        ttl = max(timedelta(seconds=0.2), 8 * (store.records.now() - begun))
        other = open_store(lease_ttl=60.0)
        for round_ in range(_STOPS):
            _stopped_run(store.records, other, f"wf-{round_}", ttl, in_step=stopped == "in a step")
        other.blocking.close()

    def test_e76_of_many_one_gets_the_lease(self, open_store: Callable[..., StateStore]) -> None:
        handles = [open_store() for _ in range(_WRITERS)]
        for _ in range(3):
            got: list[Any] = []
            barrier = threading.Barrier(_WRITERS)

            def acquire(handle: StateStore, got: list[Any] = got, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                got.append(handle.blocking.acquire("wf", 30))

            threads = [threading.Thread(target=acquire, args=(handle,)) for handle in handles]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            held = [lease for lease in got if lease is not None]
            assert len(held) <= 1
            assert len(got) == _WRITERS
            lease = held[0] if held else handles[0].blocking.acquire("wf", 30)
            assert lease is not None
            assert handles[0].blocking.release("wf", lease) is True
        for handle in handles:
            handle.blocking.close()

    @pytest.mark.parametrize("bad", ["", "a\x00b", "a\x1fb", "a\nb", "\ud800", "x" * 501])
    def test_e77_an_id_that_some_database_cannot_hold_is_refused(self, store: StateStore, bad: str) -> None:
        with pytest.raises((MisuseError, InvalidOptionError)):
            store.blocking.save(bad, ResumeState())
        with pytest.raises((MisuseError, InvalidOptionError)):
            store.blocking.acquire(bad, 30)
        assert store.blocking.list() == []

    @pytest.mark.parametrize("key", ["\x00", "\ud800", "\x1f=", "Käse 🧀", "x" * 5000, "__proto__", "10"])
    def test_e77_any_key_survives(self, store: StateStore, key: str) -> None:
        store.blocking.save("wf", ResumeState().with_value("9", 1).with_value(key, "stored"))
        loaded = _load(store, "wf")
        assert list(loaded.steps) == ["9", key]
        assert loaded.steps[key].result == Ok("stored")

    def test_e79_a_state_over_the_limit_is_refused_before_the_write(
        self, open_store: Callable[..., StateStore]
    ) -> None:
        store = open_store(size_limit="100 KB")
        state = ResumeState().with_value("a", "x" * 60_000)
        store.blocking.save("wf", state)
        with pytest.raises(StateTooLargeError, match="wf"):
            store.blocking.save("wf", state.with_value("b", "x" * 60_000))
        assert _load(store, "wf") == state
        for number in range(5):
            store.blocking.save("wf", state.with_value("a", f"{number}" * 60_000))
        store.blocking.close()

    def test_d56_a_large_value_lies_beside_its_segment(self, store: StateStore) -> None:
        value = [f"{number:07}" for number in range(700_000)]
        state = _state(small=Ok(1), large=Ok(value))
        store.blocking.save("wf", state)
        sizes = [len(record.body or b"") for record in store.records.scan("\x1estate", bodies=True)]
        assert max(sizes) <= 4_000_000 < sum(sizes)  # noqa: PLR2004 - the largest part
        assert _load(store, "wf") == state
        store.blocking.save("wf", state.without("small"), replace=True)
        assert list(_load(store, "wf").steps) == ["large"]

    def test_d56_many_large_values_come_back(self, store: StateStore) -> None:
        state = _state(**{f"large {number}": Ok(bytes(3_000_000)) for number in range(4)})
        store.blocking.save("wf", state)
        assert _load(store, "wf") == state

    def test_d56_a_large_value_that_is_missing_counts_as_not_finished(self, store: StateStore) -> None:
        store.blocking.save("wf", _state(small=Ok(1), large=Ok("x" * 2_000_000)))
        (part,) = [record.name for record in store.records.scan("\x1estate") if "\x1f=" in record.name]
        store.records.delete([part])
        with pytest.warns(DamagedEntryWarning, match="large"):
            assert list(_load(store, "wf").steps) == ["small"]

    def test_only_states_are_saved(self, store: StateStore) -> None:
        for wrong in (None, 3, "text", [1]):
            with pytest.raises(StateError):
                store.blocking.save("wf", wrong)  # type: ignore[arg-type]
        with pytest.raises(StateError, match="key-of-it"):
            store.blocking.save("wf", _state(**{"key-of-it": Ok(threading.Lock())}))
        assert store.blocking.load("wf") is None

    def test_e117_several_workflows_resume_independently(self, store: StateStore) -> None:
        states = {f"wf-{number}": _state(a=Ok(number), b=Ok("b")) for number in range(4)}
        for name, state in states.items():
            store.blocking.save(name, state)
        assert {name: _load(store, name) for name in states} == states

    def test_saving_one_more_step_writes_one_step(self, store: StateStore) -> None:
        state = ResumeState()
        for number in range(20):
            state = state.with_value(f"step-{number}", "x" * 1000)
            store.blocking.save("wf", state)
        sizes = [len(record.body or b"") for record in store.records.scan("\x1estate", bodies=True)]
        assert len(sizes) == 20  # noqa: PLR2004 - one each
        assert max(sizes) < 1500  # noqa: PLR2004 - one step and its frame

    def test_one_store_serves_several_loops_and_plain_code(self, store: StateStore) -> None:
        async def save(name: str) -> None:
            await asyncio.gather(*(store.save(f"{name}-{number}", ResumeState()) for number in range(3)))

        asyncio.run(save("first loop"))
        asyncio.run(save("second loop"))
        store.blocking.save("plain", ResumeState())
        assert len(store.blocking.list()) == 7  # noqa: PLR2004 - three, three and one

    def test_what_is_stored_is_json(self, store: StateStore) -> None:
        store.blocking.save("wf", _state(a=Ok((1, 2)), b=Err("E", ValueError("x"))))
        (record,) = store.records.scan("\x1estate", bodies=True)
        assert [step["key"] for step in json.loads(bytes(record.body or b""))["steps"]] == ["a", "b"]


class _Stoppable:
    """The records of a store, as a process sees them that is stopped while `awake` is not set."""

    def __init__(self, records: Store) -> None:
        self._records = records
        self.awake = threading.Event()
        self.awake.set()

    def __getattr__(self, name: str) -> Any:  # Any: whatever the store has
        found = getattr(self._records, name)

        def ask(*args: Any, **kwargs: Any) -> Any:
            self.awake.wait()
            return found(*args, **kwargs)

        return ask if callable(found) else found


def _stopped_run(records: Store, other: StateStore, id: str, ttl: timedelta, *, in_step: bool) -> None:  # noqa: A002
    process = _Stoppable(records)
    store = StateStore(cast("Store", process), lease_ttl=ttl)
    started: list[str] = []
    asleep = threading.Event()
    results: list[Result[Any, Any]] = []

    def stop() -> None:
        process.awake.clear()
        asleep.set()
        process.awake.wait()

    def pay(who: str) -> str:
        started.append(f"{who} pays")
        if who == "first" and in_step:
            stop()
        return who

    def first(ctx: Any) -> str:
        ctx.step("fetch", started.append, "first fetches", key="fetch")
        if not in_step:
            stop()
        ctx.step("pay", pay, "first", key="pay")
        return str(ctx.step("mail", started.append, "first mails", key="mail"))

    def second(ctx: Any) -> None:
        ctx.step("fetch", started.append, "second fetches", key="fetch")
        ctx.step("pay", pay, "second", key="pay")
        ctx.step("mail", started.append, "second mails", key="mail")

    workflow = create_workflow("stopped", cache=None)
    thread = threading.Thread(target=lambda: results.append(workflow.run_sync(first, store=store, id=id)))
    thread.start()
    try:
        asleep.wait()
        taken = workflow.run_sync(second, store=other, id=id)
        while isinstance(taken, Err) and isinstance(taken.error, LeaseHeldError):
            taken = workflow.run_sync(second, store=other, id=id)  # the store's clock decides, and no test turns it
    finally:
        process.awake.set()
        thread.join()
    assert taken.ok, taken
    (result,) = results
    assert not result.ok
    assert isinstance(result.error, LeaseHeldError), result
    expected = ["first fetches", "first pays"] if in_step else ["first fetches"]
    assert started == [*expected, "second pays", "second mails"]
    assert _values(_load(other, id)) == {"fetch": None, "pay": "second", "mail": None}
    assert other.blocking.holder(id) is None


def _state(**results: Any) -> ResumeState:
    return ResumeState({key: StepEntry(result, f"id of {key}", _AT, 0.5) for key, result in results.items()})


def _load(store: StateStore, id: str) -> ResumeState:  # noqa: A002 - the API's name
    state = store.blocking.load(id)
    assert state is not None
    return state


def _values(state: ResumeState) -> dict[str, Any]:
    return {key: entry.result.unwrap_or("failed") for key, entry in state.steps.items()}
