"""Durations, sizes and ages, as people write and read them."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from awaitly_nb.errors import InvalidOptionError
from awaitly_nb.units import parse_duration, parse_size, show_age, show_duration, show_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1, 1.0),
        (0.5, 0.5),
        ("90s", 90.0),
        ("15m", 900.0),
        ("2h", 7200.0),
        ("7d", 604800.0),
        ("1w", 604800.0),
        ("1.5h", 5400.0),
        (" 7 D ", 604800.0),
        ("250ms", 0.25),
        ("30", 30.0),
        (dt.timedelta(minutes=2), 120.0),
    ],
    ids=repr,
)
def test_durations(value, seconds):
    assert parse_duration(value, name="ttl") == seconds


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        math.nan,
        math.inf,
        -math.inf,
        "0s",
        "-1s",
        "",
        "soon",
        "7 days or so",
        "1e3",
        True,
        None,
        [],
        b"7d",
        10**400,
    ]
    + [dt.timedelta(0), dt.timedelta(days=-1)],
    ids=repr,
)
def test_what_is_no_duration_above_zero_is_refused_by_name(value):
    with pytest.raises(InvalidOptionError, match="ttl="):
        parse_duration(value, name="ttl")


@pytest.mark.parametrize(
    ("value", "size"),
    [(1, 1), ("500 MB", 500_000_000), ("20GB", 20_000_000_000), ("1.5kb", 1500), ("1 KiB", 1024), ("7", 7)],
    ids=repr,
)
def test_sizes(value, size):
    assert parse_size(value, name="size_limit") == size


@pytest.mark.parametrize("value", [0, -1, 1.5, "0B", "much", "", True, None, "-5MB", math.nan], ids=repr)
def test_what_is_no_size_above_zero_is_refused_by_name(value):
    with pytest.raises(InvalidOptionError, match="size_limit="):
        parse_size(value, name="size_limit")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.25, "250 ms"),
        (1, "1 s"),
        (2.34, "2.3 s"),
        (41, "41 s"),
        (60, "1 min"),
        (150, "2 min 30 s"),
        (3600, "1 h"),
        (9000, "2 h 30 min"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_durations_are_shown_as_people_read_them(seconds, shown):
    assert show_duration(seconds) == shown


@pytest.mark.parametrize("seconds", [0.9996, 9.96, 59.6, 59.99])
def test_rounding_never_reaches_the_next_unit_without_naming_it(seconds):
    assert show_duration(seconds) not in {"1000 ms", "10.0 s", "60 s"}


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (900, "900 B"), (1000, "1.0 kB"), (12_300_000, "12.3 MB"), (345_000_000, "345 MB"), (2e12, "2.0 TB")],
)
def test_sizes_are_shown_in_powers_of_ten(size, shown):
    assert show_size(size) == shown


@pytest.mark.parametrize("size", [999_999, 999_950, 999_999_999])
def test_a_size_never_reads_a_thousand_of_a_unit(size):
    assert not show_size(size).startswith("1000")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "just now"), (0.2, "just now"), (1, "1 s ago"), (61, "1 min ago"), (7200, "2 h ago"), (200_000, "2 d ago")],
)
def test_ages(seconds, shown):
    at = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
    assert show_age(at, at + dt.timedelta(seconds=seconds)) == shown
