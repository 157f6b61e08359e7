"""Entries leave a folder whole and without its secret, and come into another one under that one's own."""

import json

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.cache import Intake, export_entries, open_folder, recorded, staged
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import EnvelopeError, default_keyring
from awaitly_nb.codec.envelope import read_head, write_head
from awaitly_nb.errors import CacheError
from awaitly_nb.result import Mark, with_mark

PARTS = {"parts": [["code", "f", "0" * 32, "x" * 400], ["value", "n", "1" * 32, "3"]]}


@pytest.fixture(autouse=True)
def users(tmp_path, monkeypatch):
    """Become the sender or the receiver, who have secrets of their own."""

    def become(name):
        forget_folders()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / name))
        return tmp_path / name / "cache"

    monkeypatch.delenv("AWAITLY_NB_SECRET", raising=False)
    yield become
    forget_folders()


def fill(directory, **values):
    cache = aw.create_disk_cache(directory, namespace="w")
    for key, value in values.items():
        cache.set(key, with_mark(aw.Ok(value), Mark(step_id=key, duration_s=2.0, parts=PARTS)))
    return cache


def exported(directory, *keys):
    return [
        (entry.namespace, entry.key, entry.head, b"".join(entry.body))
        for entry in export_entries(directory, [("w", key) for key in keys])
    ]


VALUES = {"small": {"n": 1}, "text": "y" * 100_000, "array": np.arange(500_000.0), "little": np.arange(10)}


def test_values_and_what_their_keys_are_made_of_arrive(users):
    directory = users("ann")
    fill(directory, **VALUES)
    anns = default_keyring().own.id
    entries = exported(directory, *VALUES, "none")
    assert [entry[1] for entry in entries] == list(VALUES)
    assert all(anns not in entry[2] for entry in entries)
    theirs = users("bob")
    assert [Intake(theirs).take(*entry) for entry in entries] == [True] * 4
    cache = aw.create_disk_cache(theirs, namespace="w", verify="strict")
    for key, value in VALUES.items():
        np.testing.assert_equal(cache.get(key).value, value)
    told = {key: mark for _, key, mark, _ in recorded(theirs, "w")}
    assert {key: [*map(tuple, mark.parts["parts"])] for key, mark in told.items()} == {
        key: [*map(tuple, PARTS["parts"])] for key in VALUES
    }
    assert {mark.duration_s for mark in told.values()} == {2.0}


def test_what_the_receiver_has_stays(users):
    fill(users("ann"), k="ann's")
    entries = exported(users("ann"), "k")
    directory = users("bob")
    cache = fill(directory, k="bob's")
    assert Intake(directory).take(*entries[0]) is False
    assert cache.get("k").value == "bob's"


def test_what_came_together_makes_no_room_for_each_other(users):
    arrays = {f"k{number}": np.arange(100_000.0) + number for number in range(4)}
    fill(users("ann"), **arrays)
    entries = exported(users("ann"), *arrays)
    directory = users("bob")
    fill(directory, mine=np.zeros(100_000))
    intake = Intake(directory, size_limit=2_000_000)
    with pytest.warns(aw.errors.EvictedWarning, match="mine"):
        assert [intake.take(*entry) for entry in entries[:2]] == [True, True]
    with pytest.raises(CacheError, match=r"'k2' takes 80\d kB, which with the 1\.6 MB that came with it"):
        intake.take(*entries[2])
    assert intake.take(*entries[0]) is False
    assert sorted(aw.create_disk_cache(directory, namespace="w").keys()) == ["k0", "k1"]
    # What came another time is as any other.
    with pytest.warns(aw.errors.EvictedWarning, match="k[01]"):
        assert Intake(directory, size_limit=2_000_000).take(*entries[3])


def test_failures_and_what_does_not_verify_do_not_leave(users):
    directory = users("ann")
    fill(directory, k=1).set("bad", aw.err("FAILED"))
    assert exported(directory, "bad") == []
    folder = open_folder(directory)
    head, body = folder.fetch("w\x1fk")[:2]
    folder.swap("w\x1fk", head, [bytes(body)[:-1] + b"\x00"])
    with pytest.raises(EnvelopeError):
        exported(directory, "k")


def test_nothing_is_unpickled_on_the_way(users, monkeypatch):
    import pickle

    directory = users("ann")
    fill(directory, **VALUES)
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    entries = exported(directory, *VALUES)
    theirs = users("bob")
    with staged(entries) as folder:
        assert len(list(recorded(folder, "w"))) == 4
    assert all(Intake(theirs).take(*entry) for entry in entries)


@pytest.mark.parametrize("key", ["array", "small", "little"])
def test_what_is_not_whole_or_belongs_elsewhere_is_refused(users, key):
    fill(users("ann"), **VALUES)
    (namespace, _, head, body), other = exported(users("ann"), key, "text")
    theirs = users("bob")
    members = read_head(head)
    for wrong in (
        (namespace, "other", head, body),
        ("v", key, head, body),
        ("\x1epart", key, head, body),
        ("w\x1fw", key, head, body),
        (namespace, "", head, body),
        (namespace, "\ud800", head, body),
        (namespace, key, head, body[:-1]),
        (namespace, key, head, body + b"x"),
        (namespace, key, other[2], body),
        (namespace, key, "{}", body),
        (namespace, key, json.dumps({**members, "schema": 1}), body),
        (namespace, key, write_head({**members, "ok": False}), body),
        (namespace, key, write_head({**members, "size_bytes": 0}), body),
    ):
        with pytest.raises(EnvelopeError):
            Intake(theirs).take(*wrong)
    assert open_folder(theirs).names() == []


def test_a_stage_holds_no_value_and_goes_away(users):
    fill(users("ann"), **VALUES)
    entries = exported(users("ann"), *VALUES)
    with staged(entries) as folder:
        sizes = {key: size for _, key, _, size in recorded(folder, "w")}
        assert sizes["array"] >= 4_000_000
        assert sum(path.stat().st_size for path in folder.rglob("*")) < 1_000_000
    assert not folder.exists()
