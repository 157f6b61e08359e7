"""Explicit keys as templates: what is refused, and what identifies a value."""

from __future__ import annotations

import itertools
import pathlib
import warnings
from datetime import date

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.workflow.template import fill

step_names = (f"step {n}" for n in itertools.count())  # each warns once


class Plain:
    def __init__(self, n):
        self.n = n


class Named(Plain):
    def __str__(self):
        return f"named-{self.n}"


@pytest.mark.parametrize(
    ("template", "value", "key"),
    [
        ("k:{x}", "a.csv", "k:a.csv"),
        ("k:{x}", 7, "k:7"),
        ("k:{x:03d}", 7, "k:007"),
        ("k:{x}", 1.5, "k:1.5"),
        ("k:{x}", None, "k:None"),
        ("k:{x!r}", "1", "k:'1'"),
        ("k:{x}", (1, "1"), "k:(1, '1')"),
        ("k:{x[0]}", {"0": 1, 0: 2}, "k:2"),
        ("k:{x.n}", Plain(3), "k:3"),
        ("k:{x}", Named(3), "k:named-3"),
        ("k:{x}", pathlib.Path("a/b"), "k:a/b"),
        ("k:{x}", date(2024, 1, 2), "k:2024-01-02"),
        ("{{{x}}}", "a", "{a}"),
    ],
)
def test_a_text_that_identifies_its_value_stands_in_the_key(template, value, key):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fill(template, {"x": value}, step=next(step_names)) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (True, "True"),
        (None, "None"),
        (1.5, "1.5"),
        (np.arange(5000), np.where(np.arange(5000) == 2500, -1, np.arange(5000))),
        (Plain(1), Plain(2)),
        ([Plain(1)], [Plain(2)]),
    ],
    ids=["int", "bool", "None", "float", "array", "object", "in a list"],
)
def test_two_values_with_one_text_have_two_keys_and_a_word_once(one, other):
    step = next(step_names)
    with pytest.warns(aw.errors.UncachedWarning, match="does not identify it") as told:
        keys = [fill("k:{x}", {"x": value}, step=step) for value in (one, other, other)]
    assert len(told) == 1
    assert keys[0] != keys[1] == keys[2]


def test_equal_objects_have_one_key_whatever_their_address():
    with pytest.warns(aw.errors.UncachedWarning):
        keys = {fill("k:{x}", {"x": Plain(1)}, step=next(step_names)) for _ in range(2)}
    assert len(keys) == 1


def test_a_value_without_a_fingerprint_runs_uncached_and_is_named():
    lock = __import__("threading").Lock()

    @aw.step(key="k:{lock}", cache={})
    def held(lock):
        return 1

    with pytest.warns(aw.errors.UncachedWarning, match="runs uncached.*lock"):
        assert held(lock) == 1
    workflow = aw.create_workflow("w", cache={})
    with pytest.warns(aw.errors.UncachedWarning, match="runs uncached.*item"):
        assert workflow.run_sync(lambda ctx: ctx.map("m", lambda item: 1, [lock], key="k:{item}")) == aw.Ok([1])


@pytest.mark.parametrize("template", ["raw:{pth}", "raw:{path:{width}}", "raw:{0}", "raw:{}", "raw:{pth.name}"])
def test_an_unknown_name_is_refused_where_the_function_is_defined(template):
    with pytest.raises(aw.MisuseError, match="which is not there; there are: path, limit"):
        aw.step(key=template)(lambda path, limit=1: path)


def test_any_name_may_come_where_the_function_takes_any():
    aw.step(key="raw:{anything}")(lambda **options: options)
    aw.step(key="raw:{x}")(max)
