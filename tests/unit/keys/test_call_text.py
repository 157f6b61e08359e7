"""A call as people read it: short, inert, without secrets, and with a digest that tells calls apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from awaitly_nb.cache import Listing
from awaitly_nb.cache.listing import list_heads
from awaitly_nb.keys import call_text, outline
from awaitly_nb.keys.parts import Part, Parts


def call(**arguments):
    shown = [Part("argument", name, repr(value), outline(value)) for name, value in arguments.items()]
    text = call_text(Parts("jobs.score", [Part("code", "score", "1", "def score(): ..."), *shown]))
    assert text is not None
    head, _, digest = text.rpartition(" #")
    assert len(digest) == 8
    return head


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        ("abc", "'abc'"),
        ({"a": 1}, "{...}"),
        ({}, "{}"),
        ([1, 2], "[...]"),
        ((), "()"),
        (pd.DataFrame({"a": [1, 2]}), "DataFrame(2 rows)"),
        (np.zeros((3, 4)), "ndarray(3, 4)"),
        (len, "len"),
        (object(), "object(...)"),
        ("x" * 100, "'xxxxxxxxxxxxxxxxxxxx..."),
    ],
)
def test_each_kind_of_value_is_a_word_or_two(value, shown):
    assert call(x=value) == f"score(x={shown})"


def test_what_json_would_escape_does_not_stand_in_it():
    told = call(x='a"b', y="c\\d", z="é\u202e\n<b>")
    assert told.isascii()
    assert not {'"', "\\", "\n"} & {*told}


def test_a_secret_is_not_told():
    assert call(api_key="abc", password="hush") == "score(api_key=***, password=***)"


def test_many_arguments_are_cut():
    assert len(call(**{f"argument_{n}": n for n in range(50)})) < 120


def test_without_arguments_there_is_no_call():
    assert call_text(Parts("cell", [Part("code", "cell", "1"), Part("global", "a", "int 1")])) is None


def test_arguments_that_show_alike_have_another_digest():
    parts = [Parts("f", [Part("argument", "x", digest, {"is": "dict", "len": 1})]) for digest in ("1", "2")]
    assert call_text(parts[0]) != call_text(parts[1])


def test_a_listing_reads_calls_from_heads_by_pattern_and_by_json():
    head = (
        '{"schema":2,"secret":"s","name":"n","created_at":1.5,"size_bytes":3,"step_id":"f","workflow":"f",'
        '"duration_s":0.5,"call":"%s","code":"c","mac":"m"}'
    )
    rows = [("f\x1ff:1", head % call, 0) for call in ("f(x=1) #1a2b3c4d", 'f(x=\\"1\\") #1a2b3c4d')]
    listing = list_heads(rows, 10.0)
    assert isinstance(listing, Listing)
    assert listing.calls == ["f(x=1) #1a2b3c4d", 'f(x="1") #1a2b3c4d']
