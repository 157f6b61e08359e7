"""Every exception and warning: one tree, readable messages, and safe passage through pickle and copy."""

from __future__ import annotations

import copy
import datetime as dt
import linecache
import pickle
import re

import pytest

import awaitly_nb as aw
from awaitly_nb import errors

EXCEPTIONS = [getattr(errors, name) for name in errors.__all__ if issubclass(getattr(errors, name), Exception)]
RAISED = [kind for kind in EXCEPTIONS if not issubclass(kind, Warning)]
WARNINGS = [kind for kind in EXCEPTIONS if issubclass(kind, Warning)]

SAMPLES = [
    errors.UnwrapError("no value", error={"code": 7}),
    errors.UnexpectedError(cause_type="ValueError", cause_message="bad row 7", step_id="parse", step_key="rows:7"),
    errors.StepTimeoutError(step_id="parse", step_key="rows:7", seconds=2.5),
    errors.RemoteError("bad row 7", type_name="lib.RowError", traceback_text="Traceback ..."),
    errors.UnkeyableError("cannot key cfg['model']", path="cfg['model']"),
    errors.MissingExtraError("psycopg", "postgres"),
    errors.LeaseHeldError("kernel 4711 on host", dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
]
PLAIN = sorted(set(RAISED) - {type(sample) for sample in SAMPLES}, key=lambda kind: kind.__name__)


def test_all_names_exactly_the_public_classes_of_the_module():
    public = {name for name, value in vars(errors).items() if isinstance(value, type) and not name.startswith("_")}
    assert set(errors.__all__) == {name for name in public if issubclass(getattr(errors, name), BaseException)}
    assert errors.__all__ == sorted(errors.__all__)


def test_every_exception_and_every_warning_has_its_base():
    assert all(issubclass(kind, errors.AwaitlyError) for kind in RAISED)
    assert all(issubclass(kind, errors.AwaitlyWarning) for kind in WARNINGS)
    assert issubclass(errors.AwaitlyWarning, UserWarning)


def test_the_docstring_draws_the_tree_as_it_is():
    drawn = dict(re.findall(r"^ *(?:[| ]*[|`]-- )?([A-Z]\w+)(?: \((\w+)\))?", errors.__doc__.split("\n\n", 1)[1], re.M))
    drawn = {name: base for name, base in drawn.items() if name.endswith(("Error", "Warning"))}
    assert set(drawn) == set(errors.__all__)
    for name, base in drawn.items():
        kind = getattr(errors, name)
        if base:
            assert base in {parent.__name__ for parent in kind.__mro__}, name


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_class_tells_in_one_line_what_it_means(kind):
    first, *_ = kind.__doc__.splitlines()
    assert first.endswith((".", "left as it was."))


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_with_fields_survives(error, copied):
    again = copied(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert type(error).fields
    for field in type(error).fields:
        assert getattr(again, field) == getattr(error, field), field


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
def test_an_error_that_is_only_a_message_survives(kind):
    again = pickle.loads(pickle.dumps(kind("what, where, what to do")))
    assert (type(again), str(again)) == (kind, "what, where, what to do")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_will_do(protocol):
    again = pickle.loads(pickle.dumps(SAMPLES[1], protocol))
    assert again == SAMPLES[1]


def test_notes_and_attributes_of_the_users_survive_pickling():
    error = errors.CacheError("disk gone")
    error.add_note("while keeping 'rows:7'")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while keeping 'rows:7'"]


@pytest.mark.parametrize("warning", WARNINGS, ids=lambda kind: kind.__name__)
def test_warnings_survive_pickling(warning):
    assert str(pickle.loads(pickle.dumps(warning("said why")))) == "said why"


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (
            errors.UnexpectedError(cause_type="ValueError", cause_message="x", step_id="a"),
            errors.UnexpectedError("another text", cause_type="ValueError", cause_message="x", step_id="a"),
            errors.UnexpectedError(cause_type="ValueError", cause_message="x", step_id="b"),
        ),
        (
            errors.StepTimeoutError(step_id="a", seconds=1),
            errors.StepTimeoutError(step_id="a", seconds=1.0),
            errors.StepTimeoutError(step_id="a", seconds=2),
        ),
    ],
    ids=["UnexpectedError", "StepTimeoutError"],
)
def test_errors_that_stand_in_an_err_compare_by_their_fields(one, same, other):
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "text"
    assert errors.UnexpectedError() != errors.StepTimeoutError()


def test_other_errors_compare_by_identity():
    assert errors.CacheError("x") != errors.CacheError("x")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.MisuseError, TypeError),
        (errors.InvalidOptionError, ValueError),
        (errors.StepTimeoutError, TimeoutError),
        (errors.UnkeyableError, TypeError),
        (errors.MissingExtraError, ImportError),
        (errors.NotCachedError, LookupError),
        (errors.EncodeError, TypeError),
        (errors.StateError, ValueError),
        (errors.UnverifiedEntryError, errors.CacheError),
        (errors.LeaseHeldError, errors.StoreError),
    ],
    ids=lambda kind: kind.__name__,
)
def test_an_error_is_also_the_built_in_that_a_user_would_catch(kind, builtin):
    assert issubclass(kind, builtin)


def test_messages_say_what_where_and_what_to_do():
    assert "pip install 'awaitly-nb[postgres]'" in str(errors.MissingExtraError("psycopg", "postgres"))
    assert str(SAMPLES[1]) == "step 'parse' raised ValueError: bad row 7"
    assert "the workflow body" in str(errors.UnexpectedError(cause_type="ValueError", cause_message="x"))
    assert "2.5 s" in str(SAMPLES[2])
    assert "kernel 4711 on host" in str(SAMPLES[-1])
    assert str(SAMPLES[3]) == "bad row 7"


@pytest.mark.parametrize("depth", [0, 1, 30])
def test_a_warning_points_at_the_first_line_outside_the_package_however_deep_it_began(depth):
    inside = {"__name__": "awaitly_nb.made.up", "warn": errors.warn}
    exec("def go(n):\n    return go(n - 1) if n else warn('look', kind)", inside)
    inside["kind"] = errors.EvictedWarning
    with pytest.warns(errors.EvictedWarning, match="look") as caught:
        inside["go"](depth)
    assert (caught[0].filename, linecache.getline(__file__, caught[0].lineno).strip()) == (
        __file__,
        'inside["go"](depth)',
    )


def test_what_a_cache_and_a_state_warn_of_points_at_the_readers_own_line(tmp_path):
    bounded = aw.create_disk_cache(tmp_path, size_limit=300_000)
    bounded.set("a", aw.Ok(bytes(100_000)))
    bounded.set("b", aw.Ok(bytes(100_000)))
    with pytest.warns(aw.errors.EvictedWarning) as evicted:
        bounded.set("c", aw.Ok(bytes(150_000)))
    with pytest.warns(aw.errors.StateRecoveredWarning) as recovered:
        aw.ResumeState.from_dict({"steps": {}})
    assert {warning.filename for warning in (*evicted, *recovered)} == {__file__}
