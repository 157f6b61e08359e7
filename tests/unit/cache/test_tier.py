"""The in-memory tier: bounded, counted, and never older than the database."""

from __future__ import annotations

import subprocess
import sys

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders, open_folder
from awaitly_nb.cache.sealed import hold
from awaitly_nb.cache.tier import Tier
from awaitly_nb.result import Ok, mark_of


def sealed(size):
    return hold(Ok(b"x" * size), now=0.0, ttl_s=None)[0]


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


@pytest.fixture
def tier(folder):
    return Tier(open_folder(folder), max_bytes=10_000)


def test_it_is_bounded_by_bytes_and_what_was_not_served_goes_first(tier):
    for i in range(4):
        tier.add(f"k{i}", sealed(1000), writes=0)
    tier.entries["k0"].hits = 3
    for i in range(4, 9):
        tier.add(f"k{i}", sealed(1000), writes=0)
    assert "k0" in tier.entries
    assert "k1" not in tier.entries
    assert tier.take_hits() == {"k0": 3}
    assert tier.take_hits() == {}


def test_large_entries_are_not_cached_in_memory(tier):
    tier.add("k", sealed(2 << 20), writes=0)
    assert not tier.entries


def test_a_reader_that_was_overtaken_by_a_writer_puts_nothing_back(tier):
    seen = tier.writes
    mine = tier.drop("k")
    tier.add("k", sealed(1), writes=seen)
    assert not tier.entries
    tier.replace("k", sealed(2), writes=mine)
    assert "k" in tier.entries
    tier.add("k", sealed(1), writes=mine)
    assert tier.entries["k"].size_bytes == sealed(2).size_bytes


def test_of_two_writers_nobody_knows_who_was_last(tier):
    first, second = tier.drop("k"), tier.drop("k")
    tier.replace("k", sealed(2), writes=second)
    tier.replace("k", sealed(1), writes=first)
    assert not tier.entries


def test_marks_are_shared_and_values_are_not(folder):
    cache = caches.create_disk_cache(folder)
    cache.set("k", Ok([1]))
    one, other = cache.get("k"), cache.get("k")
    assert one.value is not other.value
    assert mark_of(one) is mark_of(other)


def test_another_process_is_seen_at_once(folder):
    cache = caches.create_disk_cache(folder)
    script = (
        "import sys; from awaitly_nb import cache as caches; from awaitly_nb.result import Ok; "
        "c = caches.create_disk_cache(sys.argv[1]); {}"
    )
    cache.set("k", Ok("mine"))
    cache.set("other", Ok("mine"))
    assert cache.get("k").value == "mine"
    subprocess.run([sys.executable, "-c", script.format("c.set('k', Ok('theirs'))"), folder], check=True)
    assert cache.get("k").value == "theirs"
    assert cache.get("other").value == "mine"
    subprocess.run([sys.executable, "-c", script.format("c.delete('k')"), folder], check=True)
    assert cache.get("k") is None


def test_hits_are_counted_in_batches_and_survive_a_restart(folder):
    cache = caches.create_disk_cache(folder)
    cache.set("k", Ok(1))
    for _ in range(5):
        cache.get("k")
    assert cache.entries()[0].hits == 5
    cache.get("k")
    forget_folders()
    assert caches.create_disk_cache(folder).entries()[0].hits == 6


def test_a_hit_writes_nothing(folder):
    cache = caches.create_disk_cache(folder)
    cache.set("k", Ok(1))
    before = (folder / "cache.db-wal").read_bytes()
    for _ in range(100):
        cache.get("k")
    assert (folder / "cache.db-wal").read_bytes() == before


def test_a_first_hit_loads_no_heavy_package(folder):
    caches.create_disk_cache(folder).set("k", Ok({"n": 1}))
    forget_folders()
    script = (
        "import sys; import awaitly_nb as aw; assert aw.create_disk_cache(sys.argv[1]).get('k').value; "
        "heavy = {'numpy', 'pandas', 'pyarrow', 'diskcache', 'cloudpickle', 'xxhash', 'asyncio', 'IPython'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_hits_of_what_is_too_large_for_the_tier_are_counted_too(tmp_path):
    cache = caches.create_disk_cache(tmp_path)
    for key, value in (("large", bytes(3_000_000)), ("small", 1)):
        cache.set(key, Ok(value))
        for _ in range(3):
            assert cache.get(key) == Ok(value)
    assert {entry.key: entry.hits for entry in cache.entries()} == {"large": 3, "small": 3}


def test_what_another_process_keeps_replacing_is_served_as_it_is_now(tmp_path):
    ours = caches.create_disk_cache(tmp_path)
    for number in range(6):
        write = f"import awaitly_nb as aw; aw.create_disk_cache({str(tmp_path)!r}).set('k', aw.Ok({number}))"
        subprocess.run([sys.executable, "-c", write], check=True)
        for _ in range(number):
            assert ours.get("k") == Ok(number)


def filled(folder, count=40):
    cache = caches.create_disk_cache(folder)
    for number in range(count):
        cache.set(f"k{number}", Ok(number))
    forget_folders()
    return caches.create_disk_cache(folder)


def looked_up(cache, monkeypatch, keys):
    """Return the values under `keys`, and how many of them were read by a statement of their own."""
    store, asked = cache.store.store.store, []
    monkeypatch.setattr(store, "fetch", lambda name: asked.append(name) or type(store).fetch(store, name))
    return [cache.get(key).value for key in keys], len(asked)


def test_what_is_asked_for_in_the_order_of_its_writing_is_read_ahead(folder, monkeypatch):
    values, asked = looked_up(filled(folder), monkeypatch, [f"k{number}" for number in range(40)])
    assert values == list(range(40))
    assert asked < 10


def test_what_is_asked_for_in_another_order_is_not(folder, monkeypatch):
    order = [number * 7 % 40 for number in range(40)]
    values, asked = looked_up(filled(folder), monkeypatch, [f"k{number}" for number in order])
    assert values == order
    assert asked == 40


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_was_read_ahead_is_not_served_once_somebody_has_written(folder, elsewhere):
    cache = filled(folder)
    for number in range(10):
        cache.get(f"k{number}")
    assert cache.store._ahead[1]  # else this test would prove nothing
    write = "c.set('k12', aw.Ok('new')); c.delete('k13')"
    if elsewhere:
        script = f"import sys; import awaitly_nb as aw; c = aw.create_disk_cache(sys.argv[1]); {write}"
        subprocess.run([sys.executable, "-c", script, folder], check=True)
    else:
        exec(write, {"c": cache, "aw": aw})
    assert [cache.get(f"k{number}") for number in (11, 12, 13, 14)] == [Ok(11), Ok("new"), None, Ok(14)]
