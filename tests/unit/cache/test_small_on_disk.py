"""What repeats from result to result is stored once: a small one takes little more than its value does in diskcache."""

from __future__ import annotations

import contextlib

import diskcache
import pytest

import awaitly_nb as aw
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.result import mark_of

COUNT = 1000


def load(number):
    return {"id": number, "name": "x" * 100, "scores": [1.0, 2.5, 3.25], "tags": ["a", "b"]}


@pytest.fixture
def of_diskcache(tmp_path):
    with contextlib.closing(diskcache.Cache(tmp_path / "peer")) as peer:
        for number in range(COUNT):
            peer.set(f"k{number}", load(number))
    return (tmp_path / "peer" / "cache.db").stat().st_size


def test_of_a_decorated_function(tmp_path, of_diskcache):
    cache = aw.create_disk_cache(tmp_path / "ours", namespace="load")
    decorated = aw.step(cache=cache, name="load")(load)
    for number in range(COUNT):
        decorated(number)
    forget_folders()
    assert (tmp_path / "ours" / "cache.db").stat().st_size <= 2.1 * of_diskcache
    mark = mark_of(decorated.result(7))
    assert (mark.workflow, mark.call.split(" #")[0]) == ("load", "load(number=7)")
    code, argument = mark.parts["parts"]
    assert (code[0], argument) == ("code", ["argument", "number", "int 7", {"is": "int", "repr": "7"}])


def test_of_a_step_with_a_key(tmp_path, of_diskcache):
    workflow = aw.create_workflow("bench", cache=aw.create_disk_cache(tmp_path / "ours"))
    workflow.run_sync(lambda ctx: [ctx.step("load", load, n, key=f"k{n}") for n in range(COUNT)]).unwrap()
    forget_folders()
    assert (tmp_path / "ours" / "cache.db").stat().st_size <= 1.6 * of_diskcache
