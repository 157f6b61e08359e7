"""The SQLite adapter beyond the suite: files that vanish, processes that fork, and what is on the disk."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

import awaitly_nb as aw
from awaitly_nb.stores.sqlite import sqlite_store
from awaitly_nb.testing import FakeClock


def test_the_file_is_its_owners_only_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "runs.db"
    store = sqlite_store(path)
    assert not path.exists()
    store.swap("name", "{}", [b"x"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()


def test_it_is_durable(tmp_path):
    store = sqlite_store(tmp_path / "runs.db")
    store.swap("name", "{}", [b"x"])
    rows = {name: store._connection.execute(f"PRAGMA {name}", ())[0][0][0] for name in ("journal_mode", "synchronous")}
    assert rows == {"journal_mode": "wal", "synchronous": 2}
    store.close()


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = sqlite_store("runs.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    store.swap("name", "{}", [])
    store.close()
    assert (tmp_path / "runs.db").exists()


def test_a_file_that_was_deleted_is_made_anew_and_nothing_is_written_to_the_old_one(tmp_path):
    path = tmp_path / "runs.db"
    store = sqlite_store(path)
    store.swap("old", "{}", [])
    for file in tmp_path.iterdir():
        file.unlink()
    assert store.read("old") is None
    store.swap("new", "{}", [])
    other = sqlite_store(path)
    assert [record.name for record in other.scan()] == ["new"]
    store.close()
    other.close()


def test_its_clock_is_an_argument(tmp_path):
    clock = FakeClock()
    store = sqlite_store(tmp_path / "runs.db", clock=clock)
    store.swap("name", "{}", [])
    before = store.read("name").written_at
    clock.advance(90)
    assert (store.now() - before).total_seconds() == 90
    store.close()


@pytest.mark.parametrize("content", [b"this is no database at all, whatever its name says" * 100, b""])
def test_what_is_no_database_is_told_and_left(tmp_path, content):
    path = tmp_path / "runs.db"
    path.write_bytes(content)
    store = sqlite_store(path)
    if content:
        with pytest.raises(aw.errors.StoreError, match="not a database"):
            store.read("name")
        assert path.read_bytes() == content
    else:
        assert store.read("name") is None
    store.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(aw.errors.StoreError, match="file"):
        sqlite_store(tmp_path / "file" / "runs.db").read("name")


def test_another_process_that_writes_is_waited_for(tmp_path):
    path = tmp_path / "runs.db"
    impatient, patient = sqlite_store(path, timeout_s=0.05), sqlite_store(path, timeout_s=30)
    impatient.swap("name", "first", [])
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(aw.errors.StoreError, match="locked"):
        impatient.swap("name", "second", [])
    timer = threading.Timer(0.2, other.commit)
    timer.start()
    assert patient.swap("name", "third", []) is not None
    timer.join()
    for opened in (impatient, patient, other):
        opened.close()


def test_processes_that_open_a_new_file_at_one_moment_all_succeed(tmp_path):
    program = "import sys; sys.stdin.readline(); from awaitly_nb.stores.sqlite import sqlite_store; "
    program += "store = sqlite_store(sys.argv[1]); store.swap(sys.argv[2], '{}', [b'x']); store.close()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "runs.db", str(who)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for who in range(4)
    ]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert told == [""] * 4
    store = sqlite_store(tmp_path / "runs.db")
    assert sorted(record.name for record in store.scan()) == ["0", "1", "2", "3"]
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(tmp_path):
    store = aw.sqlite(tmp_path / "runs.db")
    store.blocking.save("parent", aw.ResumeState())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.blocking.save("child", aw.ResumeState())
            store.blocking.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.blocking.save("parent again", aw.ResumeState())
    assert [found.id for found in store.blocking.list()] == ["parent again", "child", "parent"]
    store.blocking.close()


def test_a_store_that_is_forgotten_closes_its_file(tmp_path):
    import gc

    store = sqlite_store(tmp_path / "runs.db")
    store.swap("name", "{}", [])
    del store
    gc.collect()
    assert not (tmp_path / "runs.db-wal").exists()  # the last connection removes it
