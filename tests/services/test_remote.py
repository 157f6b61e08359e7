"""A remote on real servers: CI writes, a laptop reads; a server dies in a transfer; kills; eight kernels at once."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.cache import create, create_disk_cache, export_entries, made_here, open_remote
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import Identity
from awaitly_nb.errors import CacheUnusableWarning, StoreError
from awaitly_nb.result import Mark, with_mark
from tests.faults.counts import count
from tests.services.servers import PASSWORD
from tests.unit.share.people import CELLS, User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = count(sample=3, whole=200)
IDENTITY = Identity(bytes(range(32)))


def environment_of(server):
    """What a process needs to reach the server as its remote."""
    found = {"AWAITLY_NB_REMOTE": server.url(), "AWAITLY_NB_REMOTE_WAIT": "30"}
    if server.name == "s3":
        found |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}", "AWS_DEFAULT_REGION": "us-east-1"}
        found |= {"AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": PASSWORD}
    return found


@contextlib.contextmanager
def records_of(server):
    """The records of the remote."""
    store = server.open()
    try:
        yield store.records
    finally:
        store.blocking.close()


def versions(server, prefix="\x1ep"):
    with records_of(server) as records:
        return {record.name: record.version for record in records.scan(prefix)}


@pytest.fixture(params=["s3", "postgres", "redis"])
def server(request, servers, monkeypatch):
    """Each server in turn, without what others published."""
    server = servers(request.param)
    with records_of(server) as records:
        records.delete([record.name for record in records.scan("\x1ep")])
    for name, value in environment_of(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWAITLY_NB_SECRET", raising=False)
    monkeypatch.setattr(create, "_sources", {})
    yield server
    forget_folders()


def test_ci_writes_and_a_fresh_clone_at_another_path_gets_all_hits_and_cannot_write(server, tmp_path):
    ci = User(tmp_path / "ci", **environment_of(server), AWAITLY_NB_REMOTE_WRITE="always")
    laptop = User(tmp_path / "laptop" / "of somebody", **environment_of(server))
    stranger = User(tmp_path / "stranger", **environment_of(server))
    for user in (ci, laptop, stranger):
        user.write(CELLS)
    laptop.trust(ci, "ci")
    ran = ci.run_all()
    assert not any(badge.startswith("from cache") for badge in ran[0])
    published = versions(server)
    assert len(published) == 4  # three entries, one large array
    badges, *values = laptop.run_all()
    assert all(badge.startswith("from cache") for badge in badges), badges
    assert values == ran[1:]
    assert "AWAITLY_NB_REMOTE_WRITE" in laptop.awaitly("push", laptop.work / "n.ipynb", code=1)
    # Who forces it writes what nobody trusts: for those who trust CI alone, CI's entries stay.
    stranger.run_all()
    assert versions(server) == published
    assert ci.data("push", ci.work / "n.ipynb")["already_there"] == 3
    told = laptop.data("pull", laptop.work / "n.ipynb")
    assert (told["pulled"], told["already_there"], told["skipped"]) == ([], 3, [])


def environment_of_a_reader(server):
    """What a process needs to reach the server as somebody who, for the server, may read and no more."""
    if server.name == "postgres":
        import psycopg

        with psycopg.connect(server.url()) as connection:
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = 'reader'").fetchall():
                connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data")
        return {"AWAITLY_NB_REMOTE": server.url().replace("//ada:", "//reader:")}
    if server.name == "redis":
        import redis

        client = redis.Redis.from_url(server.url())
        may = ["+@read", "+@connection", "+@scripting", "+time"]
        client.execute_command("ACL", "SETUSER", "reader", "reset", "on", f">{PASSWORD}", "~*", "-@all", *may)
        client.close()
        return {"AWAITLY_NB_REMOTE": server.url().replace("//:", "//reader:")}
    return {"AWS_ACCESS_KEY_ID": "reader"}


def test_who_may_only_read_there_gets_all_hits_and_a_write_that_is_refused_costs_one_warning(server, tmp_path):
    ci = User(tmp_path / "ci", **environment_of(server), AWAITLY_NB_REMOTE_WRITE="always")
    reads = {**environment_of(server), **environment_of_a_reader(server)}
    laptop = User(tmp_path / "laptop" / "of somebody", **reads)
    ci.write(CELLS)
    ran = ci.run_all()
    published = versions(server)
    laptop.write(CELLS)
    laptop.trust(ci, "ci")
    badges, *values = laptop.run_all()
    assert [badge for badge in badges if not badge.startswith("from cache")] == []
    assert (values, laptop.told) == (ran[1:], "")
    # Who is set to write all the same: the run goes on, is warned once, and what is there stays as it is.
    forced = User(tmp_path / "forced", **reads, AWAITLY_NB_REMOTE_WRITE="always")
    forced.trust(ci, "ci")
    forced.write([*CELLS, "%%awaitly one\none = total + 1", "%%awaitly two\ntwo = total + 2"])
    badges, *values = forced.run_all()
    assert [badge.startswith("from cache") for badge in badges] == [True, True, True, False, False]
    assert values == ran[1:]
    assert forced.told.count("Warning: ") == 1, forced.told
    told = forced.data("push", forced.work / "n.ipynb", code=1)
    assert told["already_there"] == 3
    assert {one["name"] for one in told["skipped"]} == {"one", "two"}
    assert versions(server) == published


VALUE = np.arange(3_000_000.0)  # six pieces of 4 MB


@pytest.fixture
def filled(tmp_path):
    cache = create_disk_cache(tmp_path / "ci", namespace="w")
    cache.set("array", with_mark(aw.Ok(VALUE), Mark(duration_s=60.0)))
    return tmp_path / "ci"


def publish(folder, on_piece=None):
    published = open_remote(os.environ["AWAITLY_NB_REMOTE"])
    (entry,) = export_entries(folder, [("w", "array")])
    return published.publish(entry, IDENTITY, made=made_here(), on_piece=on_piece)


def kill_at(server, count):
    """Return what kills the server when the piece of this number has gone through."""
    seen = []

    def on_piece(size):
        seen.append(size)
        if len(seen) == count:
            server.kill()

    return on_piece


@pytest.mark.parametrize("server", ["postgres", "redis"], indirect=True)
def test_a_server_killed_in_the_middle_of_a_push_has_no_torn_entry_and_the_next_one_goes_on(
    server, filled, monkeypatch
):
    monkeypatch.setattr("awaitly_nb.cache.published._THREADS", 1)
    try:
        with pytest.raises(StoreError):
            publish(filled, kill_at(server, 2))
    finally:
        server.start()
    assert versions(server, "\x1epublished") == {}
    there = versions(server, "\x1epiece")
    assert 2 <= len(there) < 6
    assert publish(filled)
    after = versions(server, "\x1epiece")
    assert len(after) == 6
    assert {name: after[name] for name in there} == there  # what had arrived was not sent again


@pytest.mark.parametrize("server", ["postgres", "redis"], indirect=True)
def test_a_server_killed_in_the_middle_of_a_fetch_leaves_nothing_torn_and_the_next_look_up_goes_on(
    server, filled, tmp_path, monkeypatch
):
    from awaitly_nb.cache import open_default

    publish(filled)
    monkeypatch.setattr("awaitly_nb.cache.published._THREADS", 1)
    monkeypatch.setattr("awaitly_nb.cache.create._defaults", {})
    monkeypatch.setattr("awaitly_nb.codec.signer_name", lambda key: "ci" if key == IDENTITY.public else None)
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "laptop"))
    cache = open_default("w")
    source = cache.store.source
    kill, body = kill_at(server, 2), source.published.body

    def killing(offer, on_piece):
        return body(offer, lambda size: (on_piece(size), kill(size)))

    source.published.body = killing
    try:
        with pytest.warns(CacheUnusableWarning, match="left alone"):
            assert cache.get("array") is None
    finally:
        server.start()
    assert cache.keys() == []
    source._rest_until = 0.0
    np.testing.assert_equal(cache.get("array").value, VALUE)


@pytest.mark.timeout(3600)
def test_kills_at_random_moments_lose_nothing(server, capsys):
    program = Path(__file__).with_name("remote_kills.py")
    done = subprocess.run(
        [sys.executable, program, os.environ["AWAITLY_NB_REMOTE"], str(KILLS), "18"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with capsys.disabled():
        print(f"\n{server.name}: {done.stdout.splitlines()[-1]}")


GET = """
import sys
from awaitly_nb.cache import open_default
from awaitly_nb import codec
codec.signer_name = lambda key: "ci"
cache = open_default("w")
print("ready", flush=True)
sys.stdin.readline()
assert cache.get("array").value[-1] == 2_999_999
"""


@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_of_eight_kernels_that_want_one_missing_key_one_fetches_it(server, filled, tmp_path):
    import redis

    publish(filled)
    client = redis.Redis.from_url(server.url())
    client.config_resetstat()
    here = {**os.environ, "AWAITLY_NB_CACHE_DIR": str(tmp_path / "laptop")}
    with contextlib.ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": here}
        command = [sys.executable, "-W", "error", "-c", GET]
        kernels = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(8)]
        for one in kernels:
            assert one.stdout.readline() == "ready\n"
        for one in kernels:
            one.stdin.write("go\n")
            one.stdin.flush()
        assert [one.wait(60) for one in kernels] == [0] * 8
    assert client.info("commandstats")["cmdstat_hmget"]["calls"] == 7  # the entry and its six pieces
    client.close()
