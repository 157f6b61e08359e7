"""The contract of a `Store` as tests: what every adapter has to do, for ours and for yours.

    from awaitly_nb.testing.stores import StoreSuite

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def open_store(self, tmp_path):
            return lambda: MyStore(tmp_path / "records")

`open_store` returns a new handle on the same empty place each time it is called. No test is to be overridden. A gap
that is known is declared, with its reason, in `gaps`, and then has to show itself.
"""

# ruff: noqa: D102 - the name of a test says what it shows

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from awaitly_nb.errors import StoreError
from awaitly_nb.stores import ABSENT, ANY
from awaitly_nb.testing.gaps import Gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from awaitly_nb.stores import Expect, Store, Version

__all__ = ["StoreSuite"]

_ROUNDS = 10
_RIVALS = 8
_EVERY_BYTE = bytes(range(256))


class StoreSuite(Gaps):
    """Every promise of `awaitly_nb.stores.Store`."""

    @pytest.fixture
    def store(self, open_store: Callable[[], Store]) -> Iterator[Store]:
        """Return a handle on an empty place."""
        store = open_store()
        yield store
        store.close()

    def test_reading_what_is_not_there_returns_none(self, store: Store) -> None:
        assert store.read("nobody") is None
        assert list(store.scan()) == []
        assert store.delete(["nobody"]) == 0

    def test_a_record_comes_back_as_it_was_written(self, store: Store) -> None:
        version = store.swap("name", '{"a": "ä"}', [_EVERY_BYTE, bytearray(b"more"), memoryview(b"still")])
        record = store.read("name")
        assert record is not None
        assert (record.name, record.head, record.version) == ("name", '{"a": "ä"}', version)
        assert bytes(record.body or b"") == _EVERY_BYTE + b"morestill"

    def test_a_record_may_be_empty(self, store: Store) -> None:
        store.swap("name", "", [])
        record = store.read("name")
        assert record is not None
        assert (record.head, bytes(record.body or b"")) == ("", b"")

    def test_a_large_body_comes_back(self, store: Store) -> None:
        body = _EVERY_BYTE * 16_000
        store.swap("name", "{}", [body])
        record = store.read("name")
        assert record is not None
        assert bytes(record.body or b"") == body

    @pytest.mark.parametrize(
        "name", ["a b", "50%", "a_c", "[a-z]*", "'; DROP TABLE awaitly; --", "Käse 🧀", "\x00\x1f\n", "x" * 1000, "."]
    )
    def test_any_name_is_a_name(self, store: Store, name: str) -> None:
        store.swap(name, "{}", [b"x"])
        record = store.read(name)
        assert record is not None
        assert record.name == name
        assert [found.name for found in store.scan(name)] == [name]
        assert store.delete([name]) == 1
        assert store.read(name) is None

    def test_a_name_that_utf8_cannot_hold_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError):
            store.swap("\ud800", "{}", [])

    def test_every_write_has_a_new_version(self, store: Store) -> None:
        versions = {store.swap("name", "{}", [b"same"]) for _ in range(5)}
        assert len(versions) == 5  # noqa: PLR2004 - as many as were written
        assert None not in versions

    def test_any_writes_whatever_is_there(self, store: Store) -> None:
        store.swap("name", "1", [b"one"], expect=ANY)
        store.swap("name", "2", [b"two"], expect=ANY)
        record = store.read("name")
        assert record is not None
        assert (record.head, bytes(record.body or b"")) == ("2", b"two")

    def test_absent_writes_only_where_nothing_is(self, store: Store) -> None:
        first = store.swap("name", "1", [b"one"], expect=ABSENT)
        assert first is not None
        assert store.swap("name", "2", [b"two"], expect=ABSENT) is None
        record = store.read("name")
        assert record is not None
        assert (record.head, record.version) == ("1", first)
        store.delete(["name"])
        assert store.swap("name", "3", [], expect=ABSENT) is not None

    def test_a_version_writes_only_over_that_version(self, store: Store) -> None:
        first = store.swap("name", "1", [b"one"])
        assert first is not None
        second = store.swap("name", "2", [b"two"], expect=first)
        assert second is not None
        assert store.swap("name", "3", [b"three"], expect=first) is None
        assert store.swap("absent", "3", [b"three"], expect=first) is None
        record = store.read("name")
        assert record is not None
        assert (record.head, bytes(record.body or b""), record.version) == ("2", b"two", second)
        assert store.read("absent") is None

    def test_scan_keeps_the_order_of_the_first_writing(self, store: Store) -> None:
        names = ["b", "a", "c", "10", "9"]
        for name in names:
            store.swap(name, "{}", [])
        store.swap("b", "again", [b"later"])
        assert [record.name for record in store.scan()] == names
        store.delete(["b"])
        store.swap("b", "new", [])
        assert [record.name for record in store.scan()] == ["a", "c", "10", "9", "b"]

    def test_scan_takes_its_prefix_literally(self, store: Store) -> None:
        names = ["a%", "a%b", "ab", "a_b", "aXb", "A%", "a*", "a[b]", "aé", "á", "a\U0010fffdz"]
        for name in names:
            store.swap(name, "{}", [])
        for prefix in ("", "a", "a%", "a_", "a*", "a[", "A", "aé", "a\U0010fffd", "zzz"):
            assert [r.name for r in store.scan(prefix)] == [name for name in names if name.startswith(prefix)]

    def test_scan_reads_bodies_only_when_asked(self, store: Store) -> None:
        store.swap("name", "head", [b"body"])
        (without,) = store.scan()
        (with_body,) = store.scan(bodies=True)
        assert (without.head, without.body) == ("head", None)
        assert bytes(with_body.body or b"") == b"body"
        assert (without.version, without.written_at) == (with_body.version, with_body.written_at)

    def test_delete_counts_what_was_there(self, store: Store) -> None:
        for number in range(1200):
            if number % 400 == 0:
                store.swap(f"n{number}", "{}", [])
        assert store.delete(f"n{number}" for number in range(1200)) == 3  # noqa: PLR2004 - 0, 400 and 800
        assert store.delete([]) == 0

    def test_times_are_the_stores_own_and_in_utc(self, store: Store) -> None:
        before = store.now()
        store.swap("name", "{}", [])
        after = store.now()
        record = store.read("name")
        assert record is not None
        # Some servers keep milliseconds only, so that a record may seem to be written a little before.
        assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= record.written_at <= after
        assert str(before.tzinfo) == str(after.tzinfo) == str(record.written_at.tzinfo) == "UTC"

    def test_handles_see_each_other(self, open_store: Callable[[], Store]) -> None:
        one, other = open_store(), open_store()
        try:
            version = one.swap("name", "1", [])
            assert version is not None
            assert other.swap("name", "2", [], expect=version) is not None
            assert one.swap("name", "3", [], expect=version) is None
        finally:
            one.close()
            other.close()

    def test_closing_is_harmless_twice_and_loses_nothing(self, open_store: Callable[[], Store]) -> None:
        store = open_store()
        store.swap("name", "1", [])
        store.close()
        store.close()
        again = open_store()
        assert again.read("name") is not None
        again.close()

    def test_of_many_that_write_where_nothing_is_one_wins(self, store: Store) -> None:
        for number in range(_ROUNDS):
            wins = _race(partial(_write, store, f"n{number}", ABSENT))
            record = store.read(f"n{number}")
            assert record is not None
            assert wins == [int(record.head)]

    def test_of_many_that_write_over_one_version_one_wins(self, store: Store) -> None:
        for number in range(_ROUNDS):
            version = store.swap(f"n{number}", "first", [])
            assert version is not None
            wins = _race(partial(_write, store, f"n{number}", version))
            record = store.read(f"n{number}")
            assert record is not None
            assert wins == [int(record.head)]


def _write(store: Store, name: str, expect: Expect, who: int) -> Version | None:
    return store.swap(name, str(who), [], expect=expect)


def _race(swap: Callable[[int], str | None]) -> list[int]:
    """Return which of several threads that call `swap` at one moment were told that they wrote."""
    wins, failures = [], []
    barrier = threading.Barrier(_RIVALS)

    def run(who: int) -> None:
        barrier.wait()
        try:
            if swap(who) is not None:
                wins.append(who)
        except Exception as exc:  # noqa: BLE001 - the adapter under test may raise anything; told below
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(who,)) for who in range(_RIVALS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return wins
