"""The user's signing secret and the secrets of others that the user trusts, as the shell manages them.

What is trusted here decides whose entries are decoded, and decoding runs their code: so nothing is added without being
given in full, and a secret is shown only where it is asked for by name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from awaitly_nb.codec import Secret, default_keyring
from awaitly_nb.config import trusted_secrets_path
from awaitly_nb.errors import InvalidOptionError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Trusted", "add", "export", "remove", "trusted"]

_SECRET = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Trusted:
    """A secret whose entries are served, by its public id.

    Attributes
    ----------
    id
        From which nothing can be learned of the secret.
    note
        Whose it is.
    """

    id: str
    note: str


def trusted() -> list[Trusted]:
    """Return the user's own secret and then those of others."""
    return [Trusted(default_keyring().own.id, "your own"), *(Trusted(s.id, note) for s, note in _read())]


def export() -> str:
    """Return the user's own secret, to be trusted elsewhere; whoever has it can sign what this user decodes."""
    return default_keyring().own.key.hex()


def add(secret: str, note: str = "") -> Trusted:
    """Trust a secret that `export` returned elsewhere; once is enough.

    Raises
    ------
    InvalidOptionError
        It is no secret, or the note is more than a line.
    """
    text = secret.strip().lower()
    if not _SECRET.fullmatch(text):
        raise InvalidOptionError("that is no secret: it has 64 hexadecimal digits, as `awaitly-nb trust export` prints")
    if "\n" in note or "\r" in note:
        raise InvalidOptionError("a note is a single line")
    new = Secret(bytes.fromhex(text))
    others = [(s, old) for s, old in _read() if s.id != new.id]
    if new.id != default_keyring().own.id:
        _write([*others, (new, note)])
    return Trusted(new.id, note)


def remove(secret_id: str) -> None:
    """Trust a secret no longer.

    Raises
    ------
    MisuseError
        It is not among the trusted ones.
    """
    found = _read()
    left = [(secret, note) for secret, note in found if secret.id != secret_id]
    if len(left) == len(found):
        raise MisuseError(f"no secret {secret_id} is trusted; `awaitly-nb trust list` shows which are")
    _write(left)


def _read() -> list[tuple[Secret, str]]:
    try:
        lines = trusted_secrets_path().read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        text, _, note = line.partition("#")
        if _SECRET.fullmatch(text.strip()):
            found.append((Secret(bytes.fromhex(text.strip())), note.strip()))
    return found


def _write(secrets: Iterable[tuple[Secret, str]]) -> None:
    path = trusted_secrets_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = "".join(f"{secret.key.hex()}  # {note}\n" for secret, note in secrets)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
