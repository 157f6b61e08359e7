"""Failures as data: the same type where that is safe, never a pickle of an exception, causes and notes kept."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import pytest

from awaitly_nb.codec import failure_from_data, failure_to_data
from awaitly_nb.errors import EncodeError, RemoteError, StepTimeoutError, UnexpectedError
from awaitly_nb.result import Err


@dataclass(frozen=True)
class NotFound:
    type: str
    id: int


class Custom(Exception):
    pass


class Awkward(Exception):
    def __init__(self, code, *, extra):
        super().__init__(f"{code}: {extra}")


def again(err):
    return failure_from_data(json.loads(json.dumps(failure_to_data(err))))


@pytest.mark.parametrize(
    "error",
    ["NOT_FOUND", None, 7, {"type": "NOT_FOUND", "id": 1}, ("a", 1), NotFound("NOT_FOUND", 1)],
    ids=repr,
)
def test_b27_error_values_survive_exactly(error):
    back = again(Err(error))
    assert back.error == error
    assert type(back.error) is type(error)
    assert back.cause is None


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("bad"),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "x.csv"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        Custom("mine", 3),
        subprocess.CalledProcessError(1, "ls"),
        UnexpectedError(cause_type="ValueError", cause_message="bad", step_id="s"),
        StepTimeoutError(step_id="s", step_key="k", seconds=2.0),
        StopIteration(3),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_exceptions_come_back_as_what_they_were(exc):
    back = again(Err("FAILED", cause=exc))
    assert type(back.cause) is type(exc) or isinstance(back.cause, RemoteError)
    assert str(back.cause) == str(exc)
    if not isinstance(exc, subprocess.CalledProcessError):
        assert type(back.cause) is type(exc)


def test_one_that_cannot_be_rebuilt_is_remote_with_its_message_type_and_traceback():
    try:
        raise Awkward("E1", extra="more")
    except Awkward as exc:
        back = again(Err(exc)).error
    assert isinstance(back, RemoteError)
    assert str(back) == "E1: more"
    assert back.type_name.endswith("Awkward")
    assert 'raise Awkward("E1", extra="more")' in back.traceback_text


def test_chain_and_notes_are_kept():
    try:
        try:
            raise OSError(5, "disk")
        except OSError as exc:
            exc.add_note("while reading")
            raise ValueError("bad") from exc
    except ValueError as exc:
        back = again(Err("FAILED", cause=exc)).cause
    assert isinstance(back.__cause__, OSError)
    assert back.__cause__.errno == 5
    assert back.__cause__.__notes__ == ["while reading"]


def test_a_context_is_kept_and_a_suppressed_one_is_not():
    def fail(*, suppress):
        try:
            raise KeyError("inner")
        except KeyError:
            if suppress:
                raise ValueError("outer") from None
            raise ValueError("outer")  # noqa: B904

    for suppress in (True, False):
        with pytest.raises(ValueError, match="outer") as caught:
            fail(suppress=suppress)
        back = again(Err(caught.value)).error
        assert (back.__context__ is None) is suppress


def test_groups_are_kept():
    back = again(Err(ExceptionGroup("several", [ValueError("a"), KeyError("b")]))).error
    assert isinstance(back, ExceptionGroup)
    assert [type(part) for part in back.exceptions] == [ValueError, KeyError]


def test_a_chain_that_never_ends_is_cut():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert str(again(Err(first)).error) == "a"


def test_no_class_is_imported_because_a_cache_says_so(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise SystemExit('ran')\nclass Planted(Exception): ...")
    monkeypatch.syspath_prepend(tmp_path)
    data = failure_to_data(Err(ValueError("x")))
    data["error"]["exception"].update(module="planted", type="Planted")
    assert isinstance(failure_from_data(data).error, RemoteError)
    data["error"]["exception"].update(module="os", type="system", args=["true"])
    assert isinstance(failure_from_data(data).error, RemoteError)


def test_an_error_that_cannot_be_stored_is_told_and_a_cause_is_kept_as_text():
    with pytest.raises(EncodeError):
        failure_to_data(Err(iter_forever()))
    assert "generator" in again(Err("E", cause=iter_forever())).cause


def iter_forever():
    yield 1
