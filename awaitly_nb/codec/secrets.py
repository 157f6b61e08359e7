"""The per-user key that signs entries, and the keys of others that the user trusts.

The key lives in the user's configuration directory, never in a cache folder: whoever can plant a file in the cache must
not be able to sign it. `AWAITLY_NB_SECRET` sets one, for machines that share a cache.
"""

from __future__ import annotations

import os
import stat
import threading
from binascii import b2a_base64
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import CacheUnusableWarning, warn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["VARIABLE", "Keyring", "Secret", "default_keyring", "read_or_create"]

VARIABLE = "AWAITLY_NB_SECRET"
_DECISIVE = (VARIABLE, "XDG_CONFIG_HOME", "HOME", "APPDATA")
_SIZE = 32
_PERSON = b"awaitly entry"
_lock = threading.Lock()


class Secret:
    """A signing key.

    Attributes
    ----------
    key
        The key itself; in no repr and no log.
    id
        A public name of the key, from which nothing can be learned of it.
    short_id
        The same in base 64 without padding, as heads have it.
    """

    __slots__ = ("_keyed", "id", "key", "short_id")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.id: str = blake2b(key, digest_size=8, person=b"awaitly id").hexdigest()
        self.short_id = b2a_base64(bytes.fromhex(self.id), newline=False).rstrip(b"=").decode("ascii")
        self._keyed = blake2b(key=key, digest_size=16, person=_PERSON)

    def __eq__(self, other: object) -> bool:
        return compare_digest(self.key, other.key) if type(other) is Secret else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Secret(id={self.id!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self.key,)

    def digest(self, *parts: bytes | bytearray | memoryview) -> bytes:
        """Return the signature of `parts`, sixteen bytes; the split between parts counts."""
        digest = self._keyed.copy()  # taking the key in costs as much as a small entry
        update = digest.update
        update(_lengths(len(parts)) % (*map(len, parts),))
        for part in parts:
            if part:
                update(part)
        signature: bytes = digest.digest()
        return signature

    def sign(self, *parts: bytes | bytearray | memoryview) -> str:
        """Return the same as 32 hexadecimal digits."""
        return self.digest(*parts).hex()

    def derive(self, nonce: bytes) -> bytes:
        """Return a key for whatever has this `nonce`, from which nothing can be learned of this one."""
        return blake2b(nonce, key=self.key, digest_size=_SIZE, person=b"awaitly buffers").digest()

    def verify(self, signature: str, *parts: bytes | bytearray | memoryview) -> bool:
        """Tell whether `signature` is that of `parts`."""
        return signature.isascii() and compare_digest(signature, self.sign(*parts))


@lru_cache(maxsize=64)
def _lengths(count: int) -> bytes:
    """Return the form of the lengths of so many parts."""
    return b",".join([b"%d"] * count)


class Keyring:
    """The secret that signs here, and those that are trusted beside it.

    Parameters
    ----------
    own
        Signs what is stored.
    trusted_path
        A file of further secrets, or what names it: one a line, 64 hexadecimal digits, a comment after `#`. Read anew
        when it has changed, so that neither trusting a secret nor trusting it no longer needs a restart.
    """

    __slots__ = ("_stamp", "_trusted", "own", "trusted_path")

    def __init__(self, own: Secret, trusted_path: Path | Callable[[], Path] | None = None) -> None:
        self.own = own
        self.trusted_path = trusted_path
        self._trusted: dict[str, Secret] = {}
        self._stamp: tuple[int, ...] = ()

    def find(self, secret_id: str) -> Secret | None:
        """Return the secret called `secret_id`, or None if it is not trusted here."""
        if secret_id == self.own.id:
            return self.own
        if self.trusted_path is not None:
            path = self.trusted_path() if callable(self.trusted_path) else self.trusted_path
            if (stamp := _stamp_of(path)) != self._stamp:
                self._trusted = {secret.id: secret for secret in _read_trusted(path)}
                self._stamp = stamp
        return self._trusted.get(secret_id)

    def ids(self) -> frozenset[str]:
        """Return the public names of the own secret and of the trusted ones."""
        self.find("")  # reads the file
        return frozenset({self.own.id, *self._trusted})


_keyrings: dict[tuple[str | None, ...], Keyring] = {}


def default_keyring() -> Keyring:
    """Return the keyring of the user who runs this process."""
    # The variables that decide where it lies. Looked up at every call, and nothing else: this is on the road of a hit.
    environment = tuple(map(os.environ.get, _DECISIVE))
    if (keyring := _keyrings.get(environment)) is None:
        # Imported here so that a process which never signs does not read the configuration.
        from awaitly_nb.config import secret_path, trusted_secrets_path

        with _lock:
            text = environment[0]
            own = Secret(blake2b(text.encode(), digest_size=_SIZE).digest()) if text else read_or_create(secret_path())
            keyring = _keyrings.setdefault(environment, Keyring(own, trusted_secrets_path))
    return keyring


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def read_or_create(path: Path) -> Secret:
    """Return the secret stored at `path`, made on first use; several processes at once agree on one.

    Where it can be neither read nor made, a secret for this process alone, with a warning.
    """
    try:
        return _read(path) or _create(path)
    except OSError as exc:
        warn(
            f"cannot use the signing secret {path} ({exc}); what this process stores cannot be verified by the next: "
            f"make its folder writable, or set {VARIABLE}",
            CacheUnusableWarning,
        )
        return Secret(os.urandom(_SIZE))


def _read(path: Path) -> Secret | None:
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            key = file.read(_SIZE + 1)
    except FileNotFoundError:
        return None
    if len(key) != _SIZE:
        raise OSError(f"it holds no secret; remove the file to have a new one made: {path}")
    if hasattr(os, "getuid"):
        if info.st_uid == os.getuid() and stat.S_IMODE(info.st_mode) & 0o077:
            path.chmod(0o600)
        if (why := _known_to_others(path, info)) is not None:
            warn(
                f"the signing secret {path} {why}: who knows or replaces it can sign what this process unpickles. Make "
                f"file and folder yours alone (chown, chmod go-w), or set {VARIABLE}",
                CacheUnusableWarning,
            )
    return Secret(key)


def _known_to_others(path: Path, info: os.stat_result) -> str | None:
    """Return why somebody else may know or replace a secret; None where only the user and root can."""
    if info.st_uid not in (os.getuid(), 0):
        return f"belongs to user {info.st_uid}"
    folder = path.parent.stat()
    if folder.st_uid not in (os.getuid(), 0):
        return f"lies in a folder of user {folder.st_uid}"
    others = stat.S_IMODE(folder.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    return f"lies in a folder that others may write to (mode {stat.S_IMODE(folder.st_mode):o})" if others else None


def _create(path: Path) -> Secret:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}-{os.getpid()}-{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, made with O_EXCL and its mode
            file.write(os.urandom(_SIZE))
        # A link appears whole or not at all, and never replaces: of two creators both end with the first one's secret.
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            if not path.exists():
                draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    secret = _read(path)
    if secret is None:
        raise FileNotFoundError(f"{path} vanished while it was made")
    return secret


def _stamp_of(path: Path) -> tuple[int, ...]:
    try:
        info = path.stat()
    except OSError:
        return ()
    return info.st_ino, info.st_mtime_ns, info.st_size


def _read_trusted(path: Path) -> list[Secret]:
    """Return the secrets in the file at `path`: one a line, 64 hexadecimal digits, a comment after `#`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        text = line.partition("#")[0].strip()
        if len(text) == 2 * _SIZE:
            try:
                found.append(Secret(bytes.fromhex(text)))
            except ValueError:
                continue
    return found
