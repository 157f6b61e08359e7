"""What a store does while its server is away, hangs, or comes back; and that nobody learns its password."""

import logging
import pickle
import traceback
import warnings
from urllib.parse import quote

import pytest

import awaitly_nb as aw
from tests.services.servers import PASSWORD

STATE = aw.ResumeState().with_value("user:1", {"name": "Ada"})


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_handle_goes_on_after_the_server_was_restarted(server, open_store, how):
    store = open_store()
    store.blocking.save("wf", STATE)
    getattr(server, how)()
    server.start()
    assert store.blocking.load("wf") == STATE
    getattr(server, how)()
    server.start()
    store.blocking.save("wf", STATE.with_value("user:2", 2))
    assert list(store.blocking.load("wf").steps) == ["user:1", "user:2"]


def test_without_its_server_a_store_says_so_within_its_timeout_and_without_its_password(server, open_store, caplog):
    caplog.set_level(logging.DEBUG)
    store, new = open_store(timeout=1), open_store(timeout=1)
    store.blocking.save("wf", STATE)
    server.stop()
    try:
        for handle in (store, new):
            with pytest.raises(aw.errors.StoreError) as caught:
                handle.blocking.load("wf")
            told = "".join(traceback.format_exception(caught.value))
            assert str(server.port) in told
            for text in (told, repr(handle), repr(handle.records), str(pickle.dumps(caught.value)), caplog.text):
                assert PASSWORD not in text
    finally:
        server.start()
    assert store.blocking.load("wf") == STATE


def test_a_server_that_hangs_does_not_hang_the_notebook(server, open_store, load_in_vain):
    store = open_store(timeout=1)
    store.blocking.save("wf", STATE)
    with server.frozen():
        load_in_vain(store)
    assert store.blocking.load("wf") == STATE


@pytest.mark.parametrize("password", ["wrong-password-1", "p@ss:w/rd"])
@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_refused_password_is_not_told(servers, name, password, caplog):
    server = servers(name)
    opened = getattr(aw, server.name)(server.url(quote(password, safe="")), timeout=1)
    with pytest.raises(aw.errors.StoreError) as caught:
        opened.blocking.load("wf")
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(opened)
    assert password not in told
    assert quote(password, safe="") not in told
    opened.blocking.close()


def test_e71_a_client_that_was_given_stays_open(servers, table):
    import psycopg_pool
    import pymongo
    import redis

    with psycopg_pool.ConnectionPool(
        servers("postgres").url(), kwargs={"autocommit": True}, min_size=1, max_size=2
    ) as pool:
        pool.wait()
        store = aw.postgres(pool, table=table)
        store.blocking.save("wf", STATE)
        store.blocking.close()
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    with pymongo.MongoClient(servers("mongo").url()) as client:
        store = aw.mongo(client, database="awaitly", table=table)
        store.blocking.save("wf", STATE)
        store.blocking.close()
        assert client["awaitly"][table].count_documents({}) == 1
    client = redis.Redis.from_url(servers("redis").url())
    store = aw.redis(client, table=table)
    store.blocking.save("wf", STATE)
    store.blocking.close()
    assert client.ping()
    client.close()


def test_a_run_goes_on_when_its_server_is_restarted_in_the_middle(server, open_store, tolerate):
    calls = []
    workflow = aw.create_workflow("pay", cache=None)

    def step(name):
        calls.append(name)
        return name

    def body(ctx):
        first = ctx.step("a", step, "a", key="a")
        server.kill()
        second = ctx.step("b", step, "b", key="b")  # cannot be saved now, and is kept in memory
        server.start()
        return first, second, ctx.step("c", step, "c", key="c")

    store = open_store(timeout=1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert workflow.run_sync(body, store=store, id="wf") == aw.Ok(("a", "b", "c"))
    assert any(issubclass(w.category, aw.errors.PersistWarning) and "'b'" in str(w.message) for w in told)
    assert list(store.blocking.load("wf").steps) == ["a", "b", "c"]
    again = workflow.run_sync(lambda ctx: [ctx.step(k, step, k, key=k) for k in "abc"], store=open_store(), id="wf")
    assert again == aw.Ok(["a", "b", "c"])
    assert calls == ["a", "b", "c"]


def test_what_could_not_be_saved_until_the_end_is_told(server, open_store):
    workflow = aw.create_workflow("pay", cache=None)

    def body(ctx):
        ctx.step("a", lambda: 1, key="a")
        server.kill()
        return ctx.step("b", lambda: 2, key="b")

    store = open_store(timeout=1)
    try:
        with pytest.warns(aw.errors.PersistWarning) as told:
            assert workflow.run_sync(body, store=store, id="wf") == aw.Ok(2)
    finally:
        server.start()
    assert all(PASSWORD not in str(w.message) for w in told)
    assert list(store.blocking.load("wf").steps) == ["a"]
