"""A bundle of a notebook: what goes in comes out for whoever trusts the signer, and nothing of any other is read."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb.cache import Intake
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import Identity, UntrustedSignerError
from awaitly_nb.errors import MisuseError
from awaitly_nb.result import mark_of
from awaitly_nb.share import (
    Bundle,
    BundleError,
    BundleWriter,
    PackedEntry,
    open_bundle,
    pack,
)
from tests.golden import make as golden

ANN, MALLORY = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
NOTEBOOK = b'{"cells": [], "nbformat": 4}'
BODIES = [b"one", b"", b"x" * 5000]


def trusts_ann(key):
    return "ann" if key == ANN.public else None


def entry(number):
    half = len(BODIES[number]) // 2
    body = (BODIES[number][:half], memoryview(BODIES[number])[half:])
    return f"cell {number}", SimpleNamespace(namespace="w", key=f"k{number}", head=f'{{"n":{number}}}', body=body)


def write(path, identity=ANN, name="n.ipynb"):
    count = pack(path, NOTEBOOK, map(entry, range(3)), name=name, identity=identity, made={"python": "3.12"})
    assert count == 3
    return path


def test_what_goes_in_comes_out(tmp_path):
    with open_bundle(write(tmp_path / "n.awaitly"), trusts_ann) as package:
        assert (package.signer, package.key, package.notebook_name) == ("ann", ANN.public, "n.ipynb")
        assert package.made == {"python": "3.12"}
        assert package.notebook() == NOTEBOOK
        assert [package.body(number) for number in range(3)] == BODIES
        assert package.size_bytes == len(NOTEBOOK) + 5003
        assert package.entries[2] == PackedEntry("w", "k2", "cell 2", '{"n":2}', 5000)


def test_an_unknown_signer_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "n.awaitly", MALLORY)
    for reads in ("slices", "read", "verify"):
        monkeypatch.setattr(Bundle, reads, None)
    with pytest.raises(UntrustedSignerError) as told:
        open_bundle(path, trusts_ann)
    assert MALLORY.public.words in str(told.value)
    assert f'trust add "{MALLORY.public}"' in str(told.value)


def test_a_signature_of_somebody_else_under_a_trusted_key_is_refused(tmp_path):
    path = write(tmp_path / "n.awaitly", MALLORY)
    data = path.read_bytes()
    assert data.count(MALLORY.public.raw) == 1
    path.write_bytes(data.replace(MALLORY.public.raw, ANN.public.raw))
    with pytest.raises(BundleError, match="signature"):
        open_bundle(path, trusts_ann)


def test_flipped_bytes_truncation_and_swapped_entries_are_refused(tmp_path):
    path = write(tmp_path / "n.awaitly")
    whole, rng = path.read_bytes(), random.Random(18)
    damaged = [whole[:at] for at in rng.sample(range(len(whole)), 50)]
    for at in rng.sample(range(len(whole)), 300):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
    begin = whole.index(b"one")
    damaged.append(whole[:begin] + whole[begin + 3 : begin + 53] + b"one" + whole[begin + 53 :])
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises((BundleError, UntrustedSignerError)):
            open_bundle(path, trusts_ann)


@pytest.mark.parametrize(
    "name",
    ["../n.ipynb", "/n.ipynb", "a/n.ipynb", "a\\n.ipynb", "C:n.ipynb", ".n.ipynb", "..", "n.py", "n\n.ipynb", "", 5],
)
def test_a_notebook_is_no_path(tmp_path, name):
    path = tmp_path / "n.awaitly"
    if isinstance(name, str):
        with pytest.raises(MisuseError, match="cannot travel"):
            write(path, name=name)
        assert list(tmp_path.iterdir()) == []
    forge(path, notebook={"name": name, "blob": 0})
    with pytest.raises(BundleError, match="no plain file name"):
        open_bundle(path, trusts_ann)


def forge(path, **members):
    with BundleWriter(path, ANN) as writer:
        writer.add([NOTEBOOK])
        sound = {"kind": "notebook", "notebook": {"name": "n.ipynb", "blob": 0}, "entries": [], "made": {}}
        writer.finish({**sound, **members})


ROW = {"namespace": "w", "key": "k", "name": "c", "head": "{}", "blob": 0}


@pytest.mark.parametrize(
    "members",
    [
        {"kind": "other"},
        {"notebook": None},
        {"notebook": {"name": "n.ipynb"}},
        {"notebook": {"name": "n.ipynb", "blob": 9}},
        {"notebook": {"name": "n.ipynb", "blob": True}},
        {"made": []},
        {"entries": {}},
        {"entries": [None]},
        {"entries": [{**ROW, "blob": -1}]},
        {"entries": [{**ROW, "blob": 1}]},
        {"entries": [{**ROW, "head": {}}]},
        {"entries": [{**ROW, "namespace": 1}]},
        {"entries": [ROW, ROW]},
    ],
    ids=json.dumps,
)
def test_a_manifest_that_a_trusted_signer_forged_is_refused(tmp_path, members):
    forge(tmp_path / "n.awaitly", **members)
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "n.awaitly", trusts_ann)


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path):
    path = write(tmp_path / "n.awaitly")
    with open_bundle(path, trusts_ann) as package:
        with path.open("r+b") as file:
            file.seek(path.read_bytes().index(b"xxx"))
            file.write(b"y")
        assert package.body(0) == BODIES[0]
        with pytest.raises(BundleError, match="not what was signed"):
            package.body(2)


def test_what_is_interrupted_leaves_nothing(tmp_path):
    def entries():
        yield entry(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "n.awaitly", NOTEBOOK, entries(), name="n.ipynb", identity=ANN, made={})
    assert list(tmp_path.iterdir()) == []


def test_the_golden_bundle_is_read_for_ever(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", "the receiver's")
    with open_bundle(golden.HERE / "bundle-v1.awaitly", trusts_ann) as package:
        assert (package.notebook_name, package.notebook()) == ("golden.ipynb", golden.NOTEBOOK)
        assert [entry.key for entry in package.entries] == list(golden.BUNDLED)
        for number, entry in enumerate(package.entries):
            assert Intake(tmp_path).take(entry.namespace, entry.key, entry.head, package.body(number))
    cache = aw.create_disk_cache(tmp_path, namespace="golden", verify="strict")
    for key in golden.BUNDLED:
        np.testing.assert_equal(cache.get(key).value, golden.results()[key].value)
    assert mark_of(cache.get("plain")).code == "c0de"
    forget_folders()
