"""Code that reaches nothing but its arguments: only there may a step run without being watched."""

from __future__ import annotations

import functools
import logging
import math
import os
import random
from math import sqrt

import pytest

import awaitly_nb as aw
from awaitly_nb.keys import step_parts
from awaitly_nb.result import mark_of

LIMIT, TABLE, LOG = 3, [1], logging.getLogger("isolated")


def plain(x):
    return {"id": x, "shown": f"{x:>5}", "all": [y + 1 for y in (x, 2)]}


def computing(x):
    return sum(sorted(range(int(x)))) + math.floor(sqrt(x)) + LIMIT


def by_a_helper(x):
    if not isinstance(x, int):
        raise TypeError(x)
    return plain(x)


def nested(x):
    def inner(y):
        return y * x

    return list(map(inner, (1, 2)))


@pytest.mark.parametrize("function", [plain, computing, by_a_helper, nested])
def test_such_code_is_known(function):
    assert step_parts(function, (4,), {}, name="f").is_isolated


def opens(x):
    with open(x) as file:  # noqa: PTH123 - as people write it
        return file.read()


def imports(x):
    import os

    return os.environ.get(x)


def draws(x):
    return x + random.random()


def asks(x):
    return os.path.exists(x)  # noqa: PTH110 - as above


def evaluates(x):
    return eval(x)


def logs(x):
    LOG.warning(x)


def reads_data(x):
    return TABLE[0] + x


def sets_a_global(x):
    global LIMIT
    LIMIT = x


def marks_a_helper(x):
    plain.seen = x


def looks_through_a_frame(x):
    return (y for y in (x,)).gi_frame.f_builtins["open"]


def looks_through_a_class(x):
    return x.__class__.__base__


def looks_by_text(x):
    return x.format(y for y in (x,))


def of_a_helper(x):
    return opens(x)


def inside(x):
    def inner():
        return os.environ

    return inner, x


def with_a_default(x, log=LOG):
    return log, x


def helper_with_a_default(x):
    return with_a_default(x)


@functools.lru_cache
def remembered(x):
    return x


def by_what_remembers(x):
    return remembered(x)


async def waits(x):
    return x


def defines(x):
    class Local:
        pass

    return Local, x


@pytest.mark.parametrize(
    "function",
    [opens, imports, draws, asks, evaluates, logs, reads_data, sets_a_global, marks_a_helper, looks_through_a_frame]
    + [looks_through_a_class, looks_by_text, of_a_helper, inside, with_a_default, helper_with_a_default, remembered]
    + [by_what_remembers, waits, defines, functools.partial(plain), functools.partial(opens), print, len],
)
def test_other_code_is_watched(function):
    assert not step_parts(function, ("a",), {}, name="f").is_isolated


@pytest.mark.parametrize("value", [[1], {"a": 1}, LOG, (1, [2]), object, plain])
def test_what_is_not_plain_may_lead_anywhere(value):
    assert not step_parts(plain, (value,), {}, name="f").is_isolated


def test_an_argument_that_does_not_count_may_be_anything():
    assert not step_parts(with_a_default, (1,), {"log": LOG}, name="f", ignore=("log",)).is_isolated


def test_a_builtin_that_a_global_hides_is_not_that_builtin(monkeypatch):
    monkeypatch.setitem(globals(), "sum", lambda values: os.environ)
    assert not step_parts(computing, (4,), {}, name="f").is_isolated


def test_a_helper_that_is_replaced_is_looked_at_again(monkeypatch):
    assert step_parts(by_a_helper, (4,), {}, name="f").is_isolated
    monkeypatch.setitem(globals(), "plain", opens)
    assert not step_parts(by_a_helper, (4,), {}, name="f").is_isolated


def test_what_reads_the_environment_is_traced_and_what_computes_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("MODE_OF_ISOLATED", "fast")
    cache = aw.create_disk_cache(tmp_path)
    reading, computes = aw.step(imports, cache=cache), aw.step(plain, cache=cache)
    assert mark_of(reading.result("MODE_OF_ISOLATED")).traces
    assert mark_of(computes.result(4)).traces is None
    monkeypatch.setenv("MODE_OF_ISOLATED", "slow")
    assert reading("MODE_OF_ISOLATED") == "slow"
