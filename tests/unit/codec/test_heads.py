"""A head is a line, and says what was put into it, whatever that was."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from awaitly_nb.codec.envelope import SCHEMA, read_head, write_head

TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["=", "", "\t", "a\tb", "\n", '"', "\\", "é", "0" * 16]))
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "secret": st.one_of(TEXTS, st.binary(min_size=8, max_size=8).map(bytes.hex)),
        "name": TEXTS,
        "created_at": st.one_of(st.floats(allow_nan=False), st.integers(), st.none()),
        "size_bytes": st.one_of(st.integers(), st.floats(allow_nan=False), st.none(), st.booleans()),
        "step_id": TEXTS,
        "workflow": TEXTS,
        "duration_s": st.one_of(st.floats(allow_nan=False), TEXTS),
        "call": TEXTS,
        "code": st.one_of(TEXTS, st.none()),
        "notes_bytes": st.integers(),
        "ok": st.booleans(),
        "traces": st.dictionaries(TEXTS, TEXTS, max_size=3),
    },
)


def told(members):
    """What is there, with the types: 1 is not 1.0 and not True."""
    return {name: (type(value), value) for name, value in members.items() if value is not None}


@BUSY
@given(MEMBERS)
def test_every_member_comes_back(members):
    head = write_head({"schema": SCHEMA, **members})
    assert "\n" not in head
    assert head.isascii()
    assert told(read_head(head)) == told({"schema": SCHEMA, **members})


@BUSY
@given(MEMBERS, TEXTS)
def test_a_workflow_that_is_called_as_its_step_stands_there_once(members, name):
    both = {"schema": SCHEMA, **members, "step_id": name, "workflow": name}
    assert told(read_head(write_head(both))) == told(both)


@pytest.mark.parametrize(
    "head",
    [
        "3",
        "3\t",
        "3" + "\t" * 11,
        "3" + "\t" * 13,
        "3\t" + "!" * 11 + "\t" * 11,
        "x\t" + "\t" * 11,
        "3\t\t\tsoon" + "\t" * 9,
    ],
)
def test_what_is_no_head_is_none(head):
    assert read_head(head) is None


def test_the_json_field_cannot_change_the_format():
    assert read_head("3" + "\t" * 11 + '{"schema":1}\t')["schema"] == SCHEMA
    assert read_head("3" + "\t" * 11 + "[1]\t") is None
    assert read_head("3" + "\t" * 11 + "{}x\t") is None


def test_of_a_later_format_only_its_number_is_known():
    assert read_head("12\twhatever\tit\tis") == {"schema": 12}
