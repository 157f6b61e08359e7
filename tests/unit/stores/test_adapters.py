"""Names of records and tables, and addresses that keep their secrets."""

import pickle
import sys

import pytest

import awaitly_nb as aw
from awaitly_nb.stores.adapters import Address, checked_table, from_micros, prefix_range


@pytest.mark.parametrize("bad", ["", "a b", "a;b", "1a", "a-b", 'a"b', "a'; DROP TABLE x; --", "ä", "x" * 49, None, 3])
@pytest.mark.parametrize("open_", [aw.sqlite, aw.libsql])
def test_e70_what_is_no_table_name_is_refused_at_construction(bad, open_, tmp_path):
    with pytest.raises(aw.errors.InvalidOptionError, match="table"):
        open_(tmp_path / "runs.db", table=bad)
    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize(
    ("open_", "url"),
    [
        (aw.postgres, "postgresql://ada@localhost/runs"),
        (aw.mongo, "mongodb://localhost/runs"),
        (aw.redis, "redis://localhost"),
        (aw.libsql, "libsql://localhost"),
    ],
)
def test_e70_on_servers_too_and_before_any_connection(open_, url):
    with pytest.raises(aw.errors.InvalidOptionError, match="table"):
        open_(url, table="a b")


def test_a_plain_identifier_is_a_table_name():
    assert checked_table("_Runs_2026") == "_Runs_2026"


@pytest.mark.parametrize(
    ("url", "shown", "secret"),
    [
        ("postgresql://ada:hunter2@db:5432/runs", "postgresql://db:5432/runs", "hunter2"),
        ("postgresql://ada:p%40ss%2Fword@db/runs", "postgresql://db/runs", "p@ss/word"),
        ("postgresql://ada:p@ss@db/runs", "postgresql://db/runs", "p@ss"),
        ("mongodb://ada:hunter2@a:1,b:2/runs?authSource=admin", "mongodb://a:1,b:2/runs", "hunter2"),
        ("redis://:hunter2@cache:6379/0", "redis://cache:6379/0", "hunter2"),
        ("libsql://db.example?authToken=hunter2", "libsql://db.example", "hunter2"),
        ("postgresql://db/runs?password=hunter2&sslmode=require", "postgresql://db/runs", "hunter2"),
    ],
)
def test_e78_an_address_is_shown_without_its_secrets(url, shown, secret):
    address = Address(url)
    assert address.shown == shown
    error = address.error("use", ValueError(f"no entry for {secret} at {url}, or {secret!r}"))
    for text in (repr(address), str(error), repr(error), str(pickle.dumps(error))):
        assert secret not in text
        assert url not in text
    assert shown in str(error)


def test_an_address_without_secrets_scrubs_nothing():
    address = Address("http://127.0.0.1:8080")
    assert address.scrub("cannot reach http://127.0.0.1:8080") == "cannot reach http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("open_", "url"),
    [
        (aw.postgres, "postgresql://ada:hunter2@127.0.0.1:1/runs"),
        (aw.postgres, "host=127.0.0.1 port=1 user=ada password=hunter2 dbname=runs"),
        (aw.mongo, "mongodb://ada:hunter2@127.0.0.1:1/runs"),
        (aw.redis, "redis://ada:hunter2@127.0.0.1:1/0"),
        (aw.libsql, "http://127.0.0.1:1?authToken=hunter2"),
    ],
)
def test_e78_a_store_that_cannot_connect_tells_no_secret(open_, url):
    store = open_(url, timeout=0.5)
    with pytest.raises(aw.errors.StoreError, match=r"127\.0\.0\.1:1") as caught:
        store.blocking.load("wf")
    for text in (repr(store), repr(store.records), str(caught.value), str(caught.value.__dict__)):
        assert "hunter2" not in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    store.blocking.close()


@pytest.mark.parametrize(
    ("open_", "broken"),
    [
        (aw.postgres, "postgresql://ada:hunter2@db:port/runs=x=y"),
        (aw.postgres, "not a connection string hunter2"),
        (aw.redis, "http://:hunter2@cache"),
        (aw.libsql, "ftp://db?authToken=hunter2"),
    ],
)
def test_e78_an_address_that_cannot_be_read_is_told_without_its_secrets(open_, broken):
    with pytest.raises(aw.AwaitlyError) as caught:
        open_(broken, timeout=0.5).blocking.load("wf")
    assert "ada:hunter2" not in str(caught.value)
    assert ":hunter2@" not in str(caught.value)
    assert "Token=hunter2" not in str(caught.value)


def test_e78_a_piece_of_a_password_that_was_not_escaped_is_no_part_of_an_error():
    with pytest.raises(aw.AwaitlyError) as caught:
        aw.redis("redis://:hunter2/secret-word@cache:6379", timeout=0.5).blocking.load("wf")
    assert "hunter2" not in str(caught.value)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "driver", "argument"),
    [
        ("postgres", "psycopg", "postgresql://localhost"),
        ("mongo", "pymongo", "mongodb://localhost"),
        ("redis", "redis", "redis://localhost"),
        ("libsql", "libsql", "runs.db"),
    ],
)
def test_e80_a_missing_driver_names_its_extra(name, driver, argument, monkeypatch):
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(aw.errors.MissingExtraError, match=rf"pip install 'awaitly-nb\[{name}\]'"):
        getattr(aw, name)(argument)


def test_a_prefix_is_a_range_of_bytes():
    low, high = prefix_range("a%")
    assert low <= b"a%" <= "a%\U0010ffff".encode() < high
    assert not low <= b"a&" < high


def test_microseconds_are_exact():
    assert from_micros(1_772_600_767_890_123).isoformat() == "2026-03-04T05:06:07.890123+00:00"
