"""What an object remembers of how it was used, and what differs from process to process, is no part of its key."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from awaitly_nb.keys import fingerprint, outline


class Plain:
    def __init__(self, size):
        self.size = size

    @cached_property
    def heavy(self):
        return [self.size] * 3


class Child(Plain):
    pass


class Hides(Plain):
    heavy = None


@dataclass
class Fields:
    size: int

    @cached_property
    def heavy(self):
        return [self.size] * 3


class Listed(list):
    size = 3

    @cached_property
    def heavy(self):
        return sum(self)


@pytest.mark.parametrize("made", [Plain(3), Child(3), Fields(3), Listed([3])], ids=lambda made: type(made).__name__)
def test_what_a_cached_property_has_stored_does_not_count(made):
    before, shown = fingerprint(made), outline(made)
    assert made.heavy
    assert "heavy" in vars(made)
    assert fingerprint(made) == before
    assert outline(made) == shown
    made.size = 4
    assert fingerprint(made) != before


def test_an_attribute_that_only_has_the_name_of_one_counts():
    one, two = Hides(3), Hides(3)
    two.heavy = 5
    assert fingerprint(one) != fingerprint(two)


def test_a_cached_property_of_a_pydantic_model_does_not_count():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        size: int = 3

        @cached_property
        def heavy(self):
            return [self.size] * 3

        @pydantic.computed_field
        @cached_property
        def shown(self) -> int:
            return self.size * 2

    made = Model()
    before = fingerprint(made)
    assert made.heavy, made.shown
    assert made.shown == 6
    assert fingerprint(made) == before != fingerprint(Model(size=4))


def test_the_random_state_of_numpy_counts_as_a_place_and_any_other_by_its_numbers():
    before = fingerprint(np.random.rand)
    np.random.rand()  # noqa: NPY002 - the old interface is what is tested
    assert fingerprint(np.random.rand) == before != fingerprint(np.random.randn)
    own = np.random.RandomState(1)  # noqa: NPY002
    first = fingerprint(own)
    assert fingerprint(np.random.RandomState(1)) == first != fingerprint(np.random.RandomState(2))  # noqa: NPY002
    own.rand()
    assert fingerprint(own) != first


SCRIPT = """
import enum
from dataclasses import dataclass
from typing import Annotated
import numpy as np
from awaitly_nb.keys import fingerprint, function_digest

def check(value):
    if value > {LIMIT}:
        raise ValueError(value)
    return value

class Unit:
    pass

class OneOf:
    def __init__(self, *names):
        self.names = set(names)

class Slotted:
    __slots__ = {"aa", "bb", "cc"}

class SlottedOnce:
    __slots__ = (name for name in ("aa", "bb"))

@dataclass
class Config:
    size: Annotated[int, Unit(), OneOf("a", "b", "c")] = 1

class Mark(enum.Enum):
    NONE = object()
    ALL = object()

print(function_digest(lambda: Slotted()), function_digest(lambda: SlottedOnce()))
print(function_digest(lambda: Config()), fingerprint(Config()))
print(function_digest(lambda: Mark), fingerprint(Mark.NONE), fingerprint(Mark.ALL))

try:
    import pydantic
except ImportError:
    pass
else:
    class Model(pydantic.BaseModel):
        tags: set[str] = {"a", "b", "c"}
        size: Annotated[int, pydantic.AfterValidator(check)] = 1
        sizes: list[Annotated[str, OneOf("a", "b", "c")]] = []
        more: set[str] = pydantic.Field(default={"a", "b", "c"}, json_schema_extra={"unit": "m"})
    print(function_digest(lambda: Model()), fingerprint(Model()))

try:
    import attrs
except ImportError:
    pass
else:
    @attrs.define
    class Point:
        x: int = attrs.field(default=1, validator=attrs.validators.in_({"a", "b", "c"}), converter=check)
        y: set = attrs.field(default=frozenset({"a", "b", "c"}))
    print(function_digest(lambda: Point()))

try:
    import scipy.stats
except ImportError:
    pass
else:
    print(fingerprint(scipy.stats.norm(0, 1)))
"""


def keys_in_another_process(path, seed, limit):
    path.write_text(SCRIPT.replace("{LIMIT}", str(limit)))
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, path], env=env, capture_output=True, text=True, check=False, timeout=250)
    assert done.stderr == ""
    return done.stdout.split()


def test_classes_and_values_have_one_key_in_every_process_and_the_code_in_them_counts(tmp_path):
    first = keys_in_another_process(tmp_path / "script.py", "1", 5)
    assert len(first) >= 7
    assert keys_in_another_process(tmp_path / "script.py", "2", 5) == first
    edited = keys_in_another_process(tmp_path / "script.py", "1", 6)
    changed = [one != other for one, other in zip(first, edited, strict=True)]
    assert not any(changed[:7])
    if len(first) == 11:  # with pydantic, attrs and scipy: the model, its instance, and the class of attrs
        assert changed[7:] == [True, True, True, False]
