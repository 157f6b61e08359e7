"""Pairs of numbers, text, times and names."""

from __future__ import annotations

import datetime as dt
import enum
import re
import uuid
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from zoneinfo import ZoneInfo

from awaitly_nb.testing.collisions.battery import Group

__all__ = ["groups"]


class Colour(enum.Enum):
    """A plain enum."""

    RED = 1
    GREEN = 2


class Paint(enum.Enum):
    """Another with the same members."""

    RED = 1
    GREEN = 2


class Number(enum.IntEnum):
    """Members that equal numbers."""

    ONE = 1
    TWO = 2


class Word(enum.StrEnum):
    """Members that equal text."""

    ONE = "one"


class Mode(enum.Flag):
    """Members that combine."""

    READ = 1
    WRITE = 2


_NAN = float("nan")
_NOON = dt.datetime(2026, 1, 1, 12)  # noqa: DTZ001 - naive on purpose
_BERLIN = ZoneInfo("Europe/Berlin")


def groups() -> list[Group]:
    """Return the groups of this file."""
    return [_numbers(), _text(), _times(), _names()]


def _numbers() -> Group:
    return Group(
        "numbers",
        differ=(
            ("1 and True", lambda: 1, lambda: True),
            ("0 and False", lambda: 0, lambda: False),
            ("1 and 1.0", lambda: 1, lambda: 1.0),
            ("True and 1.0", lambda: True, lambda: 1.0),
            ("0.0 and -0.0", lambda: 0.0, lambda: -0.0),
            ("0 and None", lambda: 0, lambda: None),
            ("False and None", lambda: False, lambda: None),
            ("-1 and -2, whose hash is one", lambda: -1, lambda: -2),
            ("0 and 2**61 - 1, whose hash is one", lambda: 0, lambda: 2**61 - 1),
            ("2**53 and 2**53 + 1", lambda: 2**53, lambda: 2**53 + 1),
            ("2**64 and 2**64 + 1", lambda: 2**64, lambda: 2**64 + 1),
            ("a 400-digit int and the next", lambda: 10**400, lambda: 10**400 + 1),
            ("0.3 and 0.1 + 0.2", lambda: 0.3, lambda: 0.1 + 0.2),
            ("inf and -inf", lambda: float("inf"), lambda: float("-inf")),
            ("nan and None", lambda: _NAN, lambda: None),
            ("nan and 'nan'", lambda: _NAN, lambda: "nan"),
            ("1 and 1+0j", lambda: 1, lambda: 1 + 0j),
            ("1.0 and 1+0j", lambda: 1.0, lambda: 1 + 0j),
            ("0j and -0j", lambda: complex(0.0, 0.0), lambda: complex(0.0, -0.0)),
            ("1j and 1", lambda: 1j, lambda: 1),
            ("Decimal 1 and int 1", lambda: Decimal(1), lambda: 1),
            ("Decimal 1.0 and float 1.0", lambda: Decimal("1.0"), lambda: 1.0),
            ("Decimal 1.0 and 1.00", lambda: Decimal("1.0"), lambda: Decimal("1.00")),
            ("Decimal 0 and -0", lambda: Decimal("0"), lambda: Decimal("-0")),
            ("Fraction 1/2 and 0.5", lambda: Fraction(1, 2), lambda: 0.5),
            ("Fraction 2 and int 2", lambda: Fraction(2), lambda: 2),
            ("... and None", lambda: ..., lambda: None),
            ("NotImplemented and None", lambda: NotImplemented, lambda: None),
        ),
        agree=(
            ("two NaNs", lambda: float("nan"), lambda: float("inf") - float("inf")),
            ("a NaN and a negative NaN", lambda: _NAN, lambda: -_NAN),
            ("complex NaNs", lambda: complex(_NAN, 1), lambda: complex(-_NAN, 1)),
            ("1000 made twice", lambda: int("1000"), lambda: 10**3),
            ("0.5 made twice", lambda: 0.5, lambda: 1 / 2),
            ("a 400-digit int made twice", lambda: 10**400, lambda: 10**399 * 10),
            ("Decimal made twice", lambda: Decimal("1.10"), lambda: Decimal("0.10") + 1),
            ("Fraction made twice", lambda: Fraction(2, 4), lambda: Fraction(1, 2)),
        ),
    )


def _text() -> Group:
    return Group(
        "text",
        differ=(
            ("1 and '1'", lambda: 1, lambda: "1"),
            ("None and 'None'", lambda: None, lambda: "None"),
            ("True and 'True'", lambda: True, lambda: "True"),
            ("'1' and b'1'", lambda: "1", lambda: b"1"),
            ("'' and b''", lambda: "", lambda: b""),
            ("'' and None", lambda: "", lambda: None),
            ("b'a' and bytearray(b'a')", lambda: b"a", lambda: bytearray(b"a")),
            ("b'a' and memoryview(b'a')", lambda: b"a", lambda: memoryview(b"a")),
            ("'a' and 'a '", lambda: "a", lambda: "a "),
            ("'a' and 'a\\0'", lambda: "a", lambda: "a\0"),
            ("'a' and 'A'", lambda: "a", lambda: "A"),
            ("Latin a and Cyrillic a", lambda: "a", lambda: "\u0430"),
            ("composed and decomposed e acute", lambda: "\u00e9", lambda: "e\u0301"),
            ("an astral character and its surrogates", lambda: "\U00010000", lambda: "\ud800\udc00"),
            ("100,000 letters, the last one changed", lambda: "x" * 100_000, lambda: "x" * 99_999 + "y"),
            ("5 MB of bytes, one in the middle changed", lambda: _five_mb(0), lambda: _five_mb(1)),
            ("'ab' and 'ba'", lambda: "ab", lambda: "ba"),
            ("a line ending", lambda: "a\nb", lambda: "a\r\nb"),
        ),
        agree=(
            ("text made twice", lambda: "".join(["not ", "interned"]), lambda: "not interned"),
            ("a lone surrogate", lambda: "\ud800", lambda: chr(0xD800)),
            ("5 MB of bytes made twice", lambda: _five_mb(0), lambda: _five_mb(0)),
            ("views of equal bytes", lambda: memoryview(b"xab")[1:], lambda: memoryview(b"ab")),
        ),
    )


def _five_mb(middle: int) -> bytes:
    return bytes(2_500_000) + bytes([middle]) + bytes(2_500_000)


def _times() -> Group:
    return Group(
        "times",
        differ=(
            ("a date and its midnight", lambda: dt.date(2026, 1, 1), lambda: dt.datetime(2026, 1, 1)),  # noqa: DTZ001
            ("naive and UTC", lambda: _NOON, lambda: _NOON.replace(tzinfo=dt.UTC)),
            (
                "one instant in two zones",
                lambda: dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC),
                lambda: dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC).astimezone(_BERLIN),
            ),
            (
                "a zone and its offset",
                lambda: _NOON.replace(tzinfo=_BERLIN),
                lambda: _NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))),
            ),
            (
                "two zones of one offset",
                lambda: _NOON.replace(tzinfo=_BERLIN),
                lambda: _NOON.replace(tzinfo=ZoneInfo("Europe/Paris")),
            ),
            (
                "first and second 02:30 of a night",
                lambda: dt.datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN),
                lambda: dt.datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN, fold=1),
            ),
            ("a microsecond", lambda: _NOON, lambda: _NOON.replace(microsecond=1)),
            ("a day and 86,400", lambda: dt.timedelta(1), lambda: 86_400),
            ("a time and its text", lambda: dt.time(12), lambda: "12:00:00"),
            ("a date and its text", lambda: dt.date(2026, 1, 1), lambda: "2026-01-01"),
            ("a time, naive and UTC", lambda: dt.time(12), lambda: dt.time(12, tzinfo=dt.UTC)),
            ("two names of one offset", lambda: dt.UTC, lambda: dt.timezone(dt.timedelta(0), "Zulu")),
        ),
        agree=(
            ("one day written twice", lambda: dt.timedelta(1), lambda: dt.timedelta(hours=24)),
            ("a zone read twice", lambda: ZoneInfo("Asia/Tokyo"), lambda: ZoneInfo.no_cache("Asia/Tokyo")),
            (
                "an aware time made twice",
                lambda: dt.datetime(2026, 1, 1, tzinfo=_BERLIN),
                lambda: dt.datetime.fromisoformat("2026-01-01").replace(tzinfo=ZoneInfo("Europe/Berlin")),
            ),
        ),
    )


def _names() -> Group:
    return Group(
        "names and patterns",
        differ=(
            ("a path and its text", lambda: Path("a"), lambda: "a"),
            ("a path and a pure path", lambda: Path("a"), lambda: PurePosixPath("a")),
            ("a POSIX and a Windows path", lambda: PurePosixPath("a"), lambda: PureWindowsPath("a")),
            ("a relative and an absolute path", lambda: Path("a"), lambda: Path("/a")),
            ("a pattern and its text", lambda: re.compile("a"), lambda: "a"),
            ("flags of a pattern", lambda: re.compile("a"), lambda: re.compile("a", re.IGNORECASE)),
            ("a pattern of text and of bytes", lambda: re.compile("a"), lambda: re.compile(b"a")),
            ("a UUID and its text", lambda: uuid.UUID(int=1), lambda: str(uuid.UUID(int=1))),
            ("an enum member and its value", lambda: Colour.RED, lambda: 1),
            ("members of one value in two enums", lambda: Colour.RED, lambda: Paint.RED),
            ("two members", lambda: Colour.RED, lambda: Colour.GREEN),
            ("an IntEnum member and its int", lambda: Number.ONE, lambda: 1),
            ("a StrEnum member and its str", lambda: Word.ONE, lambda: "one"),
            ("a flag and a combination", lambda: Mode.READ, lambda: Mode.READ | Mode.WRITE),
            ("a class and its name", lambda: int, lambda: "int"),
            ("a class and its default value", lambda: int, lambda: 0),
            ("two built-in functions", lambda: min, lambda: max),
            ("range and list", lambda: range(3), lambda: [0, 1, 2]),
            ("two ranges", lambda: range(3), lambda: range(0, 6, 2)),
            ("slice and tuple", lambda: slice(1, 2), lambda: (1, 2, None)),
        ),
        agree=(
            ("a path written twice", lambda: Path("a/b"), lambda: Path("a//./b/")),
            ("a pattern compiled twice", lambda: re.compile("a+"), lambda: re.compile("".join(["a", "+"]))),
            ("a UUID made twice", lambda: uuid.UUID(int=1), lambda: uuid.UUID("0" * 31 + "1")),
            ("a member by name and by value", lambda: Colour["RED"], lambda: Colour(1)),
            ("a combination of flags", lambda: Mode.READ | Mode.WRITE, lambda: Mode(3)),
        ),
    )
