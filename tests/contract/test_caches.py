"""The shipped suite of step caches, on each of ours; `tests/services` runs it on the servers."""

from __future__ import annotations

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.cache.memory import MappingCache
from awaitly_nb.stores.disk import DiskStore
from awaitly_nb.testing.caches import StepCacheSuite
from awaitly_nb.testing.stores import StoreSuite

SHARES = "a mapping holds the results themselves, so that values are shared: the one documented exception"


class TestDisk(StepCacheSuite):
    @pytest.fixture
    def open_cache(self, tmp_path):
        yield lambda **options: caches.create_disk_cache(tmp_path / "cache", namespace="w", **options)
        forget_folders()


class TestDiskThroughSeparateConnections(StepCacheSuite):
    """Each handle as another kernel has it: with a connection and a tier of its own."""

    @pytest.fixture
    def open_cache(self, tmp_path):
        opened = []

        def open_cache(**options):
            from awaitly_nb.cache import folder

            with folder._folders_lock:
                folder._folders.clear()
            opened.append(caches.create_disk_cache(tmp_path / "cache", **options))
            return opened[-1]

        yield open_cache
        for cache in opened:
            cache.store.store.close()


class TestDiskUnverified(StepCacheSuite):
    @pytest.fixture
    def open_cache(self, tmp_path):
        yield lambda **options: caches.create_disk_cache(tmp_path / "cache", verify="off", **options)
        forget_folders()


class TestMemory(StepCacheSuite):
    @pytest.fixture
    def open_cache(self):
        opened = []

        def open_cache(**options):
            # A cache in memory is its own place: every handle is the first one.
            if not opened:
                opened.append(caches.create_memory_cache(**options))
            return opened[0]

        return open_cache


class TestMapping(StepCacheSuite):
    gaps = {
        "test_writing_to_a_value_never_changes_the_cache": SHARES,
        "test_writing_to_an_array_never_changes_the_cache": SHARES,
        "test_what_cannot_be_stored_is_refused_and_leaves_what_was_there": "a mapping holds anything",
    }

    @pytest.fixture
    def open_cache(self):
        mapping = {}
        return lambda **options: MappingCache(mapping, **options)


class TestShared(StepCacheSuite):
    """A cache over a store that many machines share, here one that needs no server."""

    @pytest.fixture
    def open_cache(self, tmp_path):
        return lambda **options: caches.create_shared_cache(aw.sqlite(tmp_path / "shared.db"), namespace="w", **options)


class TestSharedInFolder(StepCacheSuite):
    @pytest.fixture
    def open_cache(self, tmp_path):
        return lambda **options: caches.create_shared_cache(aw.objects(tmp_path), namespace="w", **options)


class TestSharedWithoutConditions(StepCacheSuite):
    """On a service that cannot be told what to write over: fsspec's own in memory is as good as another."""

    @pytest.fixture
    def open_cache(self, tmp_path):
        url = f"memory://{tmp_path.name}"
        return lambda **options: caches.create_shared_cache(aw.objects(url), namespace="w", **options)


class TestDiskStore(StoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: DiskStore(tmp_path / "new folder" / "records")


def test_namespaces_do_not_see_each_other(tmp_path):
    one, other = (caches.create_disk_cache(tmp_path / "c", namespace=name) for name in ("a", "ab"))
    one.set("k", aw.Ok(1))
    other.set("k", aw.Ok(2))
    assert one.get("k").value == 1
    one.clear()
    assert one.get("k") is None
    assert other.get("k").value == 2
    assert other.keys() == ["k"]
