"""Who makes a step may say what it left, and whether its result is worth storing."""

from awaitly_nb.cache import create_memory_cache
from awaitly_nb.engine import StepSpec
from awaitly_nb.result import mark_of
from awaitly_nb.workflow import run_step, standing_run


def spec(**more):
    return StepSpec("cell", lambda: 7, (), {}, "cell:1", **more)


def ran(spec, cache):
    return run_step(standing_run("cells", cache), spec)


def test_what_is_not_worth_it_is_returned_and_not_stored():
    cache, seen = create_memory_cache(), []
    outcome = ran(spec(worth=lambda seconds: bool(seen.append(seconds))), cache)
    assert outcome.result.value == 7
    assert (outcome.stored, outcome.error) == (False, None)
    assert not cache.has("cell:1")
    assert seen[0] >= 0.0


def test_what_is_worth_it_is_stored():
    cache = create_memory_cache()
    assert ran(spec(worth=lambda seconds: True), cache).stored
    assert ran(spec(worth=lambda seconds: False), cache).hit


def test_what_the_step_left_rides_in_the_mark():
    cache, calls = create_memory_cache(), []

    def made():
        calls.append(1)
        return {"vars": {"x": "int 1"}}

    ran(spec(made=made), cache)
    ran(spec(made=made), cache)
    assert mark_of(cache.get("cell:1")).made == {"vars": {"x": "int 1"}}
    assert calls == [1]
