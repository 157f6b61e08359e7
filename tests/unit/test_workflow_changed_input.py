"""A step that changes what it was given is told, and not stored: a hit would leave it as it was."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd
import pytest

import awaitly_nb as aw


def doubled(df):
    df["z"] = df["x"] * 2
    return len(df)


def dropped(df):
    return int(df.pop("x").sum())


def sorted_list(items):
    items.sort()
    return items[0]


def zeroed(array):
    array[:] = 0
    return 0


class Model:
    def __init__(self):
        self.w = 0

    def fit(self, x):
        self.w = x
        return self


def train(model, x):
    return model.fit(x).w


SEEN = {}


def noted(x):
    SEEN[x] = True
    return x


def configured(x):
    os.environ["MODE_OF_A_STEP"] = "fast"
    return x


def configured_for_a_while(x):
    os.environ["MODE_OF_A_STEP"] = "fast"
    del os.environ["MODE_OF_A_STEP"]
    return x


def pure(df):
    return df.assign(z=1)["z"].sum()


CASES = [
    (doubled, lambda: (pd.DataFrame({"x": [1, 2]}),), "argument df"),
    (dropped, lambda: (pd.DataFrame({"x": [1, 2], "y": 1}),), "argument df"),
    (sorted_list, lambda: ([3, 1, 2],), "argument items"),
    (zeroed, lambda: (np.arange(200_000),), "argument array"),
    (train, lambda: (Model(), 3), "argument model"),
    (noted, lambda: (1,), "global SEEN"),
]


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


@pytest.mark.parametrize(("fn", "given", "named"), CASES, ids=[fn.__name__ for fn, _, _ in CASES])
@pytest.mark.parametrize("how", ["decorated", "ctx.steps", "ctx.map"])
def test_it_is_named_with_both_ways_out_and_not_stored(tmp_path, fn, given, named, how):
    cache = aw.create_disk_cache(tmp_path)

    def call(args):
        if how == "decorated":
            return aw.step(cache=cache)(fn)(*args)
        workflow = aw.create_workflow("w", {"fn": fn}, cache=cache)
        if how == "ctx.steps":
            return workflow.run_sync(lambda ctx: ctx.steps.fn(*args)).unwrap()
        return workflow.run_sync(lambda ctx: ctx.map("fn", fn, args[:1], *args[1:])).unwrap()[0]

    args = given()
    expected = fn(*given())
    SEEN.clear()
    with pytest.warns(aw.errors.UncachedWarning) as told:
        assert call(args) == expected
    (message,) = {str(one.message) for one in told}
    assert named in message
    assert "Return" in message
    assert "copy" in message
    assert cache.keys() == []


def test_a_method_that_changes_its_object_is_told(tmp_path):
    class Counter:
        def __init__(self):
            self.n = 0

        @aw.step(cache=aw.create_disk_cache(tmp_path))
        def more(self, by):
            self.n += by
            return self.n

    counter = Counter()
    with pytest.warns(aw.errors.UncachedWarning, match="argument self"):
        assert counter.more(2) == 2
    with pytest.warns(aw.errors.UncachedWarning, match="argument self"):
        assert counter.more(2) == 4


def test_a_step_that_changes_nothing_is_stored_without_a_word(tmp_path):
    cache = aw.create_disk_cache(tmp_path)
    step = aw.step(cache=cache)(pure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(pd.DataFrame({"x": [1, 2]})) == 2
    assert len(cache.keys()) == 1


@pytest.mark.parametrize("how", ["decorated", "ctx.steps"])
def test_a_step_that_sets_the_environment_is_told_and_not_stored(tmp_path, how, monkeypatch):
    monkeypatch.setenv("MODE_OF_A_STEP", "slow")
    cache = aw.create_disk_cache(tmp_path)

    def call():
        if how == "decorated":
            return aw.step(cache=cache)(configured)(1)
        workflow = aw.create_workflow("w", {"fn": configured}, cache=cache)
        return workflow.run_sync(lambda ctx: ctx.steps.fn(1)).unwrap()

    with pytest.warns(aw.errors.UncachedWarning, match="set MODE_OF_A_STEP in the environment"):
        assert call() == 1
    assert cache.keys() == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call() == 1  # it was so before, and a hit leaves it so
    assert len(cache.keys()) == 1
    monkeypatch.setenv("MODE_OF_A_STEP", "slow")
    with pytest.warns(aw.errors.UncachedWarning, match="set MODE_OF_A_STEP in the environment"):
        assert call() == 1
    assert os.environ["MODE_OF_A_STEP"] == "fast"


def test_a_step_that_restores_the_environment_is_stored(tmp_path, monkeypatch):
    monkeypatch.delenv("MODE_OF_A_STEP", raising=False)
    cache = aw.create_disk_cache(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert aw.step(cache=cache)(configured_for_a_while)(1) == 1
    assert len(cache.keys()) == 1


def test_an_explicit_key_is_the_users_word(tmp_path):
    cache = aw.create_disk_cache(tmp_path)
    workflow = aw.create_workflow("w", cache=cache)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        workflow.run_sync(lambda ctx: ctx.step("sort", sorted_list, [2, 1], key="sorted")).unwrap()
    assert cache.keys() == ["sorted"]
