"""`Ok` and `Err`: frozen, matchable, and with a mark that is nobody's business but the engine's."""

from __future__ import annotations

import copy
import datetime as dt
import pickle

import pytest

from awaitly_nb.errors import UnwrapError
from awaitly_nb.result import Err, Mark, Ok, err, mark_of, ok, with_mark

MARK = Mark(step_id="parse", workflow="report", at=dt.datetime(2024, 1, 1, tzinfo=dt.UTC), duration_s=1.5, code="abc")


def test_ok_has_a_value_and_no_cause():
    result = ok(3)
    assert (result.ok, result.value, result.cause) == (True, 3, None)
    assert result == Ok(3)
    assert (result.unwrap(), result.unwrap_or(0)) == (3, 3)
    assert not hasattr(result, "error")


def test_err_has_an_error_and_perhaps_a_cause():
    result = err("NO", cause=7)
    assert (result.ok, result.error, result.cause) == (False, "NO", 7)
    assert result == Err("NO", 7)
    assert result.unwrap_or("default") == "default"
    assert not hasattr(result, "value")
    assert err("NO").cause is None


@pytest.mark.parametrize(("value", "default"), [(None, 1), (0, 1), (False, True), ("", "x")])
def test_unwrap_or_gives_an_ok_value_even_if_it_looks_absent(value, default):
    assert ok(value).unwrap_or(default) is value


def test_unwrap_raises_the_cause_when_that_is_an_exception():
    exc = ValueError("bad row")
    with pytest.raises(ValueError, match="bad row") as caught:
        err("NO", cause=exc).unwrap()
    assert caught.value is exc


def test_unwrap_of_an_error_that_is_an_exception_tells_it_as_the_reason():
    exc = ValueError("no")
    with pytest.raises(UnwrapError) as caught:
        err(exc, cause="a text").unwrap()
    assert caught.value.__cause__ is exc
    assert caught.value.error is exc


def test_unwrap_of_another_error_says_what_to_do():
    with pytest.raises(UnwrapError, match="unwrap_or") as caught:
        err({"code": 7}).unwrap()
    assert caught.value.error == {"code": 7}
    assert "{'code': 7}" in str(caught.value)


def test_matching():
    def told(result):
        match result:
            case Ok(0):
                return "zero"
            case Ok(value):
                return value
            case Err("NO", cause):
                return cause
            case Err(error):
                return error

    assert [told(ok(0)), told(ok(5)), told(err("NO", 7)), told(err("X"))] == ["zero", 5, 7, "X"]


@pytest.mark.parametrize("result", [ok(1), err("NO")], ids=["ok", "err"])
def test_frozen_and_without_a_dict(result):
    name = "value" if result.ok else "error"
    with pytest.raises(AttributeError):
        setattr(result, name, 2)
    with pytest.raises((AttributeError, TypeError)):
        result.other = 1
    assert not hasattr(result, "__dict__")


def test_equality():
    assert ok(1) == ok(1) != ok(2)
    assert err("A") == err("A") != err("B")
    assert ok("A") != err("A")
    assert err("A", cause=ValueError()) == err("A", cause=None)
    assert hash(ok(1)) == hash(ok(1))


@pytest.mark.parametrize("result", [ok([1, 2]), err("NO", cause=ValueError("x"))], ids=["ok", "err"])
def test_the_mark_rides_outside_of_equality_hash_and_repr(result):
    marked = with_mark(result, MARK)
    assert marked == result
    assert repr(marked) == repr(result)
    assert mark_of(marked) == MARK
    assert mark_of(result) is None
    assert marked.cause is result.cause
    assert mark_of(with_mark(marked, None)) is None


@pytest.mark.parametrize("copied", [lambda r: pickle.loads(pickle.dumps(r)), copy.copy, copy.deepcopy])
def test_a_result_survives_pickling_and_copying_with_its_mark(copied):
    marked = with_mark(err("NO", cause="why"), MARK)
    again = copied(marked)
    assert again == marked
    assert (again.cause, mark_of(again)) == ("why", MARK)
    assert copied(ok({"a": 1})) == ok({"a": 1})


def test_a_mark_is_frozen_and_knows_nothing_by_default():
    assert Mark() == Mark(origin="returned", files=())
    assert {getattr(Mark(), name) for name in Mark._fields} == {None, "returned", ()}
    with pytest.raises(AttributeError):
        Mark().code = "x"


def test_reprs_are_what_one_would_type():
    assert repr(ok("v")) == "Ok(value='v')"
    assert repr(err("NO")) == "Err(error='NO', cause=None)"
