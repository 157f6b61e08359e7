"""The rules as tables: when a kept result is served, and which fresh ones are kept."""

from __future__ import annotations

import itertools

import pytest

from awaitly_nb.cache import Missed
from awaitly_nb.engine.lookup import Compute, Serve, decide, may_store
from awaitly_nb.engine.run import parse_cache_errors
from awaitly_nb.errors import InvalidOptionError, StepTimeoutError, UnexpectedError
from awaitly_nb.result import Mark, err, ok, with_mark

POLICIES = ("returned", "all", "none")


def marked(result, *, code="now", origin="returned"):
    return with_mark(result, Mark(code=code, origin=origin))


def thrown(exc):
    return marked(err(UnexpectedError(cause_type=type(exc).__name__), exc), origin="throw")


def decided(found, *, source="cache", policy="returned", code="now", automatic=False, changed_files=()):
    return decide(found, source=source, policy=policy, code=code, automatic=automatic, changed=changed_files)


@pytest.mark.parametrize(
    ("result", "kept_under"),
    [
        (marked(ok(1)), {"returned", "all", "none"}),
        (marked(err("NO")), {"returned", "all"}),
        (marked(err("DECLARED", ValueError())), {"returned", "all"}),
        (thrown(ValueError()), {"all"}),
        (thrown(OSError()), set()),
        (thrown(ConnectionError()), set()),
        (thrown(ImportError()), set()),
        (thrown(MemoryError()), set()),
        (thrown(TimeoutError()), set()),
        (marked(err(StepTimeoutError(step_id="s", seconds=1)), origin="throw"), set()),
        (marked(err(StepTimeoutError(step_id="s", seconds=1))), set()),
    ],
    ids=repr,
)
def test_which_results_are_kept(result, kept_under):
    assert {policy for policy in POLICIES if may_store(result, policy=policy)} == kept_under


@pytest.mark.parametrize(("policy", "source"), list(itertools.product(POLICIES, ("cache", "resumed"))))
def test_what_may_not_be_kept_is_not_served_either(policy, source):
    for result in (marked(err("NO")), thrown(ValueError()), thrown(OSError())):
        served = isinstance(decided(result, policy=policy, source=source), Serve)
        assert served == may_store(result, policy=policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_this_run_came_to_stands_whatever_it_was(policy):
    for result in (marked(ok(1)), marked(err("NO")), thrown(OSError())):
        assert decided(result, source="run", policy=policy, code="other") == Serve(result, "run")


@pytest.mark.parametrize("source", ["cache", "resumed"])
def test_changed_code_marks_a_success_and_reruns_a_failure(source):
    success, failure = marked(ok(1), code="then"), marked(err("NO"), code="then")
    assert decided(success, source=source) == Serve(success, source, stale_code=True)
    assert isinstance(decided(failure, source=source), Compute)
    assert "code" in decided(failure, source=source).reason


@pytest.mark.parametrize("code", [None, "now"])
def test_where_no_code_was_written_down_nothing_has_changed(code):
    for result in (ok(1), err("NO"), marked(ok(1), code=None), marked(err("NO"), code=None)):
        assert decided(result, code=code) == Serve(result, "cache", stale_code=False)


def test_under_an_automatic_key_changed_files_rerun():
    result = marked(ok(1), code=None)
    changed = decided(result, code=None, automatic=True, changed_files=("file a.csv changed", "file b.csv is gone"))
    assert changed == Compute("file a.csv changed; file b.csv is gone")
    assert isinstance(decided(result, code=None, automatic=True), Serve)


@pytest.mark.parametrize("reason", ["absent", "expired", "damaged", "unverified", "undecodable", "unusable"])
def test_a_miss_has_a_reason_for_the_reader(reason):
    assert decided(Missed(reason)).reason
    assert decided(Missed(reason, "just so")).reason == "just so"


@pytest.mark.parametrize("value", ["sometimes", True, None, 1, "ALL"], ids=repr)
def test_an_unknown_policy_is_refused(value):
    with pytest.raises(InvalidOptionError, match="cache_errors"):
        parse_cache_errors(value)
