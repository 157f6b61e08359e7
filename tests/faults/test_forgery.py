"""Somebody who can write where entries lie, and has no secret: no byte of theirs is served, unpickled or mapped.

Under `verify="on"` such an entry is a miss with a warning, under `"strict"` it raises. Each attack is tried in a local
folder and in a shared cache, on a value in the row, in a file, and in a file that is read through a map.
"""

from __future__ import annotations

import base64
import random
import shutil
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import xxhash

import awaitly_nb as aw
from awaitly_nb import codec
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import pickling
from awaitly_nb.codec.envelope import read_head, write_head
from awaitly_nb.errors import DamagedEntryWarning, UnverifiedEntryError
from tests.faults.xxh3 import second_preimage
from tests.golden import make

EVIL = np.full(1_200_000, 666.0)
SIZES = {"in the row": 2_000, "in a file": 20_000, "with MACs": 200_000, "mapped": 1_200_000}
FLIPS = 40


@pytest.fixture(autouse=True)
def _no_folder_is_left():
    yield
    forget_folders()


class Local:
    """A folder on disk."""

    def __init__(self, place):
        self.place = place

    def open(self, verify="on"):
        forget_folders()
        return aw.create_disk_cache(self.place, verify=verify)

    def read(self, key):
        """Return head and body of an entry as they lie there."""
        forget_folders()
        with closing(sqlite3.connect(self.place / "cache.db")) as connection:
            row = connection.execute("SELECT tag, value, filename FROM Cache WHERE key = ?", (f"\x1f{key}",)).fetchone()
        head, value, name = row
        if name is None:
            return head, value
        data = (self.place / name).read_bytes()
        return head, data[_start_of_body(data) :]

    def write(self, key, head, body):
        """Put them there."""
        forget_folders()
        with closing(sqlite3.connect(self.place / "cache.db")) as connection, connection:
            row = connection.execute("SELECT value, filename FROM Cache WHERE key = ?", (f"\x1f{key}",)).fetchone()
            size = 0
            if row[1] is not None:
                path = self.place / row[1]
                data = path.read_bytes()
                path.unlink()
                path.write_bytes(data[: _start_of_body(data)] + body)
                size = path.stat().st_size
            sql = "UPDATE Cache SET tag = ?, value = ?, size = ? WHERE key = ?"
            value = None if row[1] is not None else body
            assert connection.execute(sql, (head, value, size, f"\x1f{key}")).rowcount == 1


class Shared:
    """A shared cache over a database."""

    def __init__(self, place):
        self.store = aw.sqlite(place / "shared.db")
        self.records = aw.create_shared_cache(self.store).store

    def open(self, verify="on"):
        return aw.create_shared_cache(self.store, verify=verify)

    def read(self, key):
        record = self.records.read(f"\x1f{key}")
        return record.head, bytes(record.body)

    def write(self, key, head, body):
        assert self.records.swap(f"\x1f{key}", head, [body]) is not None


def _start_of_body(data):
    name, head = int.from_bytes(data[8:12], "little"), int.from_bytes(data[12:16], "little")
    end = 16 + name + head
    return end + -end % 64


@pytest.fixture(params=[Local, Shared], ids=["local", "shared"])
def home(request, tmp_path):
    return request.param(tmp_path / "cache" if request.param is Local else tmp_path)


@pytest.fixture(params=SIZES, ids=lambda name: name.replace(" ", "-"))
def length(request):
    return SIZES[request.param]


@pytest.fixture
def untouched(monkeypatch):
    """Nothing may reach the decoder, and with it native code."""

    def refuse(*args, **kwargs):
        raise AssertionError("bytes that do not verify were decoded")

    def watch():
        monkeypatch.setattr(pickling.pickle, "loads", refuse)
        monkeypatch.setattr(pickling, "decode", refuse)

    return watch


def assert_refused(home, key, head, body):
    home.write(key, head, body)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert home.open().get(key) is None
    assert [one.category for one in told] == [DamagedEntryWarning]
    with pytest.raises(UnverifiedEntryError):
        home.open("strict").get(key)


def stored(home, length, *keys):
    """Store an array under each of the keys."""
    cache = home.open()
    for number, key in enumerate(keys):
        cache.set(key, aw.Ok(np.arange(float(length)) + number))


def test_flipped_bits(home, length, untouched):
    stored(home, length, "k")
    head, body = home.read("k")
    untouched()
    choice = random.Random(length)
    # The stream, the first and last bytes of the buffer, and any place between; padding is read by nobody.
    (buffer,) = read_head(head)["buffers"]
    begin = len(body) - buffer
    places = {
        0,
        read_head(head)["size_bytes"] - buffer - 1,
        begin,
        len(body) - 1,
        *(choice.randrange(begin, len(body)) for _ in range(8)),
    }
    for place in places:
        changed = bytearray(body)
        changed[place] ^= 1 << choice.randrange(8)
        assert_refused(home, "k", head, bytes(changed))
    for _ in range(FLIPS):
        changed = bytearray(head.encode())
        changed[choice.randrange(1, len(changed) - 2)] ^= 1
        try:
            text = changed.decode("ascii")
        except UnicodeDecodeError:
            continue
        home.write("k", text, body)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", aw.AwaitlyWarning)
            assert home.open().get("k") is None
        with pytest.raises(UnverifiedEntryError):
            home.open("strict").get("k")


def test_second_preimages_of_xxh3(home, length, untouched):
    stored(home, length, "k")
    head, body = home.read("k")
    buffer = np.arange(float(length)).tobytes()
    forged = second_preimage(buffer, EVIL[:length].tobytes())
    assert forged[:896] == EVIL[:112].tobytes()
    assert xxhash.xxh3_128_digest(forged) == xxhash.xxh3_128_digest(buffer)
    untouched()
    assert_refused(home, "k", head, body.replace(buffer, forged))


def test_second_preimages_in_entries_of_format_1(tmp_path, monkeypatch, untouched):
    """The attack as it was: a folder of the first format, where it was served under `"strict"` too."""
    monkeypatch.setenv("AWAITLY_NB_SECRET", make.SECRET)
    place = shutil.copytree(Path(make.__file__).parent / "entries-v1", tmp_path / "cache")
    place.chmod(0o700)
    buffer = np.arange(6000.0).tobytes()
    (path,) = [path for path in place.glob("??/*.val") if buffer in path.read_bytes()]
    path.write_bytes(path.read_bytes().replace(buffer, second_preimage(buffer, EVIL[:6000].tobytes())))
    untouched()
    with pytest.warns(DamagedEntryWarning, match="trust folder"):
        assert aw.create_disk_cache(place, namespace="golden").get("array") is None
    with pytest.raises(UnverifiedEntryError):
        aw.create_disk_cache(place, namespace="golden", verify="strict").get("array")


def test_swapped_buffers_of_two_valid_entries(home, length, untouched):
    stored(home, length, "one", "other")
    (head, body), (_, other) = home.read("one"), home.read("other")
    begin = len(body) - 8 * length
    assert body[:begin] == other[:begin]
    untouched()
    assert_refused(home, "one", head, other)


def test_swapped_macs_of_two_valid_entries(home, untouched):
    stored(home, 200_000, "one", "other")
    (head, _), (theirs, other) = home.read("one"), home.read("other")
    untouched()
    for names in (("macs",), ("macs", "nonce"), ("macs", "nonce", "sums"), ("signature",)):
        members = read_head(head)
        members |= {name: read_head(theirs)[name] for name in names}
        assert_refused(home, "one", write_head(members), other)
    assert_refused(home, "one", theirs, other)


@pytest.mark.parametrize("length", [2_000, 200_000])
def test_swapped_buffers_of_one_entry(home, length, untouched):
    home.open().set("k", aw.Ok((np.arange(float(length)), np.ones(length))))
    head, body = home.read("k")
    first, second = np.arange(float(length)).tobytes(), np.ones(length).tobytes()
    between = body[body.index(first) + len(first) : body.index(second)]
    swapped = body[: body.index(first)] + second + between + first
    assert len(swapped) == len(body)
    untouched()
    assert_refused(home, "k", head, swapped)


def test_fewer_macs_than_buffers(home, untouched):
    home.open().set("k", aw.Ok((np.arange(200_000.0), np.ones(200_000))))
    head, body = home.read("k")
    untouched()
    for change in ({"macs": []}, {"macs": read_head(head)["macs"][:1]}, {"nonce": "zz"}, {"sums": []}, {"buffers": 7}):
        assert_refused(home, "k", write_head(read_head(head) | change), body)


def test_cut_short_and_extended(home, length, untouched):
    stored(home, length, "k")
    head, body = home.read("k")
    untouched()
    for changed in (b"", body[:-1], body[: len(body) // 2], body + b"\0", body + body):
        assert_refused(home, "k", head, changed)


def test_an_entry_under_another_key(home, length, untouched):
    stored(home, length, "one", "other")
    head, body = home.read("other")
    untouched()
    assert_refused(home, "one", head, body)


def test_values_inside_states(tmp_path, untouched):
    forms = [codec.to_json(np.arange(20_000.0) + number) for number in range(2)]
    untouched()
    good = np.arange(20_000.0).tobytes()

    def changed(**members):
        return {**forms[0], **members}

    def text(data):
        return base64.b64encode(data).decode()

    attacks = [
        changed(buffers=[text(second_preimage(good, EVIL[:20_000].tobytes()))]),
        changed(buffers=forms[1]["buffers"]),
        changed(buffers=[text(good[:-1])]),
        changed(buffers=[text(good + b"\0")]),
        changed(buffers=[]),
        changed(stream=forms[1]["stream"][:-4]),
        changed(signature=forms[1]["signature"]),
        changed(shapes=[["os", "system", "0"]]),
    ]
    for place in range(0, len(good), 16_000):
        flipped = bytearray(good)
        flipped[place] ^= 1
        attacks.append(changed(buffers=[text(bytes(flipped))]))
    for form in attacks:
        with pytest.raises(UnverifiedEntryError):
            codec.from_json(form)
