"""Key pairs, and the keys of others."""

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from awaitly_nb import MisuseError
from awaitly_nb.codec import Identity, PublicKey, TrustedKeys, own_identity, signer_name

# RFC 8032, section 7.1, test 2: a private key, its public key, a message and its signature.
PRIVATE = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_signatures_are_those_of_the_standard():
    identity = Identity(PRIVATE)
    assert identity.public.raw == PUBLIC
    assert identity.sign(b"\x72") == SIGNATURE
    assert PublicKey(PUBLIC).verify(SIGNATURE, b"\x72")
    assert not PublicKey(PUBLIC).verify(SIGNATURE, b"\x73")
    assert not PublicKey(bytes(32)).verify(SIGNATURE, b"\x72")


def test_the_private_key_never_shows():
    shown = repr(Identity(PRIVATE)) + str(Identity(PRIVATE).public)
    assert PRIVATE.hex() not in shown
    assert Identity(PRIVATE).public.words in repr(Identity(PRIVATE))


def test_words_differ_and_can_be_spoken():
    words = {PublicKey(os.urandom(32)).words for _ in range(200)}
    assert len(words) == 200
    assert all(len(word) == 5 and word.isalpha() for found in words for word in found.split("-"))


def test_a_key_pair_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "config" / "identity"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Identity.own(path).public, range(32)))
    assert len(set(made)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["identity"]


def test_a_private_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "identity"
    Identity.own(path)
    path.chmod(0o644)
    with pytest.raises(MisuseError, match="chmod 600"):
        Identity.own(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(MisuseError, match="no private key"):
        Identity.own(path)


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519 AAAA", "awaitly-ed25519", "awaitly-ed25519 !!", "awaitly-ed25519 QUJD"]
)
def test_what_is_no_public_key_is_told(text):
    with pytest.raises(MisuseError, match="no public key"):
        PublicKey.parse(text)


def test_trust_has_names(tmp_path):
    trusted = TrustedKeys(tmp_path / "c" / "trusted.json")
    ada, bob = PublicKey(PUBLIC), PublicKey(bytes(32))
    assert trusted.all() == {}
    trusted.add("ada", ada)
    trusted.add("ada", ada)
    trusted.add("bob", bob)
    assert trusted.name_of(ada) == "ada"
    with pytest.raises(MisuseError, match="another trusted key"):
        trusted.add("ada", bob)
    for name in ("", " ", "a\x1b[2J", "x" * 81):
        with pytest.raises(MisuseError, match="cannot be a name"):
            trusted.add(name, ada)
    assert trusted.remove("ada")
    assert not trusted.remove("ada")
    assert trusted.all() == {"bob": bob}
    (tmp_path / "c" / "trusted.json").write_text("[1")
    with pytest.raises(MisuseError, match="cannot be read"):
        trusted.all()


def test_a_key_pair_from_the_environment_is_used_and_makes_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("AWAITLY_NB_IDENTITY", base64.b64encode(bytes(range(32))).decode())
    assert own_identity().public == Identity(bytes(range(32))).public
    assert signer_name(own_identity().public) == "you"
    assert signer_name(Identity(bytes(32)).public) is None
    assert list(tmp_path.iterdir()) == []
    for wrong in ("x", "AAAA", "é" * 44):
        monkeypatch.setenv("AWAITLY_NB_IDENTITY", wrong)
        with pytest.raises(MisuseError, match="holds no private key") as told:
            own_identity()
        assert wrong not in str(told.value).replace("base64", "")
