"""A store in S3: who wins a race, what happens without the server or its conditions, and what is never told."""

import logging
import os
import pickle
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb.stores import ABSENT
from tests.services.servers import PASSWORD, S3

STATE = aw.ResumeState().with_value("user:1", {"name": "Ada"})
RIVALS, TURNS = 4, 15

# Azure's own client hands large bodies to aiohttp in the way that aiohttp warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

# Each counts one up, `TURNS` times, over nothing but what it saw.
COUNTER = """
import sys
import awaitly_nb as aw
from awaitly_nb.stores import ABSENT

records = eval(sys.argv[1], {"aw": aw}).records
for _ in range(int(sys.argv[2])):
    while True:
        record = records.read("count")
        expect = ABSENT if record is None else record.version
        if records.swap("count", str(1 + int(record.head if record else 0)), [], expect=expect) is not None:
            break
records.close()
"""


@pytest.fixture
def s3(servers):
    return servers("s3")


@pytest.fixture(params=["s3", "gcs", "azure"])
def cloud(request, servers):
    """Each kind of object storage. They keep all in memory: what is started again has lost everything."""
    return servers(request.param)


@pytest.fixture(params=["s3", "folder"])
def opening(request, servers, table, tmp_path):
    """An expression that opens the store of this test, in any process."""
    return servers("s3").opening(table) if request.param == "s3" else f"aw.objects({str(tmp_path)!r}, table={table!r})"


@pytest.mark.slow
def test_of_processes_that_count_up_one_object_none_is_lost(opening):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", COUNTER, opening, str(TURNS)], stderr=subprocess.PIPE, env=environment
        )
        for _ in range(RIVALS)
    ]
    told = [process.communicate(timeout=240)[1].decode() for process in processes]
    assert told == [""] * RIVALS
    store = eval(opening, {"aw": aw})
    assert store.records.read("count").head == str(RIVALS * TURNS)
    store.blocking.close()


@pytest.mark.parametrize("how", ["ignores", "refuses"])
def test_a_service_without_conditions_serves_a_cache_and_refuses_leases(how, table):
    server = S3(how)
    try:
        store = server.open(table=table)
        cache = aw.create_shared_cache(store)
        for value in (1, 2):
            cache.set("key", aw.Ok(value))
            assert cache.get("key") == aw.Ok(value)
        workflow = aw.create_workflow("report", cache=cache)
        assert workflow.run_sync(lambda ctx: ctx.step("fit", lambda: 3, key="fit:1")) == aw.Ok(3)
        assert cache.keys() == ["key", "fit:1"]
        for refused in (
            lambda: store.blocking.acquire("wf", 60),
            lambda: store.records.swap("name", "{}", [], expect=ABSENT),
        ):
            with pytest.raises(aw.errors.StoreError, match="no writes under a condition"):
                refused()
        calls = []
        result = workflow.run_sync(lambda ctx: ctx.step("pay", calls.append, 1, key="pay:1"), store=store, id="wf")
        assert isinstance(result.error, aw.errors.StoreError)
        assert calls == []
        store.blocking.save("wf", STATE)
        assert store.blocking.load("wf") == STATE
        store.blocking.close()
    finally:
        server.remove()


def test_a_service_that_falters_is_asked_again(table):
    server = S3("falters")
    try:
        store = server.open(table=table)
        store.blocking.save("wf", STATE)
        assert store.blocking.load("wf") == STATE
        assert store.blocking.acquire("wf", 60) is not None
        assert store.blocking.delete("wf") is True
        store.blocking.close()
    finally:
        server.remove()


@pytest.mark.slow
def test_without_the_server_steps_are_computed_and_that_is_told_once(cloud, table):
    store = cloud.open(table=table, timeout=1.5)
    cache = aw.create_shared_cache(store)
    workflow = aw.create_workflow("report", cache=cache)
    calls = []

    def body(ctx):
        return ctx.step("fit", calls.append, 1, key="fit:1")

    assert workflow.run_sync(body).ok
    cloud.kill()
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert workflow.run_sync(body).ok
            assert workflow.run_sync(body).ok
    finally:
        cloud.start()
    assert calls == [1] * 3
    kinds = [warning.category for warning in told]
    assert kinds.count(aw.errors.CacheUnusableWarning) == 1
    assert set(kinds) == {
        aw.errors.CacheUnusableWarning,
        aw.errors.UncachedWarning,
    }  # the other one is of a result that is not kept
    assert all(PASSWORD not in str(warning.message) for warning in told)
    assert cache.keys() == []  # it is back, and remembers nothing; asking for it ends the waiting
    assert workflow.run_sync(body).ok
    assert workflow.run_sync(body).ok
    assert calls == [1] * 4
    store.blocking.close()


def test_a_server_that_hangs_does_not_hang_the_notebook(cloud, table, load_in_vain):
    patient, store = cloud.open(table=table), cloud.open(table=table, timeout=1)
    patient.blocking.save("wf", STATE)
    with cloud.frozen():
        load_in_vain(store)
    assert patient.blocking.load("wf") == STATE
    for handle in (patient, store):
        handle.blocking.close()


def test_without_the_server_a_store_says_so_without_its_password(s3, table, caplog):
    caplog.set_level(logging.DEBUG)
    store, new = s3.open(table=table), s3.open(table=table, timeout=1)
    store.blocking.save("wf", STATE)
    s3.stop()
    try:
        for handle in (store, new):
            with pytest.raises(aw.errors.StoreError) as caught:
                handle.blocking.load("wf")
            told = "".join(traceback.format_exception(caught.value))
            assert str(s3.port) in told
            for text in (told, repr(handle), repr(handle.records), str(pickle.dumps(caught.value)), caplog.text):
                assert PASSWORD not in text
            handle.blocking.close()
    finally:
        s3.start()


def test_a_bucket_that_is_not_there_is_an_error_and_no_miss(s3):
    store = aw.objects("s3://nobodys/team", storage_options=s3.options())
    for verb in (lambda: store.records.read("name"), lambda: store.records.swap("name", "{}", []), store.blocking.list):
        with pytest.raises(aw.errors.StoreError, match="s3://nobodys/team: .*bucket does not exist"):
            verb()
    store.blocking.close()


def test_a_list_of_heads_reads_no_bodies(cloud, table):
    store = cloud.open(table=table)
    for number in range(3):
        store.records.swap(f"n{number}", "x" * 10_000 * number, [bytes(3_000_000)])
    read = []
    get = store.records._bucket.get

    def measured(keys, most=None):
        found = get(keys, most)
        read.extend(len(content) for content in found)
        return found

    store.records._bucket.get = measured
    assert [len(record.head) for record in store.records.scan()] == [0, 10_000, 20_000]
    assert 30_000 < sum(read) < 60_000
    read.clear()
    assert [len(record.head) for record in store.records.scan()] == [0, 10_000, 20_000]
    assert read == []  # nothing was written since
    other = cloud.open(table=table)
    other.records.swap("n1", "new", [])
    other.records.delete(["n2"])
    assert [(record.name, len(record.head)) for record in store.records.scan()] == [("n0", 0), ("n1", 3)]
    assert 0 < sum(read) < 1_000
    assert [len(record.body) for record in store.records.scan(bodies=True)] == [3_000_000, 0]
    for handle in (store, other):
        handle.blocking.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(cloud, table):
    store = cloud.open(table=table)
    store.blocking.save("parent", STATE)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.blocking.save("child", STATE)
            store.blocking.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.blocking.save("parent again", STATE)
    assert [found.id for found in store.blocking.list()] == ["parent again", "child", "parent"]
    store.blocking.close()


def test_the_clock_is_the_servers_to_the_second(cloud, table, monkeypatch):
    store = cloud.open(table=table)
    right = store.records.now().timestamp()
    monkeypatch.setattr("awaitly_nb.stores.objects.services.time.time", lambda: 1_000_000.0)
    wrong = cloud.open(table=table)
    assert abs(wrong.records.now().timestamp() - right) < 60  # as this machine's clock is wrong by decades
    for handle in (store, wrong):
        handle.blocking.close()
