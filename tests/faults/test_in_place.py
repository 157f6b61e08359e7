"""A backup that is copied over the database of a living kernel, in place: the kernel lives, and computes at worst."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys

import pytest

from awaitly_nb.stores.disk import DiskStore

KERNEL = """
import os, shutil, sys, warnings
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok
warnings.simplefilter("ignore")
folder, what = sys.argv[1:]
database = os.path.join(folder, "cache.db")
cache = caches.create_disk_cache(folder)

def checkpoint():
    cache.store.store.store.database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")

for number in range(300):
    cache.set(f"old {number}", Ok([number, "y" * 3000]))
    if number % 100 == 0:
        cache.set(f"large {number}", Ok([number, "x" * 100_000]))
checkpoint()
shutil.copyfile(database, database + ".backup")
for number in range(300):
    cache.set(f"new {number}", Ok([number, "z" * 3000]))
checkpoint()
cache.store.clear()
assert cache.get("old 7").value[0] == 7
if what == "older":
    with open(database, "r+b") as file, open(database + ".backup", "rb") as backup:
        file.truncate(0)
        shutil.copyfileobj(backup, file)
else:
    os.truncate(database, 0 if what == "empty" else os.path.getsize(database) // 2)
for name in ("old", "new", "large"):
    for number in range(300):
        found = cache.get(f"{name} {number}")
        assert found is None or found.value[0] == number
for name in ("old", "new"):
    for number in range(0, 300, 100):
        try:
            cache.set(f"{name} {number}", Ok([number, "again"]))
        except Exception as exc:
            print(type(exc).__name__)
        found = cache.get(f"{name} {number}")
        assert found is None or found.value[0] == number
len(cache.keys()), len(cache.entries())
print("lives")
"""

AGAIN = """
import sys, warnings
warnings.simplefilter("ignore")
from awaitly_nb import cache as caches
from awaitly_nb.result import Ok
cache = caches.create_disk_cache(sys.argv[1])
for number in range(300):
    for name in ("old", "new"):
        found = cache.get(f"{name} {number}")
        assert found is None or found.value[0] == number
assert cache.get("large 200").value[0] == 200
cache.set("k", Ok(1))
assert cache.get("k") == Ok(1)
print(caches.doctor(sys.argv[1]).healthy)
"""


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{done.returncode} {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("what", ["empty", "half", "older"])
def test_a_kernel_outlives_what_is_done_to_its_database(tmp_path, what):
    assert run(KERNEL, tmp_path, what).endswith("lives\n")
    assert run(AGAIN, tmp_path) == "True\n"


@pytest.mark.skipif(sys.platform == "win32", reason="the file is open")
def test_a_folder_of_before_keeps_what_it_holds_and_is_mapped_no_more(tmp_path):
    store = DiskStore(tmp_path)
    store.swap("k", "{}", [b"kept"])
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as connection:
        connection.execute("UPDATE Settings SET value = ? WHERE key = 'sqlite_mmap_size'", (2**26,))
    store = DiskStore(tmp_path)
    assert store.read("k").body == b"kept"
    assert store.database.row("PRAGMA mmap_size", ()) == (0,)
    assert store.database.row("SELECT value FROM Settings WHERE key = 'sqlite_mmap_size'", ()) == (0,)
    store.close()
