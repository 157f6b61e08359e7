"""Eight processes that open one new store at the same moment, fifty times on each database: none of them fails."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("opened_at_once.py")
PROCESSES, TIMES = 8, 50
IN_BUCKETS = 10
"""A bucket is there before, and nothing is made in it but a probe; its emulators take seconds for each time."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    "name", ["sqlite", "libsql file", "folder", "postgres", "mongo", "libsql", "redis", "s3", "gcs", "azure"]
)
def test_processes_that_open_a_new_store_at_once_all_use_it(name, servers, table, tmp_path):
    if name == "sqlite":
        openings = [f"aw.sqlite({str(tmp_path / f'{number}.db')!r})" for number in range(TIMES)]
    elif name == "libsql file":
        openings = [f"aw.libsql({str(tmp_path / f'{number}.db')!r})" for number in range(TIMES)]
    elif name == "folder":
        openings = [f"aw.objects({str(tmp_path / str(number))!r})" for number in range(TIMES)]
    else:
        server = servers(name)
        times = IN_BUCKETS if name in {"s3", "gcs", "azure"} else TIMES
        openings = [server.opening(f"{table}_{number}") for number in range(times)]
    processes = [_start() for _ in range(PROCESSES)]
    try:
        # Connected before or not: either way is the narrower gate for some store.
        ways = itertools.cycle(("connected", "new"))
        told = [_all_open(processes, opening, how) for opening, how in zip(openings, ways, strict=False)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert told == [["ok"] * PROCESSES] * len(openings)


def test_who_makes_a_table_in_postgres_waits_for_whoever_makes_one(servers, table):
    """`IF NOT EXISTS` looks before it makes: of two at once, one in two hundred ended with `type already exists`."""
    import psycopg

    server = servers("postgres")
    process = _start()
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    try:
        with psycopg.connect(server.url()) as other, psycopg.connect(server.url(), autocommit=True) as watch:
            other.execute("SELECT pg_advisory_xact_lock(hashtext('awaitly_nb makes a table'))")
            assert _ask(process, f"new {server.opening(table)}") == "ready"
            process.stdin.write("go\n")
            process.stdin.flush()
            while watch.execute(waits).fetchone() == (0,):
                assert process.poll() is None
                made = watch.execute("SELECT count(*) FROM pg_class WHERE relname LIKE %s", [f"{table}%"])
                assert made.fetchone() == (0,), "it did not wait"
        assert process.stdout.readline().strip() == "ok"
    finally:
        process.kill()
        process.communicate()


def _start():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-W", "ignore::ResourceWarning", PROGRAM]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _all_open(processes, opening, how):
    assert [_ask(process, f"{how} {opening}") for process in processes] == ["ready"] * PROCESSES
    for process in processes:
        process.stdin.write("go\n")
    for process in processes:
        process.stdin.flush()
    return [process.stdout.readline().strip() for process in processes]


def _ask(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()
