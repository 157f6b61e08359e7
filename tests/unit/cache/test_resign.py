"""A folder whose secret is lost: what is whole is signed anew, one entry at a time, and nothing is unpickled."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache.folder import forget_folders, open_folder
from awaitly_nb.cache.resigning import foreign, objections, resign
from awaitly_nb.errors import DamagedEntryWarning
from awaitly_nb.result import Mark, with_mark
from tests.faults.invariants import assert_sound
from tests.unit.cache.test_security import Bomb

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX modes")

KEPT = {
    "small": aw.Ok({"n": 1}),
    "text": aw.Ok("x" * 100_000),
    "array": aw.Ok(np.arange(200_000)),
    "large": aw.Ok(np.arange(1_100_000)),  # read through a map
    "failed": aw.Err("NO", cause=KeyError("user:1")),
    "odd": aw.Err({1: complex(1, 2)}, cause=ZeroDivisionError("way")),
}


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


@pytest.fixture
def lost(folder, monkeypatch):
    """A full folder, and the id of the secret that signed it, which nobody has any more."""
    monkeypatch.setenv("AWAITLY_NB_SECRET", "gone with the container")
    from awaitly_nb.codec.secrets import default_keyring

    cache = caches.create_disk_cache(folder, namespace="w")
    for key, result in KEPT.items():
        cache.set(key, with_mark(result, Mark(step_id=key, workflow="w", duration_s=2.0)), ttl="7d")
    cache.get("small")
    forget_folders()
    old = default_keyring().own.id
    monkeypatch.delenv("AWAITLY_NB_SECRET")
    return old


def opened(folder):
    return caches.create_disk_cache(folder, namespace="w")


def change(folder, sql, *values):
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        assert connection.execute(sql, values).rowcount > 0


def file_of(folder, key):
    with closing(sqlite3.connect(folder / "cache.db")) as connection:
        ((name,),) = connection.execute("SELECT filename FROM Cache WHERE key = ?", (f"w\x1f{key}",))
    return folder / name


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def assert_served(cache, key):
    found, kept = cache.get(key), KEPT[key]
    if isinstance(kept, aw.Ok):
        np.testing.assert_array_equal(found.value, kept.value)
    else:
        assert (found.error, repr(found.cause)) == (kept.error, repr(kept.cause))


def test_everything_that_is_whole_is_served_again_with_all_that_was_known_of_it(folder, lost):
    (found,) = foreign(open_folder(folder))
    assert (found.secret, found.entries) == (lost, len(KEPT))
    assert found.size_bytes > 8_800_000
    before = {entry.key: entry for entry in opened(folder).entries()}

    done = resign(open_folder(folder), {lost})

    assert (done.signed, done.refused) == (len(KEPT), {})
    assert {entry.key: entry for entry in opened(folder).entries()} == before
    assert before["small"].hits == 1
    assert opened(folder).keys() == list(KEPT)
    for key in KEPT:
        assert_served(opened(folder), key)
    assert foreign(open_folder(folder)) == []
    forget_folders()
    assert_sound(folder)


def test_a_lost_database_finds_its_files_again_under_the_new_secret(folder, lost):
    resign(open_folder(folder), {lost})
    forget_folders()
    for name in ("cache.db", "cache.db-wal", "cache.db-shm"):
        (folder / name).unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aw.errors.CacheUnusableWarning)
        for key in ("text", "array", "large"):
            assert_served(opened(folder), key)


def test_values_inside_a_failure_are_signed_too_and_not_unpickled(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", "gone")
    opened(folder).set("failed", aw.Err(["a", Bomb(tmp_path / "exploded")]))
    opened(folder).set("fraction", aw.Err(pow(2.5, 1j)))
    opened(folder).set("range", aw.Err({"why": range(3)}))
    forget_folders()
    monkeypatch.delenv("AWAITLY_NB_SECRET")
    (found,) = foreign(open_folder(folder))
    assert resign(open_folder(folder), {found.secret}).signed == 3
    assert not (tmp_path / "exploded").exists()
    assert opened(folder).get("range").error == {"why": range(3)}
    assert opened(folder).get("fraction").error == pow(2.5, 1j)


def cut_short(folder):
    path = file_of(folder, "array")
    path.write_bytes(path.read_bytes()[:-64])
    return "array"


def altered_buffer(folder):
    flip(file_of(folder, "array"))
    return "array"


def file_gone(folder):
    file_of(folder, "array").unlink()
    return "array"


def planted_row(folder):
    bomb = pickle.dumps(Bomb(folder.parent / "exploded"))
    change(folder, "UPDATE Cache SET value = ? WHERE key = 'w\x1fsmall'", bomb)
    return "small"


def planted_file(folder):
    path = file_of(folder, "array")
    bomb = pickle.dumps(Bomb(folder.parent / "exploded"))
    path.write_bytes(bomb.ljust(path.stat().st_size, b"\0"))
    return "array"


def moved_to_another_key(folder):
    change(folder, "DELETE FROM Cache WHERE key = 'w\x1fsmall'")
    change(folder, "UPDATE Cache SET key = 'w\x1fsmall' WHERE key = 'w\x1ftext'")
    return "small"


def without_signature(folder):
    change(folder, "UPDATE Cache SET tag = substr(tag, 1, length(tag) - 22) WHERE key = 'w\x1fsmall'")
    return "small"


@pytest.mark.parametrize(
    "harm",
    [cut_short, altered_buffer, file_gone, planted_row, planted_file, moved_to_another_key, without_signature],
    ids=lambda f: f.__name__,
)
def test_what_is_not_whole_stays_refused(folder, lost, harm, tmp_path):
    key = harm(folder)
    done = resign(open_folder(folder), {lost})
    assert [name.partition("\x1f")[2] for name in done.refused] == [key]
    with pytest.warns(aw.AwaitlyWarning):
        assert opened(folder).get(key) is None
    for other in set(opened(folder).keys()) - {key}:
        assert_served(opened(folder), other)
    assert not (tmp_path / "exploded").exists()


def test_a_head_that_is_no_longer_readable_is_nobodys(folder, lost):
    change(folder, "UPDATE Cache SET tag = '{}' WHERE key = 'w\x1fsmall'")
    assert resign(open_folder(folder), {lost}).signed == len(KEPT) - 1
    with pytest.warns(DamagedEntryWarning):
        assert opened(folder).get("small") is None


def test_entries_of_other_secrets_are_left(folder, lost, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", "a colleague")
    opened(folder).set("theirs", aw.Ok(1))
    forget_folders()
    monkeypatch.delenv("AWAITLY_NB_SECRET")
    opened(folder).set("mine", aw.Ok(2))
    colleague = next(one.secret for one in foreign(open_folder(folder)) if one.secret != lost)
    assert resign(open_folder(folder), {lost}).signed == len(KEPT)
    assert [one.secret for one in foreign(open_folder(folder))] == [colleague]
    monkeypatch.setenv("AWAITLY_NB_SECRET", "a colleague")
    assert opened(folder).get("theirs") == aw.Ok(1)


def test_what_own_signature_does_not_fit_is_not_signed_anew(folder, lost):
    opened(folder).set("mine", aw.Ok("x" * 100_000))
    forget_folders()
    flip(file_of(folder, "mine"))
    resign(open_folder(folder), {lost})
    with pytest.warns(DamagedEntryWarning, match="signature"):
        assert opened(folder).get("mine") is None


def test_what_is_replaced_meanwhile_is_left_alone(folder, lost):
    def replace_next(done):
        if done.signed == 1:
            opened(folder).set("text", aw.Ok("newer"))

    done = resign(open_folder(folder), {lost}, on_entry=replace_next)
    assert done.signed == len(KEPT) - 1
    assert opened(folder).get("text") == aw.Ok("newer")


def test_an_interrupt_leaves_each_entry_old_or_new_and_the_next_call_goes_on(folder, lost):
    def interrupt(done):
        if done.signed == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resign(open_folder(folder), {lost}, on_entry=interrupt)
    assert foreign(open_folder(folder))[0].entries == len(KEPT) - 3
    assert resign(open_folder(folder), {lost}).signed == len(KEPT) - 3
    for key in KEPT:
        assert_served(opened(folder), key)
    assert {entry.key: entry.hits for entry in opened(folder).entries()}["small"] >= 1


def test_a_kill_leaves_each_entry_old_or_new_and_the_next_call_goes_on(folder, lost):
    code = """
import os, signal, sys
from awaitly_nb.cache.folder import open_folder
from awaitly_nb.cache.resigning import resign
from awaitly_nb.stores.disk.files import ValueFiles

write = ValueFiles.write
def kill_after_the_second(self, *args):
    done = write(self, *args)
    kill_after_the_second.count += 1
    if kill_after_the_second.count == 2:  # the file is there, its row is not
        os.kill(os.getpid(), signal.SIGKILL)
    return done
kill_after_the_second.count = 0
ValueFiles.write = kill_after_the_second
resign(open_folder(sys.argv[1]), {sys.argv[2]})
"""
    done = subprocess.run([sys.executable, "-c", code, folder, lost], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = foreign(open_folder(folder))[0].entries
    assert 0 < left < len(KEPT)
    assert resign(open_folder(folder), {lost}).signed == left
    for key in KEPT:
        assert_served(opened(folder), key)
    forget_folders()
    assert_sound(folder)


def test_who_else_could_have_written_there_is_found(folder, lost, tmp_path):
    assert objections(folder) == []
    for path, mode in (
        (folder, 0o770),
        (folder, 0o702),
        (folder / "cache.db", 0o666),
        (file_of(folder, "array"), 0o620),
        (file_of(folder, "array").parent, 0o777),
        (tmp_path, 0o777),
    ):
        before = path.stat().st_mode
        path.chmod(mode)
        (told,) = objections(folder)
        assert str(path) in told
        assert "writ" in told
        path.chmod(before)
    assert objections(folder) == []
    link = folder / "zz"
    link.symlink_to(tmp_path)
    assert "link" in objections(folder)[0]
    link.unlink()
    for number in range(20):
        (folder / f"open-{number}").touch(mode=0o600)
        (folder / f"open-{number}").chmod(0o666)
    assert len(objections(folder)) == 6


def test_files_of_another_user_are_found(folder, lost, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    told = objections(folder)
    assert f"{folder} belongs to user" in told[0]
    assert "you are 4711" in told[0]
