"""The engine over every kind of cache: keys and names of any spelling, adapters of the user's own, and broken ones."""

from __future__ import annotations

import gc
import weakref
from fnmatch import fnmatchcase

import pytest

import awaitly_nb as aw

KEYS = [
    " ",
    "a b",
    "a\nb",
    "a\x00b",
    "a\x1fb",
    "\x1f",
    "../../etc/passwd",
    "C:\\temp\\x",
    "*",
    "[a-z]?",
    "%_",
    "'; DROP TABLE Cache; --",
    "ключ:1",
    "🦀" * 100,
    "e\u0301",
    "\u00e9",
    "x" * 990,
    "x" * 5000,
    "x" * 4999 + "y",
    "A",
    "a",
    "1",
    "01",
    "None",
    "<script>alert(1)</script>",
]


def one_step(fn, key="k"):
    def body(ctx):
        value = yield ctx.step("fetch", fn, key=key)
        return value

    return body


def test_keys_of_any_spelling_are_kept_apart_and_found_again(plain, cache, forget):
    workflow = aw.create_workflow("w", None, cache=cache)

    def body(ctx):
        return [ctx.step("fetch", lambda key=key: f"value of {key}", key=key) for key in KEYS]

    expected = aw.Ok([f"value of {key}" for key in KEYS])
    result, state = plain.run_with_state(workflow, lambda ctx: body(ctx))
    assert result == expected
    assert sorted(cache.keys()) == sorted(KEYS)
    assert plain.run(aw.create_workflow("w", None, cache=cache), body) == expected
    assert list(aw.ResumeState.from_json(state.to_json()).steps) == KEYS
    for key in KEYS:
        assert cache.get(key) == aw.Ok(f"value of {key}")
        forget(cache, key)
        assert key not in list(cache.keys())
    assert list(cache.keys()) == []


def test_a_key_that_no_file_or_database_can_hold_is_kept_or_told(mode, cache):
    result = mode.run(aw.create_workflow("w", None, cache=cache), one_step(lambda: 1, key="a\ud800b"))
    if not result.ok:
        assert isinstance(result.cause, aw.MisuseError)
        assert "key" in str(result.cause)
    else:
        assert list(cache.keys()) == ["a\ud800b"]


@pytest.mark.parametrize("name", ["a b", "../up", "x/y", "имя", "*", "a" * 300], ids=ascii)
def test_workflow_names_of_any_spelling_are_namespaces_of_their_own(mode, name):
    fetch = mode.counted(lambda: 1)
    for _ in range(2):
        assert mode.run(aw.create_workflow(name, None), one_step(fetch)) == aw.Ok(1)
    assert len(fetch.calls) == 1
    assert aw.create_disk_cache(namespace=name).keys() == ["k"]


def test_a_name_with_the_separator_of_namespaces_is_refused(mode, tmp_path):
    with pytest.raises(aw.errors.InvalidOptionError, match="namespace"):
        aw.create_disk_cache(tmp_path, namespace="a\x1fb")
    with pytest.raises(aw.errors.InvalidOptionError, match="half of a character"):
        aw.create_disk_cache(tmp_path, namespace="a\ud800")
    assert isinstance(
        mode.run(aw.create_workflow("a\x1fb", None), one_step(lambda: 1)).cause, aw.errors.InvalidOptionError
    )


def test_no_namespace_and_key_meet_another_pair(tmp_path):
    pairs = [("a", "b\x1fc"), ("", "a\x1fb\x1fc"), ("a", "c"), ("", "c"), ("", "a"), ("", "a\x1fc"), ("A", "c")]
    for number, (namespace, key) in enumerate(pairs):
        aw.create_disk_cache(tmp_path, namespace=namespace).set(key, aw.Ok(number))
    for number, (namespace, key) in enumerate(pairs):
        assert aw.create_disk_cache(tmp_path, namespace=namespace).get(key) == aw.Ok(number)
    for namespace in ("a", "", "A"):
        keys = sorted(key for other, key in pairs if other == namespace)
        assert sorted(aw.create_disk_cache(tmp_path, namespace=namespace).keys()) == keys


class Adapter:
    """The least that a cache of the user's own has to do."""

    def __init__(self):
        self.rows = {}

    def get(self, key):
        return self.rows.get(key)

    def set(self, key, result, *, ttl=None):
        self.rows[key] = result

    def has(self, key):
        return key in self.rows

    def delete(self, key):
        return self.rows.pop(key, None) is not None

    def clear(self):
        self.rows.clear()

    def keys(self):
        return list(self.rows)

    def entries(self, pattern="*"):
        return [aw.Entry(key=key) for key in self.rows if fnmatchcase(key, pattern)]

    def to_frame(self):
        raise NotImplementedError


def test_a_cache_of_the_users_own_needs_only_the_verbs_of_step_cache(mode):
    cache = Adapter()
    fetch = mode.counted(lambda: aw.err("NO"))
    workflow = aw.create_workflow("w", None, cache=cache)
    assert mode.run(workflow, one_step(fetch)) == mode.run(workflow, one_step(fetch)) == aw.Err("NO")
    assert len(fetch.calls) == 1
    assert cache.rows == {"k": aw.Err("NO")}


class Unreadable(Adapter):
    """A server that has gone away."""

    def get(self, key):
        raise ConnectionError("the server has gone away")


def test_a_cache_that_cannot_be_read_is_bypassed_and_the_work_goes_on(mode):
    cache = Unreadable()
    fetch = mode.counted(lambda: 1)
    with pytest.warns(aw.errors.CacheUnusableWarning, match="gone away"):
        assert mode.run(aw.create_workflow("w", None, cache=cache), one_step(fetch)) == aw.Ok(1)
    assert len(fetch.calls) == 1


@pytest.mark.parametrize("row", ["text", None, 42, {"ok": True}], ids=repr)
def test_a_mapping_that_holds_something_else_under_the_key_is_a_miss_with_its_reason(mode, recorder, row):
    cache = {"k": row}
    assert mode.run(aw.create_workflow("w", None, cache=cache, on_event=recorder), one_step(lambda: 1)) == aw.Ok(1)
    assert cache == {"k": aw.Ok(1)}
    (miss,) = recorder.of("step_cache_miss")
    assert row is None or type(row).__name__ in miss.reason


def test_results_that_the_user_put_into_a_mapping_are_served(mode):
    fetch = mode.counted(lambda: 1)
    cache = {"k": aw.Ok("by hand"), "other": aw.err("NO")}
    workflow = aw.create_workflow("w", None, cache=cache)
    assert mode.run(workflow, one_step(fetch)) == aw.Ok("by hand")
    assert mode.run(workflow, one_step(fetch, key="other")) == aw.Err("NO")
    assert fetch.calls == []


def test_results_that_the_user_set_in_any_cache_are_served(mode, cache):
    if isinstance(cache, dict):
        cache["k"] = aw.Ok("by hand")
    else:
        cache.set("k", aw.Ok("by hand"))
    fetch = mode.counted(lambda: 1)
    assert mode.run(aw.create_workflow("w", None, cache=cache), one_step(fetch)) == aw.Ok("by hand")
    assert fetch.calls == []


class Value:
    """What a weak reference can point to."""


def test_a_run_does_not_hold_the_values_of_its_hits(tmp_path):
    workflow = aw.create_workflow("w", cache=aw.create_disk_cache(tmp_path))
    make = lambda ctx: ctx.step("make", Value, key="k")  # noqa: E731
    workflow.run_sync(make).unwrap()

    def body(ctx):
        seen = weakref.ref(make(ctx))
        gc.collect()
        return seen() is None, isinstance(make(ctx), Value)

    assert workflow.run_sync(body).unwrap() == (True, True)
    assert [step.state for step in workflow.last_run.steps] == ["hit"]


def test_what_the_cache_lost_after_a_hit_is_computed_and_what_the_run_computed_itself_is_not(mode, tmp_path):
    cache = aw.create_disk_cache(tmp_path)
    workflow = aw.create_workflow("w", cache=cache)
    calls = []

    def body(ctx):
        first = yield ctx.step("make", lambda: calls.append(1) or len(calls), key="k")
        cache.delete("k")
        second = yield ctx.step("make", lambda: calls.append(1) or len(calls), key="k")
        cache.delete("k")
        return first, second, (yield ctx.step("make", lambda: calls.append(1) or len(calls), key="k"))

    cache.set("k", aw.Ok("served"))
    assert mode.run(workflow, body) == aw.Ok(("served", 1, 1))
