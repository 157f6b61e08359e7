"""Records behave like frozen, slotted dataclasses, and cost no import of them."""

from __future__ import annotations

import copy
import pickle

import pytest

from awaitly_nb.frozen import Frozen, replace


class Point(Frozen):
    x: int
    y: int = 0


class Named(Frozen, kw_only=True):
    kind: str = "event"
    name: str


class Deeper(Named, kw_only=True):
    name: str
    depth: int = 1


class Whole(Frozen):
    n: int

    def __post_init__(self):
        if self.n < 0:
            raise ValueError(self.n)


def test_fields_come_by_position_by_name_and_by_default():
    assert (Point(1).x, Point(1).y, Point(x=1, y=2).y, Point(1, 2).y) == (1, 0, 2, 2)
    assert (Named(name="a").kind, Deeper(name="b").depth, Deeper(name="b", kind="c").kind) == ("event", 1, "c")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Point(), "misses the argument 'x'"),
        (lambda: Point(1, 2, 3), "takes 2 positional"),
        (lambda: Point(1, x=1), "two values for 'x'"),
        (lambda: Point(1, z=1), "unexpected argument 'z'"),
        (lambda: Named("a"), "takes 0 positional"),
        (lambda: replace(Point(1), z=1), "unexpected argument 'z'"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(make, why):
    with pytest.raises(TypeError, match=why):
        make()


def test_equal_by_fields_and_kind_and_hashed_so():
    assert Point(1) == Point(1, 0) != Point(1, 1)
    assert Named(name="a") != Deeper(name="a")
    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point([]))


def test_frozen_slotted_and_shown():
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert not hasattr(point, "__dict__")
    assert repr(point) == "Point(x=1, y=0)"


def test_matches_copies_and_pickles():
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
    for again in (copy.copy(Point(1)), copy.deepcopy(Point(1)), pickle.loads(pickle.dumps(Point(1)))):
        assert again == Point(1)


def test_replace_checks_what_it_makes():
    assert replace(Whole(1), n=2) == Whole(2)
    with pytest.raises(ValueError, match="-1"):
        replace(Whole(1), n=-1)
