"""A damaged, lost or replaced database, lost files, a clock set back: the work goes on, with one clear warning."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import warnings

import diskcache
import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.errors import CacheUnusableWarning, DamagedEntryWarning
from awaitly_nb.result import Ok
from awaitly_nb.testing import FakeClock
from tests.faults.invariants import assert_sound

BIG = "x" * 100_000


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


@pytest.fixture
def filled(folder):
    """A folder with forty small and four large entries, closed."""
    cache = caches.create_disk_cache(folder)
    for i in range(40):
        cache.set(f"small {i}", Ok({"n": i, "pad": "y" * 2000}))
    for i in range(4):
        cache.set(f"big {i}", Ok((i, BIG)))
    forget_folders()
    return folder


def zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def page_overwritten(path):
    data = bytearray(path.read_bytes())
    data[4096 * 7 : 4096 * 8] = os.urandom(4096)
    path.write_bytes(data)


def first_page_overwritten(path):
    data = bytearray(path.read_bytes())
    data[100:4096] = os.urandom(3996)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [zeroed, truncated, emptied, garbage, page_overwritten, first_page_overwritten], ids=lambda f: f.__name__
)
def test_a_damaged_database_is_set_aside_and_rebuilt(filled, damage):
    damage(filled / "cache.db")
    cache = caches.create_disk_cache(filled)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = {key: cache.get(key) for key in [f"small {i}" for i in range(40)] + [f"big {i}" for i in range(4)]}
        cache.set("new", Ok("new"))
        assert cache.get("new").value == "new"
        cache.keys(), cache.entries()
    for i in range(4):
        assert found[f"big {i}"] is not None, "value files verify by themselves"
        assert found[f"big {i}"].value == (i, BIG)
    for i in range(40):
        assert found[f"small {i}"] is None or found[f"small {i}"].value["n"] == i
    assert {w.category for w in told} <= {CacheUnusableWarning, DamagedEntryWarning}
    assert sum(w.category is CacheUnusableWarning for w in told) <= 1
    if damage is not emptied and any(w.category is CacheUnusableWarning for w in told):
        assert list(filled.glob("cache.db.damaged-*"))
    assert_sound(filled)


def test_most_small_entries_survive_one_lost_page(filled):
    page_overwritten(filled / "cache.db")
    cache = caches.create_disk_cache(filled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = sum(cache.get(f"small {i}") is not None for i in range(40))
    assert kept >= 30


def test_a_living_kernel_notices_the_new_database(filled):
    script = textwrap.dedent(
        """
        import sys, warnings
        from awaitly_nb import cache as caches
        from awaitly_nb.result import Ok
        cache = caches.create_disk_cache(sys.argv[1])
        assert cache.get("big 1").value[0] == 1
        print("ready", flush=True)
        sys.stdin.readline()
        cache.set("from the living", Ok("here"))
        assert cache.get("big 2").value[0] == 2
        print(cache.get("new").value, flush=True)
        """
    )
    living = subprocess.Popen(
        [sys.executable, "-c", script, filled], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert living.stdout.readline() == "ready\n"
    (filled / "cache.db").unlink()
    shutil.copy(sys.executable, filled / "cache.db")  # no database at all
    for suffix in ("-wal", "-shm"):
        (filled / f"cache.db{suffix}").unlink(missing_ok=True)
    cache = caches.create_disk_cache(filled)
    with pytest.warns(CacheUnusableWarning, match="4 entries were rescued"):
        assert cache.get("big 3").value[0] == 3
    cache.set("new", Ok("new"))
    out, _ = living.communicate("go\n")
    assert out == "new\n"
    assert living.returncode == 0
    assert cache.get("from the living").value == "here"


def test_a_deleted_database_is_found_again_in_the_value_files(filled):
    for path in filled.glob("cache.db*"):
        path.unlink()
    cache = caches.create_disk_cache(filled)
    with pytest.warns(CacheUnusableWarning, match="4 entries were found again"):
        assert [cache.get(f"big {i}").value[0] for i in range(4)] == [0, 1, 2, 3]
    assert cache.get("small 1") is None
    assert_sound(filled)


def test_i112_a_folder_deleted_under_a_living_cache_means_misses(filled):
    cache = caches.create_disk_cache(filled)
    assert cache.get("small 1").value["n"] == 1
    assert cache.get("small 1").value["n"] == 1
    shutil.rmtree(filled)
    assert cache.get("small 1") is None
    assert cache.keys() == []
    assert cache.delete("small 2") is False
    shutil.rmtree(filled)
    cache.set("again", Ok(1))
    cache.set("again, large", Ok(BIG))
    assert cache.get("again").value == 1
    assert caches.create_disk_cache(filled).get("again, large").value == BIG
    assert_sound(filled)


def test_a_row_without_file_is_a_miss_and_heals(filled):
    for path in filled.glob("??/*.val"):
        path.unlink()
    cache = caches.create_disk_cache(filled)
    with pytest.warns(DamagedEntryWarning, match="gone"):
        assert cache.lookup("big 1").reason == "damaged"
    for i in range(4):
        cache.set(f"big {i}", Ok((i, BIG)))
    assert cache.get("big 1").value == (1, BIG)
    assert_sound(filled)


def test_a_file_without_row_is_removed_at_the_next_open_if_its_writer_is_dead(filled):
    script = """
import os, sys
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok
cache = caches.create_disk_cache(sys.argv[1])
store = cache.store.store.store
cache.store.store._announce()
print(store.files.write("orphan", "{}", [b"z" * 100_000])[0])
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script, filled], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -9
    assert (filled / done.stdout.strip()).exists()
    caches.create_disk_cache(filled).get("anything")
    assert not (filled / done.stdout.strip()).exists()
    assert_sound(filled)


def test_a_file_that_is_being_written_is_left_alone(filled):
    cache = caches.create_disk_cache(filled)
    cache.set("big 9", Ok(BIG))
    mine, _ = cache.store.store.store.files.write("no row yet", "{}", [b"z" * 100_000])
    script = "import sys; from awaitly_nb import cache as caches; caches.create_disk_cache(sys.argv[1]).get('x')"
    subprocess.run([sys.executable, "-c", script, filled], check=True)
    assert (filled / mine).exists()


def test_a_clock_set_back_serves_what_does_not_expire_and_never_prolongs_a_ttl(folder):
    clock = FakeClock(at=1_000_000)
    cache = caches.create_disk_cache(folder, clock=clock)
    cache.set("for ever", Ok(1))
    cache.set("an hour", Ok(2), ttl="1h")
    clock.advance(-1800)
    assert cache.get("for ever").value == 1
    assert cache.get("an hour").value == 2
    clock.advance(-7200)
    assert cache.get("for ever").value == 1
    assert cache.lookup("an hour").reason == "expired"
    assert cache.keys() == ["for ever"]


def test_an_entry_of_a_newer_version_is_a_miss_that_says_so(filled):
    with contextlib.closing(sqlite3.connect(filled / "cache.db")) as connection, connection:
        connection.execute("UPDATE Cache SET tag = '99' || substr(tag, 2)")
    connection.close()
    cache = caches.create_disk_cache(filled)
    with pytest.warns(DamagedEntryWarning, match="newer awaitly_nb"):
        assert cache.get("small 1") is None


def test_settings_of_another_opener_are_put_right(filled):
    with diskcache.Cache(
        os.fspath(filled), eviction_policy="least-recently-used", cull_limit=10, size_limit=1000
    ) as peer:
        assert peer.cull_limit == 10
    cache = caches.create_disk_cache(filled)
    cache.set("one more", Ok(BIG))
    assert len(cache.keys()) == 45
    forget_folders()
    with diskcache.Cache(os.fspath(filled)) as peer:
        assert (peer.eviction_policy, peer.cull_limit) == ("none", 0)
