"""The signing secret: made once, read only by its owner, the same for all who start at once."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys

import pytest

from awaitly_nb.codec.secrets import Keyring, Secret, default_keyring, read_or_create
from awaitly_nb.errors import CacheUnusableWarning


def test_it_is_made_once_and_private(tmp_path):
    path = tmp_path / "config" / "secret"
    first = read_or_create(path)
    assert read_or_create(path) == first
    assert len(first.key) == 32
    assert [found.name for found in path.parent.iterdir()] == ["secret"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o644)
        read_or_create(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_processes_that_start_at_once_agree_on_one(tmp_path):
    script = (
        "import sys; from pathlib import Path; from awaitly_nb.codec.secrets import read_or_create; "
        "print(read_or_create(Path(sys.argv[1])).id)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path / "secret"], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    assert len({process.communicate()[0] for process in processes}) == 1


def test_it_shows_in_no_repr():
    secret = Secret(b"k" * 32)
    assert "kkk" not in repr(secret)
    assert secret.id in repr(secret)


def test_signatures_bind_key_parts_and_their_split():
    one, other = Secret(b"1" * 32), Secret(b"2" * 32)
    signature = one.sign(b"ab", b"c")
    assert one.verify(signature, b"ab", b"c")
    assert not one.verify(signature, b"a", b"bc")
    assert not one.verify(signature, b"ab", b"d")
    assert not other.verify(signature, b"ab", b"c")
    assert not one.verify("ü" * 32, b"ab", b"c")
    assert not one.verify("", b"ab", b"c")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_file_that_holds_no_secret_is_told_and_never_replaced(tmp_path, content):
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.warns(CacheUnusableWarning, match="remove the file"):
        read_or_create(path)
    assert path.read_bytes() == content


def test_a_home_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(CacheUnusableWarning, match="AWAITLY_NB_SECRET"):
        secret = read_or_create(tmp_path / "file" / "secret")
    assert len(secret.key) == 32


def test_the_environment_sets_one(monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", "shared by two machines")
    first = default_keyring()
    assert default_keyring() is first
    monkeypatch.setenv("AWAITLY_NB_SECRET", "another")
    assert default_keyring().own != first.own


def test_trusted_secrets_are_found_without_a_restart(tmp_path):
    other = Secret(b"2" * 32)
    keyring = Keyring(Secret(b"1" * 32), tmp_path / "trusted")
    assert keyring.find(other.id) is None
    (tmp_path / "trusted").write_text(f"{other.key.hex()}\n")
    assert keyring.find(other.id) == other


def test_a_secret_that_is_trusted_no_longer_is_not_found_without_a_restart_either(tmp_path):
    one, other = Secret(b"2" * 32), Secret(b"3" * 32)
    keyring = Keyring(Secret(b"1" * 32), tmp_path / "trusted")
    (tmp_path / "trusted").write_text(f"{one.key.hex()}\n{other.key.hex()}\n")
    assert keyring.find(one.id) == one
    (tmp_path / "new").write_text(f"{other.key.hex()}\n")
    (tmp_path / "new").replace(tmp_path / "trusted")
    assert keyring.find(one.id) is None
    assert keyring.find(other.id) == other
    (tmp_path / "trusted").unlink()
    assert keyring.find(other.id) is None


def test_a_secret_survives_pickling_for_worker_processes():
    secret = Secret(b"1" * 32)
    assert pickle.loads(pickle.dumps(secret)) == secret


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_secret_of_somebody_else_is_used_with_a_warning(tmp_path):
    path = tmp_path / "user" / "secret"
    known = read_or_create(path)
    os.chown(path, 4711, -1)
    with pytest.warns(CacheUnusableWarning, match="belongs to user 4711"):
        assert read_or_create(path) == known
    os.chown(path, 0, -1)
    os.chown(path.parent, 4711, -1)
    with pytest.warns(CacheUnusableWarning, match="folder of user 4711"):
        assert read_or_create(path) == known


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_a_secret_where_others_may_write_is_used_with_a_warning(tmp_path, mode):
    path = tmp_path / "user" / "secret"
    known = read_or_create(path)  # warnings are errors here: the folder that was made is the user's alone
    path.parent.chmod(mode)
    with pytest.warns(CacheUnusableWarning, match="others may write"):
        assert read_or_create(path) == known


def test_a_signature_is_the_same_for_parts_of_any_size_and_the_split_counts():
    secret = Secret(b"k" * 32)
    for size in (0, 1, 4095, 4096, 100_000):
        first, second = b"a" * size, b"b" * 10
        assert secret.sign(first, second) == secret.sign(memoryview(first), bytearray(second))
        assert secret.verify(secret.sign(first, second), first, second)
        assert secret.sign(first, second) != secret.sign(first + second)
