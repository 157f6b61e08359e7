"""`awaitly-nb trust`: secrets of others, and a folder whose own secret is lost."""

import json
import os
import subprocess
import sys
import warnings

import pytest
from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb import config
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.cli.app import app
from awaitly_nb.codec.secrets import default_keyring

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX modes")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("AWAITLY_NB_SECRET", raising=False)
    yield tmp_path / "cache"
    forget_folders()


def signed_by(secret, monkeypatch, **results):
    """Keep results that are signed with `secret`, and return its id."""
    with monkeypatch.context() as patch:
        patch.setenv("AWAITLY_NB_SECRET", secret)
        cache = aw.create_disk_cache(config.cache_directory(), namespace="w")
        for key, value in results.items():
            cache.set(key, aw.Ok(value))
        forget_folders()
        return default_keyring().own.id


def get(key):
    return aw.create_disk_cache(config.cache_directory(), namespace="w").get(key)


def awaitly(*arguments, code=0, stdin=None):
    done = CliRunner().invoke(app, ["trust", *map(str, arguments)], input=stdin, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def data(*arguments, **options):
    return json.loads(awaitly(*arguments, "--json", **options))


@pytest.fixture
def lost(monkeypatch):
    return signed_by("gone with the container", monkeypatch, small={"n": 1}, large="x" * 100_000)


def test_without_a_command_it_says_what_is_not_trusted_and_what_to_do(folder, lost):
    told = data()
    assert [(one["secret"], one["entries"]) for one in told["secrets"]] == [(lost, 2)]
    shown = awaitly()
    assert lost in shown
    assert "awaitly-nb trust add" in shown
    assert f"awaitly-nb trust folder {folder}" in shown


def test_without_a_folder_there_is_nothing_to_say_and_none_is_made(folder):
    assert data()["secrets"] == []
    assert "nothing in" in awaitly()
    assert "no cache folder" in awaitly("folder", folder, code=1)
    assert not folder.exists()


def test_it_shows_what_is_there_asks_and_signs(folder, lost):
    said = awaitly("folder", stdin="y\n")
    for text in (lost, "2", "drwx------", "[y/N]", "2 of 2 entries"):
        assert text in said
    assert get("small") == aw.Ok({"n": 1})
    assert get("large") == aw.Ok("x" * 100_000)
    assert "nothing in" in awaitly("folder", folder, "--yes")
    assert "nothing in" in awaitly()


@pytest.mark.parametrize("stdin", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_signed(folder, lost, stdin):
    before = {path.name: path.read_bytes() for path in folder.rglob("*.val")}
    assert "Aborted" in awaitly("folder", folder, stdin=stdin, code=1)
    assert data()["secrets"][0]["entries"] == 2
    assert {path.name: path.read_bytes() for path in folder.rglob("*.val")} == before


def test_json_needs_a_yes_or_a_dry_run(folder, lost):
    assert "--yes" in awaitly("folder", "--json", code=2)
    told = data("folder", "--dry-run")
    assert (told["signed"], told["secrets"][0]["entries"]) == (0, 2)
    assert "would sign 2" in awaitly("folder", "--dry-run")
    assert data()["secrets"][0]["entries"] == 2
    told = data("folder", "--yes")
    assert (told["folder"], told["signed"], told["refused"]) == (str(folder), 2, [])


def test_what_is_not_whole_is_named_and_stays_refused(folder, monkeypatch):
    import numpy as np

    signed_by("gone", monkeypatch, array=np.arange(100_000), small=1)
    (path,) = folder.glob("??/*.val")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = data("folder", "--yes")
    assert told["signed"] == 1
    assert [(one["key"], "checksum" in one["why"]) for one in told["refused"]] == [("array", True)]
    assert "not served: 'array'" in awaitly("folder", "--yes")
    with pytest.warns(aw.errors.ForeignSecretWarning):
        assert get("array") is None
    assert get("small") == aw.Ok(1)


def open_folder(folder):
    folder.chmod(0o777)


def open_database(folder):
    (folder / "cache.db").chmod(0o666)


def open_to_the_group(folder):
    next(folder.glob("??/*.val")).chmod(0o660)


def link(folder):
    (folder / "zz").symlink_to("/tmp")


@pytest.mark.parametrize("harm", [open_folder, open_database, open_to_the_group, link], ids=lambda f: f.__name__)
def test_a_folder_that_others_could_write_to_is_refused_unopened(folder, lost, harm):
    harm(folder)
    before = (folder / "cache.db").read_bytes()
    said = awaitly("folder", folder, "--yes", code=1)
    assert "nobody can vouch" in said
    assert "chmod" in said
    assert (folder / "cache.db").read_bytes() == before


def test_a_folder_of_another_user_is_refused(folder, lost, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "belongs to user" in awaitly("folder", folder, "--yes", code=1)


def test_without_a_secret_that_lasts_nothing_is_signed(folder, lost, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aw.errors.CacheUnusableWarning)  # of this very secret
        said = awaitly("folder", folder, "--yes", code=1)
    assert "AWAITLY_NB_SECRET" in said
    monkeypatch.setenv("AWAITLY_NB_SECRET", "of this machine")
    assert data("folder", folder, "--yes")["signed"] == 2


def test_of_several_secrets_one_must_be_chosen(folder, lost, monkeypatch):
    colleague = signed_by("a colleague", monkeypatch, theirs=3)
    said = awaitly("folder", "--yes", code=1)
    assert "--secret" in said
    assert colleague in said
    assert data("folder", "--yes", "--secret", lost)["signed"] == 2
    assert [one["secret"] for one in data()["secrets"]] == [colleague]
    assert "no entry" in awaitly("folder", "--yes", "--secret", "0" * 16, code=1)


def test_a_secret_that_somebody_still_has_is_added_instead(folder, lost, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("AWAITLY_NB_SECRET", "gone with the container")
        secret = data("export")["secret"]
    assert data("add", "--name", "old box", stdin=secret) == {"id": lost, "note": "old box"}
    assert get("small") == aw.Ok({"n": 1})
    assert data()["secrets"] == []
    assert data("remove", lost) == {"removed": lost}


WORK = """
import awaitly_nb as aw

@aw.step
def square(n):
    print("computing", end=" ")
    return n * n

def load(n):
    print("computing", end=" ")
    return "x" * 50_000

workflow = aw.create_workflow("report")
workflow.run_sync(lambda ctx: [ctx.step("load", load, n, key=f"load:{n}") for n in range(3)]).unwrap()
squares = [square(n) for n in range(3)]
"""
LOOK = """
import warnings
import awaitly_nb as aw

warnings.simplefilter("always")
caches = [aw.create_disk_cache(namespace=name) for name in ("report", "square")]
print([cache.get(key) for cache in caches for key in cache.keys()])
"""


@pytest.mark.slow
def test_a_container_that_lost_its_home_is_one_warning_with_the_remedy_and_one_command(tmp_path, folder):
    def in_container(*command, home):
        """Run it in a container that has the volume with the cache, and this home."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / home), "AWAITLY_NB_CACHE_DIR": str(folder)}
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "look.py").write_text(LOOK)
    shell = ("-c", "from awaitly_nb.cli import main; main()")
    assert in_container("work.py", home="first") == ("computing " * 6, "")
    assert in_container("work.py", home="first") == ("", "")

    found, said = in_container("look.py", home="second")
    kept = found.count("None")
    assert kept >= 3
    assert "Ok" not in found
    assert said.count("Warning") == 1
    assert "awaitly-nb trust" in said

    told, _ = in_container(*shell, "trust", home="second")
    assert f"awaitly-nb trust folder {folder}" in told.replace("\n", "")
    told, _ = in_container(*shell, "trust", "folder", str(folder), "--yes", "--json", home="second")
    assert json.loads(told)["signed"] >= kept
    assert in_container("work.py", home="second") == ("", "")
