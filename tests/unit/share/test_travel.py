"""`awaitly-nb pack` and `open`: another user, with another home, path and secret, opens it and computes nothing."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from awaitly_nb.codec import Identity, TrustedKeys
from awaitly_nb.share import BundleWriter
from tests.faults.counts import count
from tests.unit.share.people import CELLS, User

FLIPS = count(sample=200, whole=10_000)


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """Ann's notebook, run and packed; and what her run gave."""
    ann = User(tmp_path_factory.mktemp("ann"))
    cells = [{"cell_type": "code", "source": source} for source in CELLS]
    (ann.work / "n.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}))
    (ann.work / "in.csv").write_text("a\n1\n2\n")
    ran = ann.run_all()
    told = ann.data("pack", ann.work / "n.ipynb", "-o", ann.home / "n.awaitly", "--yes")
    assert [one["name"] for one in told["entries"]] == ["load", "model", "total"]
    assert told["left_out"] == []
    return ann, ran


@pytest.fixture
def ann(sent):
    return sent[0]


@pytest.fixture
def bob(tmp_path):
    bob = User(tmp_path / "bob's other home")
    (bob.work / "in.csv").write_text("a\n1\n2\n")
    return bob


@pytest.fixture
def file(ann):
    return ann.home / "n.awaitly"


def test_another_user_gets_all_hits_and_computes_nothing(sent, bob, file):
    ann, ran = sent
    assert not any(badge.startswith("from cache") for badge in ran[0])
    bob.trust(ann)
    told = bob.data("open", file, "--into", bob.work, "--trust")
    assert (told["signer"], told["imported"], told["already_there"]) == ("ann", 3, 0)
    assert told["made"]["packages"].keys() == {"numpy", "pandas"}
    states = ["live", "live", "live", "hit", "hit", "hit", "live"]
    assert [cell["state"] for cell in told["plan"]["cells"]] == states
    assert [cell["state"] for cell in bob.data("plan", bob.work / "n.ipynb")["cells"]] == states
    badges, *values = bob.run_all()
    assert len(badges) == 3
    assert all(badge.startswith("from cache") for badge in badges)
    assert values == ran[1:]
    assert bob.data("open", file, "--into", bob.work, "--trust")["already_there"] == 3
    # The entries are Bob's now, and hers are none of his secret's.
    assert bob.data("trust")["secrets"] == []


def test_it_shows_signer_contents_and_plan_and_asks(ann, bob, file):
    bob.trust(ann)
    before = bob.files()
    said = bob.awaitly("open", file, "--into", bob.work, stdin="n\n", code=1)
    words = ann.data("trust", "key")["words"]
    for text in (f"signed by ann ({words})", "n.ipynb and 3 cached results", "model", "3 hit", "can run code", "[y/N]"):
        assert text in said
    assert bob.files() == before
    assert "3 entries are cached" in bob.awaitly("open", file, "--into", bob.work, stdin="y\n")
    assert (bob.work / "n.ipynb").read_bytes() == (ann.work / "n.ipynb").read_bytes()


def test_an_input_that_is_not_the_same_here_is_a_miss_that_says_which(ann, bob, file):
    bob.trust(ann)
    (bob.work / "in.csv").write_text("a\n5\n")
    cells = bob.data("open", file, "--into", bob.work, "--trust")["plan"]["cells"]
    assert cells[3]["state"] == "run"
    assert "in.csv" in cells[3]["reason"]


def test_an_unknown_signer_is_refused_with_what_to_do(ann, bob, file):
    before = bob.files()
    for arguments in (["--trust"], []):
        said = bob.awaitly("open", file, "--into", bob.work, *arguments, code=1)
        assert ann.data("trust", "key")["words"] in said
        assert "awaitly-nb trust add" in said
        assert "model" not in said
    assert bob.files() == before


def test_damaged_and_forged_files_are_refused_and_nothing_is_written(ann, bob, file, tmp_path):
    bob.trust(ann)
    before = bob.files()
    whole = file.read_bytes()
    damaged = tmp_path / "damaged.awaitly"
    step = len(whole) // 40
    for data in [
        *(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(3, len(whole), step)),
        *(whole[:at] for at in range(0, len(whole), step)),
        whole + b"x",
        whole[: len(whole) // 2] + whole[len(whole) // 2 + 1 :],
    ]:
        damaged.write_bytes(data)
        bob.awaitly("open", damaged, "--into", bob.work, "--trust", code=1)
    assert bob.files() == before


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_flipped_byte_is_refused_by_the_command_and_nothing_is_written(ann, bob, file, tmp_path, monkeypatch):
    """10,000 of them in a whole run, each at a place of its own; half of them outside of the values."""
    bob.trust(ann)
    before, whole, chance = bob.files(), file.read_bytes(), random.Random(18)
    values = max(len(whole) - 40_000, 0)
    places = chance.sample(range(values), FLIPS // 2) + chance.sample(range(values, len(whole)), FLIPS // 2)
    damaged = tmp_path / "damaged.awaitly"
    damaged.write_bytes(whole)
    monkeypatch.setattr("pickle.loads", None)
    with damaged.open("r+b") as out:
        for at in places:
            out.seek(at)
            out.write(bytes([whole[at] ^ 1 << chance.randrange(8)]))
            out.flush()
            bob.awaitly("open", damaged, "--into", bob.work, "--trust", code=1)
            out.seek(at)
            out.write(whole[at : at + 1])
    assert bob.files() == before
    assert damaged.read_bytes() == whole
    monkeypatch.undo()
    assert bob.data("open", damaged, "--into", bob.work, "--trust")["imported"] == 3


def test_what_has_no_room_is_told_and_not_taken(ann, bob, file):
    bob.trust(ann)
    bob.more["AWAITLY_NB_SIZE_LIMIT"] = "1 MB"
    told = bob.data("open", file, "--into", bob.work, "--trust")
    assert told["imported"] == 2
    assert ["size_limit" in why for why in told["too_large"]] == [True]
    cells = bob.data("plan", bob.work / "n.ipynb", code=3)["cells"]
    assert [cell["state"] for cell in cells][3:6] == ["hit", "new", "depends"]
    assert "does not fit" in bob.awaitly("open", file, "--into", bob.work, stdin="n\n", code=1)


def repacked(file, target, change):
    """Pack once more what is in `file`, with its manifest changed, signed by somebody whom Bob trusts."""
    from awaitly_nb.share import Bundle

    with Bundle(file) as bundle, BundleWriter(target, Identity(bytes(32))) as writer:
        manifest = json.loads(json.dumps(bundle.manifest))
        for number in range(len(manifest.pop("blobs"))):
            writer.add([bundle.read(number)])
        change(manifest)
        writer.finish(manifest)


def _swapped(manifest):
    first, second = manifest["entries"][:2]
    first["blob"], second["blob"] = second["blob"], first["blob"]


def _renamed(manifest):
    first, second = manifest["entries"][:2]
    first["key"], second["key"] = second["key"], first["key"]


def _outside(manifest):
    manifest["notebook"]["name"] = "../n.ipynb"


def _part(manifest):
    manifest["entries"][0]["namespace"] = "\x1epart"


def _no_notebook(manifest):
    manifest["notebook"]["blob"] = 1


@pytest.mark.parametrize("change", [_swapped, _renamed, _outside, _part, _no_notebook])
def test_what_even_a_trusted_signer_cannot_mean_is_refused_whole(bob, file, tmp_path, change):
    TrustedKeys(bob.home / "config" / "awaitly_nb" / "trusted_keys.json").add("eve", Identity(bytes(32)).public)
    repacked(file, tmp_path / "sound.awaitly", lambda manifest: None)
    repacked(file, tmp_path / "forged.awaitly", change)
    before = bob.files()
    bob.awaitly("open", tmp_path / "forged.awaitly", "--into", bob.work, "--trust", code=1)
    assert bob.files() == before
    assert bob.data("open", tmp_path / "sound.awaitly", "--into", bob.work, "--trust")["imported"] == 3


def test_packages_of_another_version_are_told(bob, file, tmp_path):
    TrustedKeys(bob.home / "config" / "awaitly_nb" / "trusted_keys.json").add("eve", Identity(bytes(32)).public)

    def older(manifest):
        manifest["made"]["packages"] |= {"numpy": "1.0", "nowhere-at-all": "2.0"}

    repacked(file, tmp_path / "older.awaitly", older)
    said = bob.awaitly("open", tmp_path / "older.awaitly", "--into", bob.work, stdin="n\n", code=1)
    assert f"numpy: 1.0 there, {np.__version__} here" in said
    assert "nowhere-at-all: 2.0 there, not installed here" in said
    assert "pandas:" not in said


def test_another_notebook_of_that_name_is_not_replaced_without_asking(ann, bob, file):
    bob.trust(ann)
    target = bob.work / "n.ipynb"
    target.write_text("mine")
    assert "already" in bob.awaitly("open", file, "--into", bob.work, "--trust", code=1)
    assert "Replace" in bob.awaitly("open", file, "--into", bob.work, stdin="n\n", code=1)
    assert (target.read_text(), bob.cache.exists()) == ("mine", False)
    bob.awaitly("open", file, "--into", bob.work, stdin="y\n")
    assert target.read_bytes() == (ann.work / "n.ipynb").read_bytes()


def test_a_link_in_the_place_of_the_notebook_is_replaced_and_not_followed(ann, bob, file):
    bob.trust(ann)
    (bob.home / "precious").write_text("mine")
    (bob.work / "n.ipynb").symlink_to(bob.home / "precious")
    bob.awaitly("open", file, "--into", bob.work, "--trust", code=1)
    bob.awaitly("open", file, "--into", bob.work, stdin="y\n")
    assert (bob.home / "precious").read_text() == "mine"
    assert not (bob.work / "n.ipynb").is_symlink()


def test_pack_lists_warns_and_asks(ann, tmp_path, monkeypatch):
    copy = User(tmp_path / "home")
    shutil.copytree(ann.work, copy.work, dirs_exist_ok=True)
    shutil.copytree(ann.home / "config", copy.home / "config")
    notebook = json.loads((copy.work / "n.ipynb").read_text())
    notebook["cells"].append({"cell_type": "code", "source": "%%awaitly late\nlate = 'ann@example.org'"})
    notebook["cells"].append({"cell_type": "code", "source": "key = 'correct-horse-battery'"})
    (copy.work / "n.ipynb").write_text(json.dumps(notebook))
    monkeypatch.setenv("SOME_API_TOKEN", "correct-horse-battery")
    out = tmp_path / "out.awaitly"
    said = copy.awaitly("pack", copy.work / "n.ipynb", "-o", out, stdin="n\n", code=1)
    for text in ("3 cached results", "model", "1.6 MB", "not in it: late", "e-mail address", "SOME_API_TOKEN", "[y/N]"):
        assert text in said
    assert "correct-horse" not in said
    assert "ann@example.org" not in said
    assert not out.exists()
    assert "signed by" in copy.awaitly("pack", copy.work / "n.ipynb", "-o", out, stdin="y\n")
    assert out.stat().st_mode & 0o077 == 0


def test_a_key_is_trusted_by_name_and_no_longer(ann, bob, tmp_path):
    key = ann.data("trust", "key")
    assert bob.data("trust", "keys") == []
    bob.awaitly("trust", "add", *key["key"].split(), "--name", "ann")  # also without quotes in the shell
    assert bob.data("trust", "keys") == [{"name": "ann", **key}]
    assert key["words"] in bob.awaitly("trust", "keys")
    assert bob.awaitly("trust", "remove", "ann") == "no longer trusted: ann\n"
    assert bob.data("trust", "keys") == []
    (tmp_path / "ann.pub").write_text(key["key"] + " ann@laptop\n")
    assert "--name" in bob.awaitly("trust", "add", tmp_path / "ann.pub", code=2)
    bob.awaitly("trust", "add", tmp_path / "ann.pub", "--name", "ann")
    assert bob.data("trust", "add", "--name", "ann again", stdin=key["key"])["words"] == key["words"]
    assert "no public key" in bob.awaitly("trust", "add", "awaitly-ed25519 AAAA", "--name", "x", code=1)
    assert "no file" in bob.awaitly("trust", "add", tmp_path / "none", code=2)


def test_the_private_key_never_leaves(ann, file):
    private = Path(ann.home / "config" / "awaitly_nb" / "identity").read_bytes()
    secret = Path(ann.home / "config" / "awaitly_nb" / "secret").read_bytes()
    data = file.read_bytes()
    assert private not in data
    assert secret not in data
    assert secret.hex().encode() not in data


def installed(user, version):
    """Have a package in this version where the user's Python finds it."""
    site = user.home / "lib" / "site-packages"
    (site / "tinypkg").mkdir(parents=True)
    (site / "tinypkg" / "__init__.py").write_text("def twice(x):\n    return 2 * x\n")
    about = site / f"tinypkg-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinypkg\nVersion: {version}\n")
    (about / "top_level.txt").write_text("tinypkg\n")
    user.environment["PYTHONPATH"] = str(site)


@pytest.mark.slow
def test_an_entry_for_another_version_of_a_package_is_a_miss_that_says_which(tmp_path):
    ann, bob, eve = users = [User(tmp_path / name) for name in ("ann", "bob", "eve")]
    for user, version in zip(users, ("1.2.0", "1.3.0", "1.2.9"), strict=True):
        installed(user, version)
    ann.write(["import tinypkg", "%%awaitly double\ntotal = tinypkg.twice(21)\narray = [1.0]"])
    ann.run_all()
    ann.shell("pack", "n.ipynb", "-o", tmp_path / "n.awaitly", "--yes")
    for user in (bob, eve):
        user.trust(ann)
    told = bob.shell("open", tmp_path / "n.awaitly", "--trust")
    assert "tinypkg: 1.2.0 there, 1.3.0 here" in told
    assert "tinypkg 1.2.0 -> 1.3.0" in told
    assert "0 hit, 1 run" in told
    assert "(tinypkg 1.2.0 -> 1.3.0)" in bob.run_all()[0][0]
    assert "1 hit" in eve.shell("open", tmp_path / "n.awaitly", "--trust")
    assert eve.run_all()[0][0].startswith("from cache")
    assert "came from ann, computed on another machine: tinypkg 1.2.0, here 1.2.9" in eve.shell("why", "double")
