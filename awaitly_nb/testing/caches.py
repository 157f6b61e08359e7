"""The contract of a step cache as tests: what every cache has to do, for ours and for yours.

    from awaitly_nb.testing.caches import StepCacheSuite

    class TestMyCache(StepCacheSuite):
        @pytest.fixture
        def open_cache(self, tmp_path):
            return lambda **options: MyCache(tmp_path / "cache", **options)

`open_cache` returns a handle on one place that is empty at first, and takes `clock`. No test is to be overridden. A gap
that is known is declared, with its reason, in `gaps`, and then has to show itself.
"""

# ruff: noqa: D102 - the name of a test says what it shows

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from awaitly_nb.errors import EncodeError, InvalidOptionError, MisuseError
from awaitly_nb.result import Err, Mark, Ok, mark_of, with_mark
from awaitly_nb.testing.clock import FakeClock
from awaitly_nb.testing.gaps import Gaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitly_nb.cache import StepCache

__all__ = ["StepCacheSuite"]

_AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


class StepCacheSuite(Gaps):
    """Every promise of `awaitly_nb.cache.StepCache`."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return a clock to turn by hand."""
        return FakeClock(at=_AT.timestamp())

    @pytest.fixture
    def cache(self, open_cache: Callable[..., StepCache], clock: FakeClock) -> StepCache:
        """Return a handle on an empty place."""
        return open_cache(clock=clock)

    def test_what_is_not_there_is_none(self, cache: StepCache) -> None:
        assert cache.get("k") is None
        assert cache.has("k") is False
        assert cache.delete("k") is False
        assert cache.keys() == []
        assert cache.entries() == []
        cache.clear()

    def test_a_result_comes_back_equal(self, cache: StepCache) -> None:
        cache.set("ok", Ok({"n": (1, None)}))
        cache.set("err", Err("NOT_FOUND", cause=ValueError("no such user")))
        assert cache.get("ok") == Ok({"n": (1, None)})
        assert cache.get("ok") == Ok({"n": (1, None)})
        failure = cache.get("err")
        assert failure == Err("NOT_FOUND")
        assert failure is not None
        assert isinstance(failure.cause, ValueError)
        assert str(failure.cause) == "no such user"

    @pytest.mark.parametrize("value", [None, False, 0, "", [], b""], ids=repr)
    def test_values_that_are_false_are_values(self, cache: StepCache, value: object) -> None:
        cache.set("k", Ok(value))
        assert cache.get("k") == Ok(value)
        assert cache.has("k") is True

    def test_a_later_result_replaces_an_earlier_one(self, cache: StepCache) -> None:
        for result in (Ok(1), Err("E"), Ok("x" * 100_000), Ok(2)):
            cache.set("k", result)
            assert cache.get("k") == result
        assert cache.keys() == ["k"]

    def test_delete_says_whether_there_was_something(self, cache: StepCache) -> None:
        cache.set("k", Ok(1))
        cache.set("other", Ok(2))
        assert cache.delete("k") is True
        assert cache.delete("k") is False
        assert cache.get("k") is None
        assert cache.keys() == ["other"]

    def test_clear_removes_everything(self, cache: StepCache) -> None:
        for i in range(5):
            cache.set(f"k{i}", Ok(i))
        cache.clear()
        assert cache.keys() == []
        assert cache.get("k0") is None

    def test_keys_come_oldest_first(self, cache: StepCache) -> None:
        for key in ("b", "10", "a", "9"):
            cache.set(key, Ok(key))
        assert cache.keys() == ["b", "10", "a", "9"]

    def test_entries_tell_without_decoding(self, cache: StepCache) -> None:
        mark = Mark(step_id="fetch", workflow="report", at=_AT, duration_s=2.5)
        cache.set("user:1", with_mark(Ok([1]), mark), ttl=60)
        cache.set("user:2", with_mark(Err("E"), mark))
        cache.set("post:1", Ok(1))
        first, second = cache.entries("user:*")
        assert (first.key, first.step_id, first.workflow, first.ok, first.duration_s) == (
            "user:1",
            "fetch",
            "report",
            True,
            2.5,
        )
        assert (first.created_at, first.expires_at) == (_AT, _AT + timedelta(seconds=60))
        assert (second.key, second.ok, second.expires_at) == ("user:2", False, None)
        assert [entry.key for entry in cache.entries("*:1")] == ["user:1", "post:1"]
        assert cache.entries("USER:*") == []

    def test_the_frame_has_a_row_for_each_key(self, cache: StepCache) -> None:
        cache.set("a", Ok(1))
        cache.set("b", Err("E"))
        frame = cache.to_frame()
        assert list(frame["key"]) == ["a", "b"]
        assert list(frame["ok"]) == [True, False]

    def test_the_mark_rides_along(self, cache: StepCache) -> None:
        mark = Mark(
            step_id="s",
            workflow="w",
            at=_AT,
            duration_s=0.25,
            code="abc",
            origin="throw",
            parts={"name": "s", "parts": [{"kind": "code", "shown": "def s(): ..."}]},
            files=({"path": "data.csv", "size": 3},),
            traces={"environment": {"MODE": "7f"}},
            made={"vars": {"x": "int 1"}, "unknown": ["f"]},
        )
        cache.set("k", with_mark(Err("E"), mark))
        for _ in range(2):
            found = cache.get("k")
            assert found is not None
            back = mark_of(found)
            assert back is not None
            for name in ("step_id", "workflow", "at", "duration_s", "code", "origin", "ttl_s"):
                assert getattr(back, name) == getattr(mark, name)
            assert dict(back.parts or {}) == mark.parts
            assert list(back.files) == list(mark.files)
            assert dict(back.traces or {}) == mark.traces
            assert dict(back.made or {}) == mark.made

    def test_writing_to_a_value_never_changes_the_cache(self, cache: StepCache) -> None:
        value = {"list": [1]}
        cache.set("k", Ok(value))
        value["list"].append(2)
        for _ in range(3):
            found = cache.get("k")
            assert found == Ok({"list": [1]})
            found.unwrap()["list"].append(3)

    @pytest.mark.parametrize("size", [10, 5_000, 1_500_000], ids=str)
    def test_writing_to_an_array_never_changes_the_cache(self, cache: StepCache, size: int) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.arange(float(size))
        cache.set("k", Ok(array))
        array[0] = 99.0
        for _ in range(3):
            found: Any = cache.get("k")
            assert found.value[0] == 0.0
            assert found.value[-1] == size - 1
            found.value[0] = 98.0

    def test_what_cannot_be_stored_is_refused_and_leaves_what_was_there(self, cache: StepCache) -> None:
        cache.set("k", Ok(1))
        with pytest.raises(EncodeError):
            cache.set("k", Ok({"lock": threading.Lock()}))
        assert cache.get("k") == Ok(1)

    def test_h97_alive_at_exactly_its_ttl_and_gone_after(self, cache: StepCache, clock: FakeClock) -> None:
        cache.set("k", Ok(1), ttl=10)
        clock.advance(10)
        assert cache.get("k") == Ok(1)
        assert cache.has("k") is True
        clock.advance(0.001)
        assert cache.get("k") is None
        assert cache.has("k") is False
        assert cache.keys() == []
        assert cache.entries() == []

    def test_h103_failures_expire_likewise(self, cache: StepCache, clock: FakeClock) -> None:
        cache.set("k", Err("E"), ttl="1m")
        assert cache.get("k") == Err("E")
        clock.advance(61)
        assert cache.get("k") is None

    def test_an_expired_entry_can_be_replaced(self, cache: StepCache, clock: FakeClock) -> None:
        cache.set("k", Ok(1), ttl=timedelta(seconds=1))
        clock.advance(2)
        cache.set("k", Ok(2))
        clock.advance(1000)
        assert cache.get("k") == Ok(2)

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "soon", True], ids=repr)
    def test_a_ttl_that_is_none_is_refused(self, cache: StepCache, ttl: Any) -> None:
        with pytest.raises(InvalidOptionError):
            cache.set("k", Ok(1), ttl=ttl)
        assert cache.get("k") is None

    @pytest.mark.parametrize(
        "key", ["a b", "50%", "[a-z]*", "a\x00b", "Käse 🧀", "'; DROP TABLE Cache; --", "../up", "x" * 500, "\n"]
    )
    def test_any_text_is_a_key(self, cache: StepCache, key: str) -> None:
        cache.set(key, Ok(key))
        assert cache.get(key) == Ok(key)
        assert cache.keys() == [key]
        assert cache.delete(key) is True

    @pytest.mark.parametrize("key", ["", None, 1, b"k", ("k",)], ids=repr)
    def test_what_is_no_text_is_no_key(self, cache: StepCache, key: Any) -> None:
        for use in (cache.get, cache.has, cache.delete):
            with pytest.raises(MisuseError):
                use(key)
        with pytest.raises(MisuseError):
            cache.set(key, Ok(1))

    def test_threads_may_use_it_at_once(self, cache: StepCache) -> None:
        wrong: list[object] = []

        def work(seed: int) -> None:
            choice = random.Random(seed)  # noqa: S311 - no secret
            for i in range(30):
                key = f"k{choice.randrange(4)}"
                cache.set(key, Ok((key, i)))
                found = cache.get(key)
                if found is not None and found.value[0] != key:  # type: ignore[union-attr]
                    wrong.append(found)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert sorted(cache.keys()) == ["k0", "k1", "k2", "k3"]

    def test_another_handle_sees_what_this_one_wrote(
        self, cache: StepCache, open_cache: Callable[..., StepCache], clock: FakeClock
    ) -> None:
        other = open_cache(clock=clock)
        assert other.get("k") is None
        for value in (1, 2):
            cache.set("k", Ok(value))
            assert other.get("k") == Ok(value)
        other.delete("k")
        assert cache.get("k") is None
