"""Values to bytes and back: what leaves the stream as buffers, what goes by value, what is refused and why."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from awaitly_nb.codec import UndecodableError, decode, encode
from awaitly_nb.errors import EncodeError


def again(value):
    encoded = encode(value)
    return decode(encoded.stream, [bytearray(buffer) for buffer in encoded.buffers], encoded.shapes)


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        "x",
        b"\0",
        (1, [2, {3}]),
        {"a": {"b": (None,)}},
        datetime(2026, 1, 1, tzinfo=UTC),
        range(3),
        1 + 2j,
        float,
    ],
    ids=repr,
)
def test_plain_values_survive(value):
    assert again(value) == value


def test_large_arrays_leave_the_stream_uncopied():
    array = np.arange(100_000.0)
    encoded = encode({"array": array})
    assert len(encoded.stream) < 1000
    (buffer,) = encoded.buffers
    assert np.shares_memory(np.frombuffer(buffer), array)
    assert encoded.size_bytes == len(encoded.stream) + array.nbytes


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[D]", "timedelta64[us]"])
def test_arrays_of_instants_leave_the_stream_too(dtype):
    array = np.arange(10_000).astype(dtype)
    array[3] = "NaT"
    for value in (array, array.reshape(100, 100), np.asfortranarray(array.reshape(100, 100)), array[::2]):
        encoded = encode(value)
        back = decode(encoded.stream, [bytearray(buffer) for buffer in encoded.buffers])
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)
        back[0] = back[0]  # writable
    assert len(encode(array).stream) < 1000


def test_frames_survive_and_are_writable():
    frame = pd.DataFrame(
        {
            "n": np.arange(5000),
            "at": pd.date_range("2026", periods=5000, freq="h", tz="Europe/Berlin"),
            "kind": pd.Categorical(["a", "b"] * 2500),
            "text": [f"t{i}" for i in range(5000)],
            "any": pd.Series([1, "x"] * 2500, dtype=object),
        }
    )
    back = again(frame)
    pd.testing.assert_frame_equal(back, frame)
    back.loc[0, "n"] = 7
    assert frame.loc[0, "n"] == 0


def test_the_same_object_twice_stays_one():
    part = [1]
    back = again([part, part])
    assert back[0] is back[1]


def test_functions_of_the_notebook_go_by_value():
    script = textwrap.dedent(
        """
        import sys
        from awaitly_nb.codec import encode
        base = 10
        def add(x):
            return x + base
        encoded = encode({"add": add, "more": lambda x: x * 2})
        sys.stdout.write(encoded.stream.hex())
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    back = decode(bytes.fromhex(done.stdout))
    assert (back["add"](1), back["more"](3)) == (11, 6)


def test_functions_of_a_script_come_back_to_it_and_elsewhere_bring_their_globals():
    script = textwrap.dedent(
        """
        import sys
        from awaitly_nb.codec import decode, encode
        base = 10
        def add(x):
            return x + base
        encoded = encode([add])
        base = 20
        assert decode(encoded.stream)[0](1) == 21, "what it reads is what is there"
        assert decode(encoded.stream)[0].__globals__ is globals()
        del base
        back = decode(encoded.stream)[0]
        assert back(1) == 11, "without it, this is another script"
        assert "base" not in globals()
        # A worker has such a copy, and what it keeps is the notebook's function still.
        kept = encode([back])
        base = 30
        assert decode(kept.stream)[0](1) == 31
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_travels_to_a_worker_brings_the_globals_of_now():
    script = textwrap.dedent(
        """
        from awaitly_nb.codec import from_bytes, to_bytes
        base = 10
        def add(x):
            return x + base
        sent = to_bytes(add)
        base = 20
        assert from_bytes(sent)(1) == 11
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_functions_of_a_module_stay_its_own(tmp_path, monkeypatch):
    (tmp_path / "home_of_wrappers.py").write_text(
        "FACTOR = 1\ndef scaled(fn):\n    def wrapper(x):\n        return fn(x) * FACTOR\n    return wrapper\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    home = importlib.import_module("home_of_wrappers")
    kept = encode(home.scaled(len))
    home.FACTOR = 3
    assert decode(kept.stream)("ab") == 6
    del home.FACTOR
    assert decode(kept.stream)("ab") == 2, "the module was edited since: what came along is what it was written with"
    monkeypatch.delitem(sys.modules, "home_of_wrappers")
    (tmp_path / "home_of_wrappers.py").unlink()
    importlib.invalidate_caches()
    assert decode(kept.stream)("ab") == 2


def test_a_function_that_is_part_of_itself_survives():
    def outer(n):
        return outer if n == 0 else outer(n - 1)

    outer.me = [outer]
    back = again(outer)
    assert back(2) is back
    assert back.me == [back]


def test_functions_that_share_a_variable_share_it_again():
    def made():
        count = 0

        def add():
            nonlocal count
            count += 1

        return add, lambda: count

    add, get = again(made())
    add()
    assert get() == 1


@pytest.mark.parametrize("mode", ["r", "r+", "w", "rb", "wb"])
def test_open_files_are_refused(tmp_path, mode):
    path = tmp_path / "notes.txt"
    path.write_text("one")
    with path.open(mode) as file:
        for value in (file, [1, {"log": file}], lambda: file):
            with pytest.raises(EncodeError, match="cannot be pickled"):
                encode(value)


def test_classes_of_the_notebook_go_by_name_and_must_be_there_unchanged():
    script = textwrap.dedent(
        """
        import dataclasses
        from awaitly_nb.codec import UndecodableError, decode, encode
        @dataclasses.dataclass
        class Config:
            depth: int
        kept = encode([Config(3)])
        assert decode(kept.stream, (), kept.shapes) == [Config(3)]
        first = Config
        @dataclasses.dataclass
        class Config:
            depth: int
            def method(self): ...
        assert type(decode(kept.stream, (), kept.shapes)[0]) is Config, "methods may change"
        @dataclasses.dataclass
        class Config:
            depth: int
            width: int = 1
        for expected in ("class Config has changed since", "class Config is not defined in this notebook"):
            try:
                decode(kept.stream, (), kept.shapes)
            except UndecodableError as exc:
                assert expected in str(exc), exc
            else:
                raise AssertionError(expected)
            del Config
            Config = None
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@dataclasses.dataclass
class Point:
    x: int


def test_a_class_of_a_module_that_is_gone_is_told():
    encoded = encode(Point(1))
    (shape,) = encoded.shapes
    assert shape[1] == "Point"
    with pytest.raises(UndecodableError, match="module no_such_module cannot be imported"):
        decode(encoded.stream, (), [("no_such_module", "Point", shape[2])])
    with pytest.raises(UndecodableError, match="Gone is not defined"):
        decode(encoded.stream, (), [(shape[0], "Gone", shape[2])])


def test_local_classes_go_by_value():
    class Local:
        def __init__(self):
            self.n = 5

    assert again(Local()).n == 5


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "lock"),
        ({"a": [1, threading.Lock()]}, r"\['a'\]\[1\]"),
        ({"deep": {"er": (threading.Lock(),)}}, r"\['deep'\]\['er'\]\[0\]"),
        ((i for i in range(3)), "generator"),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(value, path):
    with pytest.raises(EncodeError, match=path):
        encode(value)


def test_a_value_nested_without_end_is_refused():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(EncodeError, match="deeply"):
        encode(value)


def test_bytes_that_are_no_pickle_are_undecodable():
    with pytest.raises(UndecodableError, match="rebuilt"):
        decode(b"\x80\x05garbage")
