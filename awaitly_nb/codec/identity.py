"""Who signed what leaves a machine: everybody's own key pair, and the public keys of others that are trusted.

Signatures are Ed25519 (RFC 8032): whoever can check one cannot make one, other than with the keyed hash of local
entries. The private key is made when first needed, readable by its owner alone; trust goes by public key, with a name
that the owner gives and a fingerprint of words that two people can compare on the phone.
"""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from awaitly_nb.errors import AwaitlyError, MissingExtraError, MisuseError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Identity", "PublicKey", "TrustedKeys", "UntrustedSignerError", "own_identity", "signer_name"]

_PREFIX = "awaitly-ed25519"
_SIZE = 32
_WORDS = 6
_VARIABLE = "AWAITLY_NB_IDENTITY"
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,80}")


class UntrustedSignerError(AwaitlyError):
    """Something is signed by a key that is not trusted here; nothing of it was decoded."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: 32 bytes that everybody may know.

    Attributes
    ----------
    raw
        The key itself, as RFC 8032 writes it.

    Examples
    --------
    >>> key = PublicKey(bytes(32))
    >>> PublicKey.parse(str(key)) == key
    True
    >>> len(key.words.split("-"))
    6
    """

    PREFIX: ClassVar[str] = _PREFIX
    """How the text of a public key begins."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != _SIZE:
            raise MisuseError(f"a public key has {_SIZE} bytes, and this one {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Return the key that `str` of one wrote; a comment may follow it.

        Raises
        ------
        MisuseError
            It is no such text.
        """
        found = text.split()
        try:
            raw = base64.b64decode(found[1], validate=True) if found[:1] == [_PREFIX] else b""
        except (ValueError, IndexError):
            raw = b""
        if len(raw) != _SIZE:
            raise MisuseError(
                f"{text[:80]!r} is no public key; ask its owner for what `awaitly-nb trust key` prints, which begins "
                f"with {_PREFIX}"
            )
        return cls(raw)

    @property
    def words(self) -> str:
        """The fingerprint as six words that can be read aloud: 96 bits of the SHA-256 of the key."""
        digest = sha256(self.raw).digest()
        pairs = [int.from_bytes(digest[2 * index : 2 * index + 2], "big") for index in range(_WORDS)]
        return "-".join(map(_word, pairs))

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` is that of `message` by the owner of this key."""
        ed25519, invalid = _library()
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except invalid:
            return False
        return True

    def __str__(self) -> str:
        return f"{_PREFIX} {base64.b64encode(self.raw).decode()}"


class Identity:
    """The key pair of the user who runs this process.

    Parameters
    ----------
    private
        The 32 bytes of the private key.
    """

    __slots__ = ("_private", "public")

    public: PublicKey

    def __init__(self, private: bytes) -> None:
        ed25519, _ = _library()
        self._private = ed25519.Ed25519PrivateKey.from_private_bytes(private)
        self.public = PublicKey(self._private.public_key().public_bytes_raw())

    @classmethod
    def own(cls, path: Path) -> Identity:
        """Return the key pair stored at `path`, made when first needed; several processes at once agree on one.

        Raises
        ------
        MisuseError
            The file is not what this wrote, or others can read it.
        """
        for _ in range(2):
            try:
                with path.open("rb") as file:
                    mode, data = os.fstat(file.fileno()).st_mode, file.read(_SIZE + 1)
            except FileNotFoundError:
                _create(path)
                continue
            if os.name == "posix" and mode & 0o077:
                raise MisuseError(f"others can read the private key {path}; run: chmod 600 {path}")
            if len(data) != _SIZE:
                raise MisuseError(f"{path} is no private key of awaitly_nb; move it away, and a new one is made")
            return cls(data)
        raise MisuseError(f"the private key {path} goes away while it is read")

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`, 64 bytes."""
        signature: bytes = self._private.sign(message)
        return signature

    def __repr__(self) -> str:
        return f"Identity({self.public.words})"


class TrustedKeys:
    """The public keys that are trusted, each under a name.

    Parameters
    ----------
    path
        A JSON file of names and keys; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> dict[str, PublicKey]:
        """Return the trusted keys by name, sorted.

        Raises
        ------
        MisuseError
            The file cannot be read.
        """
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(name): PublicKey.parse(str(text)) for name, text in sorted(found.items())}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as exc:
            raise MisuseError(
                f"the trusted keys {self._path} cannot be read ({exc}); repair or remove the file"
            ) from None

    def name_of(self, key: PublicKey) -> str | None:
        """Return the name of a key that is trusted, else None."""
        return next((name for name, trusted in self.all().items() if trusted == key), None)

    def add(self, name: str, key: PublicKey) -> None:
        """Trust what the owner of this key signs.

        Raises
        ------
        MisuseError
            The name belongs to another key already, or is empty or not printable.
        """
        if not _NAME.fullmatch(name) or not name.strip():
            raise MisuseError(f"{name!r} cannot be a name: use up to 80 printable characters")
        known = self.all()
        if known.get(name, key) != key:
            raise MisuseError(
                f"{name!r} is the name of another trusted key; remove that one first, or use another name"
            )
        self._write({**known, name: key})

    def remove(self, name: str) -> bool:
        """Trust this key no longer; return whether it was trusted."""
        known = self.all()
        found = known.pop(name, None) is not None
        if found:
            self._write(known)
        return found

    def _write(self, keys: dict[str, PublicKey]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        text = json.dumps({name: str(key) for name, key in sorted(keys.items())}, indent=1, ensure_ascii=False)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text + "\n")
        temporary.replace(self._path)


def own_identity() -> Identity:
    """Return the key pair of the user who runs this process: of `AWAITLY_NB_IDENTITY` where that is set, as in CI.

    Raises
    ------
    MisuseError
        The variable, or the file, holds no private key; no message repeats what it holds.
    """
    from awaitly_nb.config import identity_path

    if not (text := os.environ.get(_VARIABLE)):
        return Identity.own(identity_path())
    try:
        private = base64.b64decode(text, validate=True)
    except ValueError:
        private = b""
    if len(private) != _SIZE:
        raise MisuseError(f"{_VARIABLE} holds no private key: it is {_SIZE} random bytes in base64")
    return Identity(private)


def signer_name(key: PublicKey) -> str | None:
    """Return the name under which the user who runs this process trusts a key, "you" for their own; else None."""
    from awaitly_nb.config import identity_path, trusted_keys_path

    # Asking makes no key pair: who has none has signed nothing.
    if (os.environ.get(_VARIABLE) or identity_path().exists()) and own_identity().public == key:
        return "you"
    return TrustedKeys(trusted_keys_path()).name_of(key)


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.urandom(_SIZE))  # every 32 bytes are a private key of Ed25519
    try:
        # A link fails where somebody else was first, so that all agree on one key and nobody reads half of it.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _word(number: int) -> str:
    """Return 16 bits as a pronounceable word of five letters, in the manner of proquints (arXiv:0901.4016)."""
    return "".join(
        (
            _CONSONANTS[number >> 12],
            _VOWELS[number >> 10 & 3],
            _CONSONANTS[number >> 6 & 15],
            _VOWELS[number >> 4 & 3],
            _CONSONANTS[number & 15],
        )
    )


def _library() -> tuple[Any, type[Exception]]:  # Any: a module of an optional package
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MissingExtraError("cryptography", "share") from None
    return ed25519, InvalidSignature
