"""Repairs with several processes about: nothing is swept, lost or done twice, and a killed one is gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import warnings

import pytest

from awaitly_nb import cache as caches
from awaitly_nb.cache import repair
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.errors import CacheUnusableWarning, ForeignSecretWarning
from awaitly_nb.locks.records import RecordLocks
from awaitly_nb.result import Ok
from awaitly_nb.stores.disk import DiskStore
from tests.faults.invariants import assert_sound

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

BIG = "x" * 100_000
LARGE = [f"big {i}" for i in range(4)]

PRELUDE = """
import json, os, signal, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok
from awaitly_nb.stores.disk import DiskStore
from awaitly_nb.stores.disk.database import Database
from awaitly_nb.stores.disk.files import ValueFiles
cache = caches.create_disk_cache(sys.argv[1])
BIG = "x" * 100_000

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def count_down(cls, name, calls, do):
    # Do something in place of that call of a method.
    whole = getattr(cls, name)
    def counted(self, *args, **kwargs):
        nonlocal calls
        calls -= 1
        if calls == 0:
            do()
        return whole(self, *args, **kwargs)
    setattr(cls, name, counted)

def wait_for_a_line(word):
    print(word, flush=True)
    sys.stdin.readline()

def tell_when_waiting():
    whole = time.sleep
    def sleep(seconds):
        print("waiting", flush=True)
        whole(seconds)
    time.sleep = sleep
"""
KEYS = "print(json.dumps(cache.keys()))"


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "cache"
    forget_folders()


@pytest.fixture
def start():
    """Start a process with the prelude; whoever is left at the end of the test is killed."""
    started = []

    def starter(script, folder, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(script), os.fspath(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        started.append(process)
        return process

    yield starter
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    """Run a process to its end, which is a good one or a SIGKILL of its own; return what it printed last, as JSON."""

    def runner(script, folder, *, killed=False, **environment):
        process = start(script, folder, **environment)
        out, err = process.communicate()
        assert process.returncode == (-9 if killed else 0), err
        return json.loads(out.splitlines()[-1]) if out else None

    return runner


@pytest.fixture
def filled(folder, run):
    """A folder with forty small and four large entries, whose writer has left."""
    run(
        """
        for i in range(40):
            cache.set(f"small {i}", Ok({"n": i, "pad": "y" * 2000}))
        for i in range(4):
            cache.set(f"big {i}", Ok((i, BIG)))
        """,
        folder,
    )
    return folder


def value_files(folder):
    return sorted(os.path.relpath(path, folder) for path in folder.glob("??/*.val"))


def remove_database(folder):
    for path in folder.glob("cache.db*"):
        path.unlink()


def ruin_database(folder):
    (folder / "cache.db").write_bytes(os.urandom(40_000))
    for suffix in ("-wal", "-shm"):
        (folder / f"cache.db{suffix}").unlink(missing_ok=True)


def damage_page(folder):
    data = bytearray((folder / "cache.db").read_bytes())
    data[4096 * 7 : 4096 * 8] = os.urandom(4096)
    (folder / "cache.db").write_bytes(data)


def assert_one_set_aside(folder):
    assert not list(folder.glob("cache.db.rebuilding-*"))
    assert len([path for path in folder.glob("cache.db.damaged-*") if not path.name.endswith(("-wal", "-shm"))]) == 1


def opened(folder):
    """Open the folder in this process, and keep its warnings to itself."""
    forget_folders()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheUnusableWarning)
        cache = caches.create_disk_cache(folder)
        cache.keys()
    return cache


# Two at once

FOUR_AND_KILLED = """
for i in range(4):
    cache.set(f"big {i}", Ok((i, BIG)))
kill()
"""


def test_nothing_is_swept_while_somebody_fills_the_database(folder, start, run):
    run(FOUR_AND_KILLED, folder, killed=True)
    ruin_database(folder)
    slow = start("count_down(DiskStore, 'adopt', 1, lambda: wait_for_a_line('adopting'))\n" + KEYS, folder)
    assert slow.stdout.readline() == "adopting\n"
    other = start("tell_when_waiting()\n" + KEYS, folder)
    assert other.stdout.readline() == "waiting\n", "else it has listed what is not there yet, and swept the rest"
    out, _ = slow.communicate("go\n")
    assert sorted(json.loads(out)) == LARGE
    out, _ = other.communicate()
    assert sorted(json.loads(out.splitlines()[-1])) == LARGE
    assert len(value_files(folder)) == 4
    assert_sound(folder)


def test_nothing_is_swept_while_somebody_repairs_and_the_next_open_does_it(folder, run):
    run("cache.set('a', Ok(BIG)); ValueFiles.remove = kill; cache.delete('a')", folder, killed=True)
    assert len(value_files(folder)) == 1
    repairing = RecordLocks(folder / "cache.db-locks").flight("repair")
    assert repairing.try_acquire()
    run(KEYS, folder)
    assert len(value_files(folder)) == 1
    repairing.release()
    run(KEYS, folder)
    assert value_files(folder) == []
    assert list(folder.glob("cache.db-writer-*")) == []


def test_nothing_is_swept_where_the_database_was_lost_a_moment_ago(filled, run, monkeypatch):
    run("cache.set('last', Ok(BIG)); kill()", filled, killed=True)
    cache = caches.create_disk_cache(filled)
    asked = repair.is_alive

    def lost_meanwhile(folder, token):
        monkeypatch.setattr(repair, "is_alive", asked)
        remove_database(filled)
        DiskStore(filled).database.connection()  # tables that another process has made, and has not filled
        return asked(folder, token)

    monkeypatch.setattr(repair, "is_alive", lost_meanwhile)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheUnusableWarning)
        cache.get("last")
    assert len(value_files(filled)) == 5
    assert sorted(opened(filled).keys()) == [*LARGE, "last"]


def test_who_waits_for_a_repair_can_be_interrupted(filled, start):
    with contextlib.closing(sqlite3.connect(filled / "cache.db")) as connection:
        connection.execute("PRAGMA user_version = 0")
    repairing = RecordLocks(filled / "cache.db-locks").flight("repair")
    assert repairing.try_acquire()
    for verb in ("cache.get('small 0')", "cache.set('a', Ok(BIG))", "cache.delete('small 0')"):
        waiting = start(f"tell_when_waiting()\n{verb}", filled)
        assert waiting.stdout.readline() == "waiting\n"
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate()
        assert err.endswith("KeyboardInterrupt\n")
    repairing.release()
    assert len(opened(filled).keys()) == 44


BEFORE_IT_IS_SET_ASIDE = "count_down(Path, 'rename', 1, stop)"
RIGHT_AFTER = "rename = Path.rename; Path.rename = lambda path, to: (rename(path, to), stop())"
AT_THE_FIRST_ROW = "count_down(DiskStore, 'swap', 1, stop)"
AMONG_THE_ROWS = "count_down(DiskStore, 'swap', 6, stop)"
AT_THE_FIRST_FILE = "count_down(DiskStore, 'adopt', 1, stop)"
AMONG_THE_FILES = "count_down(DiskStore, 'adopt', 3, stop)"
AT_THE_END = "count_down(Database, 'mark_whole', 1, stop)"


@pytest.mark.parametrize("moment", [BEFORE_IT_IS_SET_ASIDE, AMONG_THE_ROWS, AMONG_THE_FILES, AT_THE_END])
def test_two_processes_rebuild_one_database_once(filled, start, moment):
    damage_page(filled)
    slow = start(f"stop = lambda: wait_for_a_line('stopped')\n{moment}\n{KEYS}", filled)
    assert slow.stdout.readline() == "stopped\n"
    other = start("tell_when_waiting()\n" + KEYS, filled)
    assert other.stdout.readline() == "waiting\n"
    out, _ = slow.communicate("go\n")
    first = json.loads(out)
    out, _ = other.communicate()
    second = json.loads(out.splitlines()[-1])
    assert second == first
    assert set(LARGE) < set(first)
    assert len(first) >= 34
    assert_one_set_aside(filled)
    assert_sound(filled)


def test_a_file_that_is_found_before_its_writer_gives_it_a_row_stays(folder, monkeypatch):
    cache = opened(folder)
    store = cache.store.store.store
    whole = type(store.files).write

    def found_at_once(files, name, head, body):
        path, size = whole(files, name, head, body)
        assert store.adopt(name, head, path, size, written_at=0)
        return path, size

    monkeypatch.setattr(type(store.files), "write", found_at_once)
    cache.set("big", Ok(BIG))
    forget_folders()
    assert caches.create_disk_cache(folder).get("big").value == BIG
    assert_sound(folder)


# A repair that was killed


@pytest.mark.parametrize(
    "moments",
    [
        [BEFORE_IT_IS_SET_ASIDE],
        [RIGHT_AFTER],
        [AT_THE_FIRST_ROW],
        [AMONG_THE_ROWS],
        [AT_THE_FIRST_FILE],
        [AMONG_THE_FILES],
        [AT_THE_END],
        [RIGHT_AFTER, AMONG_THE_ROWS, AMONG_THE_ROWS, AMONG_THE_FILES],
    ],
)
def test_a_rebuild_that_was_killed_is_gone_on_with(filled, run, moments):
    damage_page(filled)
    shutil.copytree(filled, filled.with_name("other"))
    whole = run(KEYS, filled.with_name("other"))
    assert len(whole) >= 34
    for moment in moments:
        run(f"stop = kill\n{moment}\n{KEYS}", filled, killed=True)
    assert sorted(run(KEYS, filled)) == sorted(whole)
    assert_one_set_aside(filled)
    cache = opened(filled)
    for key in whole:
        kind, number = key.split()
        assert cache.get(key).value == ((int(number), BIG) if kind == "big" else {"n": int(number), "pad": "y" * 2000})
    assert_sound(filled)


def test_the_doctor_tells_of_a_rebuild_that_was_killed_and_goes_on_with_it(filled, run):
    damage_page(filled)
    run(f"stop = kill\n{AMONG_THE_ROWS}\n{KEYS}", filled, killed=True)
    told = run("print(json.dumps(caches.doctor(sys.argv[1]).problems))", filled)
    assert any("not rescued to its end yet: cache.db.rebuilding-" in line for line in told)
    assert len(list(filled.glob("cache.db.rebuilding-*"))) >= 1, "a look changes nothing"
    told = run("print(json.dumps(caches.doctor(sys.argv[1], fix=True).fixed))", filled)
    assert any("entries were found again" in line for line in told)
    report = caches.doctor(filled)
    assert report.problems == ()
    assert any("was set aside earlier: cache.db.damaged-" in note for note in report.notes)
    assert report.entries >= 34


def test_a_rebuild_that_was_killed_is_gone_on_with_in_a_database_put_there_by_hand(filled, run):
    shutil.copy(filled / "cache.db", backup := filled.with_name("backup"))
    run("for i in range(40): cache.set(f'later {i}', Ok('z' * 2000))", filled)
    ruin = (filled / "cache.db").read_bytes()
    (filled / "cache.db").write_bytes(ruin[: 4096 * 7] + os.urandom(4096) + ruin[4096 * 8 :])
    run(f"stop = kill\n{AMONG_THE_ROWS}\n{KEYS}", filled, killed=True)
    for suffix in ("-wal", "-shm"):
        (filled / f"cache.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, filled / "cache.db")
    assert len(opened(filled).keys()) == 44
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheUnusableWarning)
        assert caches.doctor(filled, fix=True).fixed
    assert caches.doctor(filled).problems == ()
    assert len(opened(filled).keys()) > 74
    assert_one_set_aside(filled)
    assert_sound(filled)


def test_a_look_while_somebody_repairs_finds_no_fault(filled, start):
    remove_database(filled)
    slow = start("count_down(DiskStore, 'adopt', 2, lambda: wait_for_a_line('adopting'))\n" + KEYS, filled)
    assert slow.stdout.readline() == "adopting\n"
    report = caches.doctor(filled)
    assert report.problems == ()
    assert any(f"kernel {slow.pid} on" in note and note.endswith("is repairing it") for note in report.notes)
    slow.communicate("go\n")
    report = caches.doctor(filled)
    assert (report.problems, report.notes, report.entries) == ((), (), 4)


# A database that is gone


def test_a_mere_look_changes_nothing_and_the_next_kernel_finds_the_files(filled, run):
    remove_database(filled)
    before = sorted(filled.rglob("*"))
    told = run("print(json.dumps(caches.doctor(sys.argv[1]).problems))", filled)
    assert told == ["the database is gone; 4 value files wait to be found again"]
    assert sorted(filled.rglob("*")) == before
    assert sorted(run(KEYS, filled)) == LARGE


def test_a_look_at_tables_that_nobody_filled_does_not_hide_the_loss(filled, run):
    remove_database(filled)
    run("DiskStore(sys.argv[1]).database.connection()", filled)
    assert sorted(run(KEYS, filled)) == LARGE


def test_the_doctor_fills_a_database_that_is_gone(filled, run):
    remove_database(filled)
    told = run("print(json.dumps(caches.doctor(sys.argv[1], fix=True).fixed))", filled)
    assert told == ["4 entries were found again"]
    assert sorted(run(KEYS, filled)) == LARGE


def test_hits_of_a_database_that_is_gone_are_dropped(filled, run):
    run("cache.get('big 0'), cache.get('small 0'); [p.unlink() for p in Path(sys.argv[1]).glob('cache.db*')]", filled)
    assert not (filled / "cache.db").exists()
    assert sorted(run(KEYS, filled)) == LARGE


def test_the_end_of_a_kernel_does_not_make_a_deleted_folder_again(filled, run):
    run("import shutil; cache.get('big 0'), cache.get('small 0'); shutil.rmtree(sys.argv[1])", filled)
    assert not filled.exists()


def test_hits_of_a_living_database_are_written_down(filled, run):
    run("cache.get('small 0'), cache.get('small 0')", filled)
    assert run("print(json.dumps([e.hits for e in cache.entries('small 0')]))", filled) == [2]


def test_a_living_kernel_fills_at_its_next_look(filled):
    cache = opened(filled)
    assert cache.get("big 1").value == (1, BIG)
    remove_database(filled)
    with pytest.warns(CacheUnusableWarning, match="was gone; 4 entries were found again"):
        assert cache.get("big 2").value == (2, BIG)
    assert_sound(filled)


def test_a_store_and_a_delete_into_a_lost_database_fill_it_first(filled):
    for do in (lambda cache: cache.set("new", Ok(BIG)), lambda cache: cache.delete("new")):
        cache = opened(filled)
        remove_database(filled)
        with pytest.warns(CacheUnusableWarning, match="was gone"):
            do(cache)
        assert set(LARGE) <= set(cache.keys())
    assert sorted(cache.keys()) == LARGE
    assert_sound(filled)


def test_a_database_of_before_is_looked_through_once(filled, monkeypatch):
    with contextlib.closing(sqlite3.connect(filled / "cache.db")) as connection:
        connection.execute("PRAGMA user_version = 0")
    looked = []
    whole = repair.fill
    monkeypatch.setattr(repair, "fill", lambda folder: looked.append(whole(folder)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            forget_folders()
            assert len(caches.create_disk_cache(filled).keys()) == 44
    assert looked == [0]


# Entries that are of no use here


FOREIGN = ({"AWAITLY_NB_SECRET": "alice"}, {"AWAITLY_NB_SECRET": "bob"}, "")
AS_A_LATER_ONE = (
    "from awaitly_nb.codec import envelope; envelope.SCHEMA, envelope._VERSION, envelope._PACKED = 99, '99', '99\\t'\n"
)
NEWER = ({}, {}, AS_A_LATER_ONE)
LOOK_UP = "print(json.dumps([cache.get(f'big {i}') is None for i in range(4)]))"
FIX = "caches.doctor(sys.argv[1], fix=True); caches.doctor(sys.argv[1], fix=True); " + LOOK_UP


@pytest.mark.parametrize("use", [LOOK_UP, FIX], ids=["look-up", "fix"])
@pytest.mark.parametrize(("killed", "loss"), [(True, ruin_database), (False, remove_database)], ids=["killed", "left"])
@pytest.mark.parametrize("whose", [FOREIGN, NEWER], ids=["foreign", "newer"])
def test_what_others_can_read_stays(folder, run, whose, killed, use, loss):
    theirs, ours, as_they = whose
    write = f"{as_they}for i in range(4): cache.set(f'big {{i}}', Ok((i, BIG)))"
    run(write + ("\nkill()" if killed else ""), folder, killed=killed, **theirs)
    loss(folder)
    files = value_files(folder)
    assert len(files) == 4
    for _ in range(2):
        assert run(use, folder, **ours) == [True] * 4
        assert value_files(folder) == files
    found = run(as_they + "print(json.dumps([cache.get(f'big {i}').value[0] for i in range(4)]))", folder, **theirs)
    assert found == [0, 1, 2, 3]
    assert_sound(folder)


def test_small_foreign_entries_stay_when_the_database_is_rebuilt(filled, run):
    damage_page(filled)
    kept = run(KEYS, filled, AWAITLY_NB_SECRET="bob")
    assert len(kept) >= 34
    cache = opened(filled)
    assert all(cache.get(key) is not None for key in kept)


def test_a_planted_file_does_not_take_the_place_of_an_entry(filled, run):
    shutil.copytree(filled, planted := filled.with_name("planted"))
    shutil.rmtree(planted)
    run("for key in ('big 0', 'planted'): cache.set(key, Ok((0, BIG)))", planted, AWAITLY_NB_SECRET="mallory")
    for path in planted.glob("??/*.val"):
        (filled / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, filled / path.parent.name)
    remove_database(filled)
    cache = opened(filled)
    assert sorted(cache.keys()) == [*LARGE, "planted"]
    assert cache.get("big 0").value == (0, BIG)
    with pytest.warns(ForeignSecretWarning, match="not trusted here"):
        assert cache.get("planted") is None
    cache.set("planted", Ok("ours"))
    assert cache.get("planted").value == "ours"


# Writers that were killed


@pytest.mark.parametrize(
    ("verb", "left"),
    [
        ("cache.set('a', Ok('2' * 100_000))", ["a", "b"]),
        ("cache.set('a', Ok('small'))", ["b"]),
        ("cache.delete('a')", ["b"]),
        ("cache.clear()", []),
    ],
)
def test_the_old_file_of_a_killed_writer_is_removed_whoever_wrote_it(folder, run, verb, left):
    run("cache.set('a', Ok(BIG)); cache.set('b', Ok(BIG))", folder)
    run(f"ValueFiles.remove = kill; {verb}", folder, killed=True)
    assert len(value_files(folder)) > len(left)
    run(KEYS, folder)
    assert len(value_files(folder)) == len(left)
    assert_sound(folder)
    remove_database(folder)
    assert sorted(run(KEYS, folder)) == left


def test_an_interrupt_while_entries_are_deleted_leaves_no_file(folder, run):
    script = """
    for i in range(3):
        cache.set(f"big {i}", Ok(BIG))
    count_down(ValueFiles, "remove", 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        cache.clear()
    except KeyboardInterrupt:
        print(json.dumps("interrupted"))
    """
    assert run(script, folder) == "interrupted"
    assert value_files(folder) == []
    assert_sound(folder)


# Damage under a living kernel


def zeroed(path):
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def garbage(path):
    with path.open("r+b") as file:
        file.write(os.urandom(path.stat().st_size))


@pytest.mark.parametrize("damage", [zeroed, garbage], ids=lambda f: f.__name__)
def test_a_living_kernel_warns_once_of_a_database_that_is_overwritten_and_goes_on(filled, start, damage):
    living = start(
        """
        assert cache.get("big 1").value == (1, BIG)
        wait_for_a_line("ready")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for i in range(40):
                found = cache.get(f"small {i}")
                assert found is None or found.value["n"] == i
            assert [cache.get(f"big {i}").value for i in range(4)] == [(i, BIG) for i in range(4)]
            cache.set("new", Ok("kept"))
            cache.set("new, large", Ok(BIG))
            assert cache.get("new").value == "kept"
            cache.keys(), cache.entries()
        print(json.dumps([w.category.__name__ for w in told]))
        """,
        filled,
    )
    assert living.stdout.readline() == "ready\n"
    damage(filled / "cache.db")
    out, err = living.communicate("go\n")
    assert living.returncode == 0, err
    assert json.loads(out) == ["CacheUnusableWarning"]
    cache = opened(filled)
    assert cache.get("new").value == "kept"
    assert cache.get("new, large").value == BIG
    assert cache.get("big 3").value == (3, BIG)
    assert_sound(filled)
