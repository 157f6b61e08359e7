"""What lies in a cache folder is a stranger's until its signature fits: nothing runs, nothing outside is touched."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import sqlite3
import stat
import sys

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec.envelope import read_head, write_head
from awaitly_nb.errors import DamagedEntryWarning, ForeignSecretWarning, MisuseError, UnverifiedEntryError
from awaitly_nb.result import Err, Ok
from awaitly_nb.testing import FakeClock

BIG = {"text": "x" * 100_000}


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def bomb(tmp_path):
    """The bytes of a pickle that leaves `exploded` behind, which must not be there afterwards."""
    path = tmp_path / "exploded"
    yield pickle.dumps(Bomb(path))
    assert not path.exists()


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


@pytest.fixture
def cache(folder):
    cache = caches.create_disk_cache(folder, namespace="w")
    cache.set("small", Ok({"n": 1}))
    cache.set("big", Ok(BIG))
    forget_folders()
    return caches.create_disk_cache(folder, namespace="w")


def change(folder, sql, *values):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        assert connection.execute(sql, values).rowcount > 0
    connection.close()


def value_file(folder):
    (path,) = folder.glob("??/*.val")
    return path


def assert_refused(cache, key, word="absent"):
    with pytest.warns(DamagedEntryWarning, match=word):
        assert cache.get(key) is None
    assert cache.get(key) is None  # told once, and refused again


def test_a_pickle_planted_as_value_never_runs(cache, folder, bomb):
    change(folder, "UPDATE Cache SET value = ? WHERE key = 'w\x1fsmall'", bomb)
    assert_refused(cache, "small")


def test_a_pickle_planted_as_value_in_the_mode_of_diskcache_never_runs(cache, folder, bomb):
    change(folder, "UPDATE Cache SET value = ?, mode = 4, filename = NULL", bomb)
    assert_refused(cache, "small")
    assert_refused(cache, "big")


def test_a_pickle_planted_as_value_file_never_runs(cache, folder, bomb):
    path = value_file(folder)
    path.write_bytes(bomb)
    assert_refused(cache, "big")
    path.write_bytes(path.read_bytes().ljust(path.stat().st_size, b"\0"))
    assert cache.lookup("small").value == {"n": 1}


def test_a_stream_replaced_within_a_file_never_runs(cache, folder, bomb):
    path = value_file(folder)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x80\x05")
    data[at : at + len(bomb)] = bomb
    path.write_bytes(data)
    assert_refused(cache, "big", "signature")


def test_a_pickle_planted_as_key_never_runs_and_is_not_listed(cache, folder, bomb):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute(
            "INSERT INTO Cache (key, raw, store_time, tag, mode, value) VALUES (?, 0, 1, ?, 4, ?)", (bomb,) * 3
        )
        connection.execute(
            "INSERT INTO Cache (key, raw, store_time, tag, mode, value) VALUES (?, 1, 1, '{}', 1, ?)", (bomb,) * 2
        )
    connection.close()
    assert cache.keys() == ["small", "big"]
    assert [entry.key for entry in cache.entries()] == ["small", "big"]
    assert len(cache.to_frame()) == 2


def test_a_pickle_planted_as_tag_never_runs_and_is_not_listed(cache, folder, bomb):
    change(folder, "UPDATE Cache SET tag = ? WHERE key = 'w\x1fsmall'", bomb)
    assert cache.keys() == ["big"]
    assert [entry.key for entry in cache.entries()] == ["big"]
    assert_refused(cache, "small", "head")


@pytest.mark.parametrize(
    "head",
    [
        "",
        "null",
        "[]",
        '{"schema":1}',
        '{"schema":"x"}',
        "[" * 100_000,
        '{"schema":1,"stream_bytes":-1}',
        "{}x",
        '{"a":1e999}',
        "3" + "\t" * 12,
        *(
            "3" + "\t" * 11 + rest + "\t" + "A" * 22
            for rest in ("", '{"signature":5}', '{"secret":[]}', '{"size_bytes":"x"}')
        ),
    ],
)
def test_a_head_that_is_none_is_refused(cache, folder, head):
    change(folder, "UPDATE Cache SET tag = ? WHERE key = 'w\x1fsmall'", head)
    assert_refused(cache, "small")
    assert "big" in [entry.key for entry in cache.entries()]


def test_a_head_may_hold_anything_and_is_listed_inert(cache, folder):
    strange = {
        "schema": 1,
        "step_id": ["<script>"],
        "size_bytes": "many",
        "created_at": 1e300,
        "ok": "yes",
        "expires_at": {},
    }
    change(folder, "UPDATE Cache SET tag = ? WHERE key = 'w\x1fsmall'", json.dumps(strange))
    (entry,) = cache.entries("small")
    assert (entry.step_id, entry.size_bytes, entry.created_at, entry.ok, entry.expires_at) == (
        None,
        None,
        None,
        False,
        None,
    )


def test_every_part_of_the_head_is_signed(cache, folder):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        ((head,),) = connection.execute("SELECT tag FROM Cache WHERE key = 'w\x1fsmall'").fetchall()
    connection.close()
    members = read_head(head)
    assert write_head(members) == head
    for planted in ({"ok": False}, {"step_id": "other"}, {"created_at": -members["created_at"]}, {"stream_bytes": 9}):
        forged = write_head(members | planted)
        change(folder, "UPDATE Cache SET tag = ? WHERE key = 'w\x1fsmall'", forged)
        forget_folders()
        assert_refused(caches.create_disk_cache(folder, namespace="w"), "small", "signature|bytes")


def test_an_unsigned_head_is_refused(cache, folder):
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        ((head,),) = connection.execute("SELECT tag FROM Cache WHERE key = 'w\x1fsmall'").fetchall()
    connection.close()
    change(folder, "UPDATE Cache SET tag = ? WHERE key = 'w\x1fsmall'", write_head(read_head(head) | {"signature": ""}))
    assert_refused(cache, "small", "not signed")


def test_swapped_rows_are_refused(cache, folder):
    cache.set("other", Ok({"n": 2}))
    columns = "tag, value, size, mode, filename"
    change(
        folder,
        f"UPDATE Cache SET ({columns}) = (SELECT {columns} FROM Cache WHERE key = 'w\x1fother')"
        " WHERE key = 'w\x1fsmall'",
    )
    assert_refused(cache, "small", "signature")
    assert cache.get("other").value == {"n": 2}


def test_a_row_moved_to_another_namespace_is_refused(cache, folder):
    change(folder, "UPDATE Cache SET key = 'v\x1fsmall' WHERE key = 'w\x1fsmall'")
    assert_refused(caches.create_disk_cache(folder, namespace="v"), "small", "signature")


@pytest.mark.parametrize("size", [0, 10, -1, 1])
def test_a_file_cut_short_or_extended_is_refused(cache, folder, size):
    path = value_file(folder)
    data = path.read_bytes()
    path.write_bytes(data[:size] if size != 1 else data + b"x")
    assert_refused(cache, "big", "bytes")


def test_a_changed_buffer_is_refused(folder):
    import numpy as np

    cache = caches.create_disk_cache(folder)
    cache.set("array", Ok(np.arange(100_000)))
    forget_folders()
    path = value_file(folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert_refused(caches.create_disk_cache(folder), "array", "signature")


def test_strict_raises_instead(cache, folder, bomb):
    change(folder, "UPDATE Cache SET value = ? WHERE key = 'w\x1fsmall'", bomb)
    value_file(folder).unlink()
    strict = caches.create_disk_cache(folder, namespace="w", verify="strict")
    with pytest.raises(UnverifiedEntryError, match="small"):
        strict.get("small")
    with pytest.raises(UnverifiedEntryError, match="big"):
        strict.get("big")


def test_entries_of_a_foreign_secret_stay_and_warn_once_for_the_folder(cache, folder, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", "somebody else")
    other = caches.create_disk_cache(folder, namespace="w")
    with pytest.warns(ForeignSecretWarning, match="awaitly-nb trust"):
        assert other.get("small") is None
    assert other.get("big") is None  # warnings are errors here: the folder has been told of already
    monkeypatch.delenv("AWAITLY_NB_SECRET")
    assert caches.create_disk_cache(folder, namespace="w").get("small").value == {"n": 1}


def test_a_secret_in_the_file_of_trusted_ones_is_accepted(cache, folder, monkeypatch):
    from awaitly_nb.codec.secrets import default_keyring
    from awaitly_nb.config import trusted_secrets_path

    mine = default_keyring().own.key.hex()
    monkeypatch.setenv("AWAITLY_NB_SECRET", "somebody else")
    path = trusted_secrets_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# of the old machine\n{mine}  # mine\nnonsense\n")
    try:
        assert caches.create_disk_cache(folder, namespace="w").get("small").value == {"n": 1}
    finally:
        path.unlink()


def test_a_failure_holds_no_pickle(folder):
    cache = caches.create_disk_cache(folder)
    cache.set("failed", Err("NO", cause=ValueError("<script>alert(1)</script>")))
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        ((value,),) = connection.execute("SELECT value FROM Cache").fetchall()
    connection.close()
    assert json.loads(value)["cause"]["exception"]["message"] == "<script>alert(1)</script>"
    assert cache.entries()[0].ok is False


def test_keys_that_hold_html_are_kept_as_they_are(folder):
    cache = caches.create_disk_cache(folder)
    cache.set("<img src=x onerror=alert(1)>", Ok(1))
    assert cache.keys() == ["<img src=x onerror=alert(1)>"]


def test_a_link_in_place_of_a_folder_leads_nowhere(cache, folder, tmp_path):
    path = value_file(folder)
    outside = tmp_path / "outside"
    shutil.move(path.parent, outside)
    path.parent.symlink_to(outside)
    assert_refused(cache, "big", "link")
    assert cache.delete("big") is True
    assert (outside / path.name).exists()


def test_a_link_in_place_of_a_value_file_leads_nowhere(cache, folder, tmp_path):
    path = value_file(folder)
    outside = tmp_path / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)
    assert_refused(cache, "big", "opened")
    cache.delete("big")
    assert outside.exists()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "00/../../outside", "aa/b.val", 7])
def test_a_row_that_names_a_file_elsewhere_is_refused_and_that_file_stays(cache, folder, tmp_path, name):
    (tmp_path / "outside").write_text("precious")
    change(folder, "UPDATE Cache SET filename = ? WHERE key = 'w\x1fbig'", name)
    assert_refused(cache, "big", "names")
    cache.clear()
    assert (tmp_path / "outside").read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_i113_folder_files_and_secret_are_the_owners_alone(cache, folder):
    from awaitly_nb.config import secret_path

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(value_file(folder).stat().st_mode) & 0o077 == 0
    if "AWAITLY_NB_SECRET" not in os.environ:
        assert stat.S_IMODE(secret_path().stat().st_mode) == 0o600


def test_a_folder_that_others_may_write_to_is_told(folder):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(aw.errors.CacheUnusableWarning, match="chmod 700"):
        caches.create_disk_cache(folder).set("k", Ok(1))
    assert caches.create_disk_cache(folder).get("k").value == 1


def test_a_folder_full_of_damage_is_told_once_and_not_a_thousand_times(folder, cache):
    for number in range(30):
        cache.set(f"k{number}", Ok(number))
    forget_folders()
    change(folder, "UPDATE Cache SET value = zeroblob(length(value)) WHERE value IS NOT NULL")
    damaged = caches.create_disk_cache(folder, namespace="w")
    with pytest.warns(DamagedEntryWarning) as told:
        assert [damaged.get(f"k{number}") for number in range(30)] == [None] * 30
    assert len(told) == 21
    assert "doctor" in str(told[-1].message)


@pytest.mark.parametrize("cleared", [True, False])
def test_what_has_expired_has_expired_for_every_reader_whatever_the_row_says(folder, cleared):
    clock = FakeClock()
    cache = caches.create_disk_cache(folder, namespace="w", clock=clock)
    cache.set("goes", Ok(1), ttl=10)
    cache.set("stays", Ok(2), ttl=1000)
    cache.set("for ever", Ok(3))
    forget_folders()
    change(folder, "UPDATE Cache SET expire_time = ?", None if cleared else 1.0)
    clock.advance(20)
    cache = caches.create_disk_cache(folder, namespace="w", clock=clock)
    assert cache.get("goes") is None
    assert [cache.has(key) for key in ("goes", "stays", "for ever")] == [False, True, True]
    assert cache.keys() == ["stays", "for ever"]
    assert [entry.key for entry in cache.entries()] == ["stays", "for ever"]
    assert cache.get("stays") == Ok(2)


@pytest.mark.parametrize("key", ["x" * 65_537, "\u00e4" * 32_769])
@pytest.mark.parametrize(
    "make",
    [
        lambda folder: caches.create_disk_cache(folder),
        lambda _: aw.create_memory_cache(),
        lambda _: caches.as_step_cache({}),
    ],
)
def test_a_key_of_more_than_64_kb_is_refused(folder, make, key):
    cache = make(folder)
    for use in (cache.get, cache.has, cache.delete, lambda key: cache.set(key, Ok(1))):
        with pytest.raises(MisuseError, match="too long") as told:
            use(key)
        assert len(str(told.value)) < 300
    cache.set("x" * 65_536, Ok(1))
    assert cache.get("x" * 65_536) == Ok(1)
