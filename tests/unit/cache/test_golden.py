"""Folders that older versions wrote are read for ever, byte for byte as they were, unless they could be forged.

Format 1 bound arrays by checksums without a key: those are signed anew by who vouches for the folder, and read then.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache import foreign, open_folder, resign
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import default_keyring
from awaitly_nb.errors import DamagedEntryWarning, UnverifiedEntryError
from awaitly_nb.result import mark_of
from tests.golden import make

FOLDERS = sorted(Path(make.__file__).parent.glob("entries-v*"))


def test_there_is_a_folder_of_each_format_version():
    from awaitly_nb.codec.envelope import SCHEMA

    assert [folder.name for folder in FOLDERS] == [f"entries-v{version}" for version in range(1, SCHEMA + 1)]


FORGEABLE = ("array", "instants", "large")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", make.SECRET)

    def copied(folder):
        place = shutil.copytree(folder, tmp_path / "cache")
        for path in (place, *place.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)  # git stores no other modes
        return place

    yield copied
    forget_folders()


def opened(place, verify="strict"):
    return caches.create_disk_cache(place, namespace="golden", verify=verify)


def keys_of(folder):
    return [key for key in make.results() if key != "large" or folder.name != "entries-v1"]


def assert_read(cache, key):
    found, wanted = cache.get(key), make.results()[key]
    assert type(found) is type(wanted)
    if found.ok and isinstance(wanted.value, np.ndarray):
        np.testing.assert_array_equal(found.value, wanted.value)
        assert found.value.dtype == wanted.value.dtype
    else:
        assert found == wanted
        assert repr(found.cause) == repr(wanted.cause)
    if (mark := mark_of(wanted)) is not None:
        stored = mark_of(found)
        assert (stored.step_id, stored.at, stored.duration_s, stored.code) == (
            mark.step_id,
            mark.at,
            mark.duration_s,
            mark.code,
        )
        assert stored.parts == mark.parts
        assert stored.files == mark.files


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_entry_is_read(folder, place):
    cache = opened(place(folder))
    for key in keys_of(folder):
        if folder.name != "entries-v1" or key not in FORGEABLE:
            assert_read(cache, key)


def test_arrays_of_format_1_are_a_miss_with_one_warning_and_strict_raises(place):
    where = place(FOLDERS[0])
    with pytest.warns(DamagedEntryWarning, match="trust folder"):
        assert opened(where, "on").get("array") is None
    assert opened(where, "on").get("instants") is None  # warnings are errors here: the folder has been told of
    with pytest.raises(UnverifiedEntryError, match="trust folder"):
        opened(where).get("array")


def test_arrays_of_format_1_are_read_when_their_owner_has_vouched_for_the_folder(place):
    where = place(FOLDERS[0])
    (found,) = foreign(open_folder(where))
    assert (found.secret, found.entries) == (default_keyring().own.id, 2)
    done = resign(open_folder(where), {found.secret})
    assert (done.signed, done.refused) == (2, {})
    assert foreign(open_folder(where)) == []
    for key in keys_of(FOLDERS[0]):
        assert_read(opened(where), key)


def test_an_array_of_format_1_that_is_damaged_is_not_signed_anew(place):
    where = place(FOLDERS[0])
    path = max(where.glob("??/*.val"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = resign(open_folder(where), {default_keyring().own.id})
    assert (done.signed, len(done.refused)) == (1, 1)
