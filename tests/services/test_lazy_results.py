"""A dask worker keeps its result on the server itself, and the server's password stays out of sight."""

import os
import warnings

import distributed
import pytest

import awaitly_nb as aw
from awaitly_nb.codec import to_bytes


@pytest.fixture(scope="module")
def client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tornado and dask, on the way up
        cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with distributed.Client(cluster) as made:
        yield made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster.close()


@pytest.mark.parametrize("name", ["postgres", "mongo", "libsql", "redis", "s3"])
def test_a_worker_keeps_its_result_on_the_server(name, servers, table, client, monkeypatch):
    store = servers(name).open(table=table)
    cache = aw.create_shared_cache(store, namespace="w")
    sets = []
    monkeypatch.setattr(cache, "set", lambda *args, **options: sets.append(args))
    workflow = aw.create_workflow("w", cache=cache, executor=client)

    def body(ctx):
        handles = ctx.map("make", lambda n: [os.getpid()] * n, [10, 20], lazy=True)
        return handles, ctx.step("count", lambda values: [len(value) for value in values], handles)

    for state in ("computed", "hit"):
        handles, counted = workflow.run_sync(body).unwrap()
        assert counted == [10, 20]
        assert [step.state for step in workflow.last_run.steps[:2]] == [state] * 2
    assert sets == []
    assert os.getpid() not in handles[0].load()
    packed = to_bytes(handles)
    assert repr(packed) == f"<{len(packed)} packed bytes>"
    store.blocking.close()
