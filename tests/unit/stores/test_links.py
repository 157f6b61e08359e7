"""Links in a cache folder, as a cloned repository may bring them: nothing is written to where they lead."""

import contextlib
import sqlite3
import warnings

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import Ok
from awaitly_nb.stores.disk import DiskStore

LARGE = "x" * 100_000


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir(mode=0o700)
    yield tmp_path / "folder"
    forget_folders()


@pytest.fixture
def outside(tmp_path):
    """A folder that nobody gave to the cache, with somebody's text and database in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("my precious text\n")
    with contextlib.closing(sqlite3.connect(outside / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE cookies (x)")
    connection.close()
    return outside


def seen(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("target", ["other.db", "precious", "nothing"])
@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal"])
def test_a_database_behind_a_link_is_not_used_and_that_is_told_once(folder, outside, name, target):
    (folder / name).symlink_to(outside / target)
    before = seen(outside)
    cache = caches.create_disk_cache(folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert [cache.get("k"), cache.get("k"), cache.keys()] == [None, None, []]
        for value in (1, LARGE):
            with pytest.raises(aw.errors.CacheError, match=rf"{name} is a link.*remove it"):
                cache.set("k", Ok(value))
    assert [str(found.message).count(f"{name} is a link") for found in told] == [1]
    assert seen(outside) == before
    assert not list(folder.glob("??"))
    (folder / name).unlink()
    cache.set("k", Ok(LARGE))
    assert cache.get("k") == Ok(LARGE)


def test_a_link_that_takes_the_place_of_the_database_later_is_not_followed_either(folder, outside):
    store = DiskStore(folder)
    store.swap("k", "{}", [b"x"])
    for path in folder.glob("cache.db*"):
        path.unlink()
    (folder / "cache.db").symlink_to(outside / "other.db")
    before = seen(outside)
    with pytest.raises(aw.errors.StoreError, match="is a link"):
        store.swap("k", "{}", [b"x"])
    assert seen(outside) == before
    store.close()


def test_a_queue_behind_a_link_is_nobodys(folder, outside):
    (folder / "cache.db-queue").symlink_to(outside / "new")
    store = DiskStore(folder)
    assert store.swap("k", "{}", [b"x"]) is not None
    assert not (outside / "new").exists()
    store.close()


def test_value_files_go_where_no_link_leads_outside(folder, outside):
    for number in range(256):
        if number != 0xAB:
            (folder / f"{number:02x}").symlink_to(outside, target_is_directory=True)
    before = seen(outside)
    store = DiskStore(folder)
    kept = 0
    for number in range(20):  # each looks for a name a hundred times, which is enough for one in three
        with contextlib.suppress(aw.errors.StoreError):
            store.swap(f"k{number}", "{}", [bytes(50_000)])
            kept += 1
    assert len(list((folder / "ab").glob("*.val"))) == kept == len(store.names())
    (folder / "ab").rename(folder / "moved")
    (folder / "ab").symlink_to(outside, target_is_directory=True)
    with pytest.raises(aw.errors.StoreError, match=r"/[0-9a-f]{2} is a link.*remove it"):
        store.swap("k", "{}", [bytes(50_000)])
    assert seen(outside) == before
    store.close()


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch", target_is_directory=True)
    store = DiskStore(tmp_path / "link")
    store.swap("small", "{}", [b"x"])
    store.swap("large", "{}", [bytes(50_000)])
    assert [bytes(store.read(name).body) for name in ("small", "large")] == [b"x", bytes(50_000)]
    assert (tmp_path / "scratch" / "cache.db").is_file()
    assert (tmp_path / "link").is_symlink()
    store.close()
