"""The same servers as a step cache for a team: the shipped suite of caches, and a colleague's finished step."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb.testing.caches import StepCacheSuite
from tests.faults.counts import count
from tests.services.test_stores import of_azure

SECRET = "the team's own secret, 32 letters or more"


class _OnServer(StepCacheSuite):
    name = ""

    @pytest.fixture
    def open_cache(self, servers, table):
        opened = []

        def open_cache(**options):
            opened.append(servers(self.name).open(table=table))
            return aw.create_shared_cache(opened[-1], namespace="w", **options)

        yield open_cache
        for store in opened:
            store.blocking.close()


class TestSharedInPostgres(_OnServer):
    name = "postgres"


class TestSharedInMongo(_OnServer):
    name = "mongo"


class TestSharedInLibsql(_OnServer):
    name = "libsql"


class TestSharedInRedis(_OnServer):
    name = "redis"


class TestSharedInS3(_OnServer):
    name = "s3"


class TestSharedInGcs(_OnServer):
    name = "gcs"


@of_azure
class TestSharedInAzure(_OnServer):
    name = "azure"


COLLEAGUE = """
import sys
from pathlib import Path
import awaitly_nb as aw
cache = aw.create_shared_cache(eval(sys.argv[1], {"aw": aw}), namespace="report")
workflow = aw.create_workflow("report", cache=cache)
assert workflow.run_sync(lambda ctx: ctx.step("fit", lambda: {"score": 0.9}, key="fit:1")).unwrap() == {"score": 0.9}
"""


@pytest.mark.parametrize("name", ["postgres", "mongo", "libsql", "redis", "s3", "gcs", "azure"])
def test_a_step_that_a_colleague_finished_is_a_hit(servers, name, table, tmp_path, monkeypatch):
    server = servers(name)
    monkeypatch.setenv("AWAITLY_NB_SECRET", SECRET)
    home = {"HOME": str(tmp_path / "colleague"), "AWAITLY_NB_SECRET": SECRET, "PYTHONPATH": str(Path.cwd())}
    subprocess.run(
        [sys.executable, "-c", COLLEAGUE, server.opening(table)], env={**os.environ, **home}, check=True, timeout=120
    )
    store = server.open(table=table)
    workflow = aw.create_workflow("report", cache=aw.create_shared_cache(store, namespace="report"))
    calls = []
    with pytest.warns(
        aw.errors.CodeChangedWarning
    ):  # it is not the same function, and its key says that it is the same step
        result = workflow.run_sync(lambda ctx: ctx.step("fit", lambda: calls.append(1), key="fit:1"))
    assert result == aw.Ok({"score": 0.9})
    assert calls == []
    store.blocking.close()


def test_states_and_shared_results_of_one_server_do_not_mix(server, open_store):
    store = open_store()
    cache = aw.create_shared_cache(store)
    cache.set("wf", aw.Ok("a result"))
    store.blocking.save("wf", aw.ResumeState().with_value("step", "a state"))
    assert cache.keys() == ["wf"]
    assert [found.id for found in store.blocking.list()] == ["wf"]
    cache.clear()
    assert cache.keys() == []
    assert store.blocking.load("wf").is_complete("step")
    assert store.blocking.delete("wf") is True


@pytest.mark.parametrize("name", ["postgres", "mongo", "libsql", "redis"])
def test_a_server_that_hangs_holds_up_a_run_for_one_time_out_and_not_at_each_step(servers, name, table):
    server = servers(name)
    opened = server.open(table=table, timeout=1)
    workflow = aw.create_workflow("report", cache=aw.create_shared_cache(opened))

    def body(ctx):
        return [ctx.step("double", lambda n=n: 2 * n, key=f"double:{n}") for n in range(200)]

    opened.records.read("something")  # connected, as in the middle of a day's work
    with server.frozen():
        began = time.perf_counter()
        with pytest.raises(aw.errors.StoreError):
            opened.records.read("something")
        try_s = time.perf_counter() - began
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert workflow.run_sync(body).unwrap() == [2 * n for n in range(200)]
        assert time.perf_counter() - began < 10 * try_s
    assert any("cannot be used, so steps are computed" in str(warning.message) for warning in told)
    opened.blocking.close()


STOPS = count(sample=4, whole=20)


class Woken:
    """Records, where `meanwhile` is called just before the value of "k" is written: there this process was stopped."""

    def __init__(self, records, meanwhile):
        self.inner = records
        self.meanwhile = meanwhile

    def __getattr__(self, verb):
        def ask(*args, **options):
            if verb == "swap" and args[0].endswith("\x1fk") and self.meanwhile:
                self.meanwhile.pop()()
            return getattr(self.inner, verb)(*args, **options)

        return ask


@pytest.mark.parametrize("name", ["sqlite", "folder", "postgres", "mongo", "libsql", "redis", "s3", "gcs", "azure"])
def test_who_wakes_just_before_its_write_does_not_write_over_its_successor(servers, name, table, tmp_path):
    """The lease still held when it was looked at; on every store, on a new key and on one that is there."""

    def opened():
        if name == "sqlite":
            return aw.sqlite(tmp_path / "shared.db")
        return aw.objects(tmp_path) if name == "folder" else servers(name).open(table=table)

    stores, meanwhile = [opened(), opened()], []
    first = aw.create_shared_cache(aw.StateStore(Woken(stores[0].records, meanwhile)))
    second = aw.create_shared_cache(stores[1])
    for number in range(STOPS):
        mine, theirs = first.single_flight("k"), second.single_flight("k")
        mine._ttl_s = 0.05
        assert mine.try_acquire()
        mine._done.set()  # nobody renews it any more
        if number % 4 == 2:
            first.delete("k")
        if number % 2:
            first.lookup("k")

        def stopped(theirs=theirs, number=number):
            while not theirs.try_acquire():
                pass  # until it has run out, by the store's own clock
            second.set("k", aw.Ok(number))
            theirs.release()

        meanwhile.append(stopped)
        with pytest.raises(aw.LeaseHeldError):
            first.set("k", aw.Ok("late"))
        mine.release()
        assert second.get("k") == aw.Ok(number)
    for store in stores:
        store.blocking.close()
