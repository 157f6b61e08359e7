"""A notebook and the entries that its plan needs as one bundle, and such a bundle opened for whoever trusts its signer.

Knows nothing of folders and plans: whoever packs hands in entries that were verified, and whoever opens takes out
entries whose every byte was signed by somebody who is trusted. The manifest (see decision 22)::

    kind      "notebook"
    notebook  {"name": its file name, "blob": number}
    entries   [{"namespace", "key", "name": of the cell, "head": text, "blob": number of the body}, ...]
    made      what it was made with: versions, packages, settings; plain JSON data
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from awaitly_nb.codec import PublicKey, UntrustedSignerError
from awaitly_nb.errors import MisuseError
from awaitly_nb.share.bundle import Bundle, BundleError, BundleWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from awaitly_nb.codec import Identity

__all__ = ["Outgoing", "Package", "PackedEntry", "open_bundle", "pack"]

_KIND = "notebook"
_MOST_ENTRIES = 100_000
_NAME = re.compile(r"[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]{0,199}\.ipynb")
"""A file name and nothing else on every system: no folder, no drive, not hidden."""


class Outgoing(Protocol):
    """An entry as `pack` takes it."""

    @property
    def namespace(self) -> str:
        """Where it is cached."""

    @property
    def key(self) -> str:
        """Its key there."""

    @property
    def head(self) -> str:
        """Its head."""

    @property
    def body(self) -> Sequence[bytes | bytearray | memoryview]:
        """Its body, in parts."""


class PackedEntry(NamedTuple):
    """An entry of a bundle, without its body.

    Attributes
    ----------
    namespace, key
        Where it belongs.
    name
        Of the cell that made it.
    head
        Its readable head.
    size_bytes
        Size of its body.
    """

    namespace: str
    key: str
    name: str
    head: str
    size_bytes: int


def pack(
    path: Path,
    notebook: bytes,
    entries: Iterable[tuple[str, Outgoing]],
    *,
    name: str,
    identity: Identity,
    made: dict[str, Any],  # Any: plain JSON data
) -> int:
    """Write a bundle; it stands under its name only once it is whole. Return how many entries are in it.

    Parameters
    ----------
    path
        The file to write.
    notebook
        The notebook, as its file has it.
    entries
        The name of a cell, and its entry; each is written before the next one is asked for.
    name
        The file name that the notebook gets where it is opened.
    identity
        Who signs.
    made
        What it was made with.

    Raises
    ------
    MisuseError
        The name is none that a notebook can have everywhere.
    """
    if not _NAME.fullmatch(name):
        raise MisuseError(f"{name!r} cannot travel: a notebook is called NAME.ipynb, without / \\ : or a leading dot")
    told: list[dict[str, Any]] = []
    with BundleWriter(path, identity) as writer:
        blob = writer.add([notebook])
        for cell, entry in entries:
            row = {"namespace": entry.namespace, "key": entry.key, "name": cell, "head": entry.head}
            told.append({**row, "blob": writer.add(entry.body)})
        writer.finish({"kind": _KIND, "notebook": {"name": name, "blob": blob}, "entries": told, "made": made})
    return len(told)


@dataclass(frozen=True, slots=True)
class Package:
    """A bundle of a notebook, signed by somebody who is trusted, every byte of which was checked.

    Attributes
    ----------
    signer
        The name under which its signer is trusted.
    key
        The signer's public key.
    notebook_name
        A file name; never a path.
    entries
        What is in it beside the notebook.
    made
        What it was made with, as the signer tells it.
    """

    signer: str
    key: PublicKey
    notebook_name: str
    entries: tuple[PackedEntry, ...]
    made: dict[str, Any]  # Any: plain JSON data
    _bundle: Bundle = field(repr=False)
    _blobs: tuple[int, ...] = field(repr=False)

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self._bundle.__exit__()

    @property
    def size_bytes(self) -> int:
        """Size of the notebook and all bodies."""
        return sum(map(self._bundle.size_of, self._blobs))

    def notebook(self) -> bytearray:
        """Return the notebook, checked once more as it is read.

        Raises
        ------
        BundleError
            The file was changed since it was opened.
        """
        return self._bundle.read(self._blobs[0])

    def body(self, number: int) -> bytearray:
        """Return the body of an entry, by its place in `entries`, as `notebook` does; raises BundleError."""
        return self._bundle.read(self._blobs[1 + number])


def open_bundle(path: Path, name_of: Callable[[PublicKey], str | None]) -> Package:
    """Open a bundle: first its signature, then whether its signer is trusted, and only then all that is in it.

    Parameters
    ----------
    path
        The file.
    name_of
        Returns the name under which a public key is trusted, or None.

    Raises
    ------
    BundleError
        It is no bundle of a notebook, or not what was signed.
    UntrustedSignerError
        Nobody trusts its signer here; nothing but the signature was looked at.
    """
    names: list[str] = []

    def admit(signer: PublicKey) -> None:
        name = name_of(signer)
        if name is None:
            raise UntrustedSignerError(
                f"{path} is signed by {signer.words}, who is not trusted here, so it was not read. Compare these six"
                " words with what `awaitly-nb trust key` shows to whoever sent it; if they are the same: "
                f'awaitly-nb trust add "{signer}" --name NAME'
            )
        names.append(name)

    bundle = Bundle(path, admit)
    try:
        bundle.verify()
        return _read(bundle, *names)
    except BaseException:
        bundle.__exit__()
        raise


def _read(bundle: Bundle, signer: str) -> Package:
    manifest = bundle.manifest
    notebook, rows, made = manifest.get("notebook"), manifest.get("entries"), manifest.get("made")
    if (
        manifest.get("kind") != _KIND
        or not isinstance(notebook, dict)
        or not isinstance(rows, list)
        or not isinstance(made, dict)
        or len(rows) > _MOST_ENTRIES
    ):
        raise BundleError(f"{bundle.path} is signed, and is no notebook with its entries")
    name = notebook.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BundleError(f"{bundle.path} calls its notebook {name!r}, which is no plain file name")
    blobs = [_blob_of(bundle, notebook), *(_blob_of(bundle, row) for row in rows)]
    entries = tuple(
        PackedEntry(*_texts_of(bundle, row), bundle.size_of(blob)) for row, blob in zip(rows, blobs[1:], strict=True)
    )
    if len({(entry.namespace, entry.key) for entry in entries}) != len(entries):
        raise BundleError(f"{bundle.path} has two entries under one key")
    return Package(signer, bundle.signer, name, entries, made, bundle, tuple(blobs))


def _blob_of(bundle: Bundle, row: object) -> int:
    blob = row.get("blob") if isinstance(row, dict) else None
    if type(blob) is not int:
        raise BundleError(f"{bundle.path} does not tell which of its blobs is what")
    bundle.size_of(blob)  # raises where there is none
    return blob


def _texts_of(bundle: Bundle, row: dict[str, Any]) -> tuple[str, str, str, str]:  # Any: as anybody may have written
    namespace, key, name, head = (row.get(part) for part in ("namespace", "key", "name", "head"))
    if not (isinstance(namespace, str) and isinstance(key, str) and isinstance(name, str) and isinstance(head, str)):
        raise BundleError(f"{bundle.path} has an entry that makes no sense")
    return namespace, key, name, head
