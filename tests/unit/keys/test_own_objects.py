"""Workflows and caches that a step or a cell reads: a workflow by what it runs, a cache not at all."""

import pytest

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import fingerprint, function_digest, step_parts
from awaitly_nb.keys.parts import cell_parts

WORKFLOW = """
import awaitly_nb as aw
def helper(): return {helper}
def fetch(): return helper()
wf = aw.create_workflow("r", {{"fetch": fetch}}, cache=None)
def body(ctx): return ctx.deps.fetch()
@aw.step(cache={{}})
def o(): return wf.run_sync(body).unwrap()
def made(): return wf
"""
CELL = "res = wf.run_sync(body)"


def test_a_workflow_counts_by_the_functions_that_it_was_given(kernel):
    def keys(helper):
        kernel.run(WORKFLOW.format(helper=helper))
        held = [function_digest(kernel[name]) for name in ("o", "made")]
        return [*held, cell_parts(CELL, kernel.ns, name="c").key, fingerprint(kernel["wf"])]

    first = keys(1)
    assert kernel["o"]() == 1
    kernel.run(CELL)
    assert keys(1) == first
    assert all(one != two for one, two in zip(first, keys(2), strict=True))
    assert kernel["o"]() == 2


def test_a_run_does_not_change_the_key_of_its_workflow(kernel):
    kernel.run(WORKFLOW.format(helper=1))
    before = fingerprint(kernel["wf"])
    kernel.run(CELL)
    assert fingerprint(kernel["wf"]) == before


@pytest.mark.parametrize("reading", ["cache.get('a')", "cache.has('a')", "cache.entries()", "list(cache.keys())"])
@pytest.mark.parametrize("made", ["aw.create_memory_cache()", "aw.create_disk_cache(FOLDER)"])
def test_what_reads_a_cache_is_not_cached_and_says_so(kernel, tmp_path, made, reading):
    kernel.ns["FOLDER"] = tmp_path
    kernel.run(f"import awaitly_nb as aw\ncache = {made}\ndef f(): return {reading}\n")
    with pytest.raises(UnkeyableError, match="what a cache holds comes and goes"):
        step_parts(kernel["f"], (), {}, name="f")
    with pytest.raises(UnkeyableError, match="cannot key global cache"):
        cell_parts(f"x = {reading}", kernel.ns, name="c")


def test_what_only_hands_a_cache_on_is_cached(kernel):
    kernel.run("import awaitly_nb as aw\ncache = aw.create_memory_cache()\n")
    cell = "wf = aw.create_workflow('r', cache=cache)\nres = wf.run_sync(lambda ctx: ctx.step('a', lambda: 1, key='a'))"
    before = cell_parts(cell, kernel.ns, name="c").key
    kernel.run(cell)
    assert cell_parts(cell, kernel.ns, name="c").key == before
