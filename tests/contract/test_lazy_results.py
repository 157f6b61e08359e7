"""`lazy=True`: a step comes to a handle, and the value is loaded where it is used."""

import asyncio
import copy
import pickle

import pytest

import awaitly_nb as aw
from awaitly_nb.codec import from_bytes, to_bytes

CACHES = ["dict", "memory", "disk", "shared"]


def open_cache(kind, folder):
    return {
        "dict": dict,
        "memory": aw.create_memory_cache,
        "disk": lambda: aw.create_disk_cache(folder / "cache"),
        "shared": lambda: aw.create_shared_cache(aw.sqlite(folder / "cache.db")),
    }[kind]()


@pytest.fixture(params=CACHES)
def kept(request, tmp_path):
    return open_cache(request.param, tmp_path)


@pytest.fixture(params=["plain", "async"])
def run(request, kept):
    """Run one step in a plain or an awaiting body."""
    workflow = aw.create_workflow("w", cache=kept)

    def run(*args, **options):
        async def body(ctx):
            return await ctx.step(*args, **options)

        if request.param == "async":
            return asyncio.run(workflow.run(body))
        return workflow.run_sync(lambda ctx: ctx.step(*args, **options))

    run.workflow = workflow
    run.state = lambda: workflow.last_run.steps[-1].state
    return run


def test_a_handle_comes_back_and_loads_a_fresh_value_each_time(run):
    handle = run("make", lambda: [1, 2], key="list", lazy=True).unwrap()
    assert isinstance(handle, aw.Stored)
    assert handle.key == "list"
    assert handle.load() == [1, 2]
    again = run("make", lambda: [1, 2], key="list", lazy=True).unwrap()
    assert run.state() == "hit"
    assert again.load() == [1, 2]


class Loud:
    """Tells when it is unpickled."""

    loads = 0

    def __setstate__(self, state):
        Loud.loads += 1


@pytest.mark.parametrize("kind", ["disk", "shared"])
def test_a_hit_decodes_nothing(kind, tmp_path):
    workflow = aw.create_workflow("w", cache=open_cache(kind, tmp_path))
    for _ in range(2):
        Loud.loads = 0
        loud = Loud()
        loud.state = 1
        handle = workflow.run_sync(lambda ctx, loud=loud: ctx.step("make", lambda: loud, key="k", lazy=True)).unwrap()
        assert Loud.loads == 0
    assert workflow.last_run.steps[0].state == "hit"
    assert handle.size_bytes > 0
    handle.load()
    assert Loud.loads == 1


def test_a_lazy_step_needs_a_key(run):
    result = run("make", int, lazy=True)
    assert isinstance(result.cause, aw.MisuseError)
    assert "key=" in str(result.cause)


def test_another_step_gets_the_value(run):
    handle = run("make", lambda: 20, key="n", lazy=True).unwrap()

    def add(a, more, *, last):
        return a + sum(more) + last["x"]

    assert run("add", add, handle, [handle, 1], last={"x": handle}) == aw.Ok(61)
    assert run("show", type, handle) == aw.Ok(int)


def test_an_automatic_key_counts_the_stored_result(kept):
    def make(n):
        return n

    def double(n):
        return 2 * n

    workflow = aw.create_workflow("w", {"double": double}, cache=kept)

    def once(n):
        made = workflow.run_sync(
            lambda ctx: ctx.steps.double(ctx.step("make", make, n, key=f"n:{n}", lazy=True))
        ).unwrap()
        return made, workflow.last_run.steps[-1].state

    assert once(1) == (2, "computed")
    assert once(1) == (2, "hit")
    assert once(2) == (4, "computed")
    workflow.run_sync(lambda ctx: ctx.step("make", make, 1, key="n:1")).unwrap()
    assert once(1) == (2, "hit")


def test_lazy_and_plain_steps_share_a_key(kept):
    workflow = aw.create_workflow("w", cache=kept)

    def body(ctx):
        first = ctx.step("make", lambda: [7], key="k", lazy=True)
        second = ctx.step("make", lambda: [8], key="k")
        third = ctx.step("make", lambda: [9], key="k", lazy=True)
        return first.load(), second, third.load(), ctx.attempt("make", lambda: [0], key="k", lazy=True).value.load()

    assert workflow.run_sync(body) == aw.Ok(([7], [7], [7], [7]))


def test_a_map_of_handles(kept):
    workflow = aw.create_workflow("w", cache=kept)

    def body(ctx):
        handles = ctx.map("square", lambda n: n * n, range(4), lazy=True)
        return handles, ctx.step("sum", sum, handles, key="sum")

    handles, total = workflow.run_sync(body).unwrap()
    assert [handle.load() for handle in handles] == [0, 1, 4, 9]
    assert total == 14
    workflow.run_sync(body).unwrap()
    assert {step.state for step in workflow.last_run.steps} == {"hit"}


def test_failures_are_failures(run):
    assert run("make", lambda: aw.err("no"), key="k", lazy=True) == aw.Err("no")
    assert run("make", lambda: aw.err("no"), key="k", lazy=True) == aw.Err("no")


def test_what_no_cache_takes_is_held_by_the_handle(tmp_path):
    lock = __import__("threading").Lock()
    workflow = aw.create_workflow("w", cache=aw.create_disk_cache(tmp_path))
    with pytest.warns(aw.errors.UncachedWarning, match="was not stored"):
        handle = workflow.run_sync(lambda ctx: ctx.step("make", lambda: lock, key="k", lazy=True)).unwrap()
    assert handle.load() is lock


@pytest.mark.parametrize("kind", ["disk", "shared"])
def test_a_handle_whose_entry_is_gone_or_replaced_says_so(kind, tmp_path):
    cache = open_cache(kind, tmp_path)
    workflow = aw.create_workflow("w", cache=cache)
    make = lambda: workflow.run_sync(lambda ctx: ctx.step("make", lambda: 1, key="k", lazy=True)).unwrap()  # noqa: E731
    handle = make()
    cache.set("k", aw.Ok(2))
    with pytest.raises(aw.errors.NotCachedError, match="replaced"):
        handle.load()
    cache.delete("k")
    with pytest.raises(aw.errors.NotCachedError, match="'k' again"):
        handle.load()
    assert make().load() == 1


def test_a_damaged_entry_is_computed_again(tmp_path):
    cache = aw.create_disk_cache(tmp_path)
    workflow = aw.create_workflow("w", cache=cache)

    def make():
        return workflow.run_sync(lambda ctx: ctx.step("make", lambda: bytes(100_000), key="k", lazy=True)).unwrap()

    handle = make()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 99_000]
    values = [
        path for path in files if path.suffix not in (".db", ".db-wal", ".db-shm") and "cache.db" not in path.name
    ]
    assert values
    for path in values:
        data = bytearray(path.read_bytes())
        data[-50_000] ^= 1
        path.write_bytes(data)
    cache.store.clear()
    with pytest.warns(aw.errors.DamagedEntryWarning), pytest.raises(aw.errors.NotCachedError, match="again"):
        handle.load()
    assert make().load() == bytes(100_000)


@pytest.mark.parametrize("kind", ["disk", "shared"])
def test_a_file_that_changed_computes_anew(kind, tmp_path):
    path = tmp_path / "data.txt"
    path.write_text("old")

    def read(name):
        with open(name) as file:  # noqa: PTH123
            return file.read()

    workflow = aw.create_workflow("w", cache=open_cache(kind, tmp_path))

    def once():
        handles = workflow.run_sync(lambda ctx: ctx.map("read", read, [str(path)], lazy=True)).unwrap()
        return handles[0].load(), workflow.last_run.steps[0].state

    assert once() == ("old", "computed")
    assert once() == ("old", "hit")
    path.write_text("newer")
    assert once() == ("newer", "computed")


@pytest.mark.parametrize("kind", ["disk", "shared"])
def test_a_checkpoint_keeps_the_handle_and_a_later_run_loads_it(kind, tmp_path):
    def once(stop):
        workflow = aw.create_workflow("w", cache=open_cache(kind, tmp_path))

        def body(ctx):
            big = ctx.step("big", lambda: list(range(1000)), key="big", lazy=True)
            if stop:
                raise RuntimeError
            return ctx.step("sum", sum, big, key="sum"), ctx.step("again", len, ctx.step("big", list, key="big"))

        result = workflow.run_sync(body, store=aw.sqlite(tmp_path / "states.db"), id="wf-1")
        return result, workflow.last_run.steps[0].state

    assert once(stop=True)[1] == "computed"
    result, state = once(stop=False)
    assert result == aw.Ok((499500, 1000))
    assert state == "hit"


def test_a_handle_inside_a_kept_value_finds_its_folder_again(tmp_path):
    workflow = aw.create_workflow("w", cache=aw.create_disk_cache(tmp_path))
    handle = workflow.run_sync(lambda ctx: ctx.step("make", lambda: [1], key="k", lazy=True)).unwrap()
    assert copy.deepcopy([handle])[0].load() == [1]
    assert pickle.loads(pickle.dumps({"kept": handle}))["kept"].load() == [1]


def test_a_handle_shows_itself_inert_and_tells_no_address(tmp_path):
    handle = aw.Stored("<b>key</b>", 1_500_000)
    assert repr(handle) == "<stored '<b>key</b>', 1.5 MB>"
    assert "<b>" not in handle._repr_html_()


def test_the_address_of_a_server_travels_to_workers_only():
    pytest.importorskip("redis")
    cache = aw.create_shared_cache(aw.redis("redis://user:hunter2@localhost:1/0"))
    cache.store.store.place = "known"  # without a server to ask
    handle = aw.Stored("k", 1, "digest", cache)
    assert b"hunter2" not in pickle.dumps(handle)
    assert pickle.loads(pickle.dumps(handle)) == handle
    packed = to_bytes(handle)
    assert b"hunter2" in packed
    assert "hunter2" not in repr(packed) + repr(handle) + handle._repr_html_()
    with pytest.raises(aw.errors.StoreError) as told:  # the worker asks the server, which is not there
        from_bytes(packed)
    assert "hunter2" not in str(told.value)
