"""Whose entries are served: the user's signing secret, the trusted secrets of others, and what neither signed.

What is trusted here decides whose entries are decoded, and decoding runs their code: so nothing is added without being
given in full, and a secret is shown only where it is asked for by name.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import SEPARATOR, Foreign, Resigned, foreign, objections, open_folder, resign
from awaitly_nb.codec import VARIABLE, Secret, default_keyring
from awaitly_nb.config import cache_directory, secret_path, trusted_secrets_path
from awaitly_nb.errors import InvalidOptionError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = [
    "Trusted",
    "Vouched",
    "distrust",
    "export_secret",
    "trust_secret",
    "trusted",
    "untrusted",
    "vouch",
]

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


def export_secret() -> str:
    """Return the user's own secret, to be trusted on another machine: whoever has it signs what this user decodes."""
    return default_keyring().own.key.hex()


def trust_secret(secret: str, note: str = "") -> Trusted:
    """Trust a secret that `export_secret` returned on another machine; once is enough.

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


def distrust(secret_id: str) -> None:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """A folder with entries of secrets that are not trusted here, and what was done about them.

    Attributes
    ----------
    folder
        The folder.
    owner, mode
        Whose it is, and who may do what with it; empty where the system has no such thing.
    secrets
        Whose entries there are, or those that were chosen.
    signed
        How many entries were signed anew.
    refused
        Why others were not, by key.
    """

    folder: Path
    owner: str
    mode: str
    secrets: tuple[Foreign, ...]
    signed: int = 0
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def entries(self) -> int:
        """How many entries there are of these secrets."""
        return sum(one.entries for one in self.secrets)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "folder": str(self.folder),
            "owner": self.owner,
            "mode": self.mode,
            "secrets": [asdict(one) for one in self.secrets],
            "signed": self.signed,
            "refused": [{"key": key, "why": why} for key, why in self.refused],
        }


def untrusted(folder: Path | None = None, *, secrets: Sequence[str] = ()) -> Vouched:
    """Return whose entries lie in `folder` (the default one) and are not trusted here; changes nothing.

    Parameters
    ----------
    secrets
        Only of these secrets.

    Raises
    ------
    MisuseError
        There is no such folder, or nothing in it of a secret that was named.
    """
    directory = cache_directory() if folder is None else folder
    if not directory.is_dir():
        if folder is None and not secrets:
            return Vouched(folder=directory, owner="", mode="", secrets=())
        raise MisuseError(f"there is no cache folder {directory}")
    found = foreign(open_folder(directory))
    if unknown := set(secrets) - {one.secret for one in found}:
        raise MisuseError(f"no entry in {directory} that is not trusted has the secret {', '.join(sorted(unknown))}")
    chosen = tuple(one for one in found if not secrets or one.secret in secrets)
    info = directory.stat()
    return Vouched(
        folder=directory, owner=_owner(info), mode=stat.filemode(info.st_mode) if _POSIX else "", secrets=chosen
    )


def vouch(
    folder: Path | None = None,
    *,
    secrets: Sequence[str] = (),
    confirm: Callable[[Vouched], bool],
    on_entry: Callable[[Resigned], None] | None = None,
) -> Vouched:
    """Sign the entries of a secret that is lost anew with the user's own, because the user vouches for them.

    Parameters
    ----------
    folder
        The folder; the default one if None.
    secrets
        Whose entries; may be left out where there is only one secret.
    confirm
        Called with what is there; False leaves everything as it is.
    on_entry
        Called after each entry.

    Raises
    ------
    MisuseError
        Others could have written to the folder, it must be said whose entries are meant, or the user has no secret that
        outlives this process.
    """
    directory = cache_directory() if folder is None else folder
    # First, and before the database is opened: what others wrote is not even read.
    if directory.is_dir() and (against := objections(directory.resolve())):
        raise MisuseError(_REFUSED.format(folder=directory, why="; ".join(against)))
    found = untrusted(directory, secrets=secrets)
    if len(found.secrets) > 1 and not secrets:
        listed = ", ".join(f"{one.secret} ({one.entries:,})" for one in found.secrets)
        raise MisuseError(f"{directory} has entries of several secrets: {listed}; say which with --secret ID")
    if not found.secrets:
        return found
    _refuse_temporary_secret()
    if not confirm(found):
        return found
    done = resign(open_folder(directory), {one.secret for one in found.secrets}, on_entry=on_entry)
    refused = tuple((name.partition(SEPARATOR)[2], why) for name, why in done.refused.items())
    return Vouched(
        folder=found.folder,
        owner=found.owner,
        mode=found.mode,
        secrets=found.secrets,
        signed=done.signed,
        refused=refused,
    )


def _refuse_temporary_secret() -> None:
    """Raise where this process made up a secret because it could store none: the next could verify nothing again."""
    path = secret_path()
    with suppress(OSError):
        if os.environ.get(VARIABLE) or path.read_bytes() == default_keyring().own.key:
            return
    raise MisuseError(f"your own secret cannot be stored at {path}: make its folder writable, or set {VARIABLE}")


_POSIX = os.name == "posix"
_REFUSED = (
    "nobody can vouch for the entries in {folder}: {why}. If you know that no one has made use of that, make the "
    "folder yours alone (chown -R, chmod -R go-w) and try again; else remove it"
)


def _owner(info: os.stat_result) -> str:
    if not _POSIX:
        return ""
    import pwd

    try:
        return pwd.getpwuid(info.st_uid).pw_name
    except KeyError:  # a container that knows only the number
        return str(info.st_uid)
