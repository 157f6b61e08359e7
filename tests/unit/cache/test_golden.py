"""Folders that older versions wrote are read for ever, byte for byte as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import mark_of
from tests.golden import make

FOLDERS = sorted(Path(make.__file__).parent.glob("entries-v*"))


def test_there_is_a_folder_of_each_format_version():
    from awaitly_nb.codec.envelope import SCHEMA

    assert [folder.name for folder in FOLDERS] == [f"entries-v{version}" for version in range(1, SCHEMA + 1)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("key", make.results())
def test_each_entry_is_read(folder, key, tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", make.SECRET)
    place = shutil.copytree(folder, tmp_path / "cache")
    place.chmod(0o700)
    cache = caches.create_disk_cache(place, namespace="golden", verify="strict")
    found, wanted = cache.get(key), make.results()[key]
    assert type(found) is type(wanted)
    if found.ok and isinstance(wanted.value, np.ndarray):
        np.testing.assert_array_equal(found.value, wanted.value)
        assert found.value.dtype == wanted.value.dtype
    else:
        assert found == wanted
        assert repr(found.cause) == repr(wanted.cause)
    if (mark := mark_of(wanted)) is not None:
        kept = mark_of(found)
        assert (kept.step_id, kept.at, kept.duration_s, kept.code) == (
            mark.step_id,
            mark.at,
            mark.duration_s,
            mark.code,
        )
        assert kept.parts == mark.parts
        assert kept.files == mark.files
    forget_folders()
