"""Fix the function, run again, and it runs: however a step reaches the function whose failure is kept."""

from __future__ import annotations

import pytest

import awaitly_nb as aw

FLAWED = """
class Client:
    def fetch(self, n):
        return self.inner(n)
    def inner(self, n):
        return aw.err("FLAWED")
def f(n):
    return Client().fetch(n)
client = Client()
D = {"f": f, "more": [f]}
class Holder:
    def __init__(self):
        self.call = f
        self.me = self
holder = Holder()
nested = aw.create_workflow("nested", {"f": f}, cache=None)
def nested_body(ctx):
    return ctx.step("in", lambda: ctx.deps.f(1))
"""
FIXED = FLAWED.replace('aw.err("FLAWED")', '"fixed"')

THUNKS = {
    "an object as dep": "lambda ctx: lambda: ctx.deps.client.fetch(1)",
    "a global object": "lambda ctx: lambda: client.fetch(1)",
    "deps by another name": "lambda ctx: (lambda d: lambda: d.f(1))(ctx.deps)",
    "a table": 'lambda ctx: lambda: D["f"](1)',
    "a table in a table": 'lambda ctx: lambda: D["more"][0](1)',
    "an attribute": "lambda ctx: lambda: holder.call(1)",
    "an attribute of an object in the closure": "lambda ctx: (lambda held: lambda: held.me.call(1))(Holder())",
    "a table in the closure": "lambda ctx: (lambda table: lambda: table[0](1))([f])",
    "an object in the closure": "lambda ctx: (lambda held: lambda: held.fetch(1))(Client())",
    "a nested workflow": "lambda ctx: lambda: nested.run_sync(nested_body)",
}


@pytest.mark.parametrize("thunk", THUNKS.values(), ids=THUNKS)
@pytest.mark.parametrize("again", [True, False], ids=["all again", "only the function"])
def test_a_kept_failure_is_not_replayed_by_fixed_code(thunk, again):
    namespace, cache = {"__name__": "__main__", "aw": aw}, {}

    def run():
        deps = {"client": namespace["client"], "f": namespace["f"]}
        workflow = aw.create_workflow("w", deps, cache=cache)
        make = namespace["make"]
        return workflow.run_sync(lambda ctx: ctx.step("s", make(ctx), key="k")), workflow.last_run.steps[0].state

    exec(compile(f"{FLAWED}\nmake = {thunk}", "<ipython-input-1>", "exec"), namespace)
    assert run() == (aw.Err("FLAWED"), "failed")
    assert run() == (aw.Err("FLAWED"), "replayed failure")
    fixed = {"__name__": "__main__", "aw": aw}
    if again:
        exec(compile(f"{FIXED}\nmake = {thunk}", "<ipython-input-2>", "exec"), namespace)
    else:  # as autoreload does
        exec(compile(FIXED, "<ipython-input-2>", "exec"), fixed)
        namespace["Client"].inner = fixed["Client"].inner
    assert run() == (aw.Ok("fixed"), "computed")


def test_values_of_objects_make_no_difference_under_an_explicit_key():
    class Client:
        def __init__(self, rows):
            self.rows = rows
            self.me = [self]

    cache = {}
    workflow = aw.create_workflow("w", cache=cache)
    for rows in ([1], [2]):
        client = Client(rows)
        assert workflow.run_sync(lambda ctx, client=client: ctx.step("s", lambda: client.rows, key="k")) == aw.Ok([1])
