"""`open_store`: one call that finds the kind of a store in its address, and repeats no password of it."""

import contextlib
import pickle

import pytest

import awaitly_nb as aw
from awaitly_nb.stores import sqlite_store

STATE = aw.ResumeState().with_value("a", 1)


def round_trip(url, **options):
    store, other = aw.open_store(url, **options), aw.open_store(url, **options)
    store.blocking.save("wf", STATE)
    loaded = other.blocking.load("wf")
    for handle in (store, other):
        handle.blocking.close()
    return loaded


def test_a_path_is_a_file_of_sqlite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in (tmp_path / "a.db", str(tmp_path / "b.db"), f"sqlite:///{tmp_path}/c.db", "d.db", "sqlite:///e.db"):
        assert round_trip(url) == STATE
    for name in "abcde":
        store = aw.sqlite(tmp_path / f"{name}.db")
        assert store.blocking.load("wf") == STATE
        store.blocking.close()


def test_a_folder_that_is_there_holds_objects(tmp_path):
    for folder in (tmp_path, tmp_path.as_uri()):
        assert round_trip(folder) == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["awaitly"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:hunter2@db.example/runs", "postgresql://db.example:5432/runs"),
        ("postgres://ada:hunter2@db.example/runs", "postgresql://db.example:5432/runs"),
        ("mongodb://ada:hunter2@db.example/runs", "mongodb://db.example/runs"),
        ("libsql://db.example?authToken=hunter2", "libsql://db.example"),
        ("https://db.example?authToken=hunter2", "https://db.example"),
        ("redis://:hunter2@db.example:6379/0", "redis://db.example:6379/0"),
        ("rediss://:hunter2@db.example:6379/0", "rediss://db.example:6379/0"),
        ("REDIS://:hunter2@db.example:6379/0", "REDIS://db.example:6379/0"),
        ("s3://shelf/team", "s3://shelf/team"),
        ("gs://shelf/team", "gs://shelf/team"),
        ("az://shelf/team", "az://shelf/team"),
    ],
)
def test_a_server_is_found_by_its_scheme(url, shown):
    if url.startswith("REDIS"):
        with pytest.raises(aw.errors.InvalidOptionError):
            aw.open_store(url)
        return
    store = aw.open_store(url, prefix="mine:", lease_ttl="5m")
    assert shown in repr(store)
    assert store.lease_ttl_s == 300.0
    assert "hunter2" not in repr(store)
    store.blocking.close()


@pytest.mark.parametrize("url", ["ftp://ada:hunter2@db.example", "://", "hunter2://x"])
def test_another_scheme_is_refused_with_what_is_known(url):
    with pytest.raises(aw.MisuseError, match=r"postgresql://.*s3://") as caught:
        aw.open_store(url)
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://ada:hun@ter/2@db.example/runs?x=1", "mongodb://ada:hun/ter2@db", "redis://:p@:x:y"]
)
def test_what_cannot_be_read_is_told_without_its_password(url):
    def load():
        with contextlib.closing(aw.open_store(url, timeout=0.2).blocking) as states:
            states.load("wf")

    with pytest.raises((aw.errors.InvalidOptionError, aw.errors.StoreError)) as caught:
        load()
    assert "hun" not in str(caught.value)


def test_every_option_arrives(tmp_path):
    store = aw.open_store(tmp_path / "a.db", prefix="mine:", table="other", size_limit="1 KB", lease_ttl=7)
    store.blocking.save("wf", STATE)
    with pytest.raises(aw.errors.StateTooLargeError):
        store.blocking.save("wf", STATE.with_value("b", "x" * 2000))
    plain = aw.StateStore(sqlite_store(tmp_path / "a.db", table="other"))
    assert [saved.id for saved in plain.blocking.list()] == ["mine:wf"]
    with pytest.raises(TypeError, match="tabel"):
        aw.open_store(tmp_path / "a.db", tabel="typo")
    for handle in (store, plain):
        handle.blocking.close()


def test_a_store_opens_again_in_another_process(tmp_path):
    store = aw.open_store(tmp_path / "a.db", table="other")
    store.blocking.save("wf", STATE)
    there = aw.StateStore(pickle.loads(pickle.dumps(store.records.reopen))())
    assert there.blocking.load("wf") == STATE
    for handle in (store, there):
        handle.blocking.close()
